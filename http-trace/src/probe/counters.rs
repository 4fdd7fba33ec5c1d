//! What the programs counted, summed over CPUs, and told as losses when it is one.

use aya::maps::{MapData, PerCpuArray};
use http_trace_common::counter::Counter;

use crate::event::Loss;
use crate::stats::FILTER_LOSSES;

/// The per-CPU counters of the programs.
pub struct Counters {
    map: PerCpuArray<MapData, u64>,
    /// As of the last [`Counters::losses`], by the counter's number.
    told: Vec<u64>,
    /// When that was, Unix ns.
    since_ns: u64,
}

impl std::fmt::Debug for Counters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let counts = Counter::ALL
            .iter()
            .map(|c| (c.name(), self.get(*c)))
            .filter(|(_, n)| *n > 0);
        f.debug_map().entries(counts).finish()
    }
}

impl Counters {
    /// From the map `COUNTERS`; losses are counted from here on.
    pub fn new(map: PerCpuArray<MapData, u64>, now_ns: u64) -> Self {
        Counters {
            map,
            told: vec![0; Counter::ALL.len()],
            since_ns: now_ns,
        }
    }

    /// The sum of one counter over all CPUs.
    pub fn get(&self, counter: Counter) -> u64 {
        let values = self.map.get(&(counter as u32), 0);
        values.map_or(0, |values| {
            values.iter().fold(0, |sum, n| sum.wrapping_add(*n))
        })
    }

    /// What was lost since the last call. Losses in the kernel reach the stream within the pace at
    /// which this is called.
    pub fn losses(&mut self, now_ns: u64) -> Vec<Loss> {
        let since_ns = std::mem::replace(&mut self.since_ns, now_ns);
        let mut losses = Vec::new();
        for &(counter, unit) in FILTER_LOSSES {
            let sum = self.get(counter);
            let Some(told) = self.told.get_mut(counter as usize) else {
                continue;
            };
            let count = sum.wrapping_sub(std::mem::replace(told, sum));
            if count > 0 {
                losses.push(Loss {
                    count,
                    unit,
                    place: counter.name(),
                    since_ns,
                    until_ns: now_ns,
                });
            }
        }
        losses
    }
}
