//! What the parser of Sigma says of a fault, in words that say what would be right; and keys that
//! are nearly one of ours. Texts in, texts out.

use rsigma_parser::SigmaRule;

/// Modifiers of Sigma that have a meaning here.
const MODIFIERS: &[&str] = &[
    "contains",
    "startswith",
    "endswith",
    "all",
    "re",
    "cidr",
    "exists",
    "cased",
    "gt",
    "gte",
    "lt",
    "lte",
    "neq",
    "fieldref",
    "base64",
    "base64offset",
    "wide",
    "utf16",
    "utf16le",
    "utf16be",
    "windash",
    "expand",
];

/// Types of correlations.
const TYPES: &[&str] = &[
    "event_count",
    "value_count",
    "temporal",
    "temporal_ordered",
    "value_sum",
    "value_avg",
    "value_median",
    "value_percentile",
];

/// Keys of our own, which the parser keeps whatever they are.
const KEYS: &[&str] = &[
    "severity",
    "category",
    "entities",
    "summary",
    "suppress",
    "group-limit",
    "ipv6-prefix",
    "quiet",
    "marks",
    "yields-to",
    "native",
    "percent",
    "factor",
];

/// What a fault is about, and what would be right, where the parser leaves that out.
pub(super) fn of_parser(message: &str) -> Option<(String, String)> {
    let message = message
        .strip_prefix("Invalid correlation rule: ")
        .unwrap_or(message);
    if let Some(level) = between(message, "invalid level: '", "'") {
        let why =
            format!("'{level}' is no level: want informational, low, medium, high or critical");
        return Some((level.to_owned(), why));
    }
    if let Some(status) = between(message, "invalid status: '", "'") {
        let why = format!(
            "'{status}' is no status: want stable, test, experimental, deprecated or unsupported"
        );
        return Some((status.to_owned(), why));
    }
    if let Some(time) = between(message, "Invalid timespan '", "'") {
        let why = format!("'{time}' is no time: want a number and s, m, h or d, such as 5m");
        return Some((time.to_owned(), why));
    }
    if let Some(modifier) = between(message, "Unknown modifier '", "'") {
        let near = near(modifier, MODIFIERS)
            .map_or_else(String::new, |known| format!("; did you mean '{known}'?"));
        let why = format!("there is no modifier '{modifier}'{near}");
        return Some((modifier.to_owned(), why));
    }
    if let Some(kind) = message.strip_prefix("Unknown correlation type: ") {
        let why = format!(
            "there is no correlation '{kind}': want {}",
            TYPES.join(", ")
        );
        return Some((kind.to_owned(), why));
    }
    if message == "Non-temporal correlation rule requires a condition" {
        let why = "it needs a condition, such as 'condition: {gte: 10}'";
        return Some(("correlation".to_owned(), why.to_owned()));
    }
    if message.contains("' requires a numeric value, got: ") {
        let operator = between(message, "operator '", "'").unwrap_or("condition");
        return Some((operator.to_owned(), format!("'{operator}' wants a number")));
    }
    let missing = between(message, "Missing required field '", "'")?;
    let why = match missing {
        "detection" => "it is no rule: want 'detection', 'correlation' or 'filter'".to_owned(),
        "condition" => "the detection needs a condition, such as 'condition: selection'".to_owned(),
        _ => format!("'{missing}' is missing"),
    };
    let at = if missing == "condition" {
        "detection"
    } else {
        "title"
    };
    Some((at.to_owned(), why))
}

/// Whether a rule that the parser says this of loads all the same: it is of what the rule says of
/// itself, not of what it does.
pub(super) fn is_harmless(message: &str) -> bool {
    ["invalid level", "invalid status"]
        .iter()
        .any(|begin| message.contains(begin))
        || of_related(message).is_some()
}

/// Which of the related rules something is wrong with, and what is to be said of it.
pub(super) fn of_related(message: &str) -> Option<(usize, String)> {
    let (_, rest) = message.split_once("related[")?;
    let (number, what) = rest.split_once(']')?;
    let want = "want derived, obsolete, merged, renamed or similar";
    let why = match between(what, "invalid type '", "'") {
        Some(kind) => format!("'{kind}' is nothing that rules are to each other: {want}"),
        None => format!("of a related rule: {}", what.trim()),
    };
    Some((number.parse().ok()?, why))
}

/// The key that a mapping has twice.
pub(super) fn twice(message: &str) -> Option<&str> {
    between(message, "duplicate entry with key \"", "\"")
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(before)?;
    Some(rest.split_once(after)?.0)
}

/// The known word that is nearest, if one is near.
fn near(word: &str, known: &[&'static str]) -> Option<&'static str> {
    known
        .iter()
        .map(|known| (strsim::damerau_levenshtein(word, known), *known))
        .min()
        .filter(|(distance, _)| *distance <= 2)
        .map(|(_, known)| known)
}

/// Keys that mean nothing and are nearly one that does, and what is to be said of each. Others are
/// whoever's: Sigma lets rules have any.
pub(super) fn unknown_keys<'a>(keys: impl Iterator<Item = &'a String>) -> Vec<(String, String)> {
    let mut said: Vec<(String, String)> = keys
        .filter(|key| !KEYS.contains(&key.strip_prefix("http-trace.").unwrap_or(key)))
        .filter_map(|key| {
            let known = near(&key.replace('_', "-").to_ascii_lowercase(), KEYS)?;
            let why = format!("'{key}' means nothing here; did you mean '{known}'?");
            Some((key.clone(), why))
        })
        .collect();
    said.sort_unstable();
    said
}

/// Of a detection.
pub(super) fn unknown_keys_of(rule: &SigmaRule) -> Vec<(String, String)> {
    unknown_keys(rule.custom_attributes.keys())
}
