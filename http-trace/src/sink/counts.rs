//! The format `summary`: counts of responses by service, status and latency, once per interval with events; alerts
//! and losses at once. JSON lines, or a table on a terminal. Memory is bounded for any traffic. Must not know outputs.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::IpAddr;

use super::choice::{LEAST_EVERY_NS, Style};
use super::json::plan::Plan;
use super::json::tables::Tables;
use super::json::{ALERT, SHAPE};
use super::pretty::Pretty;
use super::render::{Entry, Render};
use crate::histogram::{BOUNDS, Histogram};
use crate::messages::counted;
use crate::text::Escaped;
use http_trace_detect::alert::Alert;
use http_trace_model::columns::{columns, cut_front, padded};
use http_trace_model::constant;
use http_trace_model::event::{HttpEvent, Loss, NoResponse};
use http_trace_model::field::event::ECS_VERSION;
use http_trace_model::field::loss::LOSS;
use http_trace_model::field::{Field, Kind, Value, always, field};
use http_trace_model::shown::{grouped, latency, size, span};
use http_trace_model::target::Target;

/// Maximum number of rows per interval. Further services count as [`OTHER`].
const MOST: usize = 4096;
/// Service of responses without a row of their own.
const OTHER: &[u8] = b"_other";
/// Longest host name (RFC 1035 §2.3.4); longer ones count as [`OTHER`].
const LONGEST: usize = 255;

/// Responses of one service with one status.
#[derive(Clone, Debug, Default)]
pub struct Row {
    since_ns: u64,
    until_ns: u64,
    /// Host of the requests, in lower case.
    host: Option<Box<[u8]>>,
    /// Address of a service without a host name.
    ip: Option<IpAddr>,
    port: Option<u16>,
    status: Option<u16>,
    no_response: Option<NoResponse>,
    count: u64,
    body_bytes: u64,
    ttfb: Histogram,
}

pub const SUMMARY: &[Field<Row>] = &[
    always("@timestamp", Kind::Time, "End of the interval.")
        .get(|v| Some(Value::Time(v.record.until_ns))),
    always("ecs", Kind::Object, ""),
    always("ecs.version", Kind::Text, "").get(|_| Some(Value::word(ECS_VERSION))),
    always("event", Kind::Object, ""),
    constant!("event.kind", "metric"),
    always("event.category", Kind::Tags(&[&["network", "web"]]), "")
        .get(|_| Some(Value::Words(&["network", "web"]))),
    always("event.type", Kind::Tags(&[&["info"]]), "").get(|_| Some(Value::Words(&["info"]))),
    constant!("event.dataset", "http_trace.summary"),
    always("event.start", Kind::Time, "Start of the interval.")
        .get(|v| Some(Value::Time(v.record.since_ns))),
    always("event.end", Kind::Time, "End of the interval.")
        .get(|v| Some(Value::Time(v.record.until_ns))),
    always("observer", Kind::Object, ""),
    always("observer.hostname", Kind::Text, "Name of the host that traced.")
        .get(|v| Some(Value::Text(v.hostname))),
    constant!("observer.type", "sensor"),
    always("observer.version", Kind::Text, "Version of http-trace.")
        .get(|_| Some(Value::word(env!("CARGO_PKG_VERSION")))),
    field(
        "url.domain",
        Kind::Text,
        "The service: the host that requests name, in lower case. `_other` are all beyond 4,096 rows of an \
         interval, and hosts longer than 255 bytes.",
    )
    .get(|v| v.record.host.as_deref().map(Value::Text)),
    field("destination.ip", Kind::Ip, "The server's address where requests name no host.")
        .get(|v| v.record.ip.map(Value::Ip)),
    field("destination.port", Kind::Port, "The server's port.")
        .get(|v| v.record.port.map(|port| Value::Number(port.into()))),
    field("http.response.status_code", Kind::STATUS, "The status.")
        .get(|v| v.record.status.map(|status| Value::Number(status.into()))),
    always("http_trace", Kind::Object, ""),
    field(
        "http_trace.no_response",
        Kind::OneOf(&NoResponse::NAMES),
        "Why there was no response, where there was none.",
    )
    .get(|v| v.record.no_response.map(|why| Value::word(why.name()))),
    always("http_trace.summary", Kind::Object, ""),
    always("http_trace.summary.count", Kind::Number(1, u64::MAX), "How many there were.")
        .get(|v| Some(Value::Number(v.record.count))),
    always("http_trace.summary.body_bytes", Kind::NUMBER, "Bytes of their bodies.")
        .get(|v| Some(Value::Number(v.record.body_bytes))),
    always(
        "http_trace.summary.ttfb_ns",
        Kind::NUMBER,
        "From the request's last byte to the response's first: the sum of all.",
    )
    .get(|v| {
        let sum = v.record.ttfb.sum_ns;
        Some(Value::Number(u64::try_from(sum).unwrap_or(u64::MAX)))
    }),
    always(
        "http_trace.summary.ttfb_ms",
        Kind::LatencyCounts,
        "How many took how long: at most so many ms and more than the next smaller bound of 5, 10, 25, 50, 75, \
         100, 250, 500, 750, 1000, 2500, 5000, 7500 and 10000, or `more`.",
    )
    .get(|v| Some(Value::Counts(latencies(&v.record.ttfb)))),
];

