//! What is counted: of an endpoint, of a service, of everything. Bounded, and two of a kind add up: of one
//! day and another, of one run and the next. Names nothing, writes nothing.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;

use http_trace_model::event::{HttpEvent, status_class};
use serde::{Deserialize, Serialize};

use crate::times::Times;

/// The most clients of one that are told apart.
const CLIENTS: usize = 1024;

/// The most intervals of a timeline.
const INTERVALS: usize = 120;

/// The classes of a timeline, in its order; none is a request without response.
pub const CLASSES: [&str; 7] = ["1xx", "2xx", "3xx", "4xx", "5xx", "other", NONE];

/// What stands for the status of a request without response.
pub const NONE: &str = "none";

/// The class of a status, as a place in [`CLASSES`].
fn class_at(status: u16) -> usize {
    let name = match status {
        0 => NONE,
        status => status_class(status),
    };
    CLASSES.iter().position(|class| *class == name).unwrap_or(0)
}

/// What was counted of an endpoint, or of a service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tally {
    /// Events.
    pub hits: u64,
    /// First one, Unix ns; 0 where none is known.
    pub first_ns: u64,
    /// Last one.
    pub last_ns: u64,
    /// How often each status came; 0 for no response.
    pub statuses: BTreeMap<u16, u64>,
    /// From the request's end to the response's first byte.
    pub times: Times,
    /// Of all bodies.
    pub bytes: u64,
    /// How many there were.
    pub bodies: u64,
    /// Who asked.
    pub clients: Clients,
}

impl Tally {
    /// Nothing but that it is known.
    pub fn known(first_ns: u64, last_ns: u64) -> Self {
        Tally {
            first_ns,
            last_ns,
            ..Tally::default()
        }
    }

    /// Counts an event; `room` is how many more clients can be told apart in all.
    pub fn add(&mut self, event: &HttpEvent, status: u16, room: &mut usize) {
        if self.last_ns == 0 {
            self.first_ns = event.time_ns;
        }
        self.hits += 1;
        self.first_ns = self.first_ns.min(event.time_ns);
        self.last_ns = self.last_ns.max(event.time_ns);
        *self.statuses.entry(status).or_default() += 1;
        if let Some(ns) = event.ttfb_ns().or_else(|| event.ttlb_ns()) {
            self.times.add(ns);
        }
        if let Some(bytes) = event.body_bytes {
            self.bytes = self.bytes.saturating_add(bytes);
            self.bodies += 1;
        }
        self.clients.add(event.client_ip(), room);
    }

    /// Adds what another counted.
    pub fn join(&mut self, other: &Tally, room: &mut usize) {
        if self.last_ns == 0 {
            self.first_ns = other.first_ns;
        }
        self.hits = self.hits.saturating_add(other.hits);
        self.first_ns = self.first_ns.min(other.first_ns);
        self.last_ns = self.last_ns.max(other.last_ns);
        for (status, count) in &other.statuses {
            let of = self.statuses.entry(*status).or_default();
            *of = of.saturating_add(*count);
        }
        self.times.join(&other.times);
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.bodies = self.bodies.saturating_add(other.bodies);
        self.clients.join(&other.clients, room);
    }

    /// Events of a class; 0 for those without response.
    pub fn of_class(&self, class: u16) -> u64 {
        let of = self.statuses.iter();
        let of = of.filter(|(status, _)| **status / 100 == class);
        of.fold(0, |sum, (_, count)| sum.saturating_add(*count))
    }
}

/// Clients that are told apart, up to a bound.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Clients {
    seen: HashSet<IpAddr>,
    more: bool,
}

impl Clients {
    fn add(&mut self, ip: IpAddr, room: &mut usize) {
        if self.seen.contains(&ip) {
            return;
        }
        if self.seen.len() < CLIENTS && *room > 0 {
            *room -= 1;
            self.seen.insert(ip);
        } else {
            self.more = true;
        }
    }

    fn join(&mut self, other: &Clients, room: &mut usize) {
        other.seen.iter().for_each(|ip| self.add(*ip, room));
        self.more |= other.more;
    }

    /// How many they are.
    pub fn len(&self) -> usize {
        self.seen.len()
    }

    /// Whether there were none.
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }

    /// `≥ 1024`
    pub fn shown(&self) -> String {
        let more = if self.more { "≥ " } else { "" };
        format!("{more}{}", self.seen.len())
    }
}

/// What was counted of everything.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Total {
    /// Events over time.
    pub timeline: Timeline,
    /// Who asked.
    pub clients: Clients,
    /// What was lost.
    pub lost: u64,
    /// First and last event, Unix ns.
    pub times_ns: Option<(u64, u64)>,
    /// What found no room.
    pub left_out: LeftOut,
}

