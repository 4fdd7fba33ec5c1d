//! The whole URL of an event, written when it is first asked for: most events are done with before.

use std::cell::{OnceCell, RefCell};

use http_trace_model::event::HttpEvent;
use http_trace_model::target::Target;

/// The URL of the event at hand.
#[derive(Debug, Default)]
pub struct Uri {
    made: OnceCell<Vec<u8>>,
    /// The room of the one before.
    spare: RefCell<Vec<u8>>,
}

impl Uri {
    /// The next event.
    pub fn clear(&mut self) {
        if let Some(room) = self.made.take() {
            *self.spare.get_mut() = room;
        }
    }

    /// The URL of the event, whose target was taken apart; empty without a request.
    pub fn of(&self, event: &HttpEvent, target: &Target<'_>) -> &[u8] {
        self.made.get_or_init(|| {
            let mut out = self.spare.take();
            out.clear();
            write(event, target, &mut out);
            out
        })
    }
}

fn write(event: &HttpEvent, target: &Target<'_>, out: &mut Vec<u8>) {
    let Some(request) = &event.request else {
        return;
    };
    if request.target.starts_with(b"/") {
        out.extend_from_slice(b"http://");
        out.extend_from_slice(target.host.unwrap_or_default());
        if let Some(port) = target.port.filter(|port| *port != 80) {
            out.push(b':');
            out.extend_from_slice(itoa::Buffer::new().format(port).as_bytes());
        }
    }
    out.extend_from_slice(&request.target);
}
