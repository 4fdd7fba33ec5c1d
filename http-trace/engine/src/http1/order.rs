//! Which waiting request a response answers when part of the connection was not seen.
//!
//! In order, it is the oldest one (RFC 9112 §9.3.2). After a loss, the numbers decide: a response
//! answers only what its sender had received (its acknowledgement) and what was sent before the
//! response. Beyond that, it depends on how the client works, which is learned while nothing is lost: it
//! asks one at a time, or in batches, each sent when everything before is answered, or it keeps a window
//! of requests open. If two requests remain possible, the response gets none.

use std::collections::VecDeque;

use http_trace_common::flow::seq_distance;

use super::pending::{BEFORE_ALL, Pending};
use crate::origin::Ack;

/// Number of exchanges one at a time that show, after a loss, how the client works.
const SHOWN_BY: u8 = 3;
/// Number of such exchanges after which a client that kept requests open before seems to have stopped.
const STOPPED_BY: u8 = 8;

/// This few bytes after a request are its trailing line terminator, or the FIN.
const NO_REQUEST: u64 = 3;

/// State of the order of exchanges; it is kept while the connection is quiet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Order {
    /// Number of exchanges so far.
    pub ordinal: u32,
    /// Requests may have been lost since the last one that was seen.
    pub gap: bool,
    /// The gap is what came before the first request: before tracing began, or another protocol's bytes.
    initial: bool,
    /// Sequence number after the requests that may have been lost or, with `past_gap`, up to which that
    /// segment acknowledged.
    gap_end: u32,
    /// Sequence number of a server's segment that acknowledged all of the gap; without a gap, of the
    /// server's last segment.
    past_gap: Option<u32>,
    /// The client sends requests in batches.
    batches: bool,
    /// The client sends requests while earlier ones, of a finished batch, are open: while the answer to one is
    /// still arriving.
    pub overlaps: bool,
    /// The client was seen to send another request only when everything was answered.
    waits: bool,
    /// A pair was only assumed ([`Order::certain`]), maybe before the connection was last quiet: those after it depend
    /// on it.
    pub assumed: bool,
    /// Resumed framing has held for long: the client is taken to ask only when everything is answered.
    pub trusted: bool,
    /// Number of exchanges one at a time since the gap.
    streak: u8,
    /// Number of requests that a close has ended; if the connection continues, these are answered first.
    /// See [`Order::owe`].
    owed: u8,
    /// Whether the server sends 1xx responses. A client that asks again when it has received more may still wait for its
    /// answer: some take a 103 for that.
    pub informs: bool,
    /// Whether one came since the last request.
    informed: bool,
    /// Whether the client then asked again only after the final response.
    patient: bool,
    ahead: Ahead,
}

/// Whether a client that was seen to ask before it had its answers goes on so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Ahead {
    /// Not known: what was seen may have been a body.
    #[default]
    Perhaps,
    /// It was seen while nothing was in doubt.
    Surely,
    /// It seems to have waited for all answers since.
    Stopped,
}

impl Order {
    /// Whether the next request is the first one, after unknown bytes.
    pub const fn begins_unknown(&self) -> bool {
        self.gap && self.initial
    }

    /// Notes a 1xx response that is not 100, which every client knows for what it is.
    pub const fn inform(&mut self) {
        (self.informs, self.informed) = (true, true);
    }

    /// A close ended `count` requests without responses. If it is disproved, these are answered before
    /// any later one.
    pub fn owe(&mut self, count: usize) {
        self.owed = count.try_into().unwrap_or(u8::MAX);
    }

    /// Gives up the count of requests that a close had ended and that are still answered first: any of
    /// those before `end` may be. `pipelined` says that several were open at once.
    pub fn lose_owed(&mut self, end: u64, pipelined: bool) {
        self.owed = 0;
        self.requests_lost(end);
        if pipelined {
            self.overlaps = true;
        }
    }

    /// Whether the next response answers a request that a close had ended.
    pub const fn owes(&self) -> bool {
        self.owed > 0
    }

