//! Exact distinct counts up to a threshold: the hashes seen most recently, with the bucket in
//! which each was seen last, 8 bytes an element. A few are in the counter itself, and exact. Of more in a
//! table those that the threshold does not need are not
//! kept, so that a value that is never the same costs a bound, not a history. Which of them go
//! follows from when they came, never from the hashes: their key differs from run to run, and what
//! is said of events must not.

use serde::{Deserialize, Serialize, Serializer};

use super::window::{CELLS, TooLate, Window};

/// Low bits of an element: the bucket.
const BUCKET_BITS: u32 = 16;
const BUCKET_MASK: u64 = (1 << BUCKET_BITS) - 1;

/// After so many buckets elements are looked through for old ones, before their 16 bits wrap.
const PURGE_AFTER: u32 = 1 << (BUCKET_BITS - 1);

/// The most values that are counted without a table: most clients have as many, or fewer.
const FEW: usize = 4;

/// A distinct count of a few: exact, and without anything beside itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Few(
    /// In the order in which they came, then 0.
    [u64; FEW],
);

impl Few {
    /// No value.
    pub const NONE: Few = Few([0; FEW]);

    /// As [`Distinct::see`]; `None` when there are as many others in the window as there is room for, and
    /// nothing is noted.
    ///
    /// # Errors
    /// When the bucket has left the window.
    pub fn see(
        &mut self,
        hash: u64,
        bucket: u32,
        window: &mut Window,
    ) -> Result<Option<bool>, TooLate> {
        self.advance(bucket, window);
        if window.is_past(bucket) {
            return Err(TooLate);
        }
        let element = element(hash, bucket);
        let is_it = |of: &&mut u64| (**of ^ element) & !BUCKET_MASK == 0;
        if let Some(of) = self.0.iter_mut().find(is_it) {
            let seen = unwrap_bucket(*of, window.newest());
            let is_new = window.is_past(seen);
            if is_new || bucket.wrapping_sub(seen) as i32 > 0 {
                window.remove(seen);
                window.add(bucket, 1)?;
                *of = element;
            }
            return Ok(Some(is_new));
        }
        let Some(free) = self.0.iter_mut().find(|of| **of == 0) else {
            return Ok(None);
        };
        window.add(bucket, 1)?;
        *free = element;
        Ok(Some(true))
    }

    /// As [`Distinct::see_again`].
    #[inline]
    pub fn see_again(&mut self, hash: u64, bucket: u32, window: &mut Window) -> bool {
        let now = element(hash, bucket);
        let is_it = |of: &&u64| (**of ^ now) & !BUCKET_MASK == 0;
        let Some(of) = self.0.iter().find(is_it).copied() else {
            return false;
        };
        of == now && bucket == window.newest()
            || is_still_in(of, bucket, window) && self.see(hash, bucket, window) == Ok(Some(false))
    }

    /// Lets time go on to a bucket. What leaves the window goes at once: later on it could not be told, since
    /// buckets are cut.
    fn advance(&mut self, bucket: u32, window: &mut Window) {
        let newest = window.newest();
        let steps = bucket.wrapping_sub(newest) as i32;
        if steps > 0 {
            let age = |element: u64| newest.wrapping_sub(unwrap_bucket(element, newest));
            let stays = |of: &u64| *of != 0 && age(*of).saturating_add(steps as u32) < CELLS as u32;
            let mut left = self.0.into_iter().filter(stays);
            self.0 = std::array::from_fn(|_| left.next().unwrap_or(0));
            window.advance(bucket);
        }
    }
}

/// A value as it is kept: never 0.
const fn element(hash: u64, bucket: u32) -> u64 {
    hash & !BUCKET_MASK | 1 << BUCKET_BITS | bucket as u64 & BUCKET_MASK
}

/// The most elements that have no index.
const NO_INDEX: usize = 16;

/// A distinct count over a [`Window`].
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "Saved")]
pub struct Distinct {
    /// In the order in which they came.
    elements: Vec<u64>,
    /// Where they are, plus one: open addressing, a power of two long, never more than three quarters
    /// full; 0 is empty. A few are looked through without one.
    index: Vec<u32>,
    /// As many as the threshold needs.
    most: usize,
    purged: u32,
}

/// A count out of a file.
#[derive(Deserialize)]
struct Saved {
    most: u64,
    purged: u32,
    elements: Vec<u64>,
}