/// Non-empty ranges.
fn latencies(of: &Histogram) -> Vec<(String, u64)> {
    let name =
        |bound: Option<f64>| bound.map_or("more".to_owned(), |s| (s * 1e3).round().to_string());
    let ranges = of.ranges().filter(|(_, count)| *count > 0);
    ranges.map(|(bound, count)| (name(bound), count)).collect()
}

/// Counts events and writes the counts.
#[derive(Debug)]
pub struct Counts {
    every_ns: u64,
    form: Form,
    /// Rows of this interval, by the key of [`Counts::key_of`].
    rows: HashMap<Box<[u8]>, Row, foldhash::fast::RandomState>,
    key: Vec<u8>,
    /// Start of the interval, a multiple of its length.
    since_ns: u64,
    now_ns: u64,
    /// Start of the run, or the first event that was recorded before it: no interval begins earlier.
    begun_ns: u64,
}

#[derive(Debug)]
enum Form {
    Lines(Box<Tables>, Box<Plan<Row>>),
    /// Columns of the terminal.
    Table(Box<Pretty>, usize),
}

impl Counts {
    /// Uses the style's interval, host name and width; with a width, writes a table.
    pub fn new(style: &Style) -> Self {
        let form = match style.width {
            Some(columns) => Form::Table(Box::new(Pretty::new(style)), columns),
            None => {
                let tables = Tables::new(style, SHAPE, [], ALERT, LOSS);
                let plan = tables.plan(SUMMARY);
                Form::Lines(Box::new(tables), Box::new(plan))
            }
        };
        Counts {
            every_ns: style.every_ns.max(LEAST_EVERY_NS),
            form,
            rows: HashMap::default(),
            key: Vec::new(),
            since_ns: 0,
            now_ns: 0,
            begun_ns: style.start_ns,
        }
    }

    fn key_of(&mut self, host: Option<&[u8]>, event: &HttpEvent) {
        let key = &mut self.key;
        key.clear();
        match (host, event.server.ip) {
            (Some(host), _) => {
                key.extend_from_slice(host);
                key.make_ascii_lowercase();
            }
            (None, IpAddr::V4(ip)) => key.extend(ip.octets()),
            (None, IpAddr::V6(ip)) => key.extend(ip.octets()),
        }
        let status = event.response.as_ref().map_or(0, |r| r.status);
        key.extend(event.server.port.to_be_bytes());
        key.extend(status.to_be_bytes());
        key.push(event.no_response.map_or(0, |why| why as u8 + 1));
        key.push(host.is_some().into());
    }

    fn row(&mut self, event: &HttpEvent) -> &mut Row {
        let target = event.request.as_ref().map(Target::of);
        let host = target.and_then(|target| target.host);
        let mut named = host.map(|host| if host.len() > LONGEST { OTHER } else { host });
        self.key_of(named, event);
        let mut ends = Some(&event.server);
        if self.rows.len() >= MOST && !self.rows.contains_key(&self.key[..]) {
            (named, ends) = (Some(OTHER), None);
            self.key.clear();
        }
        // Looking up by slice does not allocate; nearly all events have a row.
        if !self.rows.contains_key(&self.key[..]) {
            let row = Row {
                host: named.map(|host| host.to_ascii_lowercase().into()),
                ip: ends.filter(|_| named.is_none()).map(|end| end.ip),
                port: ends.and_then(|end| end.known_port()),
                status: ends.and(event.response.as_ref()).map(|r| r.status),
                no_response: ends.and(event.no_response),
                ..Row::default()
            };
            self.rows.insert(self.key.as_slice().into(), row);
        }
        match self.rows.get_mut(&self.key[..]) {
            Some(row) => row,
            None => unreachable!("it was put in"),
        }
    }

