//! Turns a [`Scene`] into the TCP segments and frames of one connection.
//!
//! Must not use the tracer: etherparse builds the frames, so that a mistake in the tracer's own packet walk
//! cannot hide here.

use std::net::{IpAddr, SocketAddr};

use etherparse::PacketBuilder;

pub use crate::pcap::LinkType;
use crate::scene::{Scene, Side, Step};

/// A TCP segment of a known connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// When it was seen, Unix ns.
    pub time_ns: u64,
    /// Who sent it.
    pub from: Side,
    /// Sequence number as in the header.
    pub seq: u32,
    /// Acknowledgement number; 0 on the first SYN.
    pub ack: u32,
    pub syn: bool,
    pub fin: bool,
    pub rst: bool,
    pub payload: Vec<u8>,
}

impl Segment {
    /// A segment that acknowledges 1, at time 0, without flags.
    pub fn new(from: Side, seq: u32, payload: &[u8]) -> Self {
        Segment {
            time_ns: 0,
            from,
            seq,
            ack: 1,
            syn: false,
            fin: false,
            rst: false,
            payload: payload.to_vec(),
        }
    }

    /// Sequence number of the first payload byte.
    pub fn payload_seq(&self) -> u32 {
        self.seq.wrapping_add(u32::from(self.syn))
    }
}

/// Addresses and link layer of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    /// The client's address and port.
    pub client: SocketAddr,
    /// The server's address and port; of the client's IP version.
    pub server: SocketAddr,
    /// The link layer of the frames.
    pub link: LinkType,
    /// An 802.1Q tag (Ethernet only).
    pub vlan: Option<u16>,
}

impl Path {
    /// IPv4 documentation addresses (RFC 5737) on Ethernet; `client_port` tells connections apart.
    pub fn v4(client_port: u16) -> Self {
        Path {
            client: SocketAddr::from(([192, 0, 2, 7], client_port)),
            server: SocketAddr::from(([198, 51, 100, 80], 80)),
            link: LinkType::Ethernet,
            vlan: None,
        }
    }

    /// IPv6 documentation addresses (RFC 3849) on Ethernet.
    pub fn v6(client_port: u16) -> Self {
        let address = |last| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, last]);
        Path {
            client: SocketAddr::new(address(7), client_port),
            server: SocketAddr::new(address(0x80), 80),
            link: LinkType::Ethernet,
            vlan: None,
        }
    }

    /// The frame that carries `segment`, checksums included.
    pub fn frame(&self, segment: &Segment) -> Vec<u8> {
        let (source, destination) = match segment.from {
            Side::Client => (self.client, self.server),
            Side::Server => (self.server, self.client),
        };
        let macs = match segment.from {
            Side::Client => ([2, 0, 0, 0, 0, 7], [2, 0, 0, 0, 0, 8]),
            Side::Server => ([2, 0, 0, 0, 0, 8], [2, 0, 0, 0, 0, 7]),
        };
        let ip = match (source.ip(), destination.ip()) {
            (IpAddr::V4(s), IpAddr::V4(d)) => etherparse::IpHeaders::Ipv4(
                etherparse::Ipv4Header::new(
                    0,
                    64,
                    etherparse::IpNumber::TCP,
                    s.octets(),
                    d.octets(),
                )
                .expect("an empty payload fits"),
                Default::default(),
            ),
            (IpAddr::V6(s), IpAddr::V6(d)) => etherparse::IpHeaders::Ipv6(
                etherparse::Ipv6Header {
                    next_header: etherparse::IpNumber::TCP,
                    hop_limit: 64,
                    source: s.octets(),
                    destination: d.octets(),
                    ..Default::default()
                },
                Default::default(),
            ),
            _ => panic!("both ends of a path have one IP version"),
        };
        let mut tcp =
            etherparse::TcpHeader::new(source.port(), destination.port(), segment.seq, 65_535);
        tcp.acknowledgment_number = segment.ack;
        tcp.ack = !(segment.syn && segment.from == Side::Client && segment.ack == 0);
        tcp.syn = segment.syn;
        tcp.fin = segment.fin;
        tcp.rst = segment.rst;
        tcp.psh = !segment.payload.is_empty();
        let with_ip = match (self.link, self.vlan) {
            (LinkType::Raw, _) => PacketBuilder::ip(ip),
            (LinkType::Ethernet, None) => PacketBuilder::ethernet2(macs.0, macs.1).ip(ip),
            (LinkType::Ethernet, Some(id)) => PacketBuilder::ethernet2(macs.0, macs.1)
                .single_vlan(etherparse::VlanId::try_new(id).expect("a VLAN id has 12 bits"))
                .ip(ip),
        };
        let builder = with_ip.tcp_header(tcp);
        let mut frame = Vec::with_capacity(builder.size(segment.payload.len()));
        builder.write(&mut frame, &segment.payload).expect("a Vec takes every write");
        frame
    }
}

