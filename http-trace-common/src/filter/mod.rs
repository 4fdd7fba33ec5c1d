//! The per-segment decision: what of a segment the host must see.
//!
//! The same code runs at every hook in the kernel and, in a replay that asks for it, on the host.
//! It may skip only what the framing proves to be body, copies of what it has handled, connections
//! that have not begun a message, opaque ones, and what the config excludes. Whatever else it does
//! not understand it ships: an error here can cost bytes, never truth.
//!
//! [`begin`] looks at the segment and the flow, [`step`] is called until it says `false`, and
//! [`finish`] writes the flow back. The kernel drives `step` with `bpf_loop`, the host with `while`.

mod state;
mod steps;

pub use state::{
    BLOCK_BYTES, Block, Flow, HandBack, Handed, Scratch, Side, Syn, met, mode, side_flag,
};
pub use steps::{frame_step, prepare_record, step};

use bytemuck::Zeroable;

use crate::{
    config::FilterConfig,
    counter::Counter,
    flow::{Address, FlowKey, seq_distance},
    framer::{self, Framer, RequestQueue, Window},
    record::{self, HEADER_LEN, Hook, RecordHeader, flag},
    start_line::{self, is_token},
    walk::{Segment, tcp_flag},
};

/// What came of asking for a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It is ours; its state is in the scratch.
    Held,
    /// Somebody else works on it.
    Refused,
    /// There is no such flow (or, for an insertion, no room for it).
    Missing,
    /// An insertion of a connection of the agent's own.
    Own,
}

/// What the filter needs of the place it runs in.
pub trait Env {
    /// `value & bits` in a form that the verifier sees and the compiler keeps. `bits + 1` is a
    /// power of two.
    fn mask(value: u32, bits: u32) -> u32;
    /// The same number, of which the kernel's verifier knows nothing any more; see
    /// [`Window::forget`]. The block lends a zero that the verifier does not know for one.
    fn forget(_block: &Block, number: u32) -> u32 {
        number
    }
    /// Calls [`frame_step`]; in the kernel as a function that is verified by itself.
    fn frame_step(&mut self, s: &mut Scratch)
    where
        Self: Sized,
    {
        frame_step::<Self>(s);
    }
    /// Calls [`prepare_record`]; in the kernel as a function that is verified by itself.
    fn prepare_record(
        &mut self,
        s: &mut Scratch,
        seq: u32,
        skip_from: u32,
        skip_to: u32,
        extra: u16,
    ) {
        prepare_record(s, seq, skip_from, skip_to, extra);
    }
    /// Calls [`find_lf`]; in the kernel as a function that is verified by itself.
    #[inline(always)]
    fn find_lf(block: &Block, at: u32, end: u32) -> (u32, bool)
    where
        Self: Sized,
    {
        find_lf::<Self>(block, at, end)
    }
    /// Copies `len` (1 to [`BLOCK_BYTES`]) bytes of the frame from `offset` to the block's start.
    fn load(&mut self, block: &mut Block, offset: u32, len: u32) -> bool;
    /// Ships the block's header and its first `header.len` bytes; fills in `attempt`, `cpu` and
    /// what the hook knows of the socket. A failure is counted by the environment.
    fn emit(&mut self, block: &mut Block);
    /// Adds to a counter.
    fn count(&mut self, counter: Counter, n: u32);
    /// Looks a flow up, claims it and copies its state.
    fn claim(&mut self, key: &FlowKey, flow: &mut Flow) -> Claim;
    /// Inserts a flow, claimed, unless there is one (`Refused`) or no room (`Missing`).
    fn insert(&mut self, key: &FlowKey, flow: &mut Flow) -> Claim;
    /// Writes a claimed flow back, or deletes it, and releases it.
    fn release(&mut self, key: &FlowKey, flow: &Flow, delete: bool);
    /// Releases a claimed flow as it was before ([`FilterConfig::no_write_back`]).
    fn give_up(&mut self, _key: &FlowKey) {}
    /// What the tuple's SYNs said; nothing valid when none was seen.
    fn syn(&mut self, key: &FlowKey, into: &mut Syn);
    /// Remembers a SYN.
    fn set_syn(&mut self, key: &FlowKey, syn: &Syn);
    /// What the host handed back of a connection whose framing was lost, if anything.
    fn hand_back(&mut self, key: &FlowKey, into: &mut HandBack) -> bool;
    /// Whether `bytes` more of `Unsure` directions may ship within the budget all flows share.
    fn unsure_budget(&mut self, bytes: u32) -> bool;
}

