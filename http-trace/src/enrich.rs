//! Who is behind an event: what the connection's peers alone do not say. Adds to events and
//! changes nothing that was on the wire; performs no I/O but in `source`.
//!
//! # Layout
//! - [`proxy`] names the client behind trusted proxies.
//! - `cgroup` reads what a cgroup's path says: service, container, pod.
//! - [`source`] (*I/O*) asks /proc about a process, on a thread of its own.
//! - [`process`] names the processes at both ends.

mod cgroup;
#[cfg(feature = "live")]
pub mod process;
pub mod proxy;
#[cfg(feature = "live")]
pub mod source;
