//! Where the field lines of an event are whose names matter to some rule. Whoever asks for one finds it by
//! its number, and compares no names. What is asked for everywhere was numbered when the head was decoded
//! ([`Known`]), and is found where the head says; for other names heads are looked through once an event.

use http_trace_model::event::HttpEvent;
use http_trace_model::head::Headers;
use http_trace_model::known::{Known, goes_on_as, start, to_lower};

/// A name of field lines that matters: of which direction, and its number among all of them. Those that
/// have a number of their own ([`Known`]) have it here, those of responses after those of requests;
/// others come after both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name {
    response: bool,
    number: u16,
}

/// From which number on names are of responses, and from which on they have none of their own.
const OF_RESPONSES: usize = u64::BITS as usize;
const OTHERS: usize = 2 * OF_RESPONSES;

impl Name {
    /// `User-Agent`
    pub const USER_AGENT: Name = Name::of(false, Known::USER_AGENT);
    /// `Referer`
    pub const REFERRER: Name = Name::of(false, Known::REFERER);
    /// `Cookie`
    pub const COOKIE: Name = Name::of(false, Known::COOKIE);
    /// `Content-Type` of the response
    pub const CONTENT_TYPE: Name = Name::of(true, Known::CONTENT_TYPE);
    /// `Set-Cookie`
    pub const SET_COOKIE: Name = Name::of(true, Known::SET_COOKIE);
    /// `Host`
    pub const HOST: Name = Name::of(false, Known::HOST);

    /// Its number among the names of both directions.
    pub const fn number(self) -> usize {
        self.number as usize
    }

    const fn of(response: bool, known: Known) -> Name {
        let first = if response { OF_RESPONSES } else { 0 };
        Name {
            response,
            number: (first + known.number()) as u16,
        }
    }

    /// The number that the name has of its own.
    const fn known(self) -> Option<Known> {
        match self.number as usize {
            OTHERS.. => None,
            number => Some(Known::numbered(number % OF_RESPONSES)),
        }
    }
}

/// The names that matter and have no number of their own.
#[derive(Debug)]
pub struct Names {
    others: Vec<Named>,
    /// For each direction the first one of each shape, plus one; 0 is none. Most lines have the shape of
    /// no name that matters, and are done with after one look here.
    shapes: [Option<Box<[u16; SHAPES]>>; 2],
}

#[derive(Debug)]
struct Named {
    response: bool,
    name: Box<str>,
    start: u64,
    /// The next one of the same shape, plus one; 0 is none.
    next: u16,
}

/// Lengths that are told apart; longer ones are one.
const LENGTHS: usize = 32;
const SHAPES: usize = LENGTHS * 32;

/// What names differ by that is seen at once, without case: their length and how they begin.
fn shape(name: &[u8]) -> usize {
    let first = name.first().copied().unwrap_or_default();
    name.len().min(LENGTHS - 1) * 32 + usize::from(first % 32)
}

impl Default for Names {
    /// None.
    fn default() -> Self {
        Names {
            others: Vec::new(),
            shapes: [None, None],
        }
    }
}

impl Names {
    /// The number of a name in lower case, which matters from now on; `None` when there are too many.
    pub fn add(&mut self, response: bool, name: &str) -> Option<Name> {
        let known = Known::of(name.as_bytes());
        if known != Known::NONE {
            return Some(Name::of(response, known));
        }
        let is_it = |named: &Named| named.response == response && *named.name == *name;
        let there = self.others.iter().position(is_it);
        let at = there.unwrap_or(self.others.len());
        let number = u16::try_from(OTHERS + at).ok()?;
        if there.is_none() {
            let shapes = self.shapes[usize::from(response)].get_or_insert(Box::new([0; SHAPES]));
            let first = &mut shapes[shape(name.as_bytes())];
            let next = std::mem::replace(first, at as u16 + 1);
            self.others.push(Named {
                response,
                name: name.into(),
                start: start(name.as_bytes()),
                next,
            });
        }
        Some(Name { response, number })
    }

