//! Rewords messages of the Sigma parser, so that they give the position and the remedy. Reads no rules.

use super::diagnose::{Diagnostic, Fault, did_you_mean, nearest};
use super::document::Document;

/// Supported modifiers.
const MODIFIERS: &str = "contains startswith endswith all re cidr exists cased gt gte lt lte neq \
                         fieldref base64 base64offset wide utf16 utf16le utf16be windash expand";

/// Patterns of parser messages, with `{}` for the quoted part; the key that the message concerns (if empty,
/// it concerns the quoted part); and the new message.
#[rustfmt::skip]
const WORDINGS: &[(&str, &str, &str)] = &[
    ("invalid level: '{}'", "",
     "unknown level '{}': want informational, low, medium, high or critical"),
    ("invalid status: '{}'", "",
     "unknown status '{}': want stable, test, experimental, deprecated or unsupported"),
    ("Invalid timespan '{}'", "",
     "invalid time '{}': want a number and s, m, h or d, such as 5m"),
    ("Unknown modifier '{}'", "",
     "unknown modifier '{}'"),
    ("Unknown correlation type: {}", "",
     "unknown correlation type '{}': want event_count, value_count, temporal, temporal_ordered, \
      value_sum, value_avg, value_median or value_percentile"),
    ("Non-temporal correlation rule requires a condition{}", "correlation",
     "it needs a condition, such as 'condition: {gte: 10}'"),
    ("operator '{}' requires a numeric value, got: ", "",
     "'{}' needs a number"),
    ("Missing required field 'detection{}'", "title",
     "not a rule: want 'detection', 'correlation' or 'filter'"),
    ("Missing required field 'condition{}'", "detection",
     "the detection needs a condition, such as 'condition: selection'"),
    ("Missing required field '{}'", "title",
     "'{}' is missing"),
];

/// What the parser expects in a condition, by the names of its grammar, and in words.
const WANTED: &[(&str, &str)] = &[
    ("EOI, or_op, or and_op", "'and' or 'or' between names"),
    ("or_op or and_op", "'and', 'or' or ')'"),
    ("quantifier, ident, or not_op", "a name, 'not', '1 of' or 'all of'"),
    ("selector_target", "'them' or a name such as selection*"),
];

/// Converts a parser message about a document to a diagnostic.
pub(super) fn reworded(message: &str, document: Document<'_>) -> Diagnostic {
    let say = |fault, position, message| document.diagnostic(fault, position, message);
    if message.starts_with("Condition ") {
        return say(Fault::Error, document.find("condition"), condition(message));
    }
    if let Some((n, why)) = related(message) {
        let position = document.nth_within("related", "type", n);
        let position = position.unwrap_or_else(|| document.find("related"));
        return say(Fault::Warning, position, why);
    }
    for (pattern, key, text) in WORDINGS {
        let Some(quoted) = quoted(message, pattern) else { continue };
        let mut text = text.replace("{}", quoted);
        if pattern.starts_with("Unknown modifier") {
            text.push_str(&did_you_mean(nearest(quoted, MODIFIERS.split(' '), 2)));
        }
        // Faults in descriptions do not keep a rule from loading.
        let fault = if pattern.starts_with("invalid") { Fault::Warning } else { Fault::Error };
        let at = if key.is_empty() { quoted } else { key };
        return say(fault, document.find(at), text);
    }
    let position = document.at_message(message);
    if let Some(key) = quoted(message, "duplicate entry with key \"{}\"")
        && let Some(again) = document.again(key, position.unwrap_or((document.lines_before + 1, 1)))
    {
        let why = format!("duplicate key '{key}': for several values want a list");
        return say(Fault::Error, again, why);
    }
    let hint = match message.contains("cannot start any token") {
        true => " (a tab? YAML is indented with spaces)",
        false => "",
    };
    let quoted = quoted(message, "'{}'").filter(|_| !message.contains("line "));
    let position = position.unwrap_or_else(|| document.find(quoted.unwrap_or_default()));
    say(Fault::Error, position, document.in_file(message) + hint)
}

/// The part of a text that corresponds to `{}` in a pattern, found anywhere in it.
fn quoted<'a>(text: &'a str, pattern: &str) -> Option<&'a str> {
    let (before, after) = pattern.split_once("{}")?;
    let (_, rest) = text.split_once(before)?;
    match after {
        "" => Some(rest),
        after => Some(rest.split_once(after)?.0),
    }
}

/// The index of the related rule that a message concerns, and the new message.
fn related(message: &str) -> Option<(usize, String)> {
    let (_, rest) = message.split_once("related[")?;
    let (number, what) = rest.split_once(']')?;
    let why = match quoted(what, "invalid type '{}'") {
        Some(kind) => format!(
            "unknown type '{kind}' of a related rule: want derived, obsolete, merged, renamed or \
             similar"
        ),
        None => format!("of a related rule: {}", what.trim()),
    };
    Some((number.parse().ok()?, why))
}

/// The parser's message about a condition, in one line.
fn condition(message: &str) -> String {
    // The condition is between a line with a number and one with a pointer to the fault.
    let shown = message.lines().find_map(|line| line.strip_prefix("1 | "));
    let shown = shown.unwrap_or_default();
    if shown.contains('|') {
        return "'|' in a condition is Sigma 1 syntax: remove it and 'timeframe' and add a rule \
                with 'correlation: {type: event_count, rules: …, group-by: …, timespan: …, \
                condition: {gte: …}}'"
            .to_owned();
    }
    let short = |text: &str| text.chars().take(80).collect::<String>();
    if !message.starts_with("Condition parse error") {
        return short(message);
    }
    let lines = message.lines().map(str::trim);
    let expected = lines.rev().find_map(|line| line.strip_prefix("= expected "));
    let want = WANTED.iter().find(|(expected_names, _)| expected == Some(expected_names));
    let want = want.map_or("names joined by 'and' and 'or'", |(_, want)| want);
    let column = quoted(message, "--> 1:{}").and_then(|rest| rest.lines().next()?.parse().ok());
    let rest: String = shown.chars().skip(column.unwrap_or(1_usize).saturating_sub(1)).collect();
    let at = match rest.trim() {
        "" => "its end".to_owned(),
        rest => format!("'{}'", short(rest)),
    };
    format!("the condition '{}' cannot be parsed at {at}: want {want}", short(shown))
}
