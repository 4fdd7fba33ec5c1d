//! Recognises request and status lines. Examines bytes and keeps no state.
//!
//! The first thirteen bytes decide whether a line is a status line (RFC 9112 §4): `HTTP/1.`, a
//! digit, SP, three digits of which the first is 1–9, then SP, HT, CR or LF (a missing reason
//! phrase with its preceding SP is tolerated). A request line is a token, SP, anything, SP,
//! `HTTP/1.`, a digit (RFC 9112 §3). Unencoded whitespace in the target is accepted because
//! scanners send it.

/// Result of matching bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Match {
    /// The bytes match.
    Yes,
    /// The bytes do not match, whatever follows.
    No,
    /// The bytes are a proper prefix of a match.
    NeedMore,
}

/// Number of bytes that decide a status line.
pub const STATUS_LINE_DECIDES: usize = 13;

/// Longest accepted method, in bytes. The longest registered one has 17 (IANA HTTP Method
/// Registry).
pub const MAX_METHOD: u32 = 32;

/// `HTTP/1.` read as a little-endian word whose last byte is cleared.
const HTTP_1: u64 = u64::from_le_bytes(*b"HTTP/1.\0");
/// ` HTTP/1.` read as a little-endian word.
const SP_HTTP_1: u64 = u64::from_le_bytes(*b" HTTP/1.");

/// Whether `b` is valid at position `at` (0–12) of a status line.
#[inline(always)]
pub fn status_byte(at: u8, b: u8) -> bool {
    let next = status_next(at, b);
    next != 0 && next & (OTHER_BLANK | OTHER_VERSION) == 0
}

/// In [`status_next`]: whitespace before the code that is not one SP.
pub const OTHER_BLANK: u8 = 1 << 6;
/// In [`status_next`]: part or end of a version other than HTTP/1.x.
pub const OTHER_VERSION: u8 = 1 << 7;

/// The position (low bits) after byte `b` at position `at` of a status line, and whether `b` deviates from the
/// strict form; 0 if it is not accepted there at all.
#[inline(always)]
pub fn status_next(at: u8, b: u8) -> u8 {
    let class = CLASS[b as usize];
    STATUS[((at & 15) as usize) * CLASSES + (class & 15) as usize]
}

/// Whether `bytes` begins with a strict status line.
pub fn status_line(bytes: &[u8]) -> Match {
    for (i, &b) in bytes.iter().take(STATUS_LINE_DECIDES).enumerate() {
        if !status_byte(i as u8, b) {
            return Match::No;
        }
    }
    if bytes.len() >= STATUS_LINE_DECIDES { Match::Yes } else { Match::NeedMore }
}

/// Whether `bytes` begins with a strict request line, up to its LF.
pub fn request_line(bytes: &[u8]) -> Match {
    let Some(sp) = bytes.iter().position(|&b| !is_token(b)) else {
        return if bytes.len() as u32 > MAX_METHOD { Match::No } else { Match::NeedMore };
    };
    if sp == 0 || sp as u32 > MAX_METHOD || bytes.get(sp) != Some(&b' ') {
        return Match::No;
    }
    let mut state = SUFFIX_AFTER_METHOD;
    for &b in bytes.get(sp + 1..).unwrap_or_default() {
        if b == b'\n' {
            return if suffix_complete(state) { Match::Yes } else { Match::No };
        }
        state = suffix_next(state, b);
    }
    Match::NeedMore
}

/// Whether `b` may follow the three digits of a status code.
#[inline(always)]
pub const fn ends_code(b: u8) -> bool {
    matches!(b, b' ' | b'\t' | b'\r' | b'\n')
}

/// The status code of the status line in sixteen bytes, given as two little-endian words, or `None`
/// if they are not a (strict) status line.
#[inline(always)]
pub fn status_in_words(w0: u64, w1: u64) -> Option<u16> {
    let minor = ((w0 >> 56) as u8).wrapping_sub(b'0');
    let [d1, d2, d3] = [
        ((w1 >> 8) as u8).wrapping_sub(b'0'),
        ((w1 >> 16) as u8).wrapping_sub(b'0'),
        ((w1 >> 24) as u8).wrapping_sub(b'0'),
    ];
    let fits = w0 & 0x00ff_ffff_ffff_ffff == HTTP_1
        && minor <= 9
        && w1 as u8 == b' '
        && d1.wrapping_sub(1) <= 8
        && d2 <= 9
        && d3 <= 9
        && ends_code((w1 >> 32) as u8);
    if fits { Some(d1 as u16 * 100 + d2 as u16 * 10 + d3 as u16) } else { None }
}

/// Whether eight bytes (a little-endian word) begin with `HTTP/`.
#[inline(always)]
pub const fn begins_with_http(word: u64) -> bool {
    (word ^ HTTP_1) & 0xff_ffff_ffff == 0
}

/// Whether eight bytes (a little-endian word) are ` HTTP/1.`.
#[inline(always)]
pub const fn is_sp_http_1(word: u64) -> bool {
    word == SP_HTTP_1
}

