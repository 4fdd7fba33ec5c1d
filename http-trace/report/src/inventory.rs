//! What is gathered of events and alerts, and the report made of it. Everything is bounded: of what is beyond
//! its bound there is a count. Writes nothing.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;

use http_trace_detect::alert::Alert;
use http_trace_model::endpoint::{Endpoints, is_there, named_service, service_address};
use http_trace_model::event::{HttpEvent, Loss, status_class};
use http_trace_model::known::Known;
use http_trace_model::target::Target;
use serde::Serialize;

use crate::times::Times;

/// The most services, endpoints of one, clients that are told apart of one endpoint, links, and alerts.
const SERVICES: usize = 1000;
const ENDPOINTS: usize = 2000;
const CLIENTS: usize = 1024;
const LINKS: usize = 1000;
const ALERTS: usize = 1000;

/// The most intervals of the timeline.
const INTERVALS: usize = 120;

/// How a template is called that others share since there were too many.
pub const OTHER: &str = "other";

/// What a report is to say.
#[derive(Clone, Debug)]
pub struct Options {
    /// How endpoints are told; with a list of known ones, others are told.
    pub endpoints: Endpoints,
    /// Endpoints that did not come for so long before the end are told, in ns.
    pub unseen_ns: Option<u64>,
    /// Bytes from the wire as text that drives no terminal.
    pub shown: fn(&[u8]) -> String,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            endpoints: Endpoints::default(),
            unseen_ns: None,
            shown: |bytes| bytes.escape_ascii().to_string(),
        }
    }
}

/// All that was gathered so far.
#[derive(Debug)]
pub struct Inventory {
    options: Options,
    services: HashMap<String, Service>,
    timeline: Timeline,
    links: HashMap<Link, u64>,
    alerts: BTreeMap<u64, AlertRow>,
    clients: Clients,
    classes: BTreeMap<&'static str, u64>,
    events: u64,
    lost: u64,
    times_ns: Option<(u64, u64)>,
    /// What found no room.
    left_out: LeftOut,
}

#[derive(Debug, Default)]
struct Service {
    /// By method and template.
    endpoints: HashMap<(String, String), Tally>,
    all: Tally,
}

/// What was counted of an endpoint, or of a service.
#[derive(Debug, Default)]
struct Tally {
    hits: u64,
    first_ns: u64,
    last_ns: u64,
    /// 0 for no response.
    statuses: BTreeMap<u16, u64>,
    times: Times,
    bytes: u64,
    bodies: u64,
    clients: Clients,
}

/// Clients that are told apart, up to a bound.
#[derive(Debug, Default)]
struct Clients {
    seen: HashSet<IpAddr>,
    more: bool,
}

impl Clients {
    fn add(&mut self, ip: IpAddr) {
        if self.seen.len() < CLIENTS || self.seen.contains(&ip) {
            self.seen.insert(ip);
        } else {
            self.more = true;
        }
    }

    fn shown(&self) -> String {
        let more = if self.more { "≥ " } else { "" };
        format!("{more}{}", self.seen.len())
    }
}

/// Events by class over time, in intervals that grow with the time that there is.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Timeline {
    /// Start of the first interval, Unix seconds.
    pub start: u64,
    /// Of each interval, in seconds.
    pub seconds: u64,
    /// Those of each class ([`CLASSES`]) in each interval.
    pub intervals: Vec<[u64; CLASSES.len()]>,
}

impl Timeline {
    fn add(&mut self, second: u64, class: &str) {
        let class = CLASSES.iter().position(|name| *name == class).unwrap_or(0);
        if self.intervals.is_empty() {
            (self.start, self.seconds) = (second, 1);
        }
        // What comes late is of the first interval.
        let mut at = (second.saturating_sub(self.start) / self.seconds) as usize;
        while at >= INTERVALS {
            let halves = self.intervals.chunks(2);
            let joined = halves.map(|two| {
                let mut sum = [0; CLASSES.len()];
                two.iter()
                    .for_each(|one| sum.iter_mut().zip(one).for_each(|(a, b)| *a += b));
                sum
            });
            self.intervals = joined.collect();
            self.seconds *= 2;
            at = (second.saturating_sub(self.start) / self.seconds) as usize;
        }
        if self.intervals.len() <= at {
            self.intervals.resize(at + 1, [0; CLASSES.len()]);
        }
        self.intervals[at][class] += 1;
    }
}

