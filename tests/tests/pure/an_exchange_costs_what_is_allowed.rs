//! An exchange of a keep-alive connection stays within `tests/budget.toml`, in instructions, which do not
//! depend on other load of the machine.

use std::fs::File;
use std::io::BufWriter;
use std::process::Command;

use http_trace_tests::budget::{Budget, Costs};
use http_trace_tests::pcap::{LinkType, PcapWriter};
use http_trace_tests::scene::{Scene, Side, Step};
use http_trace_tests::tcp::{Layout, Path, segments};
use http_trace_tests::{agent, need, skip};

const REQUEST: &[u8] = b"GET /index.html?page=7 HTTP/1.1\r\nHost: www.example.com\r\n\
    User-Agent: curl/8.5.0\r\nAccept: */*\r\n\r\n";
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nServer: nginx\r\n\
    Date: Fri, 20 Nov 2026 09:00:00 GMT\r\nContent-Type: text/plain\r\nContent-Length: 16\r\n\
    Last-Modified: Mon, 02 Nov 2026 10:00:00 GMT\r\nConnection: keep-alive\r\n\
    ETag: \"654374e0-10\"\r\nAccept-Ranges: bytes\r\n\r\n0123456789abcdef";

/// Cost of reading this many exchanges on each of ten connections.
fn costs(exchanges: usize) -> Costs {
    let folder = tempfile::tempdir().expect("a folder");
    let capture = folder.path().join("exchanges.pcap");
    let exchange =
        [Step::Send(Side::Client, REQUEST.into()), Step::Send(Side::Server, RESPONSE.into())];
    let scene = Scene {
        name: "keep-alive",
        steps: exchange.iter().cloned().cycle().take(2 * exchanges).collect(),
        truth: Vec::new(),
    };
    let laid_out = segments(&scene, &Layout::default());
    let file = BufWriter::new(File::create(&capture).expect("a file"));
    let mut writer = PcapWriter::new(file, LinkType::Ethernet).expect("a capture");
    for segment in &laid_out {
        for port in 0..10 {
            let frame = Path::v4(20_000 + port).frame(segment);
            writer.write(segment.time_ns, &frame).expect("written");
        }
    }
    writer.finish().expect("written");
    let mut command = Command::new(agent::binary().expect("the program"));
    command.arg("-r").arg(&capture).args(["-o", "json:/dev/null"]);
    Costs::of(&command).expect("callgrind")
}

#[test]
fn an_exchange_costs_what_is_allowed() {
    if need::program("valgrind").is_none() {
        return skip!("valgrind");
    }
    let allowed = Budget::read().expect("a budget").exchange;
    // Both include the cost of the start.
    let more = costs(500) - costs(100);
    let each = |sum: f64| sum / 4000.0;
    Budget::check("instructions", each(more.instructions), allowed.instructions);
    Budget::check("allocations", each(more.allocations), allowed.allocations);
}
