//! One connection, record by record: which records belong to it, where its streams begin, and how it
//! ends. Must not frame messages.
//!
//! # Layout
//! - `data`: payload on its way to the protocol.
//! - `syn`: which SYNs and RSTs are accepted.
//! - `open_syn`: a SYN on an open connection, with its data.
//! - `far`: segments far outside the window.
//! - `copies`: records under another name of the connection.
//! - `claim`: a FIN or RST is a claim until something confirms it.

pub(super) mod claim;
mod copies;
mod data;
mod far;
mod open_syn;
mod syn;

use http_trace_common::filter::handed;
use http_trace_common::flow::seq_distance;
use http_trace_common::record::{Record, RecordHeader, flag};

use super::active::Active;
use super::streams::{Before, Held, Stream};
use super::tcp::Tcp;
use super::{Env, FAR};
use crate::origin::{Origin, first_position};
use crate::protocol::{End, unreadable};
use crate::protocols::{Memory, Profile, may_answer};
use crate::stats::Unreadable;

/// Limit of untaken offers to filters; further ones are dropped, as their connections have moved on.
const MAX_HAND_BACKS: usize = 1024;

/// Limit of [`Active`]s kept for the next connections, so that an exchange allocates none.
const MAX_SPARE: usize = 64;

#[derive(Debug)]
pub(crate) struct Connection {
    /// Number of the connection in this run, from 1.
    pub number: u64,
    pub tcp: Tcp,
    flight: Flight,
}

/// Whether something is in flight, with the state for either case.
#[derive(Debug)]
enum Flight {
    /// Nothing in flight.
    Quiet(Memory),
    /// Nothing in flight, and only a SYN was seen since the connection before was closed.
    Begun(Box<Before>),
    Busy(Box<Active>),
}

impl Flight {
    fn active(&self) -> Option<&Active> {
        match self {
            Flight::Busy(active) => Some(active),
            _ => None,
        }
    }

    fn active_mut(&mut self) -> Option<&mut Active> {
        match self {
            Flight::Busy(active) => Some(active),
            _ => None,
        }
    }

    /// The state of a quiet connection, or else of what is in flight.
    fn quiet(&mut self) -> Result<&mut Memory, &mut Active> {
        match self {
            Flight::Quiet(memory) => Ok(memory),
            Flight::Begun(before) => Ok(&mut before.next),
            Flight::Busy(active) => Err(active),
        }
    }

    fn take_before(&mut self) -> Option<Box<Before>> {
        match std::mem::replace(self, Flight::Quiet(Memory::default())) {
            Flight::Begun(before) => Some(before),
            Flight::Busy(mut active) => {
                let before = active.before.take();
                *self = Flight::Busy(active);
                before
            }
            quiet => {
                *self = quiet;
                None
            }
        }
    }

    /// The closed connection before, if this one is only a SYN so far.
    fn before(&self) -> Option<&Before> {
        match self {
            Flight::Quiet(_) => None,
            Flight::Begun(before) => Some(before),
            Flight::Busy(active) => active.before.as_deref(),
        }
    }
}

impl Connection {
    pub fn new(number: u64) -> Self {
        Connection { number, tcp: Tcp::default(), flight: Flight::Quiet(Memory::default()) }
    }

    /// Whether something is in flight.
    pub fn is_busy(&self) -> bool {
        self.flight.active().is_some()
    }

    /// What was learned about the connection's protocol.
    pub fn profile(&self) -> &Profile {
        match &self.flight {
            Flight::Quiet(memory) => &memory.profile,
            Flight::Begun(before) => &before.next.profile,
            Flight::Busy(active) => active.protocol.profile(),
        }
    }

    /// Sequence number of the next byte of direction `d`, as far as it is known.
    fn next(&self, d: usize) -> u32 {
        match self.flight.active() {
            None => self.tcp.next[d],
            Some(active) => active.protocol.next(d) as u32,
        }
    }