    /// A response answered one of those.
    pub const fn settle(&mut self) {
        self.owed = self.owed.saturating_sub(1);
    }

    /// Whether the client was only ever seen to ask when everything was answered; `followed` says that
    /// all of the connection was seen.
    pub const fn is_trusted(&self, followed: bool) -> bool {
        let waits = followed && self.waits && !self.batches;
        !self.overlaps && (waits || self.trusted)
    }

    /// Whether the client was seen to ask before it had the answer to what it asked before.
    pub const fn pipelines(&self) -> bool {
        self.batches || self.overlaps
    }

    /// Requests may be missing before `end` (a position in the client's stream).
    pub fn requests_lost(&mut self, end: u64) {
        let known = self.is_acknowledged(end);
        if known && self.gap {
            return;
        }
        (self.gap, self.initial) = (true, false);
        self.streak = 0;
        if !known {
            (self.gap_end, self.past_gap) = (end as u32, None);
        }
    }

    /// The bytes before the first request, which is at `end` or later, are unknown; as far as they were
    /// seen, they were not a request.
    pub fn begin_unknown(&mut self, end: u64) {
        (self.gap, self.initial) = (true, true);
        if !self.is_acknowledged(end) {
            (self.gap_end, self.past_gap) = (end as u32, None);
        }
    }

    /// Whether the server's segment that is known acknowledged the client's bytes up to `end`.
    const fn is_acknowledged(&self, end: u64) -> bool {
        self.past_gap.is_some() && seq_distance(self.gap_end, end as u32) <= 0
    }

    /// Requests may be missing before `end`; `lost` says that bytes are missing, rather than the beginning.
    pub fn join(&mut self, requests: Option<(u64, bool)>) {
        match requests {
            Some((end, true)) => self.requests_lost(end),
            Some((end, false)) => self.begin_unknown(end),
            None => {}
        }
    }

    /// Extends the gap over bytes up to `end` that are not understood.
    pub fn gap_goes_on(&mut self, end: u64) {
        if self.gap {
            (self.gap_end, self.past_gap) = (end as u32, None);
        }
    }

    /// The server's segment at `start` acknowledges the client's bytes up to `ack`.
    #[inline]
    pub fn server_segment(&mut self, start: u64, ack: Ack) {
        let Some(ack) = ack.number() else {
            return;
        };
        // Noted without a gap, too: bytes before it may turn out to be missing.
        let past = self.gap && (self.past_gap.is_some() || seq_distance(self.gap_end, ack) < 0);
        if !past {
            (self.gap_end, self.past_gap) = (ack, Some(start as u32));
        }
    }

    /// Whether the first request, which ends at `end`, was answered before it was seen: the server had received exactly
    /// this, and its client had received all before `ack`.
    pub fn was_answered(&self, ack: u64, end: u64) -> bool {
        let is_all = self.gap_end == end as u32;
        self.begins_unknown() && is_all && self.past_gap == Some(ack as u32)
    }

    /// A request is about to join `waiting`; `open` says that a response is in progress, `lossy` that
    /// responses may have been lost. Marks on the request what the gap before it leaves uncertain, and
    /// learns how the client works.
    pub fn request(
        &mut self,
        request: &mut Pending,
        waiting: &VecDeque<Pending>,
        open: bool,
        lossy: bool,
        server_next: u64,
    ) {
        // An acknowledgement of a request in the SYN cannot have advanced.
        let advanced =
            waiting.back().is_none_or(|last| last.ack != BEFORE_ALL && request.ack > last.ack);
        let quiet = waiting.is_empty() && !open;
        request.after_gap = self.gap;
        request.first_known = self.begins_unknown() && waiting.is_empty();
        request.begins_batch = if self.gap {
            // The server had received the gap's bytes when it sent what this acknowledges.
            self.past_gap.is_some_and(|past| seq_distance(past, request.ack as u32) > 0)
        } else {
            quiet || advanced
        };
        let doubt = lossy || request.after_gap || waiting.iter().any(|waiting| waiting.after_gap);
        if !doubt && quiet && self.ordinal > 1 {
            self.waits = true;
            // An answer may be seen before a request that was sent without it.
            if request.ack == server_next {
                self.wait();
            }
        } else if !doubt && !quiet && !advanced {
            (self.batches, self.ahead) = (true, Ahead::Surely);
        } else if !doubt && !quiet && request.ack <= server_next {
            (self.overlaps, self.ahead) = (true, Ahead::Surely);
        }
        if doubt && !advanced && !waiting.is_empty() {
            self.batches = true;
        }
        self.gap = false;
        self.informed = false;
    }

