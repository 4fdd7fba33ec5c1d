//! Compiles one value with the field's modifiers. Several values are combined by [`super::item`], not here.

use rsigma_parser::SigmaValue;
use rsigma_parser::value::SigmaString;

use super::connectives::{all, any};
use super::expression::expression;
use super::modifiers::{Modifiers, Operation, Part};
use super::texts::{variants, wildcards, written};
use crate::field::Field;
use crate::rule::expr::{Comparison, Expr, Relation, Test};
use crate::rules::diagnose::Finding;
use crate::rules::names;

/// The condition for one value of a field.
pub(super) fn one_value(
    name: &str,
    field: &Field,
    value: &SigmaValue,
    m: &Modifiers,
) -> Result<Expr, Finding> {
    let is_whole = m.part == Part::Whole && m.encodings.is_empty();
    let test = match m.operation {
        Operation::Exists => match value {
            SigmaValue::Bool(true) => Test::Present,
            SigmaValue::Bool(false) => Test::Missing,
            other => {
                let why = format!("|exists wants true or false, not '{other}'");
                return Err(Finding::error(name, why));
            }
        },
        Operation::OtherField(order) => return other_field(name, field, value, m, order),
        Operation::Order(order) => match number(value) {
            Some(number) => Test::Number(order, number),
            None => {
                let why = format!("'{value}' is not a number");
                return Err(Finding::error(name, why));
            }
        },
        Operation::Regex => Test::Text(expression(name, value, m)?),
        Operation::Text if m.negated && is_whole && !m.windash => match number(value) {
            Some(number) => {
                return Ok(Expr::Item(field.clone(), Test::Number(Comparison::Ne, number)));
            }
            None => Test::Text(wildcards(name, &written(value), m.part, m.fold)?),
        },
        Operation::Text | Operation::Networks => match value {
            SigmaValue::Null => Test::Absent,
            SigmaValue::Integer(n) if m.part == Part::Whole => {
                Test::Number(Comparison::Eq, *n as f64)
            }
            SigmaValue::Float(n) if m.part == Part::Whole => Test::Number(Comparison::Eq, *n),
            value => {
                if let Some(why) = never(name, field, value).filter(|_| is_whole) {
                    return Err(Finding::error(name, why));
                }
                let texts = one_of_texts(name, field, &variants(name, value, m)?, m)?;
                return Ok(m.unless(field, texts));
            }
        },
    };
    Ok(m.unless(field, Expr::Item(field.clone(), test)))
}

/// A number, or text that parses as one.
fn number(value: &SigmaValue) -> Option<f64> {
    match value {
        SigmaValue::Integer(n) => Some(*n as f64),
        SigmaValue::Float(n) => Some(*n),
        SigmaValue::String(text) => text.original.parse().ok(),
        SigmaValue::Bool(_) | SigmaValue::Null => None,
    }
}

/// The field has one of the texts that the value stands for.
fn one_of_texts(
    name: &str,
    field: &Field,
    texts: &[SigmaString],
    m: &Modifiers,
) -> Result<Expr, Finding> {
    let item = |test| Expr::Item(field.clone(), test);
    let tests = texts.iter().map(|text| wildcards(name, text, m.part, m.fold));
    let mut parts = tests.map(|test| Ok(item(Test::Text(test?)))).collect::<Result<Vec<_>, _>>()?;
    // Rules for logs match `-` or empty text, which logs write for an absent value.
    let is_none = |text: &SigmaString| matches!(text.as_plain().as_deref(), Some("-" | ""));
    if m.part == Part::Whole && texts.iter().any(is_none) && field.is_dash_in_logs() {
        parts.push(item(match field {
            // An empty query (a trailing `?`) counts as absent.
            Field::Query => Test::Absent,
            _ => Test::Missing,
        }));
    }
    Ok(any(parts))
}

/// A relation between a field and the one named by the value.
fn other_field(
    name: &str,
    field: &Field,
    value: &SigmaValue,
    m: &Modifiers,
    order: Option<Comparison>,
) -> Result<Expr, Finding> {
    let named = value.to_string();
    let other = names::field(&named)?;
    let cased = !m.fold;
    let relation = match (order, m.part) {
        (Some(order), _) => {
            for (name, field) in [(name, field), (&named, &other)] {
                if !field.may_be_number() {
                    let why = format!(
                        "'{name}' is not a numeric field: numeric comparison is not \
                                       possible"
                    );
                    return Err(Finding::error(name, why));
                }
            }
            Relation::Number(order)
        }
        (None, Part::Whole) => Relation::Equals(cased),
        (None, Part::Start) => Relation::Starts(cased),
        (None, Part::End) => Relation::Ends(cased),
        (None, Part::Within) => Relation::Contains(cased),
    };
    let holds = Expr::Item(field.clone(), Test::SameAs(other.clone(), relation));
    Ok(match m.negated {
        // Both fields must be present.
        true => all(vec![Expr::Item(other, Test::Present), m.unless(field, holds)]),
        false => holds,
    })
}

/// Why no event can have this text in a field.
fn never(name: &str, field: &Field, value: &SigmaValue) -> Option<String> {
    let SigmaValue::String(text) = value else { return None };
    let text = text.as_plain().filter(|text| text != "-")?;
    if field.is_number() && text.parse::<f64>().is_err() {
        return Some(format!("'{text}' is not a number, but '{name}' is numeric"));
    }
    let network = field.is_address() && text.contains('/');
    (network && http_trace_model::value::network(&text).is_ok())
        .then(|| format!("'{text}' is a network: want '{name}|cidr'"))
}
