//! A report as tables, and these as text for a terminal and as Markdown. Knows no HTML.

use std::fmt::Write as _;

use crate::inventory::{Report, Row};

/// The most rows of a table that shows the top of a list.
const TOP: usize = 20;

/// A table with what it shows.
#[derive(Clone, Debug)]
pub struct Table {
    /// Its heading.
    pub title: &'static str,
    /// What the rows are, and what is left out.
    pub note: String,
    /// Names, and whether values are numbers, to the right.
    pub columns: Vec<(&'static str, bool)>,
    /// As many cells as there are columns, each.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    fn new(title: &'static str, note: impl Into<String>, columns: &[(&'static str, bool)]) -> Self {
        Table {
            title,
            note: note.into(),
            columns: columns.to_vec(),
            rows: Vec::new(),
        }
    }
}

const SERVICE: (&str, bool) = ("service", false);
const METHOD: (&str, bool) = ("method", false);
const PATH: (&str, bool) = ("path", false);
const HITS: (&str, bool) = ("hits", true);
const STATUSES: (&str, bool) = ("statuses", false);
const P50: (&str, bool) = ("p50", true);
const P95: (&str, bool) = ("p95", true);
const P99: (&str, bool) = ("p99", true);

/// Name and value of what is said first.
pub fn facts(report: &Report) -> Vec<(&'static str, String)> {
    let classes = report.classes.iter().map(|(class, count)| match *class {
        "none" => format!("{} without response", grouped(*count)),
        class => format!("{} {class}", grouped(*count)),
    });
    let time = match (&report.from, &report.until) {
        (Some(from), Some(until)) => format!("{from} to {until}"),
        _ => "nothing came".to_owned(),
    };
    let lost = match report.lost {
        0 => "nothing".to_owned(),
        lost => format!("{}: counts are lower bounds", grouped(lost)),
    };
    let left_out = &report.left_out;
    let mut facts = vec![
        ("time", time),
        (
            "responses",
            format!(
                "{} ({})",
                grouped(report.events),
                classes.collect::<Vec<_>>().join(", ")
            ),
        ),
        ("clients", report.clients.clone()),
        ("services", report.services.len().to_string()),
        ("endpoints", report.endpoints.len().to_string()),
        ("alerts", report.alerts.len().to_string()),
        ("lost", lost),
    ];
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

/// All tables, those without rows left out.
pub fn tables(report: &Report) -> Vec<Table> {
    let endpoints = &report.endpoints;
    let mut tables = vec![services(report)];
    let note = match report.left_out.endpoints {
        0 => "paths without what differs between requests; what answers nothing but 404 is none"
            .to_owned(),
        more => format!(
            "{} events are of endpoints beyond the bound, counted as other",
            grouped(more)
        ),
    };
    let columns = [
        SERVICE,
        METHOD,
        PATH,
        HITS,
        STATUSES,
        P50,
        P95,
        ("bytes", true),
        ("clients", true),
        ("first", false),
        ("last", false),
    ];
    let mut all = Table::new("Endpoints", note, &columns);
    all.rows = endpoints
        .iter()
        .map(|row| {
            let mut cells = of_endpoint(row);
            cells.extend([
                row.hits.to_string(),
                statuses(row),
                us(row.p50_us),
                us(row.p95_us),
            ]);
            cells.extend([
                bytes(row.bytes),
                row.clients.clone(),
                row.first.clone(),
                row.last.clone(),
            ]);
            cells
        })
        .collect();
    tables.push(all);
    let some = |title, note: &str, is_it: &dyn Fn(&&Row) -> bool| {
        let mut table = Table::new(
            title,
            note,
            &[SERVICE, METHOD, PATH, HITS, STATUSES, ("last", false)],
        );
        let rows = endpoints.iter().filter(is_it).map(|row| {
            let mut cells = of_endpoint(row);
            cells.extend([row.hits.to_string(), statuses(row), row.last.clone()]);
            cells
        });
        table.rows = rows.collect();
        table
    };
    tables.push(some(
        "Unknown endpoints",
        "not in the list of what is known",
        &|row| row.known == Some(false),
    ));
    tables.push(some(
        "Not seen for long",
        "known from before, and not asked for lately",
        &|row| row.unseen,
    ));
    tables.push(failing(report));
    tables.push(slowest(report));
    let mut links = Table::new(
        "Broken links",
        "what was not there, by the page that leads to it",
        &[
            SERVICE,
            PATH,
            ("status", true),
            ("referrer", false),
            ("times", true),
        ],
    );
    links.rows = report
        .broken_links
        .iter()
        .map(|link| {
            let (status, count) = (link.status.to_string(), link.count.to_string());
            vec![
                link.service.clone(),
                link.path.clone(),
                status,
                link.referrer.clone(),
                count,
            ]
        })
        .collect();
    tables.push(links);
    let mut alerts = Table::new(
        "Alerts",
        "in their last state, the worst first",
        &[
            ("level", false),
            ("rule", false),
            ("events", true),
            ("what", false),
            ("clients", false),
            ("paths", false),
            ("first", false),
            ("last", false),
        ],
    );
    alerts.rows = report
        .alerts
        .iter()
        .map(|alert| {
            vec![
                alert.level.to_owned(),
                alert.rule.clone(),
                alert.count.to_string(),
                alert.summary.clone(),
                alert.clients.join(", "),
                alert.paths.join(" "),
                alert.first.clone(),
                alert.last.clone(),
            ]
        })
        .collect();
    tables.push(alerts);
    tables.retain(|table| !table.rows.is_empty());
    tables
}

fn services(report: &Report) -> Table {
    let columns = [
        SERVICE,
        HITS,
        STATUSES,
        ("failed", true),
        P50,
        P95,
        P99,
        ("clients", true),
    ];
    let mut table = Table::new(
        "Services",
        "the hosts that were asked for, with what they answered",
        &columns,
    );
    let rows = report.services.iter().map(|row| {
        vec![
            row.service.clone(),
            row.hits.to_string(),
            statuses(row),
            percent(row.failed, row.hits),
            us(row.p50_us),
            us(row.p95_us),
            us(row.p99_us),
            row.clients.clone(),
        ]
    });
    table.rows = rows.collect();
    table
}

fn failing(report: &Report) -> Table {
    let columns = [
        SERVICE,
        METHOD,
        PATH,
        ("failed", true),
        HITS,
        ("share", true),
        STATUSES,
        ("last", false),
    ];
    let mut table = Table::new(
        "Failing endpoints",
        "5xx, and requests without response",
        &columns,
    );
    let mut rows: Vec<&Row> = report
        .endpoints
        .iter()
        .filter(|row| row.failed > 0)
        .collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.failed));
    let rows = rows.into_iter().map(|row| {
        let mut cells = of_endpoint(row);
        let share = percent(row.failed, row.hits);
        cells.extend([
            row.failed.to_string(),
            row.hits.to_string(),
            share,
            statuses(row),
            row.last.clone(),
        ]);
        cells
    });
    table.rows = rows.collect();
    table
}

