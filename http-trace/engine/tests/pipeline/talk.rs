//! Segments of connections, and events as lines of text, for the tables of these tests.

use std::fmt::Write as _;

use bytemuck::Zeroable;
use http_trace_common::flow::v4_mapped;
use http_trace_common::record::{Hook, Record, RecordHeader, VERSION, flag};
use http_trace_engine::pipeline::{Pipeline, PipelineConfig};
use http_trace_model::event::{HttpEvent, Loss, Output};

/// 2026-01-01T00:00:00Z.
pub const START_NS: u64 = 1_767_225_600_000_000_000;
pub const MS: u64 = 1_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Client,
    Server,
}

/// A record under construction.
#[derive(Clone, Debug)]
pub struct Seg {
    pub time_ns: u64,
    pub from: Side,
    pub seq: u32,
    pub ack: Option<u32>,
    pub flags: u16,
    pub bytes: Vec<u8>,
    pub skip_from: Option<u32>,
    pub skip_to: Option<u32>,
    pub client_ip: [u8; 4],
    pub client_port: u16,
    pub server_port: u16,
    pub hook: Hook,
    pub cpu: u16,
    pub attempt: u32,
}

impl Seg {
    pub fn header(&self) -> RecordHeader {
        let (client, server) = (v4_mapped(self.client_ip), v4_mapped([10, 0, 0, 2]));
        let (src, src_port, dst, dst_port) = match self.from {
            Side::Client => (client, self.client_port, server, self.server_port),
            Side::Server => (server, self.server_port, client, self.client_port),
        };
        let len = self.bytes.len() as u32;
        let segment =
            if len > 0 && self.flags & flag::FILTERED == 0 { flag::SEGMENT_BEGINS } else { 0 };
        RecordHeader {
            time_ns: self.time_ns,
            src,
            dst,
            src_port,
            dst_port,
            seq: self.seq,
            ack: self.ack.unwrap_or(0),
            skip_from: self.skip_from.unwrap_or(self.seq),
            skip_to: self.skip_to.unwrap_or(self.seq.wrapping_add(len)),
            len,
            wire_len: 54 + len,
            flags: self.flags | segment | if self.ack.is_some() { flag::ACK } else { 0 },
            version: VERSION,
            hook: self.hook as u8,
            cpu: self.cpu,
            attempt: self.attempt,
            ..RecordHeader::zeroed()
        }
    }

    pub fn flag(mut self, flags: u16) -> Self {
        self.flags |= flags;
        self
    }
}

/// A conversation: each call appends a segment at its side's position and advances time by a millisecond.
#[derive(Clone, Debug)]
pub struct Talk {
    pub segs: Vec<Seg>,
    pub now_ns: u64,
    pub client: u32,
    pub server: u32,
    pub client_ip: [u8; 4],
    pub client_port: u16,
}

impl Default for Talk {
    fn default() -> Self {
        Self::new()
    }
}

impl Talk {
    /// Before the handshake.
    pub fn new() -> Self {
        Talk::with_isn(1000, 500_000)
    }

    pub fn with_isn(client: u32, server: u32) -> Self {
        Talk {
            segs: Vec::new(),
            now_ns: START_NS,
            client,
            server,
            client_ip: [10, 0, 0, 1],
            client_port: 40_000,
        }
    }

    /// After the handshake.
    pub fn open() -> Self {
        Talk::new().handshake()
    }

    pub fn handshake(mut self) -> Self {
        self.client = self.client.wrapping_add(1);
        let mut syn = self.seg(Side::Client, b"").flag(flag::SYN);
        syn.ack = None;
        self = self.push(syn);
        self.server = self.server.wrapping_add(1);
        let answer = self.seg(Side::Server, b"").flag(flag::SYN);
        self = self.push(answer);
        let ack = self.seg(Side::Client, b"");
        self.push(ack)
    }

    /// The next segment of a side, not sent yet.
    pub fn seg(&self, from: Side, bytes: &[u8]) -> Seg {
        let (seq, ack) = match from {
            Side::Client => (self.client, self.server),
            Side::Server => (self.server, self.client),
        };
        Seg {
            time_ns: self.now_ns,
            from,
            seq,
            ack: Some(ack),
            flags: 0,
            bytes: bytes.to_vec(),
            skip_from: None,
            skip_to: None,
            client_ip: self.client_ip,
            client_port: self.client_port,
            server_port: 80,
            hook: Hook::Capture,
            cpu: 0,
            attempt: 0,
        }
    }

    /// Appends a segment as it is, without advancing the streams.
    pub fn push(mut self, mut seg: Seg) -> Self {
        seg.time_ns = self.now_ns;
        self.segs.push(seg);
        self.now_ns += MS;
        self
    }

    pub fn send(mut self, from: Side, bytes: &[u8], flags: u16) -> Self {
        let seg = self.seg(from, bytes).flag(flags);
        let fin = u32::from(flags & flag::FIN != 0);
        let end = seg.seq.wrapping_add(bytes.len() as u32 + fin);
        match from {
            Side::Client => self.client = end,
            Side::Server => self.server = end,
        }
        self.push(seg)
    }

    pub fn c(self, bytes: &str) -> Self {
        self.send(Side::Client, bytes.as_bytes(), 0)
    }

    pub fn s(self, bytes: &str) -> Self {
        self.send(Side::Server, bytes.as_bytes(), 0)
    }

