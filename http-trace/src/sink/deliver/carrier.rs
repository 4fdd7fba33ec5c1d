//! The interface of destinations: an alert to deliver, and how delivery fails. Must not know a destination.

use http_trace_detect::alert::State;

/// One state of an alert, rendered and redacted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The record as `json` writes it, with a line feed.
    pub line: Vec<u8>,
    pub message: String,
    /// Id, shared by all states of one alert.
    pub id: u64,
    pub state: State,
    pub rule: String,
    /// 0 (informational) to 10 (critical).
    pub severity: u8,
    /// Event time, Unix ns.
    pub time_ns: u64,
}

/// Why an alert was not delivered.
#[derive(Debug)]
pub(super) struct Failure {
    pub why: String,
    /// Whether a retry may help.
    pub passing: bool,
    /// Whether this says that the alert before, which was taken, did not arrive either.
    pub of_earlier: bool,
}

impl Failure {
    pub fn passing(why: impl ToString) -> Self {
        Failure { why: why.to_string(), passing: true, of_earlier: false }
    }

    pub fn lasting(why: impl ToString) -> Self {
        Failure { why: why.to_string(), passing: false, of_earlier: false }
    }
}

/// Delivers alerts to one destination, one at a time.
pub(super) trait Carrier: Send {
    fn carry(&mut self, notice: &Notice) -> Result<(), Failure>;
}
