//! Conversations written segment by segment, of which a test leaves out, cuts or moves what it wants.

use http_trace_engine::host_filter::Faults;

use crate::judged::{Judged, filtered, plain, responses};
use crate::scene::Side;
use crate::tcp::{Path, Segment, frames};

pub const SECOND: u64 = 1_000_000_000;
/// A response of five bytes.
pub const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

/// A request for `/n`.
pub fn get(n: usize) -> Vec<u8> {
    format!("GET /{n} HTTP/1.1\r\nHost: a.example\r\n\r\n").into_bytes()
}

/// Segments of successive connections on the same tuple.
pub struct Wire {
    pub seen: Vec<Segment>,
    pub next: [u32; 2],
    pub now_ns: u64,
}

impl Wire {
    pub fn open() -> Self {
        let mut wire =
            Wire { seen: Vec::new(), next: [1_000, 5_000_000], now_ns: 1_700_000_000 * SECOND };
        wire.handshake();
        wire
    }

    pub fn handshake(&mut self) {
        self.push(Side::Client, b"", |s| (s.syn, s.ack) = (true, 0));
        self.push(Side::Server, b"", |s| s.syn = true);
        self.push(Side::Client, b"", |_| {});
    }

    /// The client resets the connection, or both ends close it.
    pub fn close(&mut self, reset: bool) {
        if reset {
            return self.push(Side::Client, b"", |s| s.rst = true);
        }
        self.push(Side::Client, b"", |s| s.fin = true);
        self.push(Side::Server, b"", |s| s.fin = true);
        self.push(Side::Client, b"", |_| {});
    }

    pub fn push(&mut self, from: Side, payload: &[u8], change: impl FnOnce(&mut Segment)) {
        self.now_ns += 1_000_000;
        let mut segment = Segment {
            time_ns: self.now_ns,
            ack: self.next[from.peer().index()],
            ..Segment::new(from, self.next[from.index()], payload)
        };
        change(&mut segment);
        let taken = payload.len() as u32 + u32::from(segment.syn) + u32::from(segment.fin);
        let next = &mut self.next[from.index()];
        *next = next.wrapping_add(taken);
        self.seen.push(segment);
    }

    /// One end sends this, and the other acknowledges it.
    pub fn send(&mut self, from: Side, payload: &[u8]) {
        self.push(from, payload, |_| {});
        self.push(from.peer(), b"", |_| {});
    }

    pub fn exchange(&mut self, n: usize) {
        self.send(Side::Client, &get(n));
        self.send(Side::Server, ANSWER);
    }

    pub fn judged(&self) -> [(&'static str, Judged); 2] {
        let frames = frames(&Path::v4(40_000), &self.seen);
        [("plain", plain(&frames)), ("filtered", filtered(&frames, Faults::default()).0)]
    }
}

/// The status of each response and the target of its request.
pub fn told(judged: &Judged) -> Vec<String> {
    let line = |event: &&http_trace_model::event::HttpEvent| {
        let status = event.response.as_ref().map_or(0, |r| r.status);
        let target = event.request.as_ref().map(|r| r.target.escape_ascii().to_string());
        format!("{status} {}", target.unwrap_or("-".into()))
    };
    responses(judged).iter().map(line).collect()
}
