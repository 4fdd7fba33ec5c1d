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

/// As browsers ask, and sites behind a proxy answer: target, cookie and tags differ in each exchange.
fn of_a_browser(number: usize) -> [Vec<u8>; 2] {
    let id = number.wrapping_mul(0x9e37_79b1) & 0xffff_ffff;
    let request = format!(
        "GET /assets/app/{id:08x}.js?v={number} HTTP/1.1\r\nHost: www.example.com\r\n\
         Connection: keep-alive\r\nsec-ch-ua-platform: \"Linux\"\r\n\
         User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/128.0.0.0\r\n\
         Accept: image/avif,image/webp,*/*;q=0.8\r\nSec-Fetch-Site: same-origin\r\n\
         Sec-Fetch-Mode: no-cors\r\nReferer: http://www.example.com/page/{number}\r\n\
         Accept-Encoding: gzip, deflate, br\r\nAccept-Language: en-US,en;q=0.9\r\n\
         Cookie: _ga=GA1.1.1234567890.{id}; theme=dark\r\nIf-None-Match: \"{id:x}\"\r\n\r\n"
    );
    let response = format!(
        "HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Fri, 20 Nov 2026 09:00:00 GMT\r\n\
         Content-Type: text/javascript\r\nContent-Length: 16\r\nConnection: keep-alive\r\n\
         ETag: \"{id:x}\"\r\nCache-Control: max-age=31536000\r\nVary: Accept-Encoding\r\n\
         X-Request-Id: {id:032x}\r\nX-Content-Type-Options: nosniff\r\n\r\n0123456789abcdef"
    );
    [request.into(), response.into()]
}

/// Cost of reading this many exchanges on each of some connections.
fn costs(exchanges: usize, connections: u16, exchange: impl Fn(usize) -> [Vec<u8>; 2]) -> Costs {
    let folder = tempfile::tempdir().expect("a folder");
    let capture = folder.path().join("exchanges.pcap");
    let steps = (0..exchanges).flat_map(|number| {
        let [request, response] = exchange(number);
        [Step::Send(Side::Client, request.into()), Step::Send(Side::Server, response.into())]
    });
    let scene = Scene { name: "keep-alive", steps: steps.collect(), truth: Vec::new() };
    let laid_out = segments(&scene, &Layout::default());
    let file = BufWriter::new(File::create(&capture).expect("a file"));
    let mut writer = PcapWriter::new(file, LinkType::Ethernet).expect("a capture");
    for segment in &laid_out {
        for port in 0..connections {
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
    let allowed = Budget::read().expect("a budget");
    let check = |what: &str, more: Costs, allowed: Costs| {
        // Both include the cost of the start.
        let each = |sum: f64| sum / 4000.0;
        Budget::check(
            &format!("{what}, instructions"),
            each(more.instructions),
            allowed.instructions,
        );
        Budget::check(&format!("{what}, allocations"), each(more.allocations), allowed.allocations);
    };
    let ordinary = |exchanges| costs(exchanges, 10, |_| [REQUEST.to_vec(), RESPONSE.to_vec()]);
    check("ordinary", ordinary(500) - ordinary(100), allowed.exchange);
    let of_a_browser = |exchanges| costs(exchanges, 1, of_a_browser);
    check("of a browser", of_a_browser(5000) - of_a_browser(1000), allowed.browser_exchange);
}
