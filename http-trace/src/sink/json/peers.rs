//! The fields that are the same in every record of a connection, rendered once: addresses and the
//! Community ID cost more than all else in a record. Knows only which records share them.

use http_trace_model::event::{Endpoint, Forwarded, HttpEvent};

/// Of some 450 bytes each.
const SLOTS: usize = 1024;

/// The last connections' fields.
#[derive(Debug)]
pub struct Cache {
    slots: Vec<Slot>,
}

/// The ends of a connection, as an event has them: all that the cached fields are made of.
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
        Cache {
            slots: vec![Slot::default(); SLOTS],
        }
    }
}

impl Cache {
    /// The fields of this event's connection and the object that they leave open; `render` makes them
    /// if they are not here.
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
