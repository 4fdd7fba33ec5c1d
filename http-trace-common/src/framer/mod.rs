//! HTTP/1.x message framing over one direction of a connection (RFC 9112).
//!
//! Takes bytes in order, in pieces of any size, and says which bytes belong to a head or a body, and
//! where messages begin and end. It keeps 32 bytes of state and copies no byte, so it runs both in the
//! kernel (over a [`Window`] of a packet) and on the host (over slices). While it is synchronised,
//! cutting the stream anywhere gives the same spans.
//!
//! It must not decide what an event is, look at TCP, or hold the state of more than one message.
//!
//! # Layout
//! - `event`: what a step yields; `queue`: requests without a response.
//! - `start`: start lines; `fields`: field lines; `body`: ends of heads, and chunked bodies.
//! - `trial`: framing that is not relied on until it is confirmed.
//! - `window`, `words`: reading bytes.

mod body;
mod event;
mod fields;
mod queue;
mod start;
mod trial;
mod window;
mod words;

pub use event::{Body, Event, HeadFacts, Span, Step};
pub use queue::{MethodKind, RequestQueue};
pub use window::{Window, find_lf, match_suffix};

use bytemuck::{Pod, Zeroable};

/// Deviations and oddities of the current head, and what it declares.
pub mod flag {
    /// A line ended with LF without CR (RFC 9112 §2.2).
    pub const BARE_LF: u32 = 1 << 0;
    /// A folded field line (RFC 9112 §5.2).
    pub const OBS_FOLD: u32 = 1 << 1;
    /// Empty lines (RFC 9112 §2.2) or blanks before the start line.
    pub const LEADING_CRLF: u32 = 1 << 2;
    /// Differing Content-Length values (RFC 9112 §6.3, item 5).
    pub const LENGTH_CONFLICT: u32 = 1 << 3;
    /// A Content-Length that is not a number (RFC 9112 §6.3, item 5).
    pub const LENGTH_INVALID: u32 = 1 << 4;
    /// Both Transfer-Encoding and Content-Length (RFC 9112 §6.3, item 3).
    pub const CODING_AND_LENGTH: u32 = 1 << 5;
    /// Whitespace between the name of a framing field and its colon (RFC 9112 §5.1).
    pub const SPACE_BEFORE_COLON: u32 = 1 << 6;
    /// Recognised by its start line after framing was lost, or where a body was possible.
    pub const RESYNCHRONISED: u32 = 1 << 7;
    /// A line without a colon among the field lines. Only the host's decoder sets this bit.
    pub const LINE_WITHOUT_COLON: u32 = 1 << 8;
    /// `HTTP/1.` digit SP without a status code after it.
    pub const BAD_STATUS: u32 = 1 << 9;
    /// More than one Content-Length value, all equal (RFC 9112 §6.3, item 5).
    pub const LENGTH_REPEATED: u32 = 1 << 10;
    /// Transfer-Encoding whose last coding is not `chunked` (RFC 9112 §6.3, item 4).
    pub const CODING_NOT_CHUNKED: u32 = 1 << 11;
    /// A request line without a target, or without the HTTP/1.x version that RFC 9112 §3 requires.
    pub const MALFORMED_REQUEST: u32 = 1 << 12;
    /// A status line with whitespace other than one SP before its code (RFC 9112 §4).
    pub const STATUS_BLANKS: u32 = 1 << 13;
    /// A status line with a version other than HTTP/1.x: some servers repeat that of the request.
    pub const OTHER_VERSION: u32 = 1 << 14;
    /// A field name that is not a token (RFC 9110 §5.1). Only the host's decoder sets this bit.
    pub const BAD_FIELD_NAME: u32 = 1 << 15;

    // As in `start_line`.
    const _: () = assert!(STATUS_BLANKS == (crate::start_line::OTHER_BLANK as u32) << 7);
    const _: () = assert!(OTHER_VERSION == (crate::start_line::OTHER_VERSION as u32) << 7);

