//! Exports an inventory as rows to be stored across runs, and imports them: per day the counts of the whole,
//! of each service, endpoint and link, and each alert. Rows of one key add up. Does not know where rows are
//! stored; stored rows are untrusted, and bounds hold for them too.

use serde::Serialize;

use crate::inventory::{AlertRow, CLIENTS_OF_ALL, Inventory, Link};
use crate::tally::{Tally, Total};

/// Nanoseconds per day.
pub const DAY_NS: u64 = 86_400_000_000_000;

http_trace_model::named_enum! {
    /// Subject of a row.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
    pub enum Kind {
        /// The whole site on one day.
        #[default]
        Total = "total",
        Service = "service",
        /// An endpoint, identified by method and template.
        Endpoint = "endpoint",
        /// A broken link; the key's `method` is the status.
        Link = "link",
        /// An alert; the key's `path` is its id.
        Alert = "alert",
    }
}

/// Key of a row. Members that the kind does not use are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// Days since 1970-01-01.
    pub day: u32,
    pub kind: Kind,
    /// Service, for a service, an endpoint or a link.
    pub service: String,
    /// Method, for an endpoint; status, for a link.
    pub method: String,
    /// Template of an endpoint, or target path of a link; id of an alert.
    pub path: String,
    /// Page that has the link.
    pub referrer: String,
}

/// Content of a row.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Value {
    /// Counts of the whole site.
    Total(Box<Total>),
    /// Counts of a service or an endpoint.
    Tally(Box<Tally>),
    /// Count of a broken link.
    Link(u64),
    /// Last state of an alert.
    Alert(Box<AlertRow>),
}

impl Value {
    /// Parses the output of [`Value::json`]; `None` if it is invalid.
    pub fn parse(kind: Kind, json: &str) -> Option<Value> {
        fn of<T: serde::de::DeserializeOwned>(json: &str) -> Option<T> {
            serde_json::from_str(json).ok()
        }
        Some(match kind {
            Kind::Total => Value::Total(of(json)?),
            Kind::Service | Kind::Endpoint => Value::Tally(of(json)?),
            Kind::Link => Value::Link(of(json)?),
            Kind::Alert => Value::Alert(of(json)?),
        })
    }

    pub fn json(&self) -> String {
        // Serialising these types cannot fail.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Adds a later row of the same key.
    pub fn join(&mut self, later: Value) {
        let mut room = usize::MAX;
        match (self, later) {
            (Value::Total(total), Value::Total(later)) => total.join(&later, &mut room),
            (Value::Tally(tally), Value::Tally(later)) => tally.join(&later, &mut room),
            (Value::Link(count), Value::Link(later)) => *count = count.saturating_add(later),
            (of, later) => *of = later,
        }
    }

    /// Times of the first and last event (Unix ns), if the row has them.
    pub fn times_ns(&self) -> Option<(u64, u64)> {
        match self {
            Value::Total(total) => total.times_ns,
            Value::Tally(tally) => Some((tally.first_ns, tally.last_ns)),
            Value::Link(_) | Value::Alert(_) => None,
        }
    }
}

impl Inventory {
    /// Takes the counts since the last call, as rows of this day. Services and endpoints stay known, unless
    /// they had no event since `forget_ns` (Unix ns).
    pub fn take(&mut self, day: u32, forget_ns: u64) -> Vec<(Key, Value)> {
        let mut rows = Vec::new();
        let key = |kind| Key { day, kind, ..Key::default() };
        let total = std::mem::take(&mut self.total);
        if total != Total::default() {
            rows.push((key(Kind::Total), Value::Total(Box::new(total))));
        }
        let taken = |tally: &mut Tally| {
            let known = Tally::known(tally.first_ns, tally.last_ns);
            let is_new = tally.hits > 0;
            let tally = std::mem::replace(tally, known);
            is_new.then(|| Value::Tally(Box::new(tally)))
        };
        self.services.retain(|name, service| {
            let key = |kind, method: &str, path: &str| Key {
                service: name.clone(),
                method: method.to_owned(),
                path: path.to_owned(),
                day,
                kind,
                ..Key::default()
            };
            let all = taken(&mut service.all);
            rows.extend(all.map(|tally| (key(Kind::Service, "", ""), tally)));
            service.endpoints.retain(|(method, template), tally| {
                let counted = taken(tally);
                rows.extend(
                    counted.map(|counted| (key(Kind::Endpoint, method, template), counted)),
                );
                tally.last_ns >= forget_ns
            });
            service.all.last_ns >= forget_ns
        });
        self.endpoints = self.services.values().map(|of| of.endpoints.len()).sum();
        for (link, count) in &mut self.links {
            let count = std::mem::take(count);
            if count > 0 {
                let key = Key {
                    service: link.service.clone(),
                    method: link.status.to_string(),
                    path: link.path.clone(),
                    referrer: link.referrer.clone(),
                    ..key(Kind::Link)
                };
                rows.push((key, Value::Link(count)));
            }
        }
        for (id, alert) in &mut self.alerts {
            if let Some(alert) = alert.take() {
                let path = format!("{id:016x}");
                rows.push((Key { path, ..key(Kind::Alert) }, Value::Alert(Box::new(alert))));
            }
        }
        // The clients so far were handed over.
        self.room = CLIENTS_OF_ALL;
        rows
    }

