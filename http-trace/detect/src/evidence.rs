//! What an alert shows of the events that it counted. Collected from half the threshold on, or, if other
//! rules must reach thresholds, from the first of these on. Before there is an alert it covers at most two
//! windows. Bounded, and copied, so that it keeps no head alive.

use std::borrow::Borrow;
use std::collections::VecDeque;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::derived::forwarded_client;
use super::view::View;
use http_trace_model::known::Known;

/// Maximum stored length of a text, in bytes: a text of this length may have been cut.
pub const TEXT: usize = 256;
/// Maximum number of statuses.
const STATUSES: usize = 16;
/// Maximum number of each kind of text, and of addresses.
const TOP: usize = 8;
/// Maximum number of sample requests.
const SAMPLES: usize = 10;
/// Words of the bitmap that counts distinct values: 8,192 bits.
const WORDS: usize = 128;

/// The most frequent values, approximately: if there is no room, the rarest is evicted (space-saving,
/// Metwally et al. 2005). Counts are lower bounds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Top<T>(Vec<Frequent<T>>);

/// A value and its count.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Frequent<T> {
    value: T,
    /// Sightings since the value got its entry: a lower bound.
    sure: u64,
    /// Sightings of earlier values of the entry: how many more there may have been.
    perhaps: u64,
}

impl<T> Default for Top<T> {
    fn default() -> Self {
        Top(Vec::new())
    }
}

impl<T: Clone + PartialEq> Top<T> {
    fn see<V: ?Sized + PartialEq + ToOwned<Owned = T>>(&mut self, value: &V)
    where
        T: Borrow<V>,
    {
        if let Some(same) = self.0.iter_mut().find(|of| of.value.borrow() == value) {
            same.sure = same.sure.saturating_add(1);
            return;
        }
        if self.0.len() < TOP {
            self.0.push(Frequent { value: value.to_owned(), sure: 1, perhaps: 0 });
            return;
        }
        let most = |of: &&mut Frequent<T>| of.sure.saturating_add(of.perhaps);
        if let Some(rarest) = self.0.iter_mut().min_by_key(most) {
            rarest.perhaps = rarest.sure.saturating_add(rarest.perhaps);
            rarest.sure = 1;
            value.clone_into(&mut rarest.value);
        }
    }

    /// Adds the counts of earlier evidence.
    fn add(&mut self, before: Top<T>) {
        for of in before.0 {
            if let Some(same) = self.0.iter_mut().find(|same| same.value == of.value) {
                same.sure = same.sure.saturating_add(of.sure);
                same.perhaps = same.perhaps.saturating_add(of.perhaps);
            } else if self.0.len() < TOP {
                self.0.push(of);
            } else if let Some(rarest) = self.0.iter_mut().min_by_key(|rarest| rarest.sure)
                && rarest.sure < of.sure
            {
                *rarest = of;
            }
        }
    }

    /// The values with their minimum counts, most frequent first.
    pub fn sorted(&self) -> Vec<(T, u64)> {
        let mut all: Vec<_> = self.0.iter().map(|of| (of.value.clone(), of.sure)).collect();
        all.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        all
    }

    /// The most frequent value; the first one of several.
    pub fn first(&self) -> Option<&T> {
        let most = self.0.iter().map(|of| of.sure).max()?;
        let first = self.0.iter().find(|of| of.sure == most);
        first.map(|of| &of.value)
    }
}

