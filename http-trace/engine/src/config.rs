//! Bounds and choices of the pipeline. Holds values only.

use std::ops::RangeInclusive;

use http_trace_common::config::Snippet;

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
    /// How long to wait for missing bytes that the peer has acknowledged.
    pub hole_ns: u64,
    /// How long to wait for missing bytes of which no acknowledgement is seen.
    pub unseen_hole_ns: u64,
    /// How long a closed connection stays, so that late copies make nothing twice.
    pub closed_ns: u64,
    /// How long a connection without traffic stays.
    pub idle_ns: u64,
    /// Whether requests without a response become events.
    pub no_response: bool,
    /// How long a response may take before its request counts as unanswered.
    pub response_timeout_ns: u64,
    /// Server ports whose refused and unanswered connection attempts are reported, beside those where
    /// HTTP was seen.
    pub attempt_ports: Vec<RangeInclusive<u16>>,
    /// Limit of such events per second; the rest is counted as lost.
    pub attempts_per_second: u32,
    /// Whether gaps in the numbering of records are reported as losses. Off where the kernel's own
    /// counters are read, which include the last records.
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
            closed_ns: 900 * SECOND,
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
