//! Decoded heads. Values are bytes from the wire; sinks escape what they cannot print.

use bytes::Bytes;

use super::known::Known;

/// One field line (RFC 9112 §5): name in the case it was sent, value without surrounding whitespace,
/// folded lines joined by one space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// Field name as sent.
    pub name: &'a [u8],
    /// Field value, any bytes.
    pub value: &'a [u8],
    /// Number of the name.
    pub known: Known,
}

/// Field lines in the order sent, with an index by numbered name. Lines refer to the head's buffer by offset
/// and length: reference-counted slices cost more than all other work on most lines.
#[derive(Clone, Default)]
pub struct Headers {
    /// The head's buffer.
    bytes: Bytes,
    /// Bytes that are not in that buffer.
    #[expect(
        clippy::box_collection,
        reason = "nearly always none, and heads are moved about: a word instead of three"
    )]
    own: Option<Box<Vec<u8>>>,
    lines: Vec<Line>,
    /// Bit sets, by number, of names that have at least one line, and of names that have several.
    there: u64,
    several: u64,
    first: First,
}

#[derive(Clone, Copy, Debug)]
struct Line {
    name: Part,
    value: Part,
    known: Known,
}

/// Range of bytes in the head; offsets beyond its end refer to `own` of [`Headers`].
#[derive(Clone, Copy, Debug, Default)]
struct Part {
    at: u32,
    len: u32,
}

impl Part {
    /// The range of `part` within `whole`, if it lies there.
    #[inline]
    fn of(part: &[u8], whole: &[u8]) -> Option<Part> {
        let at = part.as_ptr().addr().wrapping_sub(whole.as_ptr().addr());
        let is_in = at < whole.len() && part.len() <= whole.len() - at;
        // No head exceeds 4 GiB: `Headers::of` drops such a buffer.
        is_in.then_some(Part { at: at as u32, len: part.len() as u32 })
    }
}

/// Index of the first line of each name; undefined for names without a line. Kept small because heads are
/// moved often: twice the size cost more than it saved.
#[derive(Clone, Copy, Debug)]
struct First([u8; Known::COUNT]);

impl Default for First {
    fn default() -> Self {
        First([0; Known::COUNT])
    }
}

/// The first line of the name has this index or a higher one, which does not fit into a byte.
const FAR: u8 = u8::MAX;
const _: () = assert!(Known::COUNT <= u64::BITS as usize);

/// Approximate memory of a line, in bytes, in addition to its content.
pub const LINE_COST: usize = size_of::<Line>();

impl<N: AsRef<[u8]>, V: AsRef<[u8]>> FromIterator<(N, V)> for Headers {
    /// Copies names and values.
    fn from_iter<I: IntoIterator<Item = (N, V)>>(lines: I) -> Self {
        let mut headers = Headers::default();
        for (name, value) in lines {
            headers.push(name.as_ref(), value.as_ref());
        }
        headers
    }
}

impl std::fmt::Debug for Headers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl PartialEq for Headers {
    fn eq(&self, other: &Headers) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Headers {}

impl Headers {
    /// Empty, with a copy of the head that the lines are in, and capacity for `room` lines.
    pub fn of(head: &[u8], room: usize) -> Self {
        Headers {
            bytes: match u32::try_from(head.len()) {
                Ok(_) => Bytes::copy_from_slice(head),
                Err(_) => Bytes::new(),
            },
            lines: Vec::with_capacity(room),
            ..Headers::default()
        }
    }

    /// Adds a line, which is copied.
    pub fn push(&mut self, name: &[u8], value: &[u8]) {
        self.push_part(&[], name, value);
    }

    /// Adds a line and returns the number of its name. Parts of `head`, of which [`Headers::of`] made a copy, are
    /// not copied again.
    pub fn push_part(&mut self, head: &[u8], name: &[u8], value: &[u8]) -> Known {
        let known = Known::of(name);
        let number = known.number();
        let bit = 1 << number;
        if self.there & bit == 0
            && let Some(first) = self.first.0.get_mut(number)
        {
            *first = u8::try_from(self.lines.len()).unwrap_or(FAR);
        }
        self.several |= self.there & bit;
        self.there |= bit;
        let (name, value) = (self.part(head, name), self.part(head, value));
        self.lines.push(Line { name, value, known });
        known
    }

    /// Replaces the value of the line added last.
    pub fn set_last(&mut self, value: &[u8]) {
        let value = self.part(&[], value);
        if let Some(last) = self.lines.last_mut() {
            last.value = value;
        }
    }

    /// All bytes that values may refer to: the head's buffer, and bytes that are not in it.
    pub fn texts(&self) -> [&[u8]; 2] {
        let own = self.own.as_ref();
        [&self.bytes, own.map_or(&[], |own| own)]
    }

