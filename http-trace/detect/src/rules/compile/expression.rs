//! Regular expressions (`|re`), within a bound of memory. Knows nothing of fields and conditions.

use rsigma_parser::SigmaValue;

use super::modifiers::{Modifiers, Part};
use super::texts::written;
use crate::rule::expr::{PATTERN_BYTES, Pattern, TextTest};
use crate::rules::diagnose::Finding;

/// The test of an expression; `name` is the field's.
///
/// # Errors
/// Text that is no expression, or takes too much memory.
pub(super) fn expression(
    name: &str,
    value: &SigmaValue,
    m: &Modifiers,
) -> Result<TextTest, Finding> {
    // The others find it anywhere in a text already.
    let (before, after) = match m.part {
        Part::Start => (r"\A(?:", ")"),
        Part::End => ("(?:", r")\z"),
        Part::Whole | Part::Within => ("", ""),
    };
    let given = written(value).original;
    // Flags are written into the pattern, so that it alone says what it matches.
    let pattern = [&m.regex_flags, before, &given, after].concat();
    let why = match Pattern::new(pattern) {
        Ok(pattern) => return Ok(TextTest::Regex(pattern)),
        Err(regex::Error::CompiledTooBig(_)) => {
            format!("compiles to more than {PATTERN_BYTES} bytes: bound its repetitions")
        }
        // An excerpt of the expression stands before the last line.
        Err(error) => {
            let error = error.to_string();
            let last = error.lines().last().unwrap_or(&error);
            format!("is none: {}", last.trim_start_matches("error: "))
        }
    };
    let short: String = given.chars().take(80).collect();
    let more = if short == given { "" } else { "…" };
    let why = format!("the expression '{short}{more}' {why}");
    Err(Finding::error(name, why).of_value(given))
}