    /// Appends the rows of the interval, by service and status.
    fn write(&self, until_ns: u64, out: &mut Vec<u8>) {
        let mut rows: Vec<Row> = self.rows.values().cloned().collect();
        rows.sort_unstable_by(|a, b| {
            let of =
                |row: &Row| (row.ip, row.port, row.status, row.no_response.map(NoResponse::name));
            a.host.cmp(&b.host).then_with(|| of(a).cmp(&of(b)))
        });
        let since_ns = self.since_ns.max(self.begun_ns).min(until_ns);
        for row in &mut rows {
            (row.since_ns, row.until_ns) = (since_ns, until_ns);
        }
        match &self.form {
            Form::Lines(tables, plan) => {
                for row in &rows {
                    tables.record(plan, row, out);
                }
            }
            Form::Table(pretty, columns) if !rows.is_empty() => {
                let time = pretty.clock(until_ns);
                let text = table(&time, until_ns - since_ns, &rows, *columns);
                out.extend_from_slice(text.as_bytes());
            }
            Form::Table(..) => {}
        }
    }
}

impl Render for Counts {
    fn event(&mut self, entry: &Entry<'_>, out: &mut Vec<u8>) {
        let event = entry.event;
        self.begun_ns = self.begun_ns.min(event.time_ns);
        self.tick(event.time_ns, out);
        if self.rows.is_empty() {
            self.since_ns = self.now_ns - self.now_ns % self.every_ns;
        }
        let row = self.row(event);
        row.count += 1;
        row.body_bytes += event.body_bytes.unwrap_or(0);
        if let Some(ns) = event.ttfb_ns() {
            row.ttfb.add(ns);
        }
    }

    fn alert(&mut self, alert: &Alert, out: &mut Vec<u8>) {
        match &mut self.form {
            Form::Lines(tables, _) => tables.alert(alert, out),
            Form::Table(pretty, _) => pretty.alert(alert, out),
        }
    }

    fn loss(&mut self, loss: &Loss, out: &mut Vec<u8>) {
        match &mut self.form {
            Form::Lines(tables, _) => tables.loss(loss, out),
            Form::Table(pretty, _) => pretty.loss(loss, out),
        }
    }

    fn due_ns(&self) -> Option<u64> {
        (!self.rows.is_empty()).then_some(self.since_ns + self.every_ns)
    }

    fn tick(&mut self, now_ns: u64, out: &mut Vec<u8>) {
        self.now_ns = self.now_ns.max(now_ns);
        if let Some(due_ns) = self.due_ns().filter(|due_ns| *due_ns <= self.now_ns) {
            self.write(due_ns, out);
            self.rows.clear();
        }
    }

    fn tail(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(self.now_ns.max(self.since_ns), &mut out);
        out
    }
}

/// Width of all columns but the service.
const OTHERS: usize = 61;

/// The rows as a table of this width. Long services are cut at the front, because the port is at the end.
fn table(time: &str, took_ns: u64, rows: &[Row], room: usize) -> String {
    let services: Vec<String> = rows.iter().map(service).collect();
    let widest = services.iter().map(|service| columns(service)).max().unwrap_or(0);
    let width = widest.clamp(7, room.saturating_sub(OTHERS).clamp(7, 60));
    let all: u64 = rows.iter().map(|row| row.count).sum();
    let seconds = took_ns as f64 / 1e9;
    // The first and the last interval of a run are shorter than the others.
    let took = match took_ns % 1_000_000_000 {
        0 => span(took_ns / 1_000_000_000),
        _ => format!("{seconds:.1}s"),
    };
    let mut out = format!("{time}  {} in {took}\n", counted(all, "event"));
    // Writing to a string cannot fail.
    let _ = writeln!(
        out,
        "  {:width$} {:11} {:>9} {:>7} {:>8} {:>8} {:>10}",
        "service", "status", "events", "per s", "p50", "p99", "bodies"
    );
    for (row, service) in rows.iter().zip(services) {
        let service = padded(cut_front(&service, width), width);
        let status = match (row.status, row.no_response) {
            (Some(status), _) => status.to_string(),
            (None, why) => why.map_or("-", NoResponse::name).to_owned(),
        };
        let rate = match took_ns {
            0 => "-".to_owned(),
            _ => format!("{:.1}", row.count as f64 / seconds),
        };
        let _ = writeln!(
            out,
            "  {service} {status:11} {:>9} {rate:>7} {:>8} {:>8} {:>10}",
            grouped(row.count),
            bound(&row.ttfb, 0.5),
            bound(&row.ttfb, 0.99),
            size(row.body_bytes),
        );
    }
    out
}

