//! Caches the rendered fields that all records of a connection share: addresses and the Community ID cost more than
//! the rest of a record. Must not know the fields.

use http_trace_model::event::{Endpoint, Forwarded, HttpEvent};

/// About 450 bytes each.
const SLOTS: usize = 1024;

/// Rendered fields of recent connections.
#[derive(Debug)]
pub struct Cache {
    slots: Vec<Slot>,
}

/// The ends of a connection: everything that the cached fields depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Peers {
    client: Endpoint,
    server: Endpoint,
    nat_client: Option<Endpoint>,
    nat_server: Option<Endpoint>,
    forwarded: Option<Forwarded>,
}

#[derive(Clone, Debug, Default)]
struct Slot {
    of: Option<Peers>,
    text: Vec<u8>,
    open: usize,
}

impl Default for Cache {
    fn default() -> Self {
        Cache { slots: vec![Slot::default(); SLOTS] }
    }
}

impl Cache {
    /// The fields of this event's connection, and the object that is open after them. `render` is called if they are
    /// not cached.
    pub fn get(
        &mut self,
        event: &HttpEvent,
        render: impl FnOnce(&mut Vec<u8>) -> usize,
    ) -> (&[u8], usize) {
        let peers = Peers {
            client: event.client,
            server: event.server,
            nat_client: event.nat_client,
            nat_server: event.nat_server,
            forwarded: event.forwarded,
        };
        let slot = &mut self.slots[(event.connection % SLOTS as u64) as usize];
        if slot.of != Some(peers) {
            slot.of = Some(peers);
            slot.text.clear();
            slot.open = render(&mut slot.text);
        }
        (&slot.text, slot.open)
    }
}
