//! Upkeep of the kernel's tables: deletes connections that have been idle for long (the programs
//! delete those that close), and hands framing back.

use std::os::fd::{AsFd, OwnedFd};

use aya::maps::{HashMap, Map, MapData, MapError};
use bytemuck::Zeroable as _;
use http_trace_common::filter::{Flow, HandBack};
use http_trace_common::flow::FlowKey;

use http_trace_engine::crowd::{self, Doing, Entry};

use super::sys::read_batch;

/// A flow table entry as words: what of it is read here is found by [`Flow`]'s layout.
type FlowWords = [u64; size_of::<Flow>() / 8];
/// A [`http_trace_common::flow::FlowKey`] as words.
type KeyWords = [u32; 10];
/// What is handed back, as words.
type HandBackWords = [u64; size_of::<HandBack>() / 8];

/// A connection is forgotten after this long without a segment, in seconds. Longer than servers
/// keep idle connections by default (nginx 75 s, Node 5 s, Apache 5 s, HAProxy 300 s).
const IDLE_S: u32 = 600;
/// How often all are looked at, in seconds of kernel time: looking costs too.
const PASS_EVERY_S: u32 = 30;
/// Entries read in one call.
const AT_ONCE: usize = 4096;

/// The flow table, walked now and then.
#[derive(Debug)]
pub struct Flows {
    map: HashMap<MapData, KeyWords, FlowWords>,
    /// The same map, for what the crate above has no call for.
    descriptor: OwnedFd,
    capacity: usize,
    /// How many there were at the last pass, without those it deleted.
    len: usize,
    /// How many the programs had admitted and closed by then.
    counted: u64,
    /// When the next pass begins, in seconds of kernel time.
    next_pass_s: u32,
    /// Deleted because the table was filling up.
    evicted: u64,
}

impl Flows {
    /// Whether this thread may read the table.
    pub fn is_readable(&self) -> bool {
        let nowhere = KeyWords::default();
        matches!(
            self.map.get(&nowhere, 0),
            Ok(_) | Err(MapError::KeyNotFound)
        )
    }

    /// From the map `FLOWS` with its size.
    ///
    /// # Errors
    /// When it is no hash map, or has no descriptor left to share.
    pub fn new(map: Map, capacity: u32) -> Result<Self, MapError> {
        let Map::HashMap(data) = &map else {
            return Err(MapError::InvalidName {
                name: "FLOWS".to_owned(),
            });
        };
        let descriptor = data.fd().as_fd().try_clone_to_owned()?;
        Ok(Flows {
            map: HashMap::try_from(map)?,
            descriptor,
            capacity: capacity as usize,
            len: 0,
            counted: 0,
            next_pass_s: 0,
            evicted: 0,
        })
    }

    /// Deletes connections that have been idle for too long, now and then; at once, when the table is
    /// filling up, as many others as it takes ([`crowd`]). `net` is how many the programs have admitted
    /// without those they closed. Call it a few times a second, and when a sixteenth of the table may
    /// have come since: until the next call an eighth of it is left for newcomers.
    pub fn sweep(&mut self, now_boot_ns: u64, net: u64) -> usize {
        let now_s = (now_boot_ns / 1_000_000_000) as u32;
        let grown = net.wrapping_sub(self.counted) as i64;
        let about = (self.len as i64).saturating_add(grown).max(0) as usize;
        let is_crowded = about >= crowd::high_mark(self.capacity);
        if now_s < self.next_pass_s && !is_crowded {
            return 0;
        }
        self.next_pass_s = now_s + PASS_EVERY_S;
        self.counted = net;
        let mut stay = Vec::new();
        let mut leave = Vec::new();
        // Should the kernel refuse, idle ones stay until it does not.
        let _ = self.each(|key, flow| {
            if now_s.saturating_sub(flow.last_seen_s) > IDLE_S {
                leave.push(*key);
            } else {
                stay.push(Entry {
                    key: *key,
                    doing: Doing::of(flow, now_s),
                    last_seen: flow.last_seen_s.into(),
                });
            }
        });
        self.len = stay.len();
        let room = crowd::low_mark(self.capacity);
        if is_crowded && stay.len() > room {
            let excess = stay.len() - room;
            leave.extend(crowd::leaving(stay).take(excess));
            self.len = room;
            self.evicted += excess as u64;
        }
        let delete = |key: &&FlowKey| self.map.remove(bytemuck::cast_ref(*key)).is_ok();
        leave.iter().filter(delete).count()
    }

    /// Calls `with` for each connection of the table.
    fn each(&self, mut with: impl FnMut(&FlowKey, &Flow)) -> std::io::Result<()> {
        let mut keys = vec![FlowKey::zeroed(); AT_ONCE];
        let mut flows = vec![Flow::zeroed(); AT_ONCE];
        let mut place = None;
        loop {
            let read = read_batch(&self.descriptor, &mut place, &mut keys, &mut flows)?;
            for (key, flow) in keys.iter().zip(&flows).take(read) {
                with(key, flow);
            }
            if place.is_none() {
                return Ok(());
            }
        }
    }

    /// How many connections fit.
    pub const fn capacity(&self) -> usize {
        self.capacity
    }

    /// How many were deleted since the start because the table was filling up.
    pub const fn evicted(&self) -> u64 {
        self.evicted
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
