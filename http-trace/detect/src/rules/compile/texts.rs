//! Compiles the texts that a rule's value stands for, and their search: encodings, dashes, wildcards. Knows
//! nothing of fields, conditions and regular expressions.

use base64::Engine as _;
use rsigma_parser::value::{SigmaString, SpecialChar, StringPart};
use rsigma_parser::{Modifier, SigmaValue};

use super::modifiers::{Modifiers, Part};
use crate::rule::expr::{Literal, Pattern, TextTest};
use crate::rules::diagnose::Finding;

pub(super) fn written(value: &SigmaValue) -> SigmaString {
    match value {
        SigmaValue::String(text) => text.clone(),
        other => SigmaString::from_raw(&other.to_string()),
    }
}

/// The texts that a value stands for, after encoding.
pub(super) fn variants(
    name: &str,
    value: &SigmaValue,
    m: &Modifiers,
) -> Result<Vec<SigmaString>, Finding> {
    let written = written(value);
    let texts = match m.windash {
        true => DASHES.map(|dash| with_dash(&written, dash)).to_vec(),
        false => vec![written],
    };
    if m.encodings.is_empty() {
        return Ok(texts);
    }
    let plain = texts.iter().map(|text| text.as_plain().map(String::into_bytes));
    let mut bytes = plain
        .collect::<Option<Vec<Vec<u8>>>>()
        .ok_or_else(|| Finding::error(name, "an encoded value cannot contain wildcards"))?;
    for encoding in &m.encodings {
        bytes = bytes.iter().flat_map(|b| encode(*encoding, b)).collect();
    }
    // Cutting the parts that depend on neighbouring bytes leaves nothing of one or two bytes in some
    // alignments, and an empty text would match everything.
    bytes.retain(|b| !b.is_empty());
    let wide =
        |_| Finding::error(name, "wide text is only supported if encoded: add |base64offset");
    let texts = bytes.into_iter().map(|b| String::from_utf8(b).map_err(wide));
    texts.map(|text| Ok(SigmaString::from_raw(&text?))).collect()
}

fn encode(encoding: Modifier, bytes: &[u8]) -> Vec<Vec<u8>> {
    let base64 = |bytes: &[u8]| {
        let encoded = base64::engine::general_purpose::STANDARD.encode(bytes);
        encoded.into_bytes()
    };
    let utf16 = |to_bytes: fn(u16) -> [u8; 2]| {
        let text = String::from_utf8_lossy(bytes);
        text.encode_utf16().flat_map(to_bytes).collect::<Vec<u8>>()
    };
    match encoding {
        Modifier::Wide => vec![utf16(u16::to_le_bytes)],
        Modifier::Utf16be => vec![utf16(u16::to_be_bytes)],
        Modifier::Utf16 => vec![[&[0xff, 0xfe][..], &utf16(u16::to_le_bytes)].concat()],
        Modifier::Base64 => vec![base64(bytes)],
        // The three alignments of the text within a longer one; parts that depend on
        // neighbouring bytes are cut.
        Modifier::Base64Offset => (0..3)
            .map(|offset| {
                let padded = [&b"   "[..offset], bytes].concat();
                let encoded = base64(&padded);
                let start = [0, 2, 3][offset];
                let end = encoded.len() - [0, 3, 2][padded.len() % 3];
                encoded[start.min(end)..end].to_vec()
            })
            .collect(),
        _ => vec![bytes.to_vec()],
    }
}

/// Characters that Windows programs accept as option prefixes.
const DASHES: [&str; 5] = ["-", "/", "–", "—", "―"];

/// Replaces option prefixes by `dash`: those between a non-word and a word character.
fn with_dash(text: &SigmaString, dash: &str) -> SigmaString {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let (mut out, mut before) = (String::new(), ' ');
    let mut chars = text.original.chars().peekable();
    while let Some(c) = chars.next() {
        let begins = !is_word(before) && chars.peek().is_some_and(|next| is_word(*next));
        match c {
            '-' | '/' if begins => out.push_str(dash),
            c => out.push(c),
        }
        before = c;
    }
    SigmaString::new(&out)
}

