//! HTTP/1.x message framing over one direction of a connection (RFC 9112).
//!
//! Takes bytes in order, in pieces of any size, and says which belong to a head, which to a body,
//! where a message begins and ends. It keeps 32 bytes of state and no copy of any byte, so it runs
//! in the kernel (over a [`Window`] of a packet) and on the host (over slices) alike. While it is
//! synchronised, cutting the stream anywhere gives the same spans.
//!
//! It must not decide what an event is, look at TCP, or hold more than one message's state.

use bytemuck::{Pod, Zeroable};

use crate::start_line::{
    MAX_METHOD, SUFFIX_AFTER_METHOD, SUFFIX_MEMORY, SUFFIX_NONE, is_sp_http_1, is_token,
    status_byte, status_in_words, suffix_complete, suffix_next,
};

/// Leniencies and oddities of the head at hand, and what it declares.
pub mod flag {
    /// A line ended in LF without CR (RFC 9112 §2.2).
    pub const BARE_LF: u32 = 1 << 0;
    /// A folded field line (RFC 9112 §5.2).
    pub const OBS_FOLD: u32 = 1 << 1;
    /// Empty lines before the start line (RFC 9112 §2.2).
    pub const LEADING_CRLF: u32 = 1 << 2;
    /// Content-Length values that differ (RFC 9112 §6.3, item 5).
    pub const LENGTH_CONFLICT: u32 = 1 << 3;
    /// A Content-Length that is no number (RFC 9112 §6.3, item 5).
    pub const LENGTH_INVALID: u32 = 1 << 4;
    /// Both Transfer-Encoding and Content-Length (RFC 9112 §6.3, item 3).
    pub const CODING_AND_LENGTH: u32 = 1 << 5;
    /// Blanks between a framing field's name and its colon (RFC 9112 §5.1).
    pub const SPACE_BEFORE_COLON: u32 = 1 << 6;
    /// Found by its start line after framing had been lost, or where a body was possible.
    pub const RESYNCHRONISED: u32 = 1 << 7;
    /// A chunk's size line or end was not to the letter (RFC 9112 §7.1).
    pub const CHUNK_LENIENT: u32 = 1 << 8;
    /// `HTTP/1.` digit SP, and then no status code.
    pub const BAD_STATUS: u32 = 1 << 9;
    /// More than one Content-Length value, all the same (RFC 9112 §6.3, item 5).
    pub const LENGTH_REPEATED: u32 = 1 << 10;
    /// Transfer-Encoding whose last coding is not `chunked` (RFC 9112 §6.3, item 4).
    pub const CODING_NOT_CHUNKED: u32 = 1 << 11;

    /// Names of the bits above, as events show them.
    pub const NAMES: [(u32, &str); 12] = [
        (BARE_LF, "bare_lf"),
        (OBS_FOLD, "obs_fold"),
        (LEADING_CRLF, "leading_crlf"),
        (LENGTH_CONFLICT, "length_conflict"),
        (LENGTH_INVALID, "length_invalid"),
        (CODING_AND_LENGTH, "coding_and_length"),
        (SPACE_BEFORE_COLON, "space_before_colon"),
        (RESYNCHRONISED, "resynchronised"),
        (CHUNK_LENIENT, "chunk_lenient"),
        (BAD_STATUS, "bad_status"),
        (LENGTH_REPEATED, "length_repeated"),
        (CODING_NOT_CHUNKED, "coding_not_chunked"),
    ];

    // What the framer remembers for itself; cleared or kept as each says.
    /// A Content-Length was taken over into `remaining` (cleared with each head).
    pub(super) const HAS_LENGTH: u32 = 1 << 16;
    /// A Transfer-Encoding was seen (cleared with each head).
    pub(super) const HAS_CODING: u32 = 1 << 17;
    /// Its last coding so far is `chunked` (cleared with each head).
    pub(super) const CHUNKED_LAST: u32 = 1 << 18;
    /// The byte before this one was CR (kept).
    pub(super) const AFTER_CR: u32 = 1 << 19;
    /// A head has been framed in this direction (kept).
    pub(super) const FRAMED: u32 = 1 << 20;
    /// The next head is found by resynchronisation (kept until it begins).
    pub(super) const RESUMING: u32 = 1 << 21;
    /// Blank lines were skipped before the next head (kept until it begins).
    pub(super) const BLANK_LINES: u32 = 1 << 22;
}

/// Where in a message a direction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Phase {
    /// Between messages.
    Idle = 0,
    /// In a start line.
    StartLine = 1,
    /// In field lines.
    Head = 2,
    /// In a body of known length.
    Body = 3,
    /// In a chunk's size line.
    ChunkSize = 4,
    /// In a chunk's data, or at its line end.
    ChunkData = 5,
    /// In trailer fields.
    Trailers = 6,
    /// In a body that the connection's close ends.
    UntilClose = 7,
    /// After a head whose body depends on a request that is not known: the next thirteen bytes
    /// decide between a status line and a body.
    Peek = 8,
    /// Not HTTP/1.x from here on: never looked at again.
    Opaque = 9,
    /// Framing is lost; nothing is skipped until a caller finds a place to resume.
    Unsure = 10,
}

impl Phase {
    const fn from_number(n: u8) -> Self {
        match n {
            0 => Phase::Idle,
            1 => Phase::StartLine,
            2 => Phase::Head,
            3 => Phase::Body,
            4 => Phase::ChunkSize,
            5 => Phase::ChunkData,
            6 => Phase::Trailers,
            7 => Phase::UntilClose,
            8 => Phase::Peek,
            9 => Phase::Opaque,
            _ => Phase::Unsure,
        }
    }
}

/// What of a request's method the framing of its response depends on (RFC 9112 §6.3, items 1, 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum MethodKind {
    /// Any other method.
    Other = 0,
    /// HEAD: the response has no body.
    Head = 1,
    /// CONNECT: a 2xx response begins a tunnel.
    Connect = 2,
}

