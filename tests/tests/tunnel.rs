//! Tunnels that the programs look into (`--decap`): an agent on the underlay reports what is inside
//! under the inner addresses, and without the option nothing.

use std::net::SocketAddr;
use std::time::Duration;

use http_trace::probe::loader::{Framing, Settings};
use http_trace::probe::test_run::TestRun;
use http_trace_common::config::{FilterConfig, decap};
use http_trace_common::counter::Counter;
use http_trace_common::record::Hook;
use http_trace_tests::agent::Agent;
use http_trace_tests::bed::{UPSTREAM, log_differences, nothing};
use http_trace_tests::client::wrk;
use http_trace_tests::essence;
use http_trace_tests::need::{self, skipped};
use http_trace_tests::needs;
use http_trace_tests::netns::{Pair, address};
use http_trace_tests::nginx::Nginx;
use http_trace_tests::scenes;
use http_trace_tests::tcp::{Layout, Path, segments};

const INNER: [&str; 2] = ["10.99.0.1", "10.99.0.2"];

/// Joins the ends of a pair by a tunnel of this type, or says that there is no such device.
fn tunnel(pair: &Pair, kind: &str) -> Result<(), String> {
    let ends = [
        (
            &pair.client,
            address::CLIENT_V4,
            address::SERVER_V4,
            INNER[0],
        ),
        (
            &pair.server,
            address::SERVER_V4,
            address::CLIENT_V4,
            INNER[1],
        ),
    ];
    for (namespace, local, remote, inner) in ends {
        for command in [
            format!("link add tunnel0 type {kind} local {local} remote {remote}"),
            format!("address add {inner}/24 dev tunnel0"),
            "link set tunnel0 up".to_owned(),
        ] {
            namespace.ip(&command).map_err(|error| error.to_string())?;
        }
    }
    Ok(())
}

/// wrk through the tunnel, seen by an agent on the underlay.
fn on_the_underlay(kind: &str, option: &str, hooks: &[&str]) -> bool {
    for hook in hooks {
        let pair = Pair::new(1500).expect("a pair");
        if tunnel(&pair, kind).is_err() {
            return false;
        }
        let nginx = Nginx::start(&pair.server, UPSTREAM.into()).expect("nginx");
        let options = ["-i", "veth0", "--hook", hook, "-v"];
        // An interface has one XDP program: the agent without the option watches elsewhere.
        let blind =
            (*hook != "xdp").then(|| Agent::start(&pair.server, &options).expect("an agent"));
        let with = [&options[..], &["--decap", option]].concat();
        let agent = Agent::start(&pair.server, &with).expect("an agent");
        let url = format!("http://{}/small.txt", INNER[1]);
        wrk(&pair.client, &url, 1, 4, Duration::from_secs(1)).expect("wrk");
        let log = nginx.stop().expect("an access log");
        assert!(log.len() > 50, "{} requests are no load", log.len());
        std::thread::sleep(Duration::from_millis(300));
        let outcome = agent.stop().expect("the agent's end");
        outcome.check_clean();
        nothing(log_differences(&outcome.report, &log));
        let inner: SocketAddr = format!("{}:80", INNER[1]).parse().expect("an address");
        assert!(outcome.report.responses.iter().all(|r| r.server == inner));
        assert!(outcome.counter("decapsulated") > 0, "{:?}", outcome.said);
        if let Some(blind) = blind {
            let blind = blind.stop().expect("the agent's end");
            assert!(blind.report.responses.is_empty(), "{hook}: not asked for");
        }
    }
    true
}

#[test]
fn vxlan() {
    needs!("nginx", "wrk");
    // At the cgroup a tunnel's outer packets are not seen: they are no socket's.
    let hooks = ["tc", "socket-filter", "xdp"];
    if !on_the_underlay("vxlan id 42 dstport 4789 dev veth0", "vxlan", &hooks) {
        skipped("a VXLAN device", "tunnel::vxlan");
    }
}

#[test]
fn ipip() {
    needs!("nginx", "wrk");
    if !on_the_underlay("ipip", "ipip", &["tc", "socket-filter", "xdp"]) {
        // Not skipped: what the programs make of IP in IP is tested below, where no device is needed.
        println!("this kernel has no IPIP device");
    }
}

