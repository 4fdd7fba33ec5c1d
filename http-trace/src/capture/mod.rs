//! From capture files to records: the source of a replay, like `probe` for a live run.
//!
//! [`Frames`] reads pcap and pcapng files, plain or compressed, one or more, merged in time order. [`Replay`]
//! walks each frame and yields a [`http_trace_common::record::Record`] per TCP segment. Nothing here knows
//! about HTTP, and later stages know nothing about files.
//!
//! # Layout
//! - [`error`]: errors of a file, with name and byte offset.
//! - [`magic`]: file types by their first bytes.
//! - [`input`]: paths, folders and standard input; decompression; a bounded look-ahead buffer.
//! - `zstd`: frames of RFC 8878, including skippable ones.
//! - [`pcap`] and [`pcapng`]: the two formats, a packet at a time.
//! - [`frames`]: the merge in time order.
//! - [`lanes`]: the same addresses and ports in two VLANs or tunnels.
//! - [`link`]: link types by name.
//! - `stamps`: timestamps of both ends of a connection.
//! - `sums`: segments with wrong checksums or old timestamps.
//! - [`replay`]: frames to records.

pub mod error;
pub mod frames;
pub mod input;
pub mod lanes;
pub mod link;
pub mod magic;
mod pcap;
mod pcapng;
pub mod replay;
mod stamps;
mod sums;
mod zstd;

pub use error::{CaptureError, Problem};
pub use frames::{Frame, Frames};
pub use replay::{Replay, ReplayCounts, ReplayOptions};