/// One on its way into a file: [`Saved`] without a copy.
#[derive(Serialize)]
struct Saving<'a> {
    most: u64,
    purged: u32,
    elements: &'a [u64],
}

impl Serialize for Distinct {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let saving = Saving {
            most: self.most as u64,
            purged: self.purged,
            elements: &self.elements,
        };
        saving.serialize(to)
    }
}

impl From<Saved> for Distinct {
    fn from(saved: Saved) -> Distinct {
        let most = usize::try_from(saved.most).unwrap_or(usize::MAX);
        let mut distinct = Distinct::new(most, saved.purged);
        distinct.make_room(saved.elements.len());
        for element in saved.elements {
            // Never 0, and none twice.
            let element = element | 1 << BUCKET_BITS;
            if distinct.find(element & !BUCKET_MASK).is_none() {
                distinct.insert(element);
            }
        }
        distinct
    }
}

impl Distinct {
    /// Whether it counts exactly up to `most`.
    pub const fn counts_to(&self, most: usize) -> bool {
        self.most == most
    }

    /// Goes on from the few values of a window.
    pub fn after(few: Few, most: usize, window: &Window) -> Self {
        let mut distinct = Distinct::new(most, window.newest());
        distinct.make_room(FEW);
        for element in few.0.into_iter().filter(|of| *of != 0) {
            distinct.insert(element);
        }
        distinct
    }

    /// Counts exactly up to `most`.
    pub fn new(most: usize, bucket: u32) -> Self {
        Distinct {
            elements: Vec::new(),
            index: Vec::new(),
            most: most.max(1),
            purged: bucket,
        }
    }

    /// Notes that a value was seen in `bucket`; `window` counts values by the bucket in which they
    /// were seen last. Returns whether it is new in the window.
    ///
    /// # Errors
    /// When the bucket has left the window.
    pub fn see(&mut self, hash: u64, bucket: u32, window: &mut Window) -> Result<bool, TooLate> {
        window.advance(bucket);
        if window.is_past(bucket) {
            return Err(TooLate);
        }
        if window.newest().wrapping_sub(self.purged) >= PURGE_AFTER {
            self.rebuild(window);
        }
        let key = hash & !BUCKET_MASK | 1 << BUCKET_BITS;
        if let Some(at) = self.find(key) {
            let seen = unwrap_bucket(self.elements[at], window.newest());
            if !window.is_past(seen) {
                self.renew(at, bucket, window)?;
                return Ok(false);
            }
            window.add(bucket, 1)?;
            self.elements[at] = key | u64::from(bucket) & BUCKET_MASK;
            return Ok(true);
        }
        if self.is_full() {
            self.rebuild(window);
        }
        window.add(bucket, 1)?;
        self.insert(key | u64::from(bucket) & BUCKET_MASK);
        Ok(true)
    }

    /// Notes a value that is in the window, as [`Distinct::see`] would. `false`, and nothing has happened, when it
    /// is not, or when there is more to be done.
    pub fn see_again(&mut self, hash: u64, bucket: u32, window: &mut Window) -> bool {
        let Some(at) = self.find(hash & !BUCKET_MASK | 1 << BUCKET_BITS) else {
            return false;
        };
        if self.elements[at] == element(hash, bucket) && bucket == window.newest() {
            return true;
        }
        let is_in = is_still_in(self.elements[at], bucket, window);
        if !is_in || bucket.wrapping_sub(self.purged) >= PURGE_AFTER {
            return false;
        }
        window.advance(bucket);
        self.renew(at, bucket, window).is_ok()
    }

    /// An element that is in the window is seen in a bucket, which is in it too.
    fn renew(&mut self, at: usize, bucket: u32, window: &mut Window) -> Result<(), TooLate> {
        let seen = unwrap_bucket(self.elements[at], window.newest());
        if bucket.wrapping_sub(seen) as i32 > 0 {
            window.remove(seen);
            window.add(bucket, 1)?;
            self.elements[at] = element(self.elements[at], bucket);
        }
        Ok(())
    }

    /// Where in the index an element is, or would be.
    fn slot(&self, key: u64) -> usize {
        let mut slot = (key >> 32) as usize & (self.index.len() - 1);
        while let Some(at) = self.index[slot].checked_sub(1)
            && self.elements[at as usize] & !BUCKET_MASK != key
        {
            slot = (slot + 1) & (self.index.len() - 1);
        }
        slot
    }