/// Outstanding requests, in order, two bits each; or *unknown*.
///
/// At most 28 fit; more make it unknown. Once unknown it stays so, because nobody can say which
/// response the next one will be, until [`RequestQueue::new`] replaces it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(transparent)]
pub struct RequestQueue(u64);

impl RequestQueue {
    /// The most requests that are told apart.
    pub const CAPACITY: u32 = 28;
    const COUNT_SHIFT: u32 = 56;
    const UNKNOWN: u64 = 1 << 63;

    /// Known and empty.
    pub const fn new() -> Self {
        RequestQueue(0)
    }

    /// Nobody knows which requests are outstanding.
    pub const fn unknown() -> Self {
        RequestQueue(Self::UNKNOWN)
    }

    /// How many requests are outstanding; 0 when unknown.
    #[inline(always)]
    pub const fn len(&self) -> u32 {
        (self.0 >> Self::COUNT_SHIFT) as u32 & 0x1f
    }

    /// Whether none is known to be outstanding.
    #[inline(always)]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it is unknown which requests are outstanding.
    #[inline(always)]
    pub const fn is_unknown(&self) -> bool {
        self.0 & Self::UNKNOWN != 0
    }

    /// Forgets all requests.
    #[inline(always)]
    pub const fn set_unknown(&mut self) {
        self.0 = Self::UNKNOWN;
    }

    /// Adds a request at the end.
    #[inline(always)]
    pub const fn push(&mut self, kind: MethodKind) {
        let count = self.len();
        if self.is_unknown() || count >= Self::CAPACITY {
            self.set_unknown();
            return;
        }
        let entries = self.0 & ((1 << Self::COUNT_SHIFT) - 1);
        self.0 = entries | (kind as u64) << (2 * count) | ((count + 1) as u64) << Self::COUNT_SHIFT;
    }

    /// Takes the oldest request, `None` when unknown or when there is none.
    #[inline(always)]
    pub const fn pop(&mut self) -> Option<MethodKind> {
        let count = self.len();
        if self.is_unknown() || count == 0 {
            return None;
        }
        let kind = match self.0 & 3 {
            1 => MethodKind::Head,
            2 => MethodKind::Connect,
            _ => MethodKind::Other,
        };
        let entries = (self.0 & ((1 << Self::COUNT_SHIFT) - 1)) >> 2;
        self.0 = entries | ((count - 1) as u64) << Self::COUNT_SHIFT;
        Some(kind)
    }
}

impl Default for RequestQueue {
    fn default() -> Self {
        Self::new()
    }
}

/// What the bytes of one step are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Span {
    /// Start line, field lines, the blank line.
    Head,
    /// Body, without chunk framing.
    Body,
    /// Chunk size lines and the line ends after chunks.
    ChunkFraming,
    /// Trailer fields and the blank line that ends a chunked body.
    Trailers,
    /// After a head whose body is in doubt; the event that follows decides.
    Undecided,
    /// Blank lines between messages, and everything while opaque or unsure.
    Ignored,
}

/// How the length of a body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Body {
    /// There is none; the message ends with its head.
    None,
    /// So many bytes. With 0 the message ends with its head.
    Length(u64),
    /// Chunked (RFC 9112 §7.1).
    Chunked,
    /// Until the connection closes.
    Close,
    /// None: the connection becomes a tunnel or another protocol.
    Tunnel,
    /// Its length cannot be told (conflicting or impossible declarations): framing is lost.
    Unknown,
}

/// What a completed head was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HeadFacts {
    /// A request.
    Request {
        /// What of its method matters to framing.
        method: MethodKind,
    },
    /// A response.
    Response {
        /// Its status code; 0 for `HTTP/1.x` with an impossible one, which is no event.
        status: u16,
        /// Whether the request it answers was known ([`RequestQueue`]); without it the body is
        /// decided by the bytes that follow, see [`Phase::Peek`].
        answers: Option<MethodKind>,
    },
}

/// What happened after the bytes of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// A head begins `back` bytes before here: 0, or 12 after [`Phase::Peek`] found a status line
    /// (then the message before it had no body).
    HeadBegins {
        /// Bytes of the head already taken, as [`Span::Undecided`].
        back: u8,
    },
    /// A head is complete. No [`Event::MessageEnds`] follows when the body is `None`, `Length(0)`,
    /// `Tunnel` or `Unknown`.
    HeadEnds {
        /// What it was.
        head: HeadFacts,
        /// What follows.
        body: Body,
    },
    /// After [`Phase::Peek`]: it is a body, which began `back` bytes before here.
    BodyBegins {
        /// Bytes of the body already taken, as [`Span::Undecided`].
        back: u8,
    },
    /// A body (with its trailers) is complete.
    MessageEnds,
    /// Bytes that are no HTTP/1.x where a start line was due; the phase is now `Unsure`.
    NotHttp {
        /// Whether a message had been framed in this direction before.
        after_messages: bool,
    },
    /// Framing was lost inside a message (a chunk size that is none); the phase is now `Unsure`.
    Lost,
}

/// One step of the framer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Bytes consumed.
    pub taken: u32,
    /// What they are.
    pub span: Span,
    /// What happened after them.
    pub event: Option<Event>,
}

impl Step {
    /// Bytes taken, and nothing happened.
    #[inline(always)]
    const fn took(taken: u32, span: Span) -> Self {
        Step {
            taken,
            span,
            event: None,
        }
    }
}

/// Bytes under the framer's eye. Reads outside give 0, never a panic: the kernel masks its indexes.
pub trait Window {
    /// The byte at `at`.
    fn byte(&self, at: u32) -> u8;
    /// Eight bytes from `at`, little-endian.
    fn word(&self, at: u32) -> u64;
}

