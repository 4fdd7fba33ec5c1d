//! What was found out about texts that recur: that values have no secrets, and what the names of fields say.
//! Servers and clients repeat most of both, and comparing one costs a tenth of searching it. Holds no value that was
//! redacted.

use std::ops::RangeInclusive;

/// Number of texts. Each has two slots to choose from; where both are in use, one text makes room.
const SLOTS: usize = 256;
/// Shorter values are searched faster than they are looked up; longer ones would take memory.
pub(super) const VALUES: RangeInclusive<usize> = 12..=1024;
/// Lengths of names.
pub(super) const NAMES: RangeInclusive<usize> = 1..=128;

/// The most recent texts of these lengths, and what was found out about each.
#[derive(Clone, Debug)]
pub(super) struct Recent<T> {
    lengths: RangeInclusive<usize>,
    slots: Vec<Option<(Vec<u8>, T)>>,
}

impl<T: Copy> Recent<T> {
    pub(super) const fn new(lengths: RangeInclusive<usize>) -> Self {
        Recent { lengths, slots: Vec::new() }
    }

    /// What is known about a text.
    pub(super) fn get(&self, text: &[u8]) -> Option<T> {
        if !self.lengths.contains(&text.len()) {
            return None;
        }
        let first = slot(text);
        let both = [first, first ^ 1].into_iter();
        both.filter_map(|at| self.slots.get(at)?.as_ref())
            .find_map(|(known, what)| (known == text).then_some(*what))
    }

    pub(super) fn add(&mut self, text: &[u8], what: T) {
        if !self.lengths.contains(&text.len()) {
            return;
        }
        self.slots.resize_with(SLOTS, || None);
        let first = slot(text);
        let second_is_free = self.slots[first].is_some() && self.slots[first ^ 1].is_none();
        match &mut self.slots[first ^ usize::from(second_is_free)] {
            Some((known, of_known)) => {
                known.clear();
                known.extend_from_slice(text);
                *of_known = what;
            }
            empty => *empty = Some((text.to_vec(), what)),
        }
    }
}

/// Slot of a text: from its length and both ends, where most differ.
fn slot(text: &[u8]) -> usize {
    let word = |bytes: Option<&[u8; 8]>| bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes));
    let ends = match text.len() {
        8.. => word(text.first_chunk()) ^ word(text.last_chunk()).rotate_left(31),
        _ => text.iter().fold(0, |all, byte| all << 8 | u64::from(*byte)),
    };
    // Each bit affects the highest ones.
    let mixed = (ends ^ text.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 56) as usize % SLOTS
}

#[cfg(test)]
mod tests {
    use super::super::Secrets;
    use super::*;
    use http_trace_samples as testing;

    #[test]
    fn knows_exactly_the_values_that_were_added_last() {
        let mut clean = Recent::new(VALUES);
        let values: Vec<Vec<u8>> = (0..2000_usize)
            .map(|n| format!("max-age={n}; {}", "x".repeat(n)).into_bytes())
            .collect();
        for value in &values {
            assert!(clean.get(value).is_none());
            clean.add(value, ());
            assert_eq!(clean.get(value).is_some(), VALUES.contains(&value.len()));
            let mut other = value.clone();
            for at in 0..value.len() {
                other[at] ^= 1;
                assert!(clean.get(&other).is_none());
                other[at] ^= 1;
            }
        }
        let known = values.iter().filter(|value| clean.get(value).is_some());
        assert!((SLOTS / 2..=SLOTS).contains(&known.count()));
        // As in one response.
        let dates = [27, 28].map(|second| format!("Tue, 24 Nov 2026 23:47:{second} GMT"));
        dates.iter().for_each(|date| clean.add(date.as_bytes(), ()));
        assert!(dates.iter().all(|date| clean.get(date.as_bytes()).is_some()));
    }

    #[test]
    fn short_names_have_slots_of_their_own() {
        let mut names = Recent::new(NAMES);
        for (number, name) in ["", "a", "nel", "cf-ray", "x-cache", "x-runtime"].iter().enumerate()
        {
            names.add(name.as_bytes(), number);
            let expected = (!name.is_empty()).then_some(number);
            assert_eq!(names.get(name.as_bytes()), expected, "{name}");
        }
        let kept = ["a", "nel", "cf-ray", "x-cache", "x-runtime"];
        assert!(kept.iter().all(|name| names.get(name.as_bytes()).is_some()));
        names.add(&[b'x'; 129], 7);
        assert_eq!(names.get(&[b'x'; 129]), None);
    }

    /// A value that looks like a token is shown in a field of identifiers, and nowhere else, whichever comes first.
    #[test]
    fn what_one_field_may_show_others_may_not() {
        const TOKEN: &str = "q7Zk2Xw9Lb4Rt8Yc1Vn5Md3Hs6Pf0Gj2K";
        let mut secrets = Secrets::default();
        for fields in [["X-Build-Id", "X-Note"], ["X-Note", "X-Build-Id"]] {
            for _ in 0..2 {
                let lines = fields.map(|name| format!("{name}: {TOKEN}\r\n")).concat();
                let response = testing::response(&format!("HTTP/1.1 200 OK\r\n{lines}\r\n"));
                let mut event =
                    testing::event_of(testing::request("GET / HTTP/1.1\r\n\r\n"), response);
                secrets.redact(&mut event);
                let headers = &event.response.as_ref().expect("a response").headers;
                assert_eq!(headers.first("x-build-id"), Some(TOKEN.as_bytes()));
                assert_eq!(headers.first("x-note"), Some("‹redacted:33 bytes›".as_bytes()));
            }
        }
    }
}