    fn find(&self, key: u64) -> Option<usize> {
        if self.index.is_empty() {
            let mut elements = self.elements.iter();
            return elements.position(|element| element & !BUCKET_MASK == key);
        }
        let at = self.index[self.slot(key)].checked_sub(1)?;
        Some(at as usize)
    }

    /// Adds an element that is not there.
    fn insert(&mut self, element: u64) {
        if !self.index.is_empty() {
            let slot = self.slot(element & !BUCKET_MASK);
            self.index[slot] = self.elements.len() as u32 + 1;
        }
        self.elements.push(element);
    }

    /// Whether one more needs more room, or is more than is kept.
    const fn is_full(&self) -> bool {
        let len = self.elements.len();
        len >= self.most.saturating_mul(2)
            || len == self.elements.capacity()
            || !self.index.is_empty() && (len + 1) * 4 > self.index.len() * 3
    }

    /// Empties it; there is room for so many and at least one more then.
    fn make_room(&mut self, len: usize) {
        let most = self.most.saturating_mul(2).max(len + 1);
        let (slots, room) = match len + 1 {
            few @ ..=NO_INDEX => (0, few.next_power_of_two()),
            many => {
                let slots = (many * 2).next_power_of_two();
                (slots, slots / 4 * 3)
            }
        };
        self.index = vec![0; slots];
        self.elements = Vec::with_capacity(room.min(most));
    }

    /// Drops what has left the window and, beyond twice what the threshold needs, the oldest, of one
    /// bucket those that came first; makes room for more.
    fn rebuild(&mut self, window: &mut Window) {
        let newest = window.newest();
        let age = |element: u64| newest.wrapping_sub(unwrap_bucket(element, newest));
        let mut live = std::mem::take(&mut self.elements);
        live.retain(|element| (age(*element) as usize) < CELLS);
        if live.len() >= 2 * self.most {
            let mut ages = [0_usize; CELLS];
            live.iter().for_each(|e| ages[age(*e) as usize] += 1);
            let mut left = live.len() - self.most;
            // How many of each age go.
            for of_age in ages.iter_mut().rev() {
                *of_age = left.min(*of_age);
                left -= *of_age;
            }
            live.retain(|element| {
                let of_age = &mut ages[age(*element) as usize];
                let goes = *of_age > 0;
                if goes {
                    *of_age -= 1;
                    window.remove(unwrap_bucket(*element, newest));
                }
                !goes
            });
        }
        self.make_room(live.len());
        self.purged = newest;
        for element in live {
            self.insert(element);
        }
    }

    /// Bytes beside the value itself.
    pub fn heap_bytes(&self) -> usize {
        self.elements.capacity() * size_of::<u64>() + self.index.capacity() * size_of::<u32>()
    }
}

/// Whether an element is in the window once something comes in a bucket, which is no earlier than the window's
/// newest.
const fn is_still_in(element: u64, bucket: u32, window: &Window) -> bool {
    let newest = window.newest();
    let ahead = bucket.wrapping_sub(newest);
    let age = newest.wrapping_sub(unwrap_bucket(element, newest));
    ahead < CELLS as u32 && age.saturating_add(ahead) < CELLS as u32
}