impl Window for [u8] {
    #[inline(always)]
    fn byte(&self, at: u32) -> u8 {
        self.get(at as usize).copied().unwrap_or(0)
    }
    #[inline(always)]
    fn word(&self, at: u32) -> u64 {
        self.get(at as usize..)
            .and_then(<[u8]>::first_chunk::<8>)
            .map_or(0, |w| u64::from_le_bytes(*w))
    }
}

/// Bytes handled one at a time in one step, at most: the verifier walks each of them.
const BYTES_PER_STEP: u32 = if cfg!(target_arch = "bpf") { 12 } else { 64 };
/// Words searched for LF in one step, at most.
const WORDS_PER_STEP: u32 = if cfg!(target_arch = "bpf") { 16 } else { 64 };

/// Sub-states of [`Framer::line`].
mod line {
    /// At the beginning of a line (in a start line: of the line).
    pub const BEGIN: u8 = 0;
    /// A line that matters no more, up to its LF.
    pub const REST: u8 = 1;
    /// A CR at the beginning of a line: LF makes it the blank line.
    pub const BLANK: u8 = 2;

    // Field lines.
    /// Matching `content-length`; `pos` bytes are matched.
    pub const NAME_LENGTH: u8 = 3;
    /// Matching `transfer-encoding`.
    pub const NAME_CODING: u8 = 4;
    /// Content-Length: before the first digit.
    pub const LENGTH_BEFORE: u8 = 5;
    /// Content-Length: in digits.
    pub const LENGTH_DIGITS: u8 = 6;
    /// Content-Length: blanks after digits.
    pub const LENGTH_AFTER: u8 = 7;
    /// Content-Length: after a list's comma (RFC 9110 §5.6.1 allows empty elements).
    pub const LENGTH_COMMA: u8 = 8;
    /// Content-Length: not a number.
    pub const LENGTH_BAD: u8 = 9;
    /// Transfer-Encoding: its value; `pos` as in [`super::coding_next`].
    pub const CODING: u8 = 10;

    // Start lines.
    /// Matching `HTTP/1.x ddd`; `pos` bytes are matched.
    pub const STATUS: u8 = 11;
    /// In the method; `pos` is its length so far.
    pub const METHOD: u8 = 12;
    /// In the target; `pos` is the state of [`super::suffix_next`].
    pub const TARGET: u8 = 13;

    // Chunks.
    /// In a chunk size's digits.
    pub const SIZE_DIGITS: u8 = 14;
    /// Chunk data is over; its line end is due.
    pub const DATA_END: u8 = 15;
}

const ROLE_UNKNOWN: u8 = 0;
const ROLE_REQUEST: u8 = 1;
const ROLE_RESPONSE: u8 = 2;

/// `content-` and `length`, `transfer`, `-encodin`, lower case, little-endian.
const CONTENT_: u64 = u64::from_le_bytes(*b"content-");
const TRANSFER: u64 = u64::from_le_bytes(*b"transfer");

/// The state of one direction. All zeroes is a direction that begins with its first message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Framer {
    phase: u8,
    role: u8,
    line: u8,
    pos: u8,
    flags: u32,
    /// The status code so far.
    status: u16,
    /// The method's [`MethodKind`].
    method: u8,
    /// The value state at the end of the last field line, which a folded line would continue.
    last: u8,
    reserved: u32,
    /// Body bytes still to come; in a head the Content-Length.
    remaining: u64,
    /// A number, or the method's first eight bytes, as they come in.
    value: u64,
}

impl Default for Framer {
    fn default() -> Self {
        Self::new()
    }
}

impl Framer {
    /// A direction that begins with its first message.
    pub const fn new() -> Self {
        Framer {
            phase: Phase::Idle as u8,
            role: ROLE_UNKNOWN,
            line: line::BEGIN,
            pos: 0,
            flags: 0,
            status: 0,
            method: 0,
            last: line::REST,
            reserved: 0,
            remaining: 0,
            value: 0,
        }
    }

    /// Where in a message the direction is.
    #[inline(always)]
    pub const fn phase(&self) -> Phase {
        Phase::from_number(self.phase)
    }

    /// The [`flag`] bits of the head at hand (those with a name).
    pub const fn flags(&self) -> u32 {
        self.flags & 0xffff
    }

    /// Whether the direction carries responses, requests, or it is not known yet.
    pub const fn is_response(&self) -> Option<bool> {
        match self.role {
            ROLE_REQUEST => Some(false),
            ROLE_RESPONSE => Some(true),
            _ => None,
        }
    }

    /// How many bytes from here are body for certain: they need not be looked at. `u64::MAX` when
    /// only the close ends them, or when nothing is looked at any more.
    #[inline(always)]
    pub const fn skippable(&self) -> u64 {
        match self.phase() {
            Phase::Body => self.remaining,
            Phase::ChunkData if self.line != line::DATA_END => self.remaining,
            Phase::UntilClose | Phase::Opaque => u64::MAX,
            _ => 0,
        }
    }

    /// Steps over `n` bytes of body, at most [`Framer::skippable`].
    #[inline(always)]
    pub const fn skip(&mut self, n: u64) -> Option<Event> {
        match self.phase() {
            Phase::Body => {
                self.remaining = self.remaining.saturating_sub(n);
                if self.remaining == 0 {
                    self.phase = Phase::Idle as u8;
                    return Some(Event::MessageEnds);
                }
            }
            Phase::ChunkData => {
                self.remaining = self.remaining.saturating_sub(n);
                if self.remaining == 0 {
                    self.line = line::DATA_END;
                }
            }
            _ => {}
        }
        None
    }

    /// Framing is lost: a hole that cannot be stepped over.
    #[inline(always)]
    pub const fn lose(&mut self) {
        self.phase = Phase::Unsure as u8;
    }

    /// The caller found a start line where a segment begins: the next byte is its first. The role
    /// is open again: what was taken for a direction's role may have been wrong.
    #[inline(always)]
    pub const fn restart(&mut self) {
        self.phase = Phase::Idle as u8;
        self.role = ROLE_UNKNOWN;
        self.flags = (self.flags & flag::FRAMED) | flag::RESUMING;
    }

