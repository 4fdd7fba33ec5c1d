//! Parses eight bytes at a time: handles the common form of numbers and names in one step instead of
//! eight. Each function answers only where it is certain. Otherwise the caller falls back to the
//! byte-wise state machine, which alone handles cut input and lenient forms.
//!
//! Words are little-endian: the first byte is the lowest. The kernel's target has no
//! count-trailing-zeros instruction, so positions are computed with a multiplication. A count of 0
//! stands for "none", since the verifier rejects the uninitialised half of an `Option`.

/// 1 in every byte.
const ONES: u64 = 0x0101_0101_0101_0101;
/// The top bit of every byte.
const TOPS: u64 = ONES << 7;

/// Number of bytes below the lowest byte whose top bit is set in `marks`; `marks` is not 0.
#[inline(always)]
const fn below(marks: u64) -> u32 {
    let low = marks & marks.wrapping_neg();
    (((low - 1) & ONES).wrapping_mul(ONES) >> 56) as u32 - 1
}

/// Top bits of the bytes equal to `b`; correct up to the lowest such byte.
#[inline(always)]
const fn equal(word: u64, b: u8) -> u64 {
    let x = word ^ (ONES * b as u64);
    x.wrapping_sub(ONES) & !x & TOPS
}

/// Top bits of the bytes from `first` to `last`; all bytes of `word` must be below 0x80.
#[inline(always)]
const fn within(word: u64, first: u8, last: u8) -> u64 {
    let from = word + ONES * (0x80 - first as u64);
    let beyond = word + ONES * (0x7f - last as u64);
    from & !beyond & TOPS
}

/// The lowest `n` (1 to 7) bytes.
#[inline(always)]
const fn lowest(n: u32) -> u64 {
    (1 << (8 * n)) - 1
}

/// One to seven decimal digits at the beginning of the word: how many, and their value.
#[inline(always)]
pub const fn decimal(word: u64) -> (u32, u64) {
    let t = word ^ (ONES * b'0' as u64);
    // A carry into the next byte can only corrupt bytes above the first non-digit.
    let others = (t.wrapping_add(ONES * 0x76) | t) & TOPS;
    if others == 0 {
        return (0, 0);
    }
    let n = below(others);
    if n == 0 {
        return (0, 0);
    }
    // Shift zeroes in front; then combine pairs, fours, eights.
    let t = (t & lowest(n)) << (64 - 8 * n);
    let pairs = t * 10 + (t >> 8);
    let high = (pairs & 0x0000_00ff_0000_00ff).wrapping_mul(100 + (1_000_000 << 32));
    let low = (pairs >> 16 & 0x0000_00ff_0000_00ff).wrapping_mul(1 + (10_000 << 32));
    (n, high.wrapping_add(low) >> 32)
}

/// One to seven hexadecimal digits followed by a CR: how many, and their value.
#[inline(always)]
pub const fn hexadecimal(word: u64) -> (u32, u64) {
    let ends = equal(word, b'\r');
    if ends == 0 {
        return (0, 0);
    }
    let n = below(ends);
    if n == 0 {
        return (0, 0);
    }
    let keep = lowest(n);
    let digits = word & keep;
    if digits & TOPS != 0 {
        return (0, 0);
    }
    let valid = within(digits, b'0', b'9') | within(digits | ONES << 5, b'a', b'f');
    if valid & keep != TOPS & keep {
        return (0, 0);
    }
    let values = (digits & (ONES * 0xf)) + (digits >> 6 & ONES) * 9;
    // Shift zeroes in front; then combine pairs, fours, eights.
    let v = values << (64 - 8 * n);
    let pairs = (v << 4 | v >> 8) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs << 8 | pairs >> 16) & 0x0000_ffff_0000_ffff;
    (n, (fours << 16 | fours >> 32) & 0xffff_ffff)
}

/// A method of one to seven capital letters followed by SP: how many, and the letters as one
/// big-endian number.
#[inline(always)]
pub const fn method(word: u64) -> (u32, u64) {
    let ends = equal(word, b' ');
    if ends == 0 {
        return (0, 0);
    }
    let n = below(ends);
    if n == 0 {
        return (0, 0);
    }
    let keep = lowest(n);
    let letters = word & keep;
    if letters & TOPS != 0 || within(letters, b'A', b'Z') & keep != TOPS & keep {
        return (0, 0);
    }
    (n, letters.swap_bytes() >> (64 - 8 * n))
}

