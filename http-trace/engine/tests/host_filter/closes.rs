//! Closes are claims for the filter, too: a sender that continues at its position is still followed, and
//! nothing of that is shipped as lost.

use http_trace_common::walk::tcp_flag;
use http_trace_common::{config::FilterConfig, counter::Counter, record::flag};
use http_trace_engine::host_filter::HostFilter;

use super::Wire;

const RST: u8 = tcp_flag::RST | tcp_flag::ACK;
const FIN: u8 = tcp_flag::FIN | tcp_flag::ACK;
const ASK: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

fn answered() -> Wire {
    let mut wire = Wire::new(FilterConfig::DEFAULT);
    wire.send(true, ASK);
    wire.send(false, ANSWER);
    wire
}

impl Wire {
    /// Begins another connection on the same tuple, whose first byte is `behind - 1` bytes behind the client's
    /// position. All of it ships.
    fn expect_another(&mut self, behind: u32) {
        self.seq = [self.seq[0].wrapping_sub(behind), 6_000_000];
        self.segment(true, tcp_flag::SYN, 0, b"");
        self.segment(false, tcp_flag::SYN | tcp_flag::ACK, 0, b"");
        self.seq = self.seq.map(|s| s.wrapping_add(1));
        let before = self.records.len();
        self.send(true, ASK);
        self.send(false, ANSWER);
        let shipped: Vec<_> = self.records[before..].iter().map(|r| &r.5[..]).collect();
        assert_eq!(shipped.concat(), [ASK, ANSWER].concat(), "{behind}");
        assert!(self.records[before].4 & flag::STREAM_BEGINS != 0, "{behind}");
        assert_eq!(self.filter.counter(Counter::BecameUnsure), 0, "{behind}");
    }
}

/// Which side closes, and how.
const CLOSES: [&[(bool, u8)]; 4] =
    [&[(true, RST)], &[(false, RST)], &[(true, FIN), (false, FIN)], &[(false, FIN), (true, FIN)]];

#[test]
fn between_messages_a_connection_is_forgotten_and_followed_on() {
    for closes in CLOSES {
        let mut wire = answered();
        for &(from, flags) in closes {
            wire.segment(from, flags, 0, b"");
        }
        assert_eq!(wire.filter.flows(), 0, "{closes:?}");
        let before = wire.records.len();
        // The request line is cut in two, so it would not admit a connection that was already open.
        wire.send(true, &ASK[..5]);
        wire.send(true, &ASK[5..]);
        wire.send(false, ANSWER);
        assert_eq!(wire.filter.counter(Counter::BecameUnsure), 0, "{closes:?}");
        let shipped: Vec<_> = wire.records[before..].iter().map(|r| &r.5[..]).collect();
        assert_eq!(shipped.concat(), [ASK, ANSWER].concat(), "{closes:?}");
        let begins = |flags: u16| flags & flag::STREAM_BEGINS != 0;
        assert!(!wire.records[before..].iter().any(|r| begins(r.4)));
    }
}

