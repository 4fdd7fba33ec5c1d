//! Packets, captures and conversations for the tests of every crate. Must not use the tracer, so that no
//! mistake of its own packet walk can hide here.
//!
//! # Layout
//! - [`scene`]: what two ends say to each other, and the truth about it; [`scenes`] is the table.
//! - [`generate`]: random scenes.
//! - [`tcp`]: the packet builder, and a scene as segments and frames; [`talk`]: a connection without a
//!   scene; [`mangle`]: what a network does to segments; [`pieces`]: IP fragments; [`layers`],
//!   [`tunnels`], [`vlans`]: headers around a packet.
//! - [`twins`]: two connections at once with equal addresses and ports.
//! - [`pcap`], [`files`]: capture files, plain and in every variant; [`flood`]: captures that are meant to
//!   exhaust the reader.
//! - [`api_server`]: an API server of Kubernetes that lists and watches pods.
#![forbid(unsafe_code)]

pub mod api_server;
pub mod files;
pub mod flood;
pub mod generate;
pub mod layers;
pub mod mangle;
pub mod pcap;
pub mod pieces;
pub mod scene;
pub mod scenes;
pub mod talk;
pub mod tcp;
pub mod tunnels;
pub mod twins;
pub mod vlans;
