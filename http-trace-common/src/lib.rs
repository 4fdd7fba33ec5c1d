//! Code that runs twice: at a hook in the kernel, and on the host.
//!
//! Everything here is `no_std`, allocates nothing, holds no global state and performs no I/O; the
//! kernel's program and the host's pipeline provide bytes through traits. It must not know where a
//! packet came from, and it never panics on any input: the eBPF verifier checks the same code.
//!
//! # Layout
//! Each module imports only from those above it.
//!
//! - [`named`]: enumerations whose variants have names.
//! - [`config`]: settings that the loader gives the program; [`counter`]: what the program counts.
//! - [`flow`]: the key of a connection, and its two directions.
//! - [`walk`]: finds the TCP segment in a frame.
//! - [`start_line`]: recognises request and status lines.
//! - [`framer`]: follows HTTP/1.x message framing (RFC 9112) over the bytes of one direction.
//! - [`record`]: the layout of shipped records.
//! - [`filter`]: decides which part of a segment ships.
//! - [`sender`]: the process that sends on a socket.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod config;
pub mod counter;
pub mod filter;
pub mod flow;
pub mod framer;
pub mod named;
pub mod record;
pub mod sender;
pub mod start_line;
pub mod walk;
