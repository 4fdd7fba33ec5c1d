//! Writes seeds for the fuzz targets: `seeds FOLDER [CAPTURE…]`, a folder in it for each target,
//! made of this package's own captures or of those named. `fuzz/fuzz_targets` and
//! `fuzz/src/conversation.rs` say what the inputs mean.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use http_trace::capture::{Frames, Replay, ReplayOptions};

/// The most of a kind from one capture.
const FRAMES: usize = 60;
const CONNECTIONS: usize = 40;
/// The longest input, in bytes: what is longer is fuzzed too slowly.
const LONGEST: usize = 6000;

/// One connection: its segments as the target `filter` reads them, and each direction's bytes.
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
            // The second of the target's link types is Ethernet; checksums asked for or not.
            let data = frame.data.get(..LONGEST).unwrap_or(frame.data);
            let options = [1, (at % 2) as u8];
            seed(
                "walk",
                format!("{nth}-{at}"),
                &[&options[..], data].concat(),
            )?;
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
                // Overlapping pieces of 40 bytes, the later first.
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
    println!(
        "{written} seeds from {} captures in {}",
        captures.len(),
        folder.display()
    );
    Ok(())
}

/// The first connections of a capture that carry payload, in a stable order.
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
            // A fate that only matters where the input asks for disturbance.
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