    /// Memory of heads and messages in flight, and of bytes out of order.
    pub fn memory(&self) -> (usize, usize) {
        self.flight.active().map_or((0, 0), Active::size)
    }

    pub fn record(&mut self, env: &mut Env<'_>, d: usize, record: &Record<'_>) {
        if self.acknowledges_nothing(d, record.header) {
            let flags = record.header.flags & !flag::ACK;
            let header = RecordHeader { flags, ..*record.header };
            return self.record(env, d, &Record { header: &header, ..*record });
        }
        let header = record.header;
        if self.flight.before().is_some() {
            if self.repeats_before(d, header) {
                env.stats.copied_bytes += u64::from(header.len);
                return;
            }
            self.take_up_before(env, d, header);
        }
        if self.tcp.closed && self.continues(d, header) {
            self.reopen(env);
        }
        let closed = self.tcp.closed;
        if closed {
            if !self.is_reused(d, header) {
                self.pass_unread(d, header);
                env.stats.copied_bytes += u64::from(header.len);
                return;
            }
            // The previous connection's position decides which segments are far outside the window, and
            // a SYN-ACK may answer a SYN that a forged RST refused.
            let (o, stood) = (1 - d, self.tcp.next[d]);
            let asked =
                header.has(flag::SYN | flag::ACK) && self.tcp.link.start(o) == Some(header.ack);
            if header.has(flag::SYN) && header.len == 0 {
                self.begin_tentatively();
            } else {
                self.restart(env);
            }
            self.tcp.next[d] = stood;
            if asked {
                self.tcp.link.set_client(o);
                self.begin_stream(o, header.ack);
            }
        }
        if self.begins_alike(d, header) {
            self.stop(env, End::Closed);
            self.restart(env);
            self.begin_stream(d, header.seq);
        }
        if self.is_of_open_syn(d, header) {
            return;
        }
        self.confirm_syn_data(env, d, header);
        if !(header.has(flag::SYN) && header.len > 0) {
            self.confirm_far(env, d, record);
        }
        if self.begins_far(d, header) {
            return self.hold_first(env, d, record, closed);
        }
        if closed {
            self.tcp.next[d] = 0;
        }
        self.take(env, d, record);
    }

    /// Whether an acknowledgement of 0 is none: the packet was made by a script. The other direction reaches 0 where it
    /// wraps, or begins there.
    fn acknowledges_nothing(&self, d: usize, header: &RecordHeader) -> bool {
        let acknowledges = header.flags & (flag::ACK | flag::SYN | flag::RST) == flag::ACK;
        let is_before = |start| seq_distance(start, 0) >= 0;
        header.ack == 0
            && header.len > 0
            && acknowledges
            && !self.tcp.link.start(1 - d).is_some_and(is_before)
    }

