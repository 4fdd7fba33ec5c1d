//! Drains the ring buffer. While records arrive the caller polls by a timer; wake-ups only occur where a
//! connection ships all of its bytes until the host answers. Once no records arrive, the caller sleeps until
//! the programs wake it with the next one.

use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::Duration;

use aya::maps::{Array, MapData, RingBuf};
use http_trace_common::record::{ELSEWHERE, Hook, Record};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::clock::Clock;

/// Pause while records arrive.
const BUSY: Duration = Duration::from_millis(2);
/// First pause after a wake-up: the response to the request that caused it is near.
const BRIEF: Duration = Duration::from_micros(500);
/// Longest sleep without a record: timers and signals need service, and each wake-up costs an idle host about
/// 50 µs.
const IDLE: Duration = Duration::from_millis(250);
/// Maximum number of records per drain, so that timers and signals are served.
const AT_ONCE: usize = 16_384;

/// The host side of the ring buffer.
pub struct Ring {
    ring: RingBuf<MapData>,
    /// Map in which the programs see whether the host sleeps.
    asleep: Array<MapData, u32>,
    /// Whether it says so, and no record has come since.
    is_asleep: bool,
    /// Id of the agent's network namespace in records.
    own_netns: u32,
    /// Kernel times at which the run began and ended (ns). The programs are attached and detached one after the
    /// other, so that packets before and after would be seen in one direction only and look like losses: their records
    /// are dropped.
    pub begin_ns: u64,
    pub end_ns: u64,
    /// Whether the last drain found no record.
    is_empty: bool,
    /// Whether the last drain ended a sleep.
    is_woken: bool,
    /// Whether the last drain stopped before the ring was empty.
    pub has_more: bool,
    /// Number of records with another layout than ours: 0, unless the object is from another build.
    pub malformed: u64,
}

impl Ring {
    /// Takes the maps `EVENTS` and `ASLEEP`; `own_netns` is the id of the agent's network namespace in
    /// records.
    pub const fn new(ring: RingBuf<MapData>, asleep: Array<MapData, u32>, own_netns: u32) -> Self {
        Ring {
            ring,
            asleep,
            is_asleep: false,
            own_netns,
            begin_ns: 0,
            end_ns: u64::MAX,
            is_empty: false,
            is_woken: false,
            has_more: false,
            malformed: 0,
        }
    }

    /// Passes on available records, with wall-clock instead of kernel times; returns their number.
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
            if !(self.begin_ns..=self.end_ns).contains(&header.time_ns) {
                continue;
            }
            header.time_ns = clock.unix_ns(header.time_ns);
            // Only the cgroup hook sees other namespaces; at other hooks the field also encodes the tunnel.
            if header.hook == Hook::Cgroup as u8 && header.netns != self.own_netns {
                let used = header.interfaces.iter_mut().filter(|index| **index != 0);
                used.for_each(|index| *index |= ELSEWHERE);
            }
            to(Record { header: &header, ..record });
        }
        self.has_more = n == AT_ONCE;
        self.is_empty = n == 0;
        self.is_woken = self.is_asleep && n > 0;
        self.is_asleep &= n == 0;
        n
    }

    /// Sleeps until the next drain is due, the programs wake it, or `other` is readable, which it returns.
    pub fn sleep(&mut self, other: Option<BorrowedFd<'_>>) -> bool {
        if self.is_empty && !self.is_asleep {
            self.is_asleep = self.asleep.set(0, 1, 0).is_ok();
            if self.is_asleep {
                // A record written before the flag was visible wakes nobody: drain once more.
                return false;
            }
        }
        let pause = match (self.is_asleep, self.is_woken) {
            (true, _) => IDLE,
            (_, true) => BRIEF,
            _ => BUSY,
        };
        let timeout = Timespec { tv_sec: 0, tv_nsec: pause.as_nanos() as i64 };
        let mut awaited = [self.ring.as_fd(), other.unwrap_or(self.ring.as_fd())]
            .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
        let count = 1 + usize::from(other.is_some());
        let awaited = awaited.get_mut(..count).unwrap_or_default();
        // Drain again whatever the result.
        let _ = poll(awaited, Some(&timeout));
        awaited.get(1).is_some_and(|other| !other.revents().is_empty())
    }
}
