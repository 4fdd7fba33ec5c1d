//! What an alert shows of the events that it counted. Gathered from half the threshold on, and where
//! others are to reach thresholds from the first of them on, of two windows at most before there is an alert;
//! bounded, and copied, so that it keeps no head alive.

use std::net::IpAddr;

use serde::{Deserialize, Serialize, Serializer};

use super::count::network;
use super::field::View;
use super::hashes::Hashes;
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
/// Metwally et al. 2005). A count is of what was surely seen, never more than there was. Values are told
/// apart by keyed hashes, so that only the one that is shown is ever looked at.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "Vec<Counted<T>>", bound = "T: Deserialize<'de>")]
pub struct Top<T> {
    counts: [Count; TOP],
    values: Vec<T>,
}

/// How often a value came. Beside its hash: so that both are in one line of a cache.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(16))]
struct Count {
    /// Of a value that is there; of one out of a file 0 until [`Top::rehash`] finds it again.
    hash: u64,
    /// At least so often: since it has its place.
    sure: u32,
    /// And so often at most before, when the place was another's.
    perhaps: u32,
}

/// A value with its count, in a file.
#[derive(Serialize, Deserialize)]
struct Counted<T> {
    value: T,
    sure: u64,
    perhaps: u64,
}

impl<T> Default for Top<T> {
    fn default() -> Self {
        Top {
            counts: [Count::default(); TOP],
            values: Vec::new(),
        }
    }
}

impl<T> From<Vec<Counted<T>>> for Top<T> {
    fn from(saved: Vec<Counted<T>>) -> Top<T> {
        let mut top = Top::default();
        let few = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
        for (saved, count) in saved.into_iter().zip(&mut top.counts) {
            top.values.push(saved.value);
            (count.sure, count.perhaps) = (few(saved.sure), few(saved.perhaps));
        }
        top
    }
}

impl<T: Serialize> Serialize for Top<T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let all = self.values.iter().zip(&self.counts);
        to.collect_seq(all.map(|(value, count)| Counted {
            value,
            sure: count.sure.into(),
            perhaps: count.perhaps.into(),
        }))
    }
}

impl<T: Clone> Top<T> {
    /// Counts the value of this hash; `set` puts it into a place, or makes one.
    #[inline]
    fn see(&mut self, hash: u64, set: impl FnOnce(Option<&mut T>) -> Option<T>) {
        let mut counts = self.counts.iter_mut().take(self.values.len());
        match counts.find(|count| count.hash == hash) {
            Some(count) => count.sure = count.sure.saturating_add(1),
            None => self.see_new(hash, set),
        }
    }

    #[inline(never)]
    fn see_new(&mut self, hash: u64, set: impl FnOnce(Option<&mut T>) -> Option<T>) {
        let (at, perhaps) = if self.values.len() < TOP {
            self.values.extend(set(None));
            (self.values.len() - 1, 0)
        } else {
            let most = |count: &Count| count.sure.saturating_add(count.perhaps);
            let all = self.counts.iter().map(most).enumerate();
            let (at, most) = all.min_by_key(|(_, most)| *most).unwrap_or_default();
            set(self.values.get_mut(at));
            (at, most)
        };
        self.counts[at] = Count {
            hash,
            sure: 1,
            perhaps,
        };
    }

    /// Adds what was seen before.
    fn add(&mut self, before: Top<T>) {
        for (count, value) in before.counts.into_iter().zip(before.values) {
            let mut counts = self.counts.iter_mut().take(self.values.len());
            if let Some(same) = counts.find(|of| of.hash == count.hash) {
                same.sure = same.sure.saturating_add(count.sure);
                same.perhaps = same.perhaps.saturating_add(count.perhaps);
            } else if self.values.len() < TOP {
                self.counts[self.values.len()] = count;
                self.values.push(value);
            } else {
                let all = self.counts.iter_mut().zip(&mut self.values);
                if let Some((rarest, place)) = all.min_by_key(|(of, _)| of.sure)
                    && rarest.sure < count.sure
                {
                    (*rarest, *place) = (count, value);
                }
            }
        }
    }

    /// Finds the hashes of all values again.
    fn rehash(&mut self, hash: impl Fn(&T) -> u64) {
        for (count, value) in self.counts.iter_mut().zip(&self.values) {
            count.hash = hash(value);
        }
    }

    /// The values and how often each came at least, the one seen most often first.
    pub fn sorted(&self) -> Vec<(T, u64)> {
        let all = self.values.iter().zip(&self.counts);
        let mut all: Vec<_> = all.map(|(v, c)| (v.clone(), c.sure.into())).collect();
        all.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        all
    }

    /// The value seen most often; of equals the first.
    pub fn first(&self) -> Option<&T> {
        let counts = self.counts.get(..self.values.len())?;
        let most = counts.iter().map(|count| count.sure).max()?;
        let at = counts.iter().position(|count| count.sure == most)?;
        self.values.get(at)
    }
}

/// A value of the event at hand, and its keyed hash.
#[derive(Clone, Copy, Debug)]
struct Seen<T> {
    hash: u64,
    value: T,
}

fn hash_text(hashes: &Hashes, text: &[u8]) -> u64 {
    hashes.text(text, |word| word)
}

fn hash_ip(hashes: &Hashes, ip: IpAddr) -> u64 {
    hashes.number(network(ip, 128))
}

impl<'a> Seen<&'a [u8]> {
    fn text(hashes: &Hashes, text: &'a [u8]) -> Self {
        let value = cut(text);
        let hash = hash_text(hashes, value);
        Seen { hash, value }
    }
}

