//! Field lines. Only Content-Length and Transfer-Encoding are parsed; all others are skipped.

use super::{
    BYTES_PER_STEP, Framer, MAX_LENGTH, Phase, ROLE_REQUEST, RequestQueue, Span, Step, Window,
    flag, line, words,
};
use crate::start_line::is_token;

/// Maximum number of field lines without meaning for framing that one step takes.
const LINES_PER_STEP: u32 = 4;

/// Whether the field line at `at`, whose first byte is `b`, can be skipped: it is certainly not a
/// framing field, not a folded line and not the blank line.
#[inline(always)]
fn is_plain<W: Window + ?Sized>(window: &W, at: u32, end: u32, b: u8) -> bool {
    match b {
        b' ' | b'\t' | b'\r' | b'\n' => false,
        b'c' | b'C' => end - at >= 16 && !is_content_length(window.word(at), window.word(at + 8)),
        b't' | b'T' => end - at >= 16 && !words::is_text(window.word(at), *b"transfer"),
        _ => true,
    }
}

/// Whether the first two words of a line hold the name `Content-Length`.
#[inline(always)]
fn is_content_length(w0: u64, w1: u64) -> bool {
    let rest = w1 & 0xffff_ffff_ffff | u64::from_le_bytes(*b"\0\0\0\0\0\0::");
    words::is_text(w0, *b"content-") && words::is_text(rest, *b"length::")
}

