//! From records to events: the connection table, its bounds and its clock around the judge.
//!
//! Synchronous and without I/O. Time is event time: the greatest that a record or a tick has
//! brought, so that a capture decides as a live run did.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use http_trace_common::filter::HandBack;
use http_trace_common::flow::{Direction, FlowKey, seq_distance};
use http_trace_common::record::{Hook, Record, RecordHeader, flag};
use http_trace_common::walk::Encap;

use crate::flow::alias::{Aliases, Copy, Sightings};
use crate::flow::encaps::Encaps;
use crate::flow::table::{Id, List, Table};
use crate::http::connection::{Connection, Facts, timer};
use crate::http::context::{Attempts, Context, Interfaces, Ports};
pub use crate::http::context::{Emit, PipelineConfig};
use crate::http::emit;
use crate::http::judge::End;
use crate::stats::{Losses, Stats};
use http_trace_model::event::{Forwarded, Loss, LossUnit, NoResponse, Output};

/// How often losses are told, in event time.
const LOSS_INTERVAL_NS: u64 = 1_000_000_000;

/// A record this far ahead of the others is believed when [`AGREEING`] more agree with it.
const LEAP_NS: u64 = 60_000_000_000;
/// Records that make a leap in time believable.
const AGREEING: usize = 16;

const _: () = assert!(Table::<Connection>::SLOT_BYTES <= 128);

/// The judge over all connections.
#[derive(Debug)]
pub struct Pipeline {
    table: Table<Connection>,
    shared: Shared,
    timers: BinaryHeap<Reverse<(u64, Id, u64)>>,
    heads_bytes: usize,
    reorder_bytes: usize,
    cpus: Vec<Cpu>,
    /// The last records that are far ahead, at most [`AGREEING`] of them between two records.
    ahead: Vec<Ahead>,
    next_loss_ns: u64,
    next_sweep_ns: u64,
}

/// What every connection's work shares.
#[derive(Debug)]
struct Shared {
    config: PipelineConfig,
    now_ns: u64,
    stats: Stats,
    losses: Losses,
    interfaces: Interfaces,
    encaps: Encaps,
    /// By connection: who is behind the proxy that opened it, by PROXY protocol.
    proxied: HashMap<u64, Forwarded>,
    ports: Ports,
    attempts: Attempts,
    hand_backs: Vec<(FlowKey, HandBack)>,
    sightings: Sightings,
    aliases: Aliases,
    /// Set by the judge of the connection at hand.
    copy: Option<Copy>,
    sequence: u64,
    connections: u64,
}

impl Shared {
    fn context<'a>(
        &'a mut self,
        id: Id,
        key: FlowKey,
        out: &'a mut dyn FnMut(Output),
    ) -> Context<'a> {
        Context {
            key,
            now_ns: self.now_ns,
            config: &self.config,
            stats: &mut self.stats,
            losses: &mut self.losses,
            interfaces: &mut self.interfaces,
            encaps: &self.encaps,
            proxied: &mut self.proxied,
            ports: &mut self.ports,
            attempts: &mut self.attempts,
            id,
            path: 0,
            sightings: &mut self.sightings,
            aliases: &mut self.aliases,
            copy: &mut self.copy,
            hand_backs: &mut self.hand_backs,
            sequence: &mut self.sequence,
            connections: &mut self.connections,
            out,
        }
    }
}

/// A record that is far ahead of those before it, and the connection it was of.
#[derive(Clone, Copy, Debug)]
struct Ahead {
    time_ns: u64,
    id: Option<Id>,
}

/// A source of numbered records: one CPU, whichever hooks run on it.
#[derive(Debug)]
struct Cpu {
    cpu: u16,
    expected: u32,
    last_ns: u64,
}

