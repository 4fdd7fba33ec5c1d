//! http-trace as a library: from records to events.
//!
//! # Layout
//! Each module imports only from those above it in this list and from the crates to its left
//! (`http-trace-model`, `-engine`, `-detect`); I/O happens only where it says so.
//!
//! - [`text`] writes bytes from the network as text, and reads them back.
//! - [`capture`] reads captures and turns their frames into records.
//! - [`recorded`] reads recorded events (our json, Zeek's http.log, Suricata's eve.json, access logs).
//! - [`own_sockets`] knows the agent's own sockets, which are never traced; [`own_client`] asks by HTTP through
//!   them, [`grpc`] by gRPC; [`priority`] lets threads go first; [`privileges`] are capabilities and the user.
//! - [`enrich`] names the client behind trusted proxies, and the processes at both ends.
//! - [`scope`] limits what is traced, [`select`] what is written, [`redact`] takes secrets out.
//! - [`ban`] has the firewall refuse the clients of alerts (*I/O*).
//! - [`summary`] words what standard error is told (prints nothing).
//! - [`histogram`] counts durations, [`metrics`] counts for Prometheus what passes.
//! - [`sink`] formats and writes (output files, standard output, and where alerts go).
//! - [`state_file`] keeps counters and the inventory of a site over a restart (*I/O*).
//! - [`stages`] takes events through all of these, in their order.
//! - [`config`] has the table of settings and reads them (the configuration file too), [`cli`] the
//!   commands and options.
//! - [`engine`] is the pipeline with its stages.
//! - [`probe`] loads and attaches the eBPF programs and reads their ring buffer.
//! - [`run`] is a run from configuration to exit status, [`schema`] what `http-trace schema` prints.
#![cfg_attr(not(feature = "live"), forbid(unsafe_code))]
#![deny(unsafe_code)]

pub mod ban;
pub mod capture;
pub mod cli;
pub mod config;
pub mod engine;
pub mod enrich;
#[cfg(feature = "grpc")]
mod grpc;
pub mod histogram;
pub mod metrics;
#[cfg(any(feature = "webhook", feature = "kubernetes"))]
mod own_client;
pub mod own_sockets;
pub mod priority;
#[cfg(target_os = "linux")]
pub mod privileges;
#[cfg(feature = "live")]
pub mod probe;
pub mod recorded;
pub mod redact;
pub mod run;
pub mod schema;
pub mod scope;
pub mod select;
pub mod sink;
pub mod stages;
pub mod state_file;
pub mod summary;
pub mod text;
