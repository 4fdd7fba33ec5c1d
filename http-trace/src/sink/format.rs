//! The output formats. A format is one file with a [`Render`], one name, and one line in [`Format::render`]. Must not
//! know outputs.

use super::choice::Style;
use super::counts::Counts;
use super::csv::Csv;
use super::eve;
use super::json::Json;
use super::otlp::Otlp;
use super::pretty::Pretty;
use super::render::Render;
use super::report::Report;
use super::tracee::Tracee;
use super::tracee_v1::TraceeV1;
use super::zeek::{self, ZeekTsv};

http_trace_model::named_enum! {
    /// A format, with its name in `--output`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Format {
        /// The default.
        Json = "json",
        /// The default on a terminal.
        Pretty = "pretty",
        Tracee = "tracee",
        TraceeV1 = "tracee-v1",
        Eve = "eve",
        Zeek = "zeek",
        ZeekTsv = "zeek-tsv",
        Csv = "csv",
        /// For an OpenTelemetry collector.
        Otlp = "otlp",
        /// One document at the end of the run.
        Report = "report",
        /// Counts of events per interval.
        Summary = "summary",
    }
}

impl Format {
    /// Whether it cannot express alerts and losses; they are then counted in the summary of the run.
    pub const fn is_events_only(self) -> bool {
        matches!(self, Format::Tracee | Format::TraceeV1 | Format::ZeekTsv | Format::Csv)
    }

    pub fn render(self, style: &Style) -> Box<dyn Render> {
        match self {
            Format::Json => Box::new(Json::new(style)),
            Format::Pretty => Box::new(Pretty::new(style)),
            Format::Tracee => Box::new(Tracee::new(style)),
            Format::TraceeV1 => Box::new(TraceeV1::new(style)),
            Format::Eve => Box::new(eve::tables(style)),
            Format::Zeek => Box::new(zeek::tables(style)),
            Format::ZeekTsv => Box::new(ZeekTsv::new(style)),
            Format::Csv => Box::new(Csv::default()),
            Format::Otlp => Box::new(Otlp::new(style)),
            Format::Report => Box::new(Report::new(style)),
            Format::Summary => Box::new(Counts::new(style)),
        }
    }

    /// `json, pretty, … or summary`
    pub fn names() -> String {
        let [rest @ .., last] = &Format::NAMES;
        format!("{} or {last}", rest.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redact::Secrets;
    use crate::sink::choice::HeaderChoice;
    use crate::sink::render::Entry;
    use http_trace_model::event::HttpEvent;
    use http_trace_model::known::Known;
    use http_trace_samples as testing;

    /// Redaction drops the values of all other request fields.
    #[test]
    fn request_fields_that_are_kept_are_those_that_formats_read() {
        const OTHERS: &str = "b3 client-ip proxy-connection tracestate x-b3-sampled x-b3-spanid x-b3-traceid \
                              x-forwarded-from x-other xroxy-connection";
        // Each of these fields hides some of the others.
        const HIDING: [&str; 4] = ["", "traceparent", "b3", "transfer-encoding"];
        let known = (1..Known::COUNT).map(|number| String::from_utf8_lossy(Known::name(number)));
        let names: Vec<_> = known.chain(OTHERS.split(' ').map(Into::into)).collect();
        let value = |name: &str| match name {
            "content-length" => "7".to_owned(),
            "content-type" => "text/plain".to_owned(),
            "traceparent" => format!("00-{}-{}-01", "ab".repeat(16), "cd".repeat(8)),
            "b3" => format!("{}-{}-1", "ef".repeat(16), "cd".repeat(8)),
            "x-b3-traceid" => "12".repeat(16),
            "x-b3-spanid" => "34".repeat(8),
            "transfer-encoding" => "chunked".to_owned(),
            name => format!("{name}.example"),
        };
        let event = |left_out: usize| {
            let names = names.iter().filter(|name| !HIDING[..=left_out].contains(&&***name));
            let lines: String = names.map(|name| format!("{name}: {}\r\n", value(name))).collect();
            let mut event = testing::event();
            event.request_body_bytes = Some(7);
            event.request = Some(testing::request(&format!("GET /a HTTP/1.1\r\n{lines}\r\n")));
            event
        };
        let events: Vec<HttpEvent> = (0..HIDING.len()).map(event).collect();
        for request_headers in [HeaderChoice::None, HeaderChoice::Names(vec!["cookie".into()])] {
            let kept = request_headers.of_requests().expect("not all");
            let style = Style { request_headers, ..Style::default() };
            let texts = |kept: Option<Vec<String>>| {
                let mut secrets = Secrets::with(&[], &[], false, kept);
                let mut text = |(format, event): (Format, &HttpEvent)| {
                    let (mut event, mut out) = (event.clone(), Vec::new());
                    secrets.redact(&mut event);
                    let mut render = format.render(&style);
                    render.event(&Entry { event: &event, user: None }, &mut out);
                    out.extend(render.tail());
                    (format.name(), String::from_utf8_lossy(&out).into_owned())
                };
                let all = Format::ALL.iter();
                let all = all.flat_map(|format| events.iter().map(|event| (*format, event)));
                all.map(&mut text).collect::<Vec<_>>()
            };
            let all = texts(None);
            assert_eq!(texts(Some(kept.clone())), all);
            let is_unread = |name: &&String| {
                let others = kept.iter().filter(|other| other != name).cloned().collect();
                texts(Some(others)) == all
            };
            assert_eq!(kept.iter().filter(is_unread).collect::<Vec<_>>(), [""; 0]);
        }
    }
}
