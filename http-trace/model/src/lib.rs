//! Data types shared by all stages: one [`event::HttpEvent`] per response, its heads and its losses.
//! Depends on no stage and performs no I/O.
//!
//! # Layout
//! - [`known`] numbers common field names, [`head`] holds decoded heads, [`fields`] parses single
//!   field values, [`target`] splits a request target.
//! - [`process`] is a process at one end of a connection, and its workload.
//! - [`event`] defines events, losses and the engine's output.
//! - [`forwarding`] parses the entries of fields that proxies set.
//! - [`endpoint`] turns paths into templates, names services, and parses lists of endpoints.
//! - [`community`] computes Community IDs.
//! - [`field`] is the table of all fields: the source of names, types and values for writers,
//!   readers, rules and documentation.
//! - [`value`] parses values as users write them (networks, durations, sizes), [`scalars`] reads their texts from
//!   TOML; [`shown`] formats numbers for people, [`columns`] aligns and cuts text.
//! - [`named`] defines enumerations whose variants have names.
#![forbid(unsafe_code)]

pub mod columns;
pub mod community;
pub mod endpoint;
pub mod event;
pub mod field;
pub mod fields;
pub mod forwarding;
pub mod head;
pub mod known;
pub mod named;
pub mod process;
pub mod scalars;
pub mod shown;
pub mod target;
pub mod value;
