//! Request heads that the client never finishes: reported as unanswered if the request line is complete.
//! Frames nothing, and changes nothing that later messages depend on.

use http_trace_common::framer::{MethodKind, Phase, flag};
use http_trace_model::head::RequestHead;

use super::half::{Answered, Message, begins_with_method};
use super::pending::Pending;
use super::{Http1, decode};
use crate::origin::Origin;
use crate::protocol::{Cx, HeadKind, Link};

impl Http1 {
    /// Whether direction `d` is in a request head with a complete HTTP/1.x request line.
    pub(super) fn is_in_request_head(&self, d: usize) -> bool {
        let half = &self.halves[d];
        half.message == Message::Head
            && half.framer.phase() == Phase::Head
            && half.framer.is_response() == Some(false)
            && !half.framer.awaits_first_field()
            && half.framer.flags() & flag::MALFORMED_REQUEST == 0
    }

    /// Whether direction `d` is in such a head that was not reported yet.
    fn is_begun(&self, d: usize) -> bool {
        !self.halves[d].reported && self.is_in_request_head(d)
    }

    /// When the first such head began.
    pub(super) fn begun_since(&self) -> Option<u64> {
        let begun = (0..2).filter(|&d| self.is_begun(d));
        begun.filter_map(|d| Some(self.halves[d].head_origin?.time_ns)).min()
    }

    /// Takes such a head of direction `d` that began at `since_ns` or before, once, as the request that
    /// it would have been. `None` also if it is not certain that nothing answered it; `all_seen` says
    /// that nothing the client sent is missing.
    fn take_begun(
        &mut self,
        cx: &mut Cx<'_>,
        d: usize,
        since_ns: u64,
        all_seen: bool,
    ) -> Option<Pending> {
        if !self.is_begun(d) {
            return None;
        }
        let first = self.halves[d].head_origin?;
        if first.time_ns > since_ns {
            return None;
        }
        self.halves[d].reported = true;
        let answered = self.halves[d].answered != Answered::No;
        if !all_seen || answered || cx.link.is_client(1 - d) || !self.is_order_certain() {
            return None;
        }
        let (head, line) = self.begun_head(d)?;
        let new = !self.profile.http;
        self.profile.met_http(cx, d, false);
        self.turn(cx, d, new);
        // Later lines may not have passed under the other names yet.
        let line = head.headers.texts()[0].get(..line)?;
        self.seen_part(cx, d, HeadKind::Request, line, line.len() as u64);
        let half = &mut self.halves[d];
        half.has_event = true;
        Some(Pending {
            ordinal: self.exchanges.order.ordinal.saturating_add(1),
            reported: true,
            ..Pending::new(head, half.framer.method_kind(), half.head_start, half.next, first)
        })
    }

    /// The complete lines of the request head that passes in direction `d`, and the length of the first. Nothing
    /// else may show that this is a request, so that one must be strictly valid (RFC 9112 §3.2).
    pub(super) fn begun_head(&self, d: usize) -> Option<(RequestHead, usize)> {
        let half = &self.halves[d];
        // The last line may be cut.
        let whole = half.head.iter().rposition(|&b| b == b'\n')? + 1;
        let raw = half.head.get(..whole)?;
        let line = raw.iter().position(|&b| b == b'\n')? + 1;
        Some((valid_request(raw, half.head_len)?, line))
    }

    /// The request of whose line only the beginning passed in direction `d`; without what may be part of its version.
    pub(super) fn cut_line(&self, d: usize) -> Option<RequestHead> {
        let half = &self.halves[d];
        let is_line = !half.head.contains(&b'\n') && begins_with_method(&half.head);
        let mut words = half.head.rsplitn(2, |&b| b == b' ');
        let line = match (words.next(), words.next()) {
            (Some(last), Some(before))
                if before.contains(&b' ') && b"HTTP/1.".starts_with(last) =>
            {
                before
            }
            _ => &half.head[..],
        };
        // One more byte, at least, is cut.
        valid_request(line, half.head_len + 1).filter(|_| is_line)
    }

