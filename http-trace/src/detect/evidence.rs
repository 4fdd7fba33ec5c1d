//! What an alert shows of the events that it counted. Gathered from half the threshold on; bounded,
//! and copied, so that it keeps no head alive.

use std::collections::VecDeque;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::field::View;
use super::lines::Name;

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

/// The values seen most often, roughly: when there is no room the rarest makes it (space-saving,
/// Metwally et al. 2005). A count is of what was surely seen, never more than there was.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Top<T> {
    entries: Vec<Counted<T>>,
}

/// A value, and how often it came.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Counted<T> {
    value: T,
    /// At least so often: since it has its place.
    sure: u64,
    /// And so often at most before, when the place was another's.
    perhaps: u64,
}

impl<T> Default for Top<T> {
    fn default() -> Self {
        Top {
            entries: Vec::new(),
        }
    }
}

impl<T: Clone> Top<T> {
    fn see(&mut self, is: impl Fn(&T) -> bool, set: impl FnOnce(Option<&mut T>) -> Option<T>) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| is(&entry.value)) {
            entry.sure += 1;
            return;
        }
        if self.entries.len() < TOP {
            if let Some(value) = set(None) {
                self.entries.push(Counted {
                    value,
                    sure: 1,
                    perhaps: 0,
                });
            }
            return;
        }
        let most = |entry: &Counted<T>| entry.sure + entry.perhaps;
        if let Some(rarest) = self.entries.iter_mut().min_by_key(|entry| most(entry)) {
            rarest.perhaps = most(rarest);
            rarest.sure = 1;
            set(Some(&mut rarest.value));
        }
    }

    /// The values and how often each came at least, the one seen most often first.
    pub fn sorted(&self) -> Vec<(T, u64)> {
        let entries = self.entries.iter();
        let mut entries: Vec<_> = entries.map(|e| (e.value.clone(), e.sure)).collect();
        entries.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        entries
    }

    /// The value seen most often; of equals the first.
    pub fn first(&self) -> Option<&T> {
        let most = self.entries.iter().map(|entry| entry.sure).max()?;
        let entry = self.entries.iter().find(|entry| entry.sure == most)?;
        Some(&entry.value)
    }
}

impl Top<Vec<u8>> {
    /// Of texts that differ most differ in their last bytes too, which is quicker to see.
    fn see_text(&mut self, text: &[u8]) {
        let end = text.last_chunk::<8>();
        self.see(
            |value| value.len() == text.len() && value.last_chunk::<8>() == end && **value == *text,
            |place| match place {
                Some(place) => {
                    place.clear();
                    place.extend_from_slice(text);
                    None
                }
                None => Some(text.to_vec()),
            },
        );
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

/// A bitmap that tells how many distinct hashes it has seen at least: two that share a bit are one. Of
/// 1,000 it tells about 940, of 10,000 about 5,800.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(into = "Vec<u64>", try_from = "Vec<u64>")]
struct Marks(Box<[u64; WORDS]>);

impl From<Marks> for Vec<u64> {
    fn from(marks: Marks) -> Vec<u64> {
        marks.0.to_vec()
    }
}

impl TryFrom<Vec<u64>> for Marks {
    type Error = &'static str;

    fn try_from(words: Vec<u64>) -> Result<Marks, Self::Error> {
        let words = words.try_into().map_err(|_| "marks of another number")?;
        Ok(Marks(Box::new(words)))
    }
}

impl Marks {
    fn see(&mut self, hash: u64) {
        let bit = (hash >> 32) as usize % (WORDS * 64);
        self.0[bit / 64] |= 1 << (bit % 64);
    }

    fn count(&self) -> u64 {
        self.0.iter().map(|word| u64::from(word.count_ones())).sum()
    }
}

/// The evidence of one key.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// Time of the first counted event that it knows of.
    pub first_ns: u64,
    /// Time of the last.
    pub last_ns: u64,
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
    distinct: Option<Marks>,
}

/// What evidence takes of an event.
#[derive(Clone, Copy, Debug)]
pub struct Sighting<'a> {
    time_ns: u64,
    status: Option<u16>,
    path: Option<&'a [u8]>,
    host: Option<&'a [u8]>,
    user_agent: Option<&'a [u8]>,
    server: IpAddr,
    client: IpAddr,
    method: &'a [u8],
    target: &'a [u8],
}

impl<'a> Sighting<'a> {
    /// Of an event that counts at this time.
    pub fn of(view: &View<'a>, time_ns: u64) -> Self {
        let event = view.event;
        let request = event.request.as_ref();
        Sighting {
            time_ns,
            status: event.response.as_ref().map(|r| r.status),
            path: view.target.path.map(cut),
            host: view.target.host.map(cut),
            user_agent: view.line(Name::USER_AGENT).map(cut),
            server: event.server.ip,
            client: event.client_ip(),
            method: request.map_or(b"", |r| cut(&r.method)),
            target: request.map_or(b"", |r| cut(&r.target)),
        }
    }
}