/// Whether `b` is whitespace, other than SP and CR, that a server may accept between the words of a request
/// line (RFC 9112 §3): HTAB, VT, FF.
#[inline(always)]
pub const fn is_separator(b: u8) -> bool {
    matches!(b, b'\t' | 0x0b | 0x0c)
}

/// Whether `b` is a `tchar` (RFC 9110 §5.6.2).
#[inline(always)]
pub fn is_token(b: u8) -> bool {
    CLASS[b as usize] & TOKEN != 0
}

// State machine for the end of a request line: ` HTTP/1.` digit, at most one space, CR. The last
// SUFFIX_MEMORY bytes alone determine the state, so a long target can be skipped.

/// State of [`suffix_next`] right after the SP that follows the method: it may also be the SP
/// before the version.
pub const SUFFIX_AFTER_METHOD: u8 = 1;
/// State in which nothing of the suffix is matched.
pub const SUFFIX_NONE: u8 = 0;
/// Number of bytes that determine the state.
pub const SUFFIX_MEMORY: u32 = 11;

const SUFFIX_VERSION: u8 = 9;
const SUFFIX_CR: u8 = 10;
const SUFFIX_BLANK: u8 = 11;

const CLASSES: usize = 16;
/// Bit in [`CLASS`] that marks a `tchar`.
const TOKEN: u8 = 1 << 7;

// Classes of bytes, besides those of the letters and the slash of `HTTP/` (2 to 5); 0 is any other.
const SP: usize = 1;
const DOT: usize = 6;
/// Digits from 2 on.
const DIGIT: usize = 7;
const CR: usize = 8;
const ONE: usize = 9;
const TAB: usize = 10;
const ZERO: usize = 11;
const LF: usize = 12;

/// Byte → class and [`TOKEN`].
static CLASS: [u8; 256] = {
    let mut t = [0u8; 256];
    t[b' ' as usize] = SP as u8;
    t[b'H' as usize] = 2;
    t[b'T' as usize] = 3;
    t[b'P' as usize] = 4;
    t[b'/' as usize] = 5;
    t[b'.' as usize] = DOT as u8;
    t[b'\r' as usize] = CR as u8;
    t[b'\t' as usize] = TAB as u8;
    t[b'\n' as usize] = LF as u8;
    let mut b = 0;
    while b < 128 {
        let c = b as u8;
        if c.is_ascii_digit() {
            t[b] = 7;
        }
        let mark = c.is_ascii_punctuation()
            && !matches!(c, b'"' | b'(' | b')' | b',' | b'/')
            && !matches!(c, b':'..=b'@' | b'[' | b'\\' | b']' | b'{' | b'}');
        if c.is_ascii_alphanumeric() || mark {
            t[b] |= TOKEN;
        }
        b += 1;
    }
    t[b'0' as usize] = ZERO as u8 | TOKEN;
    t[b'1' as usize] = ONE as u8 | TOKEN;
    t
};

/// (position, class) → position in a status line: see [`status_next`]. A table, as [`NEXT`] is.
static STATUS: [u8; CLASSES * CLASSES] = {
    const GOES_ON: u8 = 8 | OTHER_VERSION;
    const ENDS: u8 = 9 | OTHER_VERSION;
    let mut t = [0; CLASSES * CLASSES];
    // `HTTP/1.`
    const BEGIN: [usize; 7] = [2, 3, 3, 4, 5, ONE, DOT];
    let mut at = 0;
    while at < BEGIN.len() {
        t[at * CLASSES + BEGIN[at]] = at as u8 + 1;
        at += 1;
    }
    const DIGITS: [usize; 3] = [ZERO, ONE, DIGIT];
    let mut i = 0;
    while i < DIGITS.len() {
        let digit = DIGITS[i];
        if digit != ONE {
            t[5 * CLASSES + digit] = GOES_ON;
        }
        t[6 * CLASSES + digit] = GOES_ON;
        t[7 * CLASSES + digit] = 8;
        t[8 * CLASSES + digit] = GOES_ON;
        if digit != ZERO {
            t[9 * CLASSES + digit] = 10;
        }
        t[10 * CLASSES + digit] = 11;
        t[11 * CLASSES + digit] = 12;
        i += 1;
    }
    t[7 * CLASSES + DOT] = GOES_ON;
    t[8 * CLASSES + DOT] = GOES_ON;
    const BLANKS: [usize; 2] = [SP, TAB];
    let mut i = 0;
    while i < BLANKS.len() {
        let blank = BLANKS[i];
        t[6 * CLASSES + blank] = ENDS;
        t[7 * CLASSES + blank] = ENDS;
        t[8 * CLASSES + blank] = 9 | OTHER_BLANK;
        t[9 * CLASSES + blank] = 9 | OTHER_BLANK;
        t[12 * CLASSES + blank] = 13;
        i += 1;
    }
    t[8 * CLASSES + SP] = 9;
    t[12 * CLASSES + CR] = 13;
    t[12 * CLASSES + LF] = 13;
    t
};

