//! Field lines of a head, looked through once an event: where those are whose names matter to some
//! rule. Whoever asks for one later finds it by its number, and compares no names; what is asked for
//! everywhere was numbered when the head was decoded ([`Known`]).

use crate::event::HttpEvent;
use crate::http::head::{Header, Headers};
use crate::http::known::{Known, goes_on_as, start, to_lower};

/// Names that values of events are made of; they are noted whatever the rules are.
const ALWAYS: [(bool, &str); 6] = [
    (false, "user-agent"),
    (false, "referer"),
    (false, "cookie"),
    (true, "content-type"),
    (true, "set-cookie"),
    (false, "host"),
];

/// A name of field lines that matters: of which direction, and its number among all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name {
    response: bool,
    number: u16,
}

impl Name {
    /// `User-Agent`
    pub const USER_AGENT: Name = Name::always(0);
    /// `Referer`
    pub const REFERRER: Name = Name::always(1);
    /// `Cookie`
    pub const COOKIE: Name = Name::always(2);
    /// `Content-Type` of the response
    pub const CONTENT_TYPE: Name = Name::always(3);
    /// `Set-Cookie`
    pub const SET_COOKIE: Name = Name::always(4);

    /// `Host`
    pub const HOST: Name = Name::always(5);

    /// Its number among the names of both directions.
    pub const fn number(self) -> usize {
        self.number as usize
    }

    const fn always(number: u16) -> Name {
        Name {
            response: ALWAYS[number as usize].0,
            number,
        }
    }
}

/// The names that matter.
#[derive(Debug)]
pub struct Names {
    all: Vec<Named>,
    of: [OfHead; 2],
}

/// The names that matter in one direction, by their numbers plus one; 0 is none.
#[derive(Debug)]
struct OfHead {
    /// Of those whose number was found when the head was decoded.
    known: Box<[u16; Known::COUNT]>,
    /// Of the others the first one of each shape: most lines have the shape of no name that matters,
    /// and are done with after one look here.
    shapes: Box<[u16; SHAPES]>,
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
    /// Those that matter whatever the rules are.
    fn default() -> Self {
        let mut names = Names {
            all: Vec::new(),
            of: [(); 2].map(|()| OfHead {
                known: Box::new([0; Known::COUNT]),
                shapes: Box::new([0; SHAPES]),
            }),
        };
        for (response, name) in ALWAYS {
            let _ = names.add(response, name);
        }
        names
    }
}

impl Names {
    /// The number of a name in lower case, which matters from now on; `None` when there are too many.
    pub fn add(&mut self, response: bool, name: &str) -> Option<Name> {
        let is_it = |named: &Named| named.response == response && *named.name == *name;
        let there = self.all.iter().position(is_it);
        let number = u16::try_from(there.unwrap_or(self.all.len())).ok()?;
        if there.is_none() {
            let of = &mut self.of[usize::from(response)];
            let first = match Known::of(name.as_bytes()) {
                Known::NONE => &mut of.shapes[shape(name.as_bytes())],
                known => &mut of.known[known.number()],
            };
            let next = std::mem::replace(first, number.checked_add(1)?);
            self.all.push(Named {
                response,
                name: name.into(),
                start: start(name.as_bytes()),
                next,
            });
        }
        Some(Name { response, number })
    }

    /// Notes where the lines of an event's heads are.
    pub fn note(&self, event: &HttpEvent, noted: &mut Noted) {
        noted.few = 0;
        for number in noted.others.drain(..) {
            if let Some(place) = noted.places.get_mut(usize::from(number)) {
                *place = Place::NOWHERE;
            }
        }
        // What is there of the event before is void without its bit.
        noted.places.resize(self.all.len(), Place::NOWHERE);
        if let Some(request) = &event.request {
            self.note_head(false, &request.headers, noted);
        }
        if let Some(response) = &event.response {
            self.note_head(true, &response.headers, noted);
        }
    }

