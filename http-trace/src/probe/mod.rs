//! The live edge: loads the programs, attaches them, reads their ring buffer and their counters.
//!
//! Knows kernels, interfaces and links, and nothing of HTTP: it hands records on as they came.
//!
//! # Layout
//! - [`loader`] puts the object into the kernel with its sizes and limits.
//! - [`attach`] hangs programs onto interfaces, sockets and cgroups, and takes them off.
//! - [`interfaces`] tells which interfaces there are, as they come and go.
//! - [`ring`] drains records; [`counters`] sums up what the programs counted.
//! - `sys` holds the few system calls that nothing else wraps.

pub mod loader;