/// (state, class) → state. A table instead of branches: the verifier sees the result as an unknown
/// byte, so a loop over it converges.
static NEXT: [u8; CLASSES * CLASSES] = {
    let mut t = [0u8; CLASSES * CLASSES];
    let mut state = 0;
    while state < 12 {
        t[state * CLASSES + 1] = 1;
        state += 1;
    }
    const SEQUENCE: [(usize, usize); 8] =
        [(1, 2), (2, 3), (3, 3), (4, 4), (5, 5), (6, 9), (7, 6), (8, 7)];
    let mut i = 0;
    while i < SEQUENCE.len() {
        let (from, class) = SEQUENCE[i];
        t[from * CLASSES + class] = from as u8 + 1;
        i += 1;
    }
    t[8 * CLASSES + 9] = SUFFIX_VERSION;
    t[8 * CLASSES + ZERO] = SUFFIX_VERSION;
    t[9 * CLASSES + 8] = SUFFIX_CR;
    t[9 * CLASSES + 1] = SUFFIX_BLANK;
    t[11 * CLASSES + 8] = SUFFIX_CR;
    t[11 * CLASSES + 2] = 2;
    t
};

/// The state after `b`.
#[inline(always)]
pub fn suffix_next(state: u8, b: u8) -> u8 {
    let class = CLASS[b as usize];
    NEXT[((state & 15) as usize) * CLASSES + (class & 15) as usize]
}

/// Whether an LF in this state ends a request line.
#[inline(always)]
pub const fn suffix_complete(state: u8) -> bool {
    state == SUFFIX_VERSION || state == SUFFIX_CR || state == SUFFIX_BLANK
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens() {
        let marks = b"!#$%&'*+-.^_`|~";
        for b in 0..=255u8 {
            let expected = b.is_ascii_alphanumeric() || marks.contains(&b);
            assert_eq!(is_token(b), expected, "{}", b.escape_ascii());
        }
    }

    #[test]
    fn status_lines() {
        for (bytes, expected) in [
            (&b"HTTP/1.1 200 OK\r\n"[..], Match::Yes),
            (b"HTTP/1.0 404\r\n", Match::Yes),
            (b"HTTP/1.1 999\n", Match::Yes),
            (b"HTTP/1.1 200\tOK", Match::Yes),
            (b"HTTP/1.1 200", Match::NeedMore),
            (b"H", Match::NeedMore),
            (b"", Match::NeedMore),
            (b"HTTP/1.1 000 ", Match::No),
            (b"HTTP/1.1 1000 ", Match::No),
            (b"HTTP/1.1 99 X ", Match::No),
            (b"HTTP/2.0 200 ", Match::No),
            (b"http/1.1 200 ", Match::No),
            (b"GET / HTTP/1.1", Match::No),
        ] {
            assert_eq!(status_line(bytes), expected, "{}", bytes.escape_ascii());
            if let Some((head, _)) = bytes.split_first_chunk::<16>() {
                let word =
                    |i: usize| u64::from_le_bytes(*head[i..].first_chunk().expect("eight bytes"));
                assert_eq!(status_in_words(word(0), word(8)).is_some(), expected == Match::Yes);
            }
        }
    }

    #[test]
    fn request_lines() {
        for (bytes, expected) in [
            (&b"GET / HTTP/1.1\r\n"[..], Match::Yes),
            (b"GET / HTTP/1.0\n", Match::Yes),
            (b"GET /a b c HTTP/1.1\r\n", Match::Yes),
            (b"GET / HTTP/1.1 \r\n", Match::Yes),
            (b"GET /  HTTP/1.1\r\n", Match::Yes),
            (b"GET HTTP/1.1\r\n", Match::Yes),
            (b"GET / HTTP/1.1 HTTP/1.0\r\n", Match::Yes),
            (b"GET / HTTP/1.1  \r\n", Match::No),
            (b"GET / HTTP/1.1\rX\n", Match::No),
            (b"GET /\r\n", Match::No),
            (b"PRI * HTTP/2.0\r\n", Match::No),
            (b"GET / HTTP/1.", Match::NeedMore),
            (b"GET", Match::NeedMore),
            (b"\x16\x03\x01", Match::No),
            (b" / HTTP/1.1\r\n", Match::No),
            (b"OPTIONS rtsp://a RTSP/1.0\r\n", Match::No),
        ] {
            assert_eq!(request_line(bytes), expected, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn suffix_state_depends_on_its_memory_alone() {
        // All start states agree after SUFFIX_MEMORY bytes of any kind.
        let alphabet = b" HTP/1.2\rx";
        let mut seed = 1u64;
        for _ in 0..200_000 {
            let mut bytes = [0u8; SUFFIX_MEMORY as usize];
            for b in &mut bytes {
                seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                *b = alphabet[(seed >> 33) as usize % alphabet.len()];
            }
            let end = |start: u8| bytes.iter().fold(start, |s, &b| suffix_next(s, b));
            let first = end(0);
            assert!((1..12).all(|s| end(s) == first), "{}", bytes.escape_ascii());
        }
    }
}
