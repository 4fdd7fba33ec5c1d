//! What a service manager is told: that tracing has begun, that the agent is alive, that it stops
//! (sd_notify(3)). Without one, nothing happens.

use std::time::{Duration, Instant};

use sd_notify::{NotifyState, notify, watchdog_enabled};

/// The service manager, if one started this run.
#[derive(Debug)]
pub struct Service {
    /// How often it is told that the agent is alive; twice as often as it wants to know.
    every: Option<Duration>,
    next: Instant,
}

impl Service {
    /// Says that tracing has begun.
    pub fn ready(now: Instant) -> Self {
        say(NotifyState::Ready);
        Service {
            every: watchdog_enabled().map(|patience| patience / 2),
            next: now,
        }
    }

    /// Says that the agent is alive, when it is time to.
    pub fn alive(&mut self, now: Instant) {
        if let Some(every) = self.every.filter(|_| now >= self.next) {
            self.next = now + every;
            say(NotifyState::Watchdog);
        }
    }

    /// Says that the run ends: what is still in the ring is written first.
    pub fn stopping(&self) {
        say(NotifyState::Stopping);
    }
}

/// A manager that does not listen is no reason to stop tracing.
fn say(state: NotifyState<'_>) {
    let _ = notify(&[state]);
}
