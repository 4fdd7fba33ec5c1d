//! Upkeep of the kernel's tables: deletes connections that have been idle for long (the programs
//! delete those that close), and hands framing back.

use aya::maps::{HashMap, MapData};
use http_trace_common::filter::{Flow, HandBack};
use http_trace_common::flow::FlowKey;

/// A flow table entry as words: what of it is read here is found by [`Flow`]'s layout.
type FlowWords = [u64; size_of::<Flow>() / 8];
/// A [`http_trace_common::flow::FlowKey`] as words.
type KeyWords = [u32; 10];
/// What is handed back, as words.
type HandBackWords = [u64; size_of::<HandBack>() / 8];

/// A connection is forgotten after this long without a segment, in seconds. Longer than servers
/// keep idle connections by default (nginx 75 s, Node 5 s, Apache 5 s, HAProxy 300 s).
const IDLE_S: u32 = 600;
/// The same while the table is nearly full.
const IDLE_CROWDED_S: u32 = 60;
/// Entries looked at in one call.
const AT_ONCE: usize = 256;
/// How often all are looked at, in seconds of kernel time: looking costs too.
const PASS_EVERY_S: u32 = 30;

/// The flow table, walked a little at a time.
#[derive(Debug)]
pub struct Flows {
    map: HashMap<MapData, KeyWords, FlowWords>,
    capacity: usize,
    /// Keys of the pass under way.
    keys: Vec<KeyWords>,
    /// How many there were at the last pass.
    len: usize,
    /// When the next pass begins, in seconds of kernel time.
    next_pass_s: u32,
}

impl Flows {
    /// From the map `FLOWS` with its size.
    pub const fn new(map: HashMap<MapData, KeyWords, FlowWords>, capacity: u32) -> Self {
        Flows {
            map,
            capacity: capacity as usize,
            keys: Vec::new(),
            len: 0,
            next_pass_s: 0,
        }
    }

    /// Looks at some entries and deletes those idle for too long; how many that were. Call it a few
    /// times a second.
    pub fn sweep(&mut self, now_boot_ns: u64) -> usize {
        let now_s = (now_boot_ns / 1_000_000_000) as u32;
        if self.keys.is_empty() {
            if now_s < self.next_pass_s {
                return 0;
            }
            self.next_pass_s = now_s + PASS_EVERY_S;
            self.keys = self
                .map
                .keys()
                .filter_map(Result::ok)
                .take(self.capacity)
                .collect();
            self.len = self.keys.len();
        }
        let limit_s = if self.len * 10 > self.capacity * 9 {
            IDLE_CROWDED_S
        } else {
            IDLE_S
        };
        let from = self.keys.len().saturating_sub(AT_ONCE);
        let mut deleted = 0;
        for key in self.keys.drain(from..) {
            let Ok(words) = self.map.get(&key, 0) else {
                continue;
            };
            let flow: &Flow = bytemuck::cast_ref(&words);
            if now_s.saturating_sub(flow.last_seen_s) > limit_s && self.map.remove(&key).is_ok() {
                deleted += 1;
            }
        }
        deleted
    }

    /// How many connections were followed at the last full pass.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether that was none.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// Where the judge's framing is handed back to the programs, for connections whose framing they
/// lost. The programs look here only for those.
#[derive(Debug)]
pub struct HandedBack {
    map: HashMap<MapData, KeyWords, HandBackWords>,
}

impl HandedBack {
    /// From the map `HANDED_BACK`.
    pub const fn new(map: HashMap<MapData, KeyWords, HandBackWords>) -> Self {
        HandedBack { map }
    }

    /// Offers a connection's framing. The table is an LRU and takes it; should the kernel refuse,
    /// the connection goes on being shipped whole within its budget, and the next offer comes.
    pub fn offer(&mut self, key: &FlowKey, handed: &HandBack) {
        let _ = self.map.insert(
            bytemuck::cast_ref::<_, KeyWords>(key),
            bytemuck::cast_ref::<_, HandBackWords>(handed),
            0,
        );
    }
}
