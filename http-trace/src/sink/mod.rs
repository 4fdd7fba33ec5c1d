//! Where events go: formats are pure functions of an event ([`Render`]), writers own the bytes
//! and the clock. Selects and redacts nothing.
//!
//! # Layout
//! - [`choice`] is what the user chose, [`format`] the table of formats.
//! - [`json`], [`pretty`], `tracee` and `csv` are the formats, [`time`] writes times.
//! - [`outlet`] is all outputs of a run, [`writer`] one with its queue, [`log_file`] a file that may be
//!   rotated, [`deliver`] what carries alerts elsewhere.

pub mod choice;
mod csv;
pub mod deliver;
pub mod format;
pub mod json;
pub mod log_file;
pub mod outlet;
pub mod pretty;
pub mod time;
mod tracee;
pub mod writer;

pub use choice::{Color, HeaderChoice, OutputSpec};
pub use format::{Format, Style};
use http_trace_detect::alert::Alert;
use http_trace_model::event::{HttpEvent, Loss};

/// An event on its way out, redacted, with what was taken from it before.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// The event.
    pub event: &'a HttpEvent,
    /// User of Basic authentication.
    pub user: Option<&'a [u8]>,
}

/// A format.
pub trait Render: std::fmt::Debug + Send {
    /// Appends an event as whole lines.
    fn event(&mut self, entry: &Entry<'_>, out: &mut Vec<u8>);
    /// Appends an alert, redacted, as whole lines.
    fn alert(&mut self, alert: &Alert, out: &mut Vec<u8>);
    /// Appends a loss as whole lines.
    fn loss(&mut self, loss: &Loss, out: &mut Vec<u8>);
}