fn slowest(report: &Report) -> Table {
    let columns = [SERVICE, METHOD, PATH, P50, P95, P99, HITS];
    let note =
        "from the request's end to the response's first byte; 95 of 100 took no longer than p95";
    let mut table = Table::new("Slowest endpoints", note, &columns);
    let mut rows: Vec<&Row> = report
        .endpoints
        .iter()
        .filter(|row| row.p95_us.is_some())
        .collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.p95_us));
    let rows = rows.into_iter().take(TOP).map(|row| {
        let mut cells = of_endpoint(row);
        cells.extend([
            us(row.p50_us),
            us(row.p95_us),
            us(row.p99_us),
            row.hits.to_string(),
        ]);
        cells
    });
    table.rows = rows.collect();
    table
}

/// Endpoints that answered with success, one a line, as the next report takes them.
pub fn allow_list(report: &Report) -> String {
    let rows = report.endpoints.iter().filter(|row| row.has_answered());
    let mut lines: Vec<String> = rows
        .map(|row| format!("{} {} {}", row.method, row.service, row.template))
        .collect();
    lines.sort();
    let mut text = String::from("# METHOD SERVICE PATH of endpoints that answered with success\n");
    lines.iter().for_each(|line| text.extend([line, "\n"]));
    text
}

fn of_endpoint(row: &Row) -> Vec<String> {
    vec![
        row.service.clone(),
        row.method.clone(),
        row.template.clone(),
    ]
}

fn statuses(row: &Row) -> String {
    let each = row
        .statuses
        .iter()
        .map(|(status, count)| format!("{status}: {count}"));
    each.collect::<Vec<_>>().join(", ")
}

fn percent(part: u64, of: u64) -> String {
    match part {
        0 => "0 %".to_owned(),
        part => format!("{:.1} %", part as f64 * 100.0 / of.max(1) as f64),
    }
}