#[test]
fn inside_a_message_a_connection_is_not_forgotten() {
    for closes in CLOSES {
        let mut wire = Wire::new(FilterConfig::DEFAULT);
        wire.send(true, ASK);
        wire.send(false, b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n");
        for &(from, flags) in closes {
            wire.segment(from, flags, 0, b"");
        }
        assert_eq!(wire.filter.flows(), 1, "{closes:?}");
        wire.send(false, &[b'x'; 9000]);
        wire.send(true, ASK);
        assert_eq!(wire.filter.counter(Counter::BecameUnsure), 0, "{closes:?}");
        assert_eq!(wire.filter.counter(Counter::BodySkipped), 9000);
    }
}

#[test]
fn without_framing_a_connection_is_never_forgotten() {
    for closes in CLOSES {
        let filter = HostFilter::without_framing(FilterConfig::DEFAULT);
        let mut wire = Wire::through(filter);
        wire.send(true, ASK);
        wire.send(false, &ANSWER[..7]);
        for &(from, flags) in closes {
            wire.segment(from, flags, 0, b"");
        }
        // No start line, which would admit the connection again.
        wire.send(false, &ANSWER[7..]);
        assert_eq!(wire.filter.flows(), 1, "{closes:?}");
        let shipped: Vec<_> = wire.records.iter().map(|r| &r.5[..]).collect();
        assert_eq!(shipped.concat(), [ASK, ANSWER].concat(), "{closes:?}");
    }
}

#[test]
fn who_goes_on_beyond_a_fin_that_was_ahead_is_told_of() {
    let mut wire = Wire::new(FilterConfig::DEFAULT);
    wire.send(true, ASK);
    wire.send(false, b"HTTP/1.1 200 OK\r\n\r\nbody");
    wire.segment(false, FIN, 1, b"");
    // Up to the end of the body, and beyond it: the body passes unseen.
    for part in [b"x".as_slice(), b"y", b"zzz"] {
        wire.send(false, part);
        let told = wire.records.last().map(|r| (r.1, r.4 & flag::FIN));
        assert_eq!(told, Some((wire.seq[1], 0)));
    }
}

#[test]
fn a_body_that_the_close_ends_is_over() {
    let mut wire = Wire::new(FilterConfig::DEFAULT);
    wire.send(true, ASK);
    wire.send(false, b"HTTP/1.1 200 OK\r\n\r\nbody");
    wire.segment(false, FIN, 0, b"");
    // The client's own FIN acknowledges the server's, or the client has not seen one.
    wire.segment(true, FIN, 0, b"");
    assert_eq!(wire.filter.flows(), 1);
    wire.seq[1] = wire.seq[1].wrapping_add(1);
    wire.segment(true, FIN, 0, b"");
    assert_eq!(wire.filter.flows(), 0);
}

#[test]
fn another_connection_on_the_tuple_begins_at_its_syn() {
    let mut wire = answered();
    wire.segment(true, RST, 0, b"");
    wire.seq = [5_000_000, 6_000_000];
    wire.segment(true, tcp_flag::SYN, 0, b"");
    wire.segment(false, tcp_flag::SYN | tcp_flag::ACK, 0, b"");
    wire.seq = wire.seq.map(|s| s.wrapping_add(1));
    wire.send(true, ASK);
    assert_eq!(wire.filter.counter(Counter::BecameUnsure), 0);
    let last = wire.records.last().map_or(0, |r| r.4);
    assert_ne!(last & flag::STREAM_BEGINS, 0);
}

/// A client that sends faster than the clock of its initial sequence numbers runs begins behind where it ended.
#[test]
fn after_a_reset_another_connection_begins_behind_the_end_of_the_last() {
    for answer in
        [&b"HTTP/1.1 200 OK\r\n\r\nbody"[..], b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbody"]
    {
        for (from_client, after_fin) in [(true, false), (false, false), (true, true), (false, true)]
        {
            for behind in [1, 10, 200_000] {
                let mut wire = Wire::new(FilterConfig::DEFAULT);
                wire.send(true, ASK);
                wire.send(false, answer);
                if after_fin {
                    wire.segment(from_client, FIN, 0, b"");
                    wire.seq[usize::from(!from_client)] += 1;
                }
                wire.segment(from_client, RST, 0, b"");
                wire.expect_another(behind);
            }
        }
    }
}

/// Only the acknowledgement of its SYN-ACK tells it from the one before.
#[test]
fn another_connection_begins_exactly_where_the_last_ended() {
    for (answer, closes) in
        [(ANSWER, 2), (ANSWER, 1), (ANSWER, 0), (b"HTTP/1.1 200 OK\r\n\r\nbody", 2)]
    {
        let mut wire = Wire::new(FilterConfig::DEFAULT);
        wire.send(true, ASK);
        wire.send(false, answer);
        for from_client in [false, true].into_iter().take(closes) {
            wire.segment(from_client, FIN, 0, b"");
        }
        wire.expect_another(1);
    }
}

#[test]
fn a_status_line_of_any_length_begins_a_connection() {
    for len in 1..=ANSWER.len() {
        let mut wire = Wire::new(FilterConfig::DEFAULT);
        wire.send(false, &ANSWER[..len]);
        if len < ANSWER.len() {
            wire.send(false, &ANSWER[len..]);
        }
        assert_eq!(wire.filter.counter(Counter::FlowsAdmitted), 1, "{len}");
        assert_eq!(wire.filter.counter(Counter::BecameUnsure), 0, "{len}");
    }
}
