//! Conversations as packets, and captures of them.

use std::io::Write as _;

use etherparse::PacketBuilder;

pub const CLIENT: [u8; 4] = [10, 0, 0, 2];
pub const SERVER: [u8; 4] = [10, 0, 0, 1];

/// One connection as IPv4 packets: handshake, then what each side says in turn.
#[derive(Debug)]
pub struct Talk {
    pub packets: Vec<Vec<u8>>,
    /// Next sequence numbers of client and server.
    next: [u32; 2],
}

impl Talk {
    /// A connection whose handshake was seen.
    pub fn open() -> Self {
        let mut talk = Talk {
            packets: Vec::new(),
            next: [1000, 5000],
        };
        for client in [true, false] {
            let packet = talk.packet(client, b"", |tcp| tcp.syn());
            talk.packets.push(packet);
            talk.next[usize::from(!client)] += 1;
        }
        talk
    }

    /// The client sends these bytes in one segment.
    pub fn ask(mut self, bytes: &[u8]) -> Self {
        self.say(true, bytes);
        self
    }

    /// The server sends these bytes in one segment.
    pub fn answer(mut self, bytes: &[u8]) -> Self {
        self.say(false, bytes);
        self
    }

    /// The server resets the connection.
    pub fn reset(mut self) -> Self {
        let packet = self.packet(false, b"", |tcp| tcp.rst());
        self.packets.push(packet);
        self
    }

    fn say(&mut self, client: bool, bytes: &[u8]) {
        let packet = self.packet(client, bytes, |tcp| tcp);
        self.packets.push(packet);
        self.next[usize::from(!client)] += bytes.len() as u32;
    }

    fn packet(
        &self,
        client: bool,
        bytes: &[u8],
        flags: impl FnOnce(
            etherparse::PacketBuilderStep<etherparse::TcpHeader>,
        ) -> etherparse::PacketBuilderStep<etherparse::TcpHeader>,
    ) -> Vec<u8> {
        let [mine, other] = if client {
            self.next
        } else {
            [self.next[1], self.next[0]]
        };
        let (from, to) = if client {
            ((CLIENT, 50000), (SERVER, 80))
        } else {
            ((SERVER, 80), (CLIENT, 50000))
        };
        let tcp = PacketBuilder::ipv4(from.0, to.0, 64).tcp(from.1, to.1, mine, 64_000);
        let tcp = flags(if other == 5000 { tcp } else { tcp.ack(other) });
        let mut out = Vec::new();
        tcp.write(&mut out, bytes).unwrap();
        out
    }

    /// Whether the client sent a packet.
    pub fn is_of_client(packet: &[u8]) -> bool {
        packet[12..16] == CLIENT
    }
}

/// A capture of these frames, a millisecond apart, of a link type.
pub fn capture(link: u32, frames: &[Vec<u8>]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let header = [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 262_144, link];
    file.write_all(&header.map(u32::to_le_bytes).concat())
        .unwrap();
    for (at, frame) in frames.iter().enumerate() {
        let len = frame.len() as u32;
        let record = [1_700_000_000, at as u32 * 1000, len, len];
        file.write_all(&record.map(u32::to_le_bytes).concat())
            .unwrap();
        file.write_all(frame).unwrap();
    }
    file
}

/// A capture of raw IP packets.
pub fn raw(packets: &[Vec<u8>]) -> tempfile::NamedTempFile {
    capture(101, packets)
}
