//! http-trace as a library: from records to events.
//!
//! # Layout
//! Each stage imports only from those above it in this list; I/O happens only where it says so.
//!
//! - [`fragments`] puts IP packets together that came in pieces.
//! - [`capture`] reads captures and turns their frames into records.
//! - [`host_filter`] runs the kernel's filter on the host.
//! - [`flow`] holds connections and puts their bytes in order; [`stats`] is what was counted.
//! - [`http::head`] decodes a request or response head.
//! - [`http::target`] takes a request's target apart.
//! - [`pipeline`] is the judge over all connections: records in, events and losses out.
//! - [`event`] is what the pipeline yields: one [`event::HttpEvent`] per response.
//! - [`recorded`] reads events that were recorded (lines of json, Zeek's http.log, access logs).
//! - [`enrich`] says who is behind an event: the client behind trusted proxies.
//! - [`own`] knows the agent's own sockets, which are never traced.
//! - [`detect`] raises alerts over the events (reads rule files in [`detect::load`] only).
//! - [`scope`] limits what is traced, [`select`] what is written, [`redact`] takes secrets out.
//! - [`sink`] formats and writes (output files, standard output, and where alerts go).
//! - [`pipeline`] judges, [`engine`] is the pipeline with its outputs.
//! - [`summary`] words what standard error is told (prints nothing).
//! - [`cli`] is what was typed, [`config`] what is meant (reads the configuration file), [`run`] a
//!   run from configuration to exit status, [`schema`] what `http-trace schema` prints.
#![cfg_attr(not(feature = "live"), forbid(unsafe_code))]
#![deny(unsafe_code)]

pub mod capture;
pub mod classify;
pub mod cli;
pub mod config;
pub mod detect;
pub mod engine;
pub mod enrich;
pub mod event;
pub mod flow;
pub mod fragments;
pub mod host_filter;
pub mod http;
pub mod own;
pub mod pipeline;
pub mod priority;
#[cfg(feature = "live")]
pub mod probe;
pub mod recorded;
pub mod redact;
pub mod run;
pub mod schema;
pub mod scope;
pub mod select;
pub mod sink;
pub mod state;
pub mod stats;
pub mod summary;
#[cfg(test)]
mod testing;
pub mod text;
