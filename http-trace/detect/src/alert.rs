//! Alerts: what a rule has to say. Everything in them that came from the network is bytes as they
//! were sent, with the field it is of, so that it can be redacted and escaped on its way out.

use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::evidence::Sample;
use super::field::Field;
use super::rule::{Rule, Severity};

/// Where an alert is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// The condition holds for the first time.
    Opened,
    /// It still does, a suppression period later.
    Updated,
    /// The count has fallen below half the threshold.
    Ended,
}

impl State {
    /// `opened`, `updated`, `ended`.
    pub const fn name(self) -> &'static str {
        match self {
            State::Opened => "opened",
            State::Updated => "updated",
            State::Ended => "ended",
        }
    }
}

/// A value of the network and what it is of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// The field.
    pub field: Field,
    /// As text.
    pub value: Vec<u8>,
}

/// A piece of a summary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Piece {
    /// Text of the rule.
    Text(String),
    /// A value.
    Value(Shown),
}

/// Something that an alert is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entity {
    /// The role that the rule gives it.
    pub role: String,
    /// What it is.
    pub shown: Shown,
}

impl Entity {
    /// `ip`, `hostname`, `user`, `url` or `value`.
    pub const fn kind(&self) -> &'static str {
        match self.shown.field {
            Field::ClientIp | Field::PeerIp | Field::ServerIp | Field::ForwardedClient => "ip",
            Field::Host => "hostname",
            Field::UserName => "user",
            Field::Path | Field::Query | Field::Target | Field::Uri | Field::PathTemplate => "url",
            Field::UserAgent => "user_agent",
            _ => "value",
        }
    }
}

/// Why the statuses of an alert do not add up to its count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Differs {
    /// The evidence begins at half of the threshold.
    FromHalf,
    /// The evidence goes back further than the count.
    FromBefore,
    /// The count is that of the part of the rule that counted most.
    OfPart,
    /// Of a quiet rule there is no evidence between two updates.
    BetweenUpdates,
    /// There were more different statuses than are kept.
    RareLeftOut,
}

impl Differs {
    /// The names of all.
    pub const NAMES: [&str; 5] = [
        "from_half",
        "from_before",
        "of_part",
        "between_updates",
        "rare_left_out",
    ];

    /// `from_half` …
    pub const fn name(self) -> &'static str {
        Differs::NAMES[self as usize]
    }
}

/// An alert.
#[derive(Clone, Debug)]
pub struct Alert {
    /// The same for all states of one alert.
    pub id: u64,
    /// Where it is in its life.
    pub state: State,
    /// The rule that raises it.
    pub rule: Arc<Rule>,
    /// The rule's severity, or less.
    pub severity: Severity,
    /// When its state began, event time, Unix ns.
    pub time_ns: u64,
    /// The summary, in pieces.
    pub summary: Vec<Piece>,
    /// What it is about.
    pub entities: Vec<Entity>,
    /// Events counted.
    pub count: u64,
    /// Distinct values counted: exact up to the threshold, at least so many beyond.
    pub distinct: Option<u64>,
    /// From which count on the rule raises alerts.
    pub threshold: u64,
    /// The rule's window, in ns.
    pub window_ns: u64,
    /// First counted event that the evidence knows of.
    pub first_seen_ns: u64,
    /// Last counted event.
    pub last_seen_ns: u64,
    /// Statuses by number; 0 stands for no response.
    pub statuses: Vec<(u16, u64)>,
    /// Paths seen most often.
    pub paths: Vec<(Vec<u8>, u64)>,
    /// Servers by number of events.
    pub servers: Vec<(IpAddr, u64)>,
    /// Clients by number of events.
    pub clients: Vec<(IpAddr, u64)>,
    /// Hosts.
    pub hosts: Vec<(Vec<u8>, u64)>,
    /// User agents.
    pub user_agents: Vec<(Vec<u8>, u64)>,
    /// The last requests.
    pub samples: Vec<Sample>,
    /// In the alert that is told in place of others of its rule: how many it stands for.
    pub stands_for: Option<u64>,
    /// Why the statuses do not add up to the count, if they do not.
    pub differs: Vec<Differs>,
    /// Whether more may have happened than was counted.
    pub under_counted: bool,
    /// Whether the client looks like a proxy of many.
    pub proxy_suspected: bool,
    /// Whether a client of the evidence was connected itself, rather than named by a proxy's header.
    pub direct: bool,
    /// What was decided about banning its client; detection decides nothing of it.
    pub ban: Option<Ban>,
}

/// What was decided about banning the client of an alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ban {
    /// The client's address.
    pub client: IpAddr,
    /// What was decided.
    pub outcome: Outcome,
    /// How long it is banned, or would be, or is still.
    pub seconds: Option<u64>,
    /// Why it is not.
    pub reason: Option<&'static str>,
}

/// A decision about a ban.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The firewall was told.
    Banned,
    /// It was told before.
    InForce,
    /// It would have been told.
    DryRun,
    /// Something speaks against it.
    Refused,
}

impl Outcome {
    /// The names of all.
    pub const NAMES: [&str; 4] = ["banned", "in_force", "dry_run", "refused"];

    /// `banned` …
    pub const fn name(self) -> &'static str {
        Outcome::NAMES[self as usize]
    }
}

impl Alert {
    /// The summary as one text, of bytes as they were sent.
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

/// An alert that is open.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Active {
    /// Its number.
    pub id: u64,
    /// When it opened.
    pub opened_ns: u64,
    /// When its next update is due.
    pub next_update_ns: u64,
    /// Events that were told.
    pub told: u64,
    /// Whether it was not told yet: it gathers until its next update is due.
    pub gathers: bool,
    /// Events counted when it opened, and those of its key then.
    pub at_opening: (u64, u64),
    /// What it said last of the event at hand.
    pub summary: Vec<Piece>,
    /// What it was about.
    pub entities: Vec<Entity>,
}

impl Active {
    /// What [`Active::told`] is of one that is never told: another rule's alert says it already.
    const SILENT: u64 = u64::MAX;

    /// Of nothing in particular.
    #[cfg(test)]
    pub const fn for_test() -> Self {
        Active {
            id: 1,
            opened_ns: 0,
            next_update_ns: 0,
            told: 0,
            gathers: false,
            at_opening: (0, 0),
            summary: Vec::new(),
            entities: Vec::new(),
        }
    }

    /// Nothing is ever told of it, but that it is there.
    pub fn silence(&mut self) {
        (self.summary, self.entities) = (Vec::new(), Vec::new());
        self.told = Self::SILENT;
        self.next_update_ns = u64::MAX;
    }

    /// When something is to be said of it, given when it is over if nothing more comes.
    pub fn due(&self, over_ns: u64) -> u64 {
        match self.gathers {
            true => over_ns.min(self.next_update_ns),
            false => over_ns,
        }
    }

    /// Whether nothing is told of it.
    pub const fn is_silent(&self) -> bool {
        self.told == Self::SILENT
    }

    /// Events counted up to now, given all of its key.
    pub const fn count(&self, events: u64) -> u64 {
        self.at_opening.0 + events.saturating_sub(self.at_opening.1)
    }

    /// About what it takes, in bytes.
    pub const fn bytes(&self) -> usize {
        size_of::<Active>() + (self.summary.len() + self.entities.len()) * 96
    }
}
