//! Plaintext streams without a transport: their table and its limits. Must not reorder what a source pushes.
//!
//! A source opens a stream under an id of its own, pushes what both sides sent in order of occurrence,
//! and closes it. The tuple may be set at any time; events until then have none.

use http_trace_common::flow::{Direction, FlowKey};
use http_trace_model::event::Output;

use super::{Pipeline, Shared};
use crate::plain::PlainStream;
pub use crate::plain::StreamId;
use crate::protocol::End;
use crate::table::{Id, List, Table};
use crate::transport::Env;

/// The tuple of a stream whose tuple is not known yet.
const UNNAMED: FlowKey = FlowKey { a: [0; 16], b: [0; 16], a_port: 0, b_port: 0, netns: 0 };

pub(super) type Streams = Table<StreamId, PlainStream>;

impl Pipeline {
    /// Opens a stream. Its directions are those of `key`, whose ends may be in any order. A stream that
    /// is already open under this id is closed.
    pub fn open_stream(
        &mut self,
        id: StreamId,
        key: Option<FlowKey>,
        time_ns: u64,
        out: &mut impl FnMut(Output),
    ) {
        self.close_stream(id, time_ns, out);
        let out: &mut dyn FnMut(Output) = out;
        self.clock(time_ns, out);
        if self.streams.len() >= self.shared.config.flows.max(1) {
            let lists = [List::Idle, List::Busy];
            let oldest = lists.into_iter().find_map(|list| self.streams.oldest(list));
            if let Some(oldest) = oldest {
                self.evicted("table_full");
                self.end_stream(oldest, End::Stopped, out);
            }
        }
        let number = self.shared.events.new_connection(&mut self.shared.stats);
        let stream = PlainStream::new(number, key.unwrap_or(UNNAMED));
        let now_ns = self.shared.now_ns;
        self.streams.insert(id, stream, List::Idle, now_ns);
    }

    /// Sets the tuple of an open stream.
    pub fn name_stream(&mut self, id: StreamId, key: FlowKey) {
        let id = self.streams.find(&id);
        if let Some((_, stream)) = id.and_then(|id| self.streams.get_mut(id)) {
            stream.key = key;
        }
    }

    /// Adds the next bytes from `sender`. Ignored unless the stream is open.
    pub fn push_stream(
        &mut self,
        id: StreamId,
        sender: Direction,
        bytes: &[u8],
        time_ns: u64,
        out: &mut impl FnMut(Output),
    ) {
        self.shared.stats.bytes += bytes.len() as u64;
        let d = sender.index();
        self.at(id, time_ns, out, |stream, env| stream.data(env, d, bytes));
    }

    /// Skips `n` bytes of a body from `sender` that the source does not have.
    pub fn skip_stream(
        &mut self,
        id: StreamId,
        sender: Direction,
        n: u64,
        time_ns: u64,
        out: &mut impl FnMut(Output),
    ) {
        let d = sender.index();
        self.at(id, time_ns, out, |stream, env| stream.skip(env, d, n));
    }

    pub fn close_stream(&mut self, id: StreamId, time_ns: u64, out: &mut impl FnMut(Output)) {
        if let Some(id) = self.streams.find(&id) {
            let out: &mut dyn FnMut(Output) = out;
            self.clock(time_ns, out);
            self.end_stream(id, End::Closed, out);
        }
    }

    /// Runs `work` for an open stream at this time.
    fn at(
        &mut self,
        id: StreamId,
        time_ns: u64,
        out: &mut dyn FnMut(Output),
        work: impl FnOnce(&mut PlainStream, &mut Env<'_>),
    ) {
        self.clock(time_ns, out);
        if let Some(id) = self.streams.find(&id) {
            self.work_on_stream(id, out, work);
            let busy = self.streams.get(id).is_some_and(PlainStream::is_busy);
            let list = if busy { List::Busy } else { List::Idle };
            self.streams.touch(id, list, self.shared.now_ns);
        }
        while self.heads_bytes > self.shared.config.heads_bytes
            && let Some(oldest) = self.streams.oldest(List::Busy)
        {
            self.evicted("heads_in_flight");
            self.end_stream(oldest, End::Stopped, out);
        }
    }

    fn work_on_stream(
        &mut self,
        id: Id,
        out: &mut dyn FnMut(Output),
        work: impl FnOnce(&mut PlainStream, &mut Env<'_>),
    ) {
        if let Some((_, stream)) = self.streams.get_mut(id) {
            let before = stream.memory();
            let shared: &mut Shared = &mut self.shared;
            let name = (None, stream.key, stream.number);
            shared.with(name, out, |env| work(stream, env));
            self.heads_bytes = (self.heads_bytes + stream.memory()).saturating_sub(before);
        }
    }

    /// Removes a stream from the table and yields everything in flight.
    fn end_stream(&mut self, id: Id, end: End, out: &mut dyn FnMut(Output)) {
        self.work_on_stream(id, out, |stream, env| stream.close(env, end));
        if let Some((_, stream)) = self.streams.remove(id) {
            self.shared.events.forget(stream.number);
        }
    }

    /// Closes all streams in the order in which they were opened.
    pub(super) fn end_streams(&mut self, out: &mut dyn FnMut(Output)) {
        let number = |id: &Id| self.streams.get(*id).map(|stream| stream.number);
        let mut ids: Vec<Id> = self.streams.ids().collect();
        ids.sort_unstable_by_key(number);
        for id in ids {
            self.end_stream(id, End::Stopped, out);
        }
    }

    /// Runs the timers of streams, and closes those that were idle for too long.
    pub(super) fn sweep_streams(&mut self, out: &mut dyn FnMut(Output)) {
        let now = self.shared.now_ns;
        let mut next = self.streams.oldest(List::Busy);
        while let Some(id) = next {
            next = self.streams.newer(id);
            self.work_on_stream(id, out, PlainStream::tick);
        }
        for list in [List::Idle, List::Busy] {
            while let Some(id) = self.streams.oldest(list) {
                if self.streams.age_ns(id, now) < self.shared.config.idle_ns {
                    break;
                }
                self.end_stream(id, End::Stopped, out);
            }
        }
    }
}