    /// Whether no response so far can belong to a request that comes now.
    fn is_order_certain(&self) -> bool {
        let exchanges = &self.exchanges;
        // What follows CONNECT may belong to the tunnel.
        let certain = |request: &Pending| {
            !request.after_gap && !request.malformed && request.kind != MethodKind::Connect
        };
        let answered = exchanges.answered();
        !exchanges.responses_lost
            && !exchanges.order.gap
            && exchanges.waiting.iter().all(certain)
            && (exchanges.current.is_none() || answered.is_some_and(certain))
    }

    /// A response came that answers no request whose head is complete: if a head of the client is passing, it may
    /// answer that, and does (`how`) if its server had received the request line. Another one answers nothing.
    pub(super) fn answer_begun(&mut self, link: &Link, how: Answered) {
        let Some(client) = link.client() else { return };
        let half = &self.halves[client];
        if half.message != Message::Head || half.answered == Answered::Taken {
            return;
        }
        let begun = self.begun_request(link, client);
        let answers = begun.is_some() || self.exchanges.answered().is_some();
        self.halves[client].answered = if answers { how } else { Answered::Perhaps };
        if let Some(begun) = begun {
            self.exchanges.answer_begun(begun);
        }
    }

    /// The request that the current response answers before its head is complete.
    fn begun_request(&self, link: &Link, client: usize) -> Option<Pending> {
        let exchanges = &self.exchanges;
        let current = exchanges.current.as_ref()?;
        let informational = current.informational.last().map(|(_, origin)| origin);
        let origin = current.response.as_ref().map(|r| &r.origin).or(informational)?;
        let certain = exchanges.waiting.is_empty()
            && !current.owed
            && !exchanges.responses_lost
            && !exchanges.order.gap;
        let half = &self.halves[client];
        let ack = link.acknowledged(client, half.next, origin.ack)?;
        let is_refused = current.response.as_ref().is_some_and(|r| r.head.status >= 400);
        let begun = if self.is_in_request_head(client) {
            self.begun_head(client)
        } else {
            // The server did not wait for the end of the request line, as for a URI that is too long.
            let cut = if is_refused { self.cut_line(client) } else { None };
            cut.map(|head| (head, half.head.len()))
        };
        let (head, line) = begun.filter(|_| certain)?;
        let (kind, first) = (half.framer.method_kind(), half.head_origin?);
        // A FIN takes one sequence number.
        let was_read = (half.head_start + line as u64..=half.next + 1).contains(&ack);
        let mut pending = Pending {
            begun: true,
            ordinal: current.ordinal,
            has_event: half.has_event,
            ..Pending::new(head, kind, half.head_start, half.next, first)
        };
        pending.request.head_cut = true;
        was_read.then_some(pending)
    }

    /// Whether the current response answers a HEAD request whose head was incomplete then, so that the framer did not
    /// know that it has no body.
    pub(super) fn answers_begun_head(&self) -> bool {
        let answered = self.exchanges.answered();
        answered.is_some_and(|pending| pending.begun && pending.kind == MethodKind::Head)
    }

    /// Whether the current response, a 408 timeout, was sent while the client was in the middle of a request.
    pub(super) fn cuts_short(&self, link: &Link, d: usize, first: &Origin) -> bool {
        if let Some(pending) = self.exchanges.answered() {
            return pending.is_unfinished();
        }
        let client = &self.halves[1 - d];
        let ack = link.acknowledged(1 - d, client.next, first.ack);
        client.message == Message::Head && ack.is_some_and(|ack| ack > client.head_start)
    }

    /// Takes such a head of either direction that began at `since_ns` or before.
    pub(super) fn take_unfinished(
        &mut self,
        cx: &mut Cx<'_>,
        since_ns: u64,
        complete: [bool; 2],
    ) -> Option<Pending> {
        let [a, b] = [0, 1].map(|d| self.take_begun(cx, d, since_ns, complete[d]));
        a.or(b)
    }
}

fn valid_request(raw: &[u8], len: u64) -> Option<RequestHead> {
    let (head, odd) = decode::request(raw, len)?;
    let visible = |bytes: &[u8]| bytes.iter().all(u8::is_ascii_graphic);
    let method = head.method.first().is_some_and(u8::is_ascii_alphabetic);
    let valid = odd & flag::MALFORMED_REQUEST == 0 && method && visible(&head.target);
    valid.then_some(head)
}
