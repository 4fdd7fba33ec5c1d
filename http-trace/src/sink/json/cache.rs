//! Caches rendered fields that many records share: those of a connection, whose addresses and Community ID cost more
//! than the rest of a record, and those of a process, as a few answer nearly all requests of a host. Must not know the
//! fields.

/// Rendered fields of recent owners, each of which has one place.
#[derive(Debug)]
pub struct Cache<K> {
    slots: Vec<Option<Slot<K>>>,
}

#[derive(Debug)]
struct Slot<K> {
    /// Everything that the fields depend on.
    of: K,
    text: Vec<u8>,
    left: ObjectState,
}

/// State after the fields.
#[derive(Clone, Copy, Debug)]
pub struct ObjectState {
    /// The object that is open.
    pub open: usize,
    /// Whether any byte was written as `\xNN`.
    pub escaped: bool,
}

impl<K> Cache<K> {
    /// Room for so many owners, at about 500 bytes each.
    pub fn new(slots: usize) -> Self {
        Cache { slots: (0..slots).map(|_| None).collect() }
    }

    /// The fields of an owner, which begin with a comma, and the state after them. `make` and `render` are called if
    /// the owner at this place is another.
    pub fn get(
        &mut self,
        place: usize,
        is_it: impl FnOnce(&K) -> bool,
        make: impl FnOnce() -> K,
        render: impl FnOnce(&mut Vec<u8>) -> ObjectState,
    ) -> (&[u8], ObjectState) {
        let count = self.slots.len();
        let slot = &mut self.slots[place % count];
        let known = slot.take_if(|slot| !is_it(&slot.of));
        let slot = slot.get_or_insert_with(|| {
            let mut text = known.map_or_else(Vec::new, |slot| slot.text);
            text.clear();
            // Anything before it, so that the comma is kept.
            text.push(b'}');
            let left = render(&mut text);
            text.remove(0);
            Slot { of: make(), text, left }
        });
        (&slot.text, slot.left)
    }
}