/// What a hook knows of a segment besides its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Context {
    /// When it was seen: CLOCK_BOOTTIME ns in the kernel, Unix ns in a replay.
    pub time_ns: u64,
    /// Index of the interface; 0 when the hook has none.
    pub interface: u32,
    /// The frame's length on the wire.
    pub wire_len: u32,
    /// Whether it leaves the host.
    pub egress: bool,
    /// Where it was seen.
    pub hook: Hook,
}

/// A block's bytes under the framer's eye, every index masked.
pub(crate) struct View<'a, E> {
    block: &'a Block,
    env: core::marker::PhantomData<E>,
}

impl<'a, E: Env> View<'a, E> {
    #[inline(always)]
    fn new(block: &'a Block) -> Self {
        View {
            block,
            env: core::marker::PhantomData,
        }
    }
}

impl<E: Env> Window for View<'_, E> {
    #[inline(always)]
    fn byte(&self, at: u32) -> u8 {
        let at = E::mask(at, BLOCK_BYTES - 1) as usize;
        self.block.bytes.get(at).copied().unwrap_or(0)
    }
    #[inline(always)]
    fn word(&self, at: u32) -> u64 {
        let at = E::mask(at, BLOCK_BYTES - 1) as usize;
        match self
            .block
            .bytes
            .get(at..at + 8)
            .and_then(<[u8]>::first_chunk::<8>)
        {
            Some(word) => u64::from_le_bytes(*word),
            None => 0,
        }
    }
    #[inline(always)]
    fn forget(&self, number: u32) -> u32 {
        E::forget(self.block, number)
    }
    #[inline(always)]
    fn find_lf(&self, at: u32, end: u32) -> (u32, bool) {
        E::find_lf(self.block, at, end)
    }
}

/// [`framer::find_lf`] over a block.
#[inline(always)]
pub fn find_lf<E: Env>(block: &Block, at: u32, end: u32) -> (u32, bool) {
    framer::find_lf(&View::<E>::new(block), at, end)
}

/// Whether any step remains to be taken.
pub type Continue = bool;

/// First look at a segment: limits, SYNs, admission, what of it is new. `true` when [`step`] is to
/// be called; [`finish`] must be called in any case.
#[inline(always)]
pub fn begin<E: Env>(
    s: &mut Scratch,
    env: &mut E,
    config: &FilterConfig,
    segment: &Segment,
    context: &Context,
) -> Continue {
    s.held = 0;
    s.delete = 0;
    s.end = segment.payload_len;
    let control = segment.flags & (tcp_flag::SYN | tcp_flag::FIN | tcp_flag::RST);
    if s.end == 0 && control == 0 {
        return false;
    }
    if !followed(config, &segment.key) {
        env.count(Counter::Excluded, 1);
        return false;
    }
    prepare::<E>(s, config, segment, context);
    if control & tcp_flag::SYN != 0 {
        note_syn(s, env, segment, context);
    }
    match env.claim(&s.key, &mut s.flow) {
        Claim::Held => {
            s.held = 1;
            known_flow(s, env, config, segment, context)
        }
        Claim::Refused => {
            env.count(Counter::ClaimRefused, 1);
            ship_raw(s);
            true
        }
        Claim::Missing | Claim::Own => {
            if control & tcp_flag::RST != 0 {
                note_refusal(s, env, segment);
            }
            if s.end == 0 {
                return false;
            }
            admit(s, env, config, segment, context)
        }
    }
}