    /// The next bytes are `remaining` body bytes of a message that someone else framed.
    pub const fn resume_in_body(&mut self, remaining: u64) {
        *self = Framer {
            phase: Phase::Body as u8,
            flags: flag::FRAMED,
            remaining,
            ..Framer::new()
        };
    }

    /// Not HTTP/1.x from here on: the peer's 101 or 2xx to CONNECT, TLS, HTTP/2.
    #[inline(always)]
    pub const fn set_opaque(&mut self) {
        self.phase = Phase::Opaque as u8;
    }

    /// Consumes from `bytes` up to the next boundary. Nothing is taken, and nothing happens, when
    /// there are no bytes. `queue` is the connection's: a request's head pushes, a final response's
    /// takes.
    pub fn step(&mut self, queue: &mut RequestQueue, bytes: &[u8]) -> Step {
        let end = bytes.len().min(1 << 30) as u32;
        loop {
            let step = self.step_in(queue, bytes, 0, end);
            // A change of state alone is no step to the caller.
            if step.taken > 0 || step.event.is_some() || end == 0 {
                return step;
            }
        }
    }

    /// [`Framer::step`] over `[at, end)` of a window, except that a step may change the state alone
    /// (nothing taken, no event); never twice in a row.
    #[inline(always)]
    pub fn step_in<W: Window + ?Sized>(
        &mut self,
        queue: &mut RequestQueue,
        window: &W,
        at: u32,
        end: u32,
    ) -> Step {
        if at >= end {
            return Step::took(0, Span::Ignored);
        }
        match self.phase() {
            Phase::Head | Phase::Trailers => self.fields(queue, window, at, end),
            Phase::StartLine => self.start_line(window, at, end),
            Phase::Idle => self.idle(window, at, end),
            Phase::ChunkSize => self.chunk_size(window, at, end),
            Phase::ChunkData if self.line == line::DATA_END => self.chunk_end(window, at, end),
            Phase::Peek => self.peek(window, at, end),
            Phase::Body | Phase::ChunkData | Phase::UntilClose => {
                let n = u64::from(end - at).min(self.skippable());
                Step {
                    taken: n as u32,
                    span: Span::Body,
                    event: self.skip(n),
                }
            }
            Phase::Opaque | Phase::Unsure => Step::took(end - at, Span::Ignored),
        }
    }

    #[inline(always)]
    fn idle<W: Window + ?Sized>(&mut self, window: &W, at: u32, end: u32) -> Step {
        let b = window.byte(at);
        if b == b'\r' || b == b'\n' {
            self.flags |= flag::BLANK_LINES;
            let mut n = 1;
            while n < 4 && at + n < end && matches!(window.byte(at + n), b'\r' | b'\n') {
                n += 1;
            }
            return Step::took(n, Span::Ignored);
        }
        self.begin_head();
        Step {
            taken: 0,
            span: Span::Ignored,
            event: Some(Event::HeadBegins { back: 0 }),
        }
    }

    #[inline(always)]
    fn begin_head(&mut self) {
        let mut flags = self.flags & flag::FRAMED;
        if self.flags & flag::RESUMING != 0 {
            flags |= flag::RESYNCHRONISED;
        }
        if self.flags & flag::BLANK_LINES != 0 {
            flags |= flag::LEADING_CRLF;
        }
        self.flags = flags;
        self.phase = Phase::StartLine as u8;
        self.line = line::BEGIN;
        self.pos = 0;
        self.status = 0;
        self.method = MethodKind::Other as u8;
        self.last = line::REST;
        self.remaining = 0;
        self.value = 0;
    }

    #[inline(always)]
    fn start_line<W: Window + ?Sized>(&mut self, window: &W, at: u32, end: u32) -> Step {
        if self.line == line::BEGIN {
            let b = window.byte(at);
            if b == b'H' && self.role != ROLE_REQUEST {
                if end - at >= 16 {
                    if let Some(status) = status_in_words(window.word(at), window.word(at + 8)) {
                        self.status = status;
                        self.role = ROLE_RESPONSE;
                        self.line = line::REST;
                        return Step::took(12, Span::Head);
                    }
                }
                self.line = line::STATUS;
            } else if is_token(b) && self.role != ROLE_RESPONSE {
                self.line = line::METHOD;
            } else {
                return self.not_http(0);
            }
        }
        match self.line {
            line::STATUS => self.status_prefix(window, at, end),
            line::METHOD => self.method(window, at, end),
            line::TARGET => self.target(window, at, end),
            _ => {
                let (taken, found) = self.to_line_end(window, at, end);
                if found {
                    self.enter_fields(Phase::Head);
                }
                Step::took(taken, Span::Head)
            }
        }
    }

    #[inline(always)]
    fn enter_fields(&mut self, phase: Phase) {
        self.phase = phase as u8;
        self.line = line::BEGIN;
        self.last = line::REST;
    }

    /// Matches `HTTP/1.x ddd` and the byte after it, one byte at a time.
    #[inline(always)]
    fn status_prefix<W: Window + ?Sized>(&mut self, window: &W, at: u32, end: u32) -> Step {
        let mut n = 0;
        while n < BYTES_PER_STEP && at + n < end {
            let b = window.byte(at + n);
            let pos = self.pos;
            if pos >= 9 && !status_byte(pos, b) {
                // HTTP/1.x SP and no code: a head all the same, so that what follows is found.
                self.role = ROLE_RESPONSE;
                self.status = 0;
                self.flags |= flag::BAD_STATUS;
                self.line = line::REST;
                return Step::took(n, Span::Head);
            }
            if pos == 12 {
                self.role = ROLE_RESPONSE;
                self.line = line::REST;
                return Step::took(n, Span::Head);
            }
            if pos >= 9 {
                self.status = self
                    .status
                    .wrapping_mul(10)
                    .wrapping_add(u16::from(b.wrapping_sub(b'0')));
            } else if !status_byte(pos, b) {
                if pos <= 4 && (is_token(b) || b == b' ') {
                    if self.role == ROLE_RESPONSE {
                        return self.not_http(n);
                    }
                    // A method that begins as `HTTP` does.
                    self.value =
                        [0, 0x48, 0x4854, 0x48_5454, 0x4854_5450][(pos & 7).min(4) as usize];
                    self.line = line::METHOD;
                    return Step::took(n, Span::Head);
                }
                return self.not_http(n);
            }
            self.pos = pos + 1;
            n += 1;
        }
        Step::took(n, Span::Head)
    }

