//! Connections of which each direction passes under a name of its own, as where a host redirects a port to its own
//! server.

use http_trace_common::record::{Hook, flag};
use http_trace_engine::pipeline::PipelineConfig;

use crate::talk::{Bench, Seg, Side, Talk, get, ok};
use crate::tcp::TWO;

/// Requests go to port 8081, and responses come from port 80.
fn translated(talk: &Talk, hook: Hook) -> Vec<Seg> {
    let of = |seg: &Seg| {
        let server_port = if seg.from == Side::Client { 8081 } else { 80 };
        // Live, handshakes are not shipped, and the filter says where a stream begins.
        let ships = hook == Hook::Capture || !seg.bytes.is_empty();
        ships.then(|| Seg { server_port, hook, ..seg.clone() })
    };
    let mut segs: Vec<Seg> = talk.segs.iter().filter_map(of).collect();
    if hook != Hook::Capture {
        segs[0].flags |= flag::STREAM_BEGINS;
    }
    segs
}

/// Numbers that look drawn.
const DRAWN: [u32; 2] = [0x7000_0000, 0x9000_0000];

fn open([client, server]: [u32; 2]) -> Talk {
    Talk::with_isn(client, server).handshake()
}

fn judged(segs: &[Seg]) -> Vec<String> {
    let mut bench = Bench::new(PipelineConfig::default());
    bench.push_all(segs);
    bench.finish()
}

#[test]
fn a_response_under_another_name_answers_its_request() {
    for hook in [Hook::Capture, Hook::Tc, Hook::Cgroup] {
        let one_by_one = open(DRAWN).c(&get("/1")).s(&ok("hello")).c(&get("/2")).s(&ok("ab"));
        assert_eq!(judged(&translated(&one_by_one, hook)), TWO, "{hook:?}");
        let (first, second) = (ok("hello"), ok("ab"));
        let pieces = open(DRAWN)
            .c(&get("/1")[..9])
            .c(&get("/1")[9..])
            .s(&first[..20])
            .s(&first[20..])
            .wait_ms(20_000)
            .c(&get("/2"))
            .s(&second);
        assert_eq!(judged(&translated(&pieces, hook)), TWO, "{hook:?}, in pieces");
        let pipelined = open(DRAWN).c(&(get("/1") + &get("/2"))).s(&(first + &second));
        assert_eq!(judged(&translated(&pipelined, hook)), TWO, "{hook:?}, pipelined");
    }
}

/// Another connection of the same client has nothing to do with it, and its response no request.
#[test]
fn a_response_that_begins_elsewhere_answers_nothing() {
    let [client, server] = DRAWN;
    for (client, server, isn, acknowledged) in [
        (client, server, 0xa000_0000, 0),
        (client, server, server, 2 << 20),
        (client, server, server, u32::MAX - 100),
        // As programs number connections.
        (0, 0, 0, 0),
        (1000, 500_000, 500_000, 0),
    ] {
        let asked = open([client, server]).c(&get("/1"));
        let other = open([client, isn]).c(&get("/1")).s(&ok("hello"));
        let segs = translated(&asked, Hook::Capture).into_iter();
        let answers = translated(&other, Hook::Capture).into_iter();
        let mut answers: Vec<Seg> = answers.filter(|seg| seg.from == Side::Server).collect();
        for seg in &mut answers {
            seg.ack = seg.ack.map(|ack| ack.wrapping_add(acknowledged));
        }
        let lines = judged(&segs.chain(answers).collect::<Vec<_>>());
        assert!(lines.iter().all(|line| !line.starts_with("GET /1 -> 200")), "{isn}: {lines:?}");
    }
}
