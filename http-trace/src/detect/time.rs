//! When an event counts. Its own time, unless that is far ahead of all others: live such a time is
//! taken to be the clock's, in a capture the events wait until it is clear whether time went on
//! (ten idle minutes are no fault) or one packet was wrongly stamped.

use crate::event::HttpEvent;

/// How far ahead of the others a time is believed alone, in ns.
const AHEAD_NS: u64 = 60_000_000_000;

/// As many events decide.
const DECIDE: usize = 16;

/// The clock of detection.
#[derive(Debug, Default)]
pub struct Clock {
    live: bool,
    now_ns: u64,
    #[expect(clippy::vec_box, reason = "they come and go boxed")]
    held: Vec<Box<HttpEvent>>,
    clamped: u64,
}

impl Clock {
    /// A live one is moved by ticks too.
    pub const fn new(live: bool) -> Self {
        Clock {
            live,
            now_ns: 0,
            held: Vec::new(),
            clamped: 0,
        }
    }

    /// Event time, ns; 0 before the first event.
    pub const fn now_ns(&self) -> u64 {
        self.now_ns
    }

    /// Events whose time was not believed.
    pub const fn clamped(&self) -> u64 {
        self.clamped
    }

    fn is_ahead(&self, time_ns: u64) -> bool {
        self.now_ns != 0 && time_ns > self.now_ns.saturating_add(AHEAD_NS)
    }

    /// Takes an event; hands on what is decided, each with the time at which it counts.
    pub fn push(&mut self, event: Box<HttpEvent>, with: &mut dyn FnMut(Box<HttpEvent>, u64)) {
        let ahead = self.is_ahead(counts_at(&event));
        if self.live || (!ahead && self.held.is_empty()) {
            self.let_through(event, with);
            return;
        }
        self.held.push(event);
        if self.held.len() > DECIDE {
            let ahead = self
                .held
                .iter()
                .filter(|e| self.is_ahead(counts_at(e)))
                .count();
            self.release(ahead * 2 > self.held.len(), with);
        }
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

    fn release(&mut self, believe: bool, with: &mut dyn FnMut(Box<HttpEvent>, u64)) {
        if believe {
            let now_ns = self.now_ns;
            let ahead = self
                .held
                .iter()
                .map(|e| counts_at(e))
                .filter(|t| *t > now_ns);
            self.now_ns = ahead.min().unwrap_or(now_ns);
        }
        for event in std::mem::take(&mut self.held) {
            self.let_through(event, with);
        }
    }

    /// Time went on without events.
    pub fn tick(&mut self, now_ns: u64, with: &mut dyn FnMut(Box<HttpEvent>, u64)) {
        let least = self.held.iter().map(|event| counts_at(event)).max();
        if least.is_some_and(|t| t <= now_ns.saturating_add(AHEAD_NS)) {
            self.release(true, with);
        }
        self.now_ns = self.now_ns.max(now_ns);
    }

    /// Nothing more comes: what was held counts at its own time.
    pub fn finish(&mut self, with: &mut dyn FnMut(Box<HttpEvent>, u64)) {
        self.release(true, with);
    }
}

/// A request that nobody answered counts when nobody waited any more: it may have begun long before.
fn counts_at(event: &HttpEvent) -> u64 {
    event.given_up_ns.unwrap_or(event.time_ns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

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
}
