//! Who is behind an event: what the connection's peers alone do not say. Adds to events and
//! changes nothing that was on the wire; performs no I/O but in `proc_fs`.
//!
//! # Layout
//! - [`proxy`] names the client behind trusted proxies.
//! - `cgroup` reads what a cgroup's path says: service, container, pod.
//! - [`source`] asks about a process, on a thread of its own; [`proc_fs`] (*I/O*) answers from /proc.
//! - [`process`] names the processes at both ends.

pub(crate) mod cgroup;
#[cfg(feature = "live")]
pub mod proc_fs;
pub mod process;
pub mod proxy;
pub mod source;