impl Pipeline {
    /// An empty pipeline.
    pub fn new(config: PipelineConfig) -> Self {
        Pipeline {
            table: Table::new(),
            shared: Shared {
                config,
                now_ns: 0,
                stats: Stats::default(),
                losses: Losses::default(),
                interfaces: Interfaces::default(),
                encaps: Encaps::default(),
                proxied: HashMap::new(),
                ports: Ports::default(),
                attempts: Attempts::default(),
                hand_backs: Vec::new(),
                sightings: Sightings::default(),
                aliases: Aliases::default(),
                copy: None,
                sequence: 0,
                connections: 0,
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

    /// Sets the name of an interface, by the index that records bear.
    pub fn set_interface(&mut self, index: u32, name: &str) {
        self.shared.interfaces.set(index, name);
    }

    /// Sets the tags and tunnels that a number in [`RecordHeader::reserved`] stands for.
    pub fn set_encap(&mut self, number: u32, encap: &Encap) {
        self.shared.encaps.set(number, encap);
    }

    /// The number that stands for these tags and tunnels in [`RecordHeader::reserved`], for records
    /// whose source does not number them itself.
    pub fn encap_number(&mut self, encap: &Encap) -> u32 {
        self.shared.encaps.number(encap)
    }

    /// Adds to what is told next as lost; for losses that are counted elsewhere (the kernel's
    /// counters, an output queue).
    pub fn add_loss(&mut self, loss: &Loss) {
        let (since_ns, until_ns) = (loss.since_ns, loss.until_ns);
        self.shared
            .losses
            .add(loss.place, loss.unit, loss.count, since_ns, until_ns);
    }

    /// Takes what filters can have back of connections whose framing they lost. To be asked after
    /// each batch of records; what is not taken in time is forgotten, which costs bytes only.
    pub fn take_hand_backs(&mut self) -> Vec<(FlowKey, HandBack)> {
        std::mem::take(&mut self.shared.hand_backs)
    }

    /// What was counted so far.
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

    /// Takes a record in: [`Pipeline::note`] and [`Pipeline::judge`].
    pub fn push(&mut self, record: &Record<'_>, out: &mut impl FnMut(Output)) {
        self.note(record, out);
        self.judge(record, out);
    }

    /// Takes note of a record that came, whose bytes may be for somebody else: its number, its time
    /// and its length.
    pub fn note(&mut self, record: &Record<'_>, out: &mut impl FnMut(Output)) {
        let header = record.header;
        self.shared.stats.records += 1;
        self.shared.stats.bytes += record.bytes.len() as u64;
        self.count_attempt(header);
        self.clock(header.time_ns, out);
    }

    /// Takes in what a record, of which note was taken, says of its connection.
    pub fn judge(&mut self, record: &Record<'_>, out: &mut impl FnMut(Output)) {
        let out: &mut dyn FnMut(Output) = out;
        if let Some(tunnel) = record.tunnel {
            let mut header = *record.header;
            header.reserved = self.encap_number(&tunnel.encap());
            let record = Record {
                tunnel: None,
                header: &header,
                bytes: record.bytes,
            };
            return self.judge_numbered(&record, out);
        }
        self.judge_numbered(record, out);
    }

    /// [`Pipeline::judge`] of a record whose header names its tunnel.
    fn judge_numbered(&mut self, record: &Record<'_>, out: &mut dyn FnMut(Output)) {
        let now = self.shared.now_ns;
        if !self.is_ahead(record.header.time_ns) {
            self.judge_now(record, out);
            return;
        }
        // Whether time has come so far is not known yet; for the record's connection it has.
        self.shared.now_ns = record.header.time_ns;
        let id = self.judge_now(record, out);
        self.shared.now_ns = now;
        if let Some(last) = self.ahead.last_mut() {
            last.id = id;
        }
    }

    /// The same at the time that it is; the record's connection.
    fn judge_now(&mut self, record: &Record<'_>, out: &mut dyn FnMut(Output)) -> Option<Id> {
        let header = record.header;
        let (key, direction) = header.key();
        if header.flags & (flag::SYN | flag::STREAM_BEGINS) != 0 {
            self.forget_closed(&key);
        }
        let (id, path, d) = match self.find_alias(&key, direction, header) {
            Some(alias) => alias,
            None => (self.find(key, header, out)?, 0, direction.index()),
        };
        self.work(id, out, |connection, cx| {
            cx.path = path;
            connection.record(cx, d, record);
        });
        Some(id)
    }

    /// A stream begins long after the connection of its ports closed: it is none of that one's, also where event
    /// time has not come as far yet.
    fn forget_closed(&mut self, key: &FlowKey) {
        let Some(id) = self.table.find(key) else {
            return;
        };
        let is_closed = self.table.get(id).is_some_and(|c| c.facts.closed);
        let age_ns = self.table.age_ns(id, self.shared.now_ns);
        if is_closed && age_ns >= self.shared.config.closed_ns {
            self.remove(id, End::Stopped, &mut |_| {});
        }
    }

    /// Time goes on without records.
    pub fn tick(&mut self, now_ns: u64, out: &mut impl FnMut(Output)) {
        let out: &mut dyn FnMut(Output) = out;
        self.forget_ahead(now_ns);
        self.advance(now_ns, out);
    }

    /// The end of the captures, or of the run: everything in flight comes out. The table is empty
    /// afterwards.
    pub fn finish(&mut self, out: &mut impl FnMut(Output)) {
        let out: &mut dyn FnMut(Output) = out;
        let mut ids: Vec<(u64, Id)> = self
            .table
            .ids()
            .filter_map(|id| Some((self.table.get(id)?.facts.number, id)))
            .collect();
        ids.sort_unstable_by_key(|(number, _)| *number);
        for (_, id) in ids {
            self.remove(id, End::Stopped, out);
        }
        self.timers.clear();
        self.tell_losses(out);
    }

    /// The connection of a record that bears another name of it; with that name's number and the
    /// direction as the connection has it.
    fn find_alias(
        &mut self,
        key: &FlowKey,
        direction: Direction,
        header: &RecordHeader,
    ) -> Option<(Id, u8, usize)> {
        let alias = self.shared.aliases.get(key)?;
        let d = direction.index() ^ usize::from(alias.flipped);
        let known = self.table.get(alias.id).is_some_and(|connection| {
            connection.facts.number == alias.number && connection.has_bytes_of(d, header)
        });
        if known {
            return Some((alias.id, alias.path, d));
        }
        self.shared.aliases.remove(key);
        None
    }

    /// A connection turned out to be the copy of another: its name becomes one of that one's.
    fn merge(&mut self, id: Id, copy: &Copy) {
        let Some((&key, connection)) = self.table.get_mut(id) else {
            return;
        };
        // A new connection may have begun under its name since.
        if !connection.facts.muted {
            return;
        }
        let first = |table: &Table<Connection>| {
            table
                .get(copy.id)
                .is_some_and(|first| first.facts.number == copy.number)
        };
        if copy.id == id || !first(&self.table) {
            // The first was thrown out: the copy is all there is.
            if let Some((_, connection)) = self.table.get_mut(id) {
                connection.facts.muted = false;
            }
            return;
        }
        let Some((_, gone)) = self.table.remove(id) else {
            return;
        };
        let (heads, reorder) = gone.memory();
        self.heads_bytes = self.heads_bytes.saturating_sub(heads);
        self.reorder_bytes = self.reorder_bytes.saturating_sub(reorder);
        let shared = &mut self.shared;
        shared.aliases.forget(gone.facts.number);
        shared.proxied.remove(&gone.facts.number);
        shared.stats.flows -= 1;
        shared.stats.http_flows -= u64::from(gone.facts.http);
        shared.stats.aliases += 1;
        if let Some((&name, first)) = self.table.get_mut(copy.id) {
            first.learn(&gone, copy.flipped);
            shared.aliases.insert(key, name, copy);
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
        self.shared.connections += 1;
        self.shared.stats.flows += 1;
        let connection = Connection::new(self.shared.connections);
        Some(
            self.table
                .insert(key, connection, List::Embryonic, self.shared.now_ns),
        )
    }

    /// Lets `work` work on a connection and minds what has become of it.
    fn work(
        &mut self,
        id: Id,
        out: &mut dyn FnMut(Output),
        work: impl FnOnce(&mut Connection, &mut Context<'_>),
    ) {
        let Some((&key, connection)) = self.table.get_mut(id) else {
            return;
        };
        let before = connection.memory();
        let mut cx = self.shared.context(id, key, out);
        work(connection, &mut cx);
        let deadline = connection.deadline(&cx);
        let after = connection.memory();
        let list = if connection.facts.closed {
            List::Closed
        } else if connection.active.is_some() {
            List::Busy
        } else if connection.facts.payload || connection.facts.is_established() {
            // One that is opened ahead of need, as browsers and pools do, waits for its first request.
            List::Idle
        } else {
            List::Embryonic
        };
        self.heads_bytes = (self.heads_bytes + after.0).saturating_sub(before.0);
        self.reorder_bytes = (self.reorder_bytes + after.1).saturating_sub(before.1);
        let number = connection.facts.number;
        if let Some(deadline) = deadline
            && (connection.facts.timer == 0
                || seq_distance(connection.facts.timer, timer(deadline)) < 0)
        {
            connection.facts.timer = timer(deadline);
            self.timers.push(Reverse((deadline, id, number)));
        }
        self.table.touch(id, list, self.shared.now_ns);
        if let Some(copy) = self.shared.copy.take() {
            self.merge(id, &copy);
        }
        if self.heads_bytes > self.shared.config.heads_bytes {
            self.free_heads(out);
        }
        if self.reorder_bytes > self.shared.config.reorder_bytes {
            self.free_reorder(id, out);
        }
    }

    /// Takes a connection out of the table; what was in flight comes out.
    fn remove(&mut self, id: Id, end: End, out: &mut dyn FnMut(Output)) {
        let Some((key, mut connection)) = self.table.remove(id) else {
            return;
        };
        let before = connection.memory();
        self.heads_bytes = self.heads_bytes.saturating_sub(before.0);
        self.reorder_bytes = self.reorder_bytes.saturating_sub(before.1);
        let number = connection.facts.number;
        let mut cx = self.shared.context(id, key, out);
        connection.stop(&mut cx, end);
        self.shared.aliases.forget(number);
        self.shared.proxied.remove(&number);
        self.shared.copy = None;
    }

    /// One connection goes: a closed one, else one without payload, else the one that has been
    /// idle for longest, else the busy one that has.
    fn make_room(&mut self, out: &mut dyn FnMut(Output)) {
        for list in [List::Closed, List::Embryonic, List::Idle, List::Busy] {
            if let Some(id) = self.table.oldest(list) {
                if list != List::Closed {
                    self.evicted("table_full");
                }
                self.remove(id, End::Stopped, out);
                return;
            }
        }
    }

    fn evicted(&mut self, place: &'static str) {
        let now = self.shared.now_ns;
        self.shared.stats.flows_evicted += 1;
        self.shared.losses.add(place, LossUnit::Flows, 1, now, now);
    }

    /// Heads in flight take too much: the connections go whose last use is longest ago.
    fn free_heads(&mut self, out: &mut dyn FnMut(Output)) {
        while self.heads_bytes > self.shared.config.heads_bytes {
            let Some(id) = self.table.oldest(List::Busy) else {
                break;
            };
            self.evicted("heads_in_flight");
            self.remove(id, End::Stopped, out);
        }
    }

    /// Bytes out of order take too much: the holes before the oldest are given up.
    fn free_reorder(&mut self, current: Id, out: &mut dyn FnMut(Output)) {
        const LOOK_AT: usize = 64;
        while self.reorder_bytes > self.shared.config.reorder_bytes {
            let mut at = self.table.oldest(List::Busy);
            let mut victim = current;
            for _ in 0..LOOK_AT {
                let Some(id) = at else { break };
                if self
                    .table
                    .get(id)
                    .is_some_and(|connection| connection.memory().1 > 0)
                {
                    victim = id;
                    break;
                }
                at = self.table.newer(id);
            }
            let Some((&key, connection)) = self.table.get_mut(victim) else {
                break;
            };
            let before = connection.memory();
            let mut cx = self.shared.context(victim, key, out);
            connection.flush_buffers(&mut cx);
            let after = connection.memory();
            let now = self.shared.now_ns;
            let freed = (before.1 - after.1.min(before.1)) as u64;
            self.shared
                .losses
                .add("reorder_memory", LossUnit::Bytes, freed, now, now);
            self.heads_bytes = (self.heads_bytes + after.0).saturating_sub(before.0);
            self.reorder_bytes = (self.reorder_bytes + after.1).saturating_sub(before.1);
            if freed == 0 {
                break;
            }
        }
    }

    /// A gap in a CPU's numbers is records that never came.
    fn count_attempt(&mut self, header: &RecordHeader) {
        if header.hook == Hook::Capture as u8 || !self.shared.config.tell_gaps {
            return;
        }
        let cpu = header.cpu;
        let known = self.cpus.iter_mut().find(|c| c.cpu == cpu);
        let Some(source) = known else {
            let expected = header.attempt.wrapping_add(1);
            self.cpus.push(Cpu {
                cpu,
                expected,
                last_ns: header.time_ns,
            });
            return;
        };
        let gap = header.attempt.wrapping_sub(source.expected) as i32;
        if gap >= 0 {
            source.expected = header.attempt.wrapping_add(1);
        }
        if gap > 0 {
            let (since, until) = (source.last_ns, header.time_ns);
            self.shared
                .losses
                .add("ring_buffer", LossUnit::Records, gap as u64, since, until);
        } else if gap < 0 {
            // A record that was overtaken by one of a context that interrupted it.
            self.shared
                .losses
                .take_back("ring_buffer", LossUnit::Records, 1);
        }
        source.last_ns = header.time_ns;
    }

    /// Event time follows the records, but not a single one that is far ahead.
    fn clock(&mut self, time_ns: u64, out: &mut dyn FnMut(Output)) {
        if !self.is_ahead(time_ns) {
            let now = self.shared.now_ns;
            if time_ns > now || now - time_ns > LEAP_NS {
                self.forget_ahead(time_ns.max(now));
            }
            return self.advance(time_ns, out);
        }
        self.ahead.push(Ahead { time_ns, id: None });
        // Time has come at least as far as all of them say; of a capture in which every pause is long, as
        // far as the first of them. What follows on that closely is no leap.
        if self.ahead.len() > AGREEING {
            let times = self.ahead.iter().map(|ahead| ahead.time_ns);
            let mut next = times.min();
            while let Some(time_ns) = next {
                self.advance(time_ns, out);
                let now = self.shared.now_ns;
                self.ahead.retain(|ahead| ahead.time_ns > now);
                let times = self.ahead.iter().map(|ahead| ahead.time_ns);
                next = times.filter(|time_ns| time_ns - now <= LEAP_NS).min();
            }
        }
    }

    /// Whether a time is so far ahead that it is not believed alone.
    fn is_ahead(&self, time_ns: u64) -> bool {
        let now = self.shared.now_ns;
        now != 0 && time_ns.saturating_sub(now) > LEAP_NS
    }

    /// Time is known: what was ahead of it was not stamped right.
    fn forget_ahead(&mut self, now_ns: u64) {
        for Ahead { time_ns, id } in self.ahead.drain(..) {
            if let Some(id) = id {
                self.table.refresh(id, time_ns.min(now_ns));
            }
        }
    }

    fn advance(&mut self, now_ns: u64, out: &mut dyn FnMut(Output)) {
        if now_ns <= self.shared.now_ns {
            return;
        }
        self.shared.now_ns = now_ns;
        while let Some(&Reverse((deadline, id, number))) = self.timers.peek() {
            if deadline > now_ns {
                break;
            }
            self.timers.pop();
            self.fire(id, deadline, number, out);
        }
        if now_ns >= self.next_sweep_ns {
            self.next_sweep_ns = now_ns + LOSS_INTERVAL_NS / 4;
            self.sweep(out);
        }
        if now_ns >= self.next_loss_ns {
            self.next_loss_ns = now_ns + LOSS_INTERVAL_NS;
            self.tell_losses(out);
        }
    }

    fn fire(&mut self, id: Id, deadline: u64, number: u64, out: &mut dyn FnMut(Output)) {
        let Some((_, connection)) = self.table.get_mut(id) else {
            return;
        };
        if connection.facts.number != number || connection.facts.timer != timer(deadline) {
            return;
        }
        connection.facts.timer = 0;
        self.work_untouched(id, out);
    }

    /// As [`Pipeline::work`], for time alone: the connection's place in its list stays.
    fn work_untouched(&mut self, id: Id, out: &mut dyn FnMut(Output)) {
        let Some((&key, connection)) = self.table.get_mut(id) else {
            return;
        };
        let before = connection.memory();
        let was_busy = connection.active.is_some();
        let mut cx = self.shared.context(id, key, out);
        let deadline = connection.tick(&mut cx);
        let after = connection.memory();
        self.heads_bytes = (self.heads_bytes + after.0).saturating_sub(before.0);
        self.reorder_bytes = (self.reorder_bytes + after.1).saturating_sub(before.1);
        let number = connection.facts.number;
        if let Some(deadline) = deadline {
            // Never at once again, whatever is due: time must pass between two looks.
            let deadline = deadline.max(self.shared.now_ns + 1);
            connection.facts.timer = timer(deadline);
            self.timers.push(Reverse((deadline, id, number)));
        }
        let (closed, busy) = (connection.facts.closed, connection.active.is_some());
        if closed || busy != was_busy {
            let list = if closed { List::Closed } else { List::Idle };
            self.table.touch(id, list, self.shared.now_ns);
        }
        if let Some(copy) = self.shared.copy.take() {
            self.merge(id, &copy);
        }
    }

    /// Closed connections, those that nothing came of and those that were idle for long leave.
    fn sweep(&mut self, out: &mut dyn FnMut(Output)) {
        let now = self.shared.now_ns;
        let config = &self.shared.config;
        let patience = [
            (List::Closed, config.closed_ns),
            (List::Embryonic, config.response_timeout_ns),
            (List::Idle, config.idle_ns),
            (List::Busy, config.idle_ns),
        ];
        for (list, patience) in patience {
            while let Some(id) = self.table.oldest(list) {
                if self.table.age_ns(id, now) < patience {
                    break;
                }
                if list == List::Embryonic {
                    self.unreachable(id, out);
                }
                self.remove(id, End::Stopped, out);
            }
        }
        if self.timers.len() > 2 * self.table.len() + 1024 {
            let table = &self.table;
            self.timers.retain(|Reverse((deadline, id, number))| {
                table.get(*id).is_some_and(|connection| {
                    connection.facts.number == *number && connection.facts.timer == timer(*deadline)
                })
            });
        }
    }

    /// A SYN that nothing answered, at a port that is of interest.
    fn unreachable(&mut self, id: Id, out: &mut dyn FnMut(Output)) {
        let now = self.shared.now_ns;
        let time_ns = now.saturating_sub(self.table.age_ns(id, now));
        let Some((&key, connection)) = self.table.get_mut(id) else {
            return;
        };
        let facts: &Facts = &connection.facts;
        if facts.is_answered() {
            return;
        }
        let mut cx = self.shared.context(id, key, out);
        emit::attempt(facts, &mut cx, time_ns, NoResponse::Unreachable);
    }

    fn tell_losses(&mut self, out: &mut dyn FnMut(Output)) {
        if self.shared.losses.is_empty() {
            return;
        }
        for loss in self.shared.losses.take() {
            *self
                .shared
                .stats
                .lost
                .entry((loss.place, loss.unit))
                .or_default() += loss.count;
            out(Output::Loss(loss));
        }
    }
}
