//! What an alert shows of the events that it counted. Gathered from half the threshold on, and where
//! others are to reach thresholds from the first of them on, of two windows at most before there is an alert;
//! bounded, and copied, so that it keeps no head alive.

use std::borrow::Borrow;
use std::collections::VecDeque;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::view::View;
use http_trace_model::known::Known;

/// The most bytes that are kept of a text: one of that length may have been cut.
pub const TEXT: usize = 256;
/// The most statuses.
const STATUSES: usize = 16;
/// The most of each kind of text and of servers.
const TOP: usize = 8;
/// The most requests.
const SAMPLES: usize = 10;
/// Words of the bitmap by which distinct values are counted: 8,192 bits.
const WORDS: usize = 128;

/// The values seen most often, roughly: when there is no room the rarest is evicted (space-saving,
/// Metwally et al. 2005). A count is of what was surely seen, never more than there was.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Top<T>(Vec<Frequent<T>>);

/// A value and how often it came.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Frequent<T> {
    value: T,
    /// At least so often: since it has its place.
    sure: u64,
    /// And so often at most before, when the place was another's.
    perhaps: u64,
}

impl<T> Default for Top<T> {
    fn default() -> Self {
        Top(Vec::new())
    }
}

impl<T: Clone + PartialEq> Top<T> {
    /// Counts a value.
    fn see<V: ?Sized + PartialEq + ToOwned<Owned = T>>(&mut self, value: &V)
    where
        T: Borrow<V>,
    {
        if let Some(same) = self.0.iter_mut().find(|of| of.value.borrow() == value) {
            same.sure = same.sure.saturating_add(1);
            return;
        }
        if self.0.len() < TOP {
            self.0.push(Frequent {
                value: value.to_owned(),
                sure: 1,
                perhaps: 0,
            });
            return;
        }
        let most = |of: &&mut Frequent<T>| of.sure.saturating_add(of.perhaps);
        if let Some(rarest) = self.0.iter_mut().min_by_key(most) {
            rarest.perhaps = rarest.sure.saturating_add(rarest.perhaps);
            rarest.sure = 1;
            value.clone_into(&mut rarest.value);
        }
    }

    /// Adds what was seen before.
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

    /// The values and how often each came at least, the one seen most often first.
    pub fn sorted(&self) -> Vec<(T, u64)> {
        let mut all: Vec<_> = self
            .0
            .iter()
            .map(|of| (of.value.clone(), of.sure))
            .collect();
        all.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        all
    }

    /// The value seen most often; of equals the first.
    pub fn first(&self) -> Option<&T> {
        let most = self.0.iter().map(|of| of.sure).max()?;
        let first = self.0.iter().find(|of| of.sure == most);
        first.map(|of| &of.value)
    }
}

/// One request that was counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// Time of the response, Unix ns.
    pub time_ns: u64,
    /// Method.
    pub method: Vec<u8>,
    /// Target, cut to 256 bytes.
    pub target: Vec<u8>,
    /// Status; none when there is no response.
    pub status: Option<u16>,
    /// Who answered.
    pub server: Option<IpAddr>,
}

/// The evidence of one key.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// Time of the first counted event that it knows of.
    pub first_ns: u64,
    /// Time of the last.
    pub last_ns: u64,
    /// Events that were gathered.
    pub events: u64,
    /// Statuses and how often each came; 0 stands for no response.
    pub statuses: Vec<(u16, u64)>,
    /// Paths.
    pub paths: Top<Vec<u8>>,
    /// Servers.
    pub servers: Top<IpAddr>,
    /// Hosts asked for.
    pub hosts: Top<Vec<u8>>,
    /// User agents.
    pub user_agents: Top<Vec<u8>>,
    /// Clients, for rules that group by something else.
    pub clients: Top<IpAddr>,
    /// The last requests.
    pub samples: VecDeque<Sample>,
    /// Whether some client was connected itself, rather than named by a proxy's header.
    pub direct: bool,
    /// A bitmap of distinct hashes, empty without any: two that share a bit are one, so that it tells how
    /// many there were at least. Of 1,000 it tells about 940, of 10,000 about 5,800.
    distinct: Vec<u64>,
    /// What was gathered in the window before, as long as no alert is open; not kept.
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
        self.clients.see(&event.client_ip());
        self.direct |= event.forwarded.is_none();
        // The oldest makes room.
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

    /// Whether it began more than a window before.
    pub const fn is_old(&self, time_ns: u64, window_ns: u64) -> bool {
        self.first_ns != 0 && time_ns.saturating_sub(self.first_ns) > window_ns
    }

    /// Begins anew, and remembers what there was for as long: of who stays near a threshold for hours an
    /// alert shows what led to it.
    pub fn begin_anew(&mut self) {
        let mut before = std::mem::take(self);
        before.before = None;
        self.before = Some(Box::new(before));
    }

    /// Becomes that of an alert, which is of all that is remembered.
    pub fn complete(&mut self) {
        let Some(before) = self.before.take() else {
            return;
        };
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

    /// Notes a distinct value by its hash.
    pub fn see_distinct(&mut self, hash: u64) {
        self.distinct.resize(WORDS, 0);
        let bit = (hash >> 32) as usize % (WORDS * 64);
        self.distinct[bit / 64] |= 1 << (bit % 64);
    }

    /// How many distinct values were noted, at least.
    pub fn distinct(&self) -> u64 {
        self.distinct
            .iter()
            .map(|word| u64::from(word.count_ones()))
            .sum()
    }

    /// About what it takes, in bytes.
    pub fn bytes(&self) -> usize {
        // Texts are bounded and mostly short; what they take on the heap is counted at half.
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
    use http_trace_model::testing;

    #[test]
    fn no_count_is_more_than_there_was() {
        for (name, values, expected) in [
            (
                "few",
                vec![1, 2, 1],
                vec![(b"1".to_vec(), 2), (b"2".to_vec(), 1)],
            ),
            (
                "a scan",
                (0..60_u32).collect(),
                (52..60)
                    .map(|n: u32| (n.to_string().into_bytes(), 1))
                    .collect(),
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
                    if n % 2 == 0 {
                        "often".to_owned()
                    } else {
                        format!("{n}").repeat(200)
                    }
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
        assert_eq!(
            (evidence.statuses.len(), evidence.samples.len()),
            (STATUSES, SAMPLES)
        );
        assert_eq!((evidence.first_ns, evidence.last_ns), (5, 1004));
        let distinct = evidence.distinct();
        assert!((900..=1000).contains(&distinct), "{distinct}");
        assert!(evidence.samples.iter().all(|s| s.target.len() <= TEXT));
    }
}
