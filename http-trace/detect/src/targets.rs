//! Targets that are asked for again and again, as most of a site's are: of a method, with a `Host`, of a
//! server. Where the parts of such a target are is kept; others keep what they found in it by its
//! [`Place`]. A target that comes once leaves a mark only; the second time it is kept. Bounded;
//! compared whole, so that nobody can choose a target that is taken for another. Allocates nothing after
//! it was made.

use std::net::Ipv4Addr;
use std::num::NonZeroU64;

use super::field::View;
use super::kept::{Lots, mixed};
use super::lines::{Name, Noted};
use http_trace_model::event::{Endpoint, HttpEvent};
use http_trace_model::target::Target;

/// Targets that are kept, a power of two, and the longest, together with its host.
pub const MOST: usize = 1024;
const LONGEST: usize = 192;

/// Places that each may have: with two, one in ten of a hundred targets was always gone.
const WAYS: usize = 4;

/// Marks of targets that came once, 0 for none: sets of a few, since two that come in turns and had one place
/// would both come for the first time for ever.
const MARKS: usize = 512;
type Marks = [u16; 4];

/// Where a target is kept: how many were kept before it, and the place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(NonZeroU64);

impl Place {
    /// For the target that is kept as the one of this number, from 1 on.
    pub const fn new(at: usize, kept: u64) -> Option<Place> {
        match NonZeroU64::new(
            kept.wrapping_mul(MOST as u64)
                .wrapping_add((at % MOST) as u64),
        ) {
            Some(place) => Some(Place(place)),
            None => None,
        }
    }

    /// Less than [`MOST`].
    pub const fn at(self) -> usize {
        self.0.get() as usize % MOST
    }

    /// Differs for each target that was ever kept; never 0.
    pub const fn since(self) -> u64 {
        self.0.get()
    }
}

/// The targets.
#[derive(Debug)]
pub struct Targets {
    kept: Vec<Kept>,
    /// Parts of the hashes of targets that came once, those of a set where the rest of the hash says.
    marks: Vec<Marks>,
    admitted: u64,
    lots: Lots,
}

/// What is asked of whom: what a target is kept by.
#[derive(Clone, Copy)]
struct Asked<'a> {
    method: Method,
    server: Endpoint,
    target: &'a [u8],
    host: &'a [u8],
}

/// Methods of targets that are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    Get,
    Head,
    Post,
    Put,
    Delete,
    Options,
    Patch,
}

#[derive(Clone, Debug)]
struct Kept {
    /// None while nothing is kept here.
    place: Option<Place>,
    method: Method,
    server: Endpoint,
    target_len: u16,
    host_len: u16,
    parts: Parts,
    /// The target, then the value of `Host`.
    bytes: [u8; LONGEST],
}

/// Where the parts of a target in origin form are.
#[derive(Clone, Copy, Debug, Default)]
struct Parts {
    path_len: u16,
    has_query: bool,
    port: Option<u16>,
    /// Of the host, in the value of `Host`.
    host: Option<Range>,
    /// Of the identifier, in the path.
    path_id: Option<Range>,
}

#[derive(Clone, Copy, Debug)]
struct Range {
    at: u16,
    len: u16,
}

impl Range {
    /// Of a part in the whole that it was cut out of.
    fn of(part: &[u8], whole: &[u8]) -> Option<Range> {
        let at = part.as_ptr().addr().checked_sub(whole.as_ptr().addr())?;
        let range = Range {
            at: u16::try_from(at).ok()?,
            len: u16::try_from(part.len()).ok()?,
        };
        (range.cut(whole)? == part).then_some(range)
    }

    fn cut(self, whole: &[u8]) -> Option<&[u8]> {
        whole.get(usize::from(self.at)..)?.get(..self.len.into())
    }
}

impl Parts {
    /// Of a target that was taken apart; `None` for what is not simply a path of a host.
    fn of(view: &View<'_>, host: &[u8]) -> Option<Parts> {
        let Target {
            host: named,
            port,
            path,
            query,
            ..
        } = view.target;
        let path = path?;
        let range = |part: Option<&[u8]>, whole: &[u8]| match part {
            Some(part) => Range::of(part, whole).map(Some),
            None => Some(None),
        };
        Some(Parts {
            path_len: u16::try_from(path.len()).ok()?,
            has_query: query.is_some(),
            port,
            host: range(named, host)?,
            path_id: range(view.path_id, path)?,
        })
    }

    /// What [`Target::of`] and [`super::derived::path_id`] would say.
    fn apply<'a>(
        &self,
        target: &'a [u8],
        host: &'a [u8],
    ) -> Option<(Target<'a>, Option<&'a [u8]>)> {
        let (path, rest) = target.split_at_checked(self.path_len.into())?;
        let taken_apart = Target {
            scheme: Some(b"http"),
            host: self.host.and_then(|range| range.cut(host)),
            port: self.port,
            path: Some(path),
            query: self.has_query.then(|| rest.get(1..)).flatten(),
        };
        Some((taken_apart, self.path_id.and_then(|range| range.cut(path))))
    }
}

