//! Request lines that are not HTTP/1.x but get HTTP/1.x answers: HTTP/0.9 (`GET /`), other protocols
//! (`OPTIONS / RTSP/1.0`), single words (`HELP`). Old clients and scanners send them.
//!
//! What follows such a line is not framed: the direction loses framing after it, as it would otherwise,
//! and the line is dropped unless the other direction answers with an HTTP/1.x head.
//!
//! Also decides what other bytes that are no HTTP/1.x mean for the connection.

use http_trace_common::framer::{MethodKind, flag};
use http_trace_model::event::NoResponse;

use super::half::begins_with_method;
use super::pending::Pending;
use super::{Http1, decode};
use crate::protocol::{Cx, HeadKind, Link, unreadable};
use crate::stats::Unreadable;

/// Limit on the length of a line that is a single word, in bytes.
const LONGEST_WORD: usize = 32;

impl Http1 {
    /// Direction `d` sent `bytes`, which begin no message, where one was expected.
    pub(super) fn not_http(&mut self, cx: &mut Cx<'_>, d: usize, bytes: &[u8]) {
        self.contradict_claim(cx, d);
        self.profile.unframed(cx, d, self.halves[d].head_len, false);
        self.clear(d);
        if !self.profile.http && cx.link.is_client(1 - d) {
            // The answer is not HTTP, so the request was not HTTP either.
            drop(self.exchanges.drain_waiting());
        }
        if self.profile.http {
            cx.stats.became_unsure += 1;
            self.answered_otherwise(cx, d);
        } else {
            let kind = unreadable(bytes);
            self.profile.not_readable(cx, kind);
            if kind != Unreadable::Other && cx.link.start(d).is_some() {
                // The peer may still answer in HTTP/1.x: a server sends 400 if it cannot read a request.
                self.profile.opaque[d] = true;
                self.halves[d].framer.set_opaque();
            }
        }
        let last = self.exchanges.waiting.back();
        if cx.link.is_client(d) && last.is_some_and(|r| r.kind == MethodKind::Connect) {
            // These may be the tunnel's first bytes, if the answer opens one; the pairing with CONNECT
            // is kept.
            let end = self.halves[d].next;
            self.exchanges.order.requests_lost(end);
        } else {
            self.doubt(cx, d);
        }
        if !self.profile.framed[d] && !cx.link.is_client(1 - d) {
            // Bytes before the first request belong to another protocol (SOCKS, PROXY).
            self.exchanges.order.begin_unknown(self.halves[d].next);
        }
    }

    /// If these are the server's first bytes, they answer the first request (`ICY 200 OK`, HTTP/0.9), which gets no
    /// response that could be an event. So do later ones if the client had everything before them when it asked, and
    /// the server had the request's head when it sent them: otherwise they may be the end of the response before.
    fn answered_otherwise(&mut self, cx: &mut Cx<'_>, d: usize) {
        let start = self.halves[d].head_start;
        let ack = self.acknowledged(cx.link, d);
        let exchanges = &mut self.exchanges;
        let is_certain = !exchanges.responses_lost && !exchanges.order.gap;
        if !is_certain || !cx.link.is_client(1 - d) {
            return;
        }
        if let Some(pending) = exchanges.waiting.front_mut()
            && (!self.profile.framed[d]
                || pending.ack == start && ack.is_some_and(|ack| pending.head_end <= ack))
            && !pending.after_gap
            && !pending.malformed
            && pending.kind != MethodKind::Connect
            && !std::mem::replace(&mut pending.reported, true)
        {
            let seen_ns = self.halves[d].seen_ns;
            cx.exchange(pending.unanswered_so_far(NoResponse::Unreadable, seen_ns));
        }
    }

