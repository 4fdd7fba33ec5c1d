//! TCP: puts each direction's bytes in order and hands them to the connection's protocol, with the
//! gaps that will not be filled, declared skips, and how the connection ended.
//!
//! Must not interpret bytes: it asks the protocol how many of a direction are certainly body, and whether
//! something is in flight.
//!
//! # Layout
//! - [`reassembly`]: the buffer of bytes out of order.
//! - [`recent`]: what came last, to compare copies with.
//! - [`tcp`]: state of a quiet connection.
//! - [`streams`]: one direction's state while something is in flight.
//! - [`active`]: which bytes are next, which gaps are given up, and when.
//! - [`connection`]: one connection, record by record; its children decide about SYN and RST, payload,
//!   segments far out of the window, SYNs on an open connection.

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

/// Distances beyond this are no reordering and no loss that TCP could have outlived.
const FAR: u64 = 1 << 30;

/// How long a server's segments may cross the client's RST: a round trip, and some patience.
const CROSSING_NS: u64 = 1_000_000_000;

/// Surroundings of one connection.
pub(crate) struct Env<'a> {
    /// Ports of the senders of both directions.
    pub ports: [u16; 2],
    /// Under which of the connection's names the record at hand came.
    pub path: u8,
    pub now_ns: u64,
    pub config: &'a PipelineConfig,
    pub stats: &'a mut Stats,
    pub losses: &'a mut Losses,
    /// Offers to filters that lost the framing of connections.
    pub hand_backs: &'a mut Vec<(FlowKey, HandBack)>,
    pub recent: &'a mut recent::Recent,
    pub sink: &'a mut dyn Sink,
}

impl Env<'_> {
    /// The surroundings of the connection's protocol.
    pub fn cx<'b>(&'b mut self, link: &'b mut Link) -> Cx<'b> {
        Cx {
            link,
            ports: self.ports,
            now_ns: self.now_ns,
            config: self.config,
            stats: self.stats,
            losses: self.losses,
            sink: self.sink,
        }
    }

    /// Whether the connection is seen under several names, or is a copy of another: bytes that one
    /// hook missed another may have seen, so that nothing is known to be lost.
    pub fn is_copied(&self, link: &Link) -> bool {
        link.muted || self.sink.has_aliases()
    }

    /// Reports `count` bytes as lost here and now.
    pub fn lose_bytes(&mut self, place: &'static str, count: u64) {
        let (unit, now) = (LossUnit::Bytes, self.now_ns);
        self.losses.add(place, unit, count, now, now);
    }
}
