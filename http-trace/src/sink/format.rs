//! The table of output formats. A format is one file with a [`Render`] and one line in [`Format::ALL`]. Must not
//! know outputs.

use std::fmt;

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

#[derive(Clone, Copy)]
pub struct Format {
    /// Name in `--output`.
    pub name: &'static str,
    /// Whether it cannot express alerts and losses; they are then counted in the summary of the run.
    pub is_events_only: bool,
    /// Creates its renderer.
    pub render: fn(&Style) -> Box<dyn Render>,
}

impl Format {
    /// The default.
    pub const JSON: Format = Format::new("json", false, |style| Box::new(Json::new(style)));
    /// The default on a terminal.
    pub const PRETTY: Format = Format::new("pretty", false, |style| Box::new(Pretty::new(style)));

    /// For an OpenTelemetry collector.
    pub const OTLP: Format = Format::new("otlp", false, |style| Box::new(Otlp::new(style)));

    /// One document at the end of the run.
    pub const REPORT: Format = Format::new("report", false, |style| Box::new(Report::new(style)));

    /// Counts of events per interval.
    pub const SUMMARY: Format = Format::new("summary", false, |style| Box::new(Counts::new(style)));

    pub const ALL: &[Format] = &[
        Format::JSON,
        Format::PRETTY,
        Format::new("tracee", true, |style| Box::new(Tracee::new(style))),
        Format::new("tracee-v1", true, |style| Box::new(TraceeV1::new(style))),
        Format::new("eve", false, |style| Box::new(eve::tables(style))),
        Format::new("zeek", false, |style| Box::new(zeek::tables(style))),
        Format::new("zeek-tsv", true, |style| Box::new(ZeekTsv::new(style))),
        Format::new("csv", true, |_| Box::new(Csv::default())),
        Format::OTLP,
        Format::REPORT,
        Format::SUMMARY,
    ];

    const fn new(
        name: &'static str,
        is_events_only: bool,
        render: fn(&Style) -> Box<dyn Render>,
    ) -> Self {
        Format { name, is_events_only, render }
    }

    /// Looks up a format by name.
    pub fn named(name: &str) -> Option<Format> {
        Format::ALL.iter().copied().find(|format| format.name == name)
    }

    /// `json, pretty, … or csv`
    pub fn names() -> String {
        let names: Vec<&str> = Format::ALL.iter().map(|format| format.name).collect();
        match names.split_last() {
            Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
            None => String::new(),
        }
    }
}

impl PartialEq for Format {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Format {}

impl fmt::Debug for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}
