//! Writes the captures that a guided build is trained with: `training FOLDER`. They are what the agent
//! has to do on an ordinary host and on one that is attacked: a site's visitors, of whom some ask for
//! what is not there; a few clients that get nothing but errors; made-up addresses of which each comes
//! once; long keep-alive connections; and this package's own recordings.
//!
//! The same every time. `cargo xtask build --guided` runs the agent over them.
#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::net::SocketAddr;
use std::path::{Path as FilePath, PathBuf};

use anyhow::{Context, Result};
use http_trace::event::HttpEvent;
use http_trace::http::head::Headers;
use http_trace_tests::pcap::{LinkType, PcapWriter};
use http_trace_tests::scene::{Scene, Side, Step};
use http_trace_tests::tcp::{Layout, Path, Segment, segments};
use http_trace_tests::visitors::{Visitors, ip_of};

/// Connections that are open at the same time.
const AT_ONCE: u32 = 64;

/// Time from one connection's beginning to the next one's.
const STEP_NS: u64 = 2_000_000;

/// Who comes, and for what.
struct Crowd {
    name: &'static str,
    connections: u32,
    clients: u32,
    /// Of a hundred requests so many get an error.
    errors: u32,
    /// The fewest requests of a connection, and the most.
    requests: [u32; 2],
}

const CROWDS: [Crowd; 4] = [
    Crowd {
        name: "visitors",
        connections: 4000,
        clients: 900,
        errors: 5,
        requests: [1, 8],
    },
    Crowd {
        name: "attackers",
        connections: 3000,
        clients: 10,
        errors: 100,
        requests: [1, 6],
    },
    Crowd {
        name: "made-up",
        connections: 8000,
        clients: 1_000_000,
        errors: 60,
        requests: [1, 2],
    },
    Crowd {
        name: "keep-alive",
        connections: 64,
        clients: 64,
        errors: 1,
        requests: [100, 100],
    },
];

fn main() -> Result<()> {
    let folder: PathBuf = std::env::args_os()
        .nth(1)
        .context("usage: training FOLDER")?
        .into();
    fs::create_dir_all(&folder)?;
    for crowd in &CROWDS {
        let path = folder.join(crowd.name).with_extension("pcap");
        write(crowd, &path).with_context(|| path.display().to_string())?;
    }
    let own = FilePath::new(env!("CARGO_MANIFEST_DIR")).join("captures");
    for entry in fs::read_dir(&own)? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "pcap")
            && let Some(name) = path.file_name()
        {
            fs::copy(&path, folder.join(name))?;
        }
    }
    Ok(())
}

fn write(crowd: &Crowd, path: &FilePath) -> Result<()> {
    let mut visitors = Visitors::new(11);
    let out = BufWriter::new(File::create(path)?);
    let mut writer = PcapWriter::new(out, LinkType::Ethernet)?;
    let mut wait: Vec<(u64, Vec<u8>)> = Vec::new();
    for number in 0..crowd.connections {
        let start_ns = Visitors::TIME_NS + u64::from(number) * STEP_NS;
        let (path, segments) = connection(crowd, number, start_ns, &mut visitors);
        wait.extend(segments.iter().map(|s| (s.time_ns, path.frame(s))));
        if number % AT_ONCE == AT_ONCE - 1 || number + 1 == crowd.connections {
            wait.sort_by_key(|(time_ns, _)| *time_ns);
            for (time_ns, frame) in wait.drain(..) {
                writer.write(time_ns, &frame)?;
            }
        }
    }
    writer.finish()?.flush()?;
    Ok(())
}

/// The segments of a connection, and whose they are.
fn connection(
    crowd: &Crowd,
    number: u32,
    start_ns: u64,
    visitors: &mut Visitors,
) -> (Path, Vec<Segment>) {
    let client = ip_of(number.wrapping_mul(7_919) % crowd.clients);
    let mut steps = Vec::new();
    let mut server = None;
    let [fewest, most] = crowd.requests;
    for request in 0..fewest + number % (most - fewest + 1) {
        let roll = (number.wrapping_mul(31) + request * 17) % 100;
        let event = visitors.event(roll < crowd.errors);
        server.get_or_insert(event.server);
        // Every fourth answer is chunked, the others are of a declared length.
        let (asked, answered) = exchange(&event, roll.is_multiple_of(4));
        steps.push(Step::Send(Side::Client, asked.into()));
        steps.push(Step::Send(Side::Server, answered.into()));
    }
    steps.extend([Step::Close(Side::Client), Step::Close(Side::Server)]);
    let scene = Scene {
        name: crowd.name,
        steps,
        truth: Vec::new(),
    };
    let layout = Layout {
        isn: [
            number.wrapping_mul(0x9e37_79b1),
            number.wrapping_mul(0x85eb_ca77),
        ],
        start_ns,
        ..Layout::default()
    };
    let port = 1024 + (number % 60_000) as u16;
    let server = server.map_or(SocketAddr::from(([10, 0, 0, 10], 80)), |server| {
        SocketAddr::new(server.ip, server.port)
    });
    let path = Path {
        client: SocketAddr::new(client, port),
        server,
        ..Path::v4(port)
    };
    (path, segments(&scene, &layout))
}

/// A request and its response as they are sent.
fn exchange(event: &HttpEvent, chunked: bool) -> (Vec<u8>, Vec<u8>) {
    let (mut asked, mut answered) = (Vec::new(), Vec::new());
    if let Some(request) = &event.request {
        asked.extend_from_slice(&request.method);
        asked.push(b' ');
        asked.extend_from_slice(&request.target);
        asked.extend_from_slice(b" HTTP/1.1\r\n");
        lines(&mut asked, &request.headers, chunked);
        if request.method[..] == *b"POST" {
            asked.extend_from_slice(b"Content-Length: 11\r\n\r\nfield=value");
        } else {
            asked.extend_from_slice(b"\r\n");
        }
    }
    if let Some(response) = &event.response {
        let status = format!("HTTP/1.1 {} ", response.status);
        answered.extend_from_slice(status.as_bytes());
        answered.extend_from_slice(&response.reason);
        answered.extend_from_slice(b"\r\n");
        lines(&mut answered, &response.headers, chunked);
        if chunked {
            answered.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
        }
        answered.extend_from_slice(b"\r\n");
        let body = [b'.'; 5120];
        match (response.status, chunked) {
            (304, _) => {}
            (_, false) => answered.extend_from_slice(&body),
            (_, true) => {
                for chunk in body.chunks(2000) {
                    answered.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                    answered.extend_from_slice(chunk);
                    answered.extend_from_slice(b"\r\n");
                }
                answered.extend_from_slice(b"0\r\n\r\n");
            }
        }
    }
    (asked, answered)
}

/// The lines of a head but for that of a length where none is declared.
fn lines(out: &mut Vec<u8>, headers: &Headers, chunked: bool) {
    for line in headers.iter() {
        if chunked && line.name.eq_ignore_ascii_case(b"content-length") {
            continue;
        }
        out.extend_from_slice(line.name);
        out.extend_from_slice(b": ");
        out.extend_from_slice(line.value);
        out.extend_from_slice(b"\r\n");
    }
}
