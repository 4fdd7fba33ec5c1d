//! Ids of connections and rules as formats of other tools want them. Stable for the same capture; unique within a run
//! only, since connections are numbered per run.

use std::net::IpAddr;

use http_trace_model::event::{Endpoint, HttpEvent};
use sha1::{Digest as _, Sha1};

/// EVE's `flow_id` of a connection: below 2⁵³, so that JSON readers with doubles keep it exact.
pub fn number(event: &HttpEvent) -> u64 {
    let [first, ..] = words(event);
    first >> 11
}

/// Zeek's `uid` of a connection: `C` and seventeen letters and digits.
pub fn uid(event: &HttpEvent) -> String {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let [mut first, mut second] = words(event);
    let mut uid = String::with_capacity(18);
    uid.push('C');
    for at in 0..17 {
        let word = if at % 2 == 0 { &mut first } else { &mut second };
        uid.push(char::from(DIGITS[(*word % 62) as usize]));
        *word /= 62;
    }
    uid
}

/// EVE's `signature_id` of a rule: from 2³⁰ on, above the ranges of published rule sets.
pub fn of_rule(id: &str) -> u64 {
    let hash = Sha1::digest(id);
    let word = u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]);
    u64::from(word >> 2 | 1 << 30)
}

fn words(event: &HttpEvent) -> [u64; 2] {
    let mut hash = Sha1::new();
    for Endpoint { ip, port } in [event.client, event.server] {
        match ip {
            IpAddr::V4(v4) => hash.update(v4.octets()),
            IpAddr::V6(v6) => hash.update(v6.octets()),
        }
        hash.update(port.to_be_bytes());
    }
    hash.update(event.connection.to_be_bytes());
    let hash = hash.finalize();
    [0, 8].map(|at| {
        let word = hash[at..].first_chunk().copied().unwrap_or_default();
        u64::from_be_bytes(word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_trace_samples as testing;

    #[test]
    fn each_connection_has_its_own() {
        let (one, mut other) = (testing::event(), testing::event());
        assert_eq!(number(&one), number(&other));
        assert_eq!(uid(&one), uid(&other));
        other.connection += 1;
        assert_ne!(number(&one), number(&other));
        assert_ne!(uid(&one), uid(&other));
        assert!(number(&one) < 1 << 53);
        assert_eq!(uid(&one).len(), 18);
        assert!(uid(&one).bytes().all(|b| b.is_ascii_alphanumeric()));
    }

    #[test]
    fn rules_have_numbers_that_others_do_not_use() {
        let number = of_rule("http-error-spike");
        assert!((1 << 30..1 << 31).contains(&number), "{number}");
        assert_ne!(number, of_rule("http-path-scan"));
    }
}