    /// Replaces each value for which `other` returns one.
    pub fn change(&mut self, mut other: impl FnMut(Header<'_>) -> Option<Vec<u8>>) {
        for at in 0..self.lines.len() {
            if let Some(value) = self.get(at).and_then(&mut other) {
                self.lines[at].value = self.part(&[], &value);
            }
        }
    }

    #[inline]
    fn part(&mut self, head: &[u8], bytes: &[u8]) -> Part {
        match Part::of(bytes, head) {
            Some(part) if head.len() == self.bytes.len() => part,
            _ if bytes.is_empty() => Part::default(),
            _ => self.own(bytes),
        }
    }

    /// Stores bytes that are not in the head's buffer. Beyond 4 GiB they are dropped: no head is that long.
    #[inline(never)]
    fn own(&mut self, bytes: &[u8]) -> Part {
        let own = self.own.get_or_insert_default();
        let at = self.bytes.len() + own.len();
        let (Ok(at), Ok(len), Ok(_)) =
            (u32::try_from(at), u32::try_from(bytes.len()), u32::try_from(at + bytes.len()))
        else {
            return Part::default();
        };
        own.extend_from_slice(bytes);
        Part { at, len }
    }

    #[inline]
    fn cut(&self, part: Part) -> &[u8] {
        let at = part.at as usize;
        match self.bytes.get(at..at + part.len as usize) {
            Some(cut) => cut,
            None => self.cut_own(part),
        }
    }

    #[inline(never)]
    fn cut_own(&self, part: Part) -> &[u8] {
        let at = (part.at as usize).checked_sub(self.bytes.len());
        let cut = at.and_then(|at| self.own.as_ref()?.get(at..at + part.len as usize));
        cut.unwrap_or_default()
    }

    #[inline]
    fn shown(&self, line: &Line) -> Header<'_> {
        Header { name: self.cut(line.name), value: self.cut(line.value), known: line.known }
    }

    /// Number of lines.
    pub const fn len(&self) -> usize {
        self.lines.len()
    }

    pub const fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// A line, by index.
    #[inline]
    pub fn get(&self, at: usize) -> Option<Header<'_>> {
        Some(self.shown(self.lines.get(at)?))
    }

