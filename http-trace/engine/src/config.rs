//! Limits and options of the pipeline. Holds values only.

use std::ops::RangeInclusive;

use http_trace_common::config::Snippet;

use crate::crowd;

http_trace_model::named_enum! {
    /// When a response's event is written.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
    pub enum Emit {
        /// At the message's end, but no later than [`PipelineConfig::emit_after_ns`] after its head.
        #[default]
        Auto = "auto",
        /// When the head is complete.
        Head = "head",
        /// At the message's end, no matter how late.
        End = "end",
    }
}

/// Limits and options of the pipeline. Times are event time, in ns; sizes in bytes.
#[derive(Clone, Debug)]
pub struct PipelineConfig {
    /// When events are written.
    pub emit: Emit,
    /// With [`Emit::Auto`]: time after its head at which an unfinished response is written.
    pub emit_after_ns: u64,
    /// Limit of connections in the table, closed ones included.
    pub flows: usize,
    /// Limit of memory for heads in flight and their state.
    pub heads_bytes: usize,
    /// Limit of memory for out-of-order bytes of all connections.
    pub reorder_bytes: usize,
    /// Limit of memory for out-of-order bytes of one direction.
    pub reorder_bytes_per_direction: usize,
    /// Limit of a head that is kept; the rest of a longer one is framed and dropped.
    pub head_bytes: usize,
    /// How long to wait for missing bytes that the peer has acknowledged.
    pub hole_ns: u64,
    /// How long to wait for missing bytes that were not seen to be acknowledged.
    pub unseen_hole_ns: u64,
    /// How long a closed connection is remembered, so that late copies make no second event.
    pub closed_ns: u64,
    /// How long a connection without traffic is kept.
    pub idle_ns: u64,
    /// The same inside an exchange.
    pub idle_inside_ns: u64,
    /// Whether requests without a response become events.
    pub no_response: bool,
    /// How long a response may take before its request counts as unanswered.
    pub response_timeout_ns: u64,
    /// Server ports whose refused and unanswered connection attempts are reported, in addition to those
    /// where HTTP was seen.
    pub attempt_ports: Vec<RangeInclusive<u16>>,
    /// Limit of such events per second; the excess is counted as lost.
    pub attempts_per_second: u32,
    /// Whether gaps in the numbering of records are reported as losses. Off if the kernel's own counters
    /// are read, which also cover the last records.
    pub tell_gaps: bool,
    /// Which responses' bodies are kept, and how many bytes of them.
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
            // 1 MiB of payload in Ethernet-sized segments, with the overhead of each.
            reorder_bytes_per_direction: 5 << 18,
            head_bytes: 64 << 10,
            hole_ns: SECOND / 10,
            unseen_hole_ns: 10 * SECOND,
            closed_ns: 900 * SECOND,
            idle_ns: crowd::FORGOTTEN_S as u64 * SECOND,
            idle_inside_ns: crowd::FORGOTTEN_INSIDE_S as u64 * SECOND,
            no_response: true,
            response_timeout_ns: 30 * SECOND,
            attempt_ports: Vec::new(),
            attempts_per_second: 100,
            tell_gaps: true,
            snippet: Snippet::NONE,
        }
    }
}