    #[inline(always)]
    fn method<W: Window + ?Sized>(&mut self, window: &W, at: u32, end: u32) -> Step {
        const HEAD: u64 = 0x4845_4144;
        const CONNECT: u64 = 0x43_4f4e_4e45_4354;
        let mut n = 0;
        while n < BYTES_PER_STEP && at + n < end {
            let b = window.byte(at + n);
            if b == b' ' && self.pos > 0 {
                let kind = match (self.pos, self.value) {
                    (4, HEAD) => MethodKind::Head,
                    (7, CONNECT) => MethodKind::Connect,
                    _ => MethodKind::Other,
                };
                self.method = kind as u8;
                self.line = line::TARGET;
                self.pos = SUFFIX_AFTER_METHOD;
                return Step::took(n + 1, Span::Head);
            }
            if !is_token(b) || u32::from(self.pos) >= MAX_METHOD {
                return self.not_http(n);
            }
            if self.pos < 8 {
                self.value = self.value << 8 | u64::from(b);
            }
            self.pos += 1;
            n += 1;
        }
        Step::took(n, Span::Head)
    }

    #[inline(always)]
    fn target<W: Window + ?Sized>(&mut self, window: &W, at: u32, end: u32) -> Step {
        let (taken, found) = self.to_line_end(window, at, end);
        // The last bytes before the LF (or of what there is) decide; see SUFFIX_MEMORY.
        let stop = at + taken - u32::from(found);
        let known = stop - at;
        if found && known >= SUFFIX_MEMORY {
            let mut e = stop;
            if window.byte(e - 1) == b'\r' {
                e -= 1;
            }
            if window.byte(e - 1) == b' ' {
                e -= 1;
            }
            if is_sp_http_1(window.word(e - 9)) && window.byte(e - 1).is_ascii_digit() {
                return self.request_line_ends(taken);
            }
            return self.not_http(taken);
        }
        let mut i = if known > SUFFIX_MEMORY {
            stop - SUFFIX_MEMORY
        } else {
            at
        };
        if known > SUFFIX_MEMORY {
            self.pos = SUFFIX_NONE;
        }
        let mut left = SUFFIX_MEMORY;
        while i < stop && left > 0 {
            self.pos = suffix_next(self.pos, window.byte(i));
            i += 1;
            left -= 1;
        }
        if !found {
            return Step::took(taken, Span::Head);
        }
        if suffix_complete(self.pos) {
            self.request_line_ends(taken)
        } else {
            self.not_http(taken)
        }
    }

    #[inline(always)]
    fn request_line_ends(&mut self, taken: u32) -> Step {
        self.role = ROLE_REQUEST;
        self.enter_fields(Phase::Head);
        Step::took(taken, Span::Head)
    }

    #[inline(always)]
    fn not_http(&mut self, taken: u32) -> Step {
        self.phase = Phase::Unsure as u8;
        let after_messages = self.flags & flag::FRAMED != 0;
        Step {
            taken,
            span: Span::Ignored,
            event: Some(Event::NotHttp { after_messages }),
        }
    }

    /// Field lines, or trailer lines: only the framing fields of a head are looked into.
    #[inline(always)]
    fn fields<W: Window + ?Sized>(
        &mut self,
        queue: &mut RequestQueue,
        window: &W,
        at: u32,
        end: u32,
    ) -> Step {
        let in_head = self.phase == Phase::Head as u8;
        let span = if in_head { Span::Head } else { Span::Trailers };
        let mut at_line = at;
        if self.line == line::BEGIN {
            let b = window.byte(at);
            if b == b'\r' {
                self.line = line::BLANK;
                self.flags |= flag::AFTER_CR;
                if at + 1 >= end {
                    return Step::took(1, span);
                }
                at_line = at + 1;
            } else if b == b'\n' {
                self.flags |= flag::BARE_LF;
                return self.blank_line(queue, 1, span);
            } else if in_head && (b == b' ' || b == b'\t') {
                // obs-fold: the line before goes on.
                self.flags |= flag::OBS_FOLD;
                self.line = self.last;
            } else if in_head {
                self.commit_field();
                let lower = b | 0x20;
                self.pos = 0;
                self.line = line::REST;
                if lower == b'c' || lower == b't' {
                    // Most names that begin so are others; eight bytes tell when they are there.
                    let name = if lower == b'c' { CONTENT_ } else { TRANSFER };
                    let could_be = end - at < 8 || lower_word(window.word(at)) == name;
                    if could_be {
                        self.line = if lower == b'c' {
                            line::NAME_LENGTH
                        } else {
                            line::NAME_CODING
                        };
                    }
                }
            } else {
                self.line = line::REST;
            }
        }
        let before = at_line - at;
        if self.line == line::BLANK {
            if window.byte(at_line) == b'\n' {
                return self.blank_line(queue, before + 1, span);
            }
            // A lone CR: part of a line like any other byte (RFC 9112 §2.2).
            if in_head {
                self.commit_field();
            }
            self.line = line::REST;
            if before > 0 {
                return Step::took(before, span);
            }
        }
        if self.line == line::REST {
            let (taken, found) = self.to_line_end(window, at, end);
            if found {
                self.line = line::BEGIN;
                self.last = line::REST;
            }
            return Step::took(taken, span);
        }
        self.framing_field(window, at, end)
    }