    /// Processes a record that is accepted as the connection's.
    fn take(&mut self, env: &mut Env<'_>, d: usize, record: &Record<'_>) {
        let header = record.header;
        if self.learn_beginnings(env, d, record) {
            return;
        }
        let spans =
            header.len > 0 || header.skip_from != header.seq || header.skip_to != header.seq;
        let ends = header.flags & (flag::FIN | flag::RST) != 0;
        let mut joined = false;
        if spans {
            self.believe_anew(env);
            self.tcp.payload = true;
            if !self.tcp.link.known[d] {
                self.join(d, header);
                joined = true;
            }
        }
        let unseen = self.acknowledges_unseen(d, header);
        if unseen {
            // Bytes passed that were not seen.
            self.tcp.payload = true;
        }
        let stood = self.tcp.next[d];
        self.note_positions(d, header);
        if !self.is_busy() && (!spans || self.profile().opaque[d]) && !ends && !unseen {
            if spans {
                // A forged head may have made it a tunnel.
                self.compare(env, d, record, false);
                self.tcp.next[d] = header.skip_to;
            }
            return;
        }
        if header.has(flag::RST) && !self.tcp.link.known[d] && !self.is_placed(header.seq, stood) {
            self.refused(env, d, header);
            return;
        }
        if !self.tcp.link.known[d] {
            if !ends {
                return;
            }
            // Bytes passed unseen before the end, unless the direction was always at this position.
            joined = stood != header.seq || self.tcp.passed_unseen;
            self.tcp.next[d] = header.seq;
            self.tcp.link.known[d] = true;
            if let Some(active) = self.flight.active_mut() {
                active.protocol.join(d, first_position(header.seq), None);
            }
        }
        let origin = Origin::of(header, env.path);
        self.activate(env);
        if let Some(active) = self.flight.active_mut() {
            if spans || ends {
                active.pass_cuts(&mut self.tcp, env, Some((d, header)));
            }
            let link = &self.tcp.link;
            if joined {
                active.protocol.joined(link, d);
            }
            // The sender of a RST need not have received what it acknowledges: see `claim`.
            if link.known[1 - d] && !header.has(flag::RST) {
                active.acknowledge(1 - d, &origin);
            }
            if spans {
                active.protocol.note_trial(d, header);
            }
        }
        if spans {
            self.data(env, d, record, &origin);
        }
        if header.has(flag::FIN)
            && let Some(active) = self.flight.active_mut()
        {
            active.note_fin(env, d, header.skip_to, &origin);
        }
        if header.has(flag::FIN) && self.tcp.reset[d] {
            // A sender that has reset the connection sends no FIN.
            self.disprove_close(env, d);
        }
        self.settle(env);
        if header.has(flag::RST) {
            self.reset(env, d, header);
        }
        self.hand_back(env, d, header);
        self.deactivate(env);
    }

    /// Learns from a record who was heard and where streams begin. Returns whether it is a SYN that is held until another
    /// record confirms it.
    fn learn_beginnings(&mut self, env: &mut Env<'_>, d: usize, record: &Record<'_>) -> bool {
        let header = record.header;
        self.tcp.heard[d] = true;
        if header.flags & (flag::FILTERED | flag::SYN) == flag::FILTERED && !self.tcp.unanswered {
            // The filter saw what answered the SYN.
            self.tcp.heard[1 - d] = true;
        }
        // A response acknowledges what it answers, not where the peer's stream begins.
        let answers = may_answer(record.bytes);
        if header.has(flag::SYN) {
            if self.syn(env, d, record) {
                return true;
            }
        } else if header.has(flag::STREAM_BEGINS) {
            self.stream_begins(env, d, header);
            // The filter followed the stream from its beginning: what an end acknowledges with its first
            // bytes is where the peer's stream begins, whether or not that will be seen.
            let link = &self.tcp.link;
            let asks = !link.is_client(1 - d);
            if asks && !answers && !link.known[1 - d] && header.has(flag::ACK) {
                self.begin_stream(1 - d, header.ack);
            }
        }
        if header.has(flag::OPAQUE) {
            self.opaque_record(env, d, record);
        }
        self.confirm_syn(env, d, header);
        if !answers {
            self.learn_start(env, d, header);
        }
        false
    }

    /// Processes a held record that is accepted now.
    fn take_held(&mut self, env: &mut Env<'_>, d: usize, held: &Held) {
        let path = std::mem::replace(&mut env.path, held.path);
        self.take(env, d, &held.record());
        env.path = path;
    }

    fn opaque_record(&mut self, env: &mut Env<'_>, d: usize, record: &Record<'_>) {
        let kind = unreadable(record.bytes);
        let cx = &mut env.cx(&mut self.tcp.link);
        match self.flight.quiet() {
            Ok(memory) => {
                memory.profile.not_readable(cx, kind);
                memory.profile.opaque[d] = true;
            }
            Err(active) => active.protocol.not_readable(cx, kind),
        }
    }

