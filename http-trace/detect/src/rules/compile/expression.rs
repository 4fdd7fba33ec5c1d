//! Regular expressions (`|re`), within a bound of memory, and as texts where they match only a few.
//! Knows nothing of fields and conditions.

use regex::bytes::RegexBuilder;
use regex_syntax::hir::literal::Extractor;
use rsigma_parser::SigmaValue;

use super::modifiers::{Modifiers, Part};
use super::texts::{contains_any, written};
use crate::rule::expr::TextTest;
use crate::rules::diagnose::Finding;

/// The most memory that one regular expression may compile to, in bytes.
const MAX_BYTES: usize = 1 << 20;

/// The most texts that are searched for instead of an expression.
const MAX_LITERALS: usize = 32;

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
    let regex = RegexBuilder::new(&pattern)
        .unicode(false)
        .size_limit(MAX_BYTES)
        .dfa_size_limit(MAX_BYTES)
        .build();
    let why = match regex {
        Ok(regex) => {
            let literals = only_literals(&pattern);
            return Ok(literals.unwrap_or_else(|| TextTest::Regex(Box::new(regex))));
        }
        Err(regex::Error::CompiledTooBig(_)) => {
            format!("compiles to more than {MAX_BYTES} bytes: bound its repetitions")
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

/// The texts that an expression stands for, when they are few and it asks for nothing else.
fn only_literals(pattern: &str) -> Option<TextTest> {
    let hir = regex_syntax::ParserBuilder::new()
        .unicode(false)
        .utf8(false)
        .build()
        .parse(pattern)
        .ok()?;
    // Extraction ignores anchors and word boundaries.
    if !hir.properties().look_set().is_empty() {
        return None;
    }
    let found = Extractor::new().limit_total(MAX_LITERALS).extract(&hir);
    let literals = found.literals().filter(|_| found.is_exact())?;
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
    let texts = literals.iter().map(|literal| text(literal.as_bytes()));
    let texts: Vec<String> = texts.collect::<Option<_>>()?;
    if !(1..=MAX_LITERALS).contains(&texts.len()) || texts.iter().any(String::is_empty) {
        return None;
    }
    contains_any(texts, false)
}
