//! Keywords: texts that are looked for anywhere in an event. Knows nothing of fields; where in an
//! event keywords are looked for is up to the matcher.

use rsigma_parser::{DetectionItem, Modifier, SigmaValue};

use super::Refused;
use super::connectives::all;
use super::modifiers::Place;
use super::texts::{MANY, many, wildcards, written};
use crate::rule::expr::{Expr, TextTest};

/// The condition of an item that names no field.
///
/// # Errors
/// Modifiers that mean nothing without a field.
pub(super) fn keywords(item: &DetectionItem) -> Result<Expr, Refused> {
    let known = [Modifier::All, Modifier::Contains, Modifier::Cased];
    if item.field.modifiers.iter().any(|m| !known.contains(m)) {
        let why = "keywords are texts that are anywhere in an event: of modifiers they take |all, \
                   |contains and |cased; name a field for others";
        return Err(Refused::new("'|", why));
    }
    let fold = !item.field.has_modifier(Modifier::Cased);
    Ok(if item.field.has_modifier(Modifier::All) {
        let each = item.values.iter();
        all(each.map(|v| Expr::Keyword(keyword(v, fold))).collect())
    } else {
        any_keyword(&item.values, fold)
    })
}

/// A keyword is found anywhere in a text.
fn keyword(value: &SigmaValue, fold: bool) -> TextTest {
    wildcards(&written(value), Place::Within, fold)
}

/// One of the keywords at least: asked together, so that each text of an event is gone through once.
pub(super) fn any_keyword(values: &[SigmaValue], fold: bool) -> Expr {
    let mut tests: Vec<TextTest> = values.iter().map(|value| keyword(value, fold)).collect();
    let plain = |test: &TextTest| match test {
        TextTest::Contains(literal) if !literal.bytes.is_empty() => {
            String::from_utf8(literal.bytes.to_vec()).ok()
        }
        _ => None,
    };
    let texts: Option<Vec<String>> = tests.iter().map(plain).collect();
    if let Some(many) = texts
        .filter(|texts| texts.len() >= MANY)
        .and_then(|texts| many(texts, fold))
    {
        return Expr::Keyword(many);
    }
    match tests.len() {
        0 => Expr::Constant(false),
        1 => Expr::Keyword(tests.remove(0)),
        _ => Expr::Keyword(TextTest::AnyOf(tests.into())),
    }
}
