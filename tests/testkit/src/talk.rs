//! One connection, segment by segment, without a scene.

use crate::scene::Side;
use crate::tcp::{Path, Segment, Timed, frames};

/// A connection. Each call appends a segment at its side's position in the stream, a millisecond after the
/// last.
#[derive(Clone, Debug)]
pub struct Talk {
    /// Addresses and link layer.
    pub path: Path,
    /// Segments sent so far.
    pub segments: Vec<Segment>,
    next: [u32; 2],
    now_ns: u64,
}

impl Talk {
    /// A connection without segments.
    pub fn new(path: Path) -> Self {
        Talk {
            path,
            segments: Vec::new(),
            next: [1000, 900_000],
            now_ns: 1_700_000_000_000_000_000,
        }
    }

    /// A connection after SYN and SYN-ACK.
    pub fn open(path: Path) -> Self {
        Talk::new(path).handshake()
    }

    /// Appends SYN and SYN-ACK.
    pub fn handshake(mut self) -> Self {
        for from in [Side::Client, Side::Server] {
            let mut syn = self.segment(from, b"");
            syn.syn = true;
            if from == Side::Client {
                syn.ack = 0;
            }
            self.push(syn);
        }
        self
    }

    /// Sets the time of the next segment, Unix ns.
    pub fn at(mut self, time_ns: u64) -> Self {
        self.now_ns = time_ns;
        self
    }

    /// The client sends these bytes in one segment.
    pub fn ask(self, bytes: &[u8]) -> Self {
        self.send(Side::Client, bytes)
    }

    /// The server sends these bytes in one segment.
    pub fn answer(self, bytes: &[u8]) -> Self {
        self.send(Side::Server, bytes)
    }

    /// One side sends these bytes in one segment.
    pub fn send(mut self, from: Side, bytes: &[u8]) -> Self {
        let segment = self.segment(from, bytes);
        self.push(segment);
        self
    }

    pub fn reset(mut self, from: Side) -> Self {
        let mut segment = self.segment(from, b"");
        segment.rst = true;
        self.push(segment);
        self
    }

    /// The next segment of a side, without sending it.
    pub fn segment(&self, from: Side, bytes: &[u8]) -> Segment {
        Segment {
            time_ns: self.now_ns,
            ack: self.next[from.peer().index()],
            ..Segment::new(from, self.next[from.index()], bytes)
        }
    }

    fn push(&mut self, segment: Segment) {
        let next = &mut self.next[segment.from.index()];
        let taken = segment.payload.len() as u32 + u32::from(segment.syn) + u32::from(segment.fin);
        *next = next.wrapping_add(taken);
        self.now_ns += 1_000_000;
        self.segments.push(segment);
    }

    pub fn frames(&self) -> Vec<Vec<u8>> {
        self.timed().into_iter().map(|(_, frame)| frame).collect()
    }

    /// The frames with their times.
    pub fn timed(&self) -> Vec<Timed> {
        frames(&self.path, &self.segments)
    }
}
