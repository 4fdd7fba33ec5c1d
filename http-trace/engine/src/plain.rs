//! Streams without packets below: plaintext that its source has in order, such as the data given to a
//! TLS library. Does for them what [`crate::transport`] does for TCP. Must not reorder or infer losses.

use http_trace_common::flow::FlowKey;
use http_trace_model::event::NoResponse;

use crate::origin::{Ack, Origin, first_position};
use crate::protocol::{Chunk, Cx, End, Link, Witness};
use crate::protocols::{Implementation, Memory};
use crate::transport::Env;

/// Identifies a stream; its source must not use one id for two open streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(pub u64);

/// A stream in the table. Its directions are those of `key`, whose ends may be in any order.
#[derive(Debug)]
pub(crate) struct PlainStream {
    pub number: u64,
    pub key: FlowKey,
    link: Link,
    next: [u64; 2],
    memory: Memory,
    busy: Option<Box<Implementation>>,
}

impl PlainStream {
    pub fn new(number: u64, key: FlowKey) -> Self {
        let mut link = Link::default();
        for d in 0..2 {
            link.set_start(d, 0);
            link.known[d] = true;
        }
        PlainStream {
            number,
            key,
            link,
            next: [first_position(0); 2],
            memory: Memory::default(),
            busy: None,
        }
    }

    pub fn is_busy(&self) -> bool {
        self.busy.is_some()
    }

    /// Memory of what is in flight, in bytes.
    pub fn memory(&self) -> usize {
        let busy = self.busy.as_ref();
        busy.map_or(0, |protocol| size_of::<Implementation>() + protocol.held())
    }

    /// Hands over the next bytes of direction `d`.
    pub fn data(&mut self, env: &mut Env<'_>, d: usize, bytes: &[u8]) {
        let origin = self.origin(env, d);
        let chunk = Chunk { bytes, begins: true, origin: &origin };
        self.work(env, |protocol, cx| protocol.data(cx, d, &chunk));
    }

    /// Skips `n` bytes of a body in direction `d` that the source does not have.
    pub fn skip(&mut self, env: &mut Env<'_>, d: usize, n: u64) {
        let origin = self.origin(env, d);
        self.work(env, |protocol, cx| protocol.skip(cx, d, n, &origin));
    }

    /// Yields what is due at the current event time.
    pub fn tick(&mut self, env: &mut Env<'_>) {
        let witness = witness(NoResponse::Timeout, env.now_ns);
        self.work(env, |protocol, cx| protocol.tick(cx, &witness));
    }

    pub fn close(&mut self, env: &mut Env<'_>, end: End) {
        if let Some(protocol) = &mut self.busy {
            let witness = witness(NoResponse::Closed, env.now_ns);
            let cx = &mut env.cx(&mut self.link);
            protocol.finish(cx, end, [false; 2], &witness);
        }
        self.busy = None;
    }

    /// Runs the protocol, and frees it once nothing is in flight.
    fn work(&mut self, env: &mut Env<'_>, work: impl FnOnce(&mut Implementation, &mut Cx<'_>)) {
        let protocol = self.busy.get_or_insert_with(|| {
            Box::new(Implementation::resume(&self.memory, &self.link, self.next))
        });
        work(protocol, &mut env.cx(&mut self.link));
        if protocol.is_quiet() {
            self.memory = protocol.memory();
            self.next = [protocol.next(0), protocol.next(1)];
            self.busy = None;
        }
    }

    /// A writer has read everything that came before, which corresponds to a segment's acknowledgement.
    fn origin(&self, env: &Env<'_>, d: usize) -> Origin {
        let next = match &self.busy {
            Some(protocol) => protocol.next(1 - d),
            None => self.next[1 - d],
        };
        Origin { ack: Ack::of(next as u32), ..Origin::at(env.now_ns) }
    }
}

fn witness(why: NoResponse, since_ns: u64) -> Witness {
    Witness { complete: [true; 2], why, since_ns }
}
