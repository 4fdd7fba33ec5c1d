//! *I/O*: the pods of this node from the API server, by list and watch, on a thread of its own. An API server
//! that is absent, slow or wrong costs names and nothing else: no event waits for it, and it can only name what
//! the path of a cgroup has the UID of.
//!
//! # Layout
//! - [`pod`] reads what is needed of a pod's JSON.
//! - [`access`] is which server and by what right: a service account, or a kubeconfig file.
//! - [`watch`] lists and watches.

pub mod access;
pub mod pod;
pub mod watch;
