//! Packets, captures and conversations for the tests of every crate. Knows nothing of the tracer, so that
//! no mistake of its own packet walk can hide here.
//!
//! # Layout
//! - [`scene`]: what two ends say to each other, and the truth about it; [`scenes`] is the table.
//! - [`generate`]: random scenes.
//! - [`tcp`]: a scene as TCP segments and frames; [`mangle`]: what a network does to them;
//!   [`pieces`]: IP fragments; [`tunnels`], [`vlans`]: what they may travel in.
//! - [`twins`]: two connections at once with equal addresses and ports.
//! - [`pcap`]: capture files; [`flood`]: captures that are meant to exhaust the reader.
#![forbid(unsafe_code)]

pub mod flood;
pub mod generate;
pub mod mangle;
pub mod pcap;
pub mod pieces;
pub mod scene;
pub mod scenes;
pub mod tcp;
pub mod tunnels;
pub mod twins;
pub mod vlans;
