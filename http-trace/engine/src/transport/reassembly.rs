//! The reassembly buffer of one direction: out-of-order bytes, by position.
//!
//! The first copy of a byte wins, as in Linux; bytes replace a declared skip. Must not decide whether
//! the first piece may be used: the caller does.

use std::collections::BTreeMap;

use bytes::Bytes;

/// Overhead of a buffered piece, in bytes: tree node, metadata, allocation.
pub const PIECE_OVERHEAD: usize = 192;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    Bytes(Bytes),
    /// Length of a declared skip of body, in bytes.
    Skip(u64),
}

impl Content {
    /// Length in the stream, in bytes.
    pub fn len(&self) -> u64 {
        match self {
            Content::Bytes(bytes) => bytes.len() as u64,
            Content::Skip(n) => *n,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A contiguous part of the stream; `M` says where it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece<M> {
    /// Position of its first byte.
    pub start: u64,
    /// Bytes, or a skip.
    pub content: Content,
    /// Whether a segment's payload (or, from a filter, a head) begins at its first byte.
    pub begins: bool,
    /// Where the record was seen.
    pub meta: M,
    /// How often its last byte came again.
    pub copies: u32,
}

impl<M> Piece<M> {
    /// Position after its last byte.
    pub fn end(&self) -> u64 {
        self.start + self.content.len()
    }
}

/// Result of inserting bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Inserted {
    /// New bytes.
    pub stored: u64,
    /// Bytes that were already present.
    pub copied: u64,
    /// Whether a copy differed from the bytes already present.
    pub differs: bool,
}

/// Buffered pieces, in order of position.
#[derive(Debug)]
pub struct Buffer<M> {
    pieces: BTreeMap<u64, Piece<M>>,
    size: usize,
}

impl<M> Default for Buffer<M> {
    fn default() -> Self {
        Buffer { pieces: BTreeMap::new(), size: 0 }
    }
}

impl<M: Copy> Buffer<M> {
    /// Memory in use, in bytes, overhead included.
    pub fn size(&self) -> usize {
        self.size
    }

    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    pub fn first(&self) -> Option<&Piece<M>> {
        self.pieces.first_key_value().map(|(_, piece)| piece)
    }

    /// Position after the last piece.
    pub fn end(&self) -> Option<u64> {
        self.pieces.last_key_value().map(|(_, piece)| piece.end())
    }

    /// All pieces, in order.
    pub fn pieces(&self) -> impl Iterator<Item = &Piece<M>> {
        self.pieces.values()
    }

    /// Removes the first piece and returns it from `from` on; drops pieces wholly before it. `None` if
    /// none is left.
    pub fn pop_from(&mut self, from: u64) -> Option<Piece<M>> {
        while let Some((_, mut piece)) = self.pieces.pop_first() {
            self.size -= cost(&piece.content);
            if piece.end() <= from {
                continue;
            }
            if piece.start < from {
                let past = from - piece.start;
                match &mut piece.content {
                    Content::Bytes(bytes) => drop(bytes.split_to(past as usize)),
                    Content::Skip(n) => *n -= past,
                }
                piece.start = from;
                piece.begins = false;
            }
            return Some(piece);
        }
        None
    }

    /// Inserts bytes; bytes already present are kept.
    pub fn insert_bytes(&mut self, start: u64, bytes: &[u8], begins: bool, meta: M) -> Inserted {
        let mut out = Inserted::default();
        let end = start + bytes.len() as u64;
        let part = |from: u64, to: u64| {
            bytes.get((from - start) as usize..(to - start) as usize).unwrap_or_default()
        };
        let mut at = start;
        for key in self.overlapping(start, end) {
            let Some(piece) = self.pieces.get(&key) else { continue };
            let (from, to) = (piece.start.max(start), piece.end().min(end));
            match &piece.content {
                Content::Skip(_) => {
                    self.cut_skip(key, start, end);
                    continue;
                }
                Content::Bytes(there) => {
                    let there =
                        there.get((from - piece.start) as usize..(to - piece.start) as usize);
                    out.differs |= there != Some(part(from, to));
                    out.copied += to - from;
                }
            }
            if from > at {
                out.stored += from - at;
                self.put(
                    at,
                    Content::Bytes(Bytes::copy_from_slice(part(at, from))),
                    begins && at == start,
                    meta,
                );
            }
            at = to;
        }
        if at < end {
            out.stored += end - at;
            self.put(
                at,
                Content::Bytes(Bytes::copy_from_slice(part(at, end))),
                begins && at == start,
                meta,
            );
        }
        out
    }

    /// Counts a copy of the bytes before `end`, all of which are present.
    pub fn count_copy(&mut self, end: u64) {
        if let Some((_, piece)) = self.pieces.range_mut(..end).next_back() {
            piece.copies = piece.copies.saturating_add(1);
        }
    }

    /// Declares [`start`, `end`) skipped where no bytes are present.
    pub fn insert_skip(&mut self, start: u64, end: u64, meta: M) {
        let mut at = start;
        for key in self.overlapping(start, end) {
            let Some(piece) = self.pieces.get(&key) else { continue };
            let (from, to) = (piece.start, piece.end());
            if from > at {
                self.put(at, Content::Skip(from - at), false, meta);
            }
            at = at.max(to);
        }
        if at < end {
            self.put(at, Content::Skip(end - at), false, meta);
        }
    }

    fn put(&mut self, start: u64, content: Content, begins: bool, meta: M) {
        self.size += cost(&content);
        self.pieces.insert(start, Piece { start, content, begins, meta, copies: 0 });
    }

    /// Keys of the pieces that share bytes with [`start`, `end`), in order.
    fn overlapping(&self, start: u64, end: u64) -> Vec<u64> {
        let before = self
            .pieces
            .range(..start)
            .next_back()
            .filter(|(_, piece)| piece.end() > start)
            .map(|(&key, _)| key);
        before.into_iter().chain(self.pieces.range(start..end).map(|(&key, _)| key)).collect()
    }

    /// Removes [`start`, `end`) from a declared skip.
    fn cut_skip(&mut self, key: u64, start: u64, end: u64) {
        let Some(piece) = self.pieces.remove(&key) else { return };
        self.size -= cost(&piece.content);
        if piece.start < start {
            self.put(piece.start, Content::Skip(start - piece.start), false, piece.meta);
        }
        if piece.end() > end {
            self.put(end, Content::Skip(piece.end() - end), false, piece.meta);
        }
    }
}

fn cost(content: &Content) -> usize {
    PIECE_OVERHEAD
        + match content {
            Content::Bytes(bytes) => bytes.len(),
            Content::Skip(_) => 0,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Format: `start:bytes`, with `|` before the bytes if a segment begins there; `start~n` for a skip.
    fn drain(mut buffer: Buffer<()>, from: u64) -> String {
        let mut out = Vec::new();
        while let Some(piece) = buffer.pop_from(from) {
            out.push(match &piece.content {
                Content::Bytes(bytes) => {
                    let mark = if piece.begins { "|" } else { "" };
                    format!("{}:{mark}{}", piece.start, bytes.escape_ascii())
                }
                Content::Skip(n) => format!("{}~{n}", piece.start),
            });
        }
        assert_eq!(buffer.size(), 0);
        out.join(" ")
    }

    enum In {
        Bytes(u64, &'static str),
        Skip(u64, u64),
    }
    use In::{Bytes as B, Skip as S};

    #[test]
    fn orders_pieces_and_lets_the_first_copy_win() {
        for (input, from, expected) in [
            (&[B(10, "cd"), B(0, "ab")][..], 0, "0:|ab 10:|cd"),
            (&[B(2, "CD"), B(0, "abcdef")], 0, "0:|ab 2:|CD 4:ef"),
            (&[B(0, "abcdef"), B(2, "CDEFGH")], 0, "0:|abcdef 6:GH"),
            (
                &[B(0, "ab"), B(4, "ef"), B(8, "ij"), B(1, "BCDEFGHIJK")],
                0,
                "0:|ab 2:CD 4:|ef 6:GH 8:|ij 10:K",
            ),
            (&[S(0, 100), B(40, "xy")], 0, "0~40 40:|xy 42~58"),
            (&[B(40, "xy"), S(0, 100)], 0, "0~40 40:|xy 42~58"),
            (&[S(10, 20), S(0, 30)], 0, "0~10 10~10 20~10"),
            (&[S(0, 10), B(0, "0123456789")], 0, "0:|0123456789"),
            (&[B(0, "abcd"), S(6, 9)], 2, "2:cd 6~3"),
            (&[S(0, 9)], 4, "4~5"),
            (&[B(0, "abcd")], 4, ""),
        ] {
            let mut buffer = Buffer::default();
            for step in input {
                match *step {
                    B(start, bytes) => drop(buffer.insert_bytes(start, bytes.as_bytes(), true, ())),
                    S(start, end) => buffer.insert_skip(start, end, ()),
                }
            }
            assert_eq!(drain(buffer, from), expected);
        }
    }

    #[test]
    fn tells_copies_that_differ() {
        let mut buffer = Buffer::default();
        let first = buffer.insert_bytes(5, b"hello", true, ());
        assert_eq!(first, Inserted { stored: 5, copied: 0, differs: false });
        let same = buffer.insert_bytes(6, b"ello!", true, ());
        assert_eq!(same, Inserted { stored: 1, copied: 4, differs: false });
        let other = buffer.insert_bytes(4, b"xhellO", true, ());
        assert_eq!(other, Inserted { stored: 1, copied: 5, differs: true });
    }
}
