//! Decides at which time an event counts: at its own, unless that is far ahead of all others.
//! Live, such an event counts at the clock's time. In a capture, events are held until later
//! ones show whether time advanced (idle periods of ten minutes are normal, even before every
//! event) or one packet had a wrong timestamp.

use std::collections::VecDeque;

use http_trace_model::event::HttpEvent;

/// How far ahead of other events a time is accepted without confirmation, in ns.
const AHEAD_NS: u64 = 60_000_000_000;

/// Number of later events that decide on a held one.
const DECIDE: usize = 16;

#[derive(Debug, Default)]
pub struct Clock {
    live: bool,
    now_ns: u64,
    held: VecDeque<Box<HttpEvent>>,
    clamped: u64,
}

impl Clock {
    /// A live clock is advanced by ticks too.
    pub const fn new(live: bool) -> Self {
        Clock { live, now_ns: 0, held: VecDeque::new(), clamped: 0 }
    }

    /// Event time, ns; 0 before the first event.
    pub const fn now_ns(&self) -> u64 {
        self.now_ns
    }

    /// Number of events whose time was not accepted.
    pub const fn clamped(&self) -> u64 {
        self.clamped
    }

    fn is_ahead(&self, time_ns: u64) -> bool {
        self.now_ns != 0 && time_ns > self.now_ns.saturating_add(AHEAD_NS)
    }

    /// Takes an event; passes on the events that are decided, each with the time at which it counts.
    pub fn push(&mut self, event: Box<HttpEvent>, with: &mut dyn FnMut(Box<HttpEvent>, u64)) {
        let ahead = self.is_ahead(counts_at(&event));
        if self.live || (!ahead && self.held.is_empty()) {
            self.let_through(event, with);
            return;
        }
        self.held.push_back(event);
        self.release(DECIDE, 0, with);
    }

    fn let_through(&mut self, event: Box<HttpEvent>, with: &mut dyn FnMut(Box<HttpEvent>, u64)) {
        let mut time_ns = counts_at(&event);
        if self.is_ahead(time_ns) {
            self.clamped += 1;
            time_ns = self.now_ns;
        }
        self.now_ns = self.now_ns.max(time_ns);
        with(event, time_ns);
    }

    /// Passes on held events, from the first on, as far as they are decided: by more than `after` later
    /// events, or because the host's time is near.
    fn release(&mut self, after: usize, host_ns: u64, with: &mut dyn FnMut(Box<HttpEvent>, u64)) {
        while let Some(first) = self.held.front() {
            let time_ns = counts_at(first);
            if self.is_ahead(time_ns) {
                let near = time_ns <= host_ns.saturating_add(AHEAD_NS);
                if !near && self.held.len() <= after {
                    return;
                }
                // Later events show whether time has advanced as far.
                let others = self.held.len() - 1;
                let later = self.held.iter().skip(1).map(|event| counts_at(event));
                let agree = later.filter(|t| t.saturating_add(AHEAD_NS) >= time_ns);
                if near || others == 0 || agree.count() * 2 > others {
                    self.now_ns = time_ns;
                }
            }
            if let Some(event) = self.held.pop_front() {
                self.let_through(event, with);
            }
        }
    }

    /// Advances time without events.
    pub fn tick(&mut self, now_ns: u64, with: &mut dyn FnMut(Box<HttpEvent>, u64)) {
        self.release(DECIDE, now_ns, with);
        self.now_ns = self.now_ns.max(now_ns);
    }

    /// Ends the stream: decides on held events with what is known.
    pub fn finish(&mut self, with: &mut dyn FnMut(Box<HttpEvent>, u64)) {
        self.release(0, 0, with);
    }
}

/// An unanswered request counts at the end of the wait for its response; it may have begun long before.
fn counts_at(event: &HttpEvent) -> u64 {
    event.given_up_ns.unwrap_or(event.time_ns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_trace_samples as testing;

    const S: u64 = 1_000_000_000;

    #[test]
    fn what_was_given_up_counts_then() {
        let mut clock = Clock::new(true);
        clock.tick(1_000 * S, &mut |_, _| {});
        let mut event = testing::event();
        (event.time_ns, event.given_up_ns) = (500 * S, Some(999 * S));
        let mut got = Vec::new();
        clock.push(Box::new(event), &mut |_, t| got.push(t / S));
        assert_eq!(got, [999]);
    }

    /// Pushes events at these seconds; returns the seconds at which they count.
    fn run(live: bool, seconds: &[u64]) -> Vec<u64> {
        let mut clock = Clock::new(live);
        let mut got = Vec::new();
        let mut with = |_: Box<HttpEvent>, t: u64| got.push(t / S);
        for at in seconds {
            let mut event = testing::event();
            event.time_ns = at * S;
            clock.push(Box::new(event), &mut with);
        }
        clock.finish(&mut with);
        got
    }

    #[test]
    fn one_future_time_is_not_believed_and_idle_time_is() {
        let mut future = vec![1000, 9000];
        future.extend(1001..1030);
        let mut expected = future.clone();
        expected[1] = 1000;
        assert_eq!(run(false, &future), expected);
        let mut idle = vec![1000];
        idle.extend(1600..1640);
        assert_eq!(run(false, &idle), idle);
        assert_eq!(run(false, &[1000, 1600]), [1000, 1600]);
        assert_eq!(run(true, &[1000, 1600, 1001]), [1000, 1000, 1001]);
    }

    /// Regression: seventeen events at a time counted at the time of the first.
    #[test]
    fn events_far_apart_count_each_at_its_own_time() {
        let apart: Vec<u64> = (1..100).map(|i| i * 1600).collect();
        assert_eq!(run(false, &apart), apart);
        // One of them has a time in the future.
        let mut future = apart.clone();
        future.insert(40, 9_000_000);
        let mut expected = future.clone();
        expected[40] = 40 * 1600;
        assert_eq!(run(false, &future), expected);
        // The host's time confirms a time as later events do.
        let mut clock = Clock::new(false);
        let mut got = Vec::new();
        for at in [1000, 1600, 2600] {
            let mut event = testing::event();
            event.time_ns = at * S;
            clock.push(Box::new(event), &mut |_, t| got.push(t / S));
        }
        assert_eq!(got, [1000]);
        clock.tick(1700 * S, &mut |_, t| got.push(t / S));
        assert_eq!(got, [1000, 1600]);
        clock.tick(2700 * S, &mut |_, t| got.push(t / S));
        assert_eq!(got, [1000, 1600, 2600]);
    }
}
