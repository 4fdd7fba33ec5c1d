//! Drains the ring buffer. Nearly no wake-ups: the caller comes back by a timer, often while records
//! come and seldom while none do. The programs ask for one where a connection ships all of its bytes
//! until the host has answered.

use std::time::Duration;

use aya::maps::{MapData, RingBuf};
use http_trace_common::record::{ELSEWHERE, Hook, Record};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::clock::Clock;

/// While records come.
const BUSY: Duration = Duration::from_millis(2);
/// After a while without: a wake-up costs an idle host some 50 µs. At full speed from one moment to
/// the next, 100 ms fill a quarter of the ring.
const IDLE: Duration = Duration::from_millis(100);
/// Drains without a record before the pace slackens.
const PATIENCE: u32 = 50;
/// Records handed on in one drain at most, so that timers and signals get their turn.
const AT_ONCE: usize = 16_384;

/// The ring buffer's host side.
pub struct Ring {
    ring: RingBuf<MapData>,
    /// What stands for the agent's network namespace in records.
    own_netns: u32,
    /// Kernel time at which the run ended (ns): what was seen later is not handed on.
    end_ns: u64,
    empty_drains: u32,
    has_more: bool,
    malformed: u64,
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ring")
            .field("empty_drains", &self.empty_drains)
            .finish_non_exhaustive()
    }
}

impl Ring {
    /// From the map `EVENTS`; `own_netns` stands for the agent's network namespace in records.
    pub const fn new(ring: RingBuf<MapData>, own_netns: u32) -> Self {
        Ring {
            ring,
            own_netns,
            end_ns: u64::MAX,
            empty_drains: 0,
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
        self.empty_drains = if n == 0 {
            self.empty_drains.saturating_add(1)
        } else {
            0
        };
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

    /// Whether nothing has come for a while.
    pub const fn is_idle(&self) -> bool {
        self.empty_drains >= PATIENCE
    }

    /// Sleeps until the next drain is due, or the programs ask for one.
    pub fn sleep(&self) {
        let pause = if self.is_idle() { IDLE } else { BUSY };
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