    /// Notes where the lines of an event's heads are whose names have no number of their own.
    pub fn note(&self, event: &HttpEvent, noted: &mut Noted) {
        noted.clear(self.others.len());
        let request = event.request.as_ref().map(|request| &request.headers);
        let response = event.response.as_ref().map(|response| &response.headers);
        for (headers, shapes) in [request, response].into_iter().zip(&self.shapes) {
            if let (Some(headers), Some(shapes)) = (headers, shapes)
                && headers.known() >> Known::NONE.number() & 1 != 0
            {
                self.note_head(shapes, headers, noted);
            }
        }
    }

    /// From the last line to the first, so that the place of a name is the one noted last.
    #[inline(never)]
    fn note_head(&self, shapes: &[u16; SHAPES], headers: &Headers, noted: &mut Noted) {
        for (at, line) in headers.iter().enumerate().rev() {
            if line.known != Known::NONE {
                continue;
            }
            let first = shapes[shape(line.name)];
            if first != 0
                && let Some(number) = self.find_from(first, line.name).checked_sub(1)
            {
                noted.add(number.into(), at as u32);
            }
        }
    }

    /// The same among the names from the first of a shape on.
    #[inline(never)]
    fn find_from(&self, mut next: u16, name: &[u8]) -> u16 {
        let begins = to_lower(start(name));
        while let Some(named) = self.others.get(usize::from(next).wrapping_sub(1)) {
            if named.start == begins
                && named.name.len() == name.len()
                && goes_on_as(name, named.name.as_bytes())
            {
                return next;
            }
            next = named.next;
        }
        0
    }
}

/// Where the lines of an event's heads are whose names have no number of their own; [`Headers`] know
/// where the others are.
#[derive(Clone, Debug, Default)]
pub struct Noted {
    /// The lines of each of these names.
    places: Vec<Place>,
    /// Those of which there are lines.
    there: Vec<u16>,
}

/// The lines of one name.
#[derive(Clone, Copy, Debug)]
struct Place {
    first: u32,
    has_more: bool,
}

impl Place {
    const NOWHERE: Place = Place {
        first: u32::MAX,
        has_more: false,
    };
}

/// The lines of one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// The value of the first.
    pub first: &'a [u8],
    /// Whether there are more.
    pub has_more: bool,
}

/// The names with a number of their own of which an event has lines: of requests, then of responses, a
/// bit each.
pub fn known(event: &HttpEvent) -> [u64; 2] {
    let request = event.request.as_ref().map_or(0, |r| r.headers.known());
    let response = event.response.as_ref().map_or(0, |r| r.headers.known());
    [request, response]
}

/// Hands on the numbers of names with these bits.
#[inline]
pub fn each_of(known: [u64; 2], mut work: impl FnMut(usize)) {
    for (mut left, first) in known.into_iter().zip([0, OF_RESPONSES]) {
        while left != 0 {
            work(first + left.trailing_zeros() as usize);
            left &= left - 1;
        }
    }
}

impl Noted {
    /// Of no names.
    #[cfg(test)]
    pub fn of(event: &HttpEvent) -> Noted {
        let mut noted = Noted::default();
        Names::default().note(event, &mut noted);
        noted
    }

    /// For the next event, of whose lines so many names matter.
    fn clear(&mut self, names: usize) {
        for number in self.there.drain(..) {
            if let Some(place) = self.places.get_mut(usize::from(number)) {
                *place = Place::NOWHERE;
            }
        }
        self.places.resize(names, Place::NOWHERE);
    }

    /// Notes a line before all that were noted.
    fn add(&mut self, number: usize, at: u32) {
        let Some(place) = self.places.get_mut(number) else {
            return;
        };
        place.has_more = place.first != u32::MAX;
        if !place.has_more {
            self.there.push(number as u16);
        }
        place.first = at;
    }

