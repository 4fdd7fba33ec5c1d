//! Renders a report as a self-contained HTML page: no script, no font, no request. Everything
//! that came from the network is escaped.

use std::fmt::Write as _;

use crate::inventory::Report;
use crate::tables::{Table, allow_list, facts, tables};
use crate::tally::{CLASSES, Timeline};
use http_trace_model::shown::grouped;

/// Chart colour of each class in [`CLASSES`].
const COLORS: [&str; CLASSES.len()] =
    ["#9aa4b2", "#3a8f5c", "#3f78b5", "#d99a2b", "#c4453c", "#444b57", "#6b4a86"];

const STYLE: &str = "
:root{color-scheme:light dark;--line:#d6dae0;--dim:#5d6673}
@media(prefers-color-scheme:dark){:root{--line:#3a414c;--dim:#9aa4b2}}
body{font:14px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:76rem;padding:0 1rem}
h1{font-size:1.6rem;margin:0 0 1rem}h2{font-size:1.15rem;margin:2rem 0 .2rem}
p{margin:.2rem 0 .6rem;color:var(--dim)}
dl{display:grid;grid-template-columns:repeat(auto-fill,minmax(15rem,1fr));gap:.6rem;margin:0}
dl div{border:1px solid var(--line);border-radius:6px;padding:.5rem .7rem}
dt{color:var(--dim);font-size:.8rem}dd{margin:0;overflow-wrap:anywhere}
.wide{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:.85rem}
th,td{text-align:left;padding:.25rem .6rem .25rem 0;border-bottom:1px solid var(--line);vertical-align:top}
td{overflow-wrap:break-word}td span{white-space:nowrap}
th{color:var(--dim);font-weight:600}.n{text-align:right;white-space:nowrap}
pre{border:1px solid var(--line);border-radius:6px;padding:.7rem;overflow:auto;font-size:.8rem}
svg{width:100%;height:auto}svg text{fill:var(--dim);font-size:11px}
.key span{display:inline-block;margin-right:1rem}.key i{display:inline-block;width:.8em;height:.8em;margin-right:.35em}
@page{size:landscape;margin:1.2cm}
@media print{
:root{color-scheme:light;--line:#d6dae0;--dim:#5d6673}
body{margin:0;max-width:none;padding:0;font-size:10px;print-color-adjust:exact;-webkit-print-color-adjust:exact}
.wide{overflow:visible}table{font-size:9px}td{overflow-wrap:anywhere}th,td{padding:.15rem .5rem .15rem 0}
pre{white-space:pre-wrap;overflow-wrap:anywhere;overflow:visible}
dl{grid-template-columns:repeat(4,1fr)}svg{max-height:4cm}
h1,h2,p{break-after:avoid}tr,dl div,svg,.key{break-inside:avoid}
}
";

pub fn html(report: &Report) -> String {
    let mut out = String::from(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>HTTP inventory</title><style>",
    );
    out.push_str(STYLE);
    out.push_str("</style></head><body>\n<h1>HTTP inventory</h1>\n<dl>");
    for (name, value) in facts(report) {
        let _ = write!(out, "<div><dt>{name}</dt><dd>{}</dd></div>", escaped(&value));
    }
    out.push_str("</dl>\n");
    chart(&mut out, &report.timeline);
    for shown in tables(report) {
        table(&mut out, &shown);
    }
    let list = escaped(&allow_list(report));
    let _ = write!(out, "<h2>Allow list</h2>\n<pre>{list}</pre>\n</body></html>\n");
    out
}

fn table(out: &mut String, table: &Table) {
    let (title, note) = (table.title, escaped(&table.note));
    let _ = write!(out, "<h2>{title}</h2>\n<p>{note}</p>\n<div class=\"wide\"><table><thead><tr>");
    let class = |right: bool| if right { " class=\"n\"" } else { "" };
    for (name, right) in &table.columns {
        let _ = write!(out, "<th{}>{name}</th>", class(*right));
    }
    out.push_str("</tr></thead><tbody>\n");
    for row in &table.rows {
        out.push_str("<tr>");
        for (cell, (name, right)) in row.iter().zip(&table.columns) {
            let _ = write!(out, "<td{}>{}</td>", class(*right), broken(name, cell));
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table></div>\n");
}

/// What a cell holds, to be broken only where a person would: times between date and clock, statuses between one and
/// the next.
fn broken(column: &str, cell: &str) -> String {
    let separator = match column {
        "first" | "last" => 'T',
        "statuses" => ' ',
        _ => return escaped(cell),
    };
    let joined = cell.replace(": ", ":\u{a0}");
    let parts = joined.split_inclusive(separator);
    let parts = parts.map(|part| format!("<span>{}</span><wbr>", escaped(part)));
    parts.collect()
}

/// Bars of responses over time, one on the other by class.
fn chart(out: &mut String, timeline: &Timeline) {
    const WIDTH: f64 = 1000.0;
    const HEIGHT: f64 = 160.0;
    let highest = timeline
        .intervals
        .iter()
        .map(|of| of.iter().fold(0, |sum: u64, count| sum.saturating_add(*count)))
        .max()
        .unwrap_or(0);
    if highest == 0 {
        return;
    }
    let width = WIDTH / timeline.intervals.len() as f64;
    let _ = write!(
        out,
        "<h2>Responses over time</h2>\n<p>one bar per {}; the highest is {}</p>\n\
         <svg viewBox=\"0 0 1000 165\" role=\"img\" aria-label=\"responses over time\">",
        duration(timeline.seconds),
        grouped(highest)
    );
    for (at, counts) in timeline.intervals.iter().enumerate() {
        let mut top = HEIGHT;
        let classes = CLASSES.iter().zip(COLORS);
        let there = counts.iter().zip(classes).filter(|(count, _)| **count > 0);
        for (count, (name, color)) in there {
            let height = *count as f64 / highest as f64 * HEIGHT;
            top -= height;
            let (x, bar) = (at as f64 * width, (width * 0.9).min(40.0));
            let _ = write!(
                out,
                "<rect x=\"{x:.1}\" y=\"{top:.1}\" width=\"{bar:.1}\" height=\"{height:.1}\" fill=\"{color}\">\
                 <title>{count} {name}</title></rect>"
            );
        }
    }
    out.push_str("</svg>\n<p class=\"key\">");
    for (at, (name, color)) in CLASSES.iter().zip(COLORS).enumerate() {
        if timeline.intervals.iter().any(|of| of[at] > 0) {
            let _ = write!(out, "<span><i style=\"background:{color}\"></i>{name}</span>");
        }
    }
    out.push_str("</p>\n");
}

fn duration(seconds: u64) -> String {
    match seconds {
        1 => "second".to_owned(),
        2..120 => format!("{seconds} s"),
        120..7200 => format!("{:.1} min", seconds as f64 / 60.0),
        7200..172_800 => format!("{:.1} h", seconds as f64 / 3600.0),
        _ => format!("{:.1} days", seconds as f64 / 86_400.0),
    }
}

/// Escapes text for HTML content and attributes.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}
