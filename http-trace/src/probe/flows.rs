//! Maintains the kernel's flow tables: deletes idle connections (the programs delete closed ones), and hands
//! framing back.

use std::os::fd::{AsFd, OwnedFd};

use aya::maps::{HashMap, Map, MapData, MapError};
use bytemuck::Zeroable as _;
use http_trace_common::filter::{Flow, HandBack};
use http_trace_common::flow::FlowKey;

use http_trace_engine::crowd::{self, Doing, Entry};

use super::sys::read_batch;

/// A flow table entry as words, interpreted by the layout of [`Flow`].
type FlowWords = [u64; size_of::<Flow>() / 8];
/// A [`http_trace_common::flow::FlowKey`] as words.
type KeyWords = [u32; 10];
type HandBackWords = [u64; size_of::<HandBack>() / 8];

/// Interval of full passes in seconds of kernel time, because a pass has a cost.
const PASS_EVERY_S: u32 = 30;
/// Entries read per system call.
const AT_ONCE: usize = 4096;

/// The flow table, scanned periodically.
#[derive(Debug)]
pub struct Flows {
    map: HashMap<MapData, KeyWords, FlowWords>,
    /// The same map, for operations that aya does not offer.
    descriptor: OwnedFd,
    pub capacity: usize,
    /// Number of entries after the last pass.
    len: usize,
    /// Admitted minus closed connections at that time.
    counted: u64,
    /// Start of the next pass in seconds of kernel time.
    next_pass_s: u32,
    /// Number of entries deleted since the start because the table was filling up.
    pub evicted: u64,
}

impl Flows {
    /// Whether this thread may read the table.
    pub fn is_readable(&self) -> bool {
        let nowhere = KeyWords::default();
        matches!(self.map.get(&nowhere, 0), Ok(_) | Err(MapError::KeyNotFound))
    }

    /// Takes the map `FLOWS` with its size.
    pub fn new(map: Map, capacity: u32) -> Result<Self, MapError> {
        let Map::HashMap(data) = &map else {
            return Err(MapError::InvalidName { name: "FLOWS".to_owned() });
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

    /// Whether the next periodic pass is due.
    pub const fn is_pass_due(&self, now_boot_ns: u64) -> bool {
        (now_boot_ns / 1_000_000_000) as u32 >= self.next_pass_s
    }

    /// Deletes idle connections periodically; when the table is filling up, deletes others at once to make
    /// room ([`crowd`]). `net` is the number of connections that the programs have admitted minus those
    /// closed. Call it a few times a second, and after as many as a sixteenth of the table may have been
    /// added: only an eighth is left for new connections until the next call.
    pub fn sweep(&mut self, now_boot_ns: u64, net: u64) -> usize {
        let now_s = (now_boot_ns / 1_000_000_000) as u32;
        let is_due = self.is_pass_due(now_boot_ns);
        let grown = net.wrapping_sub(self.counted) as i64;
        let about = (self.len as i64).saturating_add(grown).max(0) as usize;
        let is_crowded = about >= crowd::high_mark(self.capacity);
        if !is_due && !is_crowded {
            return 0;
        }
        self.next_pass_s = now_s + PASS_EVERY_S;
        self.counted = net;
        let mut stay = Vec::new();
        let mut leave = Vec::new();
        // On an error, idle connections stay until a later pass.
        let _ = self.each(|key, flow| {
            if crowd::is_forgotten(flow, now_s.saturating_sub(flow.last_seen_s)) {
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

    /// Calls `with` for each connection in the table.
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
}

/// The map that hands the judge's framing back to the programs, for connections whose framing they lost. The
/// programs look it up only for those.
#[derive(Debug)]
pub struct HandedBack(pub HashMap<MapData, KeyWords, HandBackWords>);

impl HandedBack {
    /// Offers a connection's framing. The map is an LRU, so it has room; on an error, the connection is still
    /// shipped whole within its budget until the next offer.
    pub fn offer(&mut self, key: &FlowKey, handed: &HandBack) {
        let _ = self.0.insert(
            bytemuck::cast_ref::<_, KeyWords>(key),
            bytemuck::cast_ref::<_, HandBackWords>(handed),
            0,
        );
    }
}
