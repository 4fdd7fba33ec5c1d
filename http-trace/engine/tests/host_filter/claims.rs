//! Segments that ship without their flow because another CPU has claimed it.

use http_trace_common::record::{Hook, Record};
use http_trace_engine::host_filter::Faults;
use http_trace_engine::pipeline::Pipeline;
use http_trace_model::event::Output;

use super::*;

const BODY: usize = 1 << 20;
const SEGMENT: usize = 1448;

/// A connection that is traced live.
struct Live {
    wire: Wire,
    pipeline: Pipeline,
    /// Number of next records to lose.
    lost: u32,
    told: Vec<String>,
    hook: Hook,
}

impl Live {
    fn new(wire: Wire) -> Self {
        let pipeline = Pipeline::new(Default::default());
        Live { wire, pipeline, lost: 0, told: Vec::new(), hook: Hook::Tc }
    }

    fn send(&mut self, from_client: bool, flags: u8, bytes: &[u8]) {
        let (segment, mut context) = self.wire.make(from_client, flags, 0, bytes);
        context.hook = self.hook;
        let (pipeline, lost, told) = (&mut self.pipeline, &mut self.lost, &mut self.told);
        let mut push = |record: Record<'_>| {
            if *lost > 0 {
                *lost -= 1;
                return;
            }
            pipeline.push(&record, &mut |output| told.push(line(&output)));
        };
        let filter = &mut self.wire.filter;
        filter.push(bytes, &segment, &context, &mut push);
        let seq = &mut self.wire.seq[usize::from(!from_client)];
        *seq = seq.wrapping_add(bytes.len() as u32);
    }

    /// As [`Live::send`], while another CPU has claimed the flow.
    fn send_beside(&mut self, from_client: bool, bytes: &[u8]) {
        self.close_beside(from_client, tcp_flag::ACK, bytes);
    }

    /// The same for a segment that may close the connection.
    fn close_beside(&mut self, from_client: bool, flags: u8, bytes: &[u8]) {
        self.faults(1);
        self.send(from_client, flags, bytes);
        self.faults(0);
    }

    fn faults(&mut self, refuse_claim_every: u32) {
        self.wire.filter.set_faults(Faults { refuse_claim_every, ..Faults::default() });
    }

    fn wait_ms(&mut self, ms: u64) {
        self.wire.time_ns += ms * 1_000_000;
        let told = &mut self.told;
        let mut out = |output| told.push(line(&output));
        self.pipeline.tick(self.wire.time_ns, &mut out);
    }

    fn finish(mut self) -> Vec<String> {
        let told = &mut self.told;
        self.pipeline.finish(&mut |output| told.push(line(&output)));
        assert_eq!(self.pipeline.stats().filter_disagrees, 0);
        self.told
    }
}

fn line(output: &Output) -> String {
    match output {
        Output::Http(event) => format!(
            "{} {:?} {:?} {:?}",
            event.response.as_ref().map_or(0, |response| response.status),
            event.body_bytes,
            event.missing,
            event.flags
        ),
        Output::Loss(loss) => format!("lost {} {:?} {}", loss.count, loss.unit, loss.place),
    }
}

/// The client closes while a body passes: on one CPU its FIN claims the flow, on the other a segment of
/// the body finds it claimed. The body skipped before that is not declared any more.
#[test]
fn a_body_that_its_client_breaks_off_has_no_hole() {
    let mut live = Live::new(Wire::new(FilterConfig::DEFAULT));
    let answer = ok(BODY);
    let (some, rest) = answer.split_at(12 * SEGMENT);
    live.send(true, tcp_flag::ACK, &get("/"));
    for segment in some.chunks(5 * SEGMENT) {
        live.send(false, tcp_flag::ACK, segment);
    }
    live.send(true, tcp_flag::FIN | tcp_flag::ACK, b"");
    live.send_beside(false, &rest[..SEGMENT]);
    live.send(true, tcp_flag::RST, b"");
    live.wait_ms(2_000);
    let seen = 13 * SEGMENT - (answer.len() - BODY);
    assert_eq!(live.finish(), [format!("200 Some({seen}) [End] [\"length_mismatch\"]")]);
}

/// Another request comes while a body passes: the filter declares what it skipped when the message ends,
/// which may be much later.
#[test]
fn a_long_body_beside_another_request_has_no_hole() {
    let mut live = Live::new(Wire::new(FilterConfig::DEFAULT));
    live.send(true, tcp_flag::ACK, &get("/1"));
    for (n, segment) in ok(BODY).chunks(SEGMENT).enumerate() {
        match n {
            50 => live.send_beside(false, segment),
            _ => live.send(false, tcp_flag::ACK, segment),
        }
        match n {
            // It acknowledges what shipped.
            51 => live.send(true, tcp_flag::ACK, &get("/2")),
            60 => live.wait_ms(500),
            _ => {}
        }
    }
    live.send(false, tcp_flag::ACK, &ok(5));
    let expected = [format!("200 Some({BODY}) [] []"), "200 Some(5) [] []".into()];
    assert_eq!(live.finish(), expected);
}

