//! Start lines, both where a message is expected and where a body could be instead.

use super::{
    BYTES_PER_STEP, Event, Framer, METHOD_PROXY, MethodKind, Phase, ROLE_REQUEST, ROLE_RESPONSE,
    ROLE_UNKNOWN, RequestQueue, Span, Step, Window, flag, line, words,
};
use crate::start_line::{
    MAX_METHOD, OTHER_BLANK, OTHER_VERSION, SUFFIX_AFTER_METHOD, SUFFIX_MEMORY, SUFFIX_NONE,
    is_separator, is_sp_http_1, is_token, status_byte, status_in_words, status_next,
    suffix_complete,
};

/// Whether a line ends in a version (`/` digit `.` digit) of a protocol other than HTTP in any
/// case: `RTSP/1.0`, `SIP/2.0`, `ICAP/1.0`. `last` is its last eight bytes, the last one lowest.
#[inline(always)]
const fn is_other_version(mut last: u64) -> bool {
    if last as u8 == b'\r' {
        last >>= 8;
    }
    if last as u8 == b' ' {
        last >>= 8;
    }
    let version = last & 0xff00_ff00 == (b'/' as u64) << 24 | (b'.' as u64) << 8
        && (last as u8).wrapping_sub(b'0') <= 9
        && ((last >> 16) as u8).wrapping_sub(b'0') <= 9;
    version && (last >> 32) as u16 | 0x2020 != u16::from_be_bytes(*b"tp")
}

impl Framer {
    #[inline(always)]
    pub(super) fn start_line<W: Window + ?Sized>(
        &mut self,
        queue: &RequestQueue,
        window: &W,
        at: u32,
        end: u32,
    ) -> Step {
        let mut skipped = 0;
        if self.line == line::BEGIN {
            let b = window.byte(at);
            if b == b'H' && self.role != ROLE_REQUEST {
                self.line = line::STATUS;
                if end - at >= 16
                    && let Some(status) = status_in_words(window.word(at), window.word(at + 8))
                {
                    self.status = status;
                    self.role = ROLE_RESPONSE;
                    self.line = line::REST;
                    skipped = 12;
                }
            } else if is_token(b) && self.role != ROLE_RESPONSE {
                self.line = line::METHOD;
                self.status = u16::from(b);
                if end - at > 8 {
                    let (letters, method) = words::method(window.word(at));
                    if letters > 0 {
                        self.value = method;
                        self.method_ends(letters);
                        skipped = letters + 1;
                    }
                }
            } else if b == 0 && self.may_have_preface() && self.flags & flag::LEADING_CRLF != 0 {
                self.line = line::PREFACE;
            } else {
                return self.not_http(0);
            }
        }
        let at = window.forget(at + skipped);
        let mut step = match self.line {
            line::STATUS => self.status_prefix(queue, window, at, end),
            line::METHOD => self.method(window, at, end),
            line::TARGET => self.target(queue, window, at, end),
            line::PREFACE => self.preface(window, at, end),
            line::PREFACE_DATA => self.preface_data(at, end),
            _ => {
                let (taken, found) = self.line_end(window, at, end);
                if found {
                    self.enter_fields(Phase::Head);
                }
                Step::took(taken, Span::Head)
            }
        };
        step.taken += skipped;
        step
    }

