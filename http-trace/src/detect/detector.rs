//! The detector: events in, events with the rules they counted for and alerts out. Synchronous,
//! without I/O and without a clock but event time. An event that matches nothing costs no
//! allocation.

mod reload;
pub mod state;
mod subject;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::IpAddr;
use std::sync::Arc;

use super::alert::{Alert, State};
use super::count::{self, Counted, Hit};
use super::entity::Entities;
use super::field::{Field, View};
use super::fingerprint::fingerprints;
use super::hits::{self, Hits};
use super::matcher::Expr;
use super::prefilter::Prefilter;
use super::rule::{Correlation, Detection, Input, Kind, Rule, RuleSet, Severity};
use super::table::{Counter, Key, Table, Turnover};
use super::time::Clock;
use super::window::{CELLS, bucket_ns};
use crate::event::HttpEvent;

use self::subject::Subject;
pub use self::subject::window_text;
pub use reload::Reloaded;
pub use state::Restored;

/// Keys that are looked at for being over with each event that matches, and with each tick.
const SWEEP_EVENT: usize = 2;
const SWEEP_TICK: usize = 256;

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
    detections: Vec<Detection>,
    correlations: Vec<Correlation>,
    guards: Vec<Option<Expr>>,
    fingerprints: Vec<u64>,
    prefilter: Prefilter,
    /// For each detection, and for each correlation, which correlations it feeds, as which input.
    fed_by_detection: Vec<Vec<(usize, u32)>>,
    fed_by_correlation: Vec<Vec<(usize, u32)>>,
    wants_uri: bool,
    settings: Settings,
    entities: Entities,
    hits: Hits,
    table: Table,
    /// When open alerts may be over.
    due: BinaryHeap<Reverse<(u64, Key)>>,
    lossy_until_ns: u64,
    /// Peers that look like proxies, and until when.
    suspects: Vec<(IpAddr, u64)>,
    stats: DetectStats,
    /// How often something changed that a state holds.
    changes: u64,
    scratch: Scratch,
}

/// Buffers that are used again.
#[derive(Debug, Default)]
struct Scratch {
    uri: Vec<u8>,
    /// For each correlation the inputs that the event at hand is.
    inputs: Vec<u64>,
    touched: Vec<u64>,
    counted: Vec<Arc<str>>,
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

    /// What was counted about detection itself.
    pub fn stats(&self) -> DetectStats {
        DetectStats {
            clamped: self.clock.clamped(),
            turnover: self.core.table.turnover(),
            keys: self.core.table.len(),
            bytes: self.core.table.bytes(),
            ..self.core.stats
        }
    }
}

impl Core {
    fn new(set: RuleSet, settings: Settings) -> Self {
        let exprs: Vec<&Expr> = set.detections.iter().map(|d| &d.expr).collect();
        let prefilter = Prefilter::new(&exprs);
        let mut fed_by_detection = vec![Vec::new(); set.detections.len()];
        let mut fed_by_correlation = vec![Vec::new(); set.correlations.len()];
        for (number, correlation) in set.correlations.iter().enumerate() {
            for (at, input) in correlation.inputs.iter().take(64).enumerate() {
                match input {
                    Input::Detection(n) => fed_by_detection[*n].push((number, at as u32)),
                    Input::Correlation(n) => fed_by_correlation[*n].push((number, at as u32)),
                }
            }
        }
        let mut wants_uri = false;
        for expr in exprs.into_iter().chain(set.guards.iter().flatten()) {
            expr.fields(&mut |field| wants_uri |= *field == Field::Uri);
        }
        let number = set.correlations.len();
        let mut core = Core {
            fingerprints: fingerprints(&set),
            settings,
            prefilter,
            fed_by_detection,
            fed_by_correlation,
            wants_uri,
            entities: Entities::new(&set.rules, &set.correlations),
            hits: Hits::default(),
            table: Table::new(settings.memory),
            due: BinaryHeap::new(),
            lossy_until_ns: 0,
            suspects: Vec::new(),
            stats: DetectStats::default(),
            changes: 0,
            scratch: Scratch {
                inputs: vec![0; number],
                touched: vec![0; number.div_ceil(64)],
                ..Scratch::default()
            },
            rules: set.rules,
            detections: set.detections,
            correlations: set.correlations,
            guards: set.guards,
        };
        core.bind_hits();
        core
    }