/// Writes the flow back and ships what is still to be told.
#[inline(always)]
pub fn finish<E: Env>(s: &mut Scratch, env: &mut E, config: &FilterConfig) {
    if s.held == 0 {
        return;
    }
    let closing = (s.tcp_flags as u8) & (tcp_flag::FIN | tcp_flag::RST) != 0;
    let side = side(s);
    let untold = side.told != side.next;
    // A long body is told of before its sequence numbers come near to wrapping.
    let long = seq_distance(side.told, side.next) > 1 << 29;
    if s.delete < 2 && (closing || (s.end_untold != 0 && untold) || long) {
        steps::emit_position::<E>(s, env);
    }
    if s.heads > 1 {
        env.count(Counter::SkbSeveralHeads, 1);
    }
    if s.delete != 0 {
        env.count(Counter::FlowsClosed, 1);
    }
    if config.no_write_back == 0 {
        env.release(&s.key, &s.flow, s.delete != 0);
    } else {
        env.give_up(&s.key);
    }
}

/// The fields of the scratch and of the record's header that stay the same for all of a segment.
#[inline(always)]
fn prepare<E: Env>(s: &mut Scratch, config: &FilterConfig, segment: &Segment, context: &Context) {
    // As words, and zeroes that the compiler does not know for such: it would make loops over bytes
    // of both.
    s.key = bytemuck::cast(bytemuck::cast::<_, [u64; 5]>(segment.key));
    let zero = E::forget(&s.block, 0);
    s.direction = segment.direction as u32;
    s.mode = mode::FRAME;
    s.seq = segment.payload_seq();
    s.tcp_flags = u32::from(segment.flags);
    s.payload_offset = segment.payload_offset;
    s.at = zero;
    s.loaded = zero;
    s.cursor = zero;
    s.raw_end = zero;
    s.frame_from = zero;
    s.end_untold = zero;
    s.heads = zero;
    s.steps = config.steps;
    let mut flags = flag::FILTERED;
    if segment.flags & tcp_flag::ACK != 0 {
        flags |= flag::ACK;
    }
    if context.egress {
        flags |= flag::EGRESS;
    }
    s.record_flags = u32::from(flags);
    s.time_ns = context.time_ns;
    s.ack = segment.ack;
    s.wire_len = context.wire_len;
    s.interface = context.interface;
    s.hook = context.hook as u32;
}

/// The fields of a record's header that are the same for all records of a segment. Filled in only
/// once there is a record: most segments have none.
#[inline(always)]
fn fill_header(s: &mut Scratch) {
    // As words: copied as arrays they cost the kernel's program a loop over bytes.
    let words = |address: Address| bytemuck::cast::<_, [u64; 2]>(address);
    let (a, b, a_port, b_port) = (words(s.key.a), words(s.key.b), s.key.a_port, s.key.b_port);
    let (src, dst, src_port, dst_port) = if s.direction == 0 {
        (a, b, a_port, b_port)
    } else {
        (b, a, b_port, a_port)
    };
    let header = &mut s.block.header;
    header.time_ns = s.time_ns;
    header.src = bytemuck::cast(src);
    header.dst = bytemuck::cast(dst);
    header.netns = s.key.netns;
    header.generation = 0;
    header.seq = s.seq;
    header.ack = s.ack;
    header.skip_from = s.seq;
    header.skip_to = s.seq;
    header.len = 0;
    header.wire_len = s.wire_len;
    header.src_port = src_port;
    header.dst_port = dst_port;
    header.flags = s.record_flags as u16;
    header.retransmissions = 0;
    header.version = record::VERSION;
    header.hook = s.hook as u8;
    header.interfaces[0] = s.interface;
    header.interfaces[1] = 0;
    header.interfaces[2] = 0;
    header.interfaces[3] = 0;
}

/// Whether one of the ports is among those to follow. Which end is the server is not known here;
/// the host looks again.
#[inline(always)]
fn followed(config: &FilterConfig, key: &FlowKey) -> bool {
    if config.port_ranges == 0 {
        return true;
    }
    let mut i = 0;
    while i < config.ports.len() {
        let range = &config.ports[i];
        let inside = |port: u16| port >= range.first && port <= range.last;
        if i < config.port_ranges as usize && (inside(key.a_port) || inside(key.b_port)) {
            return true;
        }
        i += 1;
    }
    false
}