    /// Keeps `start`, which the framer refused in direction `d` where a message was expected, as a
    /// request if it looks like one. Returns whether it does; `answered` says that the answer has come,
    /// so that no more of the line is needed.
    pub(super) fn other_request(
        &mut self,
        cx: &mut Cx<'_>,
        d: usize,
        start: &[u8],
        answered: bool,
    ) -> bool {
        let Some(due) = self.due(cx.link, d, answered) else { return false };
        let Some(len) = asks(start, due, answered) else { return false };
        let Some(first) = self.halves[d].head_origin else { return false };
        let raw = start.get(..len).unwrap_or(start);
        let first_message = !self.profile.http;
        self.turn(cx, d, first_message);
        self.seen_part(cx, d, HeadKind::Request, raw, raw.len() as u64);
        let half = &self.halves[d];
        let from = half.head_start;
        let end = from + len as u64;
        let mut pending = Pending {
            ack: self.received(cx.link, d, &first),
            malformed: true,
            // Without an HTTP/1.x answer, nothing shows that it was meant for a web server.
            reported: true,
            ..Pending::new(decode::other_request(raw), MethodKind::Other, from, end, first)
        };
        pending.request.end_ns = Some(first.time_ns);
        self.push(d, pending);
        // Its part of the current head is accounted for; the bytes after it are not.
        let half = &mut self.halves[d];
        half.head_len = half.head_len.saturating_sub(len as u64);
        true
    }

    /// A response came while direction `d` waits for what follows a line without a version: nothing need
    /// follow (HTTP/0.9).
    pub(super) fn answered_early(&mut self, cx: &mut Cx<'_>, d: usize) {
        let from = self.halves[d].head_start;
        let received = self.acknowledged(cx.link, 1 - d).is_some_and(|ack| ack > from);
        if !self.halves[d].framer.awaits_first_field() || !self.exchanges.is_quiet() || !received {
            return;
        }
        let line = std::mem::take(&mut self.halves[d].head);
        if !self.other_request(cx, d, &line, true) {
            // Its first field may still come.
            self.halves[d].head = line;
            return;
        }
        self.halves[d].framer.lose();
        self.not_http(cx, d, &line);
    }

    /// Whether the refused bytes of direction `d` are certainly where a request was expected.
    fn due(&self, link: &Link, d: usize, answered: bool) -> Option<Due> {
        let half = &self.halves[d];
        if link.is_client(1 - d)
            || half.framer.flags() & flag::RESYNCHRONISED != 0
            || self.exchanges.responses_lost
        {
            return None;
        }
        if half.framer.has_framed() {
            let followed = half.framer.is_response() == Some(false) && !self.exchanges.order.gap;
            return followed.then_some(Due::AfterRequest);
        }
        let first = link.first(d) == Some(half.head_start);
        // The side that speaks first to a known server is its client. The framer has already asked the
        // queue for the request of an answer that is there.
        let silent = (answered || self.queue.has_none()) && !self.profile.framed[1 - d];
        (first && silent).then_some(Due::First)
    }
}

/// Position of a line that may be a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    /// At the first byte of its stream.
    First,
    AfterRequest,
}

/// Length of the request at the beginning of `start`, if there is one: its line, and the fields and
/// blank line after it as far as present.
///
/// The framer refuses a line at its first impossible byte, which may be the last of a segment: the CR
/// after a word, or that of the blank line.
fn asks(start: &[u8], due: Due, answered: bool) -> Option<usize> {
    let end = match start.iter().position(|&b| b == b'\n') {
        Some(lf) => lf + 1,
        None if start.ends_with(b"\r") && !start.contains(&b' ') => start.len(),
        None => return None,
    };
    let (line, rest) = start.split_at(end);
    let line = line.trim_ascii_end();
    let blank = blank_line(rest);
    let alone = || (rest.is_empty() || blank > 0).then_some(end + blank);
    if !line.contains(&b' ') {
        let word =
            (1..=LONGEST_WORD).contains(&line.len()) && line.iter().all(u8::is_ascii_uppercase);
        return alone().filter(|_| word && due == Due::First);
    }
    if !begins_with_method(line) {
        return None;
    }
    let last = line.rsplit(|&b| b == b' ').next().unwrap_or_default();
    if !decode::is_version(last) {
        return (answered || blank > 0).then_some(end + blank);
    }
    let mut at = end;
    while let Some(more) = start.get(at..).and_then(|rest| rest.iter().position(|&b| b == b'\n')) {
        let line_end = at + more + 1;
        let is_blank = blank_line(start.get(at..line_end).unwrap_or_default()) > 0;
        at = line_end;
        if is_blank {
            break;
        }
    }
    Some(at)
}

/// Length of the blank line that bytes begin with; 0 if none. Its LF may still be missing.
fn blank_line(bytes: &[u8]) -> usize {
    match bytes.iter().position(|&b| b != b'\r') {
        Some(end) if bytes.get(end) == Some(&b'\n') => end + 1,
        Some(_) => 0,
        None => bytes.len(),
    }
}
