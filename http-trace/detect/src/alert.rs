//! Alerts, as raised by rules. Values from the network are the bytes sent, with the field they belong to, so
//! that they can be redacted and escaped on output.

use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::evidence::Sample;
use super::field::Field;
use super::rule::{Rule, Severity};

http_trace_model::named_enum! {
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub enum State {
        /// The condition holds for the first time.
        Opened = "opened",
        /// The condition still holds, a suppression period later.
        Updated = "updated",
        /// The count has fallen below half the threshold.
        Ended = "ended",
    }
}

/// A value from the network, and its field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    pub field: Field,
    /// As text.
    pub value: Vec<u8>,
}

/// A part of a summary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Piece {
    /// Literal text from the rule.
    Text(String),
    Value(Shown),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entity {
    /// Role that the rule gives it.
    pub role: String,
    pub shown: Shown,
}

impl Entity {
    /// `ip`, `hostname`, `user`, `url`, `user_agent` or `value`.
    pub fn kind(&self) -> &'static str {
        let is_ip =
            || str::from_utf8(&self.shown.value).is_ok_and(|ip| ip.parse::<IpAddr>().is_ok());
        match self.shown.field {
            // A log may name a client by its host.
            Field::ClientIp | Field::PeerIp if !is_ip() => "hostname",
            Field::ClientIp | Field::PeerIp | Field::ServerIp | Field::ForwardedClient => "ip",
            Field::Host => "hostname",
            Field::UserName => "user",
            Field::Path | Field::Query | Field::Target | Field::Uri | Field::PathTemplate => "url",
            Field::UserAgent => "user_agent",
            _ => "value",
        }
    }
}

http_trace_model::named_enum! {
    /// A reason why the statuses of an alert do not add up to its count.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Differs {
        /// Evidence is collected only from half the threshold on.
        FromHalf = "from_half",
        /// The evidence goes back further than the count.
        FromBefore = "from_before",
        /// The count is that of the input with the highest count.
        OfPart = "of_part",
        /// A quiet rule collects no evidence between updates.
        BetweenUpdates = "between_updates",
        /// There were more distinct statuses than are kept.
        RareLeftOut = "rare_left_out",
    }
}

#[derive(Clone, Debug)]
pub struct Alert {
    /// Id, shared by all states of one alert.
    pub id: u64,
    pub state: State,
    pub rule: Arc<Rule>,
    /// The rule's severity, or lower.
    pub severity: Severity,
    /// When this state began, event time, Unix ns.
    pub time_ns: u64,
    pub summary: Vec<Piece>,
    pub entities: Vec<Entity>,
    /// Number of events counted.
    pub count: u64,
    /// Number of distinct values: exact up to the threshold, a lower bound beyond.
    pub distinct: Option<u64>,
    /// Count from which the rule raises alerts.
    pub threshold: u64,
    pub window_ns: u64,
    /// Time of the first event in the evidence, Unix ns.
    pub first_seen_ns: u64,
    /// Time of the last event in the evidence, Unix ns.
    pub last_seen_ns: u64,
    /// Statuses with their counts; 0 is no response.
    pub statuses: Vec<(u16, u64)>,
    /// Most frequent paths, with counts.
    pub paths: Vec<(Vec<u8>, u64)>,
    /// Servers, with numbers of events.
    pub servers: Vec<(IpAddr, u64)>,
    /// Clients, with numbers of events.
    pub clients: Vec<(IpAddr, u64)>,
    /// Hosts, with counts.
    pub hosts: Vec<(Vec<u8>, u64)>,
    pub user_agents: Vec<(Vec<u8>, u64)>,
    /// The last requests.
    pub samples: Vec<Sample>,
    /// Of a digest: the number of alerts that it replaces.
    pub stands_for: Option<u64>,
    /// Why the statuses do not add up to the count; empty if they do.
    pub differs: Vec<Differs>,
    /// Whether more may have happened than was counted.
    pub under_counted: bool,
    /// Whether the client is probably a proxy for many clients.
    pub proxy_suspected: bool,
    /// Whether what was counted may be the sum over several clients behind a proxy, none of which did as much.
    pub(crate) is_sum: bool,
    /// Whether some client of the evidence connected directly, rather than being named in a proxy's header.
    pub direct: bool,
    /// Decision about banning its client; detection leaves it empty.
    pub ban: Option<Ban>,
}

/// Decision about banning the client of an alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ban {
    pub client: IpAddr,
    pub outcome: Outcome,
    /// Duration or remaining duration of the ban, or what it would be, in seconds.
    pub seconds: Option<u64>,
    /// Why the client is not banned.
    pub reason: Option<&'static str>,
}

http_trace_model::named_enum! {
    /// Outcome of the decision about a ban.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Outcome {
        /// The firewall was asked to ban the client, and has not confirmed it.
        Banning = "banning",
        /// The firewall has confirmed a ban of the client, and it has not expired.
        InForce = "in_force",
        /// Dry run: the client would have been banned.
        DryRun = "dry_run",
        /// The client must not be banned.
        Refused = "refused",
    }
}

impl Alert {
    /// The summary as one text, with the bytes that were sent.
    pub fn message(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for piece in &self.summary {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text.as_bytes()),
                Piece::Value(shown) => out.extend_from_slice(&shown.value),
            }
        }
        out
    }
}

/// The state of an open alert.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Active {
    pub id: u64,
    pub opened_ns: u64,
    /// When its next update is due, ns.
    pub next_update_ns: u64,
    /// Count at the last report; `u64::MAX` if nothing is ever reported.
    pub reported: u64,
    /// Whether its opening is not reported yet: it gathers until its next update is due.
    pub gathers: bool,
    /// When it opened: its count, and the number of events of its key.
    pub at_opening: (u64, u64),
    /// Its last summary.
    pub summary: Vec<Piece>,
    /// Its last entities.
    pub entities: Vec<Entity>,
}

impl Active {
    /// Value of [`Active::reported`] for an alert that is never reported, because another rule's alert covers it.
    const SILENT: u64 = u64::MAX;

    /// Suppresses all reports, and keeps only the fact that the alert is open.
    pub fn silence(&mut self) {
        (self.summary, self.entities) = (Vec::new(), Vec::new());
        self.reported = Self::SILENT;
        self.next_update_ns = u64::MAX;
    }

    /// When it needs attention, given when it ends if nothing more is counted.
    pub fn due(&self, over_ns: u64) -> u64 {
        if self.gathers { over_ns.min(self.next_update_ns) } else { over_ns }
    }

    /// Whether its reports are suppressed.
    pub const fn is_silent(&self) -> bool {
        self.reported == Self::SILENT
    }

    /// Number of events counted so far, given the number of events of its key.
    pub const fn count(&self, events: u64) -> u64 {
        self.at_opening.0 + events.saturating_sub(self.at_opening.1)
    }

    /// Approximate size, in bytes.
    pub const fn bytes(&self) -> usize {
        size_of::<Active>() + (self.summary.len() + self.entities.len()) * 96
    }
}
