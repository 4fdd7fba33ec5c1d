//! Active rules and their state: takes each event through matching and counting, and ends alerts that are
//! over. An event that matches nothing causes no allocation.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::alert::{Active, Alert, State};
use crate::candidates::Candidates;
use crate::correlate::is_over;
use crate::counters::{Counters, Key, Turnover};
use crate::digest;
use crate::fingerprint::fingerprints;
use crate::hits::Hits;
use crate::hops::Hops;
use crate::keys::Keys;
use crate::lifecycle::{Subject, over_at};
use crate::rule::expr::Expr;
use crate::rule::{Correlation, Kind, Rule, RuleSet, Severity};
use crate::view::{View, ViewContext};
use crate::window::bucket;
use http_trace_model::endpoint::Endpoints;
use http_trace_model::event::{HttpEvent, Names};

use super::fed::{Fed, Feeds};

/// Keys checked for expiry per tick, and per this many matching events: one per two events, in batches, which
/// is cheaper. Keys that are never checked are evicted as least recently used when there is no room.
pub(super) const SWEEP_TICK: usize = 256;
const SWEEP_EVENTS: u64 = 64;
const SWEEP_AFTER_EVENTS: usize = 32;

/// Maximum number of suspected proxies, and how long they are remembered, in ns.
pub(super) const SUSPECTS: usize = 1024;
const SUSPECT_NS: u64 = 24 * 3_600_000_000_000;

#[derive(Clone, Debug)]
pub struct Settings {
    /// Whether ticks are this host's time.
    pub live: bool,
    /// Approximate memory limit for counters, in bytes.
    pub memory: usize,
    /// Path templates and known endpoints.
    pub endpoints: Endpoints,
}

impl Default for Settings {
    fn default() -> Self {
        Settings { live: false, memory: 64 << 20, endpoints: Endpoints::default() }
    }
}

#[derive(Clone, Debug)]
pub enum Detected {
    /// An event, with the rules that counted it.
    Event(Box<HttpEvent>),
    /// An alert, after the event that raised it.
    Alert(Box<Alert>),
}

/// Statistics about detection itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DetectStats {
    pub opened: u64,
    /// Alerts still open at the end.
    pub open: u64,
    /// Events that a rule did not count because they were older than its window.
    pub late: u64,
    /// Events whose time was not accepted.
    pub clamped: u64,
    /// Numbers of evicted and refused keys.
    pub turnover: Turnover,
    /// Keys tracked now.
    pub keys: usize,
    /// Memory of these keys, in bytes.
    pub bytes: usize,
}

/// Active rules and their state.
#[derive(Debug)]
pub(super) struct Core {
    pub rules: Vec<Arc<Rule>>,
    pub correlations: Vec<Correlation>,
    /// For each correlation a condition that the event must also satisfy.
    pub guards: Vec<Option<Expr>>,
    /// For each correlation the correlations whose open alerts for the same entity suppress its own.
    pub yields: Vec<Vec<usize>>,
    /// For each correlation the index of its digest, if it has one.
    pub digests: Vec<Option<usize>>,
    pub fingerprints: Vec<u64>,
    pub candidates: Candidates,
    pub feeds: Feeds,
    pub settings: Settings,
    pub keys: Keys,
    pub hits: Hits,
    pub counters: Counters,
    pub hops: Hops,
    /// When open alerts need attention.
    pub due: BinaryHeap<Reverse<Due>>,
    pub lossy_until_ns: u64,
    /// Suspected proxies, and until when (ns).
    pub suspects: Vec<(IpAddr, u64)>,
    pub stats: DetectStats,
    /// Counts changes of the state that a snapshot holds.
    pub changes: u64,
    /// `None` only while an event is being processed.
    scratch: Option<Box<Scratch>>,
}

/// An open alert, and when it needs attention. At equal times the order is that of rules and ids and not of
/// keys, whose hashes differ between runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Due {
    pub at_ns: u64,
    pub correlation: u16,
    pub id: u64,
    pub key: Key,
}

impl Due {
    /// For the alert with this id, which belongs to a key.
    pub const fn new(at_ns: u64, id: u64, key: Key) -> Self {
        Due { at_ns, correlation: key.correlation, id, key }
    }
}

