//! Responses per second in a replay: the release build over a capture of keep-alive connections, without
//! output and as json, with the kernel's filter and without. Variants are interleaved.
//!
//! ```text
//! cargo xtask bench replay
//! ```

use std::fs::File;
use std::io::BufWriter;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Result, ensure};
use http_trace_tests::agent;
use http_trace_tests::figures::median;
use http_trace_tests::pcap::{LinkType, PcapWriter};
use http_trace_tests::scene::{Scene, Side, Step};
use http_trace_tests::tcp::{Layout, Path, segments};

const CONNECTIONS: u16 = 500;
const RESPONSES_EACH: usize = 400;
const TURNS: usize = 5;

const REQUEST: &[u8] = b"GET /index.html?page=7 HTTP/1.1\r\nHost: www.example.com\r\n\
    User-Agent: curl/8.5.0\r\nAccept: */*\r\n\r\n";
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\n\
    Date: Fri, 20 Nov 2026 09:00:00 GMT\r\nContent-Type: text/plain\r\nContent-Length: 16\r\n\
    Last-Modified: Mon, 02 Nov 2026 10:00:00 GMT\r\nConnection: keep-alive\r\n\
    ETag: \"654374e0-10\"\r\nAccept-Ranges: bytes\r\n\r\n0123456789abcdef";

fn main() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let capture = folder.path().join("keep-alive.pcap");
    let exchange =
        [Step::Send(Side::Client, REQUEST.into()), Step::Send(Side::Server, RESPONSE.into())];
    let scene = Scene {
        name: "keep-alive",
        steps: exchange.iter().cloned().cycle().take(2 * RESPONSES_EACH).collect(),
        truth: Vec::new(),
    };
    let layout = Layout { acks: false, ..Layout::default() };
    let laid_out = segments(&scene, &layout);
    let mut writer = PcapWriter::new(BufWriter::new(File::create(&capture)?), LinkType::Ethernet)?;
    for segment in &laid_out {
        // Connections alternate, as on a busy server.
        for port in 0..CONNECTIONS {
            writer.write(segment.time_ns, &Path::v4(20_000 + port).frame(segment))?;
        }
    }
    writer.finish()?;
    let total = f64::from(CONNECTIONS) * RESPONSES_EACH as f64;

    // A status that does not occur: everything is judged, nothing is written.
    let variants: [(&str, &[&str]); 4] = [
        ("no sink", &["--status", "999"]),
        ("no sink, kernel's filter", &["--status", "999", "--kernel-filter"]),
        ("json", &[]),
        ("json, kernel's filter", &["--kernel-filter"]),
    ];
    let mut rates = vec![Vec::new(); variants.len()];
    for turn in 0..=TURNS {
        for ((name, options), rates) in variants.iter().zip(&mut rates) {
            let mut command = Command::new(agent::binary()?);
            command.arg("-r").arg(&capture).args(["-o", "json:/dev/null"]).args(*options);
            let begun = Instant::now();
            let status = command.stdin(Stdio::null()).stderr(Stdio::null()).status()?;
            ensure!(status.success(), "{name}: {status}");
            if turn > 0 {
                rates.push(total / begun.elapsed().as_secs_f64());
            }
        }
    }
    println!("{total:.0} keep-alive responses, {TURNS} turns; responses a second (median):");
    for ((name, _), rates) in variants.iter().zip(&mut rates) {
        println!("{name:<28} {:>10.0}", median(rates));
    }
    Ok(())
}
