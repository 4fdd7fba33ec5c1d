//! `http-trace rules hits`: what each rule has counted, from a state file. Redacted and escaped as
//! everything that goes out.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::{Ended, say};
use crate::cli::HitsFormat;
use crate::detect::alert::Shown;
use crate::detect::detector::state::hits;
use crate::detect::hits::{OfRule, Tally};
use crate::redact::Secrets;
use crate::sink::text::terminal;
use crate::sink::time::rfc3339;
use crate::state::file;
use crate::summary::counted;

const DAY_NS: u64 = 86_400_000_000_000;

/// Prints the hits in the state `path`, of one rule or of all, into `out`.
pub fn run(path: &Path, rule: Option<&str>, format: HitsFormat, out: &mut String) -> Ended {
    let name = path.display();
    let bytes = match file::read(path) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => {
            say(&format!(
                "{name} is not there: a run with --state {name} makes it"
            ));
            return Ended::CannotStart;
        }
        Err(error) => {
            say(&format!("the state {name} cannot be used: {error}"));
            return Ended::CannotStart;
        }
    };
    let hits = match hits(&bytes) {
        Ok(hits) => hits,
        Err(why) => {
            say(&format!("the state {name} cannot be used: {why}"));
            return Ended::CannotStart;
        }
    };
    let secrets = Secrets::default();
    for of in hits.rules() {
        if rule.is_some_and(|rule| rule != of.id) {
            continue;
        }
        match format {
            HitsFormat::Json => json_lines(of, &secrets, out),
            HitsFormat::Text => text(of, &secrets, out),
        }
    }
    Ended::Done
}

/// The entities, the one hit most first: what it is by field, and its hits.
fn entities<'a>(of: &'a OfRule, secrets: &Secrets) -> Vec<(Vec<(String, Vec<u8>)>, &'a Tally)> {
    let mut entities: Vec<_> = of.entities.iter().collect();
    entities.sort_by_key(|e| std::cmp::Reverse(e.tally.count));
    let named = entities.into_iter().map(|entity| {
        let values = of.fields.iter().zip(&entity.values).map(|(field, value)| {
            let mut shown = Shown {
                field: field.clone(),
                value: value.clone(),
            };
            secrets.shown(&mut shown);
            (field.name(), shown.value)
        });
        (values.collect(), &entity.tally)
    });
    named.collect()
}

fn time(ns: u64) -> String {
    String::from_utf8_lossy(&rfc3339(ns)).into_owned()
}

fn day(day: u32) -> String {
    let mut text = time(u64::from(day).saturating_mul(DAY_NS));
    text.truncate(10);
    text
}

fn json_lines(of: &OfRule, secrets: &Secrets, out: &mut String) {
    let record = |entity: Option<Value>, tally: &Tally| {
        let days: Map<String, Value> = tally
            .days
            .iter()
            .map(|(d, count)| (day(*d), (*count).into()))
            .collect();
        let mut record = json!({
            "rule": of.id,
            "first_seen": time(tally.first_ns),
            "last_seen": time(tally.last_ns),
            "count": tally.count,
            "alerts": tally.alerts,
            "days": days,
        });
        if let (Some(entity), Some(members)) = (entity, record.as_object_mut()) {
            members.insert("entity".to_owned(), entity);
        }
        record.to_string()
    };
    out.push_str(&record(None, &of.tally));
    out.push('\n');
    for (values, tally) in entities(of, secrets) {
        let entity: Map<String, Value> = values
            .into_iter()
            .map(|(name, value)| (name, String::from_utf8_lossy(&value).into()))
            .collect();
        out.push_str(&record(Some(entity.into()), tally));
        out.push('\n');
    }
}

fn text(of: &OfRule, secrets: &Secrets, out: &mut String) {
    terminal(out, of.id.as_bytes());
    tally(&of.tally, out);
    for (values, of_entity) in entities(of, secrets) {
        out.push_str("  ");
        for (at, (_, value)) in values.iter().enumerate() {
            if at > 0 {
                out.push(' ');
            }
            terminal(out, value);
        }
        tally(of_entity, out);
    }
}

/// `: 7 hits, 1 alert, first …, last …; 2026-11-19 5, 2026-11-20 2`.
fn tally(tally: &Tally, out: &mut String) {
    let days: Vec<String> = tally
        .days
        .iter()
        .map(|(d, count)| format!("{} {count}", day(*d)))
        .collect();
    // Into memory: it does not fail.
    let _ = writeln!(
        out,
        ": {}, {}, first {}, last {}; {}",
        counted(tally.count, "hit"),
        counted(tally.alerts, "alert"),
        time(tally.first_ns),
        time(tally.last_ns),
        days.join(", ")
    );
}
