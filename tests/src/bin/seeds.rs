//! Writes seeds for the fuzz targets: `seeds FOLDER [CAPTURE…]`, one folder per target, from this package's
//! captures or the named ones, the built-in rules, and the lines below. `fuzz/fuzz_targets` and
//! `fuzz/src/conversation.rs` define the inputs.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use http_trace::capture::{Frames, Replay, ReplayOptions};
use http_trace::recorded::Recorded;
use http_trace::sink::Style;
use http_trace::sink::json::Json;
use http_trace::sink::{Entry, Render};
use http_trace_detect::builtin;
use http_trace_detect::detector::{Detector, Settings};
use http_trace_detect::parse::{Source, parse};
use http_trace_detect::rule::Origin;
use http_trace_detect::snapshot::HEADER;

/// Limit of seeds of one kind per capture.
const FRAMES: usize = 60;
const CONNECTIONS: usize = 40;
/// The longest input, in bytes; longer ones fuzz too slowly.
const LONGEST: usize = 6000;

/// The client's address in each form that proxies use.
const PROXIED: [&str; 6] = [
    "PROXY TCP4 192.0.2.7 198.51.100.1 50000 443\r\n",
    "PROXY TCP6 2001:db8::7 2001:db8::1 50000 443\r\n",
    "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x0a\x01\x02\x03\x0a\x09\x09\x09\x23\x28\x01\x23",
    "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.7, [2001:db8::7]:80, 10.0.0.1:5\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nForwarded: for=\"[2001:db8::7]:4711\";by=_x, for=192.0.2.7\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nX-Real-IP: 192.0.2.7\r\nForwarded: for=unknown\r\n\r\n",
];

/// Recorded events: access logs, also with a syslog header and as JSON, Zeek's http.log as JSON and TSV,
/// Suricata's eve.json.
const LOGS: [&str; 6] = [
    "<190>Nov 20 10:00:00 vm nginx: {\"msec\":1795156800.5,\"remote_addr\":\"192.0.2.7\",\
     \"request\":\"GET /a HTTP/1.1\",\"status\":404,\"http_user_agent\":\"\\x22\"}\n",
    "<13>1 2026-11-20T10:00:00Z vm httpd - - [a b=\"c\"] www.example.org:80 192.0.2.7 - - \
     [20/Nov/2026:10:00:00 +0100] \"GET /a HTTP/1.1\" 404 12 \"-\" \"curl/8\"\n",
    "{\"timestamp\":\"2026-11-20T10:00:00.5+0000\",\"event_type\":\"http\",\"src_ip\":\"10.1.2.3\",\
     \"dest_ip\":\"10.9.9.9\",\"http\":{\"http_method\":\"GET\",\"url\":\"/b\",\"status\":404}}\n",
    "192.0.2.7 - frank [20/Nov/2026:10:00:00 +0100] \"GET /a?b=%20c HTTP/1.1\" 404 12 \"-\" \"curl/8\"\n\
     2001:db8::7 - - [20/Nov/2026:10:00:01 +0100] \"\\x16\\x03\" 400 0\n\
     192.0.2.7 - - [20/Nov/2026:10:00:02 +0100] \"POST /login HTTP/1.0\" 401 -\n",
    "{\"ts\":1795156800.5,\"uid\":\"C1\",\"id.orig_h\":\"10.1.2.3\",\"id.orig_p\":50000,\
     \"id.resp_h\":\"10.9.9.9\",\"id.resp_p\":80,\"method\":\"GET\",\"host\":\"a\",\"uri\":\"/b\",\
     \"version\":\"1.1\",\"status_code\":404,\"status_msg\":\"Not Found\"}\n",
    "#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\thttp\n\
     #fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tmethod\thost\turi\tstatus_code\n\
     1795156800.25\tC1\t10.1.2.3\t50000\t10.9.9.9\t80\tGET\ta\t/b\t404\n",
];

/// One connection: its segments in the format of the target `filter`, and each direction's bytes.
#[derive(Default)]
struct Connection {
    schedule: Vec<u8>,
    streams: [Vec<u8>; 2],
    client: Option<usize>,
}

