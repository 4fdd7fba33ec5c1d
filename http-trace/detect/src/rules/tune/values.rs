//! The values of the `[detect]` table: a string or a list of strings each, whose errors say what was expected.

use std::fmt;

use http_trace_model::scalars::Scalars;
use http_trace_model::value;
use ipnet::IpNet;
use serde::de::Error as _;
use serde::{Deserialize as _, Deserializer};

use crate::builtin::FILTERS;
use crate::rule::Severity;

/// Parses a string, or each string of a list.
fn each<'de, D: Deserializer<'de>, T, W: fmt::Display>(
    from: D,
    parse: impl Fn(&str) -> Result<T, W>,
) -> Result<Vec<T>, D::Error> {
    let wrong = |text: &str, want: W| D::Error::custom(format!("'{text}': want {want}"));
    let scalars = Scalars::deserialize(from)?.0;
    let parsed = scalars.iter().map(|text| parse(text).map_err(|want| wrong(text, want)));
    parsed.collect()
}

/// Parses one string.
fn one<'de, D: Deserializer<'de>, T, W: fmt::Display>(
    from: D,
    parse: impl Fn(&str) -> Result<T, W>,
) -> Result<Option<T>, D::Error> {
    let mut all = each(from, parse)?;
    match all.len() {
        1 => Ok(all.pop()),
        n => Err(D::Error::custom(format!("want one value, not {n}"))),
    }
}

macro_rules! parsers {
    ($($name:ident -> $type:ty = $read:expr;)+) => {
        $(pub(super) fn $name<'de, D: Deserializer<'de>>(from: D) -> Result<$type, D::Error> {
            $read(from)
        })+
    };
}

parsers! {
    networks -> Vec<IpNet> = |from| each(from, value::network);
    internal -> Option<Vec<IpNet>> = |from| each(from, value::network).map(Some);
    patterns -> Vec<String> = |from| each(from, pattern);
    filters -> Vec<&'static str> = |from| each(from, filter);
    threshold -> Option<u64> = |from| one(from, number);
    percent -> Option<u8> = |from| one(from, per_cent);
    severity -> Option<Severity> = |from| one(from, score);
    time -> Option<u64> = |from| one(from, nanoseconds);
    limit -> Option<u64> = |from| one(from, alerts);
}

fn per_cent(text: &str) -> Result<u8, &'static str> {
    let number = text.parse().ok().filter(|n| (1..=100).contains(n));
    number.ok_or("a percentage from 1 to 100, for rules of type ratio")
}

fn pattern(text: &str) -> Result<String, &'static str> {
    if text.is_empty() { Err("text; * matches anything") } else { Ok(text.to_owned()) }
}

/// Looks up a built-in filter by name.
fn filter(text: &str) -> Result<&'static str, String> {
    let names = || FILTERS.iter().map(|(name, ..)| *name);
    let known = names().find(|name| *name == text);
    known.ok_or_else(|| format!("names from {}", names().collect::<Vec<_>>().join(", ")))
}

fn number(text: &str) -> Result<u64, &'static str> {
    let number = text.parse().ok().filter(|n| (1..=1_000_000_000).contains(n));
    number.ok_or("a number from 1 to 1000000000")
}

fn alerts(text: &str) -> Result<u64, &'static str> {
    let number = text.parse().ok().filter(|n| *n <= 1_000_000_000);
    number.ok_or("a number of alerts; 0 combines all of a server in one")
}

fn score(text: &str) -> Result<Severity, &'static str> {
    let score = text.parse().ok().and_then(Severity::new);
    score.ok_or("a number from 0 to 10")
}

fn nanoseconds(text: &str) -> Result<u64, &'static str> {
    value::some_time(text).map(|time| time.as_nanos() as u64)
}
