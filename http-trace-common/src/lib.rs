//! What runs twice: once at a hook in the kernel, once on the host.
//!
//! Everything here is `no_std`, allocates nothing, holds no global state and performs no I/O; the
//! kernel's program and the host's pipeline give it bytes through traits. It may not know where a
//! packet came from, and it never panics on any input: the same code is held to the eBPF verifier.
//!
//! # Layout
//! Each module imports only from those above it.
//!
//! - [`config`] is what the loader tells the program, [`counter`] what the program tells back.
//! - [`flow`] names a connection and its two directions.
//! - [`walk`] finds the TCP segment in a frame.
//! - [`start_line`] recognises request and status lines.
//! - [`framer`] follows HTTP/1.x message framing (RFC 9112) over one direction's bytes.
//! - [`record`] is the layout in which it is shipped.
//! - [`filter`] decides per segment what of it must be shipped.
//! - [`sender`] says which process sends on a socket.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod config;
pub mod counter;
pub mod filter;
pub mod flow;
pub mod framer;
pub mod record;
pub mod sender;
pub mod start_line;
pub mod walk;
