//! TCP: puts each direction's bytes in order and hands them to the connection's protocol, together with
//! gaps that will not be filled, declared skips, and how the connection ended.
//!
//! A connection is quiet while nothing is in flight: it then keeps only its position in each direction
//! (`tcp`) and the protocol's small state. The first byte allocates the rest (`active`). Positions are 64
//! bits wide and do not wrap.
//!
//! - **Reassembly**: bytes are handed over in order, and a response only after the request bytes that it
//!   acknowledges. The first copy of a byte wins; bytes win over a declared skip.
//! - **Gaps**: missing bytes are waited for, for a shorter time if the peer has acknowledged them, then
//!   passed on as a gap.
//! - **Copies** are counted and compared with what came first.
//! - **Closes** are claims, since anyone can send a FIN or RST: what depends on one waits for confirmation.
//!
//! Must not interpret bytes. It asks the protocol how many bytes of a direction are certainly body, and
//! whether an exchange is in flight.
//!
//! # Layout
//! - [`reassembly`]: the buffer for out-of-order bytes.
//! - [`recent`]: the latest payload, to compare copies with.
//! - [`tcp`]: state of a quiet connection.
//! - [`streams`]: one direction's state while something is in flight.
//! - [`active`]: which bytes are next, which gaps are given up, and when.
//! - [`connection`]: one connection, record by record; its children handle SYN and RST, payload,
//!   segments far outside the window, and SYNs on an open connection.

pub(crate) mod active;
pub(crate) mod connection;
pub mod reassembly;
pub(crate) mod recent;
pub(crate) mod streams;
pub(crate) mod tcp;

use http_trace_common::filter::HandBack;
use http_trace_common::flow::FlowKey;

use http_trace_model::event::LossUnit;

use crate::config::PipelineConfig;
use crate::protocol::{Cx, Link, Sink};
use crate::stats::{Losses, Stats};

/// Distances beyond this are neither reordering nor a loss that TCP could have survived.
const FAR: u64 = 1 << 30;

/// How long a server's segments may cross the client's RST: one round trip with a margin.
const CROSSING_NS: u64 = 1_000_000_000;

/// Context of one connection.
pub(crate) struct Env<'a> {
    /// Ports of the senders of both directions.
    pub ports: [u16; 2],
    /// The name (tuple) of the connection that the current record bears, as a path number.
    pub path: u8,
    pub now_ns: u64,
    /// Records were lost up to this time, ns.
    pub lost_ns: u64,
    pub config: &'a PipelineConfig,
    pub stats: &'a mut Stats,
    pub losses: &'a mut Losses,
    /// Offers to filters that lost framing.
    pub hand_backs: &'a mut Vec<(FlowKey, HandBack)>,
    pub recent: &'a mut recent::Recent,
    /// States of connections that are quiet again.
    pub spare: &'a mut active::Spare,
    pub sink: &'a mut dyn Sink,
}

impl Env<'_> {
    /// The context that the connection's protocol gets.
    pub fn cx<'b>(&'b mut self, link: &'b mut Link) -> Cx<'b> {
        Cx {
            link,
            ports: self.ports,
            now_ns: self.now_ns,
            lost_ns: self.lost_ns,
            config: self.config,
            stats: self.stats,
            losses: self.losses,
            sink: self.sink,
        }
    }

    /// Whether the connection is seen under several names, or is a copy of another. Bytes that one hook
    /// missed may have been seen by another, so no loss is certain.
    pub fn is_copied(&self, link: &Link) -> bool {
        link.muted || self.sink.has_aliases()
    }

    /// Reports `count` bytes as lost at the current event time.
    pub fn lose_bytes(&mut self, place: &'static str, count: u64) {
        let (unit, now) = (LossUnit::Bytes, self.now_ns);
        self.losses.add(place, unit, count, now, now);
    }
}
