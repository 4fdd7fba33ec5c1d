//! `http-trace rules hits`: the counts of each rule, from a state file. Redacts and escapes like every
//! other output; counts nothing.

use std::fmt::Display;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::cli::HitsFormat;
use crate::redact::Secrets;
use crate::sink::time::rfc3339;
use crate::state_file::taken;
use crate::text::{Escaped, terminal};
use http_trace_detect::alert::Shown;
use http_trace_detect::field::Field;
use http_trace_detect::hits::{OfRule, Tally};
use http_trace_detect::snapshot::{SnapshotHits, hits};
use http_trace_model::columns::{aligned, columns, cut, wrapped};
use http_trace_report::kept::DAY_NS;

/// Entities shown per rule, unless one rule is selected.
const ENTITIES: usize = 5;

/// The longest name in the table, in characters.
const NAME: usize = 48;

#[derive(Clone, Copy, Debug)]
pub struct HitsQuery<'a> {
    pub rule: Option<&'a str>,
    pub days: u32,
    /// Columns of the terminal, if it is written to one; earlier days are left out as needed.
    pub width: Option<usize>,
    pub format: HitsFormat,
    /// Values to redact, unless redaction is off.
    pub secrets: Option<&'a Secrets>,
}

/// Prints the hits in the state `path`, of one rule or of all, into `out`.
pub fn run(path: &Path, asked: HitsQuery<'_>, out: &mut String) -> Result<(), String> {
    let name = path.display();
    let useless = |why: &dyn Display| format!("the state {name} cannot be used: {why}");
    let bytes = taken::read(path)
        .map_err(|why| useless(&why))?
        .ok_or_else(|| format!("{name} does not exist: a run with --state {name} creates it"))?;
    let seen = hits(&bytes).map_err(|why| useless(&why))?;
    let mut rules: Vec<&OfRule> = seen.hits.all().iter().collect();
    rules.sort_by(|a, b| a.id.cmp(&b.id));
    if let Some(id) = asked.rule {
        rules.retain(|of| of.id == id);
        if rules.is_empty() {
            return Err(format!(
                "{name} has no rule '{id}': 'http-trace rules hits --state {name}' lists them"
            ));
        }
    }
    match asked.format {
        HitsFormat::Json => rules.iter().for_each(|of| json_lines(of, asked.secrets, out)),
        HitsFormat::Text => table(&rules, &seen, asked, out),
    }
    Ok(())
}

/// The entities by falling count: their values by field, and their hits.
fn entities<'a>(
    of: &'a OfRule,
    secrets: Option<&Secrets>,
) -> Vec<(Vec<(Field, Vec<u8>)>, &'a Tally)> {
    let mut entities: Vec<_> = of.entities.iter().collect();
    entities.sort_by_key(|e| std::cmp::Reverse(e.tally.count));
    let named = entities.into_iter().map(|entity| {
        let values = of.fields.iter().zip(&entity.values).map(|(field, value)| {
            let mut shown = Shown { field: field.clone(), value: value.clone() };
            if let Some(secrets) = secrets {
                secrets.shown(&mut shown);
            }
            (shown.field, shown.value)
        });
        (values.collect(), &entity.tally)
    });
    named.collect()
}

fn time(ns: u64) -> String {
    String::from_utf8_lossy(&rfc3339(ns)).into_owned()
}

/// `2026-11-20`.
fn day(day: u32) -> String {
    let mut text = time(u64::from(day).saturating_mul(DAY_NS));
    text.truncate(10);
    text
}

/// `2026-11-20 18:04`.
fn minute(ns: u64) -> String {
    let mut text = time(ns).replace('T', " ");
    text.truncate(16);
    text
}

fn json_lines(of: &OfRule, secrets: Option<&Secrets>, out: &mut String) {
    let record = |entity: Option<Value>, tally: &Tally| {
        let days: Map<String, Value> =
            tally.days.iter().map(|(d, count)| (day(*d), (*count).into())).collect();
        let mut record = json!({
            "rule": of.id,
            "count": tally.count,
            "alerts": tally.alerts,
            "days": days,
        });
        if let Some(members) = record.as_object_mut() {
            if tally.count > 0 {
                members.insert("first_seen".to_owned(), time(tally.first_ns).into());
                members.insert("last_seen".to_owned(), time(tally.last_ns).into());
            }
            if let Some(entity) = entity {
                members.insert("entity".to_owned(), entity);
            }
        }
        format!("{record}\n")
    };
    out.push_str(&record(None, &of.tally));
    for (values, tally) in entities(of, secrets) {
        let entity: Map<String, Value> = values
            .into_iter()
            .filter(|(field, value)| !is_nobody(field, value))
            .map(|(field, value)| (field.name(), String::from_utf8_lossy(&value).into()))
            .collect();
        out.push_str(&record(Some(entity.into()), tally));
    }
}

