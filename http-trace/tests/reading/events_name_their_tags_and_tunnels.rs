//! Events name the VLAN tags and tunnels of their response.

use std::slice;

use http_trace_testkit::layers::{self, cat, ethernet};
use http_trace_testkit::pcap;
use http_trace_testkit::scene::Side;

use serde_json::{Value, json};

use crate::{admitted, open, read};

/// The ends of a tunnel, the sender's first.
fn ends<T>(client: bool, on_client: T, on_server: T) -> [T; 2] {
    match client {
        true => [on_client, on_server],
        false => [on_server, on_client],
    }
}

/// An IPv4 packet around `inner`, between 192.0.2.2 on the client's side and 192.0.2.1.
fn outer(protocol: u8, client: bool, inner: &[u8]) -> Vec<u8> {
    layers::ipv4(protocol, ends(client, [192, 0, 2, 2], [192, 0, 2, 1]), inner)
}

/// The same over IPv6, between fd00::2 on the client's side and fd00::1.
fn outer6(protocol: u8, client: bool, inner: &[u8]) -> Vec<u8> {
    let end = |n: u8| {
        let mut ip = [0; 16];
        (ip[0], ip[15]) = (0xfd, n);
        ip
    };
    layers::ipv6(protocol, ends(client, end(2), end(1)), inner)
}

fn udp(port: u16, client: bool, inner: &[u8]) -> Vec<u8> {
    outer(17, client, &layers::udp(port, inner))
}

/// Encapsulates a packet; the flag says whether the client sent it.
type Wrap = fn(bool, &[u8]) -> Vec<u8>;

fn ppp(inner: &[u8]) -> Vec<u8> {
    cat(&[&[0, 0x21], inner])
}

