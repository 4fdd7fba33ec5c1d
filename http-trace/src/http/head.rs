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
    index: Index,
}

/// Where lines are by the numbers of their names.
#[derive(Clone, Copy, Debug)]
struct Index {
    /// The names of which there are lines, and of which several, a bit each.
    there: u64,
    several: u64,
    /// The first line of each of those; void without the bit. [`FAR`] is that one or one after it, should
    /// a head have more lines than this can say.
    first: [u16; Known::COUNT],
}

const FAR: u16 = u16::MAX;
const _: () = assert!(Known::COUNT <= u64::BITS as usize);

impl Default for Index {
    fn default() -> Self {
        Index {
            there: 0,
            several: 0,
            first: [0; Known::COUNT],
        }
    }
}

impl From<Vec<Header>> for Headers {
    fn from(lines: Vec<Header>) -> Self {
        let mut index = Index::default();
        for (at, line) in lines.iter().enumerate() {
            let number = line.known.number();
            let bit = 1 << number;
            if index.there & bit != 0 {
                index.several |= bit;
            } else if let Some(first) = index.first.get_mut(number) {
                index.there |= bit;
                *first = u16::try_from(at).unwrap_or(FAR);
            }
        }
        Headers { lines, index }
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
        self.index.there
    }

    /// Whether there is a line whose name has this number.
    pub const fn has(&self, name: Known) -> bool {
        self.index.there >> name.number() & 1 != 0
    }

    /// Where the first line is whose name has this number, and whether there are more.
    #[inline]
    pub fn place(&self, name: Known) -> Option<(usize, bool)> {
        let (number, index) = (name.number(), &self.index);
        if !self.has(name) {
            return None;
        }
        let has_more = index.several >> number & 1 != 0;
        match *index.first.get(number)? {
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
        let many = usize::from(FAR) + 7;
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
