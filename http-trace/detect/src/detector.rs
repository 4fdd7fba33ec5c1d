//! The detector: events in, events with the rules they counted for and alerts out. Synchronous,
//! without I/O and without a clock but event time. An event that matches nothing costs no
//! allocation.

mod counting;
mod persist;
mod reload;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::IpAddr;
use std::sync::Arc;

use super::alert::{Alert, State};
use super::candidates::Candidates;
use super::clock::Clock;
use super::correlate::is_over;
use super::counter::Counter;
use super::counters::{Counters, Key, Turnover};
use super::fingerprint::fingerprints;
use super::hits::Hits;
use super::keys::Keys;
use super::lifecycle::Subject;
pub use super::lifecycle::window_text;
use super::rule::expr::Expr;
use super::rule::{Correlation, Kind, Rule, RuleSet, Severity};
use super::view::{UriBuffer, View};
use super::window::{bucket, bucket_ns};
use http_trace_model::event::HttpEvent;

use self::counting::{Fed, Feeds};
pub use persist::Restored;
pub use reload::{Prepared, Reloaded};

/// Keys that are looked at for being over with each tick, and once for so many events that match:
/// one for two events, looked at together since that is cheaper. What is never looked at goes when there is no
/// room, as what was used longest ago.
const SWEEP_TICK: usize = 256;
const SWEEP_EVENTS: u64 = 64;
const SWEEP_AFTER_EVENTS: usize = 32;

/// How many peers are kept in mind that look like proxies, and for how long, in ns.
const SUSPECTS: usize = 1024;
const SUSPECT_NS: u64 = 24 * 3_600_000_000_000;

/// What the detector is told beside its rules.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Whether ticks are the time of this host.
    pub live: bool,
    /// About the most memory for what is counted, in bytes.
    pub memory: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            live: false,
            memory: 64 << 20,
        }
    }
}

/// What comes out.
#[derive(Clone, Debug)]
pub enum Detected {
    /// An event, with the rules it counted for.
    Event(Box<HttpEvent>),
    /// An alert, after the event that raised it.
    Alert(Box<Alert>),
}

/// What was counted about detection itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DetectStats {
    /// Alerts that opened.
    pub opened: u64,
    /// Alerts that were open when nothing more came.
    pub open: u64,
    /// Events that a rule was not told of since they came later than its window.
    pub late: u64,
    /// Events whose time was not believed.
    pub clamped: u64,
    /// What became of keys.
    pub turnover: Turnover,
    /// Keys followed now.
    pub keys: usize,
    /// Bytes they take.
    pub bytes: usize,
}

/// Rules at work.
#[derive(Debug)]
pub struct Detector {
    clock: Clock,
    core: Core,
}

#[derive(Debug)]
struct Core {
    rules: Vec<Arc<Rule>>,
    correlations: Vec<Correlation>,
    /// For each correlation a condition that the event must fulfil too.
    guards: Vec<Option<Expr>>,
    /// For each correlation those whose open alerts about the same make it silent.
    yields: Vec<Vec<usize>>,
    fingerprints: Vec<u64>,
    candidates: Candidates,
    feeds: Feeds,
    settings: Settings,
    keys: Keys,
    hits: Hits,
    counters: Counters,
    /// When open alerts may be over.
    due: BinaryHeap<Reverse<Due>>,
    lossy_until_ns: u64,
    /// Peers that look like proxies, and until when.
    suspects: Vec<(IpAddr, u64)>,
    stats: DetectStats,
    /// How often something changed that a snapshot holds.
    changes: u64,
    /// Absent only while an event is at hand.
    scratch: Option<Box<Scratch>>,
}

/// An open alert and when something is to be said of it. At one moment the order is that of rules and
/// ids, in which keys, which are hashed otherwise in every run, have no part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Due {
    at_ns: u64,
    correlation: u16,
    id: u64,
    key: Key,
}

impl Due {
    /// Of the alert of this id, which a key has.
    const fn new(at_ns: u64, id: u64, key: Key) -> Self {
        Due {
            at_ns,
            correlation: key.correlation,
            id,
            key,
        }
    }
}

/// Buffers that are used again.
#[derive(Debug, Default)]
struct Scratch {
    uri: UriBuffer,
    fed: Fed,
    alerts: Vec<Alert>,
}

impl Detector {
    /// Sets rules to work.
    pub fn new(rules: RuleSet, settings: Settings) -> Self {
        Detector {
            clock: Clock::new(settings.live),
            core: Core::new(rules, settings),
        }
    }

    /// The rules at work.
    pub fn rules(&self) -> &[Arc<Rule>] {
        &self.core.rules
    }

    /// Takes an event in. It comes out at once, or, when its time is far ahead of all others in a
    /// capture, once that is clear; always in order.
    pub fn push(&mut self, event: Box<HttpEvent>, out: &mut dyn FnMut(Detected)) {
        let core = &mut self.core;
        self.clock
            .push(event, &mut |event, time_ns| core.event(event, time_ns, out));
    }