    /// Names of these bits in events.
    pub const NAMES: [(u32, &str); 16] = [
        (BARE_LF, "bare_lf"),
        (OBS_FOLD, "obs_fold"),
        (LEADING_CRLF, "leading_crlf"),
        (LENGTH_CONFLICT, "length_conflict"),
        (LENGTH_INVALID, "length_invalid"),
        (CODING_AND_LENGTH, "coding_and_length"),
        (SPACE_BEFORE_COLON, "space_before_colon"),
        (RESYNCHRONISED, "resynchronised"),
        (LINE_WITHOUT_COLON, "line_without_colon"),
        (BAD_STATUS, "bad_status"),
        (LENGTH_REPEATED, "length_repeated"),
        (CODING_NOT_CHUNKED, "coding_not_chunked"),
        (MALFORMED_REQUEST, "malformed_request"),
        (STATUS_BLANKS, "status_blanks"),
        (OTHER_VERSION, "other_version"),
        (BAD_FIELD_NAME, "bad_field_name"),
    ];

    /// The names of these bits in such a table.
    pub fn named(bits: u32, names: &[(u32, &'static str)]) -> impl Iterator<Item = &'static str> {
        names.iter().filter(move |(bit, _)| bits & bit != 0).map(|(_, name)| *name)
    }

    // Internal state of the framer. Each constant says whether a new head clears it.
    /// A Content-Length is stored in `remaining` (cleared with each head).
    pub(super) const HAS_LENGTH: u32 = 1 << 16;
    /// A Transfer-Encoding was seen (cleared with each head).
    pub(super) const HAS_CODING: u32 = 1 << 17;
    /// The last coding so far is `chunked` (cleared with each head).
    pub(super) const CHUNKED_LAST: u32 = 1 << 18;
    /// The previous byte was CR (kept).
    pub(super) const AFTER_CR: u32 = 1 << 19;
    /// A head was framed in this direction (kept).
    pub(super) const FRAMED: u32 = 1 << 20;
    /// The next head was found by resynchronisation (kept until it begins).
    pub(super) const RESUMING: u32 = 1 << 21;
    /// Blank lines were skipped before the next head (kept until it begins).
    pub(super) const BLANK_LINES: u32 = 1 << 22;
    /// A malformed request line counts as a request only if a field line follows. The name and colon of
    /// that line are still to come (cleared with each head).
    pub(super) const FIRST_FIELD: u32 = 1 << 23;
    /// The head of a request has ended and no body byte has arrived (cleared with the first one).
    pub(super) const UNBEGUN: u32 = 1 << 24;
}

/// Position of a direction within a message.
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
    /// In a body that ends when the connection closes.
    UntilClose = 7,
    /// After a head whose body depends on an unknown request: the next thirteen bytes decide whether
    /// they are a status line or body.
    Peek = 8,
    /// Not HTTP/1.x from here on; never looked at again.
    Opaque = 9,
    /// Framing is lost; nothing is skipped until a caller finds a position to resume at.
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

/// Maximum number of bytes that one step handles individually. The verifier walks each of them.
const BYTES_PER_STEP: u32 = if cfg!(target_arch = "bpf") { 1 } else { 64 };
/// Sub-states of [`Framer::line`].
mod line {
    /// At the beginning of a line.
    pub const BEGIN: u8 = 0;
    /// In a line whose rest is irrelevant, up to its LF.
    pub const REST: u8 = 1;
    /// After a CR at the beginning of a line; LF makes it the blank line.
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
    /// Content-Length: whitespace after the digits.
    pub const LENGTH_AFTER: u8 = 7;
    /// Content-Length: after a comma of a list (RFC 9110 §5.6.1 allows empty elements).
    pub const LENGTH_COMMA: u8 = 8;
    /// Content-Length: not a number.
    pub const LENGTH_BAD: u8 = 9;
    /// Transfer-Encoding: in its value; `pos` as in `coding_next`.
    pub const CODING: u8 = 10;

    // Start lines.
    /// Matching `HTTP/1.x ddd`; `pos` bytes are matched.
    pub const STATUS: u8 = 11;
    /// In the method; `pos` is its length so far.
    pub const METHOD: u8 = 12;
    /// In the target; `pos` is the state of [`crate::start_line::suffix_next`].
    pub const TARGET: u8 = 13;

    // Chunks.
    /// In the digits of a chunk size.
    pub const SIZE_DIGITS: u8 = 14;
    /// The chunk data has ended; its line end is expected.
    pub const DATA_END: u8 = 15;

    // PROXY protocol version 2.
    /// In the header; `pos` bytes from the fifth byte of the signature on are matched.
    pub const PREFACE: u8 = 16;
    /// In the addresses; `remaining` bytes are left.
    pub const PREFACE_DATA: u8 = 17;

    /// In the name of the first field after a malformed request line.
    pub const FIRST_NAME: u8 = 18;
}

/// [`Framer::method`] in a line that begins with `PROXY`.
const METHOD_PROXY: u8 = 3;

const ROLE_UNKNOWN: u8 = 0;
const ROLE_REQUEST: u8 = 1;
const ROLE_RESPONSE: u8 = 2;

/// Largest accepted Content-Length. RFC 9110 §8.6 sets no limit, but no TCP stream gets that long.
const MAX_LENGTH: u64 = 1 << 60;

/// The state of one direction. All zeroes means a direction before its first message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Framer {
    phase: u8,
    role: u8,
    line: u8,
    pos: u8,
    flags: u32,
    /// The status code so far; in a request line, its first byte.
    status: u16,
    /// The [`MethodKind`] of the method, or [`METHOD_PROXY`].
    method: u8,
    /// The value state at the end of the last field line, which a folded line would continue. In
    /// [`Phase::Peek`], the phase of the body, if there is one.
    last: u8,
    /// On trial: sequence number at which the trial began (see `trial`).
    trial_from: u32,
    /// Body bytes still to come; in a head, the Content-Length.
    remaining: u64,
    /// A number being parsed, the first eight bytes of the method, or the last eight bytes so far of a
    /// request line after its method.
    value: u64,
}

impl Default for Framer {
    fn default() -> Self {
        Self::new()
    }
}

impl Framer {
    /// A direction before its first message.
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
            trial_from: 0,
            remaining: 0,
            value: 0,
        }
    }

