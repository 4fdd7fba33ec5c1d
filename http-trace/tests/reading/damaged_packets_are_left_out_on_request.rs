//! `--verify-checksums` drops damaged packets and counts them.

use std::path::PathBuf;

use serde_json::Value;

use crate::command::run;
use crate::{admitted, open, raw, read};

/// The status lines of the records.
fn seen(records: &[Value]) -> Vec<String> {
    records
        .iter()
        .map(|record| {
            let response = &record["http"]["response"];
            format!("{} {}", response["status_code"], response["status_phrase"])
        })
        .collect()
}

#[test]
fn damaged_packets_are_used_unless_sums_are_asked_for() {
    let talk = || {
        open()
            .ask(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            .answer(b"HTTP/1.1 200 Fine\r\nContent-Length: 0\r\n\r\n")
    };
    // Offset of the byte of the response's packet to change, and what that affects.
    let damages: &[(&str, Option<usize>, &str)] = &[
        ("whole", None, "200 \"Fine\""),
        ("time to live, so the IPv4 header's", Some(8), "200 \"Fine\""),
        ("window, so TCP's", Some(34), "200 \"Fine\""),
        ("payload, so TCP's", Some(40 + 13), "200 \"Gine\""),
    ];
    for (name, at, by_default) in damages {
        let mut packets = talk().frames();
        if let (Some(at), Some(packet)) = (at, packets.last_mut()) {
            packet[*at] ^= 1;
        }
        let file = raw(&packets);
        let plain = read(&file, &["-o", "json"]);
        assert_eq!(seen(&admitted(&plain)), [*by_default], "{name}");
        assert!(!plain.err.contains("checksum"), "{name}: {}", plain.err);
        for more in [&[][..], &["--kernel-filter"]] {
            let strict = read(&file, &[&["-o", "json", "--verify-checksums"], more].concat());
            // Without its response, the request is one whose answer was not seen.
            let expected = if at.is_none() { *by_default } else { "null null" };
            assert_eq!(seen(&admitted(&strict)), [expected], "{name} {more:?}");
            let told = strict.err.contains("1 packet skipped with a wrong checksum");
            assert_eq!(told, at.is_some(), "{name}: {}", strict.err);
            // The agent itself lost nothing.
            assert_eq!(strict.status, 0, "{name}");
        }
    }
}

/// Captures of real servers have the same contents if checksums are verified, or the reason is reported (on
/// loopback checksums are left to hardware that does not exist).
#[test]
fn recorded_captures_say_what_they_pass_over() {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/captures"));
    for name in ["nginx.pcap", "node.pcap", "python.pcap", "scenes.pcap"] {
        let path = folder.join(name);
        let path = path.to_str().unwrap();
        let responses = |ran: &crate::Ran| {
            seen(&admitted(ran)).iter().filter(|line| !line.starts_with("null")).count()
        };
        let plain = run(&["-r", path, "-o", "json"]);
        let strict = run(&["-r", path, "-o", "json", "--verify-checksums"]);
        let told = strict.err.contains("skipped with a wrong checksum");
        assert_eq!(responses(&plain) != responses(&strict), told, "{name}: {}", strict.err);
    }
}
