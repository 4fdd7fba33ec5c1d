//! From records to events: the connection table, its limits and its clock.
//!
//! Synchronous and without I/O. Time is event time: the latest that a record or tick has brought, so
//! that a capture gives the same decisions as a live run. Must not interpret payload.
//!
//! # Layout
//! - `time`: event time, timers, expiry.
//! - `bounds`: eviction when memory is full.
//! - `streams`: plaintext streams without a transport.

mod bounds;
mod streams;
mod time;

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use http_trace_common::filter::{HandBack, SYN_AGAIN_MS};
use http_trace_common::flow::{Direction, FlowKey, seq_distance};
use http_trace_common::record::{Hook, Record, RecordHeader, flag};
use http_trace_common::walk::Encap;
use http_trace_model::event::{Loss, LossUnit, NoResponse, Output};

pub use self::streams::StreamId;
pub use crate::config::{Emit, PipelineConfig};
use crate::emit::{self, Emitter};
use crate::names::Original;
use crate::protocol::End;
use crate::stats::{Losses, Stats};
use crate::table::{Id, List, Table};
use crate::transport::Env;
use crate::transport::active::Spare;
use crate::transport::connection::Connection;
use crate::transport::recent::Recent;
use crate::transport::tcp::timer;

const _: () = assert!(Table::<FlowKey, Connection>::SLOT_BYTES <= 168);

/// The engine: connections, streams and their shared state.
#[derive(Debug)]
pub struct Pipeline {
    table: Table<FlowKey, Connection>,
    streams: streams::Streams,
    shared: Shared,
    timers: BinaryHeap<Reverse<(u64, Id, u64)>>,
    heads_bytes: usize,
    reorder_bytes: usize,
    cpus: Vec<Cpu>,
    /// The latest records that are far ahead in time, at most `AGREEING` (in `time`).
    ahead: Vec<Ahead>,
    next_loss_ns: u64,
    next_sweep_ns: u64,
}

/// State shared by all connections.
#[derive(Debug)]
struct Shared {
    config: PipelineConfig,
    now_ns: u64,
    stats: Stats,
    losses: Losses,
    events: emit::Context,
    hand_backs: Vec<(FlowKey, HandBack)>,
    recent: Recent,
    spare: Spare,
    /// Time of the first record after the last lost ones, and of that before.
    lost_ns: [u64; 2],
}

impl Shared {
    /// Runs `work` for connection `number`, named `key`. Returns the original if the connection turned
    /// out to be a copy.
    fn with(
        &mut self,
        (id, key, number): (Option<Id>, FlowKey, u64),
        out: &mut dyn FnMut(Output),
        work: impl FnOnce(&mut Env<'_>),
    ) -> Option<Original> {
        let mut emitter = Emitter {
            cx: &mut self.events,
            key,
            id,
            number,
            now_ns: self.now_ns,
            config: &self.config,
            original: None,
            out,
        };
        work(&mut Env {
            ports: [key.a_port, key.b_port],
            path: 0,
            now_ns: self.now_ns,
            lost_ns: self.lost_ns[0],
            config: &self.config,
            stats: &mut self.stats,
            losses: &mut self.losses,
            hand_backs: &mut self.hand_backs,
            recent: &mut self.recent,
            spare: &mut self.spare,
            sink: &mut emitter,
        });
        emitter.original
    }
}

/// A record far ahead of the others in time, with its connection.
#[derive(Clone, Copy, Debug)]
struct Ahead {
    time_ns: u64,
    id: Option<Id>,
}

/// A source of numbered records: one CPU, for all hooks that run on it.
#[derive(Debug, Default)]
struct Cpu {
    expected: u32,
    /// Time of its last record; 0 if there was none.
    last_ns: u64,
}

impl Pipeline {
    pub fn new(config: PipelineConfig) -> Self {
        Pipeline {
            table: Table::new(),
            streams: Table::new(),
            shared: Shared {
                config,
                now_ns: 0,
                stats: Stats::default(),
                losses: Losses::default(),
                events: emit::Context::default(),
                hand_backs: Vec::new(),
                recent: Recent::default(),
                spare: Spare::new(),
                lost_ns: [0; 2],
            },
            timers: BinaryHeap::new(),
            heads_bytes: 0,
            reorder_bytes: 0,
            cpus: Vec::new(),
            ahead: Vec::new(),
            next_loss_ns: 0,
            next_sweep_ns: 0,
        }
    }

