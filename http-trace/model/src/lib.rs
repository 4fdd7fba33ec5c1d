//! Data that every stage shares: one [`event::HttpEvent`] per response, its heads and its losses.
//! Knows no stage, performs no I/O.
//!
//! # Layout
//! - [`known`] numbers common field names, [`head`] holds decoded heads, [`fields`] reads single
//!   field values, [`target`] splits a request target.
//! - [`process`] is a process at an end of a connection, and what it runs in.
//! - [`event`] is the event, the loss, and what the engine puts out.
//! - [`endpoint`] folds paths, names services, and reads lists of endpoints.
//! - [`community`] computes Community IDs.
//! - [`field`] is the table of all fields, from which writers, readers, rules and documentation take
//!   names, types and values.
//! - [`value`] parses values as users write them (networks, durations, sizes), [`shown`] writes numbers as they
//!   read them.
#![forbid(unsafe_code)]

pub mod community;
pub mod endpoint;
pub mod event;
pub mod field;
pub mod fields;
pub mod head;
pub mod known;
pub mod process;
pub mod shown;
pub mod target;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod value;
