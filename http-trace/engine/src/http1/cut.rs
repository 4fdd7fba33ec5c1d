//! Heads whose rest is missing: the bytes before the gap tell what they can. Must not frame.

use http_trace_common::framer::Body;
use http_trace_common::start_line::{Match, status_line};

use super::half::Answered;
use super::pending::Pending;
use super::{Http1, decode};
use crate::protocol::exchange::{Outcome, Response};
use crate::protocol::{Cx, HeadKind};

impl Http1 {
    /// Takes the head of direction `d`, whose rest is in a gap that ends at `gap_end`, as a request whose end is not
    /// known. Its request line must be whole, unless a snap length cut it (`is_cut`): then no more than the rest of it
    /// is missing, and it keeps its place among the requests.
    pub(super) fn cut_request(&mut self, cx: &mut Cx<'_>, d: usize, gap_end: u64, is_cut: bool) {
        let half = &self.halves[d];
        let may_be_one = half.answered == Answered::No && !cx.link.is_client(1 - d);
        let Some(first) = half.head_origin.filter(|_| may_be_one) else { return };
        let begun = if self.is_in_request_head(d) { self.begun_head(d) } else { None };
        let cut = || self.cut_line(d).filter(|_| is_cut).map(|head| (head, half.head.len()));
        let Some((head, line)) = begun.or_else(cut) else { return };
        let new = !self.profile.http;
        self.profile.met_http(cx, d, false);
        self.turn(cx, d, new);
        if let Some(line) = head.headers.texts()[0].get(..line) {
            self.seen_part(cx, d, HeadKind::Request, line, line.len() as u64);
        }
        let ack = self.received(cx.link, d, &first);
        self.weigh_request(cx, d, ack, first.time_ns);
        let half = &self.halves[d];
        let mut pending = Pending {
            ack,
            end_lost: true,
            // Its answer may be missing, too.
            reported: true,
            has_event: half.has_event,
            flags: half.framer.flags(),
            // What a response acknowledges shows whether its server had received all that the gap hides.
            ..Pending::new(head, half.framer.method_kind(), half.head_start, gap_end, first)
        };
        pending.request.head_cut = true;
        // The rest of the head may have declared a body.
        pending.request.body_lost = true;
        self.push(d, pending);
        self.clear(d);
    }

    /// Makes an event of a response head that was cut after its status line. With `for_good`, any other
    /// cut head counts as unframed bytes.
    pub(super) fn cut_head(&mut self, cx: &mut Cx<'_>, d: usize, for_good: bool) {
        let half = &self.halves[d];
        if status_line(&half.head) != Match::Yes || !decode::has_start_line(&half.head) {
            if for_good && !half.reported {
                self.profile.unframed(cx, d, half.head_len, half.lost);
            }
            return;
        }
        let Some(first) = half.head_origin else { return };
        let (start, flags) = (half.head_start, half.framer.flags());
        let Some((head, _)) = decode::response(&half.head, half.head_len, first.time_ns) else {
            return;
        };
        let new = !self.profile.http;
        self.profile.met_http(cx, d, true);
        self.turn(cx, 1 - d, new);
        self.answer(cx.link, d, false);
        if (100..200).contains(&head.status) {
            let half = &self.halves[d];
            self.profile.unframed(cx, d, half.head_len, half.lost);
            return;
        }
        let response = Box::new(Response { head_cut: true, ..Response::new(head, first, start) });
        self.put_response(cx.link, response, flags, Body::Unknown);
        self.yield_current(cx, Outcome::Lost);
    }
}
