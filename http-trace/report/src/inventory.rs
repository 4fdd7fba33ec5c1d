//! Collects events and alerts, and builds the report. Everything is bounded, and what exceeds
//! a bound is counted. Does no output.

use std::collections::{BTreeMap, HashMap};

use http_trace_detect::alert::Alert;
use http_trace_detect::rule::Level;
use http_trace_model::endpoint::{Endpoints, Templates, is_there, named_service, service_address};
use http_trace_model::event::{HttpEvent, Loss};
use http_trace_model::known::Known;
use http_trace_model::target::Target;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::tally::{CLASSES, LeftOut, NONE, Tally, Timeline, Total};

/// Maximum numbers of services, endpoints per service and in total, distinct clients in total,
/// links, and alerts.
const SERVICES: usize = 1000;
const ENDPOINTS: usize = 2000;
/// As many more are named by the user's own templates.
const OWN_ENDPOINTS: usize = 500;
const ENDPOINTS_OF_ALL: usize = 50_000;
pub(crate) const CLIENTS_OF_ALL: usize = 500_000;
const LINKS: usize = 1000;
const ALERTS: usize = 1000;

/// Template under which endpoints beyond the bound are counted.
pub const OTHER: &str = "other";

#[derive(Clone, Debug)]
pub struct Options {
    /// Names endpoints; if it has a list of known endpoints, others are reported as unknown.
    pub endpoints: Endpoints,
    /// Report endpoints without events for this long before the end, in ns.
    pub unseen_ns: Option<u64>,
    /// Converts bytes from the wire to text that is safe on a terminal.
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

/// Everything collected so far.
#[derive(Debug, Default)]
pub struct Inventory {
    options: Options,
    pub(crate) services: HashMap<String, Service>,
    pub(crate) links: HashMap<Link, u64>,
    /// `None` once handed over by [`Inventory::take`].
    pub(crate) alerts: BTreeMap<u64, Option<AlertRow>>,
    pub(crate) total: Total,
    /// Number of endpoints in all services.
    pub(crate) endpoints: usize,
    /// How many more distinct clients may be tracked.
    pub(crate) room: usize,
    unread: Unread,
}

#[derive(Debug, Default)]
pub(crate) struct Service {
    /// By method and template.
    pub(crate) endpoints: HashMap<(String, String), Tally>,
    pub(crate) all: Tally,
    /// How many of the endpoints the user's own templates name.
    own: usize,
}

impl Inventory {
    pub fn new(options: Options) -> Self {
        Inventory { options, room: CLIENTS_OF_ALL, ..Inventory::default() }
    }

    pub fn event(&mut self, event: &HttpEvent) {
        let status = event.response.as_ref().map_or(0, |response| response.status);
        self.total.add(event, status, &mut self.room);
        let Some(service) = self.service(event, status) else {
            self.total.left_out.services += 1;
            return;
        };
        let shown = self.options.shown;
        let Some(of) = self.services.get_mut(&service) else {
            return;
        };
        of.all.add(event, status, &mut self.room);
        let Some(request) = &event.request else {
            return;
        };
        let target = Target::of(request);
        let path = target.path.unwrap_or_default();
        let template = self.options.endpoints.templates.of(path);
        let key = (shown(&request.method), shown(&template));
        if let Some(tally) = of.endpoints.get_mut(&key) {
            tally.add(event, status, &mut self.room);
        } else if is_there(status) {
            let templates = &self.options.endpoints.templates;
            let (tally, has_room) = of.endpoint(key, templates, &mut self.endpoints);
            tally.add(event, status, &mut self.room);
            self.total.left_out.endpoints += u64::from(!has_room);
        }
        let referrer = request.headers.first_known(Known::REFERER);
        if let Some(referrer) = referrer.filter(|_| matches!(status, 404 | 410)) {
            let link = Link { service, path: shown(path), referrer: shown(referrer), status };
            self.join_link(link, 1);
        }
    }

    /// Adds to the count of a broken link.
    pub(crate) fn join_link(&mut self, link: Link, count: u64) {
        if self.links.len() < LINKS || self.links.contains_key(&link) {
            let of = self.links.entry(link).or_default();
            *of = of.saturating_add(count);
        } else {
            let left_out = &mut self.total.left_out.links;
            *left_out = left_out.saturating_add(count);
        }
    }

    /// Adds the counts of a service, or of one of its endpoints.
    pub(crate) fn join_tally(
        &mut self,
        service: String,
        endpoint: Option<(String, String)>,
        tally: &Tally,
    ) {
        let left_out = &mut self.total.left_out;
        if self.services.len() >= SERVICES && !self.services.contains_key(&service) {
            left_out.services = left_out.services.saturating_add(tally.hits);
            return;
        }
        let of = self.services.entry(service).or_default();
        let Some(key) = endpoint else {
            return of.all.join(tally, &mut self.room);
        };
        let templates = &self.options.endpoints.templates;
        let (of, has_room) = of.endpoint(key, templates, &mut self.endpoints);
        of.join(tally, &mut self.room);
        if !has_room {
            left_out.endpoints = left_out.endpoints.saturating_add(tally.hits);
        }
    }

