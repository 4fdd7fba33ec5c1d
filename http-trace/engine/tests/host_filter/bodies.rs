//! Segments that lie inside a body.

use http_trace_common::{config::FilterConfig, counter::Counter, record::flag, walk::tcp_flag};
use http_trace_engine::pipeline::{Pipeline, PipelineConfig};
use http_trace_model::event::{Missing, Output};
use proptest::prelude::*;

use super::{Wire, get, ok};

proptest! {
    /// Payload that begins no message takes a shorter way, with the outcome of any other: pieces of a body in order,
    /// as copies and after gaps, and what follows it.
    #[test]
    fn binary_bodies_are_skipped_as_others_are(
        pieces in prop::collection::vec((prop_oneof![4 => Just(0), 1 => -3000..3000], 1usize..3000), 1..20),
        (rest, closes) in (1usize..3000, any::<bool>()),
    ) {
        let gaps = pieces.iter().map(|(ahead, _)| usize::try_from(*ahead).unwrap_or(0));
        let length: usize = pieces.iter().map(|(_, len)| len).chain([&rest]).sum::<usize>() + gaps.sum::<usize>();
        let run = |byte: u8| {
            let mut wire = Wire::new(FilterConfig::DEFAULT);
            wire.send(true, &get("/"));
            wire.send(false, format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").as_bytes());
            let mut left = length;
            for (ahead, len) in &pieces {
                let ahead = *ahead;
                wire.segment(false, tcp_flag::ACK, ahead, &vec![byte; *len]);
                if ahead >= 0 {
                    let taken = ahead as usize + len;
                    wire.seq[1] = wire.seq[1].wrapping_add(taken as u32);
                    left -= taken;
                }
            }
            wire.send(false, &vec![byte; left]);
            wire.send(true, &get("/next"));
            wire.send(false, &ok(0));
            if closes {
                wire.segment(false, tcp_flag::ACK | tcp_flag::FIN, 0, b"");
            }
            // A copy that begins with a letter may begin a head.
            let flags = |of: u16| of & !flag::HEAD_BEGINS;
            let records = wire.records.iter();
            let records: Vec<_> = records.map(|r| (r.0, r.1, r.2, r.3, flags(r.4), r.5.len())).collect();
            let counters = [Counter::BodySkipped, Counter::Copies, Counter::BecameUnsure, Counter::NotHttp];
            (records, counters.map(|counter| wire.filter.counter(counter)))
        };
        prop_assert_eq!(run(b'b'), run(0xbb));
    }
}

/// What lies in a gap was not seen, so nobody knows when a body ended there.
#[test]
fn a_body_that_ends_in_a_gap_has_no_time_of_its_end() {
    for (late, missing) in [(false, &[Missing::End][..]), (true, &[])] {
        let mut wire = Wire::new(FilterConfig::DEFAULT);
        let mut pipeline = Pipeline::new(PipelineConfig::default());
        let mut events = vec![];
        let mut out = |output| {
            if let Output::Http(event) = output {
                events.push(event);
            }
        };
        wire.judged(true, &get("/1"), &mut pipeline, &mut out);
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 3000\r\n\r\n";
        wire.judged(false, head, &mut pipeline, &mut out);
        wire.judged(false, &[b'b'; 2000], &mut pipeline, &mut out);
        let begins = wire.seq[1];
        wire.seq[1] = begins.wrapping_add(1000);
        wire.judged(true, &get("/2"), &mut pipeline, &mut out);
        wire.judged(false, &ok(0), &mut pipeline, &mut out);
        if late {
            let ends = std::mem::replace(&mut wire.seq[1], begins);
            wire.judged(false, &[b'b'; 1000], &mut pipeline, &mut out);
            wire.seq[1] = ends;
        }
        wire.judged(true, &get("/3"), &mut pipeline, &mut out);
        pipeline.finish(&mut out);
        let ends: Vec<_> = events.iter().map(|e| e.missing.clone()).collect();
        assert_eq!(ends[0], missing, "late: {late}");
        assert_eq!(events[0].body_bytes, Some(3000));
        assert_eq!(events[1].request.as_ref().map(|r| &r.target[..]), Some(&b"/2"[..]));
    }
}