#[inline(always)]
pub(crate) fn side(s: &mut Scratch) -> &mut Side {
    if s.direction == 0 {
        &mut s.flow.sides[0]
    } else {
        &mut s.flow.sides[1]
    }
}

#[inline(always)]
pub(crate) fn other_side(s: &mut Scratch) -> &mut Side {
    if s.direction == 0 {
        &mut s.flow.sides[1]
    } else {
        &mut s.flow.sides[0]
    }
}

/// The whole segment ships as it is, without the flow's knowledge.
#[inline(always)]
fn ship_raw(s: &mut Scratch) {
    s.flow = Flow::zeroed();
    s.mode = mode::RAW;
    s.raw_end = s.end;
    s.frame_from = s.end;
}

/// A SYN that comes again this much later was not answered; sooner it is the same one at another
/// hook (RFC 6298 §2: a SYN is repeated after a second).
const SYN_AGAIN_MS: u32 = 500;

/// Remembers a SYN's or a SYN-ACK's ISN. The host hears of a SYN only when it is repeated, which
/// says that nobody answered.
#[inline(always)]
fn note_syn<E: Env>(s: &mut Scratch, env: &mut E, segment: &Segment, context: &Context) {
    let now_ms = (context.time_ns / 1_000_000) as u32;
    env.syn(&s.key, &mut s.syn);
    let before = s.syn.valid;
    let again = s.syn.begins(segment.direction, s.seq);
    let tell;
    if segment.flags & tcp_flag::ACK != 0 {
        tell = before & (Syn::TOLD | Syn::ACKNOWLEDGED) == Syn::TOLD;
        // A SYN-ACK says both: its own ISN, and which SYN it answers.
        s.syn.valid = 3 | Syn::ACKNOWLEDGED;
        s.syn.first = if s.direction == 0 {
            [s.seq, segment.ack]
        } else {
            [segment.ack, s.seq]
        };
    } else if again {
        if before & Syn::ACKNOWLEDGED != 0 {
            // The peer has answered: this one is late.
            return;
        }
        let repeated = now_ms.wrapping_sub(s.syn.since_ms) >= SYN_AGAIN_MS;
        tell = repeated && before & Syn::TOLD == 0;
    } else {
        tell = false;
        s.syn.valid = 1 << (s.direction & 1);
        s.syn.first = if s.direction == 0 {
            [s.seq, 0]
        } else {
            [0, s.seq]
        };
        s.syn.since_ms = now_ms;
    }
    if tell {
        s.syn.valid |= Syn::TOLD;
    }
    env.set_syn(&s.key, &s.syn);
    if tell && env.unsure_budget(HEADER_LEN as u32) {
        fill_header(s);
        s.block.header.flags |= flag::SYN;
        env.emit(&mut s.block);
    }
}

/// A RST on a connection that is not followed: when it refuses a SYN, the host hears of both.
#[inline(always)]
fn note_refusal<E: Env>(s: &mut Scratch, env: &mut E, segment: &Segment) {
    env.syn(&s.key, &mut s.syn);
    let refuses = segment.flags & tcp_flag::ACK != 0
        && s.syn.begins(segment.direction.opposite(), segment.ack);
    let told = s.syn.valid & (Syn::ACKNOWLEDGED | REFUSED) != 0;
    if !refuses || told || !env.unsure_budget(2 * HEADER_LEN as u32) {
        return;
    }
    s.syn.valid |= REFUSED;
    env.set_syn(&s.key, &s.syn);
    // The SYN, as the peer sent it; then the RST.
    let (seq, flags) = (s.seq, s.record_flags as u16);
    fill_header(s);
    turn_round(&mut s.block.header);
    place(
        &mut s.block.header,
        segment.ack,
        (flags & !flag::ACK) ^ flag::EGRESS | flag::SYN,
    );
    env.emit(&mut s.block);
    turn_round(&mut s.block.header);
    place(&mut s.block.header, seq, flags | flag::RST);
    env.emit(&mut s.block);
}