    /// The client asks again when it has the final response, and no head after it.
    pub const fn wait(&mut self) {
        if self.informed {
            (self.informed, self.patient) = (false, true);
        }
    }

    /// Counts exchanges after a gap: `one` says that exactly one response came between the last two requests, and
    /// `pauses` that the client paused before some of them.
    pub fn alternates(&mut self, one: bool, pauses: bool) {
        self.streak = if one { self.streak.saturating_add(1) } else { 0 };
        if one {
            self.wait();
        }
        if self.streak >= SHOWN_BY && !self.pipelines() {
            self.waits = true;
        } else if self.streak >= STOPPED_BY && pauses && self.ahead != Ahead::Surely {
            (self.batches, self.overlaps, self.waits) = (false, false, true);
            self.ahead = Ahead::Stopped;
        }
    }

    /// Whether the client seems to have stopped keeping requests open. One that is always ahead by as many would look the
    /// same, so its pairs are only assumed.
    pub const fn seems_stopped(&self) -> bool {
        matches!(self.ahead, Ahead::Stopped)
    }

    /// Which request of `waiting` is answered by the response that begins at `start` in a segment
    /// acknowledging `ack`, if only one is possible. The flag says that this is only assumed: nothing
    /// of the connection is known before this request, or requests sent with it may have been lost.
    pub fn certain(
        &self,
        waiting: &VecDeque<Pending>,
        start: u64,
        ack: u64,
    ) -> Option<(usize, bool)> {
        // The server had received part of it, and the client had sent it before it saw the answer.
        let possible = |request: &Pending| request.request.start < ack && request.ack <= start;
        let last = waiting.iter().rposition(possible)?;
        let newest = waiting.get(last).filter(|newest| newest.head_end <= ack)?;
        // The server had received more: something that was lost, or that has not all come.
        let more = ack.saturating_sub(newest.end) > NO_REQUEST;
        let lost_behind = more && waiting.get(last + 1).is_none_or(|next| next.after_gap);
        if lost_behind {
            return None;
        }
        let gap = waiting.iter().take(last + 1).any(|request| request.after_gap);
        if !gap && last == 0 {
            return Some((0, false));
        }
        let first = (0..=last)
            .rev()
            .find(|&i| waiting.get(i).is_some_and(|r| r.begins_batch || r.after_gap))?;
        let batch = waiting.get(first)?;
        let alone = first == last;
        let unanswered = batch.ack == start;
        let otherwise = self.pipelines();
        // Nothing is known of what came before: unless the client has shown otherwise, it is assumed to
        // ask one at a time.
        if batch.first_known && first == 0 && alone && unanswered && !otherwise {
            return Some((first, true));
        }
        let waits = self.waits && !self.overlaps;
        if gap {
            let known = waits || first == 0 && alone && !otherwise;
            // The gap may hold the first requests of a batch.
            return (batch.begins_batch && unanswered && known).then_some((first, otherwise));
        }
        let sure = (waits || !otherwise)
            && (unanswered || alone)
            && (first == 0 || !self.informs || self.patient);
        // Whether those before were all answered is not known of a client that sends batches, or has mostly waited for more
        // than a 1xx response.
        sure.then_some((first, (otherwise || self.informs) && first > 0))
    }
}
