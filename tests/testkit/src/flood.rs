//! Captures meant to exhaust their reader: a million of something that never ends, then one honest connection
//! that must still be reported.

use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};

use crate::pcap::{LinkType, PcapWriter};
use crate::scene::{Scene, Side};
use crate::scenes;
use crate::tcp::{Layout, Path, Segment, segments};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flood {
    /// SYNs of separate connections, without answers.
    Syns,
    /// Connections whose request stops in the middle of its start line.
    HalfRequests,
    /// Connections that answered one request and stay open.
    NeverClosed,
    /// Connections that answered one request and were closed, all within a few seconds, so that each is still
    /// remembered when the last one comes.
    Closed,
    /// One-byte segments of one response, in order.
    OneByteSegments,
    /// One-byte segments with a hole before each, which is never filled, on a thousand connections.
    Holes,
    /// Heads that never end, on a thousand connections.
    EndlessHeads,
}

impl Flood {
    /// Every kind.
    pub const ALL: [Flood; 7] = [
        Flood::Syns,
        Flood::HalfRequests,
        Flood::NeverClosed,
        Flood::Closed,
        Flood::OneByteSegments,
        Flood::Holes,
        Flood::EndlessHeads,
    ];

    /// Writes a capture with `count` connections or segments, then the honest scene. Returns the number of
    /// complete responses; the last ones are those of [`honest`].
    pub fn write(self, out: impl Write, count: u32) -> io::Result<usize> {
        let mut flood =
            Writer { pcap: PcapWriter::new(out, LinkType::Ethernet)?, now_ns: START_NS };
        let mut responses = 0;
        match self {
            Flood::Syns => {
                for n in 0..count {
                    flood.syn(&path(n))?;
                }
            }
            Flood::HalfRequests => {
                for n in 0..count {
                    flood.open(&path(n))?;
                    flood.data(&path(n), Side::Client, 0, b"GET /half HTT")?;
                }
            }
            Flood::NeverClosed => {
                for n in 0..count {
                    flood.open(&path(n))?;
                    flood.data(&path(n), Side::Client, 0, REQUEST)?;
                    flood.data(&path(n), Side::Server, 0, RESPONSE)?;
                    responses += 1;
                }
            }
            Flood::Closed => {
                for n in 0..count {
                    flood.open(&path(n))?;
                    flood.data(&path(n), Side::Client, 0, REQUEST)?;
                    flood.data(&path(n), Side::Server, 0, RESPONSE)?;
                    flood.close(&path(n))?;
                    responses += 1;
                }
            }
            Flood::OneByteSegments => {
                flood.open(&path(0))?;
                flood.data(&path(0), Side::Client, 0, REQUEST)?;
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {count}\r\n\r\n");
                flood.data(&path(0), Side::Server, 0, head.as_bytes())?;
                for n in 0..count {
                    flood.data(&path(0), Side::Server, head.len() as u32 + n, b"x")?;
                }
                responses += 1;
            }
            Flood::Holes => {
                for n in 0..1000 {
                    flood.open(&path(n))?;
                    flood.data(&path(n), Side::Client, 0, REQUEST)?;
                }
                for n in 0..count {
                    flood.data(&path(n % 1000), Side::Server, 1 + n / 1000 * 2, b"x")?;
                }
            }
            Flood::EndlessHeads => {
                let line = format!("X-More: {}\r\n", "v".repeat(990));
                for n in 0..1000 {
                    flood.open(&path(n))?;
                    flood.data(&path(n), Side::Client, 0, REQUEST)?;
                    flood.data(&path(n), Side::Server, 0, b"HTTP/1.1 200 OK\r\n")?;
                }
                for n in 0..count {
                    let at = 17 + n / 1000 * line.len() as u32;
                    flood.data(&path(n % 1000), Side::Server, at, line.as_bytes())?;
                }
            }
        }
        let honest = honest();
        let layout = Layout { start_ns: flood.now_ns, ..Layout::default() };
        for segment in segments(&honest, &layout) {
            flood.pcap.write(segment.time_ns, &honest_path().frame(&segment))?;
        }
        flood.pcap.finish()?;
        Ok(responses + honest.truth.len())
    }
}

const START_NS: u64 = 1_700_000_000_000_000_000;
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: flood.example\r\n\r\n";
const RESPONSE: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";

/// The connection after the flood.
pub fn honest() -> Scene {
    scenes::named("keep_alive")
}

/// Its addresses and ports.
pub fn honest_path() -> Path {
    Path::v4(50_000)
}

/// Addresses of the `n`th attacker.
fn path(n: u32) -> Path {
    let [_, a, b, c] = (n / 60_000).to_be_bytes();
    Path {
        client: SocketAddr::new(IpAddr::from([10, a, b, c]), 1024 + (n % 60_000) as u16),
        server: SocketAddr::from(([198, 51, 100, 80], 80)),
        link: LinkType::Ethernet,
        vlan: None,
    }
}

struct Writer<W: Write> {
    pcap: PcapWriter<W>,
    now_ns: u64,
}

/// Initial sequence number of both ends of every flooding connection.
const ISN: u32 = 1000;

impl<W: Write> Writer<W> {
    fn segment(&mut self, path: &Path, segment: Segment) -> io::Result<()> {
        self.now_ns += 1_000;
        self.pcap.write(self.now_ns, &path.frame(&segment))
    }

    fn bare(&self, from: Side) -> Segment {
        Segment {
            time_ns: 0,
            from,
            seq: ISN,
            ack: 0,
            syn: false,
            fin: false,
            rst: false,
            payload: Vec::new(),
        }
    }

    fn syn(&mut self, path: &Path) -> io::Result<()> {
        self.segment(path, Segment { syn: true, ..self.bare(Side::Client) })
    }

    fn open(&mut self, path: &Path) -> io::Result<()> {
        self.syn(path)?;
        self.segment(path, Segment { syn: true, ack: ISN + 1, ..self.bare(Side::Server) })
    }

    /// Closes a connection at both ends after [`RESPONSE`] to [`REQUEST`].
    fn close(&mut self, path: &Path) -> io::Result<()> {
        let asked = ISN + 1 + REQUEST.len() as u32;
        let answered = ISN + 1 + RESPONSE.len() as u32;
        for (from, seq, ack) in
            [(Side::Server, answered, asked), (Side::Client, asked, answered + 1)]
        {
            let fin = Segment { seq, ack, fin: true, ..self.bare(from) };
            self.segment(path, fin)?;
        }
        Ok(())
    }

    /// Payload at `offset` of the stream. Acknowledges the other side up to the end of REQUEST.
    fn data(&mut self, path: &Path, from: Side, offset: u32, bytes: &[u8]) -> io::Result<()> {
        let ack = match from {
            Side::Client => ISN + 1,
            Side::Server => ISN + 1 + REQUEST.len() as u32,
        };
        let seq = (ISN + 1).wrapping_add(offset);
        let payload = bytes.to_vec();
        self.segment(path, Segment { seq, ack, payload, ..self.bare(from) })
    }
}
