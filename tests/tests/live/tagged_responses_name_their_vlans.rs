//! Responses in VLANs are reported at every hook. With `--decap vlan` the event names the same VLANs as that
//! of a capture.

use std::time::Duration;

use http_trace_tests::agent::{Agent, replay_frames};
use http_trace_tests::inject::inject;
use http_trace_tests::needs;
use http_trace_tests::netns::Pair;
use http_trace_tests::seen::Report;
use http_trace_tests::vlans::{ARRANGEMENTS, all_frames};
use serde_json::Value;

/// Client port, ordinal and status of each response, and the VLANs.
fn seen(report: &Report, named: bool) -> Vec<(u16, u64, Option<u16>, [Value; 2])> {
    let of = |json: &Value| {
        let network = &json["network"];
        match named {
            true => [network["vlan"].clone(), network["inner"].clone()],
            false => [Value::Null, Value::Null],
        }
    };
    let one = report.responses.iter();
    let one = one.map(|r| (r.client.port(), r.ordinal, r.status, of(&r.json)));
    let mut all: Vec<_> = one.collect();
    all.sort_by_key(|(port, ordinal, ..)| (*port, *ordinal));
    all
}

#[test]
fn every_arrangement_of_tags_at_every_hook() {
    needs!("python3");
    let frames = all_frames();
    let (replayed, _) = replay_frames(&frames).expect("a replay");
    assert!(seen(&replayed, false).len() >= 3 * 4 * ARRANGEMENTS.len());
    for (sent, hook) in [
        (false, "tc"),
        (false, "socket-filter"),
        (false, "xdp"),
        (true, "tc"),
        (true, "socket-filter"),
    ] {
        for named in [false, true] {
            let expected = seen(&replayed, named);
            let pair = Pair::new(1500).expect("a pair");
            let watched = if sent { &pair.client } else { &pair.server };
            let mut options = vec!["-i", "veth0", "--hook", hook, "-v"];
            if named {
                options.extend(["--decap", "vlan"]);
            }
            let agent = Agent::start(watched, &options).expect("an agent");
            let injected = pair.client.enter(|| inject("veth0", &frames, || ()));
            injected.expect("inside").expect("sent");
            let _ = agent.wait_for(expected.len(), Duration::from_secs(5));
            let outcome = agent.stop().expect("an outcome");
            let found = seen(&outcome.report, named);
            let what = format!("{hook}, sent: {sent}, named: {named}");
            assert_eq!(found, expected, "{what}: {:?}", outcome.said);
        }
    }
}
