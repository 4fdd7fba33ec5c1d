//! The texts that a rule's value stands for, and how they are looked for: encodings, dashes, wildcards,
//! many at once. Knows nothing of fields, conditions and regular expressions.

use aho_corasick::AhoCorasick;
use base64::Engine as _;
use rsigma_parser::value::{SigmaString, SpecialChar, StringPart};
use rsigma_parser::{Modifier, SigmaValue};

use super::Refused;
use super::modifiers::{Modifiers, Place};
use crate::rule::expr::{Glob, Literal, Many, TextTest};

/// From so many texts on that a field may contain, they are looked for all at once.
pub(super) const MANY: usize = 6;

/// A value as the text that it is written as.
pub(super) fn written(value: &SigmaValue) -> SigmaString {
    match value {
        SigmaValue::String(text) => text.clone(),
        other => SigmaString::from_raw(&other.to_string()),
    }
}

/// The texts that a value stands for after its encodings.
pub(super) fn variants(
    name: &str,
    value: &SigmaValue,
    m: &Modifiers,
) -> Result<Vec<SigmaString>, Refused> {
    let mut texts = vec![written(value)];
    if m.windash {
        texts = texts.iter().flat_map(dashes).collect();
    }
    if m.encodings.is_empty() {
        return Ok(texts);
    }
    let mut bytes: Vec<Vec<u8>> = texts
        .iter()
        .map(|text| text.as_plain().map(String::into_bytes))
        .collect::<Option<_>>()
        .ok_or_else(|| Refused::new(name, "a value that is encoded must have no wildcards"))?;
    for encoding in &m.encodings {
        bytes = bytes.iter().flat_map(|b| encode(*encoding, b)).collect();
    }
    // Of one byte or two, nothing is left in some alignments when what depends on its neighbours is
    // cut, and nothing is found everywhere.
    bytes.retain(|b| !b.is_empty());
    bytes
        .into_iter()
        .map(|b| {
            String::from_utf8(b)
                .map(|text| SigmaString::from_raw(&text))
                .map_err(|_| {
                    Refused::new(name, "wide text is only found encoded: add |base64offset")
                })
        })
        .collect()
}

fn encode(encoding: Modifier, bytes: &[u8]) -> Vec<Vec<u8>> {
    let base64 = base64::engine::general_purpose::STANDARD;
    let utf16 = |big: bool| {
        let text = String::from_utf8_lossy(bytes);
        text.encode_utf16()
            .flat_map(|unit| {
                if big {
                    unit.to_be_bytes()
                } else {
                    unit.to_le_bytes()
                }
            })
            .collect::<Vec<u8>>()
    };
    match encoding {
        Modifier::Wide => vec![utf16(false)],
        Modifier::Utf16be => vec![utf16(true)],
        Modifier::Utf16 => vec![[&[0xff, 0xfe][..], &utf16(false)].concat()],
        Modifier::Base64 => vec![base64.encode(bytes).into_bytes()],
        // The three alignments that the text may have within a longer one; what depends on its
        // neighbours is cut.
        Modifier::Base64Offset => (0..3)
            .map(|offset| {
                let padded = [&b"   "[..offset], bytes].concat();
                let encoded = base64.encode(&padded).into_bytes();
                let start = [0, 2, 3][offset];
                let end = encoded.len() - [0, 3, 2][padded.len() % 3];
                encoded[start.min(end)..end].to_vec()
            })
            .collect(),
        _ => vec![bytes.to_vec()],
    }
}

/// A value with its dashes in each form that Windows programs take (`-`, `/`, en, em, bar).
fn dashes(text: &SigmaString) -> Vec<SigmaString> {
    ["-", "/", "–", "—", "―"]
        .iter()
        .map(|dash| {
            let mut out = String::new();
            let is_word = |c: char| c.is_alphanumeric() || c == '_';
            let mut before = ' ';
            let mut chars = text.original.chars().peekable();
            while let Some(c) = chars.next() {
                // Of a parameter: with nothing of a word before it and a word after it.
                let begins = !is_word(before) && chars.peek().is_some_and(|next| is_word(*next));
                if matches!(c, '-' | '/') && begins {
                    out.push_str(dash);
                } else {
                    out.push(c);
                }
                before = c;
            }
            SigmaString::new(&out)
        })
        .collect()
}

/// How a text, with or without wildcards, is looked for; `fold`: without regard to ASCII case.
pub(super) fn wildcards(text: &SigmaString, place: Place, fold: bool) -> TextTest {
    let case = |text: &str| {
        if fold {
            text.to_ascii_lowercase().into_bytes()
        } else {
            text.as_bytes().to_vec()
        }
    };
    if let Some(plain) = text.as_plain() {
        let literal = Literal {
            bytes: case(&plain).into(),
            fold,
        };
        return match place {
            Place::Whole => TextTest::Equals(literal),
            Place::Start => TextTest::Starts(literal),
            Place::End => TextTest::Ends(literal),
            Place::Within => TextTest::Contains(literal),
        };
    }
    let mut parts: Vec<Vec<Option<u8>>> = vec![Vec::new()];
    if matches!(place, Place::Within | Place::End) {
        parts.push(Vec::new());
    }
    for part in &text.parts {
        match part {
            StringPart::Special(SpecialChar::WildcardMulti) => parts.push(Vec::new()),
            StringPart::Special(SpecialChar::WildcardSingle) => {
                if let Some(last) = parts.last_mut() {
                    last.push(None);
                }
            }
            StringPart::Plain(text) => {
                if let Some(last) = parts.last_mut() {
                    last.extend(case(text).into_iter().map(Some));
                }
            }
        }
    }
    if matches!(place, Place::Within | Place::Start) {
        parts.push(Vec::new());
    }
    // One literal between asterisks needs no glob.
    let literal = |part: &[Option<u8>]| {
        let bytes: Option<Box<[u8]>> = part.iter().copied().collect();
        bytes
            .filter(|b| !b.is_empty())
            .map(|bytes| Literal { bytes, fold })
    };
    let filled: Vec<&Vec<Option<u8>>> = parts.iter().filter(|p| !p.is_empty()).collect();
    if let [only] = filled[..]
        && let Some(literal) = literal(only)
    {
        let (starts, ends) = (parts[0].is_empty(), parts[parts.len() - 1].is_empty());
        return match (starts, ends) {
            (true, true) => TextTest::Contains(literal),
            (true, false) => TextTest::Ends(literal),
            (false, true) => TextTest::Starts(literal),
            (false, false) => TextTest::Equals(literal),
        };
    }
    TextTest::Glob(Glob {
        parts: parts.into_iter().map(Vec::into_boxed_slice).collect(),
        fold,
    })
}

/// Texts of which one at least is looked for, all at once; none if they are too many for that.
pub(super) fn many(texts: Vec<String>, fold: bool) -> Option<TextTest> {
    let automaton = AhoCorasick::builder()
        .ascii_case_insensitive(fold)
        .build(&texts)
        .ok()?;
    Some(TextTest::ContainsAny(Box::new(Many {
        automaton,
        texts,
        fold,
    })))
}
