//! Event time: which times are accepted, which timers fire, which connections expire. Must not read a clock.

use std::cmp::Reverse;

use http_trace_model::event::Output;

use super::{Ahead, Pipeline};
use crate::protocol::End;
use crate::table::{Id, List};
use crate::transport::tcp::timer;

/// How often losses are reported, in event time.
const LOSS_INTERVAL_NS: u64 = 1_000_000_000;

/// A record this far ahead of the others in time is accepted when [`AGREEING`] more agree with it.
const LEAP_NS: u64 = 60_000_000_000;
/// Number of records that make a jump in time credible.
const AGREEING: usize = 16;

/// How often closed and idle connections are checked, in event time.
const SWEEP_INTERVAL_NS: u64 = LOSS_INTERVAL_NS / 4;

impl Pipeline {
    /// Advances event time to a record's, unless it alone is far ahead.
    pub(super) fn clock(&mut self, time_ns: u64, out: &mut dyn FnMut(Output)) {
        if !self.is_ahead(time_ns) {
            let now = self.shared.now_ns;
            if time_ns > now || now - time_ns > LEAP_NS {
                self.forget_ahead(time_ns.max(now));
            }
            return self.advance(time_ns, out);
        }
        self.ahead.push(Ahead { time_ns, id: None });
        if self.ahead.len() > AGREEING {
            self.believe_ahead(out);
        }
    }

    /// Advances at least as far as all records that are ahead show; in a capture with long pauses, as far
    /// as the first of them. Records shortly after that are no jump.
    fn believe_ahead(&mut self, out: &mut dyn FnMut(Output)) {
        let mut next = self.ahead.iter().map(|ahead| ahead.time_ns).min();
        while let Some(time_ns) = next {
            self.advance(time_ns, out);
            let now = self.shared.now_ns;
            self.ahead.retain(|ahead| ahead.time_ns > now);
            let times = self.ahead.iter().map(|ahead| ahead.time_ns);
            next = times.filter(|time_ns| time_ns - now <= LEAP_NS).min();
        }
    }

    /// Believes the last records although few agree: nothing follows that could contradict them. One record
    /// alone may bear a wrong time.
    pub(super) fn believe_last(&mut self, out: &mut dyn FnMut(Output)) {
        while self.ahead.len() > 1 {
            self.believe_ahead(out);
        }
    }

    /// Whether a time is too far ahead to be accepted alone.
    pub(super) fn is_ahead(&self, time_ns: u64) -> bool {
        let now = self.shared.now_ns;
        now != 0 && time_ns.saturating_sub(now) > LEAP_NS
    }

    /// The time is known: records ahead of it had wrong timestamps.
    pub(super) fn forget_ahead(&mut self, now_ns: u64) {
        for Ahead { time_ns, id } in self.ahead.drain(..) {
            if let Some(id) = id {
                self.table.refresh(id, time_ns.min(now_ns));
            }
        }
    }

    pub(super) fn advance(&mut self, now_ns: u64, out: &mut dyn FnMut(Output)) {
        if now_ns <= self.shared.now_ns {
            return;
        }
        self.shared.now_ns = now_ns;
        while let Some(&Reverse((deadline, id, number))) = self.timers.peek() {
            if deadline > now_ns {
                break;
            }
            self.timers.pop();
            self.fire(id, deadline, number, out);
        }
        if now_ns >= self.next_sweep_ns {
            self.next_sweep_ns = now_ns + SWEEP_INTERVAL_NS;
            self.sweep(out);
        }
        if now_ns >= self.next_loss_ns {
            self.next_loss_ns = now_ns + LOSS_INTERVAL_NS;
            self.report_losses(out);
        }
    }

    fn fire(&mut self, id: Id, deadline: u64, number: u64, out: &mut dyn FnMut(Output)) {
        let Some((_, connection)) = self.table.get_mut(id) else { return };
        if connection.number != number || connection.tcp.timer != timer(deadline) {
            return;
        }
        connection.tcp.timer = 0;
        self.work(id, out, false, |connection, env| {
            // Never immediately: time must pass between two checks.
            connection.tick(env).map(|deadline| deadline.max(env.now_ns + 1))
        });
    }

    /// Removes expired connections: closed, idle, and those without payload.
    fn sweep(&mut self, out: &mut dyn FnMut(Output)) {
        let now = self.shared.now_ns;
        let config = &self.shared.config;
        let patience = [
            (List::Closed, config.closed_ns),
            (List::Embryonic, config.response_timeout_ns),
            (List::Idle, config.idle_ns),
            (List::Busy, config.idle_inside_ns),
        ];
        for (list, patience) in patience {
            while let Some(id) = self.table.oldest(list) {
                if self.table.age_ns(id, now) < patience {
                    break;
                }
                if list == List::Embryonic {
                    self.unreachable(id, out);
                }
                self.remove(id, End::Stopped, out);
            }
        }
        self.sweep_streams(out);
        if self.timers.len() > 2 * self.table.len() + 1024 {
            let table = &self.table;
            self.timers.retain(|Reverse((deadline, id, number))| {
                table.get(*id).is_some_and(|connection| {
                    connection.number == *number && connection.tcp.timer == timer(*deadline)
                })
            });
        }
    }
}