impl Seen<IpAddr> {
    fn ip(hashes: &Hashes, value: IpAddr) -> Self {
        let hash = hash_ip(hashes, value);
        Seen { hash, value }
    }
}

impl Top<Vec<u8>> {
    fn see_text(&mut self, text: &Seen<&[u8]>) {
        self.see(text.hash, |place| match place {
            Some(place) => {
                place.clear();
                place.extend_from_slice(text.value);
                None
            }
            None => Some(text.value.to_vec()),
        });
    }
}

impl Top<IpAddr> {
    fn see_ip(&mut self, ip: &Seen<IpAddr>) {
        self.see(ip.hash, |place| match place {
            Some(place) => {
                *place = ip.value;
                None
            }
            None => Some(ip.value),
        });
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
    fn from(mut ring: Vec<Sample>) -> Samples {
        ring.truncate(SAMPLES);
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

    /// All that either has seen.
    fn and(mut self, other: &Marks) -> Marks {
        (self.0.iter_mut().zip(&*other.0)).for_each(|(all, word)| *all |= word);
        self
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
    pub samples: Samples,
    distinct: Option<Marks>,
    /// What was gathered in the window before, as long as no alert is open; not kept.
    #[serde(skip)]
    before: Option<Box<Evidence>>,
}

/// What evidence takes of an event.
#[derive(Clone, Copy, Debug)]
pub struct Sighting<'a> {
    time_ns: u64,
    status: Option<u16>,
    path: Option<Seen<&'a [u8]>>,
    host: Option<Seen<&'a [u8]>>,
    user_agent: Option<Seen<&'a [u8]>>,
    server: Seen<IpAddr>,
    client: Seen<IpAddr>,
    method: &'a [u8],
    target: &'a [u8],
}

impl<'a> Sighting<'a> {
    /// Of an event that counts at this time; `hashes` are those of all sightings.
    pub fn of(view: &View<'a>, time_ns: u64, hashes: &Hashes) -> Self {
        let text = |text| Seen::text(hashes, text);
        let event = view.event;
        let request = event.request.as_ref();
        Sighting {
            time_ns,
            status: event.response.as_ref().map(|r| r.status),
            path: view.target.path.map(text),
            host: view.target.host.map(text),
            user_agent: view.line(Name::USER_AGENT).map(text),
            server: Seen::ip(hashes, event.server.ip),
            client: Seen::ip(hashes, event.client_ip()),
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
        self.see_status(event.status.unwrap_or(0), 1);
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
        self.servers.see_ip(&event.server);
        self.clients.see_ip(&event.client);
        let sample = self.samples.next();
        sample.time_ns = event.time_ns;
        sample.status = event.status;
        sample.server = Some(event.server.value).filter(|ip| !ip.is_unspecified());
        sample.method.clear();
        sample.method.extend_from_slice(event.method);
        sample.target.clear();
        sample.target.extend_from_slice(event.target);
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
        for (status, times) in before.statuses {
            self.see_status(status, times);
        }
        self.paths.add(before.paths);
        self.servers.add(before.servers);
        self.hosts.add(before.hosts);
        self.user_agents.add(before.user_agents);
        self.clients.add(before.clients);
        let all = before.samples.iter().chain(self.samples.iter());
        let mut samples: Vec<Sample> = all.cloned().collect();
        samples.drain(..samples.len().saturating_sub(SAMPLES));
        self.samples = samples.into();
        if let Some(marks) = before.distinct {
            self.distinct = Some(match self.distinct.take() {
                Some(mine) => mine.and(&marks),
                None => marks,
            });
        }
    }

    /// Of how many windows it is: one, or that before too.
    pub const fn windows(&self) -> u8 {
        if self.before.is_some() { 2 } else { 1 }
    }

    /// Finds hashes again that are not in a file: to be called with what is out of one.
    pub fn rehash(&mut self, hashes: &Hashes) {
        for texts in [&mut self.paths, &mut self.hosts, &mut self.user_agents] {
            texts.rehash(|text| hash_text(hashes, text));
        }
        for ips in [&mut self.servers, &mut self.clients] {
            ips.rehash(|ip| hash_ip(hashes, *ip));
        }
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
            + self.before.as_ref().map_or(0, |before| before.bytes())
    }
}

fn cut(text: &[u8]) -> &[u8] {
    &text[..text.len().min(TEXT)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lines::Noted;
    use crate::uri::Uri;
    use http_trace_model::testing;

    #[test]
    fn no_count_is_more_than_there_was() {
        let hashes = Hashes::default();
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
            let mut top = Top::default();
            for value in &values {
                top.see_text(&Seen::text(&hashes, format!("{value}").as_bytes()));
            }
            let mut sorted = top.sorted();
            sorted.sort_by_key(|(value, count)| (std::cmp::Reverse(*count), value.clone()));
            let expected: Vec<(Vec<u8>, u64)> = expected;
            assert_eq!(sorted, expected, "{name}");
        }
        let mut top = Top::default();
        for n in 0..10_000_u32 {
            let text = format!("{}", n.wrapping_mul(2_654_435_761) % (1 + n % 40));
            top.see_text(&Seen::text(&hashes, text.as_bytes()));
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
        let hashes = Hashes::default();
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
            evidence.see(&Sighting::of(&view, u64::from(n) + 5, &hashes));
            let hash = u64::from(n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            evidence.see_distinct((hash ^ hash >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9));
        }
        assert_eq!(evidence.paths.first().map(|p| &p[..]), Some(&b"/often"[..]));
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