    fn event(&mut self, mut event: Box<HttpEvent>, time_ns: u64, out: &mut dyn FnMut(Detected)) {
        self.end_what_is_over(time_ns, out);
        let mut scratch = std::mem::take(&mut self.scratch);
        let mut uri = std::mem::take(&mut scratch.uri);
        if self.wants_uri {
            View::write_uri(&event, &mut uri);
        }
        let view = View::new(&event, &uri);
        let any = self.match_detections(&view, &mut scratch.inputs, &mut scratch.touched);
        if any {
            self.changes += 1;
            self.entities.begin();
            self.table.begin();
            self.count_all(&view, time_ns, &mut scratch);
            self.sweep(SWEEP_EVENT, time_ns);
        }
        scratch.uri = uri;
        if !scratch.counted.is_empty() {
            event.rules.append(&mut scratch.counted);
        }
        out(Detected::Event(event));
        for mut alert in scratch.alerts.drain(..) {
            self.suspect(&mut alert);
            out(Detected::Alert(Box::new(alert)));
        }
        self.scratch = scratch;
    }

    fn match_detections(
        &mut self,
        view: &View<'_>,
        inputs: &mut [u64],
        touched: &mut [u64],
    ) -> bool {
        let (detections, fed) = (&self.detections, &self.fed_by_detection);
        let mut any = false;
        self.prefilter.each(view, &mut |number, sure| {
            let Some(detection) = detections.get(number) else {
                return;
            };
            if sure || detection.expr.matches(view) {
                any |= feed(fed.get(number), inputs, touched);
            }
        });
        any
    }

    /// Counts the event wherever it was fed to; those that take in others come after them.
    fn count_all(&mut self, view: &View<'_>, time_ns: u64, scratch: &mut Scratch) {
        for word in 0..scratch.touched.len() {
            while scratch.touched[word] != 0 {
                let number = word * 64 + scratch.touched[word].trailing_zeros() as usize;
                scratch.touched[word] &= scratch.touched[word] - 1;
                let hit = Hit {
                    view,
                    time_ns,
                    inputs: std::mem::take(&mut scratch.inputs[number]),
                    distinct: self.entities.value(number, view),
                };
                if self.guards[number]
                    .as_ref()
                    .is_some_and(|guard| !guard.matches(view))
                {
                    continue;
                }
                let mut of_others = None;
                for at in 0..self.correlations[number].inputs.len() {
                    if let Input::Correlation(n) = self.correlations[number].inputs[at] {
                        of_others = of_others.max(self.counted_by(n, view));
                    }
                }
                let Some(counted) = self.count(number, &hit, of_others, &mut scratch.alerts) else {
                    continue;
                };
                let correlation = &self.correlations[number];
                if correlation.alerts && counted.moved {
                    let id = &self.rules[correlation.rule].id;
                    scratch.counted.push(Arc::clone(id));
                }
                if counted.holds {
                    feed(
                        self.fed_by_correlation.get(number),
                        &mut scratch.inputs,
                        &mut scratch.touched,
                    );
                }
            }
        }
    }

    /// What a correlation has counted of the one that the event is of.
    fn counted_by(&mut self, number: usize, view: &View<'_>) -> Option<u64> {
        let key = Key {
            correlation: u16::try_from(number).ok()?,
            hash: self.entities.key(number, 0, view)?,
        };
        Some(self.table.get_mut(key)?.window.total())
    }