    /// The first bytes of a direction whose beginning was not seen.
    fn join(&mut self, d: usize, header: &RecordHeader) {
        let tcp = &mut self.tcp;
        // Bytes before these that the peer had not acknowledged yet were sent and not seen.
        let missing = seq_distance(tcp.next[d], header.skip_from);
        let passed = tcp.next[d] != 0 && (2..=FAR as i32).contains(&missing);
        tcp.link.known[d] = true;
        tcp.next[d] = header.skip_from;
        // A filter that frames has seen the beginning: earlier records are lost.
        let framed = header.flags & (flag::FILTERED | flag::UNFILTERED) == flag::FILTERED;
        let lost = framed || passed;
        let start = first_position(header.skip_from);
        // Only requests affect the order: of the server's bytes only responses are missing, and no
        // request is missing while the client is already followed.
        let client = tcp.link.client().unwrap_or(d);
        let followed = client != d && (tcp.link.start(client).is_some() || tcp.link.known[client]);
        match self.flight.quiet() {
            Ok(memory) => {
                let end = first_position(tcp.next[client]);
                memory.join(d, (!followed).then_some((end, lost)));
            }
            Err(active) => {
                let end = if client == d { start } else { active.protocol.next(client) };
                let requests = (!followed).then_some((end, lost));
                active.protocol.join(d, start, requests);
            }
        }
    }

    /// Provides the state that is needed to hand bytes over.
    fn activate(&mut self, env: &mut Env<'_>) {
        let memory = match &self.flight {
            Flight::Quiet(memory) => memory,
            Flight::Begun(before) => &before.next,
            Flight::Busy(_) => return,
        };
        let mut active = Active::new(&self.tcp, memory);
        active.before = self.flight.take_before();
        self.flight = Flight::Busy(match env.spare.pop() {
            Some(mut spare) => {
                *spare = active;
                spare
            }
            None => Box::new(active),
        });
    }

    /// Frees the state that is only needed while something is in flight.
    fn deactivate(&mut self, env: &mut Env<'_>) {
        let Some(active) = self.flight.active_mut() else { return };
        if !active.is_quiet(&self.tcp) && !self.tcp.closed {
            return;
        }
        if active.reset_ns != 0 && !self.tcp.closed {
            // Everything that was due has come.
            return self.stop(env, End::Reset);
        }
        active.report_gaps(&self.tcp.link, env);
        self.rest(env);
    }

    /// Returns to the quiet state.
    fn rest(&mut self, env: &mut Env<'_>) {
        let before = self.flight.take_before();
        let Flight::Busy(active) = &self.flight else { return };
        let memory = active.remember(&mut self.tcp);
        let quiet = match before {
            None => Flight::Quiet(memory),
            Some(mut before) => {
                before.next = memory;
                Flight::Begun(before)
            }
        };
        if let Flight::Busy(active) = std::mem::replace(&mut self.flight, quiet)
            && env.spare.len() < MAX_SPARE
            && active.protocol.held() == 0
        {
            env.spare.push(active);
        }
    }

    /// Hands over bytes that are next now, gives up gaps, and handles FINs.
    fn settle(&mut self, env: &mut Env<'_>) {
        let Some(active) = self.flight.active_mut() else { return };
        let tcp = &mut self.tcp;
        while !active.streams.iter().all(Stream::is_settled) {
            active.drain(tcp, env, false);
            let mut again = false;
            for d in 0..2 {
                again |= active.give_up(tcp, env, d);
            }
            if !again {
                break;
            }
        }
        if active.protocol.profile().http {
            active.report_gaps(&tcp.link, env);
        }
        for d in 0..2 {
            let next = active.protocol.next(d);
            let stream = &mut active.streams[d];
            if stream.fin.take_if(|fin| fin.0 < next).is_some() {
                // Bytes beyond the FIN show that the sender did not send it.
                tcp.dispute(env.stats, active.protocol.profile().framed[d]);
            }
        }
        // An accepted FIN may be all that the other direction waits for.
        for d in [0, 1, 0] {
            if active.streams[d].fin.is_some() && active.is_fin_believed(tcp, env, d) {
                active.end_direction(tcp, env, d);
            }
        }
        if tcp.fin == [true; 2] {
            self.stop(env, End::Closed);
        }
    }