    /// Bytes of a Content-Length or Transfer-Encoding line, one at a time.
    #[inline(always)]
    fn framing_field<W: Window + ?Sized>(&mut self, window: &W, at: u32, end: u32) -> Step {
        let mut n = 0;
        while n < BYTES_PER_STEP && at + n < end {
            let b = window.byte(at + n);
            n += 1;
            if b == b'\n' {
                if self.flags & flag::AFTER_CR == 0 {
                    self.flags |= flag::BARE_LF;
                }
                self.flags &= !flag::AFTER_CR;
                self.last = match self.line {
                    line::NAME_LENGTH | line::NAME_CODING => line::REST,
                    value => value,
                };
                self.line = line::BEGIN;
                break;
            }
            if b == b'\r' {
                self.flags |= flag::AFTER_CR;
            } else {
                self.flags &= !flag::AFTER_CR;
            }
            self.field_byte(b);
            if self.line == line::REST {
                break;
            }
        }
        Step::took(n, Span::Head)
    }

    #[inline(always)]
    fn field_byte(&mut self, b: u8) {
        let blank = matches!(b, b' ' | b'\t' | b'\r');
        match self.line {
            line::NAME_LENGTH | line::NAME_CODING => {
                const LENGTH: &[u8; 14] = b"content-length";
                const CODING: &[u8; 17] = b"transfer-encoding";
                let coding = self.line == line::NAME_CODING;
                let name_len = if coding { 17 } else { 14 };
                if self.pos < name_len {
                    let i = self.pos as usize;
                    let expected = if coding { CODING.get(i) } else { LENGTH.get(i) };
                    // Folding with 0x20 would take CR for `-`; only letters fold.
                    if expected.copied() == Some(b.to_ascii_lowercase()) {
                        self.pos += 1;
                    } else {
                        self.line = line::REST;
                    }
                } else if b == b':' {
                    self.line = if coding {
                        line::CODING
                    } else {
                        line::LENGTH_BEFORE
                    };
                    self.pos = CODING_START;
                    self.value = 0;
                } else if blank && b != b'\r' {
                    self.flags |= flag::SPACE_BEFORE_COLON;
                } else {
                    self.line = line::REST;
                }
            }
            line::LENGTH_BEFORE | line::LENGTH_DIGITS | line::LENGTH_COMMA
                if b.is_ascii_digit() =>
            {
                self.line = line::LENGTH_DIGITS;
                // Beyond 2^60 the number saturates, which no stream reaches: it is no length.
                if self.value >= MAX_LENGTH / 10 {
                    self.value = MAX_LENGTH;
                } else {
                    self.value = self.value * 10 + u64::from(b - b'0');
                }
            }
            line::LENGTH_BEFORE | line::LENGTH_COMMA if blank => {}
            line::LENGTH_DIGITS | line::LENGTH_AFTER if blank => self.line = line::LENGTH_AFTER,
            line::LENGTH_DIGITS | line::LENGTH_AFTER if b == b',' => {
                self.commit_length();
                self.line = line::LENGTH_COMMA;
            }
            line::LENGTH_COMMA if b == b',' => {}
            line::CODING => self.pos = coding_next(self.pos, b),
            _ => self.line = line::LENGTH_BAD,
        }
    }

    /// The field whose line (with its folds) is over now counts.
    #[inline(always)]
    fn commit_field(&mut self) {
        match self.last {
            line::LENGTH_DIGITS | line::LENGTH_AFTER => self.commit_length(),
            line::LENGTH_BEFORE | line::LENGTH_BAD => self.flags |= flag::LENGTH_INVALID,
            line::CODING => {
                self.flags |= flag::HAS_CODING;
                if coding_is_chunked(self.pos) {
                    self.flags |= flag::CHUNKED_LAST;
                } else {
                    self.flags &= !flag::CHUNKED_LAST;
                }
            }
            _ => {}
        }
        self.last = line::REST;
    }

    #[inline(always)]
    fn commit_length(&mut self) {
        if self.value >= MAX_LENGTH {
            self.flags |= flag::LENGTH_INVALID;
        } else if self.flags & flag::HAS_LENGTH == 0 {
            self.flags |= flag::HAS_LENGTH;
            self.remaining = self.value;
        } else if self.remaining == self.value {
            self.flags |= flag::LENGTH_REPEATED;
        } else {
            self.flags |= flag::LENGTH_CONFLICT;
        }
        self.value = 0;
    }

    /// The blank line: the head, or the trailers, are complete.
    #[inline(always)]
    fn blank_line(&mut self, queue: &mut RequestQueue, taken: u32, span: Span) -> Step {
        self.flags &= !flag::AFTER_CR;
        if self.phase == Phase::Trailers as u8 {
            self.phase = Phase::Idle as u8;
            return Step {
                taken,
                span,
                event: Some(Event::MessageEnds),
            };
        }
        self.commit_field();
        self.flags |= flag::FRAMED;
        if self.flags & flag::HAS_CODING != 0 {
            if self.flags & flag::HAS_LENGTH != 0 {
                self.flags |= flag::CODING_AND_LENGTH;
            }
            if self.flags & flag::CHUNKED_LAST == 0 {
                self.flags |= flag::CODING_NOT_CHUNKED;
            }
        }
        let (head, body) = if self.role == ROLE_RESPONSE {
            self.response_ends(queue)
        } else {
            self.request_ends(queue)
        };
        Step {
            taken,
            span,
            event: Some(Event::HeadEnds { head, body }),
        }
    }