    /// A direction between two messages, restored from what [`Framer::is_response`] returned.
    pub const fn between(is_response: Option<bool>) -> Self {
        let mut framer = Framer::new();
        match is_response {
            Some(true) => (framer.role, framer.flags) = (ROLE_RESPONSE, flag::FRAMED),
            Some(false) => (framer.role, framer.flags) = (ROLE_REQUEST, flag::FRAMED),
            None => {}
        }
        framer
    }

    /// Whether [`Framer::between`] would restore all relevant state.
    pub const fn at_rest(&self) -> bool {
        self.phase == Phase::Idle as u8
            && self.flags & (flag::AFTER_CR | flag::RESUMING | flag::BLANK_LINES) == 0
    }

    /// Position of the direction within a message.
    #[inline(always)]
    pub const fn phase(&self) -> Phase {
        Phase::from_number(self.phase)
    }

    /// The [`flag`] bits of the current head (those that have a name).
    #[inline(always)]
    pub const fn flags(&self) -> u32 {
        self.flags & 0xffff
    }

    /// Whether the direction carries responses (`true`) or requests (`false`); `None` if not known yet.
    pub const fn is_response(&self) -> Option<bool> {
        match self.role {
            ROLE_REQUEST => Some(false),
            ROLE_RESPONSE => Some(true),
            _ => None,
        }
    }

    /// The part of the current request's method that matters to framing.
    #[inline(always)]
    pub const fn method_kind(&self) -> MethodKind {
        MethodKind::from_number(self.method)
    }

    /// The status code of the response head that has just ended; 0 for an invalid one.
    #[inline(always)]
    pub const fn status(&self) -> u32 {
        self.status as u32
    }

    /// Whether the next byte is the first of a start line.
    #[inline(always)]
    pub const fn is_at_start_line(&self) -> bool {
        self.phase == Phase::StartLine as u8 && self.line == line::BEGIN
    }

    /// Whether a head was framed in this direction.
    #[inline(always)]
    pub const fn has_framed(&self) -> bool {
        self.flags & flag::FRAMED != 0
    }

    /// Whether a rejected line ([`Event::NotHttp`]) begins with a capital letter, as methods do.
    #[inline(always)]
    pub const fn begins_with_capital(&self) -> bool {
        self.status.wrapping_sub(b'A' as u16) < 26
    }

    /// Whether the current head begins with a malformed request line and the field line that would make
    /// it a request has not arrived yet.
    #[inline(always)]
    pub const fn awaits_first_field(&self) -> bool {
        self.phase == Phase::Head as u8 && self.flags & flag::FIRST_FIELD != 0
    }