impl Tally {
    fn add(&mut self, event: &HttpEvent, status: u16) {
        if self.hits == 0 {
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
        self.clients.add(event.client_ip());
    }

    fn of_class(&self, class: u16) -> u64 {
        let of = self
            .statuses
            .iter()
            .filter(|(status, _)| **status / 100 == class);
        of.map(|(_, count)| count).sum()
    }
}

impl Inventory {
    /// Empty.
    pub fn new(options: Options) -> Self {
        Inventory {
            options,
            services: HashMap::new(),
            timeline: Timeline::default(),
            links: HashMap::new(),
            alerts: BTreeMap::new(),
            clients: Clients::default(),
            classes: BTreeMap::new(),
            events: 0,
            lost: 0,
            times_ns: None,
            left_out: LeftOut::default(),
        }
    }

    /// Takes an event in.
    pub fn event(&mut self, event: &HttpEvent) {
        let status = event
            .response
            .as_ref()
            .map_or(0, |response| response.status);
        let class = class(status);
        self.events += 1;
        *self.classes.entry(class).or_default() += 1;
        self.clients.add(event.client_ip());
        let (first, last) = self.times_ns.unwrap_or((event.time_ns, event.time_ns));
        self.times_ns = Some((first.min(event.time_ns), last.max(event.time_ns)));
        self.timeline.add(event.time_ns / 1_000_000_000, class);
        let Some(service) = self.service(event, status) else {
            self.left_out.services += 1;
            return;
        };
        let shown = self.options.shown;
        let Some(of) = self.services.get_mut(&service) else {
            return;
        };
        of.all.add(event, status);
        let Some(request) = &event.request else {
            return;
        };
        let target = Target::of(request);
        let path = target.path.unwrap_or_default();
        let template = self.options.endpoints.templates.of(path);
        let key = (shown(&request.method), shown(&template));
        let path = shown(path);
        if let Some(tally) = of.endpoints.get_mut(&key) {
            tally.add(event, status);
        } else if is_there(status) {
            let room = of.endpoints.len() < ENDPOINTS;
            let key = if room {
                key
            } else {
                ("*".to_owned(), OTHER.to_owned())
            };
            self.left_out.endpoints += u64::from(!room);
            of.endpoints.entry(key).or_default().add(event, status);
        }
        let referrer = request.headers.first_known(Known::REFERER);
        if let Some(referrer) = referrer.filter(|_| matches!(status, 404 | 410)) {
            let link = Link {
                service,
                path,
                referrer: shown(referrer),
                status,
            };
            if self.links.len() < LINKS || self.links.contains_key(&link) {
                *self.links.entry(link).or_default() += 1;
            } else {
                self.left_out.links += 1;
            }
        }
    }

    /// The service that an event is of, by the host that was asked for, if something is there, or by its
    /// address: whoever invents hosts makes no services.
    fn service(&mut self, event: &HttpEvent, status: u16) -> Option<String> {
        let target = event.request.as_ref().map(Target::of).unwrap_or_default();
        let name = match named_service(&target, self.options.shown) {
            Some(name) if self.services.contains_key(&name) || is_there(status) => name,
            _ => service_address(event),
        };
        if !self.services.contains_key(&name) {
            if self.services.len() >= SERVICES {
                return None;
            }
            self.services.insert(name.clone(), Service::default());
        }
        Some(name)
    }