    /// The value of a line, by index.
    #[inline]
    pub fn value(&self, at: usize) -> Option<&[u8]> {
        Some(self.cut(self.lines.get(at)?.value))
    }

    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Header<'_>> + ExactSizeIterator {
        self.lines.iter().map(|line| self.shown(line))
    }

    /// The values of a field, in order; names are case-insensitive (RFC 9110 §5.1).
    pub fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.all_named(Known::of(name.as_bytes()), name)
    }

    /// The values of a field with a numbered name, in order.
    pub fn all_known(&self, name: Known) -> impl Iterator<Item = &[u8]> {
        self.all_named(name, "")
    }

    fn all_named<'a>(&'a self, known: Known, name: &str) -> impl Iterator<Item = &'a [u8]> {
        let lines = if self.has(known) { &self.lines[..] } else { &[] };
        let is_it = move |line: &&Line| {
            line.known == known
                && (known != Known::NONE
                    || self.cut(line.name).eq_ignore_ascii_case(name.as_bytes()))
        };
        let lines = lines.iter().filter(is_it);
        lines.map(|line| self.cut(line.value))
    }

    /// The first value of a field.
    pub fn first<'a>(&'a self, name: &str) -> Option<&'a [u8]> {
        self.all(name).next()
    }

    /// The values of a field as one, which a comma separates (RFC 9110 §5.3); `None` without a line.
    pub fn joined(&self, name: &str) -> Option<Vec<u8>> {
        let values: Vec<_> = self.all(name).collect();
        (!values.is_empty()).then(|| values.join(&b','))
    }

    /// Bit set of the numbers of names that have lines; the bit of [`Known::NONE`] stands for
    /// all names without a number.
    pub const fn known(&self) -> u64 {
        self.there
    }

    /// Whether there is a line whose name has this number.
    pub const fn has(&self, name: Known) -> bool {
        self.there >> name.number() & 1 != 0
    }

    /// Index of the first line whose name has this number, and whether there are more.
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

    /// The first value of a field with a numbered name.
    pub fn first_known(&self, name: Known) -> Option<&[u8]> {
        let (at, _) = self.place(name)?;
        self.value(at)
    }

    /// The later lines of the same name as line `at`, each with its index.
    pub fn later_lines(&self, at: usize) -> impl Iterator<Item = (usize, &[u8])> {
        let line = self.lines.get(at);
        let (known, name) = line.map(|line| (line.known, line.name)).unwrap_or_default();
        let may = known == Known::NONE || self.several >> known.number() & 1 != 0;
        let after = self.lines.get(at + 1..).filter(|_| may).unwrap_or_default();
        let is_it = move |(_, line): &(usize, &Line)| {
            line.known == known && (known != Known::NONE || self.is_same_name(line.name, name))
        };
        let after = (at + 1..).zip(after).filter(is_it);
        after.map(|(at, line)| (at, self.cut(line.value)))
    }

    fn is_same_name(&self, one: Part, other: Part) -> bool {
        one.len == other.len && self.cut(one).eq_ignore_ascii_case(self.cut(other))
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHead {
    pub method: Bytes,
    /// Request target as sent (RFC 9112 §3.2), including raw spaces.
    pub target: Bytes,
    /// The digit after `HTTP/1.`; 0 if a malformed line has none.
    pub minor_version: u8,
    /// What was sent in place of a version, if it is not HTTP/1.x.
    pub version: Option<Bytes>,
    /// Field lines.
    pub headers: Headers,
    /// Length of the head on the wire in bytes, including the blank line.
    pub wire_len: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseHead {
    /// The digit after `HTTP/1.`; 1 for another version.
    pub minor_version: u8,
    /// What was sent in place of a version, if it is not HTTP/1.x.
    pub version: Option<Bytes>,
    /// Status code, 100–999.
    pub status: u16,
    /// Reason phrase, possibly empty.
    pub reason: Bytes,
    /// Field lines.
    pub headers: Headers,
    /// The declared Content-Length, if valid: one plain number, possibly repeated.
    pub content_length: Option<u64>,
    /// Length of the head on the wire in bytes, including the blank line.
    pub wire_len: u64,
    /// Time of its first byte, Unix ns.
    pub first_byte_ns: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_by_the_numbers_of_their_names() {
        let many = 1000;
        let mut lines: Vec<_> = (0..many).map(|at| ("x-other", at.to_string())).collect();
        for (at, name) in [(3, "HOST"), (900, "Host"), (300, "Cookie"), (many - 1, "Server")] {
            lines[at].0 = name;
        }
        let headers: Headers = lines.into_iter().collect();
        let place = |name: &str| headers.place(Known::of(name.as_bytes()));
        assert_eq!(place("host"), Some((3, true)));
        assert_eq!(place("cookie"), Some((300, false)));
        assert_eq!(place("server"), Some((many - 1, false)));
        assert_eq!(place("date"), None);
        assert_eq!(headers.place(Known::NONE), Some((0, true)));
        assert_eq!(headers.first_known(Known::COOKIE), headers.first("cookie"));
        assert!(headers.has(Known::HOST) && !headers.has(Known::REFERER));
        assert_eq!(Headers::default().place(Known::HOST), None);
        let hosts: Vec<_> = headers.all("hOST").collect();
        assert_eq!(hosts, [b"3", &b"900"[..]]);
        assert_eq!(headers.later_lines(3).collect::<Vec<_>>(), [(900, hosts[1])]);
        assert_eq!(headers.later_lines(300).count(), 0);
        assert_eq!(headers.all("X-Other").count(), many - 4);
        assert_eq!(headers.later_lines(0).count(), many - 5);
        assert_eq!(headers.all("x-othes").count() + headers.all("date").count(), 0);
        assert_eq!(headers.later_lines(many).count(), 0);
    }

    #[test]
    fn parts_of_a_head_are_not_copied_and_others_are() {
        let head = b"A: one\r\nCookie: two\r\nB:\r\n\r\n";
        let mut headers = Headers::of(head, 3);
        headers.push_part(head, &head[..1], &head[3..6]);
        headers.push_part(head, &head[8..14], &head[16..19]);
        headers.push_part(head, &head[21..22], &head[head.len()..]);
        headers.push_part(head, b"Other", b"else");
        headers.push_part(head, &head[..1], b"");
        headers.set_last(b"joined");
        let shown = |headers: &Headers| {
            let lines = headers.iter().map(|line| {
                let (name, value) = (line.name.escape_ascii(), line.value.escape_ascii());
                format!("{name}={value}")
            });
            lines.collect::<Vec<_>>().join(" ")
        };
        let all = "A=one Cookie=two B= Other=else A=joined";
        assert_eq!(shown(&headers), all);
        let (first, second) = (headers.iter().next(), headers.iter().nth(3));
        let is_in = |line: Option<Header<'_>>| {
            line.is_some_and(|line| headers.texts()[0].as_ptr_range().contains(&line.name.as_ptr()))
        };
        assert!(is_in(first) && !is_in(second));
        let same: Headers = headers.iter().map(|line| (line.name, line.value)).collect();
        assert_eq!((&same, shown(&same)), (&headers, all.to_owned()));
        headers.change(|line| (line.known == Known::COOKIE).then(|| b"secret".to_vec()));
        assert_ne!(same, headers);
        assert_eq!(shown(&headers), "A=one Cookie=secret B= Other=else A=joined");
        assert_eq!(headers.all("a").collect::<Vec<_>>(), [b"one", &b"joined"[..]]);
    }
}