/// One column per day, so that trends show; rules without hits are only named.
fn table(rules: &[&OfRule], seen: &SnapshotHits, asked: HitsQuery<'_>, out: &mut String) {
    let (hit, silent): (Vec<&OfRule>, Vec<&OfRule>) =
        rules.iter().partition(|of| of.tally.count > 0);
    let last_hit = hit.iter().map(|of| of.tally.last_ns).max().unwrap_or(0);
    let now_ns = seen.now_ns.max(last_hit);
    if now_ns == 0 {
        out.push_str("no hits yet\n");
        return;
    }
    let today = u32::try_from(now_ns / DAY_NS).unwrap_or(u32::MAX);
    let days: Vec<u32> = (0..asked.days).rev().map(|back| today.saturating_sub(back)).collect();
    let mut named = Vec::new();
    let mut more = Vec::new();
    for of in &hit {
        let mut name = String::new();
        terminal(&mut name, of.id.as_bytes());
        named.push((name, &of.tally));
        let most = asked.rule.map_or(ENTITIES, |_| usize::MAX);
        for (values, tally) in entities(of, asked.secrets).into_iter().take(most) {
            named.push((format!("  {}", entity(&values)), tally));
        }
        // Below the header.
        more.push((named.len() + 1, of.entities.len().saturating_sub(most)));
    }
    let rows = fitted(days, asked.width, |days| {
        let of_days = named.iter().map(|(name, tally)| row(name, tally, days));
        std::iter::once(header(days)).chain(of_days).collect()
    });
    out.push_str(&format!("hits by day (UTC) up to {}\n\n", minute(now_ns)));
    if !hit.is_empty() {
        write_rows(&rows, &more, out);
    }
    if !silent.is_empty() {
        if !hit.is_empty() {
            out.push('\n');
        }
        let ids = silent.iter().map(|of| Escaped(of.id.as_bytes()).to_string());
        let ids: Vec<String> = ids.collect();
        out.push_str("no hits:\n  ");
        out.push_str(&wrapped(&ids.join(" "), 80, 2, 2));
        out.push('\n');
    }
}

/// The rows of as many of the last days as fit, at least one.
fn fitted(
    mut days: Vec<u32>,
    width: Option<usize>,
    rows_of: impl Fn(&[u32]) -> Vec<Vec<String>>,
) -> Vec<Vec<String>> {
    loop {
        let rows = rows_of(&days);
        let widest = aligned(&rows, |_| false).iter().map(|line| columns(line)).max();
        if days.len() <= 1 || width.is_none_or(|width| widest <= Some(width)) {
            return rows;
        }
        days.remove(0);
    }
}

fn header(days: &[u32]) -> Vec<String> {
    let mut cells = vec!["rule and entity".to_owned()];
    cells.extend(days.iter().map(|d| day(*d).split_off(5)));
    cells.extend(["all", "alerts", "last"].map(str::to_owned));
    cells
}

fn row(name: &str, tally: &Tally, days: &[u32]) -> Vec<String> {
    let mut cells = vec![cut(name, NAME)];
    for day in days {
        let hits = tally.days.get(day);
        cells.push(hits.map_or_else(|| "·".to_owned(), u64::to_string));
    }
    cells.push(tally.count.to_string());
    cells.push(match tally.alerts {
        0 => "·".to_owned(),
        n => n.to_string(),
    });
    cells.push(minute(tally.last_ns));
    cells
}

/// Whether it is a server address or port that a recording does not have.
fn is_nobody(field: &Field, value: &[u8]) -> bool {
    matches!(field, Field::ServerIp | Field::ServerPort) && value.is_empty()
}

/// `10.1.2.3 /login`; other values get their field's name: `s-ip=10.9.9.9`.
fn entity(values: &[(Field, Vec<u8>)]) -> String {
    let mut text = String::new();
    for (field, value) in values {
        if !text.is_empty() {
            text.push(' ');
        }
        if is_nobody(field, value) {
            text.push_str("the server");
            continue;
        }
        // A host may be an address too.
        let plain = matches!(field, Field::ClientIp | Field::Path | Field::PathTemplate);
        if !plain {
            text.push_str(&field.name());
            text.push('=');
        }
        terminal(&mut text, value);
    }
    text
}

/// `more`: entities that are not shown, by the number of rows before them.
fn write_rows(rows: &[Vec<String>], more: &[(usize, usize)], out: &mut String) {
    let last = rows[0].len() - 1;
    for (number, line) in (1..).zip(aligned(rows, |at| at > 0 && at < last)) {
        out.extend([&line, "\n"]);
        for (_, more) in more.iter().filter(|(after, more)| *after == number && *more > 0) {
            out.push_str(&format!("  … {more} more: --rule ID shows all of a rule\n"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_narrow_terminal_shows_the_last_days() {
        let tally = Tally::default();
        let rows_of = |days: &[u32]| vec![header(days), row("a rule", &tally, days)];
        let day_columns = |width| fitted((0..7).collect(), width, rows_of)[0].len() - 4;
        assert_eq!([None, Some(200), Some(80), Some(9)].map(day_columns), [7, 7, 4, 1]);
        let rows = fitted((0..7).collect(), Some(80), rows_of);
        assert_eq!(rows[0][4], "01-07");
        assert!(aligned(&rows, |_| false).iter().all(|line| columns(line) <= 80));
    }
}