/// The bucket of an element, given that it is not newer than `newest`.
const fn unwrap_bucket(element: u64, newest: u32) -> u32 {
    let age = (newest & BUCKET_MASK as u32).wrapping_sub(element as u32 & BUCKET_MASK as u32);
    newest.wrapping_sub(age & BUCKET_MASK as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hash(value: u64) -> u64 {
        let h = value.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (h ^ h >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9)
    }

    #[test]
    fn memory_is_bounded_by_the_threshold() {
        let mut window = Window::new(5, false);
        let mut distinct = Distinct::new(30, 5);
        for value in 0..100_000 {
            distinct.see(hash(value), 5, &mut window).expect("in time");
            assert!(window.total() >= (value + 1).min(30));
        }
        assert!(
            distinct.heap_bytes() <= 128 * 8,
            "{}",
            distinct.heap_bytes()
        );
    }

    /// The same values again and again, more of them than are kept: what is new does not depend on the
    /// key that they were hashed with.
    #[test]
    fn what_is_new_does_not_depend_on_the_hashes() {
        let run = |key: u64| {
            let mut window = Window::new(5, false);
            let mut distinct = Distinct::new(30, 5);
            let seen = (0..5000_u32).map(|n| {
                let value = u64::from(n * n % 331);
                let is_new = distinct.see(hash(value ^ key), 5 + n / 100, &mut window);
                (is_new.expect("in time"), window.total())
            });
            seen.collect::<Vec<_>>()
        };
        let first = run(0);
        assert!(first.iter().filter(|(is_new, _)| !is_new).count() > 100);
        for key in 1..20 {
            assert!(run(key << 40) == first, "{key}");
        }
    }

    #[test]
    fn elements_do_not_come_back_when_their_bucket_wraps() {
        let mut window = Window::new(0, false);
        let mut distinct = Distinct::new(30, 0);
        distinct.see(hash(1), 0, &mut window).expect("in time");
        for bucket in (0..=65_536).step_by(16) {
            distinct.see(hash(2), bucket, &mut window).expect("in time");
        }
        assert_eq!(distinct.see(hash(1), 65_536, &mut window), Ok(true));
        assert_eq!(window.total(), 2);
        let (mut window, mut few) = (Window::new(0, false), Few::NONE);
        few.see(hash(1), 0, &mut window).expect("in time");
        for bucket in (0..=65_536).step_by(16) {
            assert!(few.see(hash(2), bucket, &mut window).is_ok());
        }
        assert_eq!(few.see(hash(1), 65_536, &mut window), Ok(Some(true)));
        assert_eq!(window.total(), 2);
    }

    proptest! {
        #[test]
        fn against_a_naive_exact_model(
            most in 1_usize..20,
            steps in prop::collection::vec((0_u64..30, 0_u32..20, 0_u32..4), 1..300),
        ) {
            let mut bucket = 1000_u32;
            let mut window = Window::new(bucket, false);
            let mut distinct = Distinct::new(most, bucket);
            // The same, with no table until there are more than a few values.
            let mut of_few = window.clone();
            let (mut few, mut after) = (Some(Few::default()), None);
            let mut last: std::collections::HashMap<u64, u32> = std::collections::HashMap::new();
            for (value, forward, late) in steps {
                bucket += forward / 6;
                let at = bucket - late;
                let mut again = (distinct.clone(), window.clone());
                let is_again = again.0.see_again(hash(value), at, &mut again.1);
                let before = (distinct.elements.clone(), window.clone());
                let seen = distinct.see(hash(value), at, &mut window);
                let expected = match is_again {
                    true => (distinct.elements.clone(), window.clone()),
                    false => before,
                };
                prop_assert_eq!((again.0.elements, again.1), expected);
                prop_assert!(!is_again || seen == Ok(false));
                prop_assert!(is_again || seen != Ok(false) || late > 0);
                if seen.is_err() {
                    continue;
                }
                let with_few = match few {
                    Some(mut first) => {
                        let mut again = (first, of_few.clone());
                        let is_again = again.0.see_again(hash(value), at, &mut again.1);
                        let before = (first, of_few.clone());
                        let seen = first.see(hash(value), at, &mut of_few).expect("in time");
                        let expected = match is_again {
                            true => (first, of_few.clone()),
                            false => before,
                        };
                        prop_assert_eq!(again, expected);
                        prop_assert!(!is_again || seen == Some(false));
                        prop_assert!(is_again || seen != Some(false) || late > 0);
                        few = Some(first);
                        seen
                    }
                    None => None,
                };
                if with_few.is_none() {
                    let set = after.get_or_insert_with(|| {
                        Distinct::after(few.take().expect("the first"), most, &of_few)
                    });
                    set.see(hash(value), at, &mut of_few).expect("in time");
                }
                // A low threshold makes a table forget what the few still know.
                if 2 * most > FEW {
                    prop_assert_eq!(of_few.total(), window.total());
                }
                let seen = last.entry(value).or_insert(at);
                *seen = at.max(*seen);
                let newest = window.newest();
                let exact = last.values().filter(|b| newest - **b < CELLS as u32).count();
                for got in [window.total() as usize, of_few.total() as usize] {
                    prop_assert!(got <= exact);
                    prop_assert!(got >= exact.min(most), "{got} of {exact}, threshold {most}");
                }
            }
        }
    }
}