    /// Whether a request body is expected and none of it has arrived. A client that gets its final
    /// answer before it has sent any body byte may omit the body (RFC 9110 §10.1.1) and send another
    /// request instead.
    #[inline(always)]
    pub const fn is_body_unbegun(&self) -> bool {
        self.phase == Phase::ChunkSize as u8 && self.flags & flag::UNBEGUN != 0
            || self.is_length_unbegun()
    }

    /// Like [`Framer::is_body_unbegun`], but only for a body of known length. This is enough for a
    /// filter: where a chunk is expected, it sees that none begins.
    #[inline(always)]
    pub const fn is_length_unbegun(&self) -> bool {
        self.phase == Phase::Body as u8 && self.flags & flag::UNBEGUN != 0
    }

    /// The expected body was omitted: the next bytes begin another request.
    pub const fn leave_out_body(&mut self) {
        self.phase = Phase::Idle as u8;
        self.flags &= flag::FRAMED;
    }

    /// Number of bytes from here on that are certainly body and need not be looked at. `u64::MAX` if
    /// only the close ends the body, or if the direction is opaque.
    #[inline(always)]
    pub const fn skippable(&self) -> u64 {
        match self.phase() {
            Phase::Body => self.remaining,
            Phase::ChunkData if self.line != line::DATA_END => self.remaining,
            Phase::UntilClose | Phase::Opaque => u64::MAX,
            _ => 0,
        }
    }

    /// Skips `n` bytes of body, at most [`Framer::skippable`].
    #[inline(always)]
    pub const fn skip(&mut self, n: u64) -> Option<Event> {
        self.flags &= !flag::UNBEGUN;
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

    /// Framing is lost: a gap that cannot be skipped.
    #[inline(always)]
    pub const fn lose(&mut self) {
        self.phase = Phase::Unsure as u8;
    }

    /// The caller found a start line at the beginning of a segment: the next byte is its first. The role
    /// becomes unknown again, since the assumed role may have been wrong.
    #[inline(always)]
    pub const fn restart(&mut self) {
        self.phase = Phase::Idle as u8;
        self.role = ROLE_UNKNOWN;
        self.flags = (self.flags & flag::FRAMED) | flag::RESUMING;
    }

    /// Not HTTP/1.x from here on: the peer sent 101 or a 2xx to CONNECT, or the bytes are TLS or HTTP/2.
    #[inline(always)]
    pub const fn set_opaque(&mut self) {
        self.phase = Phase::Opaque as u8;
    }

    /// Consumes `bytes` up to the next boundary. Without bytes it does nothing. `queue` belongs to the
    /// connection: the head of a request pushes to it, the head of a final response pops from it.
    pub fn step(&mut self, queue: &mut RequestQueue, bytes: &[u8]) -> Step {
        let end = bytes.len().min(1 << 30) as u32;
        loop {
            let step = self.step_in(queue, bytes, 0, end);
            // A change of state alone is not a step to the caller.
            if step.taken > 0 || step.event.is_some() || end == 0 {
                return step;
            }
        }
    }

    /// [`Framer::step`] over `[at, end)` of a window, except that a step may only change the state
    /// (nothing taken, no event). This never happens twice in a row.
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
        let (at, end) = (window.forget(at), window.forget(end));
        match self.phase() {
            Phase::Head | Phase::Trailers => self.fields(queue, window, at, end),
            Phase::StartLine => self.start_line(queue, window, at, end),
            Phase::Idle => self.idle(window, at, end),
            Phase::ChunkSize => self.chunk_size(window, at, end),
            Phase::ChunkData if self.line == line::DATA_END => self.chunk_end(window, at, end),
            Phase::Peek => self.peek(window, at, end),
            Phase::Body | Phase::ChunkData | Phase::UntilClose => {
                let n = u64::from(end - at).min(self.skippable());
                Step { taken: n as u32, span: Span::Body, event: self.skip(n) }
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
        if (b == b' ' || b == b'\t') && self.role != ROLE_RESPONSE {
            // Some servers pass over them too.
            self.flags |= flag::BLANK_LINES;
            return Step::took(1, Span::Ignored);
        }
        self.begin_head();
        Step { taken: 0, span: Span::Ignored, event: Some(Event::HeadBegins { back: 0 }) }
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
    fn enter_fields(&mut self, phase: Phase) {
        self.phase = phase as u8;
        self.line = line::BEGIN;
        self.last = line::REST;
    }
}
