//! Frames of a capture in a form for comparison.

use std::io::Cursor;

use http_trace::capture::{CaptureError, Frames};

/// Time, link type, interface, captured bytes, length on the wire.
pub type Row = (u64, u32, String, Vec<u8>, u32);

pub fn read(frames: &mut Frames) -> Vec<Row> {
    let mut rows = Vec::new();
    while let Some(frame) = frames.next_frame() {
        let row =
            (frame.time_ns, frame.link.0, frame.interface, frame.data.to_vec(), frame.wire_len);
        let name = frames.interface_name(row.2).map_or_else(String::new, |n| n.to_string());
        rows.push((row.0, row.1, name, row.3, row.4));
    }
    rows
}

pub fn read_bytes(bytes: &[u8]) -> (Vec<Row>, Vec<CaptureError>) {
    let mut frames = Frames::from_reader("test", Box::new(Cursor::new(bytes.to_vec())));
    let rows = read(&mut frames);
    (rows, frames.take_problems())
}

pub fn times(rows: &[Row]) -> Vec<u64> {
    rows.iter().map(|row| row.0).collect()
}