/// Swaps sender and receiver.
#[inline(always)]
fn turn_round(header: &mut RecordHeader) {
    (header.src, header.dst) = (header.dst, header.src);
    (header.src_port, header.dst_port) = (header.dst_port, header.src_port);
}

/// A record without bytes at `seq`.
#[inline(always)]
fn place(header: &mut RecordHeader, seq: u32, flags: u16) {
    header.seq = seq;
    header.skip_from = seq;
    header.skip_to = seq;
    header.len = 0;
    header.flags = flags;
}

/// In [`Syn::valid`]: the refusal was told; a copy of the RST at another hook is none.
const REFUSED: u32 = 1 << 4;

/// A segment of a connection that is not followed: does it begin a message?
#[inline(always)]
fn admit<E: Env>(
    s: &mut Scratch,
    env: &mut E,
    config: &FilterConfig,
    segment: &Segment,
    context: &Context,
) -> Continue {
    let first = first_bytes::<E>(s, env);
    if first == First::Other {
        env.count(Counter::NotHttp, 1);
        return false;
    }
    env.syn(&s.key, &mut s.syn);
    let at_start = s.syn.begins(segment.direction, s.seq);
    match first {
        First::Tls | First::Http2 => {
            // Told once, at the connection's start, so that the host can say what it cannot read.
            if at_start {
                let len = if s.end < PEEK { s.end } else { PEEK };
                env.count(
                    if first == First::Tls {
                        Counter::Tls
                    } else {
                        Counter::Http2
                    },
                    1,
                );
                fill_header(s);
                s.block.header.flags = s.record_flags as u16
                    | flag::OPAQUE
                    | flag::SEGMENT_BEGINS
                    | flag::STREAM_BEGINS;
                s.block.header.len = len;
                s.block.header.skip_to = s.seq.wrapping_add(len);
                env.emit(&mut s.block);
            } else {
                env.count(Counter::NotHttp, 1);
            }
            return false;
        }
        First::Prefix if !at_start => {
            env.count(Counter::NotHttp, 1);
            return false;
        }
        _ => {}
    }
    s.flow = Flow::zeroed();
    s.flow.sides[0].framer = Framer::new();
    s.flow.sides[1].framer = Framer::new();
    s.flow.generation = (context.time_ns >> 16) as u32;
    s.flow.last_seen_s = (context.time_ns / 1_000_000_000) as u32;
    s.flow.interfaces = [context.interface, 0, 0, 0];
    let (seq, ack, acknowledges) = (s.seq, segment.ack, segment.flags & tcp_flag::ACK != 0);
    let own = side(s);
    own.floor = seq;
    own.next = seq;
    own.told = seq;
    own.flags = side_flag::KNOWN;
    own.place = context.interface << 1 | u32::from(context.egress);
    if at_start {
        own.flags |= side_flag::AT_START;
        let peer_known = s.syn.knows(segment.direction.opposite());
        if peer_known || acknowledges {
            let next = if peer_known {
                s.syn.first(segment.direction.opposite())
            } else {
                ack
            };
            let spoken = acknowledges && ack != next;
            let other = other_side(s);
            other.floor = if spoken { ack } else { next };
            other.next = other.floor;
            other.told = other.floor;
            other.flags = side_flag::KNOWN;
            if spoken {
                // The peer has spoken and was not heard, so this is no answer to a request that
                // would be known.
                other.framer.lose();
                s.flow.queue = RequestQueue::unknown();
            } else if peer_known {
                other.flags |= side_flag::AT_START;
            }
        }
        return insert(s, env);
    }
    s.flow.queue = RequestQueue::unknown();
    if first == First::Status {
        side(s).framer.lose();
        env.count(Counter::BecameUnsure, 1);
        if !insert(s, env) {
            return false;
        }
        s.record_flags |= u32::from(flag::HEAD_BEGINS);
        return unsure(s, env, config);
    }
    s.mode = mode::PROBE;
    true
}

