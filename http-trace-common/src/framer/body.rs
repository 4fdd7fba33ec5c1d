//! What follows a head (RFC 9112 §6.3), and chunked bodies.

use super::{
    BYTES_PER_STEP, Body, Event, Framer, HeadFacts, MAX_LENGTH, MethodKind, Phase, ROLE_REQUEST,
    ROLE_RESPONSE, RequestQueue, Span, Step, Window, flag, line, words,
};

impl Framer {
    /// Handles the blank line: the head or the trailer section is complete.
    #[inline(always)]
    pub(super) fn blank_line(&mut self, queue: &mut RequestQueue, taken: u32, span: Span) -> Step {
        self.flags &= !flag::AFTER_CR;
        if self.phase == Phase::Trailers as u8 {
            self.phase = Phase::Idle as u8;
            return Step { taken, span, event: Some(Event::MessageEnds) };
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
        Step { taken, span, event: Some(Event::HeadEnds { head, body }) }
    }

    /// Applies RFC 9112 §6.3 to a request (items 3, 5, 6, 7).
    #[inline(always)]
    pub(super) fn request_ends(&mut self, queue: &mut RequestQueue) -> (HeadFacts, Body) {
        let method = self.method_kind();
        self.role = ROLE_REQUEST;
        if self.flags & flag::MALFORMED_REQUEST == 0 {
            queue.push(method);
        } else {
            // A server that rejects the line may not have parsed the method, or not have seen a
            // request at all. So the bytes after the response head decide whether it has a body.
            queue.set_unknown();
        }
        let body = self.declared(Body::Unknown, Body::None);
        self.enter_body(body);
        self.flags |= flag::UNBEGUN;
        (HeadFacts::Request { method }, body)
    }

    /// The body that the head declares; `unchunked` if its last coding is not chunked, `undeclared`
    /// if it declares none.
    #[inline(always)]
    const fn declared(&self, unchunked: Body, undeclared: Body) -> Body {
        if self.flags & flag::HAS_CODING != 0 {
            if self.flags & flag::CHUNKED_LAST != 0 { Body::Chunked } else { unchunked }
        } else if self.flags & (flag::LENGTH_INVALID | flag::LENGTH_CONFLICT) != 0 {
            Body::Unknown
        } else if self.flags & flag::HAS_LENGTH != 0 {
            Body::Length(self.remaining)
        } else {
            undeclared
        }
    }

    /// Applies RFC 9112 §6.3 to a response.
    #[inline(always)]
    pub(super) fn response_ends(&mut self, queue: &mut RequestQueue) -> (HeadFacts, Body) {
        let status = self.status;
        let informational = (100..200).contains(&status) && status != 101;
        if informational {
            // Not a final response: the request stays outstanding (RFC 9110 §15.2).
            self.phase = Phase::Idle as u8;
            return (HeadFacts::Response { status, answers: None }, Body::None);
        }
        let answers = queue.pop();
        let head = HeadFacts::Response { status, answers };
        if answers.is_none() {
            // It answers a request that was not seen, or whose head is incomplete, or none (408): which
            // request the next one answers is unknown.
            queue.set_unknown();
        }
        let success = (200..300).contains(&status);
        if status == 101 || (success && matches!(answers, Some(MethodKind::Connect))) {
            self.phase = Phase::Opaque as u8;
            return (head, Body::Tunnel);
        }
        if status == 204 || status == 304 || matches!(answers, Some(MethodKind::Head)) {
            self.phase = Phase::Idle as u8;
            return (head, Body::None);
        }
        let body = self.declared(Body::Close, Body::Close);
        self.enter_body(body);
        let doubtful = matches!(self.phase(), Phase::Body | Phase::ChunkSize | Phase::UntilClose);
        if answers.is_none() && doubtful {
            self.last = self.phase;
            self.phase = Phase::Peek as u8;
            self.pos = 0;
        }
        (head, body)
    }

    #[inline(always)]
    pub(super) fn enter_body(&mut self, body: Body) {
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
    pub(super) fn begin_chunk(&mut self) {
        self.line = line::BEGIN;
        self.value = 0;
    }

    /// Parses a chunk-size line (RFC 9112 §7.1): hexadecimal digits, then extensions up to LF.
    #[inline(always)]
    pub(super) fn chunk_size<W: Window + ?Sized>(&mut self, window: &W, at: u32, end: u32) -> Step {
        let mut n = 0;
        self.flags &= !flag::UNBEGUN;
        if self.line == line::BEGIN && end - at > 8 {
            let (digits, value) = words::hexadecimal(window.word(at));
            if digits > 0 && window.byte(at + digits + 1) == b'\n' {
                self.flags &= !flag::AFTER_CR;
                self.value = value;
                self.size_line_ends();
                return Step::took(digits + 2, Span::ChunkFraming);
            }
        }
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
        let (taken, found) = self.line_end(window, at, end);
        if found {
            // Only lines of the head count.
            self.flags = (self.flags & !flag::BARE_LF) | bare_before;
            self.size_line_ends();
        }
        Step::took(taken, Span::ChunkFraming)
    }

    #[inline(always)]
    fn size_line_ends(&mut self) {
        if self.value == 0 {
            self.enter_fields(Phase::Trailers);
        } else {
            self.phase = Phase::ChunkData as u8;
            self.line = line::BEGIN;
            self.remaining = self.value;
        }
    }

    /// Parses the line end after chunk data.
    #[inline(always)]
    pub(super) fn chunk_end<W: Window + ?Sized>(&mut self, window: &W, at: u32, end: u32) -> Step {
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
                self.chunk_ended();
                Step::took(1, Span::ChunkFraming)
            }
            _ => self.lost(0),
        }
    }

    #[inline(always)]
    pub(super) fn chunk_ended(&mut self) {
        self.flags &= !flag::AFTER_CR;
        self.phase = Phase::ChunkSize as u8;
        self.begin_chunk();
    }

    #[inline(always)]
    pub(super) fn lost(&mut self, taken: u32) -> Step {
        self.phase = Phase::Unsure as u8;
        Step { taken, span: Span::ChunkFraming, event: Some(Event::Lost) }
    }
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
