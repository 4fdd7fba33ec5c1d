//! Who is behind an event, beyond the addresses of the connection. Adds to events and changes nothing that
//! was on the wire; performs no I/O except where noted below.
//!
//! # Layout
//! - [`proxy`] names the client behind trusted proxies.
//! - `cgroup` extracts service, container and pod from a cgroup path.
//! - [`choice`] holds the settings for which sources are used.
//! - [`directory`] holds names of containers and pods. It is filled by [`runtimes`] (*I/O*: files of
//!   container runtimes), [`cri`] (*I/O*: their CRI socket) and [`kubernetes`] (*I/O*: pods of
//!   this node from the API server).
//! - [`source`] looks up processes on a separate thread; [`proc_fs`] (*I/O*) answers from /proc.
//! - [`process`] names the processes at both ends, and what they run in.

#[cfg(any(feature = "live", test))]
pub(crate) mod cgroup;
pub mod choice;
#[cfg(feature = "live")]
pub mod cri;
pub mod directory;
#[cfg(feature = "live")]
pub mod kubernetes;
#[cfg(feature = "live")]
pub mod proc_fs;
pub mod process;
pub mod proxy;
pub mod runtimes;
pub mod source;

/// Whether nothing on this host can name pods, with these choices of sources.
#[cfg(feature = "live")]
pub fn names_no_pod(api_server: &choice::NamesFrom, cri_socket: &choice::NamesFrom) -> bool {
    kubernetes::access::CredentialSource::find(api_server).is_none()
        && cri::socket(cri_socket).is_none()
        && runtimes::Runtimes::of_this_host().are_absent()
}