/// How a scene is laid out on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Initial sequence numbers of client and server.
    pub isn: [u32; 2],
    /// Time of the first segment, Unix ns.
    pub start_ns: u64,
    /// Time between two segments, ns.
    pub step_ns: u64,
    /// Payload lengths of the segments, used cyclically; each from 1 to 65,000.
    pub cuts: Vec<usize>,
    /// Consecutive writes of one end are cut as one run of bytes, regardless of where each write ended.
    pub coalesce: bool,
    /// Whether to begin with the three-way handshake.
    pub handshake: bool,
    /// Whether the client's first data comes with its SYN (RFC 7413), if it speaks first.
    pub fast_open: bool,
    /// Whether the receiver acknowledges each run with an empty segment.
    pub acks: bool,
}

impl Default for Layout {
    fn default() -> Self {
        Layout {
            isn: [1_000, 5_000_000],
            start_ns: 1_700_000_000_000_000_000,
            step_ns: 100_000,
            cuts: vec![1448],
            coalesce: false,
            handshake: true,
            fast_open: false,
            acks: true,
        }
    }
}

/// The connection's state while its scene is laid out.
struct Wire<'a> {
    layout: &'a Layout,
    segments: Vec<Segment>,
    next: [u32; 2],
    now_ns: u64,
    cut: usize,
}

impl Wire<'_> {
    fn push(&mut self, from: Side, payload: Vec<u8>) -> &mut Segment {
        let seq = self.next[from.index()];
        let ack = self.next[from.peer().index()];
        self.next[from.index()] = seq.wrapping_add(payload.len() as u32);
        let time_ns = self.now_ns;
        self.now_ns += self.layout.step_ns;
        self.segments.push(Segment {
            time_ns,
            from,
            seq,
            ack,
            syn: false,
            fin: false,
            rst: false,
            payload,
        });
        self.segments.last_mut().expect("just pushed")
    }

    fn control(&mut self, from: Side, set: impl FnOnce(&mut Segment), takes_seq: bool) {
        set(self.push(from, Vec::new()));
        if takes_seq {
            let next = &mut self.next[from.index()];
            *next = next.wrapping_add(1);
        }
    }

    fn data(&mut self, from: Side, mut bytes: &[u8], bytewise: bool) {
        while !bytes.is_empty() {
            let want = if bytewise {
                1
            } else {
                let want = self.layout.cuts.get(self.cut % self.layout.cuts.len().max(1));
                self.cut += 1;
                want.copied().unwrap_or(1448).clamp(1, 65_000)
            };
            let (now, later) = bytes.split_at(want.min(bytes.len()));
            self.push(from, now.to_vec());
            bytes = later;
        }
        if self.layout.acks {
            self.push(from.peer(), Vec::new());
        }
    }
}

/// Lays `scene` out as segments, in the order and at the times of an undisturbed network.
pub fn segments(scene: &Scene, layout: &Layout) -> Vec<Segment> {
    let mut wire =
        Wire { layout, segments: Vec::new(), next: layout.isn, now_ns: layout.start_ns, cut: 0 };
    if layout.handshake {
        wire.control(Side::Client, |s| s.syn = true, true);
        if let Some(first) = wire.segments.first_mut() {
            first.ack = 0;
        }
        wire.control(Side::Server, |s| s.syn = true, true);
        wire.push(Side::Client, Vec::new());
    } else {
        wire.next = wire.next.map(|isn| isn.wrapping_add(1));
    }
    let mut run: Option<(Side, Vec<u8>)> = None;
    let mut closed = 0;
    for step in &scene.steps {
        if let Step::Send(side, bytes) = step
            && layout.coalesce
        {
            match &mut run {
                Some((from, run)) if from == side => run.extend_from_slice(bytes),
                _ => {
                    if let Some((from, bytes)) = run.replace((*side, bytes.to_vec())) {
                        wire.data(from, &bytes, false);
                    }
                }
            }
            continue;
        }
        if let Some((from, bytes)) = run.take() {
            wire.data(from, &bytes, false);
        }
        match step {
            Step::Send(side, bytes) => wire.data(*side, bytes, false),
            Step::Trickle(side, bytes) => wire.data(*side, bytes, true),
            Step::Pause(time) => wire.now_ns += time.as_nanos() as u64,
            Step::Close(side) => {
                wire.control(*side, |s| s.fin = true, true);
                closed += 1;
                if closed == 2 {
                    wire.push(side.peer(), Vec::new());
                }
            }
            Step::Reset(side) => wire.control(*side, |s| s.rst = true, false),
        }
    }
    if let Some((from, bytes)) = run.take() {
        wire.data(from, &bytes, false);
    }
    if layout.handshake && layout.fast_open {
        open_fast(&mut wire.segments);
    }
    wire.segments
}

/// Moves the first data into the SYN; the SYN-ACK and the ACK after it acknowledge both.
fn open_fast(segments: &mut Vec<Segment>) {
    let [_, _, _, first, ..] = segments.as_slice() else {
        return;
    };
    if first.from != Side::Client || first.payload.is_empty() {
        return;
    }
    let payload = segments.remove(3).payload;
    let len = payload.len() as u32;
    segments[0].payload = payload;
    segments[1].ack = segments[1].ack.wrapping_add(len);
    segments[2].seq = segments[2].seq.wrapping_add(len);
}

/// A frame and its time, Unix ns.
pub type Timed = (u64, Vec<u8>);

pub fn frames(path: &Path, segments: &[Segment]) -> Vec<Timed> {
    segments.iter().map(|segment| (segment.time_ns, path.frame(segment))).collect()
}