    pub fn set_interface(&mut self, index: u32, name: &str) {
        self.shared.events.interfaces.set(index, name);
    }

    /// The number of these tags and tunnels for [`RecordHeader::encap`].
    pub fn encap_number(&mut self, encap: &Encap) -> u32 {
        self.shared.events.encaps.number(encap)
    }

    /// Adds a loss to the next report; for losses counted elsewhere (the kernel's counters, an output queue).
    pub fn add_loss(&mut self, loss: &Loss) {
        if loss.detail.is_some() {
            return self.shared.losses.add_detailed(loss.clone());
        }
        let (since_ns, until_ns) = (loss.since_ns, loss.until_ns);
        self.shared.losses.add(loss.place, loss.unit, loss.count, since_ns, until_ns);
    }

    /// Takes the offers to filters that lost framing. Call it after each batch of records; an offer that
    /// is not taken in time is dropped, which only costs bytes.
    pub fn take_hand_backs(&mut self) -> Vec<(FlowKey, HandBack)> {
        std::mem::take(&mut self.shared.hand_backs)
    }

    /// Counters so far.
    pub fn stats(&self) -> &Stats {
        &self.shared.stats
    }

    /// Connections in the table, closed ones included.
    pub fn flows(&self) -> usize {
        self.table.len()
    }

    /// Memory of heads in flight and of bytes out of order, in bytes.
    pub fn memory(&self) -> (usize, usize) {
        (self.heads_bytes, self.reorder_bytes)
    }

    /// Event time, ns.
    pub fn now_ns(&self) -> u64 {
        self.shared.now_ns
    }

    /// Processes a record: [`Pipeline::note`], then [`Pipeline::judge`].
    pub fn push(&mut self, record: &Record<'_>, out: &mut impl FnMut(Output)) {
        self.note(record, out);
        self.judge(record, out);
    }

    /// Counts a record whose bytes may be processed elsewhere: its number, time and length.
    pub fn note(&mut self, record: &Record<'_>, out: &mut impl FnMut(Output)) {
        let header = record.header;
        self.shared.stats.records += 1;
        self.shared.stats.bytes += record.bytes.len() as u64;
        self.count_attempt(header);
        self.clock(header.time_ns, out);
    }

    /// Processes a record that was counted by [`Pipeline::note`].
    pub fn judge(&mut self, record: &Record<'_>, out: &mut impl FnMut(Output)) {
        let out: &mut dyn FnMut(Output) = out;
        if let Some(tunnel) = record.tunnel {
            let mut header = *record.header;
            header.encap = self.encap_number(&tunnel.encap());
            let record = Record { tunnel: None, header: &header, bytes: record.bytes };
            return self.judge_numbered(&record, out);
        }
        self.judge_numbered(record, out);
    }

    /// [`Pipeline::judge`] for a record whose header already numbers its tunnel.
    fn judge_numbered(&mut self, record: &Record<'_>, out: &mut dyn FnMut(Output)) {
        let now = self.shared.now_ns;
        if !self.is_ahead(record.header.time_ns) {
            self.judge_now(record, out);
            return;
        }
        // Whether time has advanced this far is not known yet; for the record's connection it has.
        self.shared.now_ns = record.header.time_ns;
        let id = self.judge_now(record, out);
        self.shared.now_ns = now;
        if let Some(last) = self.ahead.last_mut() {
            last.id = id;
        }
    }

