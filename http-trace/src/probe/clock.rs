//! Converts kernel time to wall-clock time.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, Timespec, clock_gettime};

/// How long an offset is valid: an administrator or NTP may step the wall clock.
const BELIEVED: Duration = Duration::from_secs(10);

/// Converts CLOCK_BOOTTIME to Unix time. Clones share the offset, so that their times are comparable.
#[derive(Clone, Debug)]
pub struct Clock {
    offset_ns: Arc<AtomicI64>,
    measured: Instant,
}

impl Default for Clock {
    /// Measures the offset now.
    fn default() -> Self {
        Clock { offset_ns: Arc::new(offset_ns().into()), measured: Instant::now() }
    }
}

impl Clock {
    /// Measures the offset again if the last measurement is 10 s old.
    pub fn refresh(&mut self) {
        if self.measured.elapsed() >= BELIEVED {
            self.offset_ns.store(offset_ns(), Ordering::Relaxed);
            self.measured = Instant::now();
        }
    }

    /// Converts kernel time (ns) to Unix time (ns).
    pub fn unix_ns(&self, boot_ns: u64) -> u64 {
        boot_ns.saturating_add_signed(self.offset_ns.load(Ordering::Relaxed))
    }

    /// Current Unix time (ns).
    pub fn now_ns(&self) -> u64 {
        self.unix_ns(boot_ns())
    }
}

/// CLOCK_BOOTTIME in ns.
pub fn boot_ns() -> u64 {
    ns(clock_gettime(ClockId::Boottime)) as u64
}

/// Wall-clock time minus boot time, from the tightest of three measurements.
fn offset_ns() -> i64 {
    (0..3)
        .map(|_| {
            let before = boot_ns() as i64;
            let wall = ns(clock_gettime(ClockId::Realtime));
            let after = boot_ns() as i64;
            (after - before, wall - (before + (after - before) / 2))
        })
        .min()
        .map_or(0, |(_, offset)| offset)
}

fn ns(t: Timespec) -> i64 {
    t.tv_sec.saturating_mul(1_000_000_000).saturating_add(t.tv_nsec)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{SystemTime, UNIX_EPOCH};

    #[test]
    fn agrees_with_the_wall_clock() {
        let clock = Clock::default();
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos();
        let difference = (clock.now_ns() as i128 - wall as i128).abs();
        assert!(difference < 100_000_000, "{difference} ns apart");
    }
}