fn main() -> Result<()> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let folder = arguments.next().context("usage: seeds FOLDER [CAPTURE…]")?;
    let mut captures: Vec<PathBuf> = arguments.collect();
    if captures.is_empty() {
        let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("captures");
        for entry in std::fs::read_dir(&own).with_context(|| own.display().to_string())? {
            captures.push(entry?.path());
        }
        captures.retain(|path| path.extension().is_some_and(|e| e == "pcap"));
        captures.sort();
    }
    let mut written = 0;
    let mut seed = |target: &str, name: String, bytes: &[u8]| -> Result<()> {
        let folder = folder.join(target);
        std::fs::create_dir_all(&folder)?;
        let path = folder.join(name);
        std::fs::write(&path, bytes).with_context(|| path.display().to_string())?;
        written += 1;
        Ok(())
    };
    for (nth, capture) in captures.iter().enumerate() {
        let file = std::fs::read(capture).with_context(|| capture.display().to_string())?;
        let cut = file.get(..LONGEST).unwrap_or(&file);
        seed("capture", format!("{nth}"), cut)?;
        let mut frames = Frames::open(std::slice::from_ref(capture));
        for at in 0..FRAMES {
            let Some(frame) = frames.next_frame() else {
                break;
            };
            // The second of the target's link types is Ethernet; checksums verified or not.
            let data = frame.data.get(..LONGEST).unwrap_or(frame.data);
            let options = [1, (at % 2) as u8];
            seed("walk", format!("{nth}-{at}"), &[&options[..], data].concat())?;
        }
        for (at, one) in connections(capture).into_iter().enumerate() {
            let name = format!("{nth}-{at}");
            for options in 0..4_u8 {
                let input = [&[options][..], &one.schedule].concat();
                seed("filter", format!("{name}-{options}"), &input)?;
            }
            for (d, stream) in one.streams.iter().enumerate() {
                let Some(stream) = stream.get(..stream.len().min(LONGEST)) else {
                    continue;
                };
                let input = [&[1, (at % 7) as u8][..], stream].concat();
                seed("framer", format!("{name}-{d}"), &input)?;
                let end = stream.windows(4).position(|w| w == b"\r\n\r\n");
                if let Some(head) = end.and_then(|end| stream.get(..end + 4)) {
                    seed("head", format!("{name}-{d}"), head)?;
                }
                // Overlapping pieces of 40 bytes, the later one first.
                let mut pieces = Vec::new();
                for (piece, bytes) in stream.chunks(40).take(20).enumerate().rev() {
                    let start = (piece * 36) as u16;
                    pieces.push([0, 2, 4, 3][piece % 4]);
                    pieces.extend_from_slice(&start.to_le_bytes());
                    pieces.push(bytes.len() as u8);
                    pieces.extend_from_slice(bytes);
                }
                seed("reassembly", format!("{name}-{d}"), &pieces)?;
            }
        }
    }
    for (nth, line) in PROXIED.iter().enumerate() {
        seed("head", format!("proxied-{nth}"), line.as_bytes())?;
    }
    for (name, text) in builtin::FILES {
        // One document each; longer inputs fuzz too slowly.
        for (nth, rule) in text.split("\n---\n").enumerate() {
            seed("rules", format!("{name}-{nth}"), rule.as_bytes())?;
        }
    }
    for (nth, log) in LOGS.iter().enumerate() {
        seed("recorded", format!("{nth}"), log.as_bytes())?;
        let (own, state) = of_log(log)?;
        seed("recorded", format!("own-{nth}"), &own)?;
        let payload = state.get(HEADER..).unwrap_or_default();
        seed("state", format!("{nth}"), payload)?;
    }
    for form in 0..16_u8 {
        let sent = b"GET /a?b=%20c HTTP/1.1\nhttp://r/\ncurl/8 \"\\\xff\nfrank [1]";
        seed("logs", form.to_string(), &[&[form][..], sent].concat())?;
    }
    println!("{written} seeds from {} captures in {}", captures.len(), folder.display());
    Ok(())
}

/// Our own json for a log, and the state of the rules of the target `state` after it.
fn of_log(log: &str) -> Result<(Vec<u8>, Vec<u8>)> {
    let rules = Source {
        origin: Origin::BuiltIn("state.yml"),
        text: include_str!("../../../fuzz/state.yml").to_owned(),
    };
    let rules = parse(&[rules], &|_| false).rules;
    let mut detector = Detector::new(rules, Settings::default());
    let mut json = Json::new(&Style::default());
    let mut own = Vec::new();
    for event in Recorded::new(log.as_bytes()) {
        let event = event?;
        let entry = Entry { event: &event, user: None };
        json.event(&entry, &mut own);
        detector.push(Box::new(event), &mut |_| {});
    }
    Ok((own, detector.save().into_file(usize::MAX).0.to_vec()))
}

/// The first connections of a capture with payload, in a stable order.
fn connections(capture: &Path) -> Vec<Connection> {
    let mut replay = Replay::open(&[capture.to_path_buf()], ReplayOptions::default());
    let mut order = Vec::new();
    let mut all: HashMap<_, Connection> = HashMap::new();
    while let Some(record) = replay.next_record() {
        if record.bytes.is_empty() {
            continue;
        }
        let (key, direction) = record.header.key();
        if !all.contains_key(&key) {
            if order.len() == CONNECTIONS {
                continue;
            }
            order.push(key);
        }
        let one = all.entry(key).or_default();
        let client = *one.client.get_or_insert(direction.index());
        let from = usize::from(direction.index() != client);
        let bytes = record.bytes.get(..1500).unwrap_or(record.bytes);
        if one.schedule.len() + bytes.len() < LONGEST {
            // A fate that only matters if the input asks for disturbance.
            let fate = (one.schedule.len() / 64 % 4) as u8;
            one.schedule.push(from as u8 | fate << 1);
            let len = bytes.len() as u16;
            one.schedule.extend_from_slice(&len.to_le_bytes());
            one.schedule.extend_from_slice(bytes);
            if let Some(stream) = one.streams.get_mut(from) {
                stream.extend_from_slice(bytes);
            }
        }
    }
    order.iter().filter_map(|key| all.remove(key)).collect()
}
