//! Drains the ring buffer. While records come the caller comes back by a timer, without wake-ups but where a
//! connection ships all of its bytes until the host has answered. Once none have come it sleeps until the
//! programs wake it with the next one.

use std::time::Duration;

use aya::maps::{Array, MapData, RingBuf};
use http_trace_common::record::{ELSEWHERE, Hook, Record};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::clock::Clock;

/// While records come.
const BUSY: Duration = Duration::from_millis(2);
/// Once after a sleep: the response to the request that ended it is near.
const BRIEF: Duration = Duration::from_micros(500);
/// At most without a record: timers and signals want their turn, and each costs an idle host some 50 µs.
const IDLE: Duration = Duration::from_millis(200);
/// Records handed on in one drain at most, so that timers and signals get their turn.
const AT_ONCE: usize = 16_384;

/// The ring buffer's host side.
pub struct Ring {
    ring: RingBuf<MapData>,
    /// Where the programs look whether the host sleeps.
    asleep: Array<MapData, u32>,
    /// Whether that was said there, and nothing has come since.
    is_asleep: bool,
    /// What stands for the agent's network namespace in records.
    own_netns: u32,
    /// Kernel time at which the run ended (ns): what was seen later is not handed on.
    end_ns: u64,
    /// Whether the last drain found nothing.
    is_empty: bool,
    /// Whether it ended a sleep.
    is_woken: bool,
    has_more: bool,
    malformed: u64,
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ring")
            .field("is_asleep", &self.is_asleep)
            .finish_non_exhaustive()
    }
}

impl Ring {
    /// From the maps `EVENTS` and `ASLEEP`; `own_netns` stands for the agent's network namespace in records.
    pub const fn new(ring: RingBuf<MapData>, asleep: Array<MapData, u32>, own_netns: u32) -> Self {
        Ring {
            ring,
            asleep,
            is_asleep: false,
            own_netns,
            end_ns: u64::MAX,
            is_empty: false,
            is_woken: false,
            has_more: false,
            malformed: 0,
        }
    }

    /// Hands on what is there, with wall time in place of kernel time, and returns how many.
    pub fn drain(&mut self, clock: &Clock, mut to: impl FnMut(Record<'_>)) -> usize {
        let mut n = 0;
        while n < AT_ONCE
            && let Some(item) = self.ring.next()
        {
            n += 1;
            let Ok(record) = Record::parse(&item) else {
                self.malformed += 1;
                continue;
            };
            let mut header = *record.header;
            if header.time_ns > self.end_ns {
                continue;
            }
            header.time_ns = clock.unix_ns(header.time_ns);
            // The cgroup hook sees every namespace; elsewhere a tunnel is part of what stands there.
            if header.hook == Hook::Cgroup as u8 && header.netns != self.own_netns {
                let used = header.interfaces.iter_mut().filter(|index| **index != 0);
                used.for_each(|index| *index |= ELSEWHERE);
            }
            to(Record {
                header: &header,
                ..record
            });
        }
        self.has_more = n == AT_ONCE;
        self.is_empty = n == 0;
        self.is_woken = self.is_asleep && n > 0;
        self.is_asleep &= n == 0;
        n
    }

    /// Ends the run at a kernel time (ns). The programs come off one after the other, and what one
    /// direction shows of the other's last packets would look like a loss.
    pub const fn end_at(&mut self, end_ns: u64) {
        self.end_ns = end_ns;
    }

    /// Whether the last drain stopped before the ring was empty.
    pub const fn has_more(&self) -> bool {
        self.has_more
    }

    /// Sleeps until the next drain is due, or the programs ask for one.
    pub fn sleep(&mut self) {
        if self.is_empty && !self.is_asleep {
            self.is_asleep = self.asleep.set(0, 1, 0).is_ok();
            if self.is_asleep {
                // What came before the programs could know wakes nobody: one more drain.
                return;
            }
        }
        let pause = match (self.is_asleep, self.is_woken) {
            (true, _) => IDLE,
            (_, true) => BRIEF,
            _ => BUSY,
        };
        let timeout = Timespec {
            tv_sec: 0,
            tv_nsec: pause.as_nanos() as i64,
        };
        // Whatever ends it, the next drain is due.
        let _ = poll(
            &mut [PollFd::new(&self.ring, PollFlags::IN)],
            Some(&timeout),
        );
    }

    /// Records of another layout than ours: never, unless the object is another build's.
    pub const fn malformed(&self) -> u64 {
        self.malformed
    }
}
