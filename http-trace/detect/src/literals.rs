//! Literals that stand for detections, looked for in a text all at once. Part of
//! [`super::prefilter`].

use aho_corasick::automaton::Automaton as _;
use aho_corasick::dfa::DFA;
use aho_corasick::{Anchored, MatchKind, StartKind};

use super::prefilter::Bits;

/// Tells quickly of most texts that no literal is in them: of each literal three bytes in a row are
/// noted, those that are the rarest in URLs, and a text without any of these has none of them.
#[derive(Debug)]
struct Sieve {
    /// Hashes of such runs, a bit each.
    noted: Box<[u64]>,
    shift: u32,
}

/// Bytes of a run.
const RUN: usize = 3;

impl Sieve {
    fn new(literals: &[Vec<u8>]) -> Option<Self> {
        let bits = (literals.len() * 512).next_power_of_two();
        let bits = bits.clamp(1 << 12, 1 << 18);
        let mut sieve = Sieve {
            noted: vec![0; bits / 64].into(),
            shift: u32::BITS - bits.trailing_zeros(),
        };
        for literal in literals {
            let rarest = literal.windows(RUN).min_by_key(|run| {
                let common: usize = run.iter().map(|byte| commonness(*byte)).sum();
                (common, *run)
            })?;
            let [a, b, c] = *rarest.first_chunk()?;
            let (word, bit) = sieve.place(run_of([a, b, c, 0]));
            sieve.noted[word] |= 1 << bit;
        }
        Some(sieve)
    }

    const fn place(&self, run: u32) -> (usize, u32) {
        let hash = run.wrapping_mul(0x9e37_79b1) >> self.shift;
        (hash as usize / 64, hash % 64)
    }

    fn has(&self, run: u32) -> bool {
        let (word, bit) = self.place(run);
        self.noted
            .get(word)
            .is_some_and(|word| word >> bit & 1 != 0)
    }

    /// Whether a text of which this is a part has one of the runs in it.
    fn may_hold(&self, text: &[u8]) -> bool {
        let Some([a, b, c]) = text.last_chunk::<RUN>() else {
            return false;
        };
        // Four bytes are read at once, and one of them dropped: a run byte by byte takes a tenth more.
        let mut fours = text.windows(4);
        self.has(run_of([*a, *b, *c, 0]))
            || fours.any(|four| {
                four.first_chunk()
                    .is_some_and(|four| self.has(run_of(*four)))
            })
    }
}

/// The run that the first three of four bytes are; letters in either case are the same, some other
/// bytes too.
const fn run_of(four: [u8; 4]) -> u32 {
    (u32::from_le_bytes(four) | 0x20_2020) << 8
}

/// How common a byte is in URLs, roughly.
const fn commonness(byte: u8) -> usize {
    match byte {
        b'e' | b'a' | b't' | b's' | b'i' | b'o' | b'n' | b'r' | b'c' | b'p' | b'm' | b'/' => 5,
        b'j' | b'k' | b'q' | b'v' | b'w' | b'x' | b'y' | b'z' => 3,
        b'a'..=b'z' | b'.' | b'-' | b'=' => 4,
        b'0'..=b'9' | b'_' | b'&' | b'?' | b'%' | b'+' => 2,
        _ => 0,
    }
}

/// Literals that are looked for in a text.
#[derive(Debug)]
pub struct Literals {
    automaton: Box<DFA>,
    /// Absent when a literal is too short for it.
    sieve: Option<Sieve>,
    /// For each literal the detections it stands for.
    of: Vec<Box<[u32]>>,
    /// Detections that have a literal here.
    pub mask: Bits,
}

impl Literals {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.of.is_empty()
    }

    /// Over literals and the detection that each stands for; `words` is the length of the sets.
    ///
    /// # Errors
    /// With all the detections when there are too many literals for an automaton.
    pub fn new(mut entries: Vec<(Vec<u8>, u32)>, words: usize) -> Result<Self, Bits> {
        entries.sort();
        entries.dedup();
        let mut patterns: Vec<Vec<u8>> = Vec::new();
        let mut of: Vec<Vec<u32>> = Vec::new();
        let mut mask = vec![0_u64; words].into_boxed_slice();
        for (literal, number) in entries {
            if patterns.last() != Some(&literal) {
                patterns.push(literal);
                of.push(Vec::new());
            }
            if let Some(last) = of.last_mut() {
                last.push(number);
            }
            mask[number as usize / 64] |= 1 << (number % 64);
        }
        let automaton = DFA::builder()
            .ascii_case_insensitive(true)
            .match_kind(MatchKind::Standard)
            .start_kind(StartKind::Unanchored)
            .build(&patterns);
        match automaton {
            Ok(automaton) => Ok(Literals {
                automaton: Box::new(automaton),
                sieve: Sieve::new(&patterns),
                of: of.into_iter().map(Vec::into_boxed_slice).collect(),
                mask,
            }),
            Err(_) => Err(mask),
        }
    }

    /// Whether a literal may be in a text of which this is a part; when it is not, of a text of
    /// several parts, none of its parts may hold one, each with two bytes of its neighbour.
    pub fn may_hold(&self, part: &[u8]) -> bool {
        let sieve = self.sieve.as_ref();
        sieve.is_none_or(|sieve| sieve.may_hold(part))
    }

    /// Adds the detections of the literals that are in a text.
    pub fn search(&self, bytes: &[u8], found: &mut [u64]) {
        if self.may_hold(bytes) {
            self.find(bytes, found);
        }
    }

    /// [`Literals::search`] for a text that may hold one.
    pub fn find(&self, bytes: &[u8], found: &mut [u64]) {
        let dfa = &*self.automaton;
        let Ok(mut state) = dfa.start_state(Anchored::No) else {
            return;
        };
        for byte in bytes {
            state = dfa.next_state(Anchored::No, state, *byte);
            if !dfa.is_special(state) || !dfa.is_match(state) {
                continue;
            }
            for at in 0..dfa.match_len(state) {
                let pattern = dfa.match_pattern(state, at).as_usize();
                for number in self.of.get(pattern).into_iter().flatten() {
                    found[*number as usize / 64] |= 1 << (number % 64);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_literal_is_found_wherever_it_is() {
        let literals = [
            "../",
            "%2E%2e\\",
            "Select",
            "or+",
            "\tAND ",
            "\u{fc}ber",
            "aaa",
            "x9[",
            "@b`",
        ];
        let entries: Vec<(Vec<u8>, u32)> = (0..)
            .zip(literals)
            .map(|(number, literal)| (literal.to_ascii_lowercase().into_bytes(), number))
            .collect();
        let long = Literals::new(entries.clone(), 1).expect("few");
        assert!(long.sieve.is_some());
        let short = Literals::new([entries, vec![(b"q".to_vec(), 20)]].concat(), 1).expect("few");
        assert!(short.sieve.is_none());
        for (number, literal) in literals.into_iter().enumerate() {
            for text in [
                literal.to_owned(),
                literal.to_ascii_uppercase(),
                format!("/w/{literal}"),
                format!("{literal}?w=1"),
                format!("{}{literal}{}", "/wwww/".repeat(40), "w".repeat(300)),
            ] {
                for literals in [&long, &short] {
                    let mut found = [0];
                    literals.search(text.as_bytes(), &mut found);
                    assert_eq!(found, [1 << number], "{text}");
                }
            }
            let but_one = &literal.as_bytes()[1..];
            for text in [but_one, b"", b"w", b"ww", b"/products/winter?page=2"] {
                let mut found = [0];
                long.search(text, &mut found);
                assert_eq!(found, [0], "{text:?}");
            }
        }
    }
}
