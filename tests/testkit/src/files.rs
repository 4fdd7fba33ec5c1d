//! Capture files in every variant: byte order, time resolution, pcap and pcapng blocks, compression.

use std::io::Write;
use std::path::PathBuf;

use crate::scene::Side;
use crate::tcp::{Path, Segment};

/// An Ethernet frame from server to client.
pub fn frame(seq: u32, payload: &[u8]) -> Vec<u8> {
    Path::v4(50_000).frame(&Segment::new(Side::Server, seq, payload))
}

/// A temporary folder of the test.
#[derive(Debug)]
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("http-trace-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a file");
        Scratch(path)
    }
    pub fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().expect("a file")).expect("a file");
        std::fs::write(&path, bytes).expect("a file");
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The variant of a classic file.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    pub big_endian: bool,
    pub nanoseconds: bool,
}

pub const PLAIN: Style = Style { big_endian: false, nanoseconds: false };

impl Style {
    pub fn u32(self, n: u32) -> [u8; 4] {
        if self.big_endian { n.to_be_bytes() } else { n.to_le_bytes() }
    }
    pub fn u16(self, n: u16) -> [u8; 2] {
        if self.big_endian { n.to_be_bytes() } else { n.to_le_bytes() }
    }

    pub fn header(self, minor: u16, link: u32) -> Vec<u8> {
        let magic = if self.nanoseconds { 0xa1b2_3c4d } else { 0xa1b2_c3d4 };
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

    /// A file with one packet a second from `start`, with one byte of payload each.
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
        let body = [&self.u32(0x1a2b_3c4d)[..], &self.u16(1), &self.u16(0), &[0xff; 8]].concat();
        self.block(0x0a0d_0d0a, &body)
    }

    /// An interface block with options (code, value).
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
        let words = [interface, (time >> 32) as u32, time as u32, data.len() as u32, wire_len];
        self.block(6, &[&words.map(|n| self.u32(n)).concat(), data].concat())
    }
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    out.write_all(bytes).expect("a file");
    out.finish().expect("a file")
}