    pub fn c_fin(self) -> Self {
        self.send(Side::Client, b"", flag::FIN)
    }

    pub fn s_fin(self) -> Self {
        self.send(Side::Server, b"", flag::FIN)
    }

    pub fn c_rst(self) -> Self {
        self.send(Side::Client, b"", flag::RST)
    }

    pub fn s_rst(self) -> Self {
        self.send(Side::Server, b"", flag::RST)
    }

    /// A pure acknowledgement.
    pub fn c_ack(self) -> Self {
        self.c("")
    }

    pub fn s_ack(self) -> Self {
        self.s("")
    }

    pub fn wait_ms(mut self, ms: u64) -> Self {
        self.now_ns += ms * MS;
        self
    }

    /// The last segment is not seen.
    pub fn lost(mut self) -> Self {
        self.segs.pop();
        self
    }

    /// The last segment is seen `by` segments earlier; the sequence of times is unchanged.
    pub fn early(mut self, by: usize) -> Self {
        let times: Vec<u64> = self.segs.iter().map(|seg| seg.time_ns).collect();
        let at = self.segs.len().saturating_sub(1 + by);
        if let Some(last) = self.segs.pop() {
            self.segs.insert(at, last);
        }
        for (seg, time) in self.segs.iter_mut().zip(times) {
            seg.time_ns = time;
        }
        self
    }

    /// The last segment is seen again, now.
    pub fn again(self) -> Self {
        match self.segs.last().cloned() {
            Some(last) => self.push(last),
            None => self,
        }
    }

    /// Events of this conversation alone, with the default configuration; `(open)` marks the end of the
    /// capture.
    pub fn judged(&self) -> Vec<String> {
        self.judged_with(PipelineConfig::default())
    }

    pub fn judged_with(&self, config: PipelineConfig) -> Vec<String> {
        let mut bench = Bench::new(config);
        bench.push_all(&self.segs);
        bench.finish()
    }
}

/// A pipeline with its output.
#[derive(Debug)]
pub struct Bench {
    pub pipeline: Pipeline,
    pub lines: Vec<String>,
    pub events: Vec<HttpEvent>,
    pub losses: Vec<Loss>,
}

impl Bench {
    pub fn new(config: PipelineConfig) -> Self {
        let (lines, events, losses) = (Vec::new(), Vec::new(), Vec::new());
        Bench { pipeline: Pipeline::new(config), lines, events, losses }
    }

    pub fn push(&mut self, seg: &Seg) {
        let header = seg.header();
        let record = Record { tunnel: None, header: &header, bytes: &seg.bytes };
        let Bench { pipeline, lines, events, losses } = self;
        pipeline.push(&record, &mut |output| take(lines, events, losses, output));
    }

    pub fn push_all(&mut self, segs: &[Seg]) {
        for seg in segs {
            self.push(seg);
        }
    }

    pub fn tick(&mut self, now_ns: u64) {
        let Bench { pipeline, lines, events, losses } = self;
        pipeline.tick(now_ns, &mut |output| take(lines, events, losses, output));
    }

    pub fn finish(&mut self) -> Vec<String> {
        let Bench { pipeline, lines, events, losses } = self;
        lines.push("(finish)".into());
        pipeline.finish(&mut |output| take(lines, events, losses, output));
        if lines.last().is_some_and(|last| last == "(finish)") {
            lines.pop();
        }
        lines.clone()
    }
}

fn take(
    lines: &mut Vec<String>,
    events: &mut Vec<HttpEvent>,
    losses: &mut Vec<Loss>,
    output: Output,
) {
    match output {
        Output::Http(event) => {
            lines.push(line(&event));
            events.push(*event);
        }
        Output::Loss(loss) => {
            lines.push(format!("lost {} {:?} {}", loss.count, loss.unit, loss.place));
            losses.push(loss);
        }
    }
}

/// `GET /a -> 100 103 200 OK 5 Length`, followed by anything unusual.
pub fn line(event: &HttpEvent) -> String {
    let mut out = match &event.request {
        Some(request) => {
            format!("{} {}", request.method.escape_ascii(), request.target.escape_ascii())
        }
        None => "?".into(),
    };
    out += " ->";
    for head in &event.informational {
        let _ = write!(out, " {}", head.status);
    }
    if let Some(head) = &event.response {
        let _ = write!(out, " {} {}", head.status, head.reason.escape_ascii());
    }
    if let Some(why) = event.no_response {
        let _ = write!(out, " {why:?}");
    }
    if let Some(bytes) = event.body_bytes {
        let _ = write!(out, " {bytes}");
    }
    if let Some(end) = event.body_end {
        let _ = write!(out, " {end:?}");
    }
    if !event.missing.is_empty() {
        let _ = write!(out, " missing {:?}", event.missing);
    }
    if !event.flags.is_empty() {
        let _ = write!(out, " flags {}", event.flags.join(","));
    }
    if event.retransmissions > 0 {
        let _ = write!(out, " copies {}", event.retransmissions);
    }
    out
}

/// A request without a body.
pub fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n")
}

/// A response with Content-Length.
pub fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// Compares the events of a conversation with the expected lines.
#[track_caller]
pub fn check(name: &str, talk: &Talk, expected: &[&str]) {
    let got = talk.judged();
    assert_eq!(got, expected, "{name}");
}