    /// [`Pipeline::judge`] at the current time; returns the record's connection.
    fn judge_now(&mut self, record: &Record<'_>, out: &mut dyn FnMut(Output)) -> Option<Id> {
        let header = record.header;
        let (key, direction) = header.key();
        if header.flags & (flag::SYN | flag::STREAM_BEGINS) != 0 {
            self.note_syn(&key, direction, header, out);
        }
        let (id, path, d) = match self.find_alias(&key, direction, header) {
            Some(alias) => alias,
            None => {
                let id = self.find(key, header, out)?;
                match self.join(id, &key, direction, header) {
                    true => self.joined(key, direction, header, out)?,
                    false => (id, 0, direction.index()),
                }
            }
        };
        self.work(id, out, true, |connection, env| {
            env.path = path;
            connection.record(env, d, record);
            connection.deadline(env)
        });
        Some(id)
    }

    /// Before a SYN, or what a filter says of one, is processed: forgets a connection on the same tuple that closed long
    /// ago, or fell silent long before this SYN, and seems to be current only because event time lags. Notes a SYN that
    /// is repeated; a filter ships no other (`filter/syn.rs`).
    fn note_syn(
        &mut self,
        key: &FlowKey,
        direction: Direction,
        header: &RecordHeader,
        out: &mut dyn FnMut(Output),
    ) {
        let Some(id) = self.table.find(key) else { return };
        let is_asked = header.flags & (flag::SYN | flag::ACK) == flag::SYN;
        let age_ns = self.table.age_ns(id, self.shared.now_ns);
        let Some((_, connection)) = self.table.get_mut(id) else { return };
        let tcp = &mut connection.tcp;
        let config = &self.shared.config;
        let longest_ns = if tcp.closed { config.closed_ns } else { config.idle_ns };
        if age_ns >= longest_ns {
            if tcp.closed || is_asked {
                self.remove(id, End::Stopped, out);
            }
        } else if is_asked
            && age_ns >= u64::from(SYN_AGAIN_MS) * 1_000_000
            && tcp.link.start(direction.index()) == Some(header.seq)
        {
            tcp.unanswered = true;
        }
    }

    /// Advances time without a record.
    pub fn tick(&mut self, now_ns: u64, out: &mut impl FnMut(Output)) {
        let out: &mut dyn FnMut(Output) = out;
        self.forget_ahead(now_ns);
        self.advance(now_ns, out);
    }

    /// Ends the run: writes everything in flight, and empties the table.
    pub fn finish(&mut self, out: &mut impl FnMut(Output)) {
        let out: &mut dyn FnMut(Output) = out;
        self.believe_last(out);
        let mut ids: Vec<(u64, Id)> =
            self.table.ids().filter_map(|id| Some((self.table.get(id)?.number, id))).collect();
        ids.sort_unstable_by_key(|(number, _)| *number);
        for (_, id) in ids {
            self.remove(id, End::Stopped, out);
        }
        self.end_streams(out);
        self.timers.clear();
        self.report_losses(out);
    }

    /// The connection of a record that bears one of its aliases, with the alias's path number and the
    /// direction in the connection's terms.
    fn find_alias(
        &mut self,
        key: &FlowKey,
        direction: Direction,
        header: &RecordHeader,
    ) -> Option<(Id, u8, usize)> {
        let alias = self.shared.events.aliases.get(key)?;
        let d = direction.index() ^ usize::from(alias.flipped);
        let known = self.table.get(alias.id).is_some_and(|connection| {
            connection.number == alias.number && connection.has_bytes_of(d, header)
        });
        if known {
            return Some((alias.id, alias.path, d));
        }
        self.shared.events.aliases.remove(key);
        None
    }