    /// Ends the connection: yields everything in flight.
    pub fn stop(&mut self, env: &mut Env<'_>, end: End) {
        let is_reset = self.flight.active().is_some_and(|a| a.reset_ns != 0);
        let end = if is_reset { End::Reset } else { end };
        self.believe_first(env);
        self.drop_far(env, u64::MAX);
        self.drop_syn_data(env, u64::MAX);
        let rests = self.flight.active().is_none_or(|active| active.protocol.is_quiet());
        if let Some(active) = self.flight.active_mut() {
            active.finish(&mut self.tcp, env, end);
            self.rest(env);
        }
        // A server that closes an idle connection ends it, whenever its client does.
        let (fin, server) = (self.tcp.fin, self.tcp.link.client().map(|client| 1 - client));
        let is_over = fin == [true; 2] || rests && server.is_some_and(|server| fin[server]);
        self.account(env, is_over || end != End::Stopped);
        self.tcp.closed = true;
    }

    /// Counts a connection that is over or out of sight; `ended` says that its end was seen.
    fn account(&mut self, env: &mut Env<'_>, ended: bool) {
        let tcp = &mut self.tcp;
        let Ok(memory) = self.flight.quiet() else { return };
        if tcp.closed || tcp.link.muted {
            return;
        }
        if memory.profile.http {
            env.stats.midstream += u64::from(tcp.is_midstream());
            env.stats.unended += u64::from(!ended);
        } else if tcp.payload || tcp.passed_unseen {
            let cx = &mut env.cx(&mut tcp.link);
            memory.profile.not_readable(cx, Unreadable::Other);
        }
    }

    /// Yields everything that is due; returns when the next is due.
    pub fn tick(&mut self, env: &mut Env<'_>) -> Option<u64> {
        self.drop_far(env, env.now_ns);
        self.drop_syn_data(env, env.now_ns);
        self.settle(env);
        if let Some(active) = self.flight.active_mut() {
            if active.reset_ns != 0 && env.now_ns >= active.reset_due_ns() {
                self.stop(env, End::Reset);
            } else {
                active.tick(&mut self.tcp, env);
            }
        }
        self.deactivate(env);
        self.deadline(env)
    }

    /// When something in flight becomes due.
    pub fn deadline(&self, env: &Env<'_>) -> Option<u64> {
        self.flight.active()?.deadline(&self.tcp, env)
    }

    /// Gives up the gaps that buffered bytes wait for, and hands these bytes over.
    pub fn flush_buffers(&mut self, env: &mut Env<'_>) {
        self.drop_far(env, u64::MAX);
        self.drop_syn_data(env, u64::MAX);
        if let Some(active) = self.flight.active_mut() {
            active.drain(&mut self.tcp, env, true);
        }
        self.settle(env);
        self.deactivate(env);
    }

    /// After a filter's record: makes the filter an offer, if it is new.
    fn hand_back(&mut self, env: &mut Env<'_>, d: usize, header: &RecordHeader) {
        if header.generation == 0 {
            return;
        }
        let active = self.flight.active_mut();
        let Some(mut offer) = active.and_then(|active| active.hand_back(&self.tcp, header)) else {
            return;
        };
        // The record may bear another name of the connection, with its ends in the opposite order.
        let (key, direction) = header.key();
        if direction.index() != d {
            const FIRST: u32 = handed::RIGHT | handed::WRONG;
            offer.sides.reverse();
            offer.trials.reverse();
            let (first, second) = (offer.what & FIRST, offer.what & FIRST << 1);
            offer.what = offer.what & !(FIRST | FIRST << 1) | first << 1 | second >> 1;
        }
        if env.hand_backs.len() >= MAX_HAND_BACKS {
            env.hand_backs.clear();
        }
        env.hand_backs.push((key, offer));
    }
}