    /// Time goes on without events.
    pub fn tick(&mut self, now_ns: u64, out: &mut dyn FnMut(Detected)) {
        let core = &mut self.core;
        self.clock.tick(now_ns, &mut |event, time_ns| {
            core.event(event, time_ns, out);
        });
        core.end_what_is_over(self.clock.now_ns(), out);
        core.sweep(SWEEP_TICK, self.clock.now_ns());
    }

    /// Nothing more comes: alerts that are open say what they counted since they spoke last. They
    /// do not end, for nobody knows whether what they are about is over; with a state they go on.
    pub fn finish(&mut self, out: &mut dyn FnMut(Detected)) {
        let core = &mut self.core;
        self.clock
            .finish(&mut |event, time_ns| core.event(event, time_ns, out));
        core.tell_open(self.clock.now_ns(), out);
    }

    /// Something was lost up to this time: alerts over it say that they may count too little.
    pub fn note_loss(&mut self, until_ns: u64) {
        self.core.changes += 1;
        self.core.lossy_until_ns = self.core.lossy_until_ns.max(until_ns);
    }

    /// What a rule has counted, by its id.
    #[cfg(test)]
    pub(super) fn hits_of(&self, id: &str) -> Option<&super::hits::Tally> {
        let mut all = self.core.hits.all().iter();
        all.find(|of| of.id == id).map(|of| &of.tally)
    }

    /// What was counted about detection itself.
    pub fn stats(&self) -> DetectStats {
        DetectStats {
            clamped: self.clock.clamped(),
            turnover: self.core.counters.turnover(),
            keys: self.core.counters.len(),
            bytes: self.core.counters.bytes(),
            ..self.core.stats
        }
    }
}

impl Core {
    fn new(set: RuleSet, settings: Settings) -> Self {
        let (detections, correlations) = (set.detections.len(), set.correlations.len());
        let yields = set.correlations.iter().map(|of| yields(&set, of)).collect();
        let mut core = Core {
            fingerprints: fingerprints(&set),
            settings,
            candidates: Candidates::new(set.detections.into_iter().map(|d| d.expr).collect()),
            feeds: Feeds::new(detections, &set.correlations),
            yields,
            keys: Keys::new(&set.rules, &set.correlations),
            hits: Hits::default(),
            counters: Counters::new(settings.memory),
            due: BinaryHeap::new(),
            lossy_until_ns: 0,
            suspects: Vec::new(),
            stats: DetectStats::default(),
            changes: 0,
            scratch: Some(Box::new(Scratch {
                fed: Fed::new(detections, correlations),
                ..Scratch::default()
            })),
            rules: set.rules,
            correlations: set.correlations,
            guards: set.guards,
        };
        core.bind_hits();
        core
    }

    fn event(&mut self, mut event: Box<HttpEvent>, time_ns: u64, out: &mut dyn FnMut(Detected)) {
        self.end_what_is_over(time_ns, out);
        if !self.candidates.are_possible(&event) {
            out(Detected::Event(event));
            return;
        }
        let mut scratch = self.scratch.take().unwrap_or_default();
        let Scratch { uri, fed, alerts } = &mut *scratch;
        uri.clear();
        fed.clear();
        let view = View::new(&event, uri);
        if self.candidates.matching(&view, &mut fed.matched) && fed.feed(&self.feeds) {
            self.changes += 1;
            self.count_all(&view, time_ns, fed, alerts);
            if self.changes.is_multiple_of(SWEEP_EVENTS) {
                self.sweep(SWEEP_AFTER_EVENTS, time_ns);
            }
            if !fed.moved.is_empty() {
                let rule = |number: &usize| &self.rules[self.correlations[*number].rule];
                let ids = fed.moved.iter().map(|number| Arc::clone(&rule(number).id));
                event.rules = ids.collect::<Vec<_>>().into();
            }
        }
        out(Detected::Event(event));
        for mut alert in alerts.drain(..) {
            self.suspect(&mut alert);
            out(Detected::Alert(Box::new(alert)));
        }
        self.scratch = Some(scratch);
    }

    /// Whether something was lost within the window of a correlation.
    fn is_lossy(&self, correlation: &Correlation, now_ns: u64) -> bool {
        let ago_ns = now_ns.saturating_sub(self.lossy_until_ns);
        self.lossy_until_ns != 0 && ago_ns < correlation.window_ns
    }

    /// Ends the alerts that are below half of their threshold by now.
    fn end_what_is_over(&mut self, now_ns: u64, out: &mut dyn FnMut(Detected)) {
        while let Some(Reverse(due)) = self.due.peek().copied() {
            if due.at_ns > now_ns {
                break;
            }
            let key = due.key;
            self.due.pop();
            let Some(correlation) = self.correlations.get(usize::from(key.correlation)) else {
                continue;
            };
            let Some(counter) = self.counters.get_mut(key) else {
                continue;
            };
            if counter.active().is_none() {
                continue;
            }
            let over_ns = over_at(correlation, counter, now_ns);
            if over_ns > now_ns {
                self.due.push(Reverse(Due::new(over_ns, due.id, key)));
                continue;
            }
            let rule = &self.rules[correlation.rule];
            let ago_ns = over_ns.saturating_sub(self.lossy_until_ns);
            let lossy = self.lossy_until_ns != 0 && ago_ns < correlation.window_ns;
            let ended = Subject::new(rule, correlation, lossy).end(counter, over_ns);
            self.changes += 1;
            if let Some(slot) = self.counters.find(key) {
                self.counters.settle(slot);
            }
            if let Some(mut alert) = ended {
                suspect(&self.suspects, &mut alert);
                out(Detected::Alert(Box::new(alert)));
            }
        }
    }