    /// Takes an alert in; a later state takes the place of an earlier one.
    pub fn alert(&mut self, alert: &Alert) {
        let shown = self.options.shown;
        if self.alerts.len() >= ALERTS && !self.alerts.contains_key(&alert.id) {
            self.left_out.alerts += 1;
            return;
        }
        let paths = alert.paths.iter().take(3);
        let row = AlertRow {
            level: alert.severity.level().name(),
            severity: alert.severity.score(),
            rule: alert.rule.id.to_string(),
            summary: shown(&alert.message()),
            first: time(alert.first_seen_ns),
            last: time(alert.last_seen_ns),
            count: alert.count,
            clients: alert
                .clients
                .iter()
                .take(3)
                .map(|(ip, _)| ip.to_string())
                .collect(),
            paths: paths.map(|(path, _)| shown(path)).collect(),
        };
        self.alerts.insert(alert.id, row);
    }

    /// Takes a loss in.
    pub fn loss(&mut self, loss: &Loss) {
        self.lost = self.lost.saturating_add(loss.count);
    }

    /// What there is to say.
    pub fn report(&self) -> Report {
        let last_ns = self.times_ns.map_or(0, |(_, last)| last);
        let unseen_before = self.options.unseen_ns.map(|ns| last_ns.saturating_sub(ns));
        let mut services = Vec::new();
        let mut endpoints = Vec::new();
        for (name, service) in &self.services {
            services.push(Row::new(name, "", "", &service.all));
            for ((method, template), tally) in &service.endpoints {
                let mut row = Row::new(name, method, template, tally);
                let known = self.options.endpoints.known.as_ref();
                row.known = known.map(|known| known.has(method, name, template));
                row.unseen = unseen_before.is_some_and(|before| tally.last_ns < before);
                endpoints.push(row);
            }
        }
        let order = |a: &Row, b: &Row| {
            let key = |row: &Row| (std::cmp::Reverse(row.hits), row.service.clone());
            let rest = |row: &Row| (row.template.clone(), row.method.clone());
            (key(a), rest(a)).cmp(&(key(b), rest(b)))
        };
        services.sort_by(order);
        endpoints.sort_by(order);
        let links = self.links.iter();
        let row = |(link, count): (&Link, &u64)| LinkRow {
            link: link.clone(),
            count: *count,
        };
        let mut links: Vec<LinkRow> = links.map(row).collect();
        links.sort_by(|a, b| {
            (b.count, &a.link.path, &a.link.referrer).cmp(&(
                a.count,
                &b.link.path,
                &b.link.referrer,
            ))
        });
        let mut alerts: Vec<AlertRow> = self.alerts.values().cloned().collect();
        alerts
            .sort_by(|a, b| (b.severity, &a.first, &a.rule).cmp(&(a.severity, &b.first, &b.rule)));
        Report {
            from: self.times_ns.map(|(first, _)| time(first)),
            until: self.times_ns.map(|(_, last)| time(last)),
            events: self.events,
            classes: self.classes.clone(),
            clients: self.clients.shown(),
            lost: self.lost,
            services,
            endpoints,
            broken_links: links,
            alerts,
            timeline: self.timeline.clone(),
            left_out: self.left_out.clone(),
            knows: self.options.endpoints.known.is_some(),
            looks_for_unseen: self.options.unseen_ns.is_some(),
        }
    }
}

/// The classes of a timeline, in its order; none is a request without response.
pub const CLASSES: [&str; 7] = ["1xx", "2xx", "3xx", "4xx", "5xx", "other", NONE];

/// What stands for the status of a request without response.
const NONE: &str = "none";

const fn class(status: u16) -> &'static str {
    match status {
        0 => NONE,
        status => status_class(status),
    }
}

/// RFC 3339 with seconds, UTC.
fn time(ns: u64) -> String {
    let seconds = i64::try_from(ns / 1_000_000_000).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(seconds).map_or_else(|_| String::new(), |time| time.to_string())
}