    /// RFC 9112 §6.3 for a request (items 3, 5, 6, 7).
    #[inline(always)]
    fn request_ends(&mut self, queue: &mut RequestQueue) -> (HeadFacts, Body) {
        let method = match self.method {
            1 => MethodKind::Head,
            2 => MethodKind::Connect,
            _ => MethodKind::Other,
        };
        queue.push(method);
        let body = if self.flags & flag::HAS_CODING != 0 {
            if self.flags & flag::CHUNKED_LAST != 0 {
                Body::Chunked
            } else {
                Body::Unknown
            }
        } else if self.flags & (flag::LENGTH_INVALID | flag::LENGTH_CONFLICT) != 0 {
            Body::Unknown
        } else if self.flags & flag::HAS_LENGTH != 0 {
            Body::Length(self.remaining)
        } else {
            Body::None
        };
        self.enter_body(body);
        (HeadFacts::Request { method }, body)
    }

    /// RFC 9112 §6.3 for a response.
    #[inline(always)]
    fn response_ends(&mut self, queue: &mut RequestQueue) -> (HeadFacts, Body) {
        let status = self.status;
        let informational = status >= 100 && status < 200 && status != 101;
        if informational {
            // Not final: the request stays outstanding (RFC 9110 §15.2).
            self.phase = Phase::Idle as u8;
            return (
                HeadFacts::Response {
                    status,
                    answers: None,
                },
                Body::None,
            );
        }
        let answers = queue.pop();
        let head = HeadFacts::Response { status, answers };
        let unsolicited_timeout = status == 408 && !queue.is_unknown();
        if answers.is_none() && !unsolicited_timeout {
            // A response to nothing that was seen: nobody knows what the next one answers.
            queue.set_unknown();
        }
        let success = status >= 200 && status < 300;
        if status == 101 || (success && matches!(answers, Some(MethodKind::Connect))) {
            self.phase = Phase::Opaque as u8;
            return (head, Body::Tunnel);
        }
        if status == 204 || status == 304 || matches!(answers, Some(MethodKind::Head)) {
            self.phase = Phase::Idle as u8;
            return (head, Body::None);
        }
        let body = if self.flags & flag::HAS_CODING != 0 {
            if self.flags & flag::CHUNKED_LAST != 0 {
                Body::Chunked
            } else {
                Body::Close
            }
        } else if self.flags & (flag::LENGTH_INVALID | flag::LENGTH_CONFLICT) != 0 {
            Body::Unknown
        } else if self.flags & flag::HAS_LENGTH != 0 {
            Body::Length(self.remaining)
        } else {
            Body::Close
        };
        self.enter_body(body);
        let doubtful = matches!(
            self.phase(),
            Phase::Body | Phase::ChunkSize | Phase::UntilClose
        );
        if answers.is_none() && !unsolicited_timeout && doubtful {
            self.last = self.phase;
            self.phase = Phase::Peek as u8;
            self.pos = 0;
            self.status = 0;
        }
        (head, body)
    }

    #[inline(always)]
    fn enter_body(&mut self, body: Body) {
        let phase = match body {
            Body::None | Body::Length(0) => Phase::Idle,
            Body::Length(_) => Phase::Body,
            Body::Chunked => {
                self.begin_chunk();
                Phase::ChunkSize
            }
            Body::Close => Phase::UntilClose,
            Body::Tunnel => Phase::Opaque,
            Body::Unknown => Phase::Unsure,
        };
        self.phase = phase as u8;
    }

    #[inline(always)]
    fn begin_chunk(&mut self) {
        self.line = line::BEGIN;
        self.value = 0;
    }

    /// A status line or a body? The status of the head before is kept by whoever got its event.
    #[inline(always)]
    fn peek<W: Window + ?Sized>(&mut self, window: &W, at: u32, end: u32) -> Step {
        let mut n = 0;
        while n < BYTES_PER_STEP && at + n < end {
            let b = window.byte(at + n);
            let pos = self.pos;
            if !status_byte(pos, b) {
                return self.peeked_body(n, pos);
            }
            if pos == 12 {
                let status = self.status;
                let flags = self.flags & flag::FRAMED;
                self.begin_head();
                self.flags = flags | flag::RESYNCHRONISED;
                self.status = status;
                self.role = ROLE_RESPONSE;
                self.line = line::REST;
                // The separator stays for the rest of the line: it may be its end.
                return Step {
                    taken: n,
                    span: Span::Undecided,
                    event: Some(Event::HeadBegins { back: 12 }),
                };
            }
            if pos >= 9 {
                self.status = self
                    .status
                    .wrapping_mul(10)
                    .wrapping_add(u16::from(b.wrapping_sub(b'0')));
            }
            self.pos = pos + 1;
            n += 1;
        }
        Step::took(n, Span::Undecided)
    }

    #[inline(always)]
    fn peeked_body(&mut self, taken: u32, back: u8) -> Step {
        self.phase = self.last;
        self.last = line::REST;
        let event = match self.phase() {
            Phase::Body if u64::from(back) > self.remaining => {
                self.phase = Phase::Unsure as u8;
                Event::Lost
            }
            // Chunk sizes are digits; a status line's first letter is none.
            Phase::ChunkSize if back > 0 => {
                self.phase = Phase::Unsure as u8;
                Event::Lost
            }
            Phase::Body => {
                self.remaining -= u64::from(back);
                Event::BodyBegins { back }
            }
            _ => Event::BodyBegins { back },
        };
        Step {
            taken,
            span: Span::Undecided,
            event: Some(event),
        }
    }