impl Default for Targets {
    fn default() -> Self {
        let none = Kept {
            place: None,
            method: Method::Get,
            server: Endpoint {
                ip: Ipv4Addr::UNSPECIFIED.into(),
                port: 0,
            },
            target_len: 0,
            host_len: 0,
            parts: Parts::default(),
            bytes: [0; LONGEST],
        };
        Targets {
            kept: vec![none; MOST],
            marks: vec![Marks::default(); MARKS],
            admitted: 0,
            lots: Lots::default(),
        }
    }
}

/// Where a target may be kept.
const fn places(hash: usize) -> std::ops::Range<usize> {
    let first = hash % (MOST / WAYS) * WAYS;
    first..first + WAYS
}

impl Method {
    const fn of(method: &[u8]) -> Option<Method> {
        Some(match method {
            b"GET" => Method::Get,
            b"HEAD" => Method::Head,
            b"POST" => Method::Post,
            b"PUT" => Method::Put,
            b"DELETE" => Method::Delete,
            b"OPTIONS" => Method::Options,
            b"PATCH" => Method::Patch,
            _ => return None,
        })
    }
}

impl<'a> Asked<'a> {
    /// What an event asks, if that may be kept.
    fn of(event: &'a HttpEvent, noted: &Noted) -> Option<Asked<'a>> {
        let request = event.request.as_ref()?;
        let asked = Asked {
            method: Method::of(&request.method)?,
            server: event.server,
            target: &request.target,
            host: noted.first(Name::HOST, event).unwrap_or_default(),
        };
        let may =
            asked.target.first() == Some(&b'/') && asked.target.len() + asked.host.len() <= LONGEST;
        may.then_some(asked)
    }

    /// Tells most of them apart: nearly always the target and the host do.
    fn mixed(&self) -> usize {
        let target = mixed(self.target).wrapping_mul(31) ^ mixed(self.host);
        target ^ self.method as usize ^ usize::from(self.server.port) << 3
    }
}

impl Targets {
    /// Takes the target of an event apart, and says where it is kept if it is.
    pub fn view<'a>(
        &mut self,
        event: &'a HttpEvent,
        noted: &'a Noted,
        uri: &'a super::uri::Uri,
    ) -> (View<'a>, Option<Place>) {
        let Some(asked) = Asked::of(event, noted) else {
            return (View::new(event, noted, uri), None);
        };
        let hash = asked.mixed();
        for at in places(hash) {
            let Some(kept) = self.kept.get(at).filter(|kept| kept.is(&asked)) else {
                continue;
            };
            if let Some((target, path_id)) = kept.parts.apply(asked.target, asked.host) {
                return (
                    View::of_parts(event, noted, uri, target, path_id),
                    kept.place,
                );
            }
        }
        let view = View::new(event, noted, uri);
        let place = self.admit(&view, hash, &asked);
        (view, place)
    }

    /// Keeps a target that came before, and marks one that did not.
    fn admit(&mut self, view: &View<'_>, hash: usize, asked: &Asked<'_>) -> Option<Place> {
        let Asked { target, host, .. } = *asked;
        let marks = self.marks.get_mut(hash % MARKS)?;
        let mark = (hash >> 8) as u16 | 1;
        if !marks.contains(&mark) {
            let empty = marks.iter().position(|mark| *mark == 0);
            marks[empty.unwrap_or_else(|| self.lots.draw(marks.len()))] = mark;
            return None;
        }
        let parts = Parts::of(view, host)?;
        self.admitted += 1;
        let is_empty = |at: &usize| self.kept.get(*at).is_none_or(|kept| kept.place.is_none());
        let at = places(hash).find(is_empty);
        let at = at.unwrap_or_else(|| places(hash).start + self.lots.draw(WAYS));
        let kept = self.kept.get_mut(at)?;
        let bytes = kept.bytes.get_mut(..target.len() + host.len())?;
        let (of_target, of_host) = bytes.split_at_mut(target.len());
        of_target.copy_from_slice(target);
        of_host.copy_from_slice(host);
        (kept.method, kept.server) = (asked.method, asked.server);
        kept.target_len = target.len() as u16;
        kept.host_len = host.len() as u16;
        (kept.parts, kept.place) = (parts, Place::new(at, self.admitted));
        kept.place
    }
}

