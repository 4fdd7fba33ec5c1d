//! Compiles a field with all its values to one condition, in the form that is fastest to evaluate. An item
//! without a field is keywords. Single values are compiled by [`super::value`].

use std::net::IpAddr;

use ipnet::IpNet;
use rsigma_parser::{DetectionItem, Modifier, SigmaValue};

use super::connectives::{all, any};
use super::modifiers::{Modifiers, Operation, Part, modifiers};
use super::texts::{any_text, wildcards, written};
use super::value::one_value;
use crate::field::Field;
use crate::rule::expr::{Expr, Test, TextTest};
use crate::rules::diagnose::Finding;
use crate::rules::names;

/// The condition for a field with its values, or for keywords.
pub(super) fn item(item: &DetectionItem) -> Result<Expr, Finding> {
    let Some(name) = item.field.name.as_deref().filter(|name| !name.is_empty()) else {
        return keywords(item);
    };
    let field = names::field(name)?;
    let m = modifiers(item, name)?;
    let values = &item.values;
    if m.operation == Operation::Networks {
        return networks(name, &field, values, &m);
    }
    if m.is_plain() && m.part == Part::Whole && !m.all {
        let networks = values.iter().map(address);
        if let Some(networks) = networks.collect::<Option<Vec<IpNet>>>()
            && field.is_address()
        {
            let is_one = Expr::Item(field.clone(), Test::Networks(networks.into()));
            return Ok(m.unless(&field, is_one));
        }
    }
    let parts = values.iter().map(|value| one_value(name, &field, value, &m));
    let parts = parts.collect::<Result<Vec<_>, _>>()?;
    Ok(if m.all { all(parts) } else { any_of(field, parts) })
}

/// At least one condition holds. If all test this field's text they are merged, so that the
/// field is looked up only once.
fn any_of(field: Field, parts: Vec<Expr>) -> Expr {
    let is_text = |part: &Expr| matches!(part, Expr::Item(of, Test::Text(_)) if *of == field);
    if parts.len() < 2 || !parts.iter().all(is_text) {
        return any(parts);
    }
    let tests = parts.into_iter().filter_map(|part| match part {
        Expr::Item(_, Test::Text(test)) => Some(test),
        _ => None,
    });
    Expr::Item(field, Test::Text(any_text(tests.collect())))
}

/// An address, in whatever form: events have it in its canonical one.
fn address(value: &SigmaValue) -> Option<IpNet> {
    let SigmaValue::String(text) = value else { return None };
    let ip: IpAddr = text.as_plain()?.parse().ok()?;
    Some(ip.to_canonical().into())
}

/// The field's address is in one of these networks, or with `|all` in each.
fn networks(
    name: &str,
    field: &Field,
    values: &[SigmaValue],
    m: &Modifiers,
) -> Result<Expr, Finding> {
    let network = |value: &SigmaValue| {
        let text = value.to_string();
        http_trace_model::value::network(&text).map_err(|want| {
            let why = format!("'{text}' is not {want}");
            Finding::error(name, why).of_value(text)
        })
    };
    let networks = values.iter().map(network).collect::<Result<Vec<_>, _>>()?;
    let within = |networks: Vec<IpNet>| Expr::Item(field.clone(), Test::Networks(networks.into()));
    let expr = match m.all {
        true => all(networks.into_iter().map(|net| within(vec![net])).collect()),
        false => within(networks),
    };
    Ok(m.unless(field, expr))
}

/// The condition for an item without a field.
fn keywords(item: &DetectionItem) -> Result<Expr, Finding> {
    let known = [Modifier::All, Modifier::Contains, Modifier::Cased];
    if item.field.modifiers.iter().any(|m| !known.contains(m)) {
        let why = "keywords match anywhere in an event and only take |all, |contains and |cased; \
                   name a field for other modifiers";
        return Err(Finding::error("'|", why));
    }
    let fold = !item.field.has_modifier(Modifier::Cased);
    if !item.field.has_modifier(Modifier::All) {
        return any_keyword(&item.values, fold);
    }
    let each = item.values.iter().map(|value| Ok(Expr::Keyword(keyword(value, fold)?)));
    Ok(all(each.collect::<Result<_, _>>()?))
}

/// At least one keyword, as a single test, so that each text of an event is searched once.
pub(super) fn any_keyword(values: &[SigmaValue], fold: bool) -> Result<Expr, Finding> {
    if values.is_empty() {
        return Ok(Expr::Constant(false));
    }
    let each = values.iter().map(|value| keyword(value, fold));
    Ok(Expr::Keyword(any_text(each.collect::<Result<_, _>>()?)))
}

fn keyword(value: &SigmaValue, fold: bool) -> Result<TextTest, Finding> {
    wildcards("keywords", &written(value), Part::Within, fold)
}