#[inline(always)]
pub(crate) fn insert<E: Env>(s: &mut Scratch, env: &mut E) -> bool {
    match env.insert(&s.key, &mut s.flow) {
        Claim::Held => {
            s.held = 1;
            env.count(Counter::FlowsAdmitted, 1);
            true
        }
        Claim::Refused => {
            // Another CPU was faster: it holds the state, we only ship.
            env.count(Counter::ClaimRefused, 1);
            ship_raw(s);
            true
        }
        Claim::Missing => {
            env.count(Counter::TableFull, 1);
            false
        }
        Claim::Own => {
            env.count(Counter::OwnTraffic, 1);
            false
        }
    }
}

/// How an unknown connection's segment begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum First {
    /// A strict status line.
    Status,
    /// A method and a blank: a request line may follow.
    Request,
    /// A prefix of either that fills the segment.
    Prefix,
    /// A TLS ClientHello (RFC 8446 §5.1).
    Tls,
    /// The HTTP/2 preface (RFC 9113 §3.4).
    Http2,
    /// Anything else.
    Other,
}

const PEEK: u32 = 16;

/// Loads and looks at the first sixteen bytes.
#[inline(always)]
fn first_bytes<E: Env>(s: &mut Scratch, env: &mut E) -> First {
    let len = if s.end < PEEK { s.end } else { PEEK };
    if len == 0 || !env.load(&mut s.block, s.payload_offset, len) {
        env.count(Counter::LoadFailed, 1);
        return First::Other;
    }
    let [w0, w1] = first_words(&s.block);
    let b0 = w0 as u8;
    if b0 == 0x16 {
        let hello = len >= 6 && (w0 >> 8) as u8 == 3 && (w0 >> 40) as u8 == 1;
        return if hello { First::Tls } else { First::Other };
    }
    if !is_token(b0) && b0 != b'\r' && b0 != b'\n' {
        return First::Other;
    }
    if len >= 13 && w0 == u64::from_le_bytes(*b"PRI * HT") {
        let version_2 = w1 & 0xff_ffff_ffff == u64::from_le_bytes(*b"TP/2.\0\0\0");
        return if version_2 {
            First::Http2
        } else {
            First::Other
        };
    }
    if len == PEEK && b0 == b'H' && start_line::status_in_words(w0, w1).is_some() {
        return First::Status;
    }
    // A token, then SP; or a token (or the start of a status line) up to the segment's end.
    let mut i = 0;
    let mut only_token = true;
    let mut only_status = true;
    while i < PEEK {
        if i >= len {
            return if only_token || only_status {
                First::Prefix
            } else {
                First::Other
            };
        }
        let b = if i < 8 {
            (w0 >> (8 * i)) as u8
        } else {
            (w1 >> (8 * (i - 8))) as u8
        };
        if only_status && !start_line::status_byte(i as u8, b) {
            only_status = false;
        }
        if only_token && b == b' ' && i > 0 {
            return First::Request;
        }
        if only_token && !is_token(b) && !(i < 4 && (b == b'\r' || b == b'\n')) {
            only_token = false;
        }
        if !only_token && !only_status {
            return First::Other;
        }
        i += 1;
    }
    // Sixteen bytes of token: longer than any registered method but one or two.
    if only_token {
        First::Request
    } else {
        First::Other
    }
}

#[inline(always)]
fn first_words(block: &Block) -> [u64; 2] {
    let word = |bytes: Option<&[u8; 8]>| bytes.map_or(0, |w| u64::from_le_bytes(*w));
    [
        word(block.bytes.first_chunk()),
        word(block.bytes.get(8..16).and_then(<[u8]>::first_chunk)),
    ]
}