    /// The service of an event: the requested host if it is known or the status shows that something is
    /// there, otherwise the server's address. Made-up hosts therefore create no services.
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

    /// Adds an alert, replacing its earlier state.
    pub fn alert(&mut self, alert: &Alert) {
        let shown = self.options.shown;
        let paths = alert.paths.iter().take(3);
        let row = AlertRow {
            level: alert.severity.level().name(),
            severity: alert.severity.score(),
            rule: alert.rule.id.to_string(),
            summary: shown(&alert.message()),
            first: time(alert.first_seen_ns),
            last: time(alert.last_seen_ns),
            count: alert.count,
            clients: alert.clients.iter().take(3).map(|(ip, _)| ip.to_string()).collect(),
            paths: paths.map(|(path, _)| shown(path)).collect(),
        };
        self.put_alert(alert.id, row);
    }

    /// Stores the last state of an alert.
    pub(crate) fn put_alert(&mut self, id: u64, row: AlertRow) {
        if self.alerts.len() >= ALERTS && !self.alerts.contains_key(&id) {
            let left_out = &mut self.total.left_out.alerts;
            *left_out = left_out.saturating_add(1);
            return;
        }
        self.alerts.insert(id, Some(row));
    }

    pub fn loss(&mut self, loss: &Loss) {
        self.total.lost = self.total.lost.saturating_add(loss.count);
    }

    /// Counts connections that are not readable.
    pub fn unreadable(&mut self, protocol: &str, port: u16, count: u64) {
        self.total.unreadable(&format!("{protocol}:{port}"), count);
    }

    /// Sets what of this run's input could not be read: malformed lines of logs, and files.
    pub fn unread(&mut self, lines: u64, files: u64) {
        self.unread = Unread { lines, files };
    }

    pub fn report(&self) -> Report {
        let Total { timeline, clients, lost, unreadable, times_ns, left_out } = self.total.clone();
        let last_ns = times_ns.map_or(0, |(_, last)| last);
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
            b.hits.cmp(&a.hits).then_with(|| {
                (&a.service, &a.template, &a.method).cmp(&(&b.service, &b.template, &b.method))
            })
        };
        services.sort_by(order);
        endpoints.sort_by(order);
        let links = self.links.iter();
        let row = |(link, count): (&Link, &u64)| LinkRow { link: link.clone(), count: *count };
        let mut links: Vec<LinkRow> = links.map(row).collect();
        links.sort_by(|a, b| {
            (b.count, &a.link.path, &a.link.referrer)
                .cmp(&(a.count, &b.link.path, &b.link.referrer))
        });
        let mut alerts: Vec<AlertRow> = self.alerts.values().flatten().cloned().collect();
        alerts
            .sort_by(|a, b| (b.severity, &a.first, &a.rule).cmp(&(a.severity, &b.first, &b.rule)));
        Report {
            from: times_ns.map(|(first, _)| time(first)),
            until: times_ns.map(|(_, last)| time(last)),
            events: timeline.counts().iter().fold(0, |sum, n| sum.saturating_add(*n)),
            classes: class_counts(&timeline),
            clients: clients.shown(),
            lost,
            unreadable,
            unread: self.unread,
            services,
            endpoints,
            broken_links: links,
            alerts,
            timeline,
            left_out,
        }
    }
}

impl Service {
    /// The endpoint of this key, or the shared [`OTHER`] endpoint beyond the bound, and
    /// whether there was room. The user's own templates have a bound of their own: however many paths came
    /// before, they are told apart.
    fn endpoint(
        &mut self,
        key: (String, String),
        templates: &Templates,
        all: &mut usize,
    ) -> (&mut Tally, bool) {
        let is_there = self.endpoints.contains_key(&key);
        let other = ("*".to_owned(), OTHER.to_owned());
        let is_own = templates.is_own(key.1.as_bytes());
        // Neither takes room from the rest: what was kept and is read again, in any order, is what it was.
        let shared = usize::from(self.endpoints.contains_key(&other));
        let has_room = key == other
            || *all < ENDPOINTS_OF_ALL
                && match is_own {
                    true => self.own < OWN_ENDPOINTS,
                    false => self.endpoints.len() - shared - self.own < ENDPOINTS,
                };
        let key = if is_there || has_room { key } else { other };
        if !self.endpoints.contains_key(&key) {
            *all += 1;
            self.own += usize::from(is_own && has_room);
        }
        (self.endpoints.entry(key).or_default(), is_there || has_room)
    }
}

/// Non-zero counts by class.
fn class_counts(timeline: &Timeline) -> BTreeMap<&'static str, u64> {
    let counts = CLASSES.into_iter().zip(timeline.counts());
    counts.filter(|(_, count)| *count > 0).collect()
}

