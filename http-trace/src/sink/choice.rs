//! What the user chose about how outputs are written: header fields, colour, details. Opens nothing.

use super::fields::Fields;
use super::report::ReportSpec;
use http_trace_model::endpoint::Endpoints;

/// How often a summary is written unless something else is asked for, ns.
pub const EVERY_NS: u64 = 10_000_000_000;
/// How often it can be written at most, ns.
pub const LEAST_EVERY_NS: u64 = 1_000_000_000;

/// Which headers go out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderChoice {
    /// All of them.
    All,
    /// None of them.
    None,
    /// These, in lower case, sorted.
    Names(Vec<String>),
}

impl HeaderChoice {
    /// Whether a field goes out; names compare without case.
    pub fn admits(&self, name: &[u8]) -> bool {
        match self {
            HeaderChoice::All => true,
            HeaderChoice::None => false,
            HeaderChoice::Names(names) => names
                .iter()
                .any(|n| n.as_bytes().eq_ignore_ascii_case(name)),
        }
    }
}

/// What is sent to a collector of OpenTelemetry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// A log record for each event, alert and loss.
    Logs,
    /// A span for each exchange.
    Spans,
    /// Histograms of durations and counts, from time to time.
    Metrics,
}

impl Signal {
    /// All there are.
    pub const ALL: [Signal; 3] = [Signal::Logs, Signal::Spans, Signal::Metrics];
    /// Those that are sent unless others are asked for.
    pub const DEFAULT: [Signal; 2] = [Signal::Logs, Signal::Spans];

    /// As `signals=` names it.
    pub const fn name(self) -> &'static str {
        match self {
            Signal::Logs => "logs",
            Signal::Spans => "spans",
            Signal::Metrics => "metrics",
        }
    }
}

/// When `pretty` is coloured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// How an output is written; each format takes from it what it knows.
#[derive(Clone, Debug)]
pub struct Style {
    /// Header fields of responses.
    pub headers: HeaderChoice,
    /// Header fields of requests.
    pub request_headers: HeaderChoice,
    /// Fields of events in json; `None`: all.
    pub fields: Option<Fields>,
    /// What is sent to a collector.
    pub signals: Vec<Signal>,
    /// Name of this host.
    pub hostname: String,
    /// 1 adds headers, 2 flags and interfaces.
    pub verbose: u8,
    /// Whether there are colours.
    pub color: bool,
    /// The time zone of `pretty`; `None`: UTC.
    pub zone: Option<jiff::tz::TimeZone>,
    /// What a report says.
    pub report: ReportSpec,
    /// How endpoints are told.
    pub endpoints: Endpoints,
    /// How often a summary is written, ns.
    pub every_ns: u64,
    /// When the run began, Unix ns.
    pub start_ns: u64,
    /// Columns of the terminal, if there is one.
    pub width: Option<usize>,
}

impl Default for Style {
    /// All headers, on no terminal.
    fn default() -> Self {
        Style {
            headers: HeaderChoice::All,
            request_headers: HeaderChoice::All,
            fields: None,
            signals: Signal::DEFAULT.to_vec(),
            hostname: "host".to_owned(),
            verbose: 0,
            color: false,
            zone: None,
            report: ReportSpec::default(),
            endpoints: Endpoints::default(),
            every_ns: EVERY_NS,
            start_ns: 0,
            width: None,
        }
    }
}
