//! Whom an event is counted for: the keyed hash of the fields that a correlation groups by, and of
//! those whose distinct values it counts. Each field is hashed once an event, and each group of them
//! put together once, however many correlations ask for it.

use std::hash::Hasher as _;

use super::count::network;
use super::derived;
use super::field::{Field, Value, View};
use super::hashes::Hashes;
use super::rule::{Correlation, Kind, Rule};
use crate::http::known::to_lower;

/// A field that is hashed.
#[derive(Debug, PartialEq)]
struct Part {
    field: Field,
    /// Of addresses.
    ipv6_prefix: u8,
}

/// What is known of the event at hand.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    /// The event for which it is known.
    event: u64,
    hash: u64,
    /// Whether there is one.
    has: bool,
}

/// The entities of the event at hand, for a list of correlations.
#[derive(Debug)]
pub struct Entities {
    hashes: Hashes,
    parts: Vec<Part>,
    known_parts: Vec<Known>,
    /// Groups of fields, by the places of their parts.
    shapes: Vec<Box<[usize]>>,
    known: Vec<Known>,
    /// For each correlation its key's shape by input, all the same when there is one.
    keys: Vec<Box<[usize]>>,
    /// For each correlation the shape of its distinct values.
    values: Vec<Option<usize>>,
    event: u64,
}

impl Entities {
    /// For these correlations, in order.
    pub fn new(rules: &[std::sync::Arc<Rule>], correlations: &[Correlation]) -> Self {
        let mut parts: Vec<Part> = Vec::new();
        let mut shapes: Vec<Box<[usize]>> = Vec::new();
        let mut place = |fields: Vec<Field>, ipv6_prefix: u8| {
            let fields = fields.into_iter().map(|field| {
                let ipv6_prefix = if field.is_address() { ipv6_prefix } else { 0 };
                place_of(&mut parts, Part { field, ipv6_prefix })
            });
            let shape = fields.collect();
            place_of(&mut shapes, shape)
        };
        let mut keys = Vec::new();
        let mut values = Vec::new();
        for correlation in correlations {
            let ipv6_prefix = rules.get(correlation.rule).map_or(128, |r| r.ipv6_prefix);
            let mut of_input = |input: usize| {
                let fields = correlation.group_by.iter();
                let fields =
                    fields.filter_map(|group| group.of.get(input).or(group.of.first()).cloned());
                place(fields.collect(), ipv6_prefix)
            };
            let inputs = 0..correlation.inputs.len().clamp(1, 64);
            let mut of: Vec<usize> = inputs.map(&mut of_input).collect();
            if of.iter().all(|shape| Some(shape) == of.first()) {
                of.truncate(1);
            }
            keys.push(of.into_boxed_slice());
            values.push(match &correlation.kind {
                Kind::ValueCount(fields) => Some(place(fields.clone(), 128)),
                _ => None,
            });
        }
        Entities {
            hashes: Hashes::default(),
            known_parts: vec![Known::default(); parts.len()],
            parts,
            known: vec![Known::default(); shapes.len()],
            shapes,
            keys,
            values,
            event: 0,
        }
    }

    /// Hashes like these from now on, so that what was counted under their keys goes on.
    pub fn hash_as(&mut self, hashes: Hashes) {
        self.hashes = hashes;
    }

    /// What is hashed with.
    pub const fn hashes(&self) -> &Hashes {
        &self.hashes
    }

    /// The next event: nothing is known of it.
    pub fn begin(&mut self) {
        self.event += 1;
    }

    /// The hash of the event's group under a correlation to which it is the input of that number;
    /// `None` when the event lacks a field to group by.
    pub fn key(&mut self, correlation: usize, input: usize, view: &View<'_>) -> Option<u64> {
        let of = self.keys.get(correlation)?;
        let shape = *of.get(input).or(of.first())?;
        self.hash(shape, view)
    }

    /// The hash of the value of which a correlation counts distinct ones; `None` when it counts
    /// none or the event has none.
    pub fn value(&mut self, correlation: usize, view: &View<'_>) -> Option<u64> {
        let shape = (*self.values.get(correlation)?)?;
        self.hash(shape, view)
    }

    #[inline]
    fn hash(&mut self, number: usize, view: &View<'_>) -> Option<u64> {
        let known = self.known.get(number)?;
        if known.event == self.event {
            return known.has.then_some(known.hash);
        }
        self.put_together(number, view)
    }

    fn put_together(&mut self, number: usize, view: &View<'_>) -> Option<u64> {
        let (mut hash, mut has) = (0, true);
        for (at, part) in self.shapes.get(number)?.iter().enumerate() {
            let known = self.known_parts.get_mut(*part)?;
            if known.event != self.event {
                known.event = self.event;
                (known.has, known.hash) =
                    match hash_part(&self.hashes, self.parts.get(*part)?, view) {
                        Some(hash) => (true, hash),
                        None => (false, 0),
                    };
            }
            has &= known.has;
            hash = match at {
                0 => known.hash,
                _ => self.hashes.mix(hash, known.hash),
            };
            if !has {
                break;
            }
        }
        let event = self.event;
        *self.known.get_mut(number)? = Known { event, hash, has };
        has.then_some(hash)
    }
}

/// The hash of what an event has under a field; what most correlations ask for first.
#[inline(never)]
fn hash_part(hashes: &Hashes, part: &Part, view: &View<'_>) -> Option<u64> {
    let address = |ip| hashes.number(network(ip, part.ipv6_prefix));
    Some(match &part.field {
        Field::ClientIp => address(view.event.client_ip()),
        Field::ServerIp => address(view.event.server.ip),
        Field::ServerPort => hashes.number(view.event.server.port.into()),
        Field::Path => hashes.text(view.target.path?, |word| word),
        Field::PathId => hashes.text(view.path_id?, |word| word),
        Field::Host => hashes.text(view.target.host?, to_lower),
        Field::PathTemplate => {
            let mut hasher = hashes.build_hasher();
            derived::hash_template(view.target.path?, &mut hasher);
            hasher.finish()
        }
        // The same value is hashed alike whatever field it is of: inputs may group by different ones.
        field => match view.first(field)? {
            Value::Ip(ip) => address(ip),
            Value::Text(text) => hashes.text(text, |word| word),
            Value::Made(text) => hashes.text(&text, |word| word),
            Value::Number(n) => hashes.number(n.into()),
            Value::Bool(yes) => hashes.number(yes.into()),
        },
    })
}

/// The place of an item in a list, which it is added to if it is not there.
fn place_of<T: PartialEq>(list: &mut Vec<T>, item: T) -> usize {
    let there = list.iter().position(|other| *other == item);
    there.unwrap_or_else(|| {
        list.push(item);
        list.len() - 1
    })
}