/// `shop.example:80`; in parentheses, the address where requests name no host, which another row may have as its
/// host.
fn service(row: &Row) -> String {
    let port = row.port.map_or_else(String::new, |port| format!(":{port}"));
    match (&row.host, row.ip) {
        (Some(host), _) => format!("{}{port}", Escaped(host)),
        (None, Some(IpAddr::V6(ip))) => format!("([{ip}]{port})"),
        (None, Some(ip)) => format!("({ip}{port})"),
        (None, None) => "-".to_owned(),
    }
}

/// A quantile as a range: `≤ 5 ms`.
fn bound(of: &Histogram, share: f64) -> String {
    let shown = |seconds: f64| latency((seconds * 1e9) as u64);
    match of.quantile(share) {
        None => "-".to_owned(),
        Some(bound) if bound.is_finite() => format!("≤ {}", shown(bound)),
        Some(_) => format!("> {}", shown(BOUNDS[BOUNDS.len() - 1])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_trace_model::event::Endpoint;
    use http_trace_samples as testing;

    const SECOND: u64 = 1_000_000_000;

    fn event(at_s: u64, host: &str, status: u16) -> HttpEvent {
        let mut event = testing::event_of(
            testing::request(&format!("GET /x HTTP/1.1\r\nHost: {host}\r\n\r\n")),
            testing::response(&format!("HTTP/1.1 {status} X\r\n\r\n")),
        );
        event.time_ns = at_s * SECOND;
        event
    }

    fn lines(out: &[u8]) -> Vec<serde_json::Value> {
        let lines = out.split(|b| *b == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| serde_json::from_slice(line).expect("json")).collect()
    }

    fn push(counts: &mut Counts, event: &HttpEvent, out: &mut Vec<u8>) {
        counts.event(&Entry { event, user: None }, out);
    }

    #[test]
    fn each_interval_with_events_has_a_line_for_each_service_and_status() {
        let mut counts = Counts::new(&Style::default());
        let mut out = Vec::new();
        for (at_s, host, status) in [
            (11, "b.example", 200),
            (12, "A.example:8080", 200),
            (19, "a.example", 200),
            (19, "a.example", 404),
        ] {
            push(&mut counts, &event(at_s, host, status), &mut out);
        }
        assert_eq!(counts.due_ns(), Some(20 * SECOND));
        counts.tick(19 * SECOND, &mut out);
        assert!(out.is_empty());
        // No events for several intervals: the line still belongs to the first.
        counts.tick(45 * SECOND, &mut out);
        let found = lines(&out);
        let row = |line: &serde_json::Value| {
            let host = line["url"]["domain"].as_str().expect("a host").to_owned();
            let status = line["http"]["response"]["status_code"].as_u64();
            (host, status.expect("a status"), line["http_trace"]["summary"]["count"].as_u64())
        };
        assert_eq!(
            found.iter().map(row).collect::<Vec<_>>(),
            [
                ("a.example".to_owned(), 200, Some(2)),
                ("a.example".to_owned(), 404, Some(1)),
                ("b.example".to_owned(), 200, Some(1)),
            ]
        );
        assert_eq!(found[0]["event"]["start"], "1970-01-01T00:00:10.000000000Z");
        assert_eq!(found[0]["@timestamp"], "1970-01-01T00:00:20.000000000Z");
        out.clear();
        assert_eq!(counts.due_ns(), None);
        assert!(counts.tail().is_empty());
        // The remaining counts are written at the end of the run.
        push(&mut counts, &event(47, "c", 500), &mut out);
        assert!(out.is_empty());
        let tail = lines(&counts.tail());
        assert_eq!(tail[0]["event"]["start"], "1970-01-01T00:00:40.000000000Z");
        assert_eq!(tail[0]["event"]["end"], "1970-01-01T00:00:47.000000000Z");
    }

    #[test]
    fn no_traffic_makes_more_rows_than_are_allowed() {
        let mut counts = Counts::new(&Style::default());
        let mut out = Vec::new();
        push(&mut counts, &event(1, &"x".repeat(300), 200), &mut out);
        for n in 0..MOST + 9 {
            push(&mut counts, &event(1, &format!("h{n}.example"), 200), &mut out);
        }
        assert_eq!(counts.rows.len(), MOST + 1);
        let all = lines(&counts.tail());
        let of_others = all.iter().filter(|line| line["url"]["domain"] == "_other");
        let counted = of_others.map(|line| line["http_trace"]["summary"]["count"].as_u64());
        assert_eq!(counted.flatten().sum::<u64>(), 11);
    }

    #[test]
    fn a_terminal_gets_a_table() {
        let mut counts = Counts::new(&Style { width: Some(120), ..Style::default() });
        let mut out = Vec::new();
        for n in 0..20 {
            let mut event = event(11, "a\u{1b}[31m.example", 200);
            event.request_end_ns = Some(event.time_ns);
            event.response_start_ns = Some(event.time_ns + n * 1_000_000);
            push(&mut counts, &event, &mut out);
        }
        counts.tick(20 * SECOND, &mut out);
        let text = String::from_utf8(out).expect("UTF-8");
        assert!(text.contains("00:00:20.000  20 events in 10s\n"), "{text}");
        let row = text.lines().last().expect("a row");
        assert!(row.contains("a\\x1b[31m.example"), "{text}");
        let words: Vec<&str> = row.split_whitespace().skip(1).collect();
        assert_eq!(words[..9], ["200", "20", "2.0", "≤", "10", "ms", "≤", "25", "ms"], "{text}");
    }

    #[test]
    fn a_table_tells_a_host_from_an_address() {
        let mut counts = Counts::new(&Style { width: Some(120), ..Style::default() });
        let mut unnamed = testing::event_of(
            testing::request("GET /x HTTP/1.0\r\n\r\n"),
            testing::response("HTTP/1.0 200 X\r\n\r\n"),
        );
        unnamed.server = Endpoint { ip: [10, 77, 0, 2].into(), port: 80 };
        let mut named = event(0, "10.77.0.2", 200);
        named.server = unnamed.server;
        for of in [&unnamed, &named] {
            push(&mut counts, of, &mut Vec::new());
        }
        let text = String::from_utf8(counts.tail()).expect("UTF-8");
        assert!(text.contains("  (10.77.0.2:80) 200"), "{text}");
        assert!(text.contains("  10.77.0.2:80 "), "{text}");
    }

    /// An interval begins with the run that counts it, and ends with it.
    #[test]
    fn the_first_and_the_last_interval_are_as_long_as_they_were() {
        let style =
            |width, start_s| Style { width, start_ns: start_s * SECOND, ..Style::default() };
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        let mut out = Vec::new();
        let mut counts = Counts::new(&style(Some(120), 16));
        (0..6).for_each(|_| push(&mut counts, &event(17, "a", 200), &mut out));
        counts.tick(20 * SECOND, &mut out);
        let first = text(std::mem::take(&mut out));
        assert!(first.contains("  6 events in 4s\n") && first.contains("  1.5 ≤"), "{first}");
        push(&mut counts, &event(23, "a", 200), &mut out);
        counts.tick(25 * SECOND + SECOND / 2, &mut out);
        let last = text(counts.tail());
        assert!(last.contains("  1 event in 5.5s\n") && last.contains("  0.2 ≤"), "{last}");
        let mut counts = Counts::new(&style(None, 16));
        push(&mut counts, &event(17, "a", 200), &mut out);
        let line = lines(&counts.tail());
        assert_eq!(line[0]["event"]["start"], "1970-01-01T00:00:16.000000000Z");
        // Recorded before the run: from the first event on.
        let mut counts = Counts::new(&style(None, 1000));
        push(&mut counts, &event(17, "a", 200), &mut out);
        push(&mut counts, &event(19, "a", 200), &mut out);
        let line = lines(&counts.tail());
        assert_eq!(line[0]["event"]["start"], "1970-01-01T00:00:17.000000000Z");
        assert_eq!(line[0]["event"]["end"], "1970-01-01T00:00:19.000000000Z");
    }

    #[test]
    fn a_table_fits_its_terminal() {
        let style = Style { width: Some(80), ..Style::default() };
        let mut counts = Counts::new(&style);
        let mut out = Vec::new();
        let mut long = event(11, "a-long-name-of-a-service.shop.example", 200);
        long.request_end_ns = Some(long.time_ns);
        push(&mut counts, &long, &mut out);
        push(&mut counts, &event(11, "b.example", 404), &mut out);
        counts.tick(20 * SECOND, &mut out);
        let text = String::from_utf8(out).expect("UTF-8");
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert!(text.contains("…"), "{text}");
    }
}