/// A counted request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// Time of the response, Unix ns.
    pub time_ns: u64,
    pub method: Vec<u8>,
    /// Target, cut to 256 bytes.
    pub target: Vec<u8>,
    /// Status; `None` without a response.
    pub status: Option<u16>,
    pub server: Option<IpAddr>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// Time of the first collected event, ns.
    pub first_ns: u64,
    pub last_ns: u64,
    /// Number of collected events.
    pub events: u64,
    /// Statuses with their counts; 0 is no response.
    pub statuses: Vec<(u16, u64)>,
    pub paths: Top<Vec<u8>>,
    pub servers: Top<IpAddr>,
    pub hosts: Top<Vec<u8>>,
    pub user_agents: Top<Vec<u8>>,
    /// Clients, for rules that group by something else.
    pub clients: Top<IpAddr>,
    /// The last requests.
    pub samples: VecDeque<Sample>,
    /// Whether some client connected directly, rather than being named in a proxy's header.
    pub direct: bool,
    /// Events whose request names a client in a forwarding header, which nobody has verified.
    for_others: u64,
    /// Bitmap of the hashes of distinct values; empty if there are none. Hashes that share a bit count as
    /// one, so the count is a lower bound: about 940 for 1,000 values, 5,800 for 10,000.
    distinct: Vec<u64>,
    /// Evidence of the previous window, while no alert is open; not saved.
    #[serde(skip)]
    before: Option<Box<Evidence>>,
}

impl Evidence {
    /// Adds an event that counts at this time.
    pub fn see(&mut self, view: &View<'_>, time_ns: u64) {
        let event = view.event;
        let status = event.response.as_ref().map(|r| r.status);
        if self.first_ns == 0 || time_ns < self.first_ns {
            self.first_ns = time_ns;
        }
        self.last_ns = self.last_ns.max(time_ns);
        self.events += 1;
        self.see_status(status.unwrap_or(0), 1);
        let texts = [
            (&mut self.paths, view.target().path),
            (&mut self.hosts, view.target().host),
            (&mut self.user_agents, view.request_line(Known::USER_AGENT)),
        ];
        for (top, text) in texts {
            if let Some(text) = text {
                top.see(cut(text));
            }
        }
        self.servers.see(&event.server.ip);
        if let Some(client) = event.known_client() {
            self.clients.see(&client);
        }
        self.direct |= event.forwarded.is_none();
        let names_another = event.request.as_ref().and_then(|r| forwarded_client(&r.headers));
        self.for_others += u64::from(names_another.is_some());
        // Reuse the oldest sample if there is no room.
        let oldest = (self.samples.len() >= SAMPLES).then(|| self.samples.pop_front());
        let mut sample = oldest.flatten().unwrap_or_default();
        sample.time_ns = time_ns;
        sample.status = status;
        sample.server = event.server.known_ip();
        sample.method.clear();
        sample.target.clear();
        if let Some(request) = &event.request {
            sample.method.extend_from_slice(cut(&request.method));
            sample.target.extend_from_slice(cut(&request.target));
        }
        self.samples.push_back(sample);
    }

    fn see_status(&mut self, status: u16, times: u64) {
        if let Some((_, count)) = self.statuses.iter_mut().find(|(s, _)| *s == status) {
            *count += times;
        } else if self.statuses.len() < STATUSES {
            self.statuses.push((status, times));
        }
    }

    /// Whether the evidence began more than a window ago.
    pub const fn is_old(&self, time_ns: u64, window_ns: u64) -> bool {
        self.first_ns != 0 && time_ns.saturating_sub(self.first_ns) > window_ns
    }

    /// Starts over, keeping the present evidence for one more window: for a key that stays near the threshold
    /// for hours, an alert shows only what led to it.
    pub fn begin_anew(&mut self) {
        let mut before = std::mem::take(self);
        before.before = None;
        self.before = Some(Box::new(before));
    }

    /// Merges in the evidence of the previous window, when an alert opens.
    pub fn complete(&mut self) {
        let Some(before) = self.before.take() else { return };
        if self.first_ns == 0 {
            *self = *before;
            return;
        }
        self.first_ns = self.first_ns.min(before.first_ns);
        self.last_ns = self.last_ns.max(before.last_ns);
        self.events += before.events;
        for (status, times) in before.statuses {
            self.see_status(status, times);
        }
        self.paths.add(before.paths);
        self.servers.add(before.servers);
        self.hosts.add(before.hosts);
        self.user_agents.add(before.user_agents);
        self.clients.add(before.clients);
        self.direct |= before.direct;
        self.for_others += before.for_others;
        let mut samples = before.samples;
        samples.append(&mut self.samples);
        samples.drain(..samples.len().saturating_sub(SAMPLES));
        self.samples = samples;
        if self.distinct.is_empty() {
            self.distinct = before.distinct;
        } else {
            let all = self.distinct.iter_mut().zip(&before.distinct);
            all.for_each(|(all, word)| *all |= word);
        }
    }

