//! From records of TCP segments, or plaintext streams, to HTTP exchanges. Synchronous; performs no I/O
//! and reads no clock.
//!
//! # Layout
//! Each module imports only from those above it.
//!
//! - [`stats`]: counters. [`config`]: bounds and choices. [`table`]: the bounded connection table.
//! - [`origin`]: where, when and at which position bytes were seen. [`encaps`]: numbered tunnels.
//! - [`fragments`]: reassembles IP packets. [`host_filter`]: the kernel's filter on the host.
//! - [`names`]: connections that are seen under several tuples.
//! - `protocol`: the boundary: bytes of one direction in, exchanges out.
//! - [`http1`]: HTTP/1.x. `protocols`: which implementation reads a connection.
//! - [`transport`]: TCP: reassembly, gaps, copies, SYN, FIN and RST.
//! - `plain`: streams that are plaintext already.
//! - `emit`: from exchanges to events.
//! - [`pipeline`]: drives it all: records in, events and losses out.
#![forbid(unsafe_code)]

pub mod config;
mod emit;
pub mod encaps;
pub mod fragments;
pub mod host_filter;
pub mod http1;
pub mod names;
pub mod origin;
pub mod pipeline;
mod plain;
mod protocol;
mod protocols;
pub mod stats;
pub mod table;
pub mod transport;