/// Reused buffers.
#[derive(Debug, Default)]
struct Scratch {
    context: ViewContext,
    fed: Fed,
    alerts: Vec<Alert>,
}

impl Core {
    pub fn new(mut set: RuleSet, settings: Settings) -> Self {
        let digests = digest::add(&mut set);
        let (detections, correlations) = (set.detections.len(), set.correlations.len());
        let yields = set.correlations.iter().map(|of| yields(&set, of)).collect();
        let mut core = Core {
            fingerprints: fingerprints(&set),
            candidates: Candidates::new(set.detections.into_iter().map(|d| d.expr).collect()),
            feeds: Feeds::new(detections, &set.correlations),
            yields,
            digests,
            keys: Keys::new(&set.rules, &set.correlations),
            hits: Hits::default(),
            counters: Counters::new(settings.memory),
            hops: Hops::default(),
            due: BinaryHeap::new(),
            lossy_until_ns: 0,
            suspects: Vec::new(),
            stats: DetectStats::default(),
            changes: 0,
            scratch: Some(Box::new(Scratch {
                context: ViewContext::of(settings.endpoints.clone()),
                fed: Fed::new(detections, correlations),
                ..Scratch::default()
            })),
            rules: set.rules,
            correlations: set.correlations,
            guards: set.guards,
            settings,
        };
        core.bind_hits();
        core
    }

    pub fn event(
        &mut self,
        mut event: Box<HttpEvent>,
        time_ns: u64,
        out: &mut dyn FnMut(Detected),
    ) {
        self.end_expired(time_ns, out);
        let mut scratch = self.scratch.take().unwrap_or_default();
        let Scratch { context, fed, alerts } = &mut *scratch;
        context.clear();
        let view = View::new(&event, context);
        if self.candidates.matching(&view, &mut fed.matched) && fed.feed(&self.feeds) {
            self.changes += 1;
            self.count_all(&view, time_ns, fed, alerts);
            if self.changes.is_multiple_of(SWEEP_EVENTS) {
                self.sweep(SWEEP_AFTER_EVENTS, time_ns);
            }
            if !fed.moved.is_empty() {
                event.rules = self.ids(&fed.moved);
            }
        }
        out(Detected::Event(event));
        for mut alert in alerts.drain(..) {
            self.suspect(&mut alert);
            out(Detected::Alert(Box::new(alert)));
        }
        self.scratch = Some(scratch);
    }

    fn ids(&self, correlations: &[usize]) -> Names {
        let rule = |number: &usize| &self.rules[self.correlations[*number].rule];
        correlations.iter().map(|of| Arc::clone(&rule(of).id)).collect()
    }

    /// Whether something was lost within the window of a correlation.
    pub fn is_lossy(&self, correlation: &Correlation, now_ns: u64) -> bool {
        let ago_ns = now_ns.saturating_sub(self.lossy_until_ns);
        self.lossy_until_ns != 0 && ago_ns < correlation.window_ns
    }

    /// Ends the alerts whose count has fallen below half of the threshold.
    pub fn end_expired(&mut self, now_ns: u64, out: &mut dyn FnMut(Detected)) {
        while let Some(Reverse(due)) = self.due.peek().copied() {
            if due.at_ns > now_ns {
                break;
            }
            let key = due.key;
            self.due.pop();
            let Some(correlation) = self.correlations.get(usize::from(key.correlation)) else {
                continue;
            };
            let Some(counter) = self.counters.get_mut(key) else { continue };
            if counter.active().is_none() {
                continue;
            }
            let rule = &self.rules[correlation.rule];
            let mut over_ns = over_at(correlation, counter, now_ns);
            let ago_ns = over_ns.min(now_ns).saturating_sub(self.lossy_until_ns);
            let lossy = self.lossy_until_ns != 0 && ago_ns < correlation.window_ns;
            let subject = Subject::new(rule, correlation, lossy);
            let alerts: Vec<Alert> = if over_ns <= now_ns {
                subject.end(counter, over_ns).collect()
            } else {
                let gathered = subject.gathered(counter, now_ns);
                over_ns = counter.active().map_or(over_ns, |active| active.due(over_ns));
                self.due.push(Reverse(Due::new(over_ns, due.id, key)));
                gathered.into_iter().collect()
            };
            self.changes += u64::from(!alerts.is_empty());
            if let Some(slot) = self.counters.find(key) {
                self.counters.settle(slot);
            }
            for alert in alerts {
                pass_on(&self.suspects, alert, out);
            }
        }
    }