/// The search for a text, with or without wildcards; with `fold`, ASCII letters match in either case.
pub(super) fn wildcards(
    name: &str,
    text: &SigmaString,
    part: Part,
    fold: bool,
) -> Result<TextTest, Finding> {
    const ANY: StringPart = StringPart::Special(SpecialChar::WildcardMulti);
    let mut pieces = &text.parts[..];
    let mut starts_open = matches!(part, Part::Within | Part::End);
    let mut ends_open = matches!(part, Part::Within | Part::Start);
    while let Some(rest) = pieces.strip_prefix(&[ANY]) {
        (pieces, starts_open) = (rest, true);
    }
    while let Some(rest) = pieces.strip_suffix(&[ANY]) {
        (pieces, ends_open) = (rest, true);
    }
    let text = match pieces {
        [] => "",
        [StringPart::Plain(text)] => text,
        pieces => return pattern(name, pieces, [starts_open, ends_open], fold),
    };
    let case = if fold { text.to_ascii_lowercase() } else { text.to_owned() };
    let literal = Literal { bytes: case.into_bytes().into(), fold };
    Ok(match (starts_open, ends_open) {
        (true, true) => TextTest::Contains(literal),
        (true, false) => TextTest::Ends(literal),
        (false, true) => TextTest::Starts(literal),
        (false, false) => TextTest::Equals(literal),
    })
}

/// The regular expression of a text with wildcards within.
fn pattern(
    name: &str,
    pieces: &[StringPart],
    [starts_open, ends_open]: [bool; 2],
    fold: bool,
) -> Result<TextTest, Finding> {
    let mut pattern = String::from(if fold { "(?si)" } else { "(?s)" });
    if !starts_open {
        pattern.push('^');
    }
    for piece in pieces {
        match piece {
            StringPart::Plain(text) => pattern.push_str(&regex::escape(text)),
            StringPart::Special(SpecialChar::WildcardSingle) => pattern.push('.'),
            StringPart::Special(SpecialChar::WildcardMulti) => pattern.push_str(".*"),
        }
    }
    if !ends_open {
        pattern.push('$');
    }
    let too_large = |error| Finding::error(name, format!("its wildcards: {error}"));
    Pattern::new(pattern).map(TextTest::Regex).map_err(too_large)
}

/// At least one of the tests passes.
pub(super) fn any_text(mut tests: Vec<TextTest>) -> TextTest {
    match tests.len() {
        1 => tests.remove(0),
        _ => TextTest::AnyOf(tests.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_with_wildcards() {
        for (text, part, searched, expected) in [
            ("a*b", Part::Whole, "ab", true),
            ("a*b", Part::Whole, "ax\nxB", true),
            ("a*b", Part::Whole, "a", false),
            ("a*b", Part::Whole, "abx", false),
            ("a*b", Part::Start, "abx", true),
            ("a*b", Part::End, "xab", true),
            ("a*b", Part::Within, "xaxbx", true),
            ("aba*aba", Part::Whole, "aba", false),
            ("*a*", Part::Whole, "bab", true),
            ("*", Part::Whole, "", true),
            ("", Part::Whole, "a", false),
            ("a?c", Part::Whole, "abc", true),
            ("a?c", Part::Whole, "ac", false),
            ("*a?", Part::Whole, "xab", true),
            ("*.p?p", Part::Whole, "x.php", true),
            ("*.p?p", Part::Whole, "xxphp", false),
            ("*x*y*", Part::Whole, "yx", false),
            ("*x*y*", Part::Whole, "xy", true),
            ("a*bc*bc", Part::Whole, "abc", false),
            ("\u{e4}*b", Part::Whole, "\u{e4}b", true),
        ] {
            let test = wildcards("field", &SigmaString::new(text), part, true).expect(text);
            assert_eq!(test.passes(searched.as_bytes()), expected, "{text} {searched}");
        }
    }
}
