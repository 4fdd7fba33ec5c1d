//! From records of TCP segments to HTTP exchanges. Synchronous; performs no I/O and reads no clock.
//!
//! # Layout
//! - [`stats`] counts.
//! - [`fragments`] reassembles IP packets.
//! - [`host_filter`] runs the kernel's filter on the host.
//! - [`flow`] holds connections and puts their bytes in order.
//! - [`http`] frames, decodes and pairs messages.
//! - [`pipeline`] drives it all: records in, events and losses out.
#![forbid(unsafe_code)]

pub mod flow;
pub mod fragments;
pub mod host_filter;
pub mod http;
pub mod pipeline;
pub mod stats;