    /// Makes the name of a connection whose first bytes answer a request under another name an alias of that request's
    /// connection. Returns whether that was done.
    fn join(&mut self, id: Id, key: &FlowKey, direction: Direction, header: &RecordHeader) -> bool {
        let Some((_, connection)) = self.table.get_mut(id) else {
            return false;
        };
        if header.len == 0 || connection.tcp.payload {
            return false;
        }
        let Some(original) = self.shared.events.halves.meet(key, direction, header) else {
            return false;
        };
        connection.tcp.link.muted = true;
        self.merge(id, &original);
        self.table.get(id).is_none()
    }

    /// The connection of a record whose own was joined to another.
    #[cold]
    fn joined(
        &mut self,
        key: FlowKey,
        direction: Direction,
        header: &RecordHeader,
        out: &mut dyn FnMut(Output),
    ) -> Option<(Id, u8, usize)> {
        let alias = self.find_alias(&key, direction, header);
        alias.or_else(|| Some((self.find(key, header, out)?, 0, direction.index())))
    }

    /// Makes a copy's name an alias of its original.
    fn merge(&mut self, id: Id, original: &Original) {
        let Some((&key, connection)) = self.table.get_mut(id) else { return };
        // A new connection may have begun under its name.
        if !connection.tcp.link.muted {
            return;
        }
        let first = |table: &Table<FlowKey, Connection>| {
            table.get(original.id).is_some_and(|first| first.number == original.number)
        };
        if original.id == id || !first(&self.table) {
            // The original was evicted: the copy is all there is.
            if let Some((_, connection)) = self.table.get_mut(id) {
                connection.tcp.link.muted = false;
            }
            return;
        }
        let Some((_, gone)) = self.table.remove(id) else { return };
        let (heads, reorder) = gone.memory();
        self.heads_bytes = self.heads_bytes.saturating_sub(heads);
        self.reorder_bytes = self.reorder_bytes.saturating_sub(reorder);
        let shared = &mut self.shared;
        shared.events.forget(gone.number);
        shared.stats.flows -= 1;
        shared.stats.http_flows -= u64::from(gone.profile().http);
        shared.stats.aliases += 1;
        if let Some((&name, first)) = self.table.get_mut(original.id) {
            first.learn(&gone, original.flipped);
            shared.events.aliases.insert(key, name, original);
        }
    }

    /// The connection of a record; a new one if the record can begin one.
    fn find(
        &mut self,
        key: FlowKey,
        header: &RecordHeader,
        out: &mut dyn FnMut(Output),
    ) -> Option<Id> {
        if let Some(id) = self.table.find(&key) {
            return Some(id);
        }
        let begins = header.len > 0
            || header.skip_to != header.skip_from
            || header.flags & (flag::SYN | flag::STREAM_BEGINS | flag::OPAQUE) != 0;
        if !begins {
            return None;
        }
        while self.table.len() >= self.shared.config.flows.max(1) {
            self.make_room(out);
        }
        let shared = &mut self.shared;
        let connection = Connection::new(shared.events.new_connection(&mut shared.stats));
        Some(self.table.insert(key, connection, List::Embryonic, self.shared.now_ns))
    }

