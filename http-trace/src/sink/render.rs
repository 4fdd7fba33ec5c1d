//! The interface of a format. Knows no format and no output.

use crate::messages::NotReadable;
use http_trace_detect::alert::Alert;
use http_trace_model::event::{HttpEvent, Loss};
use http_trace_model::field::View;
use http_trace_model::target::Target;

/// A redacted event, with values that were extracted before redaction.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    pub event: &'a HttpEvent,
    /// User of Basic authentication.
    pub user: Option<&'a [u8]>,
}

impl<'a> Entry<'a> {
    /// The view that the getters of its fields take.
    pub fn view(&self, hostname: &'a [u8]) -> View<'a, HttpEvent> {
        let target = self.event.request.as_ref().map(Target::of);
        View {
            target: target.unwrap_or_default(),
            user: self.user,
            hostname,
            ..View::new(self.event)
        }
    }
}

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
    fn alert(&mut self, _alert: &Alert, _out: &mut Vec<u8>) {}
    /// Appends a loss as whole lines.
    fn loss(&mut self, _loss: &Loss, _out: &mut Vec<u8>) {}
    /// At the end: connections that were not readable.
    fn unreadable(&mut self, _items: &[NotReadable]) {}

    /// At the end: malformed lines of logs, and files, that were not read.
    fn unread(&mut self, _lines: u64, _files: u64) {}
    /// When [`Render::tick`] is due even without events (Unix ns).
    fn due_ns(&self) -> Option<u64> {
        None
    }
    /// Appends what is due at this time (Unix ns), as whole lines.
    fn tick(&mut self, _now_ns: u64, _out: &mut Vec<u8>) {}
}