/// RFC 3339 in UTC, with a resolution of one second.
fn time(ns: u64) -> String {
    let seconds = i64::try_from(ns / 1_000_000_000).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(seconds).map_or_else(|_| String::new(), |time| time.to_string())
}

/// Input that could not be read.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Unread {
    /// Malformed lines of logs.
    pub lines: u64,
    /// Files, of which some may have been read in part.
    pub files: u64,
}

/// The inventory of a site.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Time of the first event, RFC 3339.
    pub from: Option<String>,
    /// Time of the last event, RFC 3339.
    pub until: Option<String>,
    /// Number of events: responses, and requests without a response.
    pub events: u64,
    /// Number of events by class.
    pub classes: BTreeMap<&'static str, u64>,
    /// Number of distinct clients.
    pub clients: String,
    /// Sum of the counts of all losses.
    pub lost: u64,
    /// Connections that are not readable, by `PROTOCOL:PORT`.
    pub unreadable: BTreeMap<String, u64>,
    /// What of the input could not be read.
    pub unread: Unread,
    /// Services, sorted by number of events, descending.
    pub services: Vec<Row>,
    /// Endpoints, in the same order.
    pub endpoints: Vec<Row>,
    pub broken_links: Vec<LinkRow>,
    /// Alerts in their last state, highest severity first.
    pub alerts: Vec<AlertRow>,
    /// Events over time.
    pub timeline: Timeline,
    /// What exceeded a bound.
    pub left_out: LeftOut,
}

/// A service or an endpoint.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The requested host, with its port unless that is 80 or 443; an address where no host was sent.
    pub service: String,
    /// Method; empty for a service.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub method: String,
    /// Path template; empty for a service.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub template: String,
    /// Number of events.
    pub hits: u64,
    /// Time of the first event, RFC 3339.
    pub first: String,
    /// Time of the last event, RFC 3339.
    pub last: String,
    /// Number of events by status; `none` is no response.
    pub statuses: BTreeMap<String, u64>,
    /// Number of events of class 5xx or without a response.
    pub failed: u64,
    /// Median time from the request's end to the response's first byte, in microseconds.
    pub p50_us: Option<u64>,
    /// 95th percentile, likewise.
    pub p95_us: Option<u64>,
    /// 99th percentile, likewise.
    pub p99_us: Option<u64>,
    /// Bytes of all bodies of known size; `None` without one.
    pub body_bytes: Option<u64>,
    /// Mean size of these bodies, in bytes.
    pub mean_body_bytes: Option<u64>,
    /// Number of distinct clients.
    pub clients: String,
    /// Whether it is in the list of known endpoints; `None` without a list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub known: Option<bool>,
    /// Whether it had no events for the time in [`Options::unseen_ns`].
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
            failed: tally.of_class(5).saturating_add(tally.of_class(0)),
            statuses: statuses.map(|(status, count)| (name(*status), *count)).collect(),
            p50_us: tally.times.quantile(0.5),
            p95_us: tally.times.quantile(0.95),
            p99_us: tally.times.quantile(0.99),
            body_bytes: (tally.bodies > 0).then_some(tally.bytes),
            mean_body_bytes: tally.bytes.checked_div(tally.bodies),
            clients: tally.clients.shown(),
            known: None,
            unseen: false,
        }
    }

    /// Whether it answered with success, and so belongs in the allow list.
    pub fn has_answered(&self) -> bool {
        self.template != OTHER && self.statuses.keys().any(|status| status.starts_with('2'))
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Link {
    pub service: String,
    pub path: String,
    /// Page that has the link, from Referer.
    pub referrer: String,
    pub status: u16,
}

/// A broken link and its count.
#[derive(Clone, Debug, Serialize)]
pub struct LinkRow {
    #[serde(flatten)]
    pub link: Link,
    /// Number of requests through it.
    pub count: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AlertRow {
    /// `informational` … `critical`
    #[serde(deserialize_with = "level")]
    pub level: LevelName,
    /// 0 to 10.
    pub severity: u8,
    pub rule: String,
    pub summary: String,
    /// Time of the first counted event, RFC 3339.
    pub first: String,
    /// Time of the last counted event, RFC 3339.
    pub last: String,
    /// Number of counted events.
    pub count: u64,
    /// Up to three of its clients.
    pub clients: Vec<String>,
    /// Up to three of its paths.
    pub paths: Vec<String>,
}

/// `informational` … `critical`
pub type LevelName = &'static str;

/// Deserialises a level's name; rejects unknown ones.
fn level<'de, D: Deserializer<'de>>(deserializer: D) -> Result<&'static str, D::Error> {
    let name = String::deserialize(deserializer)?;
    let level = Level::named(&name).ok_or_else(|| D::Error::custom("no level"))?;
    Ok(level.name())
}

#[cfg(test)]
mod tests;