    /// Matches `HTTP/1.x ddd` and the byte after it, one byte at a time.
    #[inline(always)]
    pub(super) fn status_prefix<W: Window + ?Sized>(
        &mut self,
        queue: &RequestQueue,
        window: &W,
        at: u32,
        end: u32,
    ) -> Step {
        let mut n = 0;
        while n < BYTES_PER_STEP && at + n < end {
            let b = window.byte(at + n);
            let pos = self.pos;
            let next = status_next(pos, b);
            let deviates = next & (OTHER_BLANK | OTHER_VERSION);
            let is_answer = deviates == OTHER_BLANK || !queue.has_none();
            if deviates != 0 && is_answer && self.flags & flag::RESYNCHRONISED == 0 {
                // A response is expected: accept any whitespace before the code (RFC 9112 §4), and after a request
                // any number as the version, since servers repeat that of the client.
                self.pos = next & 15;
                self.flags |= u32::from(deviates) << 7;
                n += 1;
                continue;
            }
            let fits = next != 0 && deviates == 0;
            if pos >= 9 && !fits {
                // HTTP/1.x SP without a code: framed as a head anyway, so that what follows is
                // found.
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
                self.status =
                    self.status.wrapping_mul(10).wrapping_add(u16::from(b.wrapping_sub(b'0')));
            } else if !fits {
                if pos <= 4 && (is_token(b) || b == b' ') {
                    if self.role == ROLE_RESPONSE {
                        return self.not_http(n);
                    }
                    // A method that begins like `HTTP`.
                    self.value = 0x4854_5450 >> (32 - 8 * u32::from(pos));
                    self.status = u16::from(b'H');
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
    pub(super) fn method<W: Window + ?Sized>(&mut self, window: &W, at: u32, end: u32) -> Step {
        let mut n = 0;
        while n < BYTES_PER_STEP && at + n < end {
            let b = window.byte(at + n);
            if (b == b' ' || is_separator(b)) && self.pos > 0 {
                self.method_ends(self.pos.into());
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

    /// Handles the SP after a method of `letters` bytes, which are in `value`.
    #[inline(always)]
    fn method_ends(&mut self, letters: u32) {
        const HEAD: u64 = 0x4845_4144;
        const CONNECT: u64 = 0x43_4f4e_4e45_4354;
        const PROXY: u64 = 0x50_524f_5859;
        self.method = match (letters, self.value) {
            (4, HEAD) => MethodKind::Head as u8,
            (7, CONNECT) => MethodKind::Connect as u8,
            (5, PROXY) => METHOD_PROXY,
            _ => MethodKind::Other as u8,
        };
        self.value = 0;
        self.line = line::TARGET;
        self.pos = SUFFIX_AFTER_METHOD;
    }

    #[inline(always)]
    pub(super) fn target<W: Window + ?Sized>(
        &mut self,
        queue: &RequestQueue,
        window: &W,
        at: u32,
        end: u32,
    ) -> Step {
        let (taken, found) = self.line_end(window, at, end);
        // The last bytes before the LF (or of those present) decide; see SUFFIX_MEMORY.
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
            self.value = window.word(stop - 8).swap_bytes();
            return self.other_line_ends(queue, taken);
        }
        let from = if known > SUFFIX_MEMORY {
            self.pos = SUFFIX_NONE;
            stop - SUFFIX_MEMORY
        } else {
            at
        };
        self.pos = window.match_suffix(self.pos, from, stop);
        self.value = match stop - from {
            0 => self.value,
            n @ 1..8 => self.value << (8 * n) | window.word(from).swap_bytes() >> (64 - 8 * n),
            _ => window.word(stop - 8).swap_bytes(),
        };
        if !found {
            return Step::took(taken, Span::Head);
        }
        if suffix_complete(self.pos) {
            self.request_line_ends(taken)
        } else {
            self.other_line_ends(queue, taken)
        }
    }

    /// Handles the end of a line that began like a request line and is not one; its last eight
    /// bytes are in `value`.
    ///
    /// Servers answer such lines in HTTP/1.x. It therefore counts as a request if one is expected,
    /// if it does not end in the version of another protocol, and if a field line follows: see
    /// [`flag::FIRST_FIELD`].
    #[inline(always)]
    fn other_line_ends(&mut self, queue: &RequestQueue, taken: u32) -> Step {
        if self.method == METHOD_PROXY && self.may_have_preface() {
            return self.preface_ends(taken);
        }
        let due = self.role == ROLE_REQUEST
            || (self.may_have_preface() && !queue.is_unknown() && queue.is_empty());
        if !due
            || !self.begins_with_capital()
            || self.flags & flag::RESYNCHRONISED != 0
            || is_other_version(self.value)
        {
            return self.not_http(taken);
        }
        self.flags |= flag::MALFORMED_REQUEST | flag::FIRST_FIELD;
        self.enter_fields(Phase::Head);
        Step::took(taken, Span::Head)
    }

    /// Whether no message has begun yet, so that a PROXY protocol header may still come.
    #[inline(always)]
    const fn may_have_preface(&self) -> bool {
        self.flags & flag::FRAMED == 0 && self.role == ROLE_UNKNOWN
    }

    #[inline(always)]
    fn preface_ends(&mut self, taken: u32) -> Step {
        self.phase = Phase::Idle as u8;
        self.line = line::BEGIN;
        self.flags = 0;
        Step { taken, span: Span::Head, event: Some(Event::Preface) }
    }

    /// Parses PROXY protocol version 2 from the fifth byte of its signature on (the first four are
    /// blank lines): the rest of the signature, version and command, family, and the length of the
    /// rest.
    #[inline(always)]
    fn preface<W: Window + ?Sized>(&mut self, window: &W, at: u32, end: u32) -> Step {
        /// NUL CR LF `QUIT` LF.
        const SIGNATURE: u64 = u64::from_le_bytes(*b"\0\r\nQUIT\n");
        let mut n = 0;
        while n < BYTES_PER_STEP && at + n < end {
            let b = window.byte(at + n);
            let pos = self.pos & 15;
            let fits = match pos {
                0..8 => (SIGNATURE >> (8 * u32::from(pos))) as u8 == b,
                8 => b >> 4 == 2,
                _ => true,
            };
            if !fits {
                return self.not_http(n);
            }
            n += 1;
            self.pos = pos + 1;
            self.remaining = (self.remaining << 8 | u64::from(b)) & 0xffff;
            if pos == 11 {
                if self.remaining == 0 {
                    return self.preface_ends(n);
                }
                self.line = line::PREFACE_DATA;
                break;
            }
        }
        Step::took(n, Span::Head)
    }

    #[inline(always)]
    fn preface_data(&mut self, at: u32, end: u32) -> Step {
        let left = end - at;
        if u64::from(left) < self.remaining {
            self.remaining -= u64::from(left);
            return Step::took(left, Span::Head);
        }
        let taken = self.remaining as u32;
        self.preface_ends(taken)
    }

    #[inline(always)]
    pub(super) fn request_line_ends(&mut self, taken: u32) -> Step {
        self.role = ROLE_REQUEST;
        self.enter_fields(Phase::Head);
        Step::took(taken, Span::Head)
    }

    #[inline(always)]
    pub(super) fn not_http(&mut self, taken: u32) -> Step {
        self.phase = Phase::Unsure as u8;
        let after_messages = self.flags & flag::FRAMED != 0;
        Step { taken, span: Span::Ignored, event: Some(Event::NotHttp { after_messages }) }
    }

    /// Decides between a status line and a body. The status of the previous head is kept by the
    /// receiver of its event.
    #[inline(always)]
    pub(super) fn peek<W: Window + ?Sized>(&mut self, window: &W, at: u32, end: u32) -> Step {
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
                // Keep the separator for the rest of the line: it may be the line end.
                return Step {
                    taken: n,
                    span: Span::Undecided,
                    event: Some(Event::HeadBegins { back: 12 }),
                };
            }
            if pos >= 9 {
                // Before the first digit this is still the code of the previous head.
                let before = if pos == 9 { 0 } else { self.status };
                self.status = before.wrapping_mul(10).wrapping_add(u16::from(b.wrapping_sub(b'0')));
            }
            self.pos = pos + 1;
            n += 1;
        }
        Step::took(n, Span::Undecided)
    }

    /// Resolves [`Phase::Peek`] as body: a filter looked at the next bytes and found them to be
    /// body, without shipping them. `None` if there was no doubt.
    pub fn decide_body(&mut self) -> Option<Event> {
        if self.phase() != Phase::Peek {
            return None;
        }
        self.peeked_body(0, self.pos).event
    }

    #[inline(always)]
    pub(super) fn peeked_body(&mut self, taken: u32, back: u8) -> Step {
        self.phase = self.last;
        self.last = line::REST;
        let event = match self.phase() {
            Phase::Body if u64::from(back) > self.remaining => {
                self.phase = Phase::Unsure as u8;
                Event::Lost
            }
            // A chunk size consists of hexadecimal digits; the first letter of a status line is not
            // one.
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
        Step { taken, span: Span::Undecided, event: Some(event) }
    }
}
