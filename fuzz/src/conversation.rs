//! A TCP connection from a fuzzer's bytes: segments of two directions, and what happens to them.
//!
//! A segment is three bytes, an action and a length of 16 bits (little-endian), followed by its payload. The
//! lowest bit of the action is the direction (0: client), the next two are the segment's [`Fate`], the two
//! after them add a meaningless acknowledgement and PSH. `tests/src/bin/seeds.rs` writes this format from
//! captures.

/// What happens to a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is seen once, in order.
    Seen,
    /// It is seen, and again after the next segment.
    Copied,
    /// It is never seen, but the peer has it.
    Lost,
    /// It is seen after the next segment.
    Late,
}

/// One segment as a frame.
#[derive(Clone, Debug)]
pub struct Timed {
    /// Unix ns.
    pub time_ns: u64,
    /// An Ethernet frame.
    pub frame: Vec<u8>,
}

/// What was seen of a connection.
#[derive(Clone, Debug, Default)]
pub struct Conversation {
    /// In the order of observation.
    pub frames: Vec<Timed>,
    /// All payload bytes of client and server.
    pub streams: [Vec<u8>; 2],
    /// Whether everything was seen, once and in order.
    pub undisturbed: bool,
}

const SERVER_PORT: u16 = 80;

/// Limit of segments per input.
const MAX_SEGMENTS: usize = 200;

/// Builds a conversation; with `disturbed` false, every segment is seen once and in order.
pub fn conversation(data: &[u8], disturbed: bool) -> Conversation {
    let mut out = Conversation { undisturbed: true, ..Conversation::default() };
    let mut frames = vec![
        frame(0, [1000, 5000], b"", SYN),
        frame(1, [1001, 5000], b"", SYN | ACK),
        frame(0, [1001, 5001], b"", ACK),
    ];
    let mut next = [1001_u32, 5001];
    let mut again: Option<Vec<u8>> = None;
    let mut rest = data;
    for _ in 0..MAX_SEGMENTS {
        let [action, low, high, after @ ..] = rest else {
            break;
        };
        let len = usize::from(u16::from_le_bytes([*low, *high])).min(after.len());
        let (payload, after) = after.split_at(len);
        rest = after;
        let from = usize::from(action & 1);
        let fate = match action >> 1 & 3 {
            _ if !disturbed => Fate::Seen,
            0 => Fate::Seen,
            1 => Fate::Copied,
            2 => Fate::Lost,
            _ => Fate::Late,
        };
        out.undisturbed &= fate == Fate::Seen;
        let one = frame(from, next, payload, ACK);
        next[from] = next[from].wrapping_add(len as u32);
        out.streams[from].extend_from_slice(payload);
        let late = again.take();
        match fate {
            Fate::Seen => frames.push(one),
            Fate::Copied => {
                frames.push(one.clone());
                again = Some(one);
            }
            Fate::Lost => {}
            Fate::Late => again = Some(one),
        }
        frames.extend(late);
    }
    frames.extend(again);
    for from in [0, 1] {
        frames.push(frame(from, next, b"", ACK | FIN));
        next[from] = next[from].wrapping_add(1);
    }
    frames.push(frame(0, next, b"", ACK));
    out.frames = frames
        .into_iter()
        .enumerate()
        .map(|(nth, frame)| Timed {
            time_ns: 1_700_000_000_000_000_000 + nth as u64 * 1_000_000,
            frame,
        })
        .collect();
    out
}

/// A classic capture file with these frames.
pub fn capture(frames: &[Timed]) -> Vec<u8> {
    let mut file: Vec<u8> = [0xa1b2_3c4d_u32, 0x0004_0002, 0, 0, 262_144, 1]
        .iter()
        .flat_map(|word| word.to_le_bytes())
        .collect();
    for one in frames {
        let len = one.frame.len() as u32;
        let (seconds, ns) = (one.time_ns / 1_000_000_000, one.time_ns % 1_000_000_000);
        for word in [seconds as u32, ns as u32, len, len] {
            file.extend_from_slice(&word.to_le_bytes());
        }
        file.extend_from_slice(&one.frame);
    }
    file
}

const FIN: u8 = 1;
const SYN: u8 = 2;
const ACK: u8 = 16;

/// An Ethernet frame with an IPv4 TCP segment, whose checksums are zero.
fn frame(from: usize, next: [u32; 2], payload: &[u8], flags: u8) -> Vec<u8> {
    let mut out = vec![2; 12];
    out.extend_from_slice(&[8, 0]);
    let total = (40 + payload.len()).min(0xffff) as u16;
    out.extend_from_slice(&[0x45, 0]);
    out.extend_from_slice(&total.to_be_bytes());
    out.extend_from_slice(&[0, 0, 0, 0, 64, 6, 0, 0]);
    let ends = [[10, 0, 0, 2], [10, 0, 0, 1]];
    let ports = [50_000, SERVER_PORT];
    out.extend_from_slice(&ends[from]);
    out.extend_from_slice(&ends[1 - from]);
    out.extend_from_slice(&ports[from].to_be_bytes());
    out.extend_from_slice(&ports[1 - from].to_be_bytes());
    out.extend_from_slice(&next[from].to_be_bytes());
    let ack = if flags & ACK != 0 { next[1 - from] } else { 0 };
    out.extend_from_slice(&ack.to_be_bytes());
    out.extend_from_slice(&[0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    out.extend_from_slice(payload);
    out
}