    /// The numbers of the names of which there are lines.
    pub fn others(&self) -> impl Iterator<Item = usize> {
        self.there.iter().map(|at| OTHERS + usize::from(*at))
    }

    /// Where the first line of a name is, and whether there are more.
    #[inline]
    fn place(&self, name: Name, headers: &Headers) -> Option<(usize, bool)> {
        if let Some(known) = name.known() {
            return headers.place(known);
        }
        let place = self.places.get(name.number() - OTHERS)?;
        (place.first != u32::MAX).then_some((place.first as usize, place.has_more))
    }

    /// Whether there is such a line.
    pub fn has(&self, name: Name, event: &HttpEvent) -> bool {
        headers(name, event).is_some_and(|headers| match name.known() {
            Some(known) => headers.has(known),
            None => self.place(name, headers).is_some(),
        })
    }

    /// Such lines.
    #[inline]
    pub fn lines<'a>(&self, name: Name, event: &'a HttpEvent) -> Option<Line<'a>> {
        let headers = headers(name, event)?;
        let (first, has_more) = self.place(name, headers)?;
        let first = headers.value(first)?;
        Some(Line { first, has_more })
    }

    /// The value of the first such line.
    pub fn first<'a>(&self, name: Name, event: &'a HttpEvent) -> Option<&'a [u8]> {
        Some(self.lines(name, event)?.first)
    }

    /// The values of all such lines, in order.
    pub fn all<'a>(&self, name: Name, event: &'a HttpEvent) -> impl Iterator<Item = &'a [u8]> {
        let lines = headers(name, event).and_then(|headers| {
            let (first, has_more) = self.place(name, headers)?;
            let value = headers.value(first)?;
            let more = has_more.then(|| headers.goes_on(first));
            let more = more.into_iter().flatten().map(|(_, value)| value);
            Some(std::iter::once(value).chain(more))
        });
        lines.into_iter().flatten()
    }
}

fn headers(name: Name, event: &HttpEvent) -> Option<&Headers> {
    if name.response {
        Some(&event.response.as_ref()?.headers)
    } else {
        Some(&event.request.as_ref()?.headers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_trace_model::testing;

    #[test]
    fn lines_are_found_where_they_are() {
        let mut names = Names::default();
        let tag = names.add(true, "x-tag").expect("few");
        assert_eq!(names.add(true, "x-tag"), Some(tag));
        assert_eq!(names.add(false, "user-agent"), Some(Name::USER_AGENT));
        // Of the same shape.
        let gat = names.add(true, "xt-ag").expect("few");
        let absent = names.add(true, "x-absent").expect("few");
        let event = testing::event_of(
            testing::request("GET / HTTP/1.1\r\nhOST: a\r\nX-Tag: no\r\nUser-Agent: u\r\n\r\n"),
            testing::response(
                "HTTP/1.1 200 x\r\nX-TAG: 1\r\nXt-Ag: 2\r\nHost: no\r\nx-tag: 3\r\nX-Ta\r\n\r\n",
            ),
        );
        let mut noted = Noted::default();
        // The second time over what is there of the first.
        for _ in 0..2 {
            names.note(&event, &mut noted);
            for (name, expected) in [
                (Name::USER_AGENT, &[&b"u"[..]][..]),
                (Name::COOKIE, &[]),
                (tag, &[b"1", b"3"]),
                (gat, &[b"2"]),
                (absent, &[]),
            ] {
                let all: Vec<&[u8]> = noted.all(name, &event).collect();
                assert_eq!(all, expected, "{name:?}");
                assert_eq!(noted.first(name, &event), expected.first().copied());
                assert_eq!(noted.has(name, &event), !expected.is_empty());
                let several = noted.lines(name, &event).is_some_and(|line| line.has_more);
                assert_eq!(several, expected.len() > 1);
            }
        }
    }
}
