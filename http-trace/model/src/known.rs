//! Field names: compared case-insensitively, eight bytes at a time. Frequently used names have a number,
//! which is determined once when a head is decoded. Knows nothing of values.

/// The numbered names, in lower case.
const NAMES: [&str; 54] = [
    "accept",
    "accept-encoding",
    "accept-language",
    "accept-ranges",
    "access-control-allow-credentials",
    "access-control-allow-origin",
    "age",
    "authorization",
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-security-policy",
    "content-type",
    "cookie",
    "date",
    "etag",
    "expires",
    "forwarded",
    "host",
    "if-modified-since",
    "if-none-match",
    "keep-alive",
    "last-modified",
    "location",
    "origin",
    "pragma",
    "proxy-authorization",
    "range",
    "referer",
    "retry-after",
    "server",
    "set-cookie",
    "strict-transport-security",
    "traceparent",
    "transfer-encoding",
    "upgrade",
    "upgrade-insecure-requests",
    "user-agent",
    "vary",
    "via",
    "www-authenticate",
    "x-amz-request-id",
    "x-content-type-options",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-frame-options",
    "x-guploader-uploadid",
    "x-ms-request-id",
    "x-ms-version",
    "x-powered-by",
    "x-real-ip",
    "x-request-id",
    "x-requested-with",
];

/// Slots of the perfect hash table: no two of [`NAMES`] share one.
const PLACES: usize = 512;
const NUMBERS: [u8; PLACES] = numbers();

/// Number of a field name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Known(u8);

impl Known {
    /// A name without a number.
    pub const NONE: Known = Known(0);
    pub const AUTHORIZATION: Known = Known::named("authorization");
    pub const CONTENT_LENGTH: Known = Known::named("content-length");
    pub const CONTENT_TYPE: Known = Known::named("content-type");
    pub const COOKIE: Known = Known::named("cookie");
    pub const DATE: Known = Known::named("date");
    pub const FORWARDED: Known = Known::named("forwarded");
    pub const HOST: Known = Known::named("host");
    pub const REFERER: Known = Known::named("referer");
    pub const SET_COOKIE: Known = Known::named("set-cookie");
    pub const TRACEPARENT: Known = Known::named("traceparent");
    pub const TRANSFER_ENCODING: Known = Known::named("transfer-encoding");
    pub const USER_AGENT: Known = Known::named("user-agent");
    pub const X_FORWARDED_FOR: Known = Known::named("x-forwarded-for");
    pub const X_REAL_IP: Known = Known::named("x-real-ip");
    /// Count of numbers, including [`Known::NONE`].
    pub const COUNT: usize = NAMES.len() + 1;

    /// The number of a listed name, in lower case.
    const fn named(name: &str) -> Known {
        let mut number = 1;
        while number < Known::COUNT {
            if is_same(NAMES[number - 1].as_bytes(), name.as_bytes()) {
                return Known(number as u8);
            }
            number += 1;
        }
        // Called for constants only, so this fails the build and never a run.
        panic!("a name without a number")
    }

    /// Converts a number less than [`Known::COUNT`]; others become [`Known::NONE`].
    pub const fn numbered(number: usize) -> Known {
        if number < Known::COUNT { Known(number as u8) } else { Known::NONE }
    }

    /// Looks up a name in any case.
    pub fn of(name: &[u8]) -> Known {
        let Some(place) = place(name) else { return Known::NONE };
        let number = NUMBERS[place];
        if number != 0 && is_name(name, NAMES[number as usize - 1].as_bytes()) {
            Known(number)
        } else {
            Known::NONE
        }
    }

    /// The lower-case name of a number; empty for [`Known::NONE`] and out-of-range numbers.
    pub const fn name(number: usize) -> &'static [u8] {
        match number {
            1..Known::COUNT => NAMES[number - 1].as_bytes(),
            _ => b"",
        }
    }

    /// The number, from 0 to less than [`Known::COUNT`].
    pub const fn number(self) -> usize {
        self.0 as usize
    }
}

const fn is_same(one: &[u8], other: &[u8]) -> bool {
    let mut at = 0;
    while at < one.len() && at < other.len() && one[at] == other[at] {
        at += 1;
    }
    at == one.len() && at == other.len()
}

