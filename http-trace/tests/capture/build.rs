//! Captures to read, and how they are read.

use std::io::{Cursor, Write};
use std::path::PathBuf;

use etherparse::PacketBuilder;
use http_trace::capture::{CaptureError, Frames};

/// A folder that goes with the test.
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("http-trace-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }
    pub fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// An Ethernet frame from server to client.
pub fn frame(seq: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    PacketBuilder::ethernet2([1; 6], [2; 6])
        .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
        .tcp(80, 50000, seq, 4000)
        .ack(1)
        .write(&mut out, payload)
        .unwrap();
    out
}

/// How a classic file is written.
#[derive(Clone, Copy)]
pub struct Style {
    pub big_endian: bool,
    pub nanoseconds: bool,
}

pub const PLAIN: Style = Style {
    big_endian: false,
    nanoseconds: false,
};

impl Style {
    pub fn u32(self, n: u32) -> [u8; 4] {
        if self.big_endian {
            n.to_be_bytes()
        } else {
            n.to_le_bytes()
        }
    }
    pub fn u16(self, n: u16) -> [u8; 2] {
        if self.big_endian {
            n.to_be_bytes()
        } else {
            n.to_le_bytes()
        }
    }

    pub fn header(self, minor: u16, link: u32) -> Vec<u8> {
        let magic = if self.nanoseconds {
            0xa1b2_3c4d
        } else {
            0xa1b2_c3d4
        };
        [
            &self.u32(magic)[..],
            &self.u16(2),
            &self.u16(minor),
            &[0; 8],
            &self.u32(262_144),
            &self.u32(link),
        ]
        .concat()
    }

    pub fn record(self, seconds: u32, fraction: u32, data: &[u8], wire_len: u32) -> Vec<u8> {
        let len = data.len() as u32;
        let words = [seconds, fraction, len, wire_len].map(|n| self.u32(n));
        [&words.concat(), data].concat()
    }

    /// A file of one packet a second from `start`, one byte of payload each.
    pub fn pcap(self, start: u32, packets: u32) -> Vec<u8> {
        let mut out = self.header(4, 1);
        for i in 0..packets {
            let data = frame(start + i, &[b'a' + (i % 26) as u8]);
            out.extend(self.record(start + i, 7, &data, data.len() as u32));
        }
        out
    }

    pub fn block(self, kind: u32, body: &[u8]) -> Vec<u8> {
        let padding = vec![0; body.len().next_multiple_of(4) - body.len()];
        let length = self.u32((12 + body.len() + padding.len()) as u32);
        [&self.u32(kind)[..], &length, body, &padding, &length].concat()
    }

    pub fn section(self) -> Vec<u8> {
        let body = [
            &self.u32(0x1a2b_3c4d)[..],
            &self.u16(1),
            &self.u16(0),
            &[0xff; 8],
        ]
        .concat();
        self.block(0x0a0d_0d0a, &body)
    }

    /// An interface with options (code, value).
    pub fn interface(self, link: u16, snaplen: u32, options: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = [&self.u16(link)[..], &[0, 0], &self.u32(snaplen)].concat();
        for (code, value) in options {
            body.extend(self.u16(*code));
            body.extend(self.u16(value.len() as u16));
            body.extend_from_slice(value);
            body.resize(body.len().next_multiple_of(4), 0);
        }
        if !options.is_empty() {
            body.extend([0; 4]);
        }
        self.block(1, &body)
    }

    pub fn enhanced(self, interface: u32, time: u64, data: &[u8], wire_len: u32) -> Vec<u8> {
        let words = [
            interface,
            (time >> 32) as u32,
            time as u32,
            data.len() as u32,
            wire_len,
        ];
        self.block(6, &[&words.map(|n| self.u32(n)).concat(), data].concat())
    }
}

/// What a test asks of a frame: time, link type, interface, captured bytes, length on the wire.
pub type Row = (u64, u32, String, Vec<u8>, u32);

pub fn read(frames: &mut Frames) -> Vec<Row> {
    let mut rows = Vec::new();
    while let Some(frame) = frames.next_frame() {
        let row = (
            frame.time_ns,
            frame.link.0,
            frame.interface,
            frame.data.to_vec(),
            frame.wire_len,
        );
        let name = frames
            .interface_name(row.2)
            .map_or_else(String::new, |n| n.to_string());
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

/// Bytes as gzip leaves them.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}
