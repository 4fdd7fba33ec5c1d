//! User choices about how outputs are written: header fields, colour, details. Performs no I/O.

use super::fields::Fields;
use super::report::ReportSpec;
use http_trace_model::endpoint::Endpoints;
use http_trace_model::head::Headers;

/// Default interval of summaries, ns.
pub const EVERY_NS: u64 = 10_000_000_000;
/// Shortest interval of summaries, ns.
pub const LEAST_EVERY_NS: u64 = 1_000_000_000;

/// Request fields that some format reads whether they are chosen or not.
const ALWAYS: [&str; 20] = [
    "b3", "client-ip", "content-length", "content-type", "forwarded", "host", "origin",
    "proxy-connection", "referer", "traceparent", "tracestate", "transfer-encoding", "user-agent",
    "via", "x-b3-spanid", "x-b3-traceid", "x-forwarded-for", "x-forwarded-from", "x-request-id",
    "xroxy-connection",
];

/// Which header fields are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderChoice {
    All,
    None,
    /// These names, in lower case, sorted.
    Names(Vec<String>),
}

impl HeaderChoice {
    /// Whether a field is written; names are case-insensitive.
    pub fn admits(&self, name: &[u8]) -> bool {
        match self {
            HeaderChoice::All => true,
            HeaderChoice::None => false,
            HeaderChoice::Names(names) => {
                names.iter().any(|n| n.as_bytes().eq_ignore_ascii_case(name))
            }
        }
    }

    /// Names of the request fields that an output may write, in lower case, if these are chosen; `None`: all.
    pub fn of_requests(&self) -> Option<Vec<String>> {
        let chosen = match self {
            HeaderChoice::All => return None,
            HeaderChoice::None => &[][..],
            HeaderChoice::Names(names) => names,
        };
        let always = ALWAYS.iter().map(|name| (*name).to_owned());
        Some(always.chain(chosen.iter().cloned()).collect())
    }

    /// Whether some of these fields are written and others are not.
    pub fn leaves_out(&self, headers: &Headers) -> bool {
        matches!(self, HeaderChoice::Names(_)) && headers.iter().any(|line| !self.admits(line.name))
    }
}

http_trace_model::named_enum! {
    /// An OpenTelemetry signal sent to a collector.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Signal {
        /// One log record per event, alert and loss.
        Logs = "logs",
        /// One span per exchange.
        Spans = "spans",
        /// Histograms of durations, and counts, at intervals.
        Metrics = "metrics",
    }
}

impl Signal {
    pub const DEFAULT: [Signal; 2] = [Signal::Logs, Signal::Spans];
}

http_trace_model::named_enum! {
    /// When `pretty` uses colours.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub enum Color {
        /// On a terminal, unless NO_COLOR is set.
        #[default]
        Auto = "auto",
        Always = "always",
        Never = "never",
    }
}

/// How an output is written; each format uses the members that apply to it.
#[derive(Clone, Debug)]
pub struct Style {
    /// Header fields of responses.
    pub headers: HeaderChoice,
    pub request_headers: HeaderChoice,
    /// Fields of events in JSON; `None`: all.
    pub fields: Option<Fields>,
    /// Signals sent to a collector.
    pub signals: Vec<Signal>,
    /// Name of this host.
    pub hostname: String,
    /// 1 adds headers, 2 flags and interfaces.
    pub verbose: u8,
    /// Whether to use colours.
    pub color: bool,
    /// The time zone of `pretty`; `None`: UTC.
    pub zone: Option<jiff::tz::TimeZone>,
    pub report: ReportSpec,
    /// How paths are grouped into endpoints.
    pub endpoints: Endpoints,
    /// Interval of summaries, ns.
    pub every_ns: u64,
    /// Start of the run, Unix ns.
    pub start_ns: u64,
    /// Columns of the terminal, if the output is one.
    pub width: Option<usize>,
}

impl Default for Style {
    /// All header fields, not for a terminal.
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
