//! Writes events as CSV (RFC 4180) for spreadsheets, with a header line. Prevents formula injection. Must not write
//! alerts or losses.

use std::fmt::Write as _;

use super::render::{Entry, Render};
use super::time::rfc3339;
use crate::text::terminal;
use http_trace_model::event::HttpEvent;
use http_trace_model::field::event::getter;
use http_trace_model::field::{Get, Value};

/// Columns and their fields. The pod is empty while only its UID is known.
const COLUMNS: &[(&str, &str)] = &[
    ("time", "@timestamp"),
    ("client", "client.address"),
    ("client_port", "client.port"),
    ("server", "server.ip"),
    ("server_port", "server.port"),
    ("method", "http.request.method"),
    ("host", "url.domain"),
    ("path", "url.path"),
    ("query", "url.query"),
    ("status", "http.response.status_code"),
    ("reason", "http.response.status_phrase"),
    ("version", "http.version"),
    ("content_length", "http_trace.content_length"),
    ("body_bytes", "http.response.body.bytes"),
    ("ttfb_ms", "http_trace.ttfb_ns"),
    ("duration_ms", "event.duration"),
    ("user_agent", "user_agent.original"),
    ("process", "process.name"),
    ("pod", "orchestrator.resource.name"),
    ("flags", "http_trace.flags"),
];

/// Writes events as CSV.
#[derive(Debug)]
pub struct Csv {
    columns: Vec<(&'static str, Option<Get<HttpEvent>>)>,
    cell: String,
}

impl Default for Csv {
    fn default() -> Self {
        let columns = COLUMNS.iter().map(|(column, name)| (*column, getter(name)));
        Csv { columns: columns.collect(), cell: String::new() }
    }
}

impl Render for Csv {
    fn head(&self) -> Vec<u8> {
        let names: Vec<&str> = self.columns.iter().map(|(name, _)| *name).collect();
        format!("{}\r\n", names.join(",")).into_bytes()
    }