    fn count(
        &mut self,
        number: usize,
        hit: &Hit<'_>,
        of_others: Option<u64>,
        alerts: &mut Vec<Alert>,
    ) -> Option<Counted> {
        let correlation = &self.correlations[number];
        let rule = &self.rules[correlation.rule];
        let begins = count::begins(correlation, hit);
        let place = u16::try_from(number).ok()?;
        if !begins && self.table.keys_of(place) == 0 {
            return None;
        }
        let input = hit.inputs.trailing_zeros() as usize;
        let key = Key {
            correlation: place,
            hash: self.entities.key(number, input, hit.view)?,
        };
        let lossy = self.lossy_until_ns != 0
            && hit.time_ns.saturating_sub(self.lossy_until_ns) < correlation.window_ns;
        let (due, stats, of_rule) = (&mut self.due, &mut self.stats, &mut self.hits);
        let worked = self.table.work(
            key,
            rule.group_limit,
            begins.then_some(|| count::make(correlation, hit.time_ns)),
            |counter| {
                let Ok(counted) = count::count(correlation, hit, counter) else {
                    stats.late += 1;
                    return None;
                };
                let counted = counted?;
                if !correlation.alerts {
                    return Some(counted);
                }
                let mut opened = false;
                let alert = Subject {
                    rule,
                    correlation,
                    lossy,
                }
                .judge(counter, hit, &counted, of_others);
                if let Some(alert) = alert {
                    if alert.state == State::Opened {
                        opened = true;
                        stats.opened += 1;
                        due.push(Reverse((over_at(correlation, counter, hit.time_ns), key)));
                    }
                    alerts.push(alert);
                }
                // What bears the rule's id is a hit of it.
                if counted.moved || opened {
                    of_rule.count(number, key.hash, hit.time_ns, opened, || {
                        hits::values(correlation, rule, hit.inputs, hit.view)
                    });
                }
                Some(counted)
            },
        );
        worked.flatten()
    }

    /// Ends the alerts that are below half of their threshold by now.
    fn end_what_is_over(&mut self, now_ns: u64, out: &mut dyn FnMut(Detected)) {
        while let Some(Reverse((at, key))) = self.due.peek().copied() {
            if at > now_ns {
                break;
            }
            self.due.pop();
            let Some(correlation) = self.correlations.get(usize::from(key.correlation)) else {
                continue;
            };
            let Some(counter) = self.table.get_mut(key) else {
                continue;
            };
            if counter.active().is_none() {
                continue;
            }
            let over_ns = over_at(correlation, counter, now_ns);
            if over_ns > now_ns {
                self.due.push(Reverse((over_ns, key)));
                continue;
            }
            let rule = &self.rules[correlation.rule];
            let lossy = self.lossy_until_ns != 0
                && over_ns.saturating_sub(self.lossy_until_ns) < correlation.window_ns;
            let subject = Subject {
                rule,
                correlation,
                lossy,
            };
            if let Some(mut alert) = subject.end(counter, over_ns) {
                self.changes += 1;
                suspect(&self.suspects, &mut alert);
                out(Detected::Alert(Box::new(alert)));
            }
        }
    }

    /// What open alerts have counted since they spoke last.
    fn tell_open(&mut self, now_ns: u64, out: &mut dyn FnMut(Detected)) {
        let mut keys: Vec<(u64, Key)> = std::mem::take(&mut self.due)
            .into_iter()
            .map(|Reverse((_, key))| key)
            .filter_map(|key| Some((self.table.get_mut(key)?.active()?.opened_ns, key)))
            .collect();
        keys.sort_unstable();
        keys.dedup();
        self.stats.open = keys.len() as u64;
        for (_, key) in keys {
            let correlation = &self.correlations[usize::from(key.correlation)];
            let rule = &self.rules[correlation.rule];
            let lossy = self.lossy_until_ns != 0;
            let Some(counter) = self.table.get_mut(key) else {
                continue;
            };
            let Some(active) = counter.active() else {
                continue;
            };
            if active.count(counter.events) > active.told {
                let subject = Subject {
                    rule,
                    correlation,
                    lossy,
                };
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
        self.table.sweep(few, |key, counter| {
            let Some(correlation) = correlations.get(usize::from(key.correlation)) else {
                return true;
            };
            let age = count::bucket(correlation, now_ns).wrapping_sub(counter.window.newest());
            age as i32 > CELLS as i32 && counter.active().is_none()
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

fn feed(to: Option<&Vec<(usize, u32)>>, inputs: &mut [u64], touched: &mut [u64]) -> bool {
    let mut any = false;
    for (number, input) in to.into_iter().flatten() {
        if let (Some(inputs), Some(word)) = (inputs.get_mut(*number), touched.get_mut(number / 64))
        {
            *inputs |= 1 << input;
            *word |= 1 << (number % 64);
            any = true;
        }
    }
    any
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