#[test]
fn every_tag_and_tunnel_is_in_the_event() {
    let four = json!([{"client": {"ip": "192.0.2.2"}, "server": {"ip": "192.0.2.1"}}]);
    let none = Value::Null;
    let table: &[(&str, Wrap, Value, Value, &str)] = &[
        ("nothing", |_, p| ethernet(0x0800, p), none.clone(), none.clone(), ""),
        (
            "802.1Q",
            |_, p| ethernet(0x8100, &cat(&[&[0, 5, 8, 0], p])),
            json!({"vlan": {"id": "5"}}),
            none.clone(),
            "in vlan 5",
        ),
        (
            "QinQ",
            |_, p| ethernet(0x88a8, &cat(&[&[0, 5, 0x81, 0, 0, 6, 8, 0], p])),
            json!({"vlan": {"id": "5"}, "inner": {"vlan": {"id": "6"}}}),
            none.clone(),
            "in vlan 5 vlan 6",
        ),
        (
            "MPLS below a tag",
            |_, p| ethernet(0x8100, &cat(&[&[0, 5, 0x88, 0x47, 0, 1, 1, 64], p])),
            json!({"vlan": {"id": "5"}}),
            json!({"layers": [{"type": "vlan", "id": 5}, {"type": "mpls", "id": 16}], "outer": []}),
            "in vlan 5 mpls 16",
        ),
        (
            "MPLS and Ethernet whose address begins as IPv4 does",
            |_, p| {
                let macs = [0x48, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];
                ethernet(0x8847, &cat(&[&[0, 1, 1, 64], &macs, p]))
            },
            none.clone(),
            json!({"layers": [{"type": "mpls", "id": 16}, {"type": "ethernet"}], "outer": []}),
            "in mpls 16 ethernet",
        ),
        (
            "MPLS and Ethernet whose address begins as IPv6 does",
            |_, p| {
                let macs = [0x64, 0, 0, 0, 0xff, 1, 0, 0x1b, 0, 0, 0, 2, 8, 0];
                ethernet(0x8847, &cat(&[&[0, 1, 1, 64], &macs, p]))
            },
            none.clone(),
            json!({"layers": [{"type": "mpls", "id": 16}, {"type": "ethernet"}], "outer": []}),
            "in mpls 16 ethernet",
        ),
        (
            "PPPoE",
            |_, p| {
                let ppp = ppp(p);
                let length = (ppp.len() as u16).to_be_bytes();
                ethernet(0x8864, &cat(&[&[0x11, 0, 0, 9], &length, &ppp]))
            },
            none.clone(),
            json!({"layers": [{"type": "pppoe", "id": 9}, {"type": "ppp"}], "outer": []}),
            "in pppoe 9 ppp",
        ),
        (
            "IP in IP",
            |c, p| ethernet(0x0800, &outer(4, c, p)),
            none.clone(),
            json!({"layers": [{"type": "ip"}], "outer": four}),
            "in ip (192.0.2.2 → 192.0.2.1)",
        ),
        (
            "4in6",
            |c, p| ethernet(0x86dd, &outer6(4, c, p)),
            none.clone(),
            json!({
                "layers": [{"type": "ip"}],
                "outer": [{"client": {"ip": "fd00::2"}, "server": {"ip": "fd00::1"}}],
            }),
            "in ip (fd00::2 → fd00::1)",
        ),
        (
            "GRE without a key",
            |c, p| ethernet(0x0800, &outer(47, c, &cat(&[&[0, 0, 8, 0], p]))),
            none.clone(),
            json!({"layers": [{"type": "gre"}], "outer": four}),
            "in gre (192.0.2.2 → 192.0.2.1)",
        ),
        (
            "GRE with one",
            |c, p| {
                let gre = cat(&[&[0x20, 0, 8, 0, 0, 0, 0, 77], p]);
                ethernet(0x0800, &outer(47, c, &gre))
            },
            none.clone(),
            json!({"layers": [{"type": "gre", "id": 77}], "outer": four}),
            "in gre 77 (192.0.2.2 → 192.0.2.1)",
        ),
        (
            "ERSPAN II",
            |c, p| {
                let head = [0x10, 0, 0x88, 0xbe, 0, 0, 0, 1, 0x10, 0, 0, 6, 0, 0, 0, 0];
                ethernet(0x0800, &outer(47, c, &cat(&[&head, &ethernet(0x0800, p)])))
            },
            none.clone(),
            json!({"layers": [{"type": "gre"}, {"type": "erspan", "id": 6}], "outer": four}),
            "in gre erspan 6 (192.0.2.2 → 192.0.2.1)",
        ),
        (
            "VXLAN, its outer frame tagged",
            |c, p| {
                let vxlan = cat(&[&[8, 0, 0, 0, 0, 0, 42, 0], &ethernet(0x0800, p)]);
                ethernet(0x8100, &cat(&[&[0, 5, 8, 0], &udp(4789, c, &vxlan)]))
            },
            json!({"vlan": {"id": "5"}}),
            json!({
                "layers": [{"type": "vlan", "id": 5}, {"type": "vxlan", "id": 42}],
                "outer": four,
            }),
            "in vlan 5 vxlan 42 (192.0.2.2 → 192.0.2.1)",
        ),
        (
            "Geneve",
            |c, p| {
                let head = [0, 0, 0x65, 0x58, 0, 0, 7, 0];
                let geneve = cat(&[&head, &ethernet(0x0800, p)]);
                ethernet(0x0800, &udp(6081, c, &geneve))
            },
            none.clone(),
            json!({
                "layers": [{"type": "geneve", "id": 7}, {"type": "ethernet"}],
                "outer": four,
            }),
            "in geneve 7 ethernet (192.0.2.2 → 192.0.2.1)",
        ),
        (
            "GTP-U, whose numbers differ by direction: the response's",
            |c, p| {
                let length = (p.len() as u16).to_be_bytes();
                let gtp = cat(&[&[0x30, 255], &length, &[0, 0, 0, if c { 7 } else { 8 }], p]);
                ethernet(0x0800, &udp(2152, c, &gtp))
            },
            none.clone(),
            json!({"layers": [{"type": "gtpu", "id": 8}], "outer": four}),
            "in gtpu 8 (192.0.2.2 → 192.0.2.1)",
        ),
        (
            "L2TP",
            |c, p| {
                let ppp = ppp(p);
                let head = [0, 2, 0, 3, 0, 4];
                ethernet(0x0800, &udp(1701, c, &cat(&[&head, &[0xff, 3], &ppp])))
            },
            none.clone(),
            json!({
                "layers": [{"type": "l2tp", "id": 3 << 16 | 4}, {"type": "ppp"}],
                "outer": four,
            }),
            "in l2tp 196612 ppp (192.0.2.2 → 192.0.2.1)",
        ),
        (
            "IP in IP in VXLAN",
            |c, p| {
                let inner = ethernet(0x0800, &outer(4, c, p));
                let vxlan = cat(&[&[8, 0, 0, 0, 0, 0, 42, 0], &inner]);
                ethernet(
                    0x86dd,
                    &outer6(
                        17,
                        c,
                        &cat(&[
                            &[156, 64, 18, 181],
                            &(vxlan.len() as u16 + 8).to_be_bytes(),
                            &[0, 0],
                            &vxlan,
                        ]),
                    ),
                )
            },
            none.clone(),
            json!({
                "layers": [{"type": "vxlan", "id": 42}, {"type": "ip"}],
                "outer": [
                    {"client": {"ip": "fd00::2"}, "server": {"ip": "fd00::1"}},
                    {"client": {"ip": "192.0.2.2"}, "server": {"ip": "192.0.2.1"}},
                ],
            }),
            "in vxlan 42 ip (fd00::2 → fd00::1) (192.0.2.2 → 192.0.2.1)",
        ),
    ];
    let talk = open()
        .ask(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .answer(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
    // Never answered: encapsulation is that of the request.
    let unanswered = open().ask(b"GET /2 HTTP/1.1\r\nHost: a\r\n\r\n").reset(Side::Server);
    for (name, wrap, network, tunnel, words) in table {
        for (talk, answered) in [(&talk, true), (&unanswered, false)] {
            let frames: Vec<Vec<u8>> = talk
                .segments
                .iter()
                .map(|s| wrap(s.from == Side::Client, &talk.path.frame(s)))
                .collect();
            let file = pcap::temporary(pcap::LinkType::Ethernet, &frames);
            for more in [&[][..], &["--kernel-filter"]] {
                let ran = read(&file, &[&["-o", "json"], more].concat());
                let records = admitted(&ran);
                assert_eq!(records.len(), 1, "{name}: {}", ran.err);
                let record = &records[0];
                let vlans = ["vlan", "inner"].map(|key| &record["network"][key]);
                assert_eq!(vlans, [&network["vlan"], &network["inner"]], "{name}");
                let mut tunnel = tunnel.clone();
                if name.starts_with("GTP-U") && !answered {
                    tunnel["layers"][0]["id"] = json!(7);
                }
                assert_eq!(record["http_trace"]["tunnel"], tunnel, "{name} {more:?}");
            }
            if answered {
                let text = read(&file, &["-o", "pretty", "-vv"]).out;
                assert!(text.contains(words), "{name}: {text}");
                // One mark on the first line, and only for tunnels.
                let first = text.lines().next().unwrap_or_default();
                assert_eq!(first.contains("  in "), tunnel.is_object(), "{name}: {first}");
            }
        }
    }
}

/// 802.11 frames with aggregated MSDUs: all subframes are read, whatever precedes them.
#[test]
fn every_subframe_of_an_aggregate_is_read() {
    /// A frame of an access point: QoS data with the A-MSDU bit, and these subframes.
    fn aggregate(radiotap: bool, subframes: &[Vec<u8>]) -> Vec<u8> {
        let mut out = Vec::new();
        if radiotap {
            out.extend([0, 0, 9, 0, 2, 0, 0, 0, 0x10]);
        }
        out.extend([0x88, 2, 0, 0]);
        out.extend([[2; 6], [4; 6], [4; 6]].concat());
        out.extend([0, 0, 0x80, 0]);
        for (i, subframe) in subframes.iter().enumerate() {
            out.extend([[2_u8; 6], [6; 6]].concat());
            out.extend((subframe.len() as u16).to_be_bytes());
            out.extend(subframe);
            if i + 1 < subframes.len() {
                out.extend(vec![
                    0;
                    (14 + subframe.len()).next_multiple_of(4) - 14 - subframe.len()
                ]);
            }
        }
        if radiotap {
            out.extend([1, 2, 3, 4]);
        }
        out
    }
    let snap = |kind: [u8; 2], inner: &[u8]| cat(&[&[0xaa, 0xaa, 3, 0, 0, 0], &kind, inner]);
    let answer = |length: usize| {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
        [head.into_bytes(), vec![b'x'; length]].concat()
    };
    let mut talk = open();
    for i in 0..7 {
        let ask = format!("GET /{i} HTTP/1.1\r\nHost: a\r\n\r\n");
        talk = talk.ask(ask.as_bytes());
    }
    // All lengths, so that all paddings occur.
    for length in 0..7 {
        talk = talk.answer(&answer(length));
    }
    let frames = |radiotap: bool| {
        let all: Vec<_> = talk.frames().iter().map(|p| snap([8, 0], p)).collect();
        let (before, answers) = all.split_at(all.len() - 7);
        let mut frames: Vec<_> =
            before.iter().map(|one| aggregate(radiotap, slice::from_ref(one))).collect();
        let no_ip = snap([8, 6], &[0; 28]);
        let with =
            |some: &[Vec<u8>]| [slice::from_ref(&no_ip), some, slice::from_ref(&no_ip)].concat();
        frames.push(aggregate(radiotap, &with(&answers[..3])));
        frames.push(aggregate(radiotap, &answers[3..]));
        frames
    };
    for (link, radiotap) in [(105_u32, false), (127, true)] {
        let file = pcap::temporary(link, &frames(radiotap));
        for more in [&[][..], &["--kernel-filter"]] {
            let ran = read(&file, &[&["-o", "json"], more].concat());
            let paths: Vec<_> = admitted(&ran)
                .iter()
                .map(|record| record["url"]["path"].as_str().unwrap_or("none").to_owned())
                .collect();
            let expected: Vec<_> = (0..7).map(|i| format!("/{i}")).collect();
            assert_eq!(paths, expected, "{link} {more:?}: {}", ran.err);
        }
        // The same number as found by tshark, if it is installed.
        let found = std::process::Command::new("tshark")
            .args(["-T", "fields", "-Y", "http.response"])
            .args(["-e", "http.content_length", "-r"])
            .arg(file.path())
            .output();
        if let Ok(found) = found {
            let found = String::from_utf8_lossy(&found.stdout);
            let found: Vec<_> = found.split([',', '\n']).filter(|n| !n.is_empty()).collect();
            assert_eq!(found, ["0", "1", "2", "3", "4", "5", "6"], "{link}");
        }
    }
}