    fn event(&mut self, entry: &Entry<'_>, out: &mut Vec<u8>) {
        let mut view = entry.view(b"");
        for (at, (name, get)) in self.columns.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            self.cell.clear();
            if let Some(value) = get.and_then(|get| get(&view)) {
                view.escaped |= write(&mut self.cell, &value, name.ends_with("_ms"));
            }
            put_cell(out, &self.cell);
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// Appends a value as one line of text. Returns whether it contains bytes that are not UTF-8.
fn write(cell: &mut String, value: &Value<'_>, is_ms: bool) -> bool {
    match value {
        // Writing to a string cannot fail.
        Value::Number(ns) if is_ms => {
            let _ = write!(cell, "{}.{:03}", ns / 1_000_000, ns / 1000 % 1000);
        }
        Value::Time(ns) => cell.push_str(std::str::from_utf8(&rfc3339(*ns)).unwrap_or_default()),
        Value::Words(words) => cell.push_str(&words.join(" ")),
        Value::List(values) => {
            for (at, value) in values.iter().enumerate() {
                if at > 0 {
                    cell.push(' ');
                }
                write(cell, value, false);
            }
        }
        other => {
            return other.with_text(|text| {
                terminal(cell, text);
                std::str::from_utf8(text).is_err()
            });
        }
    }
    false
}

/// Appends a cell. A possible formula is prefixed with an apostrophe, so that spreadsheets show it as text. Cells are
/// quoted as in RFC 4180 §2, and also if they contain `;` or tabs, which some spreadsheets take for separators.
fn put_cell(out: &mut Vec<u8>, cell: &str) {
    let is_formula = cell.starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠']);
    let is_quoted = is_formula || cell.contains(['"', ',', ';', '\t', '\r', '\n']);
    if !is_quoted {
        out.extend_from_slice(cell.as_bytes());
        return;
    }
    out.push(b'"');
    if is_formula {
        out.push(b'\'');
    }
    out.extend_from_slice(cell.replace('"', "\"\"").as_bytes());
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use http_trace_samples as testing;

    /// Parses RFC 4180 into rows of cells.
    fn read(text: &str) -> Vec<Vec<String>> {
        let mut lines = vec![vec![String::new()]];
        let (mut chars, mut quoted) = (text.chars().peekable(), false);
        while let Some(c) = chars.next() {
            let line = lines.last_mut().expect("a line");
            let cell = line.last_mut().expect("a cell");
            match c {
                '"' if quoted && chars.peek() == Some(&'"') => {
                    chars.next();
                    cell.push('"');
                }
                '"' => quoted = !quoted,
                ',' if !quoted => line.push(String::new()),
                '\r' if !quoted && chars.next_if_eq(&'\n').is_some() => {
                    lines.push(vec![String::new()]);
                }
                c => cell.push(c),
            }
        }
        assert_eq!(lines.pop(), Some(vec![String::new()]), "ends with its last line");
        lines
    }

    fn cells(events: &[HttpEvent]) -> Vec<Vec<String>> {
        let mut csv = Csv::default();
        let mut out = csv.head();
        for event in events {
            csv.event(&Entry { event, user: None }, &mut out);
        }
        read(&String::from_utf8(out).expect("UTF-8"))
    }

    #[test]
    fn an_event_is_a_line_under_the_header() {
        let lines = cells(&[testing::event(), testing::event()]);
        let header: Vec<&str> = COLUMNS.iter().map(|(name, _)| *name).collect();
        assert_eq!(lines[0], header);
        let expected = [
            "2026-11-20T06:40:07.123456789Z",
            "10.1.2.3",
            "50000",
            "10.9.9.9",
            "80",
            "GET",
            "shop.example",
            "/cart/7",
            "x=1",
            "404",
            "Not Found",
            "1.1",
            "512",
            "512",
            "1.000",
            "1.200",
            "curl/8.5.0",
            "",
            "",
            "",
        ];
        assert_eq!(lines[1], expected);
        assert_eq!((lines.len(), &lines[1]), (3, &lines[2]));
    }

    #[test]
    fn no_cell_is_a_formula_or_ends_its_line() {
        for (agent, expected) in [
            (&b"=cmd|' /C calc'!A0"[..], "'=cmd|' /C calc'!A0"),
            (b"+1", "'+1"),
            (b"-1", "'-1"),
            (b"@SUM(A1)", "'@SUM(A1)"),
            ("＝1".as_bytes(), "'＝1"),
            (b"a \"b\", c;d", "a \"b\", c;d"),
            (b"a\tb", "a\\x09b"),
            (b"\xff", "\\xff"),
        ] {
            let mut event = testing::event();
            let request = event.request.as_mut().expect("a request");
            request.headers = testing::headers(&[(b"User-Agent", agent)]);
            event.flags = vec!["bare_lf", "obs_fold"];
            let lines = cells(&[event]);
            assert_eq!(lines[1][16], expected);
            let flags = match agent {
                b"\xff" => "bare_lf escaped_bytes obs_fold",
                _ => "bare_lf obs_fold",
            };
            assert_eq!(lines[1][19], flags);
        }
    }

    #[test]
    fn what_is_not_known_is_empty() {
        let mut event = testing::event();
        (event.response, event.request) = (None, None);
        event.body_snippet = Some(Bytes::new());
        let lines = cells(&[event]);
        assert_eq!(lines[1].len(), COLUMNS.len());
        assert_eq!(
            lines[1][5..15],
            [""; 10].map(String::from)[..9]
                .iter()
                .cloned()
                .chain(["1.000".to_owned()])
                .collect::<Vec<_>>()[..]
        );
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_one_cell(bytes: Vec<u8>) {
            let mut event = testing::event();
            if let Some(response) = &mut event.response {
                response.reason = Bytes::from(bytes);
            }
            let lines = cells(&[event]);
            proptest::prop_assert_eq!(lines.len(), 2);
            proptest::prop_assert_eq!(lines[1].len(), COLUMNS.len());
            proptest::prop_assert!(!lines[1][10].starts_with(['=', '+', '-', '@']));
        }
    }
}
