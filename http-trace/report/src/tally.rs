//! Counters of an endpoint, of a service, and of the whole. Bounded; two of a kind can be added, whether they
//! are of two days or of two runs. Does no naming and no output.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;

use http_trace_model::event::{HttpEvent, status_class};
use serde::{Deserialize, Serialize};

use crate::times::Times;

/// Maximum number of distinct clients per tally.
const CLIENTS: usize = 1024;

/// Maximum number of intervals of a timeline.
const INTERVALS: usize = 120;

/// The classes of a timeline, in order; the last one is requests without a response.
pub const CLASSES: [&str; 7] = ["1xx", "2xx", "3xx", "4xx", "5xx", "other", NONE];

/// Shown instead of a status for a request without a response.
pub const NONE: &str = "none";

/// Index in [`CLASSES`] of a status's class.
fn class_at(status: u16) -> usize {
    let name = match status {
        0 => NONE,
        status => status_class(status),
    };
    CLASSES.iter().position(|class| *class == name).unwrap_or(0)
}

/// Counters of an endpoint or a service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tally {
    /// Number of events.
    pub hits: u64,
    /// Time of the first event, Unix ns; 0 if there is none.
    pub first_ns: u64,
    /// Time of the last event, Unix ns; 0 if there is none.
    pub last_ns: u64,
    /// Number of events by status; 0 is no response.
    pub statuses: BTreeMap<u16, u64>,
    /// Time from the request's end to the response's first byte; to its last byte where the first is unknown.
    pub times: Times,
    /// Total bytes of all bodies.
    pub bytes: u64,
    pub bodies: u64,
    pub clients: Clients,
}

impl Tally {
    /// A known endpoint or service without counted events.
    pub fn known(first_ns: u64, last_ns: u64) -> Self {
        Tally { first_ns, last_ns, ..Tally::default() }
    }

    /// Counts an event; `room` is how many more distinct clients may be tracked in total.
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
        self.clients.add(event, room);
    }

    /// Adds the counts of another tally.
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

    /// Number of events of a class (first digit of the status); 0 for those without a response.
    pub fn of_class(&self, class: u16) -> u64 {
        let of = self.statuses.iter();
        let of = of.filter(|(status, _)| **status / 100 == class);
        of.fold(0, |sum, (_, count)| sum.saturating_add(*count))
    }
}

/// Distinct clients, up to a bound.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Clients {
    seen: HashSet<IpAddr>,
    more: bool,
}

impl Clients {
    fn add(&mut self, event: &HttpEvent, room: &mut usize) {
        match event.known_client() {
            Some(ip) => self.add_ip(ip, room),
            None => self.more = true,
        }
    }

    fn add_ip(&mut self, ip: IpAddr, room: &mut usize) {
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
        other.seen.iter().for_each(|ip| self.add_ip(*ip, room));
        self.more |= other.more;
    }

    /// The number as text, with `≥` if the bound was reached: `≥ 1024`.
    pub fn shown(&self) -> String {
        let more = if self.more { "≥ " } else { "" };
        format!("{more}{}", self.seen.len())
    }
}

/// Kinds of connections that are not readable, and the bytes of a kind's name, at most.
const UNREADABLE: usize = 64;
const LONGEST_UNREADABLE: usize = 32;

/// Counters of the whole site.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Total {
    /// Events over time.
    pub timeline: Timeline,
    pub clients: Clients,
    /// Sum of the counts of all losses.
    pub lost: u64,
    /// Connections that are not readable, by `PROTOCOL:PORT`.
    pub unreadable: BTreeMap<String, u64>,
    /// Times of the first and last event, Unix ns.
    pub times_ns: Option<(u64, u64)>,
    /// What exceeded a bound.
    pub left_out: LeftOut,
}

impl Total {
    pub fn add(&mut self, event: &HttpEvent, status: u16, room: &mut usize) {
        self.clients.add(event, room);
        self.came(event.time_ns, event.time_ns);
        let mut counts = [0; CLASSES.len()];
        counts[class_at(status)] = 1;
        self.timeline.add(event.time_ns / 1_000_000_000, &counts);
    }

    /// Counts connections that are not readable; kinds beyond the bound count as `other`.
    pub fn unreadable(&mut self, what: &str, count: u64) {
        let has_room = self.unreadable.len() < UNREADABLE && what.len() <= LONGEST_UNREADABLE;
        let what = if has_room || self.unreadable.contains_key(what) { what } else { "other" };
        let all = self.unreadable.entry(what.to_owned()).or_default();
        *all = all.saturating_add(count);
    }

    fn came(&mut self, first_ns: u64, last_ns: u64) {
        let (first, last) = self.times_ns.unwrap_or((first_ns, last_ns));
        self.times_ns = Some((first.min(first_ns), last.max(last_ns)));
    }

    /// Adds the counts of another total.
    pub fn join(&mut self, other: &Total, room: &mut usize) {
        self.timeline.join(&other.timeline);
        self.clients.join(&other.clients, room);
        self.lost = self.lost.saturating_add(other.lost);
        for (what, count) in &other.unreadable {
            self.unreadable(what, *count);
        }
        if let Some((first, last)) = other.times_ns {
            self.came(first, last);
        }
        self.left_out.join(&other.left_out);
    }
}

/// Events by class over time. Intervals double in length as the covered time grows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Timeline {
    /// Start of the first interval, Unix seconds.
    pub start: u64,
    /// Length of an interval, in seconds.
    pub seconds: u64,
    /// Events by class ([`CLASSES`]) in each interval.
    pub intervals: Vec<[u64; CLASSES.len()]>,
}

impl Timeline {
    fn add(&mut self, second: u64, counts: &[u64; CLASSES.len()]) {
        if self.intervals.is_empty() || self.seconds == 0 {
            (self.start, self.seconds) = (second, 1);
        }
        // Events from before the start count in the first interval.
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
            // Start with the earlier timeline, because events from before the start have no
            // interval of their own.
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

    /// Totals by class.
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

/// How much exceeded each bound.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LeftOut {
    /// Events of services beyond the bound.
    pub services: u64,
    /// Events of endpoints beyond the bound, which are counted under `other`.
    pub endpoints: u64,
    /// Events of broken links beyond the bound.
    pub links: u64,
    /// Alerts beyond the bound.
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