impl Evidence {
    /// Adds an event.
    pub fn see(&mut self, event: &Sighting<'_>) {
        if self.first_ns == 0 || event.time_ns < self.first_ns {
            self.first_ns = event.time_ns;
        }
        self.last_ns = self.last_ns.max(event.time_ns);
        let code = event.status.unwrap_or(0);
        if let Some((_, count)) = self.statuses.iter_mut().find(|(s, _)| *s == code) {
            *count += 1;
        } else if self.statuses.len() < STATUSES {
            self.statuses.push((code, 1));
        }
        let texts = [
            (&mut self.paths, event.path),
            (&mut self.hosts, event.host),
            (&mut self.user_agents, event.user_agent),
        ];
        for (top, text) in texts {
            if let Some(text) = text {
                top.see_text(text);
            }
        }
        for (top, ip) in [
            (&mut self.servers, event.server),
            (&mut self.clients, event.client),
        ] {
            top.see(|other| *other == ip, |place| put(place, ip));
        }
        let mut sample = if self.samples.len() < SAMPLES {
            Sample::default()
        } else {
            self.samples.pop_front().unwrap_or_default()
        };
        sample.time_ns = event.time_ns;
        sample.status = event.status;
        sample.server = Some(event.server).filter(|ip| !ip.is_unspecified());
        sample.method.clear();
        sample.method.extend_from_slice(event.method);
        sample.target.clear();
        sample.target.extend_from_slice(event.target);
        self.samples.push_back(sample);
    }

    /// Notes a distinct value by its hash.
    pub fn see_distinct(&mut self, hash: u64) {
        self.distinct
            .get_or_insert_with(|| Marks(Box::new([0; WORDS])))
            .see(hash);
    }

    /// How many distinct values were noted, at least.
    pub fn distinct(&self) -> Option<u64> {
        self.distinct.as_ref().map(Marks::count)
    }

    /// About what it takes, in bytes.
    pub fn bytes(&self) -> usize {
        // Texts are bounded and mostly short; what they take on the heap is counted at half.
        let texts = TOP * 3 + SAMPLES * 2;
        size_of::<Evidence>()
            + texts * (24 + TEXT / 4)
            + self.distinct.as_ref().map_or(0, |_| WORDS * 8)
    }
}

fn put(place: Option<&mut IpAddr>, ip: IpAddr) -> Option<IpAddr> {
    match place {
        Some(place) => {
            *place = ip;
            None
        }
        None => Some(ip),
    }
}

fn cut(text: &[u8]) -> &[u8] {
    &text[..text.len().min(TEXT)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::lines::Noted;
    use crate::detect::uri::Uri;
    use crate::testing;

    #[test]
    fn no_count_is_more_than_there_was() {
        for (name, values, expected) in [
            ("few", vec![1, 2, 1], vec![(1, 2), (2, 1)]),
            (
                "a scan",
                (0..60).collect(),
                (52..60).map(|n| (n, 1)).collect(),
            ),
        ] {
            let mut top = Top::<u32>::default();
            for value in &values {
                let put = |place: Option<&mut u32>| match place {
                    Some(place) => {
                        *place = *value;
                        None
                    }
                    None => Some(*value),
                };
                top.see(|other| other == value, put);
            }
            let mut sorted = top.sorted();
            sorted.sort_by_key(|(value, count)| (std::cmp::Reverse(*count), *value));
            assert_eq!(sorted, expected, "{name}");
        }
        let mut top = Top::default();
        for n in 0..10_000_u32 {
            let text = format!("{}", n.wrapping_mul(2_654_435_761) % (1 + n % 40));
            top.see_text(text.as_bytes());
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
            let (noted, uri) = (Noted::of(&event), Uri::default());
            let view = View::new(&event, &noted, &uri);
            evidence.see(&Sighting::of(&view, u64::from(n) + 5));
            let hash = u64::from(n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            evidence.see_distinct((hash ^ hash >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9));
        }
        assert_eq!(evidence.paths.first().map(|p| &p[..]), Some(&b"/often"[..]));
        assert_eq!(
            (evidence.statuses.len(), evidence.samples.len()),
            (STATUSES, SAMPLES)
        );
        assert_eq!((evidence.first_ns, evidence.last_ns), (5, 1004));
        let distinct = evidence.distinct().expect("counted");
        assert!((900..=1000).contains(&distinct), "{distinct}");
        assert!(evidence.samples.iter().all(|s| s.target.len() <= TEXT));
    }
}