    /// Whether the events may be those of several clients behind one proxy: most name another client.
    pub fn is_of_several(&self) -> bool {
        self.for_others * 2 > self.events
    }

    /// Records a distinct value by its hash.
    pub fn see_distinct(&mut self, hash: u64) {
        self.distinct.resize(WORDS, 0);
        let bit = (hash >> 32) as usize % (WORDS * 64);
        self.distinct[bit / 64] |= 1 << (bit % 64);
    }

    /// Number of distinct values; a lower bound.
    pub fn distinct(&self) -> u64 {
        self.distinct.iter().map(|word| u64::from(word.count_ones())).sum()
    }

    /// Approximate size, in bytes.
    pub fn bytes(&self) -> usize {
        // Texts are bounded and mostly short; their heap memory is estimated at a quarter of the maximum.
        let texts = TOP * 3 + SAMPLES * 2;
        size_of::<Evidence>()
            + texts * (24 + TEXT / 4)
            + self.distinct.len() * 8
            + self.before.as_ref().map_or(0, |before| before.bytes())
    }
}

fn cut(text: &[u8]) -> &[u8] {
    &text[..text.len().min(TEXT)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::ViewContext;
    use http_trace_samples as testing;

    #[test]
    fn no_count_is_more_than_there_was() {
        for (name, values, expected) in [
            ("few", vec![1, 2, 1], vec![(b"1".to_vec(), 2), (b"2".to_vec(), 1)]),
            (
                "a scan",
                (0..60_u32).collect(),
                (52..60).map(|n: u32| (n.to_string().into_bytes(), 1)).collect(),
            ),
        ] {
            let mut top: Top<Vec<u8>> = Top::default();
            for value in &values {
                top.see(format!("{value}").as_bytes());
            }
            let mut sorted = top.sorted();
            sorted.sort_by_key(|(value, count)| (std::cmp::Reverse(*count), value.clone()));
            let expected: Vec<(Vec<u8>, u64)> = expected;
            assert_eq!(sorted, expected, "{name}");
        }
        let mut top: Top<Vec<u8>> = Top::default();
        for n in 0..10_000_u32 {
            let text = format!("{}", n.wrapping_mul(2_654_435_761) % (1 + n % 40));
            top.see(text.as_bytes());
            for (value, count) in top.sorted() {
                let is = |n: &u32| {
                    format!("{}", n.wrapping_mul(2_654_435_761) % (1 + n % 40)).as_bytes() == value
                };
                if n.is_multiple_of(997) {
                    let exact = (0..=n).filter(is).count() as u64;
                    assert!((1..=exact).contains(&count), "{count} of {exact}");
                }
            }
        }
    }

    #[test]
    fn it_is_bounded_and_knows_the_most_frequent() {
        let mut evidence = Evidence::default();
        for n in 0..1000_u32 {
            let event = testing::event_of(
                testing::request(&format!(
                    "GET /{} HTTP/1.1\r\nHost: h\r\nUser-Agent: ua{n}\r\n\r\n",
                    if n % 2 == 0 { "often".to_owned() } else { format!("{n}").repeat(200) }
                )),
                testing::response(&format!("HTTP/1.1 {} x\r\n\r\n", 400 + n % 30)),
            );
            let uri = ViewContext::default();
            let view = View::new(&event, &uri);
            evidence.see(&view, u64::from(n) + 5);
            let hash = u64::from(n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            evidence.see_distinct((hash ^ hash >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9));
        }
        assert_eq!(evidence.paths.first().map(|p| &p[..]), Some(&b"/often"[..]));
        assert_eq!((evidence.statuses.len(), evidence.samples.len()), (STATUSES, SAMPLES));
        assert_eq!((evidence.first_ns, evidence.last_ns), (5, 1004));
        let distinct = evidence.distinct();
        assert!((900..=1000).contains(&distinct), "{distinct}");
        assert!(evidence.samples.iter().all(|s| s.target.len() <= TEXT));
    }
}