/// A segment of a followed connection, which we hold.
#[inline(always)]
fn known_flow<E: Env>(
    s: &mut Scratch,
    env: &mut E,
    config: &FilterConfig,
    segment: &Segment,
    context: &Context,
) -> Continue {
    s.flow.last_seen_s = (context.time_ns / 1_000_000_000) as u32;
    note_interface(s, context.interface);
    if segment.flags & tcp_flag::SYN != 0 {
        s.flow.syn_pending = 1;
    }
    if s.flow.syn_pending != 0 && s.end > 0 {
        restart_on_new_connection(s, env, segment, context);
    }
    if segment.flags & tcp_flag::RST != 0 {
        let expected = {
            let (seq, side) = (s.seq, side(s));
            side.flags & side_flag::KNOWN == 0 || side.next == seq
        };
        // RFC 5961 §3: any other RST may be forged. The host judges it; the flow stays.
        s.delete = u32::from(expected);
    }
    if segment.flags & tcp_flag::FIN != 0 {
        side(s).flags |= side_flag::FIN;
        if other_side(s).flags & side_flag::FIN != 0 {
            s.delete = 1;
        }
    }
    if s.end == 0 {
        return false;
    }
    let (seq, end) = (s.seq, s.end);
    let own = side(s);
    if own.flags & side_flag::KNOWN == 0 {
        // The first of this side, and nobody knows what came before.
        own.floor = seq;
        own.next = seq;
        own.told = seq;
        own.flags |= side_flag::KNOWN;
        own.framer.lose();
        s.flow.queue.set_unknown();
        env.count(Counter::BecameUnsure, 1);
    }
    let place = context.interface << 1 | u32::from(context.egress);
    let own = side(s);
    let ahead = seq_distance(own.next, seq);
    if ahead >= 0 {
        own.place = place;
    }
    if ahead > 0 {
        let (gap, skippable) = (ahead as u64, own.framer.skippable());
        if skippable >= gap {
            if own.framer.skip(gap).is_some() {
                s.end_untold = 1;
            }
            side(s).next = seq;
        } else {
            if own.flags & side_flag::AT_START != 0 {
                // The stream's first bytes are late or lost: the host must know where it begins.
                steps::emit_start(s, env);
            }
            let own = side(s);
            own.framer.lose();
            own.floor = seq;
            own.next = seq;
            own.told = seq;
            // The stream's first bytes were not seen; what ships next is not its beginning.
            own.flags &= !side_flag::AT_START;
            s.flow.queue.set_unknown();
            env.count(Counter::BecameUnsure, 1);
        }
    } else if ahead < 0 {
        let past = ahead.unsigned_abs();
        let below_floor = seq_distance(seq, own.floor);
        if below_floor <= 0 {
            if own.place == place {
                own.retransmissions = own.retransmissions.saturating_add(1);
            }
            if past >= end {
                env.count(Counter::Copies, 1);
                return false;
            }
            s.at = past;
        } else {
            // Bytes from before the floor were never seen: they ship as they are, what is above
            // `next` is framed as ever.
            s.mode = mode::RAW;
            s.raw_end = if below_floor as u32 >= end {
                end
            } else {
                below_floor as u32
            };
            s.frame_from = if past >= end { end } else { past };
            return true;
        }
    }
    let left = s.end.saturating_sub(s.at);
    if side(s).framer.skippable() >= u64::from(left) {
        // Nothing but body, as most segments of a download are: nothing to load, nothing to ship.
        if side(s).framer.skip(u64::from(left)).is_some() {
            s.end_untold = 1;
        }
        env.count(Counter::BodySkipped, left);
        let next = s.seq.wrapping_add(s.end);
        side(s).next = next;
        return false;
    }
    let phase = side(s).framer.phase();
    if phase == framer::Phase::Unsure {
        return unsure(s, env, config);
    }
    true
}

