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
