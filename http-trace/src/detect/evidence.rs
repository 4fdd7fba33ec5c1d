//! What an alert shows of the events that it counted. Gathered from half the threshold on; bounded,
//! and copied, so that it keeps no head alive.

use std::net::IpAddr;

use serde::{Deserialize, Serialize, Serializer};

use super::field::View;
use super::kept::mixed;
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

impl<T> Top<T> {
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
    pub fn sorted<U: Clone>(&self) -> Vec<(U, u64)>
    where
        T: AsRef<U>,
    {
        let entries = self.entries.iter();
        let mut entries: Vec<_> = entries
            .map(|e| (e.value.as_ref().clone(), e.sure))
            .collect();
        entries.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        entries
    }

    /// The value seen most often; of equals the first.
    pub fn first<U>(&self) -> Option<&U>
    where
        T: AsRef<U>,
    {
        let most = self.entries.iter().map(|entry| entry.sure).max()?;
        let entry = self.entries.iter().find(|entry| entry.sure == most)?;
        Some(entry.value.as_ref())
    }
}

/// A text, and what tells it from most others, so that it need not be looked at for these.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(from = "Vec<u8>", into = "Vec<u8>")]
pub struct Text {
    mixed: u64,
    bytes: Vec<u8>,
}

impl From<Vec<u8>> for Text {
    fn from(bytes: Vec<u8>) -> Text {
        let mixed = mixed(&bytes);
        Text { mixed, bytes }
    }
}

impl From<Text> for Vec<u8> {
    fn from(text: Text) -> Vec<u8> {
        text.bytes
    }
}

impl AsRef<Vec<u8>> for Text {
    fn as_ref(&self) -> &Vec<u8> {
        &self.bytes
    }
}

/// An address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ip(IpAddr);

impl AsRef<IpAddr> for Ip {
    fn as_ref(&self) -> &IpAddr {
        &self.0
    }
}

/// A text of the event at hand.
#[derive(Clone, Copy, Debug)]
struct Seen<'a> {
    mixed: u64,
    bytes: &'a [u8],
}

impl<'a> Seen<'a> {
    fn of(text: &'a [u8]) -> Seen<'a> {
        let bytes = cut(text);
        let mixed = mixed(bytes);
        Seen { mixed, bytes }
    }
}

impl Top<Text> {
    fn see_text(&mut self, text: &Seen<'_>) {
        self.see(
            |other| other.mixed == text.mixed && *other.bytes == *text.bytes,
            |place| match place {
                Some(place) => {
                    place.mixed = text.mixed;
                    place.bytes.clear();
                    place.bytes.extend_from_slice(text.bytes);
                    None
                }
                None => Some(Text {
                    mixed: text.mixed,
                    bytes: text.bytes.to_vec(),
                }),
            },
        );
    }
}

impl Top<Ip> {
    fn see_ip(&mut self, ip: Ip) {
        let put = |place: Option<&mut Ip>| match place {
            Some(place) => {
                *place = ip;
                None
            }
            None => Some(ip),
        };
        self.see(|other| *other == ip, put);
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

/// The last requests, in a ring.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(from = "Vec<Sample>")]
pub struct Samples {
    ring: Vec<Sample>,
    oldest: usize,
}

impl From<Vec<Sample>> for Samples {
    fn from(ring: Vec<Sample>) -> Samples {
        Samples { ring, oldest: 0 }
    }
}

impl Serialize for Samples {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.iter())
    }
}

impl Samples {
    /// The oldest first.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Sample> {
        let len = self.ring.len();
        (0..len).map(move |at| &self.ring[(self.oldest + at) % len])
    }

    /// The place for one more, which the oldest makes if there is no other.
    fn next(&mut self) -> &mut Sample {
        let at = if self.ring.len() < SAMPLES {
            self.ring.push(Sample::default());
            self.ring.len() - 1
        } else {
            let next = self.oldest + 1;
            let oldest = if next < self.ring.len() { next } else { 0 };
            std::mem::replace(&mut self.oldest, oldest)
        };
        &mut self.ring[at]
    }
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
    pub paths: Top<Text>,
    /// Servers.
    pub servers: Top<Ip>,
    /// Hosts asked for.
    pub hosts: Top<Text>,
    /// User agents.
    pub user_agents: Top<Text>,
    /// Clients, for rules that group by something else.
    pub clients: Top<Ip>,
    /// The last requests.
    pub samples: Samples,
    distinct: Option<Marks>,
}

/// What evidence takes of an event.
#[derive(Clone, Copy, Debug)]
pub struct Sighting<'a> {
    time_ns: u64,
    status: Option<u16>,
    path: Option<Seen<'a>>,
    host: Option<Seen<'a>>,
    user_agent: Option<Seen<'a>>,
    server: Ip,
    client: Ip,
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
            path: view.target.path.map(Seen::of),
            host: view.target.host.map(Seen::of),
            user_agent: view.line(Name::USER_AGENT).map(Seen::of),
            server: Ip(event.server.ip),
            client: Ip(event.client_ip()),
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
            (&mut self.paths, &event.path),
            (&mut self.hosts, &event.host),
            (&mut self.user_agents, &event.user_agent),
        ];
        for (top, text) in texts {
            if let Some(text) = text {
                top.see_text(text);
            }
        }
        self.servers.see_ip(event.server);
        self.clients.see_ip(event.client);
        let sample = self.samples.next();
        sample.time_ns = event.time_ns;
        sample.status = event.status;
        sample.server = Some(event.server.0).filter(|ip| !ip.is_unspecified());
        sample.method.clear();
        sample.method.extend_from_slice(event.method);
        sample.target.clear();
        sample.target.extend_from_slice(event.target);
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
            ("few", vec![1, 2, 1], vec![(b"1".to_vec(), 2), (b"2".to_vec(), 1)]),
            (
                "a scan",
                (0..60_u32).collect(),
                (52..60)
                    .map(|n: u32| (n.to_string().into_bytes(), 1))
                    .collect(),
            ),
        ] {
            let mut top = Top::<Text>::default();
            for value in &values {
                top.see_text(&Seen::of(format!("{value}").as_bytes()));
            }
            let mut sorted = top.sorted::<Vec<u8>>();
            sorted.sort_by_key(|(value, count)| (std::cmp::Reverse(*count), value.clone()));
            let expected: Vec<(Vec<u8>, u64)> = expected;
            assert_eq!(sorted, expected, "{name}");
        }
        let mut top = Top::<Text>::default();
        for n in 0..10_000_u32 {
            let text = format!("{}", n.wrapping_mul(2_654_435_761) % (1 + n % 40));
            top.see_text(&Seen::of(text.as_bytes()));
            for (value, count) in top.sorted::<Vec<u8>>() {
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
        assert_eq!(evidence.paths.first().map(|p: &Vec<u8>| &p[..]), Some(&b"/often"[..]));
        assert_eq!(
            (evidence.statuses.len(), evidence.samples.iter().len()),
            (STATUSES, SAMPLES)
        );
        assert_eq!((evidence.first_ns, evidence.last_ns), (5, 1004));
        let distinct = evidence.distinct().expect("counted");
        assert!((900..=1000).contains(&distinct), "{distinct}");
        assert!(evidence.samples.iter().all(|s| s.target.len() <= TEXT));
    }
}