    /// Runs `work` for a connection, which returns its next deadline, then updates its list, its timer and the memory
    /// in use. After a timer instead of a record, the connection keeps its place in its list.
    fn work(
        &mut self,
        id: Id,
        out: &mut dyn FnMut(Output),
        is_record: bool,
        work: impl FnOnce(&mut Connection, &mut Env<'_>) -> Option<u64>,
    ) {
        let Some((&key, connection)) = self.table.get_mut(id) else { return };
        let before = connection.memory();
        let was_busy = connection.is_busy();
        let name = (Some(id), key, connection.number);
        let mut deadline = None;
        let original = self.shared.with(name, out, |env| deadline = work(connection, env));
        let after = connection.memory();
        let list = if connection.tcp.closed {
            List::Closed
        } else if connection.is_busy() {
            List::Busy
        } else if connection.tcp.payload || connection.tcp.established {
            // A connection opened ahead of need, as by browsers and pools, waits for its first request.
            List::Idle
        } else {
            List::Embryonic
        };
        self.heads_bytes = (self.heads_bytes + after.0).saturating_sub(before.0);
        self.reorder_bytes = (self.reorder_bytes + after.1).saturating_sub(before.1);
        let number = connection.number;
        if let Some(deadline) = deadline
            && (connection.tcp.timer == 0
                || seq_distance(connection.tcp.timer, timer(deadline)) < 0)
        {
            connection.tcp.timer = timer(deadline);
            self.timers.push(Reverse((deadline, id, number)));
        }
        if is_record || list == List::Closed || was_busy != (list == List::Busy) {
            self.table.touch(id, list, self.shared.now_ns);
        }
        if let Some(original) = original {
            self.merge(id, &original);
        }
        if !is_record {
            return;
        }
        if self.heads_bytes > self.shared.config.heads_bytes {
            self.free_heads(out);
        }
        if self.reorder_bytes > self.shared.config.reorder_bytes {
            self.free_reorder(id, out);
        }
    }

    /// Removes a connection from the table and writes everything in flight.
    fn remove(&mut self, id: Id, end: End, out: &mut dyn FnMut(Output)) {
        let Some((key, mut connection)) = self.table.remove(id) else { return };
        let before = connection.memory();
        self.heads_bytes = self.heads_bytes.saturating_sub(before.0);
        self.reorder_bytes = self.reorder_bytes.saturating_sub(before.1);
        let number = connection.number;
        let name = (Some(id), key, number);
        self.shared.with(name, out, |env| connection.stop(env, end));
        self.shared.events.forget(number);
    }

    /// A gap in a CPU's numbering means lost records.
    fn count_attempt(&mut self, header: &RecordHeader) {
        if header.hook == Hook::Capture as u8 {
            return;
        }
        let cpu = usize::from(header.cpu);
        if self.cpus.len() <= cpu {
            self.cpus.resize_with(cpu + 1, Cpu::default);
        }
        let Some(source) = self.cpus.get_mut(cpu) else {
            return;
        };
        let since = std::mem::replace(&mut source.last_ns, header.time_ns);
        let gap = match since {
            0 => 0,
            _ => header.attempt.wrapping_sub(source.expected) as i32,
        };
        if gap >= 0 {
            source.expected = header.attempt.wrapping_add(1);
        }
        let Shared { losses, lost_ns, config, .. } = &mut self.shared;
        if gap > 0 {
            *lost_ns = [header.time_ns, lost_ns[0]];
            if config.tell_gaps {
                losses.add("ring_buffer", LossUnit::Records, gap as u64, since, header.time_ns);
            }
        } else if gap < 0 {
            // A record that was overtaken by one from a context that interrupted it.
            lost_ns[0] = lost_ns[1];
            losses.take_back("ring_buffer", LossUnit::Records, 1);
        }
    }

    /// Reports a SYN that was repeated and not answered, if its port is of interest.
    fn unreachable(&mut self, id: Id, out: &mut dyn FnMut(Output)) {
        let now = self.shared.now_ns;
        let time_ns = now.saturating_sub(self.table.age_ns(id, now));
        let Some((&key, connection)) = self.table.get_mut(id) else { return };
        if !connection.tcp.unanswered || connection.tcp.is_answered() {
            return;
        }
        let name = (Some(id), key, connection.number);
        self.shared.with(name, out, |env| {
            connection.number_attempt(env);
            let (link, why) = (&connection.tcp.link, NoResponse::Unreachable);
            env.sink.attempt(env.stats, env.losses, link, time_ns, why);
        });
    }

    fn report_losses(&mut self, out: &mut dyn FnMut(Output)) {
        if self.shared.losses.is_empty() {
            return;
        }
        for loss in self.shared.losses.take() {
            *self.shared.stats.lost.entry((loss.place, loss.unit)).or_default() += loss.count;
            out(Output::Loss(loss));
        }
    }
}