    fn note_head(&self, response: bool, headers: &Headers, noted: &mut Noted) {
        let of = &self.of[usize::from(response)];
        for (at, line) in headers.0.iter().enumerate() {
            let known = line.known();
            if known != Known::NONE {
                if let Some(number) = of.known[known.number()].checked_sub(1) {
                    noted.add(number, at as u32);
                }
                continue;
            }
            let name: &[u8] = &line.name;
            let mut next = of.shapes[shape(name)];
            if next == 0 {
                continue;
            }
            let begins = to_lower(start(name));
            while let Some(named) = self.all.get(usize::from(next).wrapping_sub(1)) {
                if named.start == begins
                    && named.name.len() == name.len()
                    && goes_on_as(name, named.name.as_bytes())
                {
                    noted.add(next - 1, at as u32);
                    break;
                }
                next = named.next;
            }
        }
    }
}

/// Where the lines of one name are: the first and the last of them.
#[derive(Clone, Copy, Debug)]
struct Place {
    first: u32,
    last: u32,
}

impl Place {
    const NOWHERE: Place = Place {
        first: u32::MAX,
        last: 0,
    };
}

/// Where the lines of an event's heads are, by the numbers of their names.
#[derive(Clone, Debug, Default)]
pub struct Noted {
    places: Vec<Place>,
    /// The names of the least numbers of which there are lines, a bit each.
    few: u64,
    /// The others of which there are lines.
    others: Vec<u16>,
}

/// How many names have a bit.
pub const FEW: usize = u64::BITS as usize;

impl Noted {
    /// Of the names that always matter.
    #[cfg(test)]
    pub fn of(event: &HttpEvent) -> Noted {
        let mut noted = Noted::default();
        Names::default().note(event, &mut noted);
        noted
    }

    fn add(&mut self, number: u16, at: u32) {
        let Some(place) = self.places.get_mut(usize::from(number)) else {
            return;
        };
        let is_first = match usize::from(number) {
            number @ ..FEW => {
                let before = self.few;
                self.few |= 1 << number;
                before != self.few
            }
            _ => {
                let is_first = place.first == u32::MAX;
                if is_first {
                    self.others.push(number);
                }
                is_first
            }
        };
        if is_first {
            place.first = at;
        }
        place.last = at;
    }

    /// The names of the least numbers of which there are lines, of both directions, a bit each.
    pub const fn few(&self) -> u64 {
        self.few
    }

    /// The numbers of the others.
    pub fn others(&self) -> impl Iterator<Item = usize> {
        self.others.iter().copied().map(usize::from)
    }

    fn place(&self, name: Name) -> Place {
        match self.places.get(usize::from(name.number)) {
            Some(place) if name.number() >= FEW || self.few >> name.number & 1 != 0 => *place,
            _ => Place::NOWHERE,
        }
    }

    /// Whether there is such a line.
    pub fn has(&self, name: Name) -> bool {
        self.place(name).first != u32::MAX
    }

    /// Whether there are several such lines.
    pub fn has_several(&self, name: Name) -> bool {
        let place = self.place(name);
        place.first < place.last
    }

    /// The value of the first such line.
    pub fn first<'a>(&self, name: Name, event: &'a HttpEvent) -> Option<&'a [u8]> {
        let line = headers(name, event)?
            .0
            .get(self.place(name).first as usize)?;
        Some(&line.value)
    }

    /// The values of all such lines, in order.
    pub fn all<'a>(&self, name: Name, event: &'a HttpEvent) -> impl Iterator<Item = &'a [u8]> {
        let place = self.place(name);
        let lines = headers(name, event)
            .and_then(|headers| headers.0.get(place.first as usize..=place.last as usize));
        let lines = lines.unwrap_or_default();
        let first = lines.first();
        let is_it = move |line: &&Header| match first {
            Some(first) if first.known() != Known::NONE => line.known() == first.known(),
            Some(first) => line.name.eq_ignore_ascii_case(&first.name),
            None => false,
        };
        lines.iter().filter(is_it).map(|line| &line.value[..])
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
    use crate::testing;

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
                assert_eq!(noted.has(name), !expected.is_empty());
                assert_eq!(noted.has_several(name), expected.len() > 1);
            }
        }
    }
}