impl Kept {
    fn is(&self, asked: &Asked<'_>) -> bool {
        let (target_len, host_len) = (usize::from(self.target_len), usize::from(self.host_len));
        self.place.is_some()
            && target_len == asked.target.len()
            && host_len == asked.host.len()
            && self.method == asked.method
            && self.server == asked.server
            && self.bytes.get(..target_len) == Some(asked.target)
            && self.bytes.get(target_len..target_len + host_len) == Some(asked.host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::uri::Uri;
    use http_trace_model::testing;

    /// Whatever was there before.
    #[test]
    fn targets_that_come_in_turns_are_all_kept() {
        let mut targets = Targets::default();
        let event = |path: String| {
            testing::event_of(
                testing::request(&format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n")),
                testing::response("HTTP/1.1 200 OK\r\n\r\n"),
            )
        };
        let mut came = 0;
        for n in 0..5000 {
            let events = [event(format!("/first/{n}")), event(format!("/{n}/second"))];
            let before = targets.admitted;
            let kept = events.iter().cycle().take(100).filter(|event| {
                let (noted, uri) = (Noted::of(event), Uri::default());
                targets.view(event, &noted, &uri).1.is_some()
            });
            // The first time each leaves a mark.
            let kept = kept.count();
            assert!((60..=98).contains(&kept), "{n}: {kept}");
            came += 100 - kept;
            assert!(targets.admitted - before < 20, "{n}");
        }
        assert!(targets.admitted < 3 * 5000, "{}", targets.admitted);
        assert!(came < 4 * 5000, "{came}");
    }

    /// More of them than a set has marks.
    #[test]
    fn targets_that_share_a_set_of_marks_are_kept_too() {
        let mut targets = Targets::default();
        let all = (0..).map(|n| {
            testing::event_of(
                testing::request(&format!("GET /{n} HTTP/1.1\r\nHost: h\r\n\r\n")),
                testing::response("HTTP/1.1 200 OK\r\n\r\n"),
            )
        });
        let of_one_set = |event: &HttpEvent| {
            let noted = Noted::of(event);
            Asked::of(event, &noted).is_some_and(|asked| asked.mixed() % MARKS == 7)
        };
        let events: Vec<_> = all.filter(|event| of_one_set(event)).take(5).collect();
        let mut kept = 0;
        for event in events.iter().cycle().take(500) {
            let (noted, uri) = (Noted::of(event), Uri::default());
            kept += usize::from(targets.view(event, &noted, &uri).1.is_some());
        }
        assert!(kept > 300, "{kept}");
    }

    /// Each target again and again among others, more than are kept: its parts are those that it has
    /// when nothing is kept, and no two targets are told to be in one place at one time.
    #[test]
    fn a_target_that_comes_again_has_the_parts_that_it_had() {
        let mut targets = Targets::default();
        let mut known = std::collections::HashMap::new();
        let mut kept = 0;
        for turn in 0..4 {
            for n in 0..900_usize {
                let path = match n % 9 {
                    0 => format!("/{n}/orders"),
                    1 => format!("/a/{n}?x={n}?y"),
                    2 => format!("/{}/{n}", "long".repeat(n % 60)),
                    3 => "/".to_owned(),
                    4 => format!("http://h{n}/x"),
                    5 => format!("/x{n}?"),
                    6 => "*".to_owned(),
                    7 => format!("//{n}//?"),
                    _ => format!("/id/0123abcd-0000-1111-2222-{n:012}/x"),
                };
                let host = match n / 9 % 7 {
                    0 => "",
                    1 => "Host: \r\n",
                    2 => "Host: h:8080\r\n",
                    3 => "Host: [::1]:80\r\n",
                    4 => "Host: u@h\r\nHost: second\r\n",
                    5 => "Host: h\r\n",
                    _ => "Host: h:\r\n",
                };
                let method = ["CONNECT", "GET", "HEAD", "PROPFIND", "GET"][n / 63 % 5];
                let mut event = testing::event_of(
                    testing::request(&format!("{method} {path} HTTP/1.1\r\n{host}\r\n")),
                    testing::response("HTTP/1.1 200 OK\r\n\r\n"),
                );
                event.server.port = 80 + (n / 3 % 3) as u16;
                let (noted, uri) = (Noted::of(&event), Uri::default());
                let plain = View::new(&event, &noted, &uri);
                let (view, place) = targets.view(&event, &noted, &uri);
                assert_eq!((view.target, view.path_id), (plain.target, plain.path_id));
                assert_eq!(view.uri(), plain.uri(), "{turn}");
                let Some(place) = place else { continue };
                kept += 1;
                let host = view.line(Name::HOST).unwrap_or_default().to_vec();
                let of = (path, host, method, event.server);
                let there = known.entry(place.since()).or_insert(of.clone());
                assert_eq!(*there, of);
            }
        }
        assert!(kept > 500, "{kept}");
    }
}
