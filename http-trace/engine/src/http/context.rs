//! What the judge is given from outside while it works on one connection: the configuration, the
//! time, the counters and where events go.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use http_trace_common::config::Snippet;
use http_trace_common::filter::HandBack;
use http_trace_common::flow::FlowKey;
use http_trace_common::record::ELSEWHERE;

use crate::flow::alias::{Aliases, Copy, Sightings};
use crate::flow::encaps::Encaps;
use crate::flow::table::Id;
use crate::stats::{Losses, Stats};
use http_trace_model::event::{Forwarded, LossUnit, Output};

/// When a response's event is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Emit {
    /// At the message's end, or [`PipelineConfig::emit_after_ns`] after its head.
    #[default]
    Auto,
    /// When the head is complete.
    Head,
    /// At the message's end, however late.
    End,
}

/// Bounds and choices of the pipeline. Times are event time, in ns; sizes in bytes.
#[derive(Clone, Debug)]
pub struct PipelineConfig {
    /// When events are written.
    pub emit: Emit,
    /// With [`Emit::Auto`]: how long after its head a response that goes on is written.
    pub emit_after_ns: u64,
    /// Most connections in the table, closed ones included.
    pub flows: usize,
    /// Most memory for heads in flight and what belongs to them.
    pub heads_bytes: usize,
    /// Most memory for bytes out of order, all connections together.
    pub reorder_bytes: usize,
    /// Most memory for bytes out of order, one direction.
    pub reorder_bytes_per_direction: usize,
    /// Longest head that is kept; the rest of a longer one is framed and dropped.
    pub head_bytes: usize,
    /// How long a hole that the peer has acknowledged may still be filled.
    pub hole_ns: u64,
    /// How long a hole is waited for where no acknowledgement of the peer is ever seen.
    pub unseen_hole_ns: u64,
    /// How long a closed connection stays, so that late copies make nothing twice.
    pub closed_ns: u64,
    /// How long a connection without traffic stays.
    pub idle_ns: u64,
    /// Whether requests without a response become events.
    pub no_response: bool,
    /// How long a response may take before its request counts as unanswered.
    pub response_timeout_ns: u64,
    /// Server ports of which refused and unanswered connection attempts are told; those where HTTP
    /// was seen come to them.
    pub attempt_ports: Vec<RangeInclusive<u16>>,
    /// Most such events in a second; the rest is counted as lost.
    pub attempts_per_second: u32,
    /// Whether gaps in the numbers of records are told as losses; not where the kernel's own
    /// counters are, which know of the last records too.
    pub tell_gaps: bool,
    /// Which responses' bodies are kept how far.
    pub snippet: Snippet,
}

impl Default for PipelineConfig {
    fn default() -> Self {
        const SECOND: u64 = 1_000_000_000;
        PipelineConfig {
            emit: Emit::Auto,
            emit_after_ns: 2 * SECOND,
            flows: 65_536,
            heads_bytes: 64 << 20,
            reorder_bytes: 64 << 20,
            // 1 MiB of payload in segments of Ethernet's size, with what each takes beside it.
            reorder_bytes_per_direction: 5 << 18,
            head_bytes: 64 << 10,
            hole_ns: SECOND / 10,
            unseen_hole_ns: 10 * SECOND,
            closed_ns: 60 * SECOND,
            idle_ns: 900 * SECOND,
            no_response: true,
            response_timeout_ns: 30 * SECOND,
            attempt_ports: Vec::new(),
            attempts_per_second: 100,
            tell_gaps: true,
            snippet: Snippet::NONE,
        }
    }
}

/// Names of interfaces by index.
#[derive(Debug, Default)]
pub struct Interfaces(HashMap<u32, Arc<str>>);

impl Interfaces {
    /// Sets the name of an index.
    pub fn set(&mut self, index: u32, name: &str) {
        self.0.insert(index, name.into());
    }

    /// The name of an index; `if7` when nobody told it, or it is another
    /// namespace's.
    pub fn name(&mut self, index: u32) -> Arc<str> {
        self.0
            .entry(index)
            .or_insert_with(|| format!("if{}", index & !ELSEWHERE).into())
            .clone()
    }

    /// The names of those indexes that are not 0.
    pub fn names(&mut self, indexes: [u32; 4]) -> Vec<Arc<str>> {
        let known = indexes.into_iter().filter(|&index| index != 0);
        known.map(|index| self.name(index)).collect()
    }
}

/// A set of ports.
#[derive(Debug)]
pub struct Ports(Box<[u64; 1024]>);

impl Default for Ports {
    fn default() -> Self {
        Ports(Box::new([0; 1024]))
    }
}

impl Ports {
    /// Adds a port.
    pub fn insert(&mut self, port: u16) {
        self.0[usize::from(port >> 6)] |= 1 << (port & 63);
    }

    /// Whether a port is in it.
    pub fn contains(&self, port: u16) -> bool {
        self.0[usize::from(port >> 6)] & (1 << (port & 63)) != 0
    }
}

/// Events of failed connection attempts in the second at hand.
#[derive(Debug, Default)]
pub struct Attempts {
    second: u64,
    count: u32,
}

impl Attempts {
    /// Whether one more is within the bound.
    pub fn admit(&mut self, now_ns: u64, per_second: u32) -> bool {
        let second = now_ns / 1_000_000_000;
        if self.second != second {
            *self = Attempts { second, count: 0 };
        }
        self.count = self.count.saturating_add(1);
        self.count <= per_second
    }
}

/// The world outside the connection at hand.
pub(crate) struct Context<'a> {
    pub key: FlowKey,
    pub now_ns: u64,
    pub config: &'a PipelineConfig,
    pub stats: &'a mut Stats,
    pub losses: &'a mut Losses,
    pub interfaces: &'a mut Interfaces,
    /// Tags and tunnels by the number that records bear.
    pub encaps: &'a Encaps,
    /// By connection: who is behind the proxy that opened it, by PROXY protocol.
    pub proxied: &'a mut HashMap<u64, Forwarded>,
    pub ports: &'a mut Ports,
    pub attempts: &'a mut Attempts,
    /// The connection's place in the table.
    pub id: Id,
    /// Under which of the connection's names the record at hand came.
    pub path: u8,
    /// Heads that were met, to find copies of a connection under another name.
    pub sightings: &'a mut Sightings,
    /// Connections with several names.
    pub aliases: &'a mut Aliases,
    /// Set when the connection at hand turns out to be a copy.
    pub copy: &'a mut Option<Copy>,
    /// What filters that lost a connection's framing can have back.
    pub hand_backs: &'a mut Vec<(FlowKey, HandBack)>,
    /// How many events there were.
    pub sequence: &'a mut u64,
    /// How many connections there were.
    pub connections: &'a mut u64,
    pub out: &'a mut dyn FnMut(Output),
}

impl Context<'_> {
    /// Tells that `count` bytes were lost here, now.
    pub fn lose_bytes(&mut self, place: &'static str, count: u64) {
        self.losses
            .add(place, LossUnit::Bytes, count, self.now_ns, self.now_ns);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_of_another_namespace_has_no_name_from_here() {
        let mut interfaces = Interfaces::default();
        interfaces.set(2, "wan");
        let names = interfaces.names([2, 2 | ELSEWHERE, 0, 7 | ELSEWHERE]);
        assert_eq!(names, ["wan", "if2", "if7"].map(Arc::from));
    }
}
