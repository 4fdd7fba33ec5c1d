//! Counters of the programs, summed over CPUs; reports losses.

use aya::maps::{MapData, PerCpuArray};
use http_trace_common::counter::Counter;

use http_trace_engine::stats::FilterLosses;
use http_trace_model::event::Loss;

/// The programs' per-CPU counters.
pub struct Counters {
    map: PerCpuArray<MapData, u64>,
    losses: FilterLosses,
}

impl Counters {
    /// Takes the map `COUNTERS`; losses are counted from now on.
    pub fn new(map: PerCpuArray<MapData, u64>, now_ns: u64) -> Self {
        Counters { map, losses: FilterLosses::since(now_ns) }
    }

    /// The sum of one counter over all CPUs.
    pub fn get(&self, counter: Counter) -> u64 {
        sum(&self.map, counter)
    }

    /// Losses since the last call.
    pub fn losses(&mut self, now_ns: u64) -> Vec<Loss> {
        let map = &self.map;
        self.losses.take(now_ns, |counter| sum(map, counter)).collect()
    }
}

/// The sum of a counter over all CPUs.
fn sum(map: &PerCpuArray<MapData, u64>, counter: Counter) -> u64 {
    let values = map.get(&(counter as u32), 0);
    values.map_or(0, |values| values.iter().fold(0, |sum, n| sum.wrapping_add(*n)))
}