/// A record shipped with its flow declares what was skipped before it: the rest is lost, even if it is body.
#[test]
fn a_hole_before_what_the_flow_ships_is_told() {
    let mut wire = Wire::new(FilterConfig::DEFAULT);
    // Far from the SYN that was seen: another connection, which ships as it is.
    wire.seq = [50_000_000, 60_000_000];
    let mut live = Live::new(wire);
    live.send(true, tcp_flag::ACK, &get("/"));
    for (n, segment) in ok(20 * SEGMENT).chunks(SEGMENT).enumerate() {
        live.lost = u32::from(n == 2);
        live.send(false, tcp_flag::ACK, segment);
    }
    live.wait_ms(20_000);
    let told = live.finish();
    let lost = format!("lost {SEGMENT} Bytes hole");
    assert!(told.contains(&lost), "{told:?}");
}

/// Without framing nothing is skipped: missing body bytes are lost, also before a segment whose flow
/// another CPU had claimed.
#[test]
fn without_framing_a_hole_before_a_refused_claim_is_told() {
    let filter = HostFilter::without_framing(FilterConfig::DEFAULT);
    let mut live = Live::new(Wire::through(filter));
    live.send(true, tcp_flag::ACK, &get("/"));
    for (n, segment) in ok(20 * SEGMENT).chunks(SEGMENT).enumerate() {
        live.lost = u32::from(n == 2);
        match n {
            3 => live.send_beside(false, segment),
            _ => live.send(false, tcp_flag::ACK, segment),
        }
    }
    live.wait_ms(20_000);
    let told = live.finish();
    let lost = format!("lost {SEGMENT} Bytes hole");
    assert!(told.contains(&lost), "{told:?}");
    assert!(told.iter().any(|line| line.contains("body_gap")), "{told:?}");
}

/// Both ends close at once, on one CPU each: a body that lasts until the close ends, and is reported then.
#[test]
fn an_end_that_another_cpu_is_beside_is_told() {
    const FIN: u8 = tcp_flag::FIN | tcp_flag::ACK;
    // How it ends, the bytes that come with that, the segments before it, and what else the event says.
    let ends = [
        (FIN, 0, 0, "[] []"),
        (FIN, 0, 1, "[] []"),
        (FIN, 0, 30, "[] []"),
        (FIN, 100, 0, "[] []"),
        (FIN, 100, 30, "[] []"),
        (tcp_flag::RST, 0, 0, "[End] []"),
    ];
    for framed in [true, false] {
        for (flags, last, segments, said) in ends {
            let filter = match framed {
                true => HostFilter::new(FilterConfig::DEFAULT),
                false => HostFilter::without_framing(FilterConfig::DEFAULT),
            };
            let mut live = Live::new(Wire::through(filter));
            live.send(true, tcp_flag::ACK, &get("/"));
            live.send(false, tcp_flag::ACK, b"HTTP/1.1 200 OK\r\n\r\n");
            for _ in 0..segments {
                live.send(false, tcp_flag::ACK, &[b'x'; SEGMENT]);
            }
            live.close_beside(false, flags, &vec![b'x'; last]);
            // No acknowledgement of the end is seen.
            live.wait_ms(1_200);
            let seen = segments * SEGMENT + last;
            let expected = [format!("200 Some({seen}) {said}")];
            assert_eq!(live.told, expected, "{framed} {flags} {last} {segments}");
            assert_eq!(live.finish(), expected);
        }
    }
}

/// A server of another protocol sends what it stores, which begins like a status line. The filter has seen all
/// bytes of the client and ships none of them: they are no requests, and not unseen either.
#[test]
fn what_another_protocol_transports_is_no_response() {
    let stored = ok(3);
    let hooks = [Hook::Tc, Hook::Capture];
    for (hook, rounds) in hooks.into_iter().flat_map(|hook| (1..4).map(move |n| (hook, n))) {
        let mut live = Live::new(Wire::new(FilterConfig::DEFAULT));
        live.hook = hook;
        for _ in 0..rounds {
            live.send(true, tcp_flag::ACK, b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n");
            for part in [b"$41\r\n", &stored[..], b"\r\n"] {
                live.send(false, tcp_flag::ACK, part);
                live.send(true, tcp_flag::ACK, b"");
                live.wait_ms(10);
            }
        }
        live.send(false, tcp_flag::FIN | tcp_flag::ACK, b"");
        live.send(true, tcp_flag::FIN | tcp_flag::ACK, b"");
        (0..50).for_each(|_| live.wait_ms(100));
        assert_eq!(live.finish(), [""; 0], "{hook:?} {rounds}");
    }
    // A client that asks in HTTP after another protocol has its answer.
    let mut live = Live::new(Wire::new(FilterConfig::DEFAULT));
    live.send(false, tcp_flag::ACK, b"220 hello\r\n");
    live.send(true, tcp_flag::ACK, b"\x01name\r\n");
    live.send(false, tcp_flag::ACK, &stored);
    live.wait_ms(5_000);
    live.send(true, tcp_flag::ACK, &get("/"));
    live.send(false, tcp_flag::ACK, &stored);
    live.wait_ms(5_000);
    let told = live.finish();
    let events = told.iter().filter(|line| !line.starts_with("lost"));
    assert_eq!(
        events.collect::<Vec<_>>(),
        [r#"200 Some(3) [] ["request_assumed", "resynchronised"]"#]
    );
}
