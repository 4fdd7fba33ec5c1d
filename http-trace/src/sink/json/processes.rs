//! Caches the rendered fields of processes with their containers and pods: a few processes answer nearly all requests
//! of a host. Must not know the fields.

use std::sync::Arc;

use http_trace_model::process::Process;

/// About 500 bytes each.
const SLOTS: usize = 256;

/// Rendered fields of recent processes, for one end.
#[derive(Debug)]
pub struct Cache {
    slots: Vec<Option<Slot>>,
}

#[derive(Clone, Debug)]
struct Slot {
    /// Kept so that its address is not reused. Shared processes are immutable.
    process: Arc<Process>,
    /// The object that is open before.
    from: usize,
    text: Vec<u8>,
    left: Left,
}

/// State after the fields.
#[derive(Clone, Copy, Debug)]
pub struct Left {
    pub open: usize,
    /// Whether any byte was written as `\xNN`.
    pub escaped: bool,
}

impl Default for Cache {
    fn default() -> Self {
        Cache { slots: vec![None; SLOTS] }
    }
}

impl Cache {
    /// The fields of this process if the object `from` is open, and the state after them. `render` is called if they
    /// are not cached.
    pub fn get(
        &mut self,
        process: &Arc<Process>,
        from: usize,
        render: impl FnOnce(&mut Vec<u8>) -> Left,
    ) -> (&[u8], Left) {
        let place = Arc::as_ptr(process).addr() >> 4;
        let slot = &mut self.slots[(place ^ place >> 8 ^ from) % SLOTS];
        let is_it = |slot: &Slot| Arc::ptr_eq(&slot.process, process) && slot.from == from;
        if !slot.as_ref().is_some_and(is_it) {
            *slot = None;
        }
        let slot = slot.get_or_insert_with(|| {
            // Anything before it, so that the comma is kept.
            let mut text = vec![b'}'];
            let left = render(&mut text);
            text.remove(0);
            Slot { process: process.clone(), from, text, left }
        });
        (&slot.text, slot.left)
    }
}
