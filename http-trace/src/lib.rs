//! http-trace as a library: from records to events.
//!
//! # Layout
//! Each stage imports only from those above it in this list; I/O happens only where it says so.
//!
//! - [`capture`] reads captures and turns their frames into records.
//! - [`host_filter`] runs the kernel's filter on the host.
//! - [`http::head`] decodes a request or response head.
//! - [`event`] is what the pipeline yields: one [`event::HttpEvent`] per response.
#![forbid(unsafe_code)]

pub mod capture;
pub mod event;
pub mod host_filter;
pub mod http;
#[cfg(feature = "live")]
pub mod probe;
