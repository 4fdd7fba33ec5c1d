//! Where events go: formats are pure functions of an event ([`Render`], in `render`), writers own the bytes
//! and the clock. Selects and redacts nothing.
//!
//! # Layout
//! - [`fields`] are those of events that are written, [`choice`] is what else the user chose, [`format`] the
//!   table of formats, `spec` one `--output`.
//! - [`json`], [`pretty`], `tracee`, `tracee_v1`, `eve`, `zeek`, `csv`, `otlp`, [`report`] and [`counts`] are the
//!   formats, [`time`] writes times, `flow_id` the numbers that other tools have.
//! - [`outlet`] is all outputs of a run, [`writer`] one with its queue, [`log_file`] a file that may be
//!   rotated, [`deliver`] what carries alerts elsewhere.

pub mod choice;
pub mod counts;
mod csv;
pub mod deliver;
mod eve;
pub mod fields;
mod flow_id;
pub mod format;
pub mod json;
pub mod log_file;
mod otlp;
pub mod outlet;
pub mod pretty;
mod render;
pub mod report;
mod spec;
pub mod time;
mod tracee;
mod tracee_v1;
pub mod writer;
mod zeek;

pub use choice::{Color, HeaderChoice, Style};
pub use format::Format;
pub use render::{Entry, Render};
pub use spec::{OutputSpec, Place};
