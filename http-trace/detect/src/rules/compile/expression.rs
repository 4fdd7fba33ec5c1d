//! Regular expressions (`|re`): what each matches, within a bound of memory, and as texts where it is
//! no more than some. Knows nothing of fields and conditions.

use aho_corasick::AhoCorasick;
use regex::bytes::RegexBuilder;
use regex_syntax::hir::literal::Extractor;
use rsigma_parser::SigmaValue;

use super::Refused;
use super::modifiers::{Modifiers, Place};
use crate::rule::expr::{Many, TextTest};

/// The most memory that one regular expression may compile to, in bytes.
const REGEX_BYTES: usize = 1 << 20;

/// The most texts that are looked for instead of an expression.
const LITERALS: usize = 32;

/// What an expression asks of a text; `name` is the field's that it stands under.
///
/// # Errors
/// What is no expression, or takes too much memory.
pub(super) fn expression(
    name: &str,
    value: &SigmaValue,
    m: &Modifiers,
) -> Result<TextTest, Refused> {
    let (ignore_case, multi_line, dot_all) = m.regex_flags;
    // With the others it is found anywhere in a text already.
    let (before, after) = match m.place {
        Place::Start => (r"\A(?:", ")"),
        Place::End => ("(?:", r")\z"),
        Place::Whole | Place::Within => ("", ""),
    };
    // Flags are written into the pattern, so that it alone says what it matches.
    let mut pattern = String::new();
    for (flag, set) in [
        ("(?i)", ignore_case),
        ("(?m)", multi_line),
        ("(?s)", dot_all),
    ] {
        if set {
            pattern.push_str(flag);
        }
    }
    let given = match value {
        SigmaValue::String(text) => text.original.clone(),
        other => other.to_string(),
    };
    pattern.push_str(before);
    pattern.push_str(&given);
    pattern.push_str(after);
    let wrong = |why: String| {
        let short: String = given.chars().take(80).collect();
        let more = if short == given { "" } else { "…" };
        let why = format!("the expression '{short}{more}' {why}");
        Err(Refused::new(name, why).of_value(given.as_str()))
    };
    let regex = RegexBuilder::new(&pattern)
        .unicode(false)
        .size_limit(REGEX_BYTES)
        .dfa_size_limit(REGEX_BYTES)
        .build();
    match regex {
        Ok(regex) => {
            Ok(only_literals(&pattern).unwrap_or_else(|| TextTest::Regex(Box::new(regex))))
        }
        Err(regex::Error::CompiledTooBig(_)) => wrong(format!(
            "compiles to more than {REGEX_BYTES} bytes: bound its repetitions"
        )),
        Err(error) => wrong(format!("is none: {}", last_line(&error.to_string()))),
    }
}

/// The texts that an expression stands for, when they are few and it asks for nothing else.
fn only_literals(pattern: &str) -> Option<TextTest> {
    let hir = regex_syntax::ParserBuilder::new()
        .unicode(false)
        .utf8(false)
        .build()
        .parse(pattern)
        .ok()?;
    // Extraction passes over anchors and word boundaries.
    if !hir.properties().look_set().is_empty() {
        return None;
    }
    let found = Extractor::new().limit_total(LITERALS).extract(&hir);
    let texts: Vec<String> = found
        .literals()
        .filter(|literals| found.is_exact() && (1..=LITERALS).contains(&literals.len()))?
        .iter()
        .map(|literal| String::from_utf8(literal.as_bytes().to_vec()).ok())
        .collect::<Option<_>>()?;
    if texts.iter().any(String::is_empty) {
        return None;
    }
    let automaton = AhoCorasick::new(&texts).ok()?;
    Some(TextTest::ContainsAny(Box::new(Many {
        automaton,
        texts,
        fold: false,
    })))
}

/// The message without the excerpt that the regex crate puts before it.
fn last_line(error: &str) -> String {
    let line = error.lines().last().unwrap_or(error);
    line.trim_start_matches("error: ").to_owned()
}