    /// A chunk's size line (RFC 9112 §7.1): hexadecimal digits, then extensions up to LF.
    #[inline(always)]
    fn chunk_size<W: Window + ?Sized>(&mut self, window: &W, at: u32, end: u32) -> Step {
        let mut n = 0;
        if self.line != line::REST {
            while n < BYTES_PER_STEP && at + n < end {
                let b = window.byte(at + n);
                let Some(digit) = hex_digit(b) else {
                    if self.line == line::BEGIN {
                        return self.lost(n);
                    }
                    if !matches!(b, b'\r' | b'\n' | b';' | b' ' | b'\t') {
                        return self.lost(n);
                    }
                    self.line = line::REST;
                    self.flags &= !flag::AFTER_CR;
                    return Step::took(n, Span::ChunkFraming);
                };
                self.line = line::SIZE_DIGITS;
                if self.value >= MAX_LENGTH / 16 {
                    return self.lost(n);
                }
                self.value = self.value * 16 + u64::from(digit);
                n += 1;
            }
            return Step::took(n, Span::ChunkFraming);
        }
        let bare_before = self.flags & flag::BARE_LF;
        let (taken, found) = self.to_line_end(window, at, end);
        if found {
            if self.flags & flag::BARE_LF != bare_before {
                self.flags = (self.flags & !flag::BARE_LF) | bare_before | flag::CHUNK_LENIENT;
            }
            if self.value == 0 {
                self.enter_fields(Phase::Trailers);
            } else {
                self.phase = Phase::ChunkData as u8;
                self.line = line::BEGIN;
                self.remaining = self.value;
            }
        }
        Step::took(taken, Span::ChunkFraming)
    }

    /// The line end after a chunk's data.
    #[inline(always)]
    fn chunk_end<W: Window + ?Sized>(&mut self, window: &W, at: u32, end: u32) -> Step {
        let after_cr = self.flags & flag::AFTER_CR != 0;
        match window.byte(at) {
            b'\r' if !after_cr => {
                self.flags |= flag::AFTER_CR;
                let lf = at + 1 < end && window.byte(at + 1) == b'\n';
                if lf {
                    self.chunk_ended();
                }
                Step::took(1 + u32::from(lf), Span::ChunkFraming)
            }
            b'\n' => {
                if !after_cr {
                    self.flags |= flag::CHUNK_LENIENT;
                }
                self.chunk_ended();
                Step::took(1, Span::ChunkFraming)
            }
            _ => self.lost(0),
        }
    }

    #[inline(always)]
    fn chunk_ended(&mut self) {
        self.flags &= !flag::AFTER_CR;
        self.phase = Phase::ChunkSize as u8;
        self.begin_chunk();
    }

    #[inline(always)]
    fn lost(&mut self, taken: u32) -> Step {
        self.phase = Phase::Unsure as u8;
        Step {
            taken,
            span: Span::ChunkFraming,
            event: Some(Event::Lost),
        }
    }

    /// Steps to just after the next LF (`true`), minding whether a CR stood before it.
    #[inline(always)]
    fn to_line_end<W: Window + ?Sized>(&mut self, window: &W, at: u32, end: u32) -> (u32, bool) {
        let (taken, found) = line_end(window, at, end);
        let last = taken - u32::from(found);
        // Whether CR is the byte before the LF, or the last of what there is.
        let cr = if last > 0 {
            window.byte(at + last - 1) == b'\r'
        } else {
            self.flags & flag::AFTER_CR != 0
        };
        self.flags &= !flag::AFTER_CR;
        if found {
            if !cr {
                self.flags |= flag::BARE_LF;
            }
        } else if cr {
            self.flags |= flag::AFTER_CR;
        }
        (taken, found)
    }
}

/// The greatest Content-Length that is believed: RFC 9110 §8.6 asks for no limit, TCP and time do.
const MAX_LENGTH: u64 = 1 << 60;

/// Bytes up to and including the next LF (`true`), or as many as one step looks at.
#[inline(always)]
fn line_end<W: Window + ?Sized>(window: &W, at: u32, end: u32) -> (u32, bool) {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let mut n = 0;
    let mut words = 0;
    while words < WORDS_PER_STEP && at + n + 8 <= end {
        let x = window.word(at + n) ^ (ONES * b'\n' as u64);
        let zero = x.wrapping_sub(ONES) & !x & (ONES << 7);
        if zero != 0 {
            // Which byte: the target has no count-trailing-zeros.
            let low = zero & zero.wrapping_neg();
            let up_to = ((low - 1) & ONES).wrapping_mul(ONES) >> 56;
            return (n + up_to as u32, true);
        }
        n += 8;
        words += 1;
    }
    if words == WORDS_PER_STEP {
        return (n, false);
    }
    let mut left = 8;
    while left > 0 && at + n < end {
        n += 1;
        left -= 1;
        if window.byte(at + n - 1) == b'\n' {
            return (n, true);
        }
    }
    (n, false)
}

#[inline(always)]
fn hex_digit(b: u8) -> Option<u8> {
    match b {
        b'0'..=b'9' => Some(b - b'0'),
        b'a'..=b'f' => Some(b - b'a' + 10),
        b'A'..=b'F' => Some(b - b'A' + 10),
        _ => None,
    }
}

/// Lower case for a word compared with letters and `-`.
#[inline(always)]
const fn lower_word(word: u64) -> u64 {
    word | 0x2020_2020_2020_2020
}

// The last coding of Transfer-Encoding (RFC 9112 §6.1): 0–7 bytes of `chunked` matched, or:
/// Before a coding.
const CODING_START: u8 = 8;
/// `chunked`, followed by blanks or parameters.
const CODING_CHUNKED: u8 = 9;
/// Another coding.
const CODING_OTHER: u8 = 10;

#[inline(always)]
fn coding_next(state: u8, b: u8) -> u8 {
    const CHUNKED: u64 = u64::from_le_bytes(*b"chunked\0");
    match (state, b) {
        // An empty list element changes nothing (RFC 9110 §5.6.1).
        (_, b',') => CODING_START,
        (CODING_START, b' ' | b'\t' | b'\r') => CODING_START,
        (7 | CODING_CHUNKED, b' ' | b'\t' | b'\r' | b';') => CODING_CHUNKED,
        (CODING_CHUNKED, _) => CODING_OTHER,
        (CODING_START, _) if b | 0x20 == b'c' => 1,
        (0..7, _) if (CHUNKED >> (8 * (state as u32 & 7))) as u8 == b | 0x20 => state + 1,
        _ => CODING_OTHER,
    }
}

#[inline(always)]
fn coding_is_chunked(state: u8) -> bool {
    state == 7 || state == CODING_CHUNKED
}