    /// Removes links and alerts at the end of a day, to make room for those of the next.
    pub fn end_day(&mut self) {
        self.links.clear();
        self.alerts.clear();
    }

    /// Registers a stored service or endpoint as known, without counts.
    pub fn know(&mut self, key: Key, first_ns: u64, last_ns: u64) {
        self.add(key, Value::Tally(Box::new(Tally::known(first_ns, last_ns))));
    }

    /// Adds a stored row; rows of earlier days must come first.
    pub fn add(&mut self, key: Key, value: Value) {
        match value {
            Value::Total(total) => self.total.join(&total, &mut self.room),
            Value::Tally(tally) if key.kind == Kind::Service => {
                self.join_tally(key.service, None, &tally);
            }
            Value::Tally(tally) => {
                self.join_tally(key.service, Some((key.method, key.path)), &tally);
            }
            Value::Link(count) => {
                let link = Link {
                    service: key.service,
                    path: key.path,
                    referrer: key.referrer,
                    status: key.method.parse().unwrap_or_default(),
                };
                self.join_link(link, count);
            }
            Value::Alert(alert) => {
                let id = u64::from_str_radix(&key.path, 16).unwrap_or_default();
                self.put_alert(id, *alert);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http_trace_model::event::HttpEvent;
    use http_trace_samples as testing;

    use super::*;
    use crate::{Form, Options};

    fn event(at_ns: u64, line: &str, status: u16) -> HttpEvent {
        let mut event = testing::event_of(
            testing::request(&format!(
                "{line} HTTP/1.1\r\nHost: a.example\r\nReferer: /from\r\n\r\n"
            )),
            testing::response(&format!("HTTP/1.1 {status} x\r\nContent-Length: 2\r\n\r\n")),
        );
        event.time_ns = at_ns;
        event
    }

    fn report(rows: impl IntoIterator<Item = (Key, Value)>) -> serde_json::Value {
        let mut inventory = Inventory::new(Options::default());
        for (key, value) in rows {
            let read = Value::parse(key.kind, &value.json()).expect("read");
            inventory.add(key, read);
        }
        json(&inventory)
    }

    fn json(inventory: &Inventory) -> serde_json::Value {
        serde_json::from_str(&Form::Json.write(&inventory.report(), None)).expect("JSON")
    }

    #[test]
    fn what_is_handed_over_in_parts_is_the_whole() {
        let events: Vec<HttpEvent> = (0..200)
            .map(|n| {
                let (line, status) = match n % 5 {
                    0 => ("GET /gone", 404),
                    1 => ("POST /cart/7", 500),
                    2 => ("GET /cart/7", 404),
                    _ => ("GET /cart/7", 200),
                };
                // The first event makes the endpoint known before the 404s.
                event(1_795_000_000_000_000_000 + (n + 3) * 1_000_000_000, line, status)
            })
            .collect();
        let mut whole = Inventory::new(Options::default());
        let mut parts = Inventory::new(Options::default());
        let mut rows = Vec::new();
        let first = event(1_795_000_000_000_000_000, "GET /cart/7", 200);
        for (n, event) in std::iter::once(&first).chain(&events).enumerate() {
            whole.event(event);
            parts.event(event);
            if n % 3 == 0 {
                rows.extend(parts.take(1, 0));
            }
        }
        rows.extend(parts.take(1, 0));
        assert!(parts.take(1, 0).is_empty(), "handed over once");
        assert_eq!(report(rows.clone()), json(&whole));
        // However the rows of a key are joined.
        let mut joined: std::collections::BTreeMap<Key, Value> = std::collections::BTreeMap::new();
        for (key, value) in rows {
            match joined.get_mut(&key) {
                Some(of) => of.join(value),
                None => drop(joined.insert(key, value)),
            }
        }
        assert_eq!(report(joined), json(&whole));
    }

    #[test]
    fn what_is_known_counts_without_an_answer() {
        let mut inventory = Inventory::new(Options::default());
        let mut rows = |line, status| {
            inventory.event(&event(5, line, status));
            inventory.take(0, 0).into_iter().map(|(key, _)| key)
        };
        assert!(rows("GET /a", 404).all(|key| key.kind != Kind::Endpoint));
        assert!(rows("GET /a", 200).any(|key| key.kind == Kind::Endpoint));
        assert!(rows("GET /a", 404).any(|key| key.kind == Kind::Endpoint));
        let gone = inventory.take(0, 6);
        assert!(gone.is_empty());
        inventory.event(&event(7, "GET /a", 404));
        let rows = inventory.take(0, 6);
        assert!(rows.iter().all(|(key, _)| key.kind != Kind::Endpoint), "forgotten: {rows:?}");
        let key = Key {
            service: "a.example".into(),
            method: "GET".into(),
            path: "/a".into(),
            kind: Kind::Endpoint,
            ..Key::default()
        };
        inventory.know(key.clone(), 3, 4);
        inventory.event(&event(9, "GET /a", 404));
        let rows = inventory.take(0, 0);
        let times = rows.iter().find(|(of, _)| *of == key).and_then(|(_, value)| value.times_ns());
        assert_eq!(times, Some((3, 9)), "first seen before");
    }

    /// Small numbers, numbers near the limits, or any.
    fn number() -> impl proptest::strategy::Strategy<Value = u64> {
        proptest::prop_oneof![0..100u64, u64::MAX - 2..=u64::MAX, proptest::num::u64::ANY]
    }

    proptest::proptest! {
        /// Whatever a stored row contains, it takes no more than one row's memory.
        #[test]
        fn whatever_is_read_is_bounded(text in ".{0,200}", numbers in proptest::collection::vec(number(), 8)) {
            let n = |at: usize| numbers[at];
            let timeline = format!(r#"{{"start":{},"seconds":{},"intervals":[[{},0,0,0,0,0,1],[0,0,0,0,0,0,{}]]}}"#, n(0), n(1), n(2), n(3));
            let total = format!(r#"{{"timeline":{timeline},"lost":{},"times_ns":[{},{}],"left_out":{{"alerts":{}}}}}"#, n(4), n(5), n(6), n(7));
            let tally = format!(r#"{{"hits":{},"first_ns":{},"last_ns":{},"statuses":{{"200":{},"99":{}}},"times":[[{},{}],[3,{}]],"bytes":{},"bodies":{}}}"#, n(0), n(1), n(2), n(3), n(4), n(5), n(6) as u32, n(7) as u32, n(0), n(1) % 2);
            let mut inventory = Inventory::new(Options::default());
            for kind in Kind::ALL {
                for json in [&total, &tally, &text, &n(0).to_string()] {
                    for _ in 0..3 {
                        if let Some(value) = Value::parse(kind, json) {
                            let key = Key { day: n(1) as u32, kind, path: text.clone(), ..Key::default() };
                            inventory.add(key, value);
                        }
                    }
                }
            }
            for form in Form::ALL {
                form.write(&inventory.report(), Some(80));
            }
        }
    }
}
