//! Renders a report as tables, and tables as text for a terminal or as Markdown. Knows no HTML.

use std::cmp::Reverse;
use std::fmt::Write as _;
use std::iter;

use crate::inventory::{AlertRow, LinkRow, Report, Row};
use http_trace_model::columns::{aligned, columns, cut};
use http_trace_model::endpoint::KnownEndpoints;
use http_trace_model::shown::{grouped, latency, size};

/// Maximum number of rows in a table that shows the top of a list.
const TOP: usize = 20;

#[derive(Clone, Debug)]
pub struct Table {
    pub title: &'static str,
    /// What the rows show, and what was left out.
    pub note: String,
    /// Column names, and whether the column is right-aligned (numbers).
    pub columns: Vec<(&'static str, bool)>,
    /// Rows with one cell per column.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    fn new<'a, T: 'a>(
        title: &'static str,
        note: impl Into<String>,
        columns: &[Column<T>],
        rows: impl IntoIterator<Item = &'a T>,
    ) -> Self {
        let cells = |row: &T| columns.iter().map(|column| (column.cell)(row)).collect();
        Table {
            title,
            note: note.into(),
            columns: columns.iter().map(|column| (column.name, column.right)).collect(),
            rows: rows.into_iter().map(cells).collect(),
        }
    }
}

/// A column of a table whose rows are made from `T`.
struct Column<T> {
    name: &'static str,
    right: bool,
    cell: fn(&T) -> String,
}

const fn text_of<T>(name: &'static str, cell: fn(&T) -> String) -> Column<T> {
    let right = false;
    Column { name, right, cell }
}

const fn number_of<T>(name: &'static str, cell: fn(&T) -> String) -> Column<T> {
    let right = true;
    Column { name, right, cell }
}

const SERVICE: Column<Row> = text_of("service", |row| row.service.clone());
const METHOD: Column<Row> = text_of("method", |row| row.method.clone());
const PATH: Column<Row> = text_of("path", |row| row.template.clone());
const HITS: Column<Row> = number_of("hits", |row| row.hits.to_string());
const STATUSES: Column<Row> = text_of("statuses", statuses);
const FAILED: Column<Row> = number_of("failed", |row| row.failed.to_string());
const SHARE: Column<Row> = number_of("share", |row| percent(row.failed, row.hits));
const P50: Column<Row> = number_of("p50", |row| time(row.p50_us));
const P95: Column<Row> = number_of("p95", |row| time(row.p95_us));
const P99: Column<Row> = number_of("p99", |row| time(row.p99_us));
const SIZE: Column<Row> =
    number_of("mean size", |row| row.mean_body_bytes.map(size).unwrap_or_default());
const CLIENTS: Column<Row> = number_of("clients", |row| row.clients.clone());
const FIRST: Column<Row> = text_of("first", |row| row.first.clone());
const LAST: Column<Row> = text_of("last", |row| row.last.clone());

const LINKS: &[Column<LinkRow>] = &[
    text_of("service", |row| row.link.service.clone()),
    text_of("path", |row| row.link.path.clone()),
    number_of("status", |row| row.link.status.to_string()),
    text_of("referrer", |row| row.link.referrer.clone()),
    number_of("times", |row| row.count.to_string()),
];

const ALERTS: &[Column<AlertRow>] = &[
    text_of("level", |alert| alert.level.to_owned()),
    text_of("rule", |alert| alert.rule.clone()),
    number_of("events", |alert| alert.count.to_string()),
    text_of("what", |alert| alert.summary.clone()),
    text_of("clients", |alert| alert.clients.join(", ")),
    text_of("paths", |alert| alert.paths.join(" ")),
    text_of("first", |alert| alert.first.clone()),
    text_of("last", |alert| alert.last.clone()),
];

/// Kinds of connections that are not readable that the summary names.
const UNREADABLE: usize = 6;