/// What a site has.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// First event, RFC 3339.
    pub from: Option<String>,
    /// Last event.
    pub until: Option<String>,
    /// Events: responses, and requests without one.
    pub events: u64,
    /// How many were of each class.
    pub classes: BTreeMap<&'static str, u64>,
    /// How many clients there were.
    pub clients: String,
    /// What was lost meanwhile.
    pub lost: u64,
    /// Services, those with the most events first.
    pub services: Vec<Row>,
    /// Endpoints, likewise.
    pub endpoints: Vec<Row>,
    /// Links that led nowhere.
    pub broken_links: Vec<LinkRow>,
    /// Alerts in their last state, the worst first.
    pub alerts: Vec<AlertRow>,
    /// Events over time.
    pub timeline: Timeline,
    /// What found no room.
    pub left_out: LeftOut,
    /// Whether it was said what is known.
    #[serde(skip)]
    pub knows: bool,
    /// Whether it was asked what did not come for long.
    #[serde(skip)]
    pub looks_for_unseen: bool,
}

/// A service or an endpoint.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The host that was asked for, with its port if that is not usual; an address where none was.
    pub service: String,
    /// Of an endpoint.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub method: String,
    /// Of an endpoint: the path without what differs.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub template: String,
    /// Events.
    pub hits: u64,
    /// First one, RFC 3339.
    pub first: String,
    /// Last one.
    pub last: String,
    /// By status; `none` for no response.
    pub statuses: BTreeMap<String, u64>,
    /// Of class 5xx, and without response.
    pub failed: u64,
    /// From the request's end to the response's first byte: half of all took no longer, in microseconds.
    pub p50_us: Option<u64>,
    /// 95 of 100.
    pub p95_us: Option<u64>,
    /// 99 of 100.
    pub p99_us: Option<u64>,
    /// Of a body, on average.
    pub bytes: Option<u64>,
    /// How many there were.
    pub clients: String,
    /// Whether it is known, where it was said what is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub known: Option<bool>,
    /// Whether it did not come for as long as was asked.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unseen: bool,
}

impl Row {
    fn new(service: &str, method: &str, template: &str, tally: &Tally) -> Self {
        let name = |status: u16| match status {
            0 => NONE.to_owned(),
            status => status.to_string(),
        };
        let statuses = tally.statuses.iter();
        Row {
            service: service.to_owned(),
            method: method.to_owned(),
            template: template.to_owned(),
            hits: tally.hits,
            first: time(tally.first_ns),
            last: time(tally.last_ns),
            failed: tally.of_class(5) + tally.of_class(0),
            statuses: statuses
                .map(|(status, count)| (name(*status), *count))
                .collect(),
            p50_us: tally.times.quantile(0.5),
            p95_us: tally.times.quantile(0.95),
            p99_us: tally.times.quantile(0.99),
            bytes: tally.bytes.checked_div(tally.bodies),
            clients: tally.clients.shown(),
            known: None,
            unseen: false,
        }
    }

    /// Whether it answered with success: such endpoints make an allow list.
    pub fn has_answered(&self) -> bool {
        self.template != OTHER && self.statuses.keys().any(|status| status.starts_with('2'))
    }
}

/// A link that led nowhere.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Link {
    /// Where it led.
    pub service: String,
    /// The path.
    pub path: String,
    /// Where it was.
    pub referrer: String,
    /// What was answered.
    pub status: u16,
}

/// How often one was followed.
#[derive(Clone, Debug, Serialize)]
pub struct LinkRow {
    /// Which.
    #[serde(flatten)]
    pub link: Link,
    /// How often.
    pub count: u64,
}

/// An alert.
#[derive(Clone, Debug, Serialize)]
pub struct AlertRow {
    /// `informational` … `critical`
    pub level: &'static str,
    /// 0 to 10.
    pub severity: u8,
    /// Its rule.
    pub rule: String,
    /// What the rule says.
    pub summary: String,
    /// First event that counted.
    pub first: String,
    /// Last one.
    pub last: String,
    /// Events that counted.
    pub count: u64,
    /// Some of the clients.
    pub clients: Vec<String>,
    /// Some of the paths.
    pub paths: Vec<String>,
}

/// How much found no room.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
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

#[cfg(test)]
mod tests;