/// Takes the framing over from the host, if it has handed it back and both directions stand where
/// it says: nothing, or nothing but body, has come since.
#[inline(always)]
fn take_back<E: Env>(s: &mut Scratch, env: &mut E) -> bool {
    if !env.hand_back(&s.key, &mut s.hand_back) || s.hand_back.generation != s.flow.generation {
        return false;
    }
    let inside = |handed: &Handed, side: &Side| {
        side.flags & side_flag::KNOWN != 0
            && seq_distance(handed.from, side.next) >= 0
            && seq_distance(side.next, handed.to) >= 0
    };
    let [a, b] = &s.hand_back.sides;
    if !inside(a, &s.flow.sides[0]) || !inside(b, &s.flow.sides[1]) {
        return false;
    }
    take_side(&mut s.flow.sides[0], &s.hand_back.sides[0]);
    take_side(&mut s.flow.sides[1], &s.hand_back.sides[1]);
    s.flow.queue = s.hand_back.queue;
    env.count(Counter::HandedBack, 1);
    true
}

#[inline(always)]
fn take_side(side: &mut Side, handed: &Handed) {
    side.framer = handed.framer;
    side.framer
        .skip(u64::from(side.next.wrapping_sub(handed.from)));
    side.unsure_bytes = 0;
}

/// A side whose framing is lost: everything ships, within a budget, until the host hands it back.
#[inline(always)]
fn unsure<E: Env>(s: &mut Scratch, env: &mut E, config: &FilterConfig) -> Continue {
    if take_back(s, env) {
        return true;
    }
    let n = s.end.saturating_sub(s.at);
    let own = side(s);
    let spent = own.unsure_bytes >= config.unsure_flow_bytes;
    own.unsure_bytes = own.unsure_bytes.saturating_add(n);
    if spent && !env.unsure_budget(n) {
        let first = first_bytes::<E>(s, env);
        if s.at != 0 || !matches!(first, First::Status | First::Request) {
            env.count(Counter::UnsureDropped, 1);
            env.count(Counter::UnsureDroppedBytes, n);
            let next = s.seq.wrapping_add(s.end);
            let own = side(s);
            own.next = next;
            own.told = next;
            return false;
        }
    }
    s.mode = mode::RAW;
    s.raw_end = s.end;
    s.frame_from = s.end;
    true
}

#[inline(always)]
fn note_interface(s: &mut Scratch, interface: u32) {
    let seen = &mut s.flow.interfaces;
    if interface == 0 || seen[0] == interface || seen[1] == interface || seen[2] == interface {
        return;
    }
    if seen[0] == 0 {
        seen[0] = interface;
    } else if seen[1] == 0 {
        seen[1] = interface;
    } else if seen[2] == 0 {
        seen[2] = interface;
    } else {
        seen[3] = interface;
    }
}

/// A SYN was seen on the tuple of a followed connection. Payload at its ISN + 1, once a SYN-ACK
/// acknowledged it, begins another connection; anything else leaves the flow as it is, since the
/// SYN may be a retransmission or forged.
#[inline(always)]
fn restart_on_new_connection<E: Env>(
    s: &mut Scratch,
    env: &mut E,
    segment: &Segment,
    context: &Context,
) {
    env.syn(&s.key, &mut s.syn);
    let begins = s.syn.begins(segment.direction, s.seq);
    let acknowledged = s.syn.valid & Syn::ACKNOWLEDGED != 0;
    let peer_first = if s.syn.knows(segment.direction.opposite()) {
        s.syn.first(segment.direction.opposite())
    } else {
        segment.ack
    };
    let (seq, own) = (s.seq, side(s));
    if begins && own.next == seq && own.flags & side_flag::AT_START != 0 {
        s.flow.syn_pending = 0;
        return;
    }
    if !acknowledged || !begins || own.floor == seq {
        return;
    }
    let fresh = |first: u32| Side {
        framer: Framer::new(),
        floor: first,
        next: first,
        told: first,
        flags: side_flag::KNOWN | side_flag::AT_START,
        ..Side::zeroed()
    };
    let peer = fresh(peer_first);
    let own = fresh(seq);
    if s.direction == 0 {
        s.flow.sides = [own, peer];
    } else {
        s.flow.sides = [peer, own];
    }
    s.flow.queue = RequestQueue::new();
    s.flow.generation = (context.time_ns >> 16) as u32;
    s.flow.syn_pending = 0;
}
