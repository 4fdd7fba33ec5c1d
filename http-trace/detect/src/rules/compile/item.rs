//! A field and all its values as one condition, in the form that is asked fastest; an item without a
//! field is [`super::keywords`]. What a single value means is up to [`super::value`].

use std::net::IpAddr;

use ipnet::IpNet;
use rsigma_parser::{DetectionItem, SigmaValue};

use super::Refused;
use super::connectives::{all, any};
use super::keywords::keywords;
use super::modifiers::{Modifiers, Place, modifiers};
use super::names::field;
use super::texts::{MANY, many};
use super::value::one_value;
use crate::field::Field;
use crate::rule::expr::{Expr, Test, TextTest};

/// The condition of a field and its values, or of keywords.
///
/// # Errors
/// Fields and modifiers that mean nothing here, values that do not fit.
pub(super) fn item(item: &DetectionItem) -> Result<Expr, Refused> {
    let Some(name) = item.field.name.as_deref().filter(|name| !name.is_empty()) else {
        return keywords(item);
    };
    let field = field(name)?;
    let m = modifiers(item, name)?;
    if m.networks {
        return networks(name, &field, &item.values, &m);
    }
    let plain = m.place == Place::Whole
        && m.comparison.is_none()
        && m.encodings.is_empty()
        && !(m.regex || m.exists || m.same_as || m.windash);
    if plain && !m.all && item.values.len() > 1 {
        let numbers: Option<Box<[u64]>> = item.values.iter().map(whole_number).collect();
        if let Some(numbers) = numbers {
            return Ok(Expr::Item(field, Test::Numbers(numbers)));
        }
    }
    if plain
        && !m.all
        && field.is_address()
        && let Some(networks) = item
            .values
            .iter()
            .map(|v| address(v, &m))
            .collect::<Option<Vec<_>>>()
    {
        return Ok(Expr::Item(field, Test::Networks(networks.into())));
    }
    if m.place == Place::Within
        && !m.all
        && item.values.len() >= MANY
        && let Some(test) = contains_any(&item.values, &m)
    {
        return Ok(Expr::Item(field, Test::Text(test)));
    }
    let parts = item
        .values
        .iter()
        .map(|value| one_value(name, &field, value, &m))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(if m.all {
        all(parts)
    } else {
        any_of_texts(field, parts)
    })
}

/// One of the conditions at least; those that are all tests of this field's text are one test, so
/// that the field is looked for once.
fn any_of_texts(field: Field, parts: Vec<Expr>) -> Expr {
    let is_text = |part: &Expr| matches!(part, Expr::Item(of, Test::Text(_)) if *of == field);
    if parts.len() < 2 || !parts.iter().all(is_text) {
        return any(parts);
    }
    let tests = parts.into_iter().filter_map(|part| match part {
        Expr::Item(_, Test::Text(test)) => Some(test),
        _ => None,
    });
    Expr::Item(field, Test::Text(TextTest::AnyOf(tests.collect())))
}

fn whole_number(value: &SigmaValue) -> Option<u64> {
    match value {
        SigmaValue::Integer(n) => u64::try_from(*n).ok(),
        _ => None,
    }
}

/// An address that a value is, written as addresses are: then it need not be compared as text.
fn address(value: &SigmaValue, m: &Modifiers) -> Option<IpNet> {
    if m.windash || !m.encodings.is_empty() {
        return None;
    }
    let SigmaValue::String(text) = value else {
        return None;
    };
    let text = text.as_plain()?;
    let ip: IpAddr = text.parse().ok()?;
    (ip.to_string() == text).then(|| ip.into())
}

fn contains_any(values: &[SigmaValue], m: &Modifiers) -> Option<TextTest> {
    if m.windash || !m.encodings.is_empty() || m.regex || m.same_as || m.comparison.is_some() {
        return None;
    }
    let literals: Vec<String> = values
        .iter()
        .map(|value| match value {
            SigmaValue::String(text) => text.as_plain().filter(|t| !t.is_empty()),
            _ => None,
        })
        .collect::<Option<_>>()?;
    many(literals, m.fold)
}

/// A field's address in one of these networks, or in each of them.
fn networks(
    name: &str,
    field: &Field,
    values: &[SigmaValue],
    m: &Modifiers,
) -> Result<Expr, Refused> {
    let networks = values
        .iter()
        .map(|value| network(name, value))
        .collect::<Result<Vec<_>, _>>()?;
    if m.all {
        let each = networks.into_iter();
        let one = |net| Expr::Item(field.clone(), Test::Networks(vec![net].into()));
        return Ok(m.unless(field, all(each.map(one).collect())));
    }
    let of_any = Expr::Item(field.clone(), Test::Networks(networks.into()));
    Ok(m.unless(field, of_any))
}

fn network(name: &str, value: &SigmaValue) -> Result<IpNet, Refused> {
    http_trace_model::value::network(&value.to_string()).map_err(|want| {
        let why = format!("'{value}' is not {want}");
        Refused::new(name, why).of_value(value.to_string())
    })
}
