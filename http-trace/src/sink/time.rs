//! Formats Unix nanoseconds as UTC text without general formatters, which cost more than the rest of a record. Must not
//! read clocks.

/// `2026-11-20T06:40:07.123456789Z` (RFC 3339).
pub fn rfc3339(ns: u64) -> [u8; 30] {
    let (seconds, fraction) = (ns / 1_000_000_000, (ns % 1_000_000_000) as u32);
    let (year, month, day) = civil(seconds / 86_400);
    let mut text = *b"0000-00-00T00:00:00.000000000Z";
    let second = (seconds % 86_400) as u32;
    for (at, number) in [
        (0, year / 100),
        (2, year),
        (5, month),
        (8, day),
        (11, second / 3600),
        (14, second / 60 % 60),
        (17, second % 60),
        (20, fraction / 10_000_000),
        (22, fraction / 100_000),
        (24, fraction / 1000),
        (26, fraction / 10),
    ] {
        text[at..at + 2].copy_from_slice(pair(number));
    }
    text[28] = pair(fraction)[1];
    text
}

/// `2026-11-20-06-40-07`, for Zeek's `#open`.
pub fn zeek_open(ns: u64) -> String {
    let text = rfc3339(ns)[..19].to_vec();
    let text = text.iter().map(|byte| match byte {
        b'T' | b':' => '-',
        byte => char::from(*byte),
    });
    text.collect()
}

/// The last two digits of a number, from a table because each record has dozens.
fn pair(number: u32) -> &'static [u8; 2] {
    static PAIRS: [[u8; 2]; 100] = {
        let mut pairs = [[0; 2]; 100];
        let mut at = 0;
        while at < 100 {
            pairs[at] = [b'0' + at as u8 / 10, b'0' + at as u8 % 10];
            at += 1;
        }
        pairs
    };
    &PAIRS[(number % 100) as usize]
}

/// Year, month and day of a day since 1970 in the Gregorian calendar: 400 years have 146,097 days,
/// and a year that begins in March has its leap day at the end.
fn civil(day: u64) -> (u32, u32, u32) {
    // 64-bit nanoseconds end in the year 2554.
    let since_0000_03_01 = day as u32 + 719_468;
    let (era, day) = (since_0000_03_01 / 146_097, since_0000_03_01 % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + u32::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (ns, expected) in [
            (0, "1970-01-01T00:00:00.000000000Z"),
            (1_795_156_807_123_456_789, "2026-11-20T06:40:07.123456789Z"),
            (951_782_400_000_000_001, "2000-02-29T00:00:00.000000001Z"),
            (4_107_542_399_999_999_999, "2100-02-28T23:59:59.999999999Z"),
            (4_107_542_400_000_000_000, "2100-03-01T00:00:00.000000000Z"),
            (u64::MAX, "2554-07-21T23:34:33.709551615Z"),
        ] {
            assert_eq!(std::str::from_utf8(&rfc3339(ns)), Ok(expected));
        }
    }
}