impl Framer {
    /// Parses field lines or trailer lines. Only the framing fields of a head are interpreted.
    #[inline(always)]
    pub(super) fn fields<W: Window + ?Sized>(
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
            if self.flags & flag::FIRST_FIELD != 0 && !is_token(b) {
                return self.not_http(0);
            }
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
                // obs-fold: this line continues the previous one.
                self.flags |= flag::OBS_FOLD;
                self.line = self.last;
            } else if in_head {
                self.commit_field();
                let lower = b | 0x20;
                self.pos = 0;
                self.line = line::REST;
                if lower == b'c' || lower == b't' {
                    let taken = if lower == b'c' {
                        self.content_length(window, at, end)
                    } else {
                        self.transfer_encoding(window, at, end)
                    };
                    if taken > 0 {
                        self.first_field_named();
                        return Step::took(taken, span);
                    }
                }
                if self.line == line::REST && self.flags & flag::FIRST_FIELD != 0 {
                    self.line = line::FIRST_NAME;
                }
            } else {
                self.line = line::REST;
            }
        }
        let before = at_line - at;
        if self.line == line::BLANK {
            let b = window.byte(at_line);
            if b == b'\n' {
                return self.blank_line(queue, before + 1, span);
            }
            if b == b'\r' {
                // The LF ends the line; any CR before it may be ignored (RFC 9112 §2.2). Servers
                // that write in text mode send two.
                return Step::took(before + 1, span);
            }
            // A lone CR is part of the line like any other byte (RFC 9112 §2.2).
            if in_head {
                self.commit_field();
            }
            self.line = line::REST;
            if before > 0 {
                return Step::took(before, span);
            }
        }
        if self.line == line::REST {
            let (mut taken, mut found) = self.line_end(window, at, end);
            let mut lines = 1;
            while found && in_head && lines < LINES_PER_STEP && at + taken < end {
                let next = window.forget(at + taken);
                if !is_plain(window, next, end, window.byte(next)) {
                    break;
                }
                self.pos = 0;
                self.last = line::REST;
                let (more, ended) = self.line_end(window, next, end);
                taken = window.forget(taken + more);
                found = ended;
                lines += 1;
            }
            if found {
                self.line = line::BEGIN;
                self.last = line::REST;
            }
            return Step::took(taken, span);
        }
        self.framing_field(window, at, end)
    }

    /// At the beginning of a line that starts with the first letter of Content-Length: takes the
    /// whole line if it has the usual form, and otherwise sets the state for parsing byte by byte.
    #[inline(always)]
    fn content_length<W: Window + ?Sized>(&mut self, window: &W, at: u32, end: u32) -> u32 {
        // The name, `: `, up to seven digits and the line end.
        const LONGEST: u32 = 14 + 2 + 7 + 2;
        if end - at < 16 {
            self.line = line::NAME_LENGTH;
            return 0;
        }
        // Most names that begin with this letter are others (Content-Type). Two words decide.
        let (w0, w1) = (window.word(at), window.word(at + 8));
        if !is_content_length(w0, w1) {
            return 0;
        }
        self.line = line::NAME_LENGTH;
        if end - at < LONGEST || w1 >> 48 != u64::from_le_bytes(*b": \0\0\0\0\0\0") {
            return 0;
        }
        let (digits, value) = words::decimal(window.word(at + 16));
        if digits == 0 || window.word(at + 16 + digits) as u16 != u16::from_le_bytes(*b"\r\n") {
            return 0;
        }
        self.value = value;
        self.pos = CODING_START;
        self.last = line::LENGTH_AFTER;
        self.line = line::BEGIN;
        self.flags &= !flag::AFTER_CR;
        16 + digits + 2
    }

    /// Like [`Framer::content_length`], for `Transfer-Encoding: chunked`.
    #[inline(always)]
    fn transfer_encoding<W: Window + ?Sized>(&mut self, window: &W, at: u32, end: u32) -> u32 {
        const LINE: u32 = "transfer-encoding: chunked\r\n".len() as u32;
        if end - at < 16 {
            self.line = line::NAME_CODING;
            return 0;
        }
        if !words::is_text(window.word(at), *b"transfer")
            || !words::is_text(window.word(at + 8), *b"-encodin")
        {
            return 0;
        }
        self.line = line::NAME_CODING;
        let last = window.word(at + 24) & 0xffff_ffff | u64::from_le_bytes(*b"\0\0\0\0::::");
        if end - at < LINE
            || !words::is_text(window.word(at + 16), *b"g: chunk")
            || !words::is_text(last, *b"ed\r\n::::")
        {
            return 0;
        }
        self.value = 0;
        self.pos = CODING_CHUNKED;
        self.last = line::CODING;
        self.line = line::BEGIN;
        self.flags &= !flag::AFTER_CR;
        LINE
    }

    /// Parses a Content-Length or Transfer-Encoding line byte by byte.
    #[inline(always)]
    pub(super) fn framing_field<W: Window + ?Sized>(
        &mut self,
        window: &W,
        at: u32,
        end: u32,
    ) -> Step {
        let mut n = 0;
        while n < BYTES_PER_STEP && at + n < end {
            let b = window.byte(at + n);
            if self.flags & flag::FIRST_FIELD != 0 {
                if b == b':' {
                    self.first_field_named();
                } else if !is_token(b) {
                    return self.not_http(n);
                }
            }
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
                if self.flags & flag::FIRST_FIELD == 0 {
                    break;
                }
                self.line = line::FIRST_NAME;
            }
        }
        Step::took(n, Span::Head)
    }

    /// The name of the first field is complete, so the malformed request line before it was a
    /// request.
    #[inline(always)]
    fn first_field_named(&mut self) {
        if self.flags & flag::FIRST_FIELD != 0 {
            self.flags &= !flag::FIRST_FIELD;
            self.role = ROLE_REQUEST;
        }
    }

    #[inline(always)]
    pub(super) fn field_byte(&mut self, b: u8) {
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
                    // Only letters may be folded: OR with 0x20 would turn CR into `-`.
                    if expected.copied() == Some(b.to_ascii_lowercase()) {
                        self.pos += 1;
                    } else {
                        self.line = line::REST;
                    }
                } else if b == b':' {
                    self.line = if coding { line::CODING } else { line::LENGTH_BEFORE };
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
                // From 2^60 on the value counts as invalid; no stream is that long.
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
            line::FIRST_NAME => {
                if b == b':' {
                    self.line = line::REST;
                }
            }
            _ => self.line = line::LENGTH_BAD,
        }
    }

    /// Applies the field whose line (with its folded lines) has ended.
    #[inline(always)]
    pub(super) fn commit_field(&mut self) {
        match self.last {
            line::LENGTH_DIGITS | line::LENGTH_AFTER => self.commit_length(),
            line::LENGTH_BEFORE | line::LENGTH_BAD => self.flags |= flag::LENGTH_INVALID,
            // `identity` alone means no coding (RFC 2616 §4.4, and what servers that still send it
            // mean). RFC 9112 no longer defines it.
            line::CODING if self.pos == CODING_IDENTITY => {}
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
    pub(super) fn commit_length(&mut self) {
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
}

// State of the last coding of Transfer-Encoding (RFC 9112 §6.1): 0–7 bytes of `chunked` matched, 10
// plus the number of matched bytes of `identity`, or one of the following.
/// Before the first coding.
const CODING_START: u8 = 8;
/// `chunked`, followed by whitespace or parameters.
const CODING_CHUNKED: u8 = 9;
/// Another coding.
const CODING_OTHER: u8 = 10;
/// Exactly `identity`, with nothing before it.
const CODING_IDENTITY: u8 = 18;
/// Before a further coding.
const CODING_NEXT: u8 = 19;

#[inline(always)]
fn coding_next(state: u8, b: u8) -> u8 {
    const CHUNKED: u64 = u64::from_le_bytes(*b"chunked\0");
    const IDENTITY: u64 = u64::from_le_bytes(*b"identity");
    let expects = |word: u64, at: u8| (word >> (8 * (u32::from(at) & 7))) as u8 == b | 0x20;
    match (state, b) {
        // An empty list element changes nothing (RFC 9110 §5.6.1).
        (_, b',') => CODING_NEXT,
        (CODING_START | CODING_NEXT | CODING_IDENTITY, b' ' | b'\t' | b'\r') => state,
        (7 | CODING_CHUNKED, b' ' | b'\t' | b'\r' | b';') => CODING_CHUNKED,
        (CODING_CHUNKED, _) => CODING_OTHER,
        (CODING_START | CODING_NEXT, _) if b | 0x20 == b'c' => 1,
        (CODING_START, _) if b | 0x20 == b'i' => CODING_OTHER + 1,
        (0..7, _) if expects(CHUNKED, state) => state + 1,
        (11..CODING_IDENTITY, _) if expects(IDENTITY, state - CODING_OTHER) => state + 1,
        _ => CODING_OTHER,
    }
}

#[inline(always)]
fn coding_is_chunked(state: u8) -> bool {
    state == 7 || state == CODING_CHUNKED
}