/// An IPv4 header (RFC 791) before a payload of `len` bytes.
fn ipv4(protocol: u8, len: usize) -> Vec<u8> {
    let total = u16::try_from(20 + len).expect("short").to_be_bytes();
    let mut header = vec![0x45, 0, total[0], total[1], 0, 1, 0, 0, 64, protocol, 0, 0];
    header.extend([203, 0, 113, 1, 203, 0, 113, 2]);
    header
}

/// An IPv6 header (RFC 8200).
fn ipv6(next: u8, len: usize) -> Vec<u8> {
    let length = u16::try_from(len).expect("short").to_be_bytes();
    let mut header = vec![0x60, 0, 0, 0, length[0], length[1], next, 64];
    header.extend([0xfd; 32]);
    header
}

/// A frame wrapped in a tunnel.
fn wrap(frame: &[u8], outer_v6: bool, vxlan: bool) -> Vec<u8> {
    let (ethernet, packet) = frame.split_at(14);
    let mut inside = Vec::new();
    let protocol = if vxlan {
        // UDP (RFC 768) to port 4789, then the VXLAN header (RFC 7348 §5) and a whole frame.
        let length = u16::try_from(16 + frame.len())
            .expect("short")
            .to_be_bytes();
        inside.extend([0xc0, 0, 0x12, 0xb5, length[0], length[1], 0, 0]);
        inside.extend([8, 0, 0, 0, 0, 0, 42, 0]);
        inside.extend(frame);
        17
    } else {
        inside.extend(packet);
        if packet[0] >> 4 == 6 { 41 } else { 4 }
    };
    let header = if outer_v6 {
        ipv6(protocol, inside.len())
    } else {
        ipv4(protocol, inside.len())
    };
    let kind = if outer_v6 { [0x86, 0xdd] } else { [8, 0] };
    [&ethernet[..12], &kind, &header, &inside].concat()
}

#[test]
fn every_tunnel_gives_the_records_of_what_is_inside() {
    if !need::root() {
        return skipped(
            "root",
            "tunnel::every_tunnel_gives_the_records_of_what_is_inside",
        );
    }
    let records = |frames: &[Vec<u8>], framing: Framing, which: u32| {
        let settings = Settings {
            framing,
            filter: FilterConfig {
                decap: which,
                ..FilterConfig::DEFAULT
            },
            ..Settings::default()
        };
        let program = framing.program("http_trace_in");
        let mut kernel = TestRun::new(&settings, Hook::Tc, program).expect("the program loads");
        let mut records = Vec::new();
        for frame in frames {
            kernel
                .push(frame, |record| records.push(essence(&record)))
                .expect("a test run");
        }
        (records, kernel.counter(Counter::Decapsulated))
    };
    let scene = scenes::named("keep_alive");
    for framing in [Framing::Kernel, Framing::Host] {
        for path in [Path::v4(40_000), Path::v6(40_000)] {
            let plain: Vec<Vec<u8>> = segments(&scene, &Layout::default())
                .iter()
                .map(|segment| path.frame(segment))
                .collect();
            let (expected, none) = records(&plain, framing, decap::VXLAN | decap::IPIP);
            assert!(expected.len() > 3 && none == 0, "{expected:?}");
            for (outer_v6, vxlan) in [(false, false), (true, false), (false, true), (true, true)] {
                let wrapped: Vec<Vec<u8>> = plain
                    .iter()
                    .map(|frame| wrap(frame, outer_v6, vxlan))
                    .collect();
                let bit = if vxlan { decap::VXLAN } else { decap::IPIP };
                let (inside, count) = records(&wrapped, framing, bit);
                assert_eq!(
                    inside, expected,
                    "{framing:?}, outer v6 {outer_v6}, vxlan {vxlan}"
                );
                assert_eq!(count, wrapped.len() as u64);
                for which in [0, bit ^ (decap::VXLAN | decap::IPIP)] {
                    let (nothing, count) = records(&wrapped, framing, which);
                    assert!(nothing.is_empty() && count == 0, "not asked for");
                }
            }
        }
    }
}
