//! The fields of a process and of what it runs in, rendered once for each process: a few answer nearly all
//! requests of a host. Knows only which records share them.

use std::sync::Arc;

use http_trace_model::process::Process;

/// Of some 500 bytes each.
const SLOTS: usize = 256;

/// The last processes' fields, of one end.
#[derive(Debug)]
pub struct Cache {
    slots: Vec<Option<Slot>>,
}

#[derive(Clone, Debug)]
struct Slot {
    /// Held, so that no other process can be at its address. What is shared does not change.
    process: Arc<Process>,
    /// The object that was open before.
    from: usize,
    text: Vec<u8>,
    left: Left,
}

/// What fields leave behind.
#[derive(Clone, Copy, Debug)]
pub struct Left {
    /// The object that is open.
    pub open: usize,
    /// Whether bytes had to be written as `\xNN`.
    pub escaped: bool,
}

impl Default for Cache {
    fn default() -> Self {
        Cache {
            slots: vec![None; SLOTS],
        }
    }
}

impl Cache {
    /// The fields of this process after an object that is open, and what they leave; `render` makes them if
    /// they are not here.
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
            // Something before it, so that a comma is kept.
            let mut text = vec![b'}'];
            let left = render(&mut text);
            text.remove(0);
            Slot {
                process: process.clone(),
                from,
                text,
                left,
            }
        });
        (&slot.text, slot.left)
    }
}
