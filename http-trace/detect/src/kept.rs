//! Values that come again and again, such as user agents and media types, and a number that was found
//! for each. Bounded; compared whole, so that nobody can choose a value that is taken for another.

use http_trace_model::known::start;

/// The most values of one kind that are kept in mind, and the longest of them.
const MOST: usize = 64;
const LEAST: usize = 8;
const LONGEST: usize = 192;

/// Places that a value may have: with one, two that come in turns would drive each other out.
const WAYS: usize = 4;

/// As many values of all kinds.
const ALL: usize = 2048;

/// Says which of several that are kept makes room for another, in the same order in each run. Never the same
/// one, or two that come in turns might drive each other out for ever; not the one that came first, or of five
/// that come in a circle none would be found again in four places.
#[derive(Debug, Default)]
pub struct Lots(u32);

impl Lots {
    /// The next one of so many.
    pub const fn draw(&mut self, of: usize) -> usize {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.0 >> 16) as usize % of
    }
}

/// Values of one kind. Takes no room before the first of them is there.
#[derive(Debug)]
pub struct Kept {
    /// A power of two.
    places: usize,
    values: Vec<Value>,
    lots: Lots,
}

#[derive(Clone, Debug)]
struct Value {
    len: usize,
    number: u16,
    bytes: [u8; LONGEST],
}

impl Kept {
    /// As one of so many kinds.
    pub fn new(kinds: usize) -> Self {
        let share = ALL / kinds.max(1);
        Kept {
            places: share.clamp(LEAST, MOST).next_power_of_two(),
            values: Vec::new(),
            lots: Lots::default(),
        }
    }

    /// The number of a value, if it is kept.
    #[inline]
    pub fn number(&self, value: &[u8]) -> Option<u16> {
        let first = mixed(value) & (self.places - WAYS);
        let same =
            |kept: &&Value| kept.len == value.len() && kept.bytes.get(..value.len()) == Some(value);
        let kept = self.values.get(first..first + WAYS)?.iter().find(same)?;
        Some(kept.number)
    }

    /// Keeps a value that is not kept, and its number; not what is too long.
    pub fn put(&mut self, value: &[u8], number: u16) {
        if value.len() > LONGEST {
            return;
        }
        if self.values.is_empty() {
            let none = Value {
                len: usize::MAX,
                number: 0,
                bytes: [0; LONGEST],
            };
            self.values.resize(self.places, none);
        }
        let first = mixed(value) & (self.places - WAYS);
        let Some(ways) = self.values.get_mut(first..first + WAYS) else {
            return;
        };
        let empty = ways.iter().position(|kept| kept.len == usize::MAX);
        let kept = &mut ways[empty.unwrap_or_else(|| self.lots.draw(WAYS))];
        if let Some(bytes) = kept.bytes.get_mut(..value.len()) {
            bytes.copy_from_slice(value);
            (kept.len, kept.number) = (value.len(), number);
        }
    }

    /// Forgets all numbers.
    pub fn forget(&mut self) {
        self.values
            .iter_mut()
            .for_each(|kept| kept.len = usize::MAX);
    }
}

/// Tells most values apart that differ: by their length and 24 bytes of them. No hash: who makes
/// values collide only has them looked through again.
#[inline]
pub fn mixed(value: &[u8]) -> usize {
    const PRIME: u64 = 0x9e37_79b9_7f4a_7c15;
    let (first, middle, last) = match (value.first_chunk::<8>(), value.last_chunk::<8>()) {
        (Some(first), Some(last)) => {
            let middle = value[value.len() / 2..].first_chunk::<8>().unwrap_or(last);
            (
                u64::from_le_bytes(*first),
                u64::from_le_bytes(*middle),
                u64::from_le_bytes(*last),
            )
        }
        _ => (start(value), 0, 0),
    };
    let all = first ^ middle.rotate_left(21) ^ last.rotate_left(42) ^ (value.len() as u64) << 32;
    (all.wrapping_mul(PRIME) >> 40) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_of_the_value_that_it_was_found_for() {
        let mut kept = Kept::new(1);
        let mut again = 0;
        for turn in 0..3_u64 {
            for n in 0..200_u16 {
                let value = format!("value {n}{}", "x".repeat(usize::from(n) % 3 * 60));
                let number = kept.number(value.as_bytes());
                assert!(number.is_none_or(|number| number == n), "{turn} {n}");
                again += usize::from(number.is_some());
                if number.is_none() {
                    kept.put(value.as_bytes(), n);
                }
                assert_eq!(kept.number(value.as_bytes()), Some(n));
            }
        }
        assert!(again < 3 * MOST, "{again}");
        kept.put(&[b'x'; LONGEST + 1], 7);
        assert_eq!(kept.number(&[b'x'; LONGEST + 1]), None);
        assert_eq!(kept.number(b""), None);
        kept.forget();
        assert!((kept.values.iter()).all(|kept| kept.len == usize::MAX));
    }

    /// Whatever was there before.
    #[test]
    fn two_values_that_come_in_turns_are_both_kept() {
        let mut kept = Kept::new(1);
        let mut all = 0;
        for n in 0..5000_u16 {
            let two = [format!("first {n}"), format!("second {n}")];
            let mut put = 0;
            for value in two.iter().cycle().take(100).map(String::as_bytes) {
                match kept.number(value) {
                    Some(number) => assert_eq!(number, n),
                    None => {
                        kept.put(value, n);
                        put += 1;
                    }
                }
            }
            assert!(put < 20, "{n}: {put}");
            all += put;
        }
        assert!(all < 3 * 5000, "{all}");
    }

    #[test]
    fn many_kinds_have_few_places_each() {
        for (kinds, places) in [(0, 64), (1, 64), (32, 64), (100, 32), (1000, 8)] {
            assert_eq!(Kept::new(kinds).places, places, "{kinds}");
        }
    }
}