    /// Reports what open alerts have counted since their last report.
    pub fn report_open(&mut self, now_ns: u64, out: &mut dyn FnMut(Detected)) {
        let open = self.open(&|_, active| !active.is_silent());
        self.stats.open = open.len() as u64;
        for key in open {
            let correlation = &self.correlations[usize::from(key.correlation)];
            let rule = &self.rules[correlation.rule];
            let subject = Subject::new(rule, correlation, self.lossy_until_ns != 0);
            let Some(counter) = self.counters.get_mut(key) else { continue };
            let events = counter.events;
            let has_more = |active: &Active| active.count(events) > active.reported;
            if counter.active().is_some_and(has_more)
                && let Some(alert) = subject.alert_now(counter, State::Updated, now_ns)
            {
                pass_on(&self.suspects, alert, out);
            }
        }
    }

    /// The keys of open alerts that satisfy `which`, in the order in which they opened.
    pub fn open(&mut self, which: &dyn Fn(Key, &Active) -> bool) -> Vec<Key> {
        let due = self.due.iter().filter_map(|Reverse(Due { key, .. })| {
            let active = self.counters.get_mut(*key)?.active()?;
            which(*key, active).then(|| Due::new(active.opened_ns, active.id, *key))
        });
        let mut open: Vec<Due> = due.collect();
        open.sort_unstable();
        open.dedup();
        open.into_iter().map(|due| due.key).collect()
    }

    /// Records the suspected proxy if the alert's rule marks one; otherwise marks an alert about one.
    fn suspect(&mut self, alert: &mut Alert) {
        if !alert.rule.marks_proxy {
            suspect(&self.suspects, alert);
            return;
        }
        let Some((peer, _)) = alert.clients.first() else { return };
        let until_ns = alert.time_ns.saturating_add(SUSPECT_NS);
        self.suspects.retain(|(ip, until)| ip != peer && *until > alert.time_ns);
        if self.suspects.len() < SUSPECTS {
            self.suspects.push((*peer, until_ns));
        }
    }

    pub fn sweep(&mut self, few: usize, now_ns: u64) {
        let correlations = &self.correlations;
        self.counters.sweep(few, |key, counter| {
            correlations.get(usize::from(key.correlation)).is_none_or(|correlation| {
                is_over(bucket(correlation.window_ns, now_ns), counter)
                    && counter.active().is_none()
            })
        });
    }
}

pub(super) fn pass_on(suspects: &[(IpAddr, u64)], mut alert: Alert, out: &mut dyn FnMut(Detected)) {
    suspect(suspects, &mut alert);
    out(Detected::Alert(Box::new(alert)));
}

/// Marks an alert about a suspected proxy. Where it may be the sum over many clients, it becomes informational;
/// one request that is an attack remains one, and forwarding headers alone, which any client may invent, lower
/// nothing.
fn suspect(suspects: &[(IpAddr, u64)], alert: &mut Alert) {
    let suspected = |ip: &IpAddr| {
        let mut of_it = suspects.iter().filter(|(suspect, _)| suspect == ip);
        of_it.any(|(_, until)| *until > alert.time_ns)
    };
    if alert.clients.len() == 1 && alert.clients.iter().any(|(ip, _)| suspected(ip)) {
        alert.proxy_suspected = true;
        if alert.is_sum {
            alert.severity = Severity::INFORMATIONAL;
        }
    }
}

fn yields(set: &RuleSet, to: &Correlation) -> Vec<usize> {
    // A digest replaces alerts that are to be reported.
    let rule = set.rules.get(to.rule).filter(|_| to.kind != Kind::Digest);
    let names = rule.into_iter().flat_map(|rule| &rule.yields_to);
    let rules: Vec<usize> = names.filter_map(|name| set.find(name)).collect();
    let theirs = |at: &usize| rules.contains(&set.correlations[*at].rule);
    if rules.is_empty() { Vec::new() } else { (0..set.correlations.len()).filter(theirs).collect() }
}