impl Total {
    /// Counts an event.
    pub fn add(&mut self, event: &HttpEvent, status: u16, room: &mut usize) {
        self.clients.add(event.client_ip(), room);
        self.came(event.time_ns, event.time_ns);
        let mut counts = [0; CLASSES.len()];
        counts[class_at(status)] = 1;
        self.timeline.add(event.time_ns / 1_000_000_000, &counts);
    }

    fn came(&mut self, first_ns: u64, last_ns: u64) {
        let (first, last) = self.times_ns.unwrap_or((first_ns, last_ns));
        self.times_ns = Some((first.min(first_ns), last.max(last_ns)));
    }

    /// Adds what another counted.
    pub fn join(&mut self, other: &Total, room: &mut usize) {
        self.timeline.join(&other.timeline);
        self.clients.join(&other.clients, room);
        self.lost = self.lost.saturating_add(other.lost);
        if let Some((first, last)) = other.times_ns {
            self.came(first, last);
        }
        self.left_out.join(&other.left_out);
    }
}

/// Events by class over time, in intervals that grow with the time that there is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Timeline {
    /// Start of the first interval, Unix seconds.
    pub start: u64,
    /// Of each interval, in seconds.
    pub seconds: u64,
    /// Those of each class ([`CLASSES`]) in each interval.
    pub intervals: Vec<[u64; CLASSES.len()]>,
}

impl Timeline {
    fn add(&mut self, second: u64, counts: &[u64; CLASSES.len()]) {
        if self.intervals.is_empty() || self.seconds == 0 {
            (self.start, self.seconds) = (second, 1);
        }
        // What comes late is of the first interval.
        let at = |of: &Timeline| (second.saturating_sub(of.start) / of.seconds) as usize;
        while at(self) >= INTERVALS {
            let halves = self.intervals.chunks(2);
            let joined = halves.map(|two| {
                let mut sum = [0; CLASSES.len()];
                two.iter().for_each(|one| sum_up(&mut sum, one));
                sum
            });
            self.intervals = joined.collect();
            self.seconds *= 2;
        }
        let at = at(self);
        if self.intervals.len() <= at {
            self.intervals.resize(at + 1, [0; CLASSES.len()]);
        }
        sum_up(&mut self.intervals[at], counts);
    }

    fn join(&mut self, other: &Timeline) {
        if other.start < self.start && !self.intervals.is_empty() {
            // From the earlier one on: what comes late has no interval of its own.
            let later = std::mem::take(self);
            self.join_later(other);
            return self.join_later(&later);
        }
        self.join_later(other);
    }

    fn join_later(&mut self, other: &Timeline) {
        let mut second = other.start;
        for counts in &other.intervals {
            if counts.iter().any(|count| *count > 0) {
                self.add(second, counts);
            }
            second = second.saturating_add(other.seconds);
        }
    }

    /// Those of each class.
    pub fn counts(&self) -> [u64; CLASSES.len()] {
        let mut sum = [0; CLASSES.len()];
        self.intervals.iter().for_each(|one| sum_up(&mut sum, one));
        sum
    }
}

fn sum_up(sum: &mut [u64; CLASSES.len()], more: &[u64; CLASSES.len()]) {
    let each = sum.iter_mut().zip(more);
    each.for_each(|(sum, more)| *sum = sum.saturating_add(*more));
}

/// How much found no room.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LeftOut {
    /// Events of services beyond the bound.
    pub services: u64,
    /// Events of endpoints beyond it, which `other` counts.
    pub endpoints: u64,
    /// Events of broken links beyond it.
    pub links: u64,
    /// Alerts beyond it.
    pub alerts: u64,
}

impl LeftOut {
    fn join(&mut self, other: &LeftOut) {
        self.services = self.services.saturating_add(other.services);
        self.endpoints = self.endpoints.saturating_add(other.endpoints);
        self.links = self.links.saturating_add(other.links);
        self.alerts = self.alerts.saturating_add(other.alerts);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_timeline_has_every_event_whatever_the_time_between() {
        let mut timeline = Timeline::default();
        let seconds = [5, 6, 6, 200, 10_000, 9_999, 1, 86_400 * 400];
        for second in seconds {
            timeline.add(second, &[0, 1, 0, 0, 0, 0, 0]);
        }
        assert!(timeline.intervals.len() <= INTERVALS);
        let sum: u64 = timeline.intervals.iter().flatten().sum();
        assert_eq!(sum, seconds.len() as u64);
        let end = timeline.start + timeline.seconds * timeline.intervals.len() as u64;
        assert!(end > 86_400 * 400);
    }
}
