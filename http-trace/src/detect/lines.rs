//! Field lines of a head, looked through once an event: where those are whose names matter to some
//! rule. Whoever asks for one later finds it by its number, and compares no names.

use crate::event::HttpEvent;
use crate::http::head::Headers;

/// Names that values of events are made of; they are noted whatever the rules are.
const ALWAYS: [(bool, &str); 5] = [
    (false, "user-agent"),
    (false, "referer"),
    (false, "cookie"),
    (true, "content-type"),
    (true, "set-cookie"),
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
    /// Of requests and of responses, the first name of each shape, plus one; 0 is none. Most lines of
    /// a head have the shape of no name that matters, and are done with after one look here.
    shapes: [Box<[u16; SHAPES]>; 2],
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

/// Eight bytes of a name that, with its length, are all of it or as much as fits.
const fn start(name: &[u8]) -> u64 {
    if let Some(start) = name.first_chunk::<8>() {
        return u64::from_le_bytes(*start);
    }
    match (name.first_chunk::<4>(), name.last_chunk::<4>(), name) {
        (Some(first), Some(last), _) => {
            u32::from_le_bytes(*first) as u64 | (u32::from_le_bytes(*last) as u64) << 32
        }
        (.., [a, b, c]) => u64::from_le_bytes([*a, *b, *c, 0, 0, 0, 0, 0]),
        (.., [a, b]) => u64::from_le_bytes([*a, *b, 0, 0, 0, 0, 0, 0]),
        (.., [a]) => *a as u64,
        _ => 0,
    }
}

impl Default for Names {
    /// Those that matter whatever the rules are.
    fn default() -> Self {
        let mut names = Names {
            all: Vec::new(),
            shapes: [Box::new([0; SHAPES]), Box::new([0; SHAPES])],
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
            let first = &mut self.shapes[usize::from(response)][shape(name.as_bytes())];
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
        for number in noted.seen.drain(..) {
            if let Some(place) = noted.places.get_mut(usize::from(number)) {
                *place = Place::NOWHERE;
            }
        }
        noted.places.resize(self.all.len(), Place::NOWHERE);
        if let Some(request) = &event.request {
            self.note_head(false, &request.headers, noted);
        }
        if let Some(response) = &event.response {
            self.note_head(true, &response.headers, noted);
        }
    }

    fn note_head(&self, response: bool, headers: &Headers, noted: &mut Noted) {
        let shapes = &self.shapes[usize::from(response)];
        for (at, line) in headers.0.iter().enumerate() {
            let name: &[u8] = &line.name;
            let mut next = shapes[shape(name)];
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
    /// The names of which there are lines.
    seen: Vec<u16>,
}

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
        if place.first == u32::MAX {
            place.first = at;
            self.seen.push(number);
        }
        place.last = at;
    }

    /// The numbers of the names of which there are lines, of both directions.
    pub fn seen(&self) -> impl Iterator<Item = usize> {
        self.seen.iter().copied().map(usize::from)
    }

    fn place(&self, name: Name) -> Place {
        let place = self.places.get(usize::from(name.number));
        place.copied().unwrap_or(Place::NOWHERE)
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
        let wanted = lines.first().map_or(&b""[..], |line| &line.name);
        lines
            .iter()
            .filter(move |line| line.name.eq_ignore_ascii_case(wanted))
            .map(|line| &line.value[..])
    }
}

fn headers(name: Name, event: &HttpEvent) -> Option<&Headers> {
    if name.response {
        Some(&event.response.as_ref()?.headers)
    } else {
        Some(&event.request.as_ref()?.headers)
    }
}

/// Whether a field's name is `lower`, which is in lower case; names compare without case (RFC 9110
/// §5.1).
pub fn is_name(name: &[u8], lower: &[u8]) -> bool {
    name.len() == lower.len() && to_lower(start(name)) == start(lower) && goes_on_as(name, lower)
}

/// Whether a name goes on after its start as another of the same length does that is in lower case.
/// Eight bytes at a time: this is asked of many lines of every head.
fn goes_on_as(name: &[u8], lower: &[u8]) -> bool {
    let word = |bytes: &[u8]| {
        bytes
            .first_chunk()
            .map_or(0, |bytes| u64::from_le_bytes(*bytes))
    };
    let Some(last) = name.len().checked_sub(8) else {
        return true;
    };
    let same = |at: usize| to_lower(word(&name[at..])) == word(&lower[at..]);
    // The last eight may overlap those before; few names are longer than sixteen bytes.
    last == 0 || same(last) && (last <= 8 || (8..last).step_by(8).all(same))
}

/// Eight bytes with their ASCII letters in lower case.
pub const fn to_lower(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let low = word & (ONES * 0x7f);
    // The highest bit of a byte is set from 'A' on, and from after 'Z' on.
    let from_a = low + ONES * (0x80 - b'A' as u64);
    let after_z = low + ONES * (0x80 - b'Z' as u64 - 1);
    let upper = (from_a ^ after_z) & !word & (ONES * 0x80);
    word | upper >> 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn names_compare_without_case_and_only_so() {
        for name in [
            "te",
            "server",
            "location",
            "user-agent",
            "x-forwarded-for",
            "content-security-policy",
        ] {
            let title = name.to_ascii_uppercase();
            assert!(is_name(title.as_bytes(), name.as_bytes()), "{name}");
            assert!(is_name(name.as_bytes(), name.as_bytes()), "{name}");
            for at in 0..name.len() {
                for byte in 0..=u8::MAX {
                    let mut other = name.as_bytes().to_vec();
                    other[at] = byte;
                    let expected = other.eq_ignore_ascii_case(name.as_bytes());
                    assert_eq!(is_name(&other, name.as_bytes()), expected, "{other:?}");
                }
            }
            assert!(!is_name(&name.as_bytes()[1..], name.as_bytes()));
        }
    }

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