/// Names and values of the summary at the top.
pub fn facts(report: &Report) -> Vec<(&'static str, String)> {
    let classes = report.classes.iter().map(|(class, count)| match *class {
        "none" => format!("{} without response", grouped(*count)),
        class => format!("{} {class}", grouped(*count)),
    });
    let classes = classes.collect::<Vec<_>>().join(", ");
    let responses = match report.events {
        0 => "0".to_owned(),
        events => format!("{} ({classes})", grouped(events)),
    };
    let time = match (&report.from, &report.until) {
        (Some(from), Some(until)) => format!("{from} to {until}"),
        _ => "no events".to_owned(),
    };
    let lost = match report.lost {
        0 => "nothing".to_owned(),
        lost => format!("{}: counts are lower bounds", grouped(lost)),
    };
    let mut unreadable: Vec<_> = report.unreadable.iter().filter(|(_, n)| **n > 0).collect();
    unreadable.sort_by_key(|(_, count)| Reverse(**count));
    let more = unreadable.len().saturating_sub(UNREADABLE);
    let each = unreadable.into_iter().take(UNREADABLE);
    let mut each: Vec<String> = each
        .map(|(what, count)| match what.rsplit_once(':') {
            Some((protocol, port)) => format!("{} {protocol} on :{port}", grouped(*count)),
            None => format!("{} {what}", grouped(*count)),
        })
        .collect();
    if more > 0 {
        each.push(format!("{more} more kinds"));
    }
    let unreadable = match each.is_empty() {
        true => "nothing".to_owned(),
        false => format!("{} (connections)", each.join(", ")),
    };
    let left_out = &report.left_out;
    let mut facts = vec![
        ("time", time),
        ("responses", responses),
        ("clients", report.clients.clone()),
        ("services", report.services.len().to_string()),
        ("endpoints", report.endpoints.len().to_string()),
        ("alerts", report.alerts.len().to_string()),
        ("lost", lost),
        ("other protocols", unreadable),
    ];
    for (what, count) in
        [("malformed lines", report.unread.lines), ("files, whole or in part", report.unread.files)]
    {
        if count > 0 {
            facts.push(("not read", format!("{what}: {}", grouped(count))));
        }
    }
    for (what, count) in [
        ("events of more services", left_out.services),
        ("events of more endpoints", left_out.endpoints),
        ("broken links", left_out.links),
        ("alerts", left_out.alerts),
    ] {
        if count > 0 {
            facts.push(("left out", format!("{} {what}", grouped(count))));
        }
    }
    facts
}

/// All tables that have rows.
pub fn tables(report: &Report) -> Vec<Table> {
    let endpoints = &report.endpoints;
    let note = match report.left_out.endpoints {
        0 => "path templates; paths only answered with 4xx (except 401 and 405) are left out"
            .to_owned(),
        more => {
            format!("{} events of endpoints beyond the limit are counted as other", grouped(more))
        }
    };
    let brief = [SERVICE, METHOD, PATH, HITS, STATUSES, LAST];
    // As in the list of known ones and in the rule, only what answers counts.
    let unknown = endpoints.iter().filter(|row| row.known == Some(false) && row.has_answered());
    let unseen = endpoints.iter().filter(|row| row.unseen);
    let mut failing: Vec<&Row> = endpoints.iter().filter(|row| row.failed > 0).collect();
    failing.sort_by_key(|row| Reverse(row.failed));
    let mut slowest: Vec<&Row> = endpoints.iter().filter(|row| row.p95_us.is_some()).collect();
    slowest.sort_by_key(|row| Reverse(row.p95_us));
    slowest.truncate(TOP);
    let mut tables = vec![
        Table::new(
            "Services",
            "requested hosts, with their responses",
            &[SERVICE, HITS, STATUSES, FAILED, SHARE, P50, P95, P99, CLIENTS],
            &report.services,
        ),
        Table::new(
            "Endpoints",
            note,
            &[SERVICE, METHOD, PATH, HITS, STATUSES, P50, P95, SIZE, CLIENTS, FIRST, LAST],
            endpoints,
        ),
        Table::new(
            "Unknown endpoints",
            "answered with success, and not in the list of known endpoints",
            &brief,
            unknown,
        ),
        Table::new("Not seen recently", "seen earlier, but not requested recently", &brief, unseen),
        Table::new(
            "Failing endpoints",
            "5xx responses, and requests without a response",
            &[SERVICE, METHOD, PATH, FAILED, HITS, SHARE, STATUSES, LAST],
            failing,
        ),
        Table::new(
            "Slowest endpoints",
            "time from the end of the request to the first byte of the response; 95 % took at most \
             p95",
            &[SERVICE, METHOD, PATH, P50, P95, P99, HITS],
            slowest,
        ),
        Table::new(
            "Broken links",
            "missing pages, by the page that links to them",
            LINKS,
            &report.broken_links,
        ),
        Table::new("Alerts", "in their last state, most severe first", ALERTS, &report.alerts),
    ];
    tables.retain(|table| !table.rows.is_empty());
    tables
}

