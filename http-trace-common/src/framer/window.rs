//! How the framer reads bytes and finds the end of a line.

use super::{Framer, flag};
use crate::start_line::{SUFFIX_MEMORY, suffix_next};

/// The bytes that the framer reads. A read outside gives 0 and never panics; the kernel masks its
/// indexes.
pub trait Window {
    /// The byte at `at`.
    fn byte(&self, at: u32) -> u8;
    /// Eight bytes from `at`, little-endian.
    fn word(&self, at: u32) -> u64;
    /// Returns the same number, as a value unknown to the kernel's verifier. The verifier tracks each
    /// constant along each path; paths that differ only in an unknown number are merged.
    #[inline(always)]
    fn forget(&self, number: u32) -> u32 {
        number
    }
    /// Calls [`find_lf`]; in the kernel as a global function, which is verified separately.
    #[inline(always)]
    fn find_lf(&self, at: u32, end: u32) -> (u32, bool) {
        find_lf(self, at, end)
    }
    /// Calls [`match_suffix`]; in the kernel as a global function, which is verified separately.
    #[inline(always)]
    fn match_suffix(&self, state: u8, at: u32, end: u32) -> u8 {
        match_suffix(self, state, at, end)
    }
}

impl Window for [u8] {
    #[inline(always)]
    fn byte(&self, at: u32) -> u8 {
        self.get(at as usize).copied().unwrap_or(0)
    }
    #[inline(always)]
    fn word(&self, at: u32) -> u64 {
        let rest = self.get(at as usize..).unwrap_or_default();
        if let Some(word) = rest.first_chunk::<8>() {
            return u64::from_le_bytes(*word);
        }
        let mut word = [0; 8];
        for (to, from) in word.iter_mut().zip(rest) {
            *to = *from;
        }
        u64::from_le_bytes(word)
    }
    /// The kernel has no vector instructions.
    #[cfg(not(target_arch = "bpf"))]
    #[inline(always)]
    fn find_lf(&self, at: u32, end: u32) -> (u32, bool) {
        let line = self.get(at as usize..end as usize).unwrap_or_default();
        let lf = memchr::memchr(b'\n', line);
        (lf.map_or(line.len(), |lf| lf + 1) as u32, lf.is_some())
    }
}

/// Maximum number of words that one step searches for LF.
const WORDS_PER_STEP: u32 = if cfg!(target_arch = "bpf") { 16 } else { 64 };

impl Framer {
    /// Advances to just after the next LF (`true`) and records whether a CR precedes it.
    #[inline(always)]
    pub(super) fn line_end<W: Window + ?Sized>(
        &mut self,
        window: &W,
        at: u32,
        end: u32,
    ) -> (u32, bool) {
        let (taken, found) = window.find_lf(at, end);
        let last = taken - u32::from(found);
        // Whether CR is the byte before the LF, or the last byte present.
        let cr = if last > 0 {
            window.byte(at + last - 1) == b'\r'
        } else {
            self.flags & flag::AFTER_CR != 0
        };
        self.flags &= !flag::AFTER_CR;
        if found {
            if !cr {
                self.flags |= flag::BARE_LF;
            }
        } else if cr {
            self.flags |= flag::AFTER_CR;
        }
        (taken, found)
    }
}

/// The state of [`suffix_next`] after the bytes from `at` to `end`, at most [`SUFFIX_MEMORY`] of them.
#[inline(always)]
pub fn match_suffix<W: Window + ?Sized>(window: &W, state: u8, at: u32, end: u32) -> u8 {
    let (mut state, mut n) = (state, 0);
    while n < SUFFIX_MEMORY && at + n < end {
        state = suffix_next(state, window.byte(at + n));
        n += 1;
    }
    state
}

/// Number of bytes up to and including the next LF (`true`), or the maximum that one step searches.
#[inline(always)]
pub fn find_lf<W: Window + ?Sized>(window: &W, at: u32, end: u32) -> (u32, bool) {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let mut n = 0;
    let mut words = 0;
    while words < WORDS_PER_STEP && at + n + 8 <= end {
        let x = window.word(at + n) ^ (ONES * b'\n' as u64);
        let zero = x.wrapping_sub(ONES) & !x & (ONES << 7);
        if zero != 0 {
            // Find the byte: the target has no count-trailing-zeros instruction.
            let low = zero & zero.wrapping_neg();
            let up_to = ((low - 1) & ONES).wrapping_mul(ONES) >> 56;
            return (n + up_to as u32, true);
        }
        n += 8;
        words += 1;
    }
    if words == WORDS_PER_STEP {
        return (n, false);
    }
    let mut n = window.forget(n);
    let mut left = 8;
    while left > 0 && at + n < end {
        n += 1;
        left -= 1;
        if window.byte(at + n - 1) == b'\n' {
            return (n, true);
        }
    }
    (n, false)
}