/// Whether a word equals `text` (lower case), ignoring the case of letters.
#[inline(always)]
pub const fn is_text(word: u64, text: [u8; 8]) -> bool {
    let mut fold = [0; 8];
    let mut i = 0;
    while i < 8 {
        if text[i].is_ascii_lowercase() {
            fold[i] = 0x20;
        }
        i += 1;
    }
    word | u64::from_le_bytes(fold) == u64::from_le_bytes(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(text: &str) -> u64 {
        let mut bytes = [b'\n'; 8];
        for (to, from) in bytes.iter_mut().zip(text.bytes()) {
            *to = from;
        }
        u64::from_le_bytes(bytes)
    }

    #[test]
    fn numbers_and_methods_that_are_certain() {
        for (text, expected) in [
            ("0\r", (1, 0)),
            ("7", (1, 7)),
            ("612\r\nSer", (3, 612)),
            ("9999999\r", (7, 9_999_999)),
            ("0000010 ", (7, 10)),
            ("12345678", (0, 0)),
            ("", (0, 0)),
            (" 12", (0, 0)),
            ("-1", (0, 0)),
            ("1:23456", (1, 1)),
            ("1/23456", (1, 1)),
        ] {
            assert_eq!(decimal(word(text)), expected, "{text:?}");
        }
        for (text, expected) in [
            ("0\r\n", (1, 0)),
            ("1fF\r\nabc", (3, 0x1ff)),
            ("aBcDeF0\r", (7, 0xab_cdef0)),
            ("400", (0, 0)),
            ("400;x\r", (0, 0)),
            ("4g\r", (0, 0)),
            ("4:\r", (0, 0)),
            ("4@\r", (0, 0)),
            ("4`\r", (0, 0)),
            ("\r", (0, 0)),
            ("12345678", (0, 0)),
        ] {
            assert_eq!(hexadecimal(word(text)), expected, "{text:?}");
        }
        for (text, expected) in [
            ("GET /", (3, 0x47_4554)),
            ("HEAD /", (4, 0x4845_4144)),
            ("CONNECT ", (7, 0x43_4f4e_4e45_4354)),
            ("get /", (0, 0)),
            ("G@T /", (0, 0)),
            ("G[T /", (0, 0)),
            ("OPTIONSX", (0, 0)),
            (" GET", (0, 0)),
        ] {
            assert_eq!(method(word(text)), expected, "{text:?}");
        }
    }

    /// Every byte value at every position: each certain answer equals that of a byte-wise parser.
    #[test]
    fn any_byte_anywhere() {
        for text in ["1234567\r", "12\r\n1234", "aBcDeF0\r", "GET /abc", "OPTIONS "] {
            for at in 0..8 {
                for b in 0..=255u8 {
                    let mut bytes = word(text).to_le_bytes();
                    bytes[at] = b;
                    let given = u64::from_le_bytes(bytes);
                    let run = |of: fn(&u8) -> bool| bytes.iter().take_while(|b| of(b)).count();
                    let number = |n: usize, radix| {
                        core::str::from_utf8(&bytes[..n])
                            .ok()
                            .and_then(|digits| u64::from_str_radix(digits, radix).ok())
                            .map_or((0, 0), |value| (n as u32, value))
                    };
                    let n = run(u8::is_ascii_digit);
                    let expected = if n < 8 { number(n, 10) } else { (0, 0) };
                    assert_eq!(decimal(given), expected, "{bytes:?}");
                    let n = run(u8::is_ascii_hexdigit);
                    let cr = bytes.get(n) == Some(&b'\r');
                    let expected = if cr { number(n, 16) } else { (0, 0) };
                    assert_eq!(hexadecimal(given), expected, "{bytes:?}");
                    let n = run(u8::is_ascii_uppercase);
                    let letters = bytes[..n].iter().fold(0, |v, b| v << 8 | u64::from(*b));
                    let sp = n > 0 && bytes.get(n) == Some(&b' ');
                    let expected = if sp { (n as u32, letters) } else { (0, 0) };
                    assert_eq!(method(given), expected, "{bytes:?}");
                    let folded = bytes.to_ascii_lowercase() == *b"content-";
                    assert_eq!(is_text(given, *b"content-"), folded, "{bytes:?}");
                }
            }
        }
    }
}
