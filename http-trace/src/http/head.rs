//! Decoded heads. Values are the wire's bytes; what a sink cannot print it escapes.

use bytes::Bytes;

use super::known::Known;

/// One field line (RFC 9112 §5): name in the case it was sent, value without surrounding blanks,
/// folded lines joined by one blank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Field name as sent.
    pub name: Bytes,
    /// Field value, any bytes.
    pub value: Bytes,
    /// The name's number; see [`Header::new`].
    known: Known,
}

impl Header {
    /// A line; the name is not to be changed afterwards.
    pub fn new(name: Bytes, value: Bytes) -> Self {
        let known = Known::of(&name);
        Header { name, value, known }
    }

    /// The number of the name.
    pub const fn known(&self) -> Known {
        self.known
    }
}

/// Field lines in the order they were sent, and where those are whose names have a number.
#[derive(Clone, Debug, Default)]
pub struct Headers {
    lines: Vec<Header>,
    /// The names of which there are lines, and of which several, a bit each.
    there: u64,
    several: u64,
    first: First,
}

/// The first line of each name that is there, void of the others; small, since heads are moved about:
/// twice as much cost more there than it saved.
#[derive(Clone, Copy, Debug)]
struct First([u8; Known::COUNT]);

impl Default for First {
    fn default() -> Self {
        First([0; Known::COUNT])
    }
}

/// The first line of a name is this one or one after it: a head may have more lines than can be said.
const FAR: u8 = u8::MAX;
const _: () = assert!(Known::COUNT <= u64::BITS as usize);

impl From<Vec<Header>> for Headers {
    fn from(lines: Vec<Header>) -> Self {
        let (mut there, mut several) = (0_u64, 0);
        let mut first = First::default();
        for (at, line) in lines.iter().enumerate() {
            let number = line.known.number();
            let bit = 1 << number;
            if there & bit == 0
                && let Some(first) = first.0.get_mut(number)
            {
                *first = u8::try_from(at).unwrap_or(FAR);
            }
            several |= there & bit;
            there |= bit;
        }
        Headers {
            lines,
            there,
            several,
            first,
        }
    }
}

impl std::ops::Deref for Headers {
    type Target = [Header];

    fn deref(&self) -> &[Header] {
        &self.lines
    }
}

impl PartialEq for Headers {
    fn eq(&self, other: &Headers) -> bool {
        self.lines == other.lines
    }
}

impl Eq for Headers {}

impl Headers {
    /// The lines; only their values may be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Header> {
        self.lines.iter_mut()
    }

    /// The values of a field, in order; names compare without case (RFC 9110 §5.1).
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Bytes> {
        self.lines
            .iter()
            .filter(move |h| h.name.eq_ignore_ascii_case(name.as_bytes()))
            .map(|h| &h.value)
    }

    /// The first value of a field.
    pub fn first<'a>(&'a self, name: &'a str) -> Option<&'a Bytes> {
        self.all(name).next()
    }

    /// The numbers of the names of which there are lines, a bit each; that of [`Known::NONE`] is for all
    /// that have none.
    pub const fn known(&self) -> u64 {
        self.there
    }

    /// Whether there is a line whose name has this number.
    pub const fn has(&self, name: Known) -> bool {
        self.there >> name.number() & 1 != 0
    }

    /// Where the first line is whose name has this number, and whether there are more.
    #[inline]
    pub fn place(&self, name: Known) -> Option<(usize, bool)> {
        if !self.has(name) {
            return None;
        }
        let number = name.number();
        let has_more = self.several >> number & 1 != 0;
        match *self.first.0.get(number)? {
            FAR => Some((self.place_from(FAR.into(), name)?, has_more)),
            at => Some((at.into(), has_more)),
        }
    }

    #[inline(never)]
    fn place_from(&self, from: usize, name: Known) -> Option<usize> {
        let mut lines = self.lines.iter().enumerate().skip(from);
        Some(lines.find(|(_, line)| line.known == name)?.0)
    }

    /// The first value of a field whose name has this number.
    pub fn first_known(&self, name: Known) -> Option<&Bytes> {
        let (at, _) = self.place(name)?;
        Some(&self.lines.get(at)?.value)
    }
}

/// A decoded request head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHead {
    /// Method as sent.
    pub method: Bytes,
    /// Request target as sent (RFC 9112 §3.2), raw blanks included.
    pub target: Bytes,
    /// The digit after `HTTP/1.`; 0 where a malformed line has none.
    pub minor_version: u8,
    /// What stands for a version, as sent, where it is none of HTTP/1.x.
    pub version: Option<Bytes>,
    /// Field lines.
    pub headers: Headers,
    /// Length of the head on the wire, blank line included, in bytes.
    pub wire_len: u64,
}

/// A decoded response head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseHead {
    /// The digit after `HTTP/1.`.
    pub minor_version: u8,
    /// Status code, 100–999.
    pub status: u16,
    /// Reason phrase, possibly empty.
    pub reason: Bytes,
    /// Field lines.
    pub headers: Headers,
    /// The declared Content-Length, when there is exactly one plain number (repeats of the same
    /// number count as one).
    pub content_length: Option<u64>,
    /// Length of the head on the wire, blank line included, in bytes.
    pub wire_len: u64,
    /// Time of its first byte, Unix ns.
    pub first_byte_ns: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_by_the_numbers_of_their_names() {
        let line = |name: &str, value: usize| {
            Header::new(name.to_owned().into(), value.to_string().into())
        };
        let many = 1000;
        let mut lines: Vec<Header> = (0..many).map(|at| line("x-other", at)).collect();
        for (at, name) in [
            (3, "HOST"),
            (900, "Host"),
            (300, "Cookie"),
            (many - 1, "Server"),
        ] {
            lines[at] = line(name, at);
        }
        let headers = Headers::from(lines);
        let place = |name: &str| headers.place(Known::of(name.as_bytes()));
        assert_eq!(place("host"), Some((3, true)));
        assert_eq!(place("cookie"), Some((300, false)));
        assert_eq!(place("server"), Some((many - 1, false)));
        assert_eq!(place("date"), None);
        assert_eq!(headers.place(Known::NONE), Some((0, true)));
        assert_eq!(headers.first_known(Known::COOKIE), headers.first("cookie"));
        assert!(headers.has(Known::HOST) && !headers.has(Known::REFERER));
        assert_eq!(Headers::default().place(Known::HOST), None);
    }
}
