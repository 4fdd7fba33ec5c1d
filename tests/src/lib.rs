//! Shared code of the integration tests: the tracer as a library and as a process, real servers and clients.
//! Packets, captures and conversations are re-exported from `http_trace_testkit`.
//!
//! # Layout
//! - [`need`], [`netns`]: what a live test needs, and the namespaces it makes for itself.
//! - [`routed`]: a router that translates addresses, between a client and a server; [`detour`]: a
//!   second way between two ends, which the tracer does not see; [`inject`]: frames sent as they are.
//! - [`play`], [`nginx`], [`node`], [`others`], [`client`], [`visits`]: scenes on real sockets, real
//!   servers, and the requests of real clients.
//! - [`pods`]: servers in cgroups as those of pods.
//! - [`crowd`]: a flood of connections that stay open; [`tcpdump`]: captures of live traffic.
//! - [`pusher`], [`ledger`]: clients at full speed, and their server's log against the tracer's
//!   output.
//! - [`wire`]: conversations written segment by segment.
//! - [`judged`]: frames through the tracer as a library; [`both`]: the kernel's filter beside the host's,
//!   by [`test_run`]; [`ethernet`]: whole frames into the host's.
//! - [`chance`]: random choices from a seed; [`visitors`]: events as a busy site has them, without a wire.
//! - [`streams`]: the same conversations as streams without TCP below them.
//! - [`empty`]: a program that does nothing, to measure others against; [`budget`]: what may cost how much;
//!   [`figures`]: CPU time, memory and medians of benchmarks.
//! - [`agent`], [`seen`]: the tracer as a process, and what it reported; [`bed`] brings it together
//!   with servers, and [`matrix`] every server with every hook.
//! - [`eval`]: detection held against real scanners and real loads.
#![forbid(unsafe_code)]

pub mod agent;
pub mod bed;
pub mod both;
pub mod budget;
pub mod chance;
pub mod client;
pub mod crowd;
pub mod detour;
pub mod empty;
pub mod ethernet;
pub mod eval;
pub mod figures;
pub mod inject;
pub mod judged;
pub mod ledger;
pub mod matrix;
pub mod need;
pub mod neighbour;
pub mod netns;
pub mod nginx;
pub mod node;
pub mod others;
pub mod play;
pub mod pods;
pub mod pusher;
pub mod routed;
pub mod seen;
pub mod streams;
pub mod tcpdump;
pub mod test_run;
pub mod visitors;
pub mod visits;
pub mod wire;

pub use http_trace_testkit::{
    api_server, flood, generate, layers, mangle, pcap, pieces, scene, scenes, talk, tcp, tunnels,
    twins, vlans,
};

use std::path::{Path, PathBuf};

use http_trace_common::filter::Context;
use http_trace_common::record::{Hook, Record, flag};
use http_trace_common::walk::{Encap, Tunnel};

/// Context of frame number `i` of a test. The kernel's clock hardly advances between two of them, so neither
/// does this one.
pub fn at_tc(i: usize, frame: &[u8]) -> Context {
    Context {
        time_ns: (1 << 40) + i as u64,
        interface: 1,
        wire_len: frame.len() as u32,
        egress: false,
        hook: Hook::Tc,
    }
}

/// What must be equal in a record, whichever filter made it: all but time, CPU, interface, hook and socket.
pub fn essence(record: &Record<'_>) -> String {
    let h = record.header;
    format!(
        "{:x?}:{} > {:x?}:{} seq {} ack {} skip {}..{} copies {} flags {:x} trial {:?} {} {:x?}",
        h.src,
        h.src_port,
        h.dst,
        h.dst_port,
        h.seq,
        h.ack,
        h.skip_from,
        h.skip_to,
        h.retransmissions,
        h.flags & !flag::EGRESS,
        h.has(flag::TRIAL).then_some(h.trial_from),
        record.bytes.escape_ascii(),
        record.tunnel,
    )
}

/// A record without its tunnel, and the tunnel.
pub fn apart(record: &Record<'_>) -> (String, Option<Encap>) {
    let tunnel = record.tunnel.map(Tunnel::encap);
    let record = Record { tunnel: None, ..*record };
    (essence(&record), tunnel)
}

/// Folder of our own captures.
pub fn own_captures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("captures")
}

/// Captures of the public corpus, in `HTTP_TRACE_CORPUS` or beside the repository; `None` if there are none.
pub fn public_captures() -> Option<PathBuf> {
    let corpus = std::env::var_os("HTTP_TRACE_CORPUS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpus"),
        PathBuf::from,
    );
    Some(corpus.join("pcap")).filter(|captures| captures.is_dir())
}