/// Endpoints that answered with success, one per line, as
/// [`http_trace_model::endpoint::KnownEndpoints`] reads them.
pub fn allow_list(report: &Report) -> String {
    let rows = report.endpoints.iter().filter(|row| row.has_answered());
    let lines = rows.map(|row| KnownEndpoints::line(&row.method, &row.service, &row.template));
    let all: Vec<Option<String>> = lines.collect();
    let left_out = all.iter().filter(|line| line.is_none()).count();
    let mut lines: Vec<String> = all.into_iter().flatten().collect();
    lines.sort();
    let mut text = String::from("# METHOD SERVICE PATH of endpoints that answered successfully\n");
    if left_out > 0 {
        let _ = writeln!(
            text,
            "# {left_out} more left out: without a path, with spaces, or like a comment or wildcard of this list"
        );
    }
    lines.iter().for_each(|line| text.extend([line, "\n"]));
    text
}

fn statuses(row: &Row) -> String {
    let each = row.statuses.iter().map(|(status, count)| format!("{status}: {count}"));
    each.collect::<Vec<_>>().join(", ")
}

fn percent(part: u64, of: u64) -> String {
    match part {
        0 => "0 %".to_owned(),
        part => format!("{:.1} %", part as f64 * 100.0 / of.max(1) as f64),
    }
}

fn time(us: Option<u64>) -> String {
    us.map(|us| latency(us.saturating_mul(1000))).unwrap_or_default()
}

/// Maximum width of a column on a terminal, and the narrowest width that columns are cut to.
const WIDEST: usize = 48;
const NARROWEST: usize = 12;

/// Columns that are dropped on a narrow terminal, in this order.
const SPARED: [&str; 8] = ["first", "last", "clients", "mean size", "p50", "p99", "paths", "share"];

/// Renders a report for a terminal of this many columns: aligned, with long values cut. The times of first
/// and last events appear only in other forms.
pub fn text(report: &Report, width: Option<usize>) -> String {
    let mut out = String::new();
    for (name, value) in facts(report) {
        let _ = writeln!(out, "{name:<15} {value}");
    }
    for mut table in tables(report) {
        for name in &SPARED[..2] {
            spare(&mut table, name);
        }
        let mut widest = WIDEST;
        let is_too_wide = |table: &Table, widest| {
            let too_wide = |room| lines(table, widest).iter().any(|line| columns(line) > room);
            width.is_some_and(too_wide)
        };
        for name in &SPARED[2..] {
            if is_too_wide(&table, widest) {
                spare(&mut table, name);
            }
        }
        while widest > NARROWEST && is_too_wide(&table, widest) {
            widest -= 1;
        }
        let _ = writeln!(out, "\n{}\n{}", table.title.to_uppercase(), table.note);
        lines(&table, widest).iter().for_each(|line| out.extend([line, "\n"]));
    }
    out
}

fn lines(table: &Table, widest: usize) -> Vec<String> {
    let heads = table.columns.iter().map(|(name, _)| (*name).to_owned()).collect();
    let cells = |row: &Vec<String>| row.iter().map(|cell| cut(cell, widest)).collect();
    let rows: Vec<_> = iter::once(heads).chain(table.rows.iter().map(cells)).collect();
    aligned(&rows, |at| table.columns[at].1)
}

fn spare(table: &mut Table, name: &str) {
    if let Some(at) = table.columns.iter().position(|(column, _)| *column == name) {
        table.columns.remove(at);
        table.rows.iter_mut().for_each(|row| drop(row.remove(at)));
    }
}

pub fn markdown(report: &Report) -> String {
    let mut out = String::from("# HTTP inventory\n\n");
    for (name, value) in facts(report) {
        let _ = writeln!(out, "- {name}: {}", escaped(&value));
    }
    for table in tables(report) {
        let _ = writeln!(out, "\n## {}\n\n{}\n", table.title, escaped(&table.note));
        let names: Vec<&str> = table.columns.iter().map(|(name, _)| *name).collect();
        let rules = table.columns.iter().map(|(_, right)| if *right { "---:" } else { "---" });
        let _ =
            writeln!(out, "| {} |\n|{}|", names.join(" | "), rules.collect::<Vec<_>>().join("|"));
        for row in &table.rows {
            let cells: Vec<String> = row.iter().map(|cell| escaped(cell)).collect();
            let _ = writeln!(out, "| {} |", cells.join(" | "));
        }
    }
    let _ = write!(out, "\n## Allow list\n\n```\n{}```\n", allow_list(report));
    out
}

/// Escapes text so that Markdown shows it literally.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '&' => out.push_str("&amp;"),
            '\\' | '`' | '*' | '_' | '{' | '}' | '[' | ']' | '|' | '#' | '!' | '~' | '>' => {
                out.extend(['\\', c]);
            }
            c => out.push(c),
        }
    }
    out
}