/// Hash slot of a name: from its length, first and last byte, case-insensitive.
const fn place(name: &[u8]) -> Option<usize> {
    let (Some(first), Some(last)) = (name.first(), name.last()) else {
        return None;
    };
    let (first, last) = ((*first % 32) as usize, (*last % 32) as usize);
    Some((name.len() * 8 + first * 136 + last * 57) % PLACES)
}

const fn numbers() -> [u8; PLACES] {
    let mut numbers = [0; PLACES];
    let mut at = 0;
    while at < NAMES.len() {
        if let Some(place) = place(NAMES[at].as_bytes()) {
            assert!(numbers[place] == 0, "two names at one place");
            numbers[place] = at as u8 + 1;
        }
        at += 1;
    }
    numbers
}

/// The first eight bytes of a name; of a shorter name, an encoding that is unique for its length.
pub const fn start(name: &[u8]) -> u64 {
    if let Some(start) = name.first_chunk::<8>() {
        return u64::from_le_bytes(*start);
    }
    match (name.first_chunk::<4>(), name.last_chunk::<4>(), name) {
        (Some(first), Some(last), _) => {
            u32::from_le_bytes(*first) as u64 | (u32::from_le_bytes(*last) as u64) << 32
        }
        (.., [a, b, c]) => u64::from_le_bytes([*a, *b, *c, 0, 0, 0, 0, 0]),
        (.., [a, b]) => u64::from_le_bytes([*a, *b, 0, 0, 0, 0, 0, 0]),
        (.., [a]) => *a as u64,
        _ => 0,
    }
}

/// Whether a field name equals `lower`, which must be in lower case; names are
/// case-insensitive (RFC 9110 §5.1).
pub fn is_name(name: &[u8], lower: &[u8]) -> bool {
    name.len() == lower.len() && to_lower(start(name)) == start(lower) && rest_equals(name, lower)
}

/// Compares all but the first eight bytes of a name with those of `lower`, which has the same length and
/// is in lower case. Works on eight bytes at a time: it runs for many lines of every head.
pub fn rest_equals(name: &[u8], lower: &[u8]) -> bool {
    let word = |bytes: &[u8]| bytes.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    let Some(last) = name.len().checked_sub(8) else { return true };
    let same = |at: usize| to_lower(word(&name[at..])) == word(&lower[at..]);
    // The last eight bytes may overlap those before; few names are longer than sixteen bytes.
    last == 0 || same(last) && (last <= 8 || (8..last).step_by(8).all(same))
}

/// Converts the ASCII letters in eight bytes to lower case.
pub const fn to_lower(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let low = word & (ONES * 0x7f);
    // The highest bit of a byte is set for 'A' and above, or for bytes above 'Z'.
    let from_a = low + ONES * (0x80 - b'A' as u64);
    let after_z = low + ONES * (0x80 - b'Z' as u64 - 1);
    let upper = (from_a ^ after_z) & !word & (ONES * 0x80);
    word | upper >> 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_has_its_number_in_any_case() {
        for (number, name) in (1..).zip(NAMES) {
            assert_eq!(Known::of(name.as_bytes()).number(), number, "{name}");
            assert_eq!(Known::name(number), name.as_bytes());
            let upper = name.to_ascii_uppercase();
            assert_eq!(Known::of(upper.as_bytes()).number(), number, "{upper}");
            for other in [format!("{name}s"), format!("x{name}"), name[1..].to_owned()] {
                let listed = NAMES.iter().position(|n| **n == *other);
                let expected = listed.map_or(0, |at| at + 1);
                assert_eq!(Known::of(other.as_bytes()).number(), expected, "{other}");
            }
        }
        assert_eq!(Known::of(b"host"), Known::HOST);
        assert_eq!(Known::of(b""), Known::NONE);
        assert_eq!([Known::name(0), Known::name(Known::COUNT)], [b"", b""]);
    }

    #[test]
    fn names_compare_without_case_and_only_so() {
        for name in
            ["te", "server", "location", "user-agent", "x-forwarded-for", "content-security-policy"]
        {
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
}
