//! What one value asks of a field, with the field's modifiers. Several values are put together by
//! [`super::item`], not here.

use rsigma_parser::SigmaValue;
use rsigma_parser::value::SigmaString;

use super::Refused;
use super::connectives::any;
use super::expression::expression;
use super::modifiers::{Modifiers, Place};
use super::relation::related;
use super::texts::{variants, wildcards, written};
use crate::field::Field;
use crate::rule::expr::{Comparison, Expr, Test};

/// What one value asks of a field.
///
/// # Errors
/// Values that do not fit the field or its modifiers.
pub(super) fn one_value(
    name: &str,
    field: &Field,
    value: &SigmaValue,
    m: &Modifiers,
) -> Result<Expr, Refused> {
    let test = |test| Ok(Expr::Item(field.clone(), test));
    if m.exists {
        return match value {
            SigmaValue::Bool(true) => test(Test::Present),
            SigmaValue::Bool(false) => test(Test::Missing),
            other => Err(Refused::new(
                name,
                format!("|exists wants true or false, not '{other}'"),
            )),
        };
    }
    if m.same_as {
        return related(name, field, value, m);
    }
    if let Some(comparison) = m.comparison {
        return compared(name, field, value, m, comparison);
    }
    if m.regex {
        return test(Test::Text(expression(name, value, m)?));
    }
    match value {
        SigmaValue::Null => test(Test::Absent),
        SigmaValue::Integer(n) if m.place == Place::Whole => {
            test(Test::Number(Comparison::Eq, *n as f64))
        }
        SigmaValue::Float(n) if m.place == Place::Whole => test(Test::Number(Comparison::Eq, *n)),
        other => {
            if m.place == Place::Whole
                && m.encodings.is_empty()
                && let Some(why) = never(name, field, other)
            {
                return Err(Refused::new(name, why));
            }
            Ok(one_of_texts(field, &variants(name, other, m)?, m))
        }
    }
}

/// A field that compares so with a value.
fn compared(
    name: &str,
    field: &Field,
    value: &SigmaValue,
    m: &Modifiers,
    comparison: Comparison,
) -> Result<Expr, Refused> {
    let is_text = m.regex || m.place != Place::Whole || !m.encodings.is_empty() || m.windash;
    if is_text {
        let mut positive = m.clone();
        positive.comparison = None;
        return one_value(name, field, value, &positive).map(|part| m.unless(field, part));
    }
    let number = match value {
        SigmaValue::Integer(n) => Some(*n as f64),
        SigmaValue::Float(n) => Some(*n),
        SigmaValue::String(text) => text.original.parse().ok(),
        _ => None,
    };
    match number {
        Some(number) => Ok(Expr::Item(field.clone(), Test::Number(comparison, number))),
        None if comparison == Comparison::Ne => {
            let equal = Expr::Item(field.clone(), equals(value, m));
            Ok(m.unless(field, equal))
        }
        None => Err(Refused::new(
            name,
            format!("'{value}' is not a number to compare with"),
        )),
    }
}

fn equals(value: &SigmaValue, m: &Modifiers) -> Test {
    Test::Text(wildcards(&written(value), Place::Whole, m.fold))
}

/// A field that has one of the texts that its value stands for.
fn one_of_texts(field: &Field, texts: &[SigmaString], m: &Modifiers) -> Expr {
    let mut parts: Vec<Expr> = texts
        .iter()
        .map(|text| Expr::Item(field.clone(), Test::Text(wildcards(text, m.place, m.fold))))
        .collect();
    // Rules for logs have what a log writes where there is nothing.
    let is_none = |text: &SigmaString| matches!(text.as_plain().as_deref(), Some("-" | ""));
    if m.place == Place::Whole && texts.iter().any(is_none) && field.is_dash_in_logs() {
        let test = match field {
            // A `?` that nothing follows asks for nothing.
            Field::Query => Test::Absent,
            _ => Test::Missing,
        };
        parts.push(Expr::Item(field.clone(), test));
    }
    any(parts)
}

/// Why no event has this text under a field, whatever is on the wire.
fn never(name: &str, field: &Field, value: &SigmaValue) -> Option<String> {
    let SigmaValue::String(text) = value else {
        return None;
    };
    let text = text.as_plain().filter(|text| text != "-")?;
    if field.is_number() && text.parse::<f64>().is_err() {
        return Some(format!("'{text}' is no number, and '{name}' always is"));
    }
    let network = field.is_address() && text.contains('/');
    (network && http_trace_model::value::network(&text).is_ok())
        .then(|| format!("'{text}' is a network: want '{name}|cidr'"))
}
