//! What the integration tests share.
//!
//! # Layout
//! - [`scene`]: what two ends say to each other, and the truth about it.
//! - [`generate`]: random scenes.
//! - [`tcp`], [`mangle`], [`pcap`]: scenes as segments, what a network does to them, and files.
#![forbid(unsafe_code)]

pub mod generate;
pub mod mangle;
pub mod need;
pub mod netns;
pub mod pcap;
pub mod play;
pub mod scene;
pub mod scenes;
pub mod tcp;
