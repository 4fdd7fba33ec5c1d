//! Field lines of a head, looked through once for all detections: which of the names that matter
//! are there, and which literals are in their values. Values that come again and again, such as
//! user agents, are searched once. Part of [`super::prefilter`]; leaves nothing out.

use std::hash::BuildHasher as _;

use super::prefilter::{Bits, Literals, merge};
use crate::http::head::Headers;

/// Values that are kept in mind for each name, and the longest of them.
const KEPT: usize = 64;
const LONGEST: usize = 192;
/// Shorter ones are searched faster than they are recognised.
const SHORTEST: usize = 16;

const BUCKETS: usize = 64;

/// The names that matter in one direction.
#[derive(Debug)]
pub struct Lines {
    names: Vec<Name>,
    /// Names by length and first letter.
    buckets: Vec<Vec<usize>>,
    /// The lengths of names, a bit each; longer than 63 is 63.
    lengths: u64,
    /// Detections that a line here may stand for.
    pub mask: Bits,
}

#[derive(Debug)]
struct Name {
    name: Box<str>,
    /// Detections for which its being there is enough.
    present: Bits,
    literals: Option<(Literals, Kept)>,
}

/// Values seen last, with what was found in them. Compared whole, so that nobody can choose one
/// that is taken for another.
#[derive(Debug)]
struct Kept {
    hashes: foldhash::fast::RandomState,
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    len: usize,
    value: [u8; LONGEST],
    found: Bits,
}

fn bucket(name: &[u8]) -> usize {
    let first = name.first().map_or(0, u8::to_ascii_lowercase);
    (usize::from(first) ^ name.len() << 1) % BUCKETS
}

/// Whether a field's name is `lower`, which is in lower case; names compare without case (RFC 9110
/// §5.1). Eight bytes at a time: this is asked of every line of every head.
pub fn is_name(name: &[u8], lower: &[u8]) -> bool {
    if name.len() != lower.len() {
        return false;
    }
    let word = |bytes: &[u8]| match bytes.first_chunk() {
        Some(bytes) => u64::from_le_bytes(*bytes),
        None => 0,
    };
    match name.len().checked_sub(8) {
        None => name.eq_ignore_ascii_case(lower),
        Some(last) => {
            let same = |at: usize| to_lower(word(&name[at..])) == word(&lower[at..]);
            // The last eight may overlap those before.
            same(last) && (0..last).step_by(8).all(same)
        }
    }
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

impl Lines {
    /// Over `(name, detections that its presence stands for, literals in its values)`; `words` is
    /// the length of the sets.
    pub fn new(names: Vec<(Box<str>, Bits, Option<Literals>)>, words: usize) -> Self {
        let zero = || vec![0_u64; words].into_boxed_slice();
        let mut lines = Lines {
            names: Vec::new(),
            buckets: vec![Vec::new(); BUCKETS],
            lengths: 0,
            mask: zero(),
        };
        for (name, present, literals) in names {
            merge(&mut lines.mask, &present);
            if let Some(literals) = &literals {
                merge(&mut lines.mask, &literals.mask);
            }
            lines.buckets[bucket(name.as_bytes())].push(lines.names.len());
            lines.lengths |= 1 << name.len().min(63);
            lines.names.push(Name {
                name,
                present,
                literals: literals.map(|literals| (literals, Kept::new(words))),
            });
        }
        lines
    }

    /// Adds the detections that the lines of a head stand for.
    pub fn search(&mut self, headers: &Headers, found: &mut Bits) {
        for line in &headers.0 {
            if self.lengths >> line.name.len().min(63) & 1 == 0 {
                continue;
            }
            for at in &self.buckets[bucket(&line.name)] {
                let Some(name) = self.names.get_mut(*at) else {
                    continue;
                };
                if !is_name(&line.name, name.name.as_bytes()) {
                    continue;
                }
                merge(found, &name.present);
                if let Some((literals, kept)) = &mut name.literals {
                    kept.search(literals, &line.value, found);
                }
            }
        }
    }
}

impl Kept {
    fn new(words: usize) -> Self {
        let entry = || Entry {
            len: usize::MAX,
            value: [0; LONGEST],
            found: vec![0; words].into_boxed_slice(),
        };
        Kept {
            hashes: foldhash::fast::RandomState::default(),
            entries: (0..KEPT).map(|_| entry()).collect(),
        }
    }

    fn search(&mut self, literals: &Literals, value: &[u8], found: &mut Bits) {
        if !(SHORTEST..=LONGEST).contains(&value.len()) {
            literals.search(value, found);
            return;
        }
        let at = self.hashes.hash_one(value) as usize % KEPT;
        let Some(entry) = self.entries.get_mut(at) else {
            return;
        };
        if entry.len != value.len() || entry.value[..value.len()] != *value {
            entry.len = value.len();
            entry.value[..value.len()].copy_from_slice(value);
            entry.found.fill(0);
            literals.search(value, &mut entry.found);
        }
        merge(found, &entry.found);
    }
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
    fn values_that_come_again_are_found_as_the_first_time() {
        let bits = |n: u64| vec![n].into_boxed_slice();
        let literals =
            Literals::new(vec![(b"sqlmap".to_vec(), 3), (b"nikto".to_vec(), 4)], 1).expect("small");
        let mut lines = Lines::new(
            vec![
                ("user-agent".into(), bits(1), Some(literals)),
                ("x-real-ip".into(), bits(2), None),
            ],
            1,
        );
        assert_eq!(*lines.mask, [0b1_1011]);
        let long = format!("{}sqlmap", "x".repeat(300));
        for _ in 0..3 {
            for (name, value, expected) in [
                ("User-Agent", "Mozilla/5.0 (compatible; SQLmap/1.9)", 0b1001),
                (
                    "user-agent",
                    "Mozilla/5.0 (compatible; Nikto/2.5.)",
                    0b1_0001,
                ),
                ("USER-AGENT", "Mozilla/5.0 (compatible; none/0.0.0)", 1),
                ("User-Agent", "nikto", 0b1_0001),
                ("User-Agent", &long, 0b1001),
                ("X-Real-IP", "sqlmap", 2),
                ("User-Agents", "sqlmap", 0),
            ] {
                let mut found = bits(0);
                let headers = testing::headers(&[(name.as_bytes(), value.as_bytes())]);
                lines.search(&headers, &mut found);
                assert_eq!(*found, [expected], "{name}: {value}");
            }
        }
    }
}
