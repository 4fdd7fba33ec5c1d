//! Notifies a service manager that tracing has begun, that the agent is alive, and that it stops
//! (sd_notify(3)). Without a service manager, nothing happens.

use std::time::{Duration, Instant};

use sd_notify::{NotifyState, notify, watchdog_enabled};

/// The service manager, if one started this run.
#[derive(Debug)]
pub struct Service {
    /// Keep-alive interval: half the watchdog timeout.
    every: Option<Duration>,
    next: Instant,
}

impl Service {
    /// Reports readiness.
    pub fn ready(now: Instant) -> Self {
        say(NotifyState::Ready);
        Service { every: watchdog_enabled().map(|patience| patience / 2), next: now }
    }

    /// Reports that the agent is alive, when due.
    pub fn alive(&mut self, now: Instant) {
        if let Some(every) = self.every.filter(|_| now >= self.next) {
            self.next = now + every;
            say(NotifyState::Watchdog);
        }
    }

    /// Reports that the run is stopping; the ring is still drained after this.
    pub fn stopping(&self) {
        say(NotifyState::Stopping);
    }
}

/// A service manager that does not listen must not stop tracing.
fn say(state: NotifyState<'_>) {
    let _ = notify(&[state]);
}
