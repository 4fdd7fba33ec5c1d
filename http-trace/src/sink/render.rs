//! The interface of a format. Knows no format and no output.

use http_trace_detect::alert::Alert;
use http_trace_model::event::{HttpEvent, Loss};

/// A redacted event, with values that were extracted before redaction.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// The event.
    pub event: &'a HttpEvent,
    /// User of Basic authentication.
    pub user: Option<&'a [u8]>,
}

/// A format.
pub trait Render: std::fmt::Debug + Send {
    /// Header of a file, as whole lines.
    fn head(&self) -> Vec<u8> {
        Vec::new()
    }
    /// Footer of a file, as whole lines.
    fn tail(&self) -> Vec<u8> {
        Vec::new()
    }
    /// Appends an event as whole lines.
    fn event(&mut self, entry: &Entry<'_>, out: &mut Vec<u8>);
    /// Called for an event that the full queue dropped, so that formats that count still count it.
    fn missed(&mut self, _entry: &Entry<'_>) {}
    /// Appends an alert, redacted, as whole lines.
    fn alert(&mut self, alert: &Alert, out: &mut Vec<u8>);
    /// Appends a loss as whole lines.
    fn loss(&mut self, loss: &Loss, out: &mut Vec<u8>);
    /// At the end: connections that were not readable, as protocol, port and count.
    fn unreadable(&mut self, _items: &[(&str, u16, u64)]) {}
    /// When [`Render::tick`] is due even without events (Unix ns).
    fn due_ns(&self) -> Option<u64> {
        None
    }
    /// Appends what is due at this time (Unix ns), as whole lines.
    fn tick(&mut self, _now_ns: u64, _out: &mut Vec<u8>) {}
}