    /// What open alerts have counted since they spoke last.
    fn tell_open(&mut self, now_ns: u64, out: &mut dyn FnMut(Detected)) {
        let mut open: Vec<Due> = std::mem::take(&mut self.due)
            .into_iter()
            .filter_map(|Reverse(Due { key, .. })| {
                let active = self.counters.get_mut(key)?.active()?;
                (!active.is_silent()).then_some(Due::new(active.opened_ns, active.id, key))
            })
            .collect();
        open.sort_unstable();
        open.dedup();
        self.stats.open = open.len() as u64;
        for Due { key, .. } in open {
            let correlation = &self.correlations[usize::from(key.correlation)];
            let rule = &self.rules[correlation.rule];
            let lossy = self.lossy_until_ns != 0;
            let Some(counter) = self.counters.get_mut(key) else {
                continue;
            };
            let Some(active) = counter.active() else {
                continue;
            };
            if active.count(counter.events) > active.told {
                let subject = Subject::new(rule, correlation, lossy);
                if let Some(mut alert) = subject.told(counter, State::Updated, now_ns) {
                    suspect(&self.suspects, &mut alert);
                    out(Detected::Alert(Box::new(alert)));
                }
            }
        }
    }

    /// Learns from an alert which peer looks like a proxy; what is said about such a one counts
    /// for less.
    fn suspect(&mut self, alert: &mut Alert) {
        if !alert.rule.marks_proxy {
            suspect(&self.suspects, alert);
            return;
        }
        let Some((peer, _)) = alert.clients.first() else {
            return;
        };
        let until_ns = alert.time_ns.saturating_add(SUSPECT_NS);
        self.suspects
            .retain(|(ip, until)| ip != peer && *until > alert.time_ns);
        if self.suspects.len() < SUSPECTS {
            self.suspects.push((*peer, until_ns));
        }
    }

    fn sweep(&mut self, few: usize, now_ns: u64) {
        let correlations = &self.correlations;
        self.counters.sweep(few, |key, counter| {
            correlations
                .get(usize::from(key.correlation))
                .is_none_or(|correlation| {
                    is_over(bucket(correlation.window_ns, now_ns), counter)
                        && counter.active().is_none()
                })
        });
    }
}

/// An alert about a peer that looks like a proxy is informational: it may be about many.
fn suspect(suspects: &[(IpAddr, u64)], alert: &mut Alert) {
    let suspected = |ip: &IpAddr| {
        let mut of_it = suspects.iter().filter(|(suspect, _)| suspect == ip);
        of_it.any(|(_, until)| *until > alert.time_ns)
    };
    if alert.clients.len() == 1 && alert.clients.iter().any(|(ip, _)| suspected(ip)) {
        alert.proxy_suspected = true;
        alert.severity = Severity::INFORMATIONAL;
    }
}

/// The correlations that raise the alerts of the rules that one yields to.
fn yields(set: &RuleSet, to: &Correlation) -> Vec<usize> {
    let rule = set.rules.get(to.rule);
    let names = rule.into_iter().flat_map(|rule| &rule.yields_to);
    let rules: Vec<usize> = names.filter_map(|name| set.find(name)).collect();
    let theirs = |at: &usize| rules.contains(&set.correlations[*at].rule);
    match rules.is_empty() {
        true => Vec::new(),
        false => (0..set.correlations.len()).filter(theirs).collect(),
    }
}

/// The count below which an alert is over.
fn end_below(correlation: &Correlation) -> u64 {
    match correlation.kind {
        Kind::EventCount | Kind::ValueCount(_) | Kind::ValueSum(_) | Kind::Ratio(_) => {
            correlation.threshold().div_ceil(2)
        }
        // Over when nothing of it is in the window any more.
        _ => 1,
    }
}

/// When an alert is over if nothing more comes, in ns.
fn over_at(correlation: &Correlation, counter: &Counter, near_ns: u64) -> u64 {
    let part = bucket_ns(correlation.window_ns);
    let over = counter.window.below(end_below(correlation));
    let near = near_ns / part;
    let distance = i64::from(over.wrapping_sub(near as u32) as i32);
    near.saturating_add_signed(distance).saturating_mul(part)
}

/// About when it counted last, in ns: where its newest bucket ends.
fn newest_ns(correlation: &Correlation, counter: &Counter, now_ns: u64) -> u64 {
    let part = bucket_ns(correlation.window_ns);
    let now = now_ns / part;
    let ago = (now as u32).wrapping_sub(counter.window.newest()) as i32;
    let newest = now.saturating_add_signed(-i64::from(ago));
    newest.saturating_add(1).saturating_mul(part).min(now_ns)
}
