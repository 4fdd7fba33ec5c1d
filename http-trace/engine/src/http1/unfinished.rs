//! Request heads that the client never finishes: reported as unanswered if the request line is complete.
//! Frames nothing, and changes nothing that later messages depend on.

use http_trace_common::framer::{MethodKind, Phase, flag};

use super::half::Message;
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
        let half = &self.halves[d];
        if !all_seen || half.answered || cx.link.is_client(1 - d) || !self.is_order_certain() {
            return None;
        }
        // Complete lines only: the last one may be cut.
        let whole = half.head.iter().rposition(|&b| b == b'\n')? + 1;
        let raw = half.head.get(..whole)?;
        let line = raw.iter().position(|&b| b == b'\n')? + 1;
        let (head, odd) = decode::request(raw, half.head_len)?;
        // Without an answer, nothing else shows that this is a request: its line must be strictly valid
        // (RFC 9112 §3.2).
        let visible = |bytes: &[u8]| bytes.iter().all(u8::is_ascii_graphic);
        let method = head.method.first().is_some_and(u8::is_ascii_alphabetic);
        if odd & decode::MALFORMED_REQUEST != 0 || !method || !visible(&head.target) {
            return None;
        }
        let new = !self.profile.http();
        self.profile.met_http(cx, d, false);
        self.turn(cx, d, new);
        // Later lines may not have passed under the other names yet.
        let line = head.headers.texts()[0].get(..line)?;
        self.seen_part(cx, d, HeadKind::Request, line, line.len() as u64);
        let half = &self.halves[d];
        Some(Pending {
            ordinal: self.exchanges.order.ordinal.saturating_add(1),
            reported: true,
            ..Pending::new(head, MethodKind::Other, half.head_start, half.next, first)
        })
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
            && !exchanges.order.gap()
            && exchanges.waiting.iter().all(certain)
            && (exchanges.current.is_none() || answered.is_some_and(certain))
    }

    /// A response came that answers no other request: if a head is passing in direction `client`, it may
    /// answer that.
    pub(super) fn answer_begun(&mut self, client: usize) {
        let half = &mut self.halves[client];
        half.answered |= half.message == Message::Head;
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
