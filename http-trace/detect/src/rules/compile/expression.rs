//! Compiles regular expressions (`|re`) within a memory bound. Knows nothing of fields and conditions.

use rsigma_parser::SigmaValue;

use super::modifiers::{Modifiers, Part};
use super::texts::written;
use crate::rule::expr::{PATTERN_BYTES, Pattern, TextTest};
use crate::rules::diagnose::Finding;

/// The test for an expression; `name` is the field's.
pub(super) fn expression(
    name: &str,
    value: &SigmaValue,
    m: &Modifiers,
) -> Result<TextTest, Finding> {
    // Unanchored expressions already match anywhere in a text.
    let (before, after) = match m.part {
        Part::Start => (r"\A(?:", ")"),
        Part::End => ("(?:", r")\z"),
        Part::Whole | Part::Within => ("", ""),
    };
    let given = written(value).original;
    // Flags are part of the pattern, so that it is self-contained.
    let pattern = [&m.regex_flags, before, &given, after].concat();
    let why = match Pattern::new(pattern) {
        Ok(pattern) => return Ok(TextTest::Regex(pattern)),
        Err(regex::Error::CompiledTooBig(_)) => {
            format!("compiles to more than {PATTERN_BYTES} bytes: limit its repetitions")
        }
        // The message has an excerpt of the expression before its last line.
        Err(error) => {
            let error = error.to_string();
            let last = error.lines().last().unwrap_or(&error);
            format!("is invalid: {}", last.trim_start_matches("error: "))
        }
    };
    let short: String = given.chars().take(80).collect();
    let more = if short == given { "" } else { "…" };
    let why = format!("the expression '{short}{more}' {why}");
    Err(Finding::error(name, why).of_value(given))
}
