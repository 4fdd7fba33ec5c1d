//! Unix nanoseconds as text, in UTC. A formatter of our own: the general ones cost more than the
//! rest of a record.

/// `2026-11-20T06:40:07.123456789Z` (RFC 3339).
pub fn rfc3339(ns: u64) -> [u8; 30] {
    let mut text = *b"0000-00-00T00:00:00.000000000Z";
    let (seconds, fraction) = (ns / 1_000_000_000, ns % 1_000_000_000);
    let (year, month, day) = civil(seconds / 86_400);
    digits(&mut text[0..4], year);
    digits(&mut text[5..7], month);
    digits(&mut text[8..10], day);
    let clock = clock(seconds);
    text[11..19].copy_from_slice(&clock);
    // 32 bits are enough, and cheaper to divide.
    let mut fraction = fraction as u32;
    for digit in text[20..29].iter_mut().rev() {
        *digit = b'0' + (fraction % 10) as u8;
        fraction /= 10;
    }
    text
}

/// `06:40:07.123`.
pub fn clock_ms(ns: u64) -> [u8; 12] {
    let mut text = *b"00:00:00.000";
    let seconds = ns / 1_000_000_000;
    text[..8].copy_from_slice(&clock(seconds));
    digits(&mut text[9..12], ns / 1_000_000 % 1000);
    text
}

fn clock(seconds: u64) -> [u8; 8] {
    let mut text = *b"00:00:00";
    digits(&mut text[0..2], seconds / 3600 % 24);
    digits(&mut text[3..5], seconds / 60 % 60);
    digits(&mut text[6..8], seconds % 60);
    text
}

fn digits(text: &mut [u8], mut number: u64) {
    for digit in text.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// Year, month and day of a day since 1970 in the Gregorian calendar: 400 years have 146,097 days,
/// and a year that begins in March has its leap day at the end.
fn civil(day: u64) -> (u64, u64, u64) {
    let since_0000_03_01 = day + 719_468;
    let (era, day) = (since_0000_03_01 / 146_097, since_0000_03_01 % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
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
        assert_eq!(&clock_ms(1_795_156_807_123_456_789), b"06:40:07.123");
    }
}
