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
    known: Box<[u16; KNOWN]>,
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

/// One for each number that a name may be known by.
const KNOWN: usize = 1 << u8::BITS;
const _: () = assert!(Known::COUNT <= KNOWN);

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
                known: Box::new([0; KNOWN]),
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
        noted.clear(self.all.len());
        if let Some(request) = &event.request {
            self.note_head(false, &request.headers, noted);
        }
        if let Some(response) = &event.response {
            self.note_head(true, &response.headers, noted);
        }
    }

    /// From the last line to the first, so that the place of a name is the one noted last.
    fn note_head(&self, response: bool, headers: &Headers, noted: &mut Noted) {
        let of = &self.of[usize::from(response)];
        let mut at = headers.0.len();
        for line in headers.0.iter().rev() {
            at -= 1;
            let number = match line.known() {
                Known::NONE => self.find(of, &line.name),
                known => of.known[known.number()],
            };
            if let Some(number) = number.checked_sub(1) {
                noted.add(number.into(), at as u32);
            }
        }
    }

    /// One more than the number of a name that was not known when the head was decoded, 0 if it does
    /// not matter.
    fn find(&self, of: &OfHead, name: &[u8]) -> u16 {
        match of.shapes[shape(name)] {
            0 => 0,
            first => self.find_from(first, name),
        }
    }

    /// The same among the names from the first of a shape on.
    #[inline(never)]
    fn find_from(&self, mut next: u16, name: &[u8]) -> u16 {
        let begins = to_lower(start(name));
        while let Some(named) = self.all.get(usize::from(next).wrapping_sub(1)) {
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

/// Where the lines of an event's heads are, by the numbers of their names.
#[derive(Clone, Debug)]
pub struct Noted {
    /// The names of the least numbers of which there are lines, a bit each, and of which several.
    few: u64,
    several: u64,
    /// The first line of each of those; void without the bit.
    of_few: [u32; FEW],
    /// The lines of the others.
    of_others: Vec<Place>,
    /// The others of which there are lines.
    others: Vec<u16>,
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

/// How many names have a bit.
pub const FEW: usize = u64::BITS as usize;

impl Default for Noted {
    /// No lines.
    fn default() -> Self {
        Noted {
            few: 0,
            several: 0,
            of_few: [0; FEW],
            of_others: Vec::new(),
            others: Vec::new(),
        }
    }
}

/// The lines of one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// The value of the first.
    pub first: &'a [u8],
    /// Whether there are more.
    pub has_more: bool,
}

impl Noted {
    /// Of the names that always matter.
    #[cfg(test)]
    pub fn of(event: &HttpEvent) -> Noted {
        let mut noted = Noted::default();
        Names::default().note(event, &mut noted);
        noted
    }

    /// For the next event, of whose lines so many names matter.
    fn clear(&mut self, names: usize) {
        (self.few, self.several) = (0, 0);
        for number in self.others.drain(..) {
            if let Some(place) = self.of_others.get_mut(usize::from(number) - FEW) {
                *place = Place::NOWHERE;
            }
        }
        let others = names.saturating_sub(FEW);
        self.of_others.resize(others, Place::NOWHERE);
    }

    /// Notes a line before all that were noted.
    #[inline]
    fn add(&mut self, number: usize, at: u32) {
        if let Some(first) = self.of_few.get_mut(number) {
            let bit = 1 << number;
            *first = at;
            self.several |= self.few & bit;
            self.few |= bit;
        } else {
            self.add_other(number, at);
        }
    }

    #[inline(never)]
    fn add_other(&mut self, number: usize, at: u32) {
        let Some(place) = self.of_others.get_mut(number - FEW) else {
            return;
        };
        place.has_more = place.first != u32::MAX;
        if !place.has_more {
            self.others.push(number as u16);
        }
        place.first = at;
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
        let number = name.number();
        match self.of_few.get(number) {
            Some(first) if self.few >> number & 1 != 0 => Place {
                first: *first,
                has_more: self.several >> number & 1 != 0,
            },
            Some(_) => Place::NOWHERE,
            None => {
                let place = self.of_others.get(number - FEW);
                place.copied().unwrap_or(Place::NOWHERE)
            }
        }
    }

    /// Whether there is such a line.
    pub fn has(&self, name: Name) -> bool {
        self.place(name).first != u32::MAX
    }

    /// Such lines.
    #[inline]
    pub fn lines<'a>(&self, name: Name, event: &'a HttpEvent) -> Option<Line<'a>> {
        let place = self.place(name);
        let line = headers(name, event)?.0.get(place.first as usize)?;
        Some(Line {
            first: &line.value,
            has_more: place.has_more,
        })
    }

    /// The value of the first such line.
    pub fn first<'a>(&self, name: Name, event: &'a HttpEvent) -> Option<&'a [u8]> {
        Some(self.lines(name, event)?.first)
    }

    /// The values of all such lines, in order.
    pub fn all<'a>(&self, name: Name, event: &'a HttpEvent) -> impl Iterator<Item = &'a [u8]> {
        let place = self.place(name);
        let lines = headers(name, event).and_then(|headers| headers.0.get(place.first as usize..));
        let lines = lines.unwrap_or_default();
        let lines = if place.has_more {
            lines
        } else {
            &lines[..lines.len().min(1)]
        };
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
                let several = noted.lines(name, &event).is_some_and(|line| line.has_more);
                assert_eq!(several, expected.len() > 1);
            }
        }
    }
}
