//! The interface of a format. Knows no format and no output.

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
    /// What a file begins with, as whole lines.
    fn head(&self) -> Vec<u8> {
        Vec::new()
    }
    /// What it ends with, as whole lines.
    fn tail(&self) -> Vec<u8> {
        Vec::new()
    }
    /// Appends an event as whole lines.
    fn event(&mut self, entry: &Entry<'_>, out: &mut Vec<u8>);
    /// An event came that there is no room for: what is counted counts it all the same.
    fn missed(&mut self, _entry: &Entry<'_>) {}
    /// Appends an alert, redacted, as whole lines.
    fn alert(&mut self, alert: &Alert, out: &mut Vec<u8>);
    /// Appends a loss as whole lines.
    fn loss(&mut self, loss: &Loss, out: &mut Vec<u8>);
    /// At the end: connections that were not readable, as protocol, port and count.
    fn unreadable(&mut self, _items: &[(&str, u16, u64)]) {}
    /// When [`Render::tick`] has something to append though nothing comes (Unix ns).
    fn due_ns(&self) -> Option<u64> {
        None
    }
    /// Time has come to this (Unix ns): appends what is due, as whole lines.
    fn tick(&mut self, _now_ns: u64, _out: &mut Vec<u8>) {}
}
