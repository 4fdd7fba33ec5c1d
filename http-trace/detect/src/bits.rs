//! Sets of small numbers as bit vectors.

/// A set of fixed length.
pub type Bits = Box<[u64]>;

/// An empty set for numbers below `numbers`.
pub fn none(numbers: usize) -> Bits {
    vec![0; numbers.div_ceil(64)].into()
}

pub const fn put(set: &mut [u64], number: usize) {
    set[number / 64] |= 1 << (number % 64);
}

/// Adds a number to a set of bytes, or removes it.
pub const fn set_in_byte(set: &mut [u8], number: usize, yes: bool) {
    let byte = &mut set[number / 8];
    *byte = *byte & !(1 << (number % 8)) | (yes as u8) << (number % 8);
}

pub const fn byte_has(set: &[u8], number: usize) -> bool {
    set[number / 8] >> (number % 8) & 1 != 0
}

/// Removes and returns the lowest number at or after `word`; advances `word` to the word that held it.
pub fn take_next(set: &mut [u64], word: &mut usize) -> Option<usize> {
    while let Some(bits) = set.get_mut(*word) {
        if *bits != 0 {
            let bit = bits.trailing_zeros() as usize;
            *bits &= *bits - 1;
            return Some(*word * 64 + bit);
        }
        *word += 1;
    }
    None
}

/// The numbers in a set, ascending.
pub fn numbers(set: &[u64]) -> impl Iterator<Item = usize> {
    numbers_of(set.iter().copied())
}

/// The numbers in a set given word by word, ascending.
pub fn numbers_of(words: impl Iterator<Item = u64>) -> impl Iterator<Item = usize> {
    words.enumerate().flat_map(|(word, bits)| {
        let mut left = bits;
        std::iter::from_fn(move || {
            let bit = (left != 0).then(|| left.trailing_zeros() as usize)?;
            left &= left - 1;
            Some(word * 64 + bit)
        })
    })
}
