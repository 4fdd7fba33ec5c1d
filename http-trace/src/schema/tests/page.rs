//! Generates `docs/FIELDS.md` from the field tables.

use std::fmt::Write as _;

use crate::sink::counts::SUMMARY;
use crate::sink::json::ALERT;
use http_trace_model::field::derived::DERIVED;
use http_trace_model::field::event::EVENT;
use http_trace_model::field::loss::LOSS;
use http_trace_model::field::{About, Kind};

const HEAD: &str = "# Fields

Generated from the field tables (`http-trace/model/src/field/`, for alerts
`http-trace/src/sink/json/alert.rs`, for summaries `http-trace/src/sink/counts.rs`) by `UPDATE=1 cargo test -p http-trace --lib schema`. The JSON
Schema of the same records is printed by `http-trace schema`. *Source* is where on the wire, or in the
agent, a value comes from; *in rules* lists the names under which Sigma rules may use a field, and
names compare without case. A field is left out where nothing is known of it, unless it is marked `*`:
such a field is there whenever its object is.
";

const HEADERS: &str = "
Any header field may be named too: `request.header.NAME`, `http.request.header.NAME`,
`http.request.headers.NAME`, and the same with `response`.
";

pub fn page() -> String {
    let mut out = HEAD.to_owned();
    let events = EVENT.iter().copied().flatten().map(|field| &field.about);
    table(&mut out, "Events", events, true);
    let derived = DERIVED.iter().map(|field| &field.about);
    table(&mut out, "Fields that only rules see", derived, true);
    out.push_str(HEADERS);
    table(&mut out, "Losses", LOSS.iter().map(|field| &field.about), false);
    table(&mut out, "Alerts", ALERT.iter().map(|field| &field.about), false);
    table(&mut out, "Summaries", SUMMARY.iter().map(|field| &field.about), false);
    out
}

fn table<'a>(
    out: &mut String,
    title: &str,
    fields: impl Iterator<Item = &'a About>,
    with_source: bool,
) {
    let _ = write!(out, "\n## {title}\n\n| field | type | meaning |");
    out.push_str(if with_source {
        " source | in rules |\n|---|---|---|---|---|\n"
    } else {
        "\n|---|---|---|\n"
    });
    for about in fields.filter(|about| about.kind != Kind::Object) {
        row(out, about.name, about, with_source);
        if let Kind::Rows(members, ..) = about.kind {
            for member in members.iter().filter(|about| about.kind != Kind::Object) {
                row(out, &format!("{}[].{}", about.name, member.name), member, with_source);
            }
        }
    }
}

fn row(out: &mut String, name: &str, about: &About, with_source: bool) {
    let mark = if about.always { "*" } else { "" };
    let (kind, meaning) = (words(about.kind), about.meaning.replace('|', "\\|"));
    let _ = write!(out, "| `{name}`{mark} | {kind} | {meaning} |");
    if with_source {
        let names = about.rules.iter().map(|name| format!("`{name}`"));
        let names = names.collect::<Vec<_>>().join(", ");
        let _ = write!(out, " {} | {names} |", about.source);
    }
    out.push('\n');
}

fn words(kind: Kind) -> String {
    let any_of = |words: &[&str]| {
        let words: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
        words.join(", ")
    };
    match kind {
        Kind::Object => "object".to_owned(),
        Kind::Text | Kind::Pattern(_) => "text".to_owned(),
        Kind::OneOf(words) => any_of(words),
        Kind::Constant(word) => format!("`{word}`"),
        Kind::Tags(lists) => lists.iter().map(|list| any_of(list)).collect::<Vec<_>>().join("; "),
        Kind::Number(least, most) if most < u64::MAX => format!("number, {least}–{most}"),
        Kind::Number(..) => "number".to_owned(),
        Kind::Port => "port".to_owned(),
        Kind::Bool => "true or false".to_owned(),
        Kind::Ip => "IP address".to_owned(),
        Kind::Time => "RFC 3339 with ns, UTC".to_owned(),
        Kind::Id => "16 hexadecimal digits".to_owned(),
        Kind::Texts(_) => "list of texts".to_owned(),
        Kind::Set(words) => format!("list of {}", any_of(words)),
        Kind::Flags => "list of names".to_owned(),
        Kind::RequestHeaders | Kind::ResponseHeaders => "name in lower case → values".to_owned(),
        Kind::Rows(..) => "list of objects".to_owned(),
        Kind::StatusCounts => "status code → count".to_owned(),
        Kind::LatencyCounts => "ms → count".to_owned(),
    }
}
