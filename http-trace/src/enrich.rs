//! Who is behind an event: what the connection's peers alone do not say. Adds to events and
//! changes nothing that was on the wire; performs no I/O but where this says so.
//!
//! # Layout
//! - [`proxy`] names the client behind trusted proxies.
//! - `cgroup` reads what a cgroup's path says: service, container, pod.
//! - [`choice`] is which sources are asked, as settings have it.
//! - [`directory`] is what is known of containers and pods beyond that. It is filled by [`runtimes`] (*I/O*:
//!   files of container runtimes), [`cri`] (*I/O*: their CRI socket, by way of `grpc`) and [`kubernetes`]
//!   (*I/O*: pods of this node from the API server).
//! - [`source`] asks about a process, on a thread of its own; [`proc_fs`] (*I/O*) answers from /proc.
//! - [`process`] names the processes at both ends, and what they run in.

#[cfg(any(feature = "live", test))]
pub(crate) mod cgroup;
pub mod choice;
#[cfg(unix)]
pub mod cri;
pub mod directory;
#[cfg(unix)]
mod grpc;
#[cfg(feature = "kubernetes")]
pub mod kubernetes;
#[cfg(feature = "live")]
pub mod proc_fs;
pub mod process;
pub mod proxy;
pub mod runtimes;
pub mod source;
