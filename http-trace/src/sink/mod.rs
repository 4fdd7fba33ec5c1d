//! Formats and writes events, alerts and losses. A format ([`Render`]) is a pure function of an event; writers own
//! the bytes and the clock. Must not select or redact.
//!
//! # Layout
//! - [`mod@format`]: the table of formats. `spec`: one `--output`. [`fields`]: the fields it writes. [`choice`]: other
//!   user choices.
//! - [`json`], [`pretty`], `tracee`, `tracee_v1`, `eve`, `zeek`, `csv`, `otlp`, [`report`] and [`counts`]: the formats.
//!   [`time`]: writes times. `flow_id`: flow ids as other tools compute them.
//! - [`outlet`]: all outputs of a run. [`writer`]: the queue and thread of one. [`log_file`]: a file that may be
//!   rotated. [`whole_file`]: one that is replaced. [`deliver`]: sends alerts elsewhere. `failing`: whether one of these
//!   fails, and whether that was reported.

pub mod choice;
pub mod counts;
mod csv;
pub mod deliver;
mod eve;
mod failing;
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
pub mod whole_file;
pub mod writer;
mod zeek;

pub use choice::{Color, HeaderChoice, Style};
pub use format::Format;
pub use render::{Entry, Render};
pub use spec::{Destination, OutputSpec, has_option};
