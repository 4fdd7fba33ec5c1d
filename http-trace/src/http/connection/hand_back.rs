//! What the judge hands back to a filter that has lost a connection's framing, so that bodies are
//! skipped again. It only says where the judge stands; whether that still fits, the filter checks.

use http_trace_common::{
    filter::{HandBack, Handed},
    framer::Phase,
    record::{RecordHeader, flag},
};

use super::{Connection, Context};

/// Bodies shorter than this are past before the filter could hear of them.
const WORTH_BYTES: u64 = 16 << 10;
/// Sequence numbers are compared over less than half their range.
const FAR_BYTES: u64 = 1 << 30;

/// How many wait to be taken; more are for connections that have gone on since.
const MAX_WAITING: usize = 1024;

impl Connection {
    /// After a record: hands back when the filter shipped it without framing, and the judge stands
    /// in a long body or between messages, with nothing missing.
    pub(super) fn hand_back(&mut self, cx: &mut Context<'_>, d: usize, header: &RecordHeader) {
        if !header.has(flag::FILTERED | flag::UNFILTERED) || header.generation == 0 {
            return;
        }
        let Some(active) = &mut self.active else {
            return;
        };
        if !self.facts.known.iter().all(|known| *known)
            || active
                .streams
                .iter()
                .any(|stream| !stream.buffer.is_empty())
        {
            return;
        }
        let mut ends = [0; 2];
        let mut in_body = false;
        let mut sides = [None; 2];
        for ((half, end), side) in active.judge.halves.iter().zip(&mut ends).zip(&mut sides) {
            let body = half.framer.skippable().min(FAR_BYTES);
            let at_rest = half.framer.phase() == Phase::Idle && half.framer.at_rest();
            if !at_rest && body == 0 {
                return;
            }
            in_body |= body >= WORTH_BYTES;
            *end = half.next + body;
            let from = half.next as u32;
            *side = Some(Handed {
                framer: half.framer,
                from,
                to: from.wrapping_add(body as u32),
            });
        }
        let resting = active.judge.exchanges.is_quiet();
        // One message in, the other end's framer says no more than that a role is known.
        if !(in_body || resting) || active.handed_back == ends {
            return;
        }
        // The record may bear another name of the connection, whose ends are in another order.
        let (key, direction) = header.key();
        if direction.index() != d {
            sides.reverse();
        }
        let [Some(a), Some(b)] = sides else {
            return;
        };
        active.handed_back = ends;
        if cx.hand_backs.len() >= MAX_WAITING {
            cx.hand_backs.clear();
        }
        cx.hand_backs.push((
            key,
            HandBack {
                sides: [a, b],
                queue: active.judge.queue,
                generation: header.generation,
                reserved: 0,
            },
        ));
    }
}