fn us(us: Option<u64>) -> String {
    match us {
        None => String::new(),
        Some(us @ 0..1000) => format!("{us} µs"),
        Some(us @ 1000..1_000_000) => format!("{:.1} ms", us as f64 / 1e3),
        Some(us) => format!("{:.1} s", us as f64 / 1e6),
    }
}

fn bytes(bytes: Option<u64>) -> String {
    match bytes {
        None => String::new(),
        Some(bytes @ 0..1000) => format!("{bytes} B"),
        Some(bytes @ 1000..1_000_000) => format!("{:.1} kB", bytes as f64 / 1e3),
        Some(bytes) => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}

/// `1,234,567`
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The widest that a column of text becomes on a terminal, and the narrowest that it is cut to.
const WIDEST: usize = 48;
const NARROWEST: usize = 12;

/// Columns that a narrow terminal goes without, in this order.
const SPARED: [&str; 8] = [
    "first", "last", "clients", "bytes", "p50", "p99", "paths", "share",
];

/// For a terminal of this many columns: aligned, long values cut. Times of first and last events are left to
/// other forms.
pub fn text(report: &Report, width: Option<usize>) -> String {
    let mut out = String::new();
    for (name, value) in facts(report) {
        line(&mut out, &format!("{name:<10} {value}"));
    }
    for mut table in tables(report) {
        for name in &SPARED[..2] {
            spare(&mut table, name);
        }
        let mut widest = WIDEST;
        if let Some(room) = width {
            for name in &SPARED[2..] {
                if widths(&table, widest).iter().sum::<usize>() > room {
                    spare(&mut table, name);
                }
            }
            while widest > NARROWEST && widths(&table, widest).iter().sum::<usize>() > room {
                widest -= 1;
            }
        }
        let widths = widths(&table, widest);
        let _ = writeln!(out, "\n{}\n{}", table.title.to_uppercase(), table.note);
        let heads: Vec<String> = table
            .columns
            .iter()
            .map(|(name, _)| (*name).to_owned())
            .collect();
        for row in [&heads].into_iter().chain(&table.rows) {
            let cells = row.iter().zip(&widths).zip(&table.columns);
            let cells = cells.map(|((cell, width), (_, right))| {
                let (cell, width) = (cut(cell, widest), width - GAP);
                match right {
                    true => format!("{cell:>width$}"),
                    false => format!("{cell:<width$}"),
                }
            });
            line(&mut out, &cells.collect::<Vec<_>>().join("  "));
        }
    }
    out
}

/// Blanks between columns.
const GAP: usize = 2;

/// The columns that each column takes, with the gap behind it.
fn widths(table: &Table, widest: usize) -> Vec<usize> {
    let width = |at: usize| {
        let cells = table.rows.iter().filter_map(|row| row.get(at));
        let cells = cells.map(|cell| cell.chars().count().min(widest));
        cells.chain([table.columns[at].0.len()]).max().unwrap_or(0) + GAP
    };
    (0..table.columns.len()).map(width).collect()
}

/// Takes a column away.
fn spare(table: &mut Table, name: &str) {
    if let Some(at) = table.columns.iter().position(|(column, _)| *column == name) {
        table.columns.remove(at);
        table.rows.iter_mut().for_each(|row| drop(row.remove(at)));
    }
}

fn line(out: &mut String, text: &str) {
    out.push_str(text.trim_end());
    out.push('\n');
}

fn cut(cell: &str, widest: usize) -> String {
    match cell.chars().count() > widest {
        true => cell.chars().take(widest - 1).chain(['…']).collect(),
        false => cell.to_owned(),
    }
}

/// As Markdown.
pub fn markdown(report: &Report) -> String {
    let mut out = String::from("# HTTP inventory\n\n");
    for (name, value) in facts(report) {
        let _ = writeln!(out, "- {name}: {}", escaped(&value));
    }
    for table in tables(report) {
        let _ = writeln!(out, "\n## {}\n\n{}\n", table.title, escaped(&table.note));
        let names: Vec<&str> = table.columns.iter().map(|(name, _)| *name).collect();
        let rules = table
            .columns
            .iter()
            .map(|(_, right)| if *right { "---:" } else { "---" });
        let _ = writeln!(
            out,
            "| {} |\n|{}|",
            names.join(" | "),
            rules.collect::<Vec<_>>().join("|")
        );
        for row in &table.rows {
            let cells: Vec<String> = row.iter().map(|cell| escaped(cell)).collect();
            let _ = writeln!(out, "| {} |", cells.join(" | "));
        }
    }
    let _ = write!(out, "\n## Allow list\n\n```\n{}```\n", allow_list(report));
    out
}

/// Text that Markdown takes for nothing else.
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
