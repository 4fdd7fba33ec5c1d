//! *I/O*: pods of this node from the API server, by list and watch, on a separate thread. If the API server
//! is unreachable, slow or wrong, only names are missing: no event waits for it, and it can only name pods
//! whose UID is in a cgroup path.
//!
//! # Layout
//! - [`pod`] parses the needed parts of a pod's JSON.
//! - [`access`] finds the API server and the credentials: a service account, or a kubeconfig file.
//! - [`watch`] lists and watches.

pub mod access;
pub mod pod;
pub mod watch;
