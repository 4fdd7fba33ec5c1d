//! http-trace as a library: from records to events.
//!
//! # Layout
//! Each module imports only from those above it in this list and from the crates to its left
//! (`http-trace-model`, `-engine`, `-detect`); I/O happens only where noted.
//!
//! - [`sync`] locks and waits, and reads the host's clock.
//! - [`text`] writes bytes from the network as text, and reads them back.
//! - [`capture`] reads captures and turns their frames into records.
//! - [`recorded`] reads recorded events (our json, Zeek's http.log, Suricata's eve.json, access logs).
//! - [`own_sockets`] tracks the agent's own sockets, which are never traced; [`own_client`] sends HTTP
//!   requests through them, [`grpc`] gRPC calls; [`priority`] raises the priority of threads; [`privileges`]
//!   handles capabilities and the user.
//! - [`protobuf`] reads fields of Protocol Buffers messages.
//! - [`enrich`] names the client behind trusted proxies, and the processes at both ends.
//! - [`select`] limits what is written, [`scope`] what is traced, [`redact`] removes secrets.
//! - [`ban`] bans the clients of alerts in the firewall (*I/O*).
//! - [`messages`] formats messages for standard error (prints nothing).
//! - [`histogram`] counts durations, [`metrics`] counts events for Prometheus.
//! - [`sink`] formats and writes (output files, standard output, and destinations of alerts).
//! - [`state_file`] keeps counters and the inventory of a site across restarts (*I/O*).
//! - [`stages`] passes events through all of these, in order.
//! - [`config`] holds the table of settings and reads them (including the configuration file), [`cli`] the
//!   commands and options.
//! - [`driver`] combines the pipeline with the stages.
//! - [`probe`] loads and attaches the eBPF programs and reads their ring buffer.
//! - [`run`] runs everything from configuration to exit status, [`schema`] generates the output of
//!   `http-trace schema`.
#![cfg_attr(not(feature = "live"), forbid(unsafe_code))]
#![deny(unsafe_code)]

pub mod ban;
pub mod capture;
pub mod cli;
pub mod config;
pub mod driver;
pub mod enrich;
#[cfg(feature = "live")]
mod grpc;
pub mod histogram;
pub mod messages;
pub mod metrics;
#[cfg(feature = "live")]
mod own_client;
pub mod own_sockets;
pub mod priority;
#[cfg(target_os = "linux")]
pub mod privileges;
#[cfg(feature = "live")]
pub mod probe;
mod protobuf;
pub mod recorded;
pub mod redact;
pub mod run;
pub mod schema;
pub mod scope;
pub mod select;
pub mod sink;
pub mod stages;
pub mod state_file;
mod sync;
pub mod text;
