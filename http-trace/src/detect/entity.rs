//! Whom an event is counted for: the keyed hash of the fields that a correlation groups by, and of
//! those whose distinct values it counts. Each field is hashed once an event, and each group of them
//! put together once, however many correlations ask for it.

use std::hash::Hasher as _;

use super::count::network;
use super::derived;
use super::field::{Field, Value, View};
use super::hashes::Hashes;
use super::rule::{Correlation, Kind, Rule};
use super::targets::{MOST, Place};
use crate::http::known::to_lower;

/// A field that is hashed.
#[derive(Debug)]
struct Part {
    field: Field,
    /// Of addresses.
    ipv6_prefix: u8,
    /// Its number among those that follow from the target.
    of_target: Option<usize>,
    known: Known,
}

/// A group of fields, by the places of their parts.
#[derive(Debug)]
struct Shape {
    parts: Box<[usize]>,
    known: Known,
}

/// What is known of the event at hand.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    /// The event, or the target, for which it is known.
    since: u64,
    hash: u64,
    /// Whether there is one.
    has: bool,
}

impl Known {
    fn of(since: u64, hash: Option<u64>) -> Known {
        Known {
            since,
            hash: hash.unwrap_or_default(),
            has: hash.is_some(),
        }
    }

    fn get(self) -> Option<u64> {
        self.has.then_some(self.hash)
    }
}

/// The shapes of a correlation's keys.
#[derive(Debug)]
struct Keys {
    of_first: usize,
    /// Of each input, when they differ.
    by_input: Box<[usize]>,
}

/// The entities of the event at hand, for a list of correlations.
#[derive(Debug)]
pub struct Entities {
    hashes: Hashes,
    parts: Vec<Part>,
    shapes: Vec<Shape>,
    /// By correlation.
    keys: Vec<Keys>,
    /// For each correlation the shape of its distinct values.
    values: Vec<Option<usize>>,
    event: u64,
    /// Where the target of the event at hand is kept, and of each that is the parts that follow from it.
    target: Option<Place>,
    of_targets: Vec<Known>,
    parts_of_target: usize,
}

impl Entities {
    /// For these correlations, in order.
    pub fn new(rules: &[std::sync::Arc<Rule>], correlations: &[Correlation]) -> Self {
        let mut parts: Vec<Part> = Vec::new();
        let mut shapes: Vec<Shape> = Vec::new();
        let mut parts_of_target = 0;
        let mut part_of = |field: Field, ipv6_prefix: u8| {
            let is_it = |part: &Part| part.field == field && part.ipv6_prefix == ipv6_prefix;
            parts.iter().position(is_it).unwrap_or_else(|| {
                let of_target = field.is_of_target().then_some(parts_of_target);
                parts_of_target += usize::from(of_target.is_some());
                parts.push(Part {
                    field,
                    ipv6_prefix,
                    of_target,
                    known: Known::default(),
                });
                parts.len() - 1
            })
        };
        let mut place = |fields: Vec<Field>, ipv6_prefix: u8| {
            let fields = fields.into_iter().map(|field| {
                let ipv6_prefix = if field.is_address() { ipv6_prefix } else { 0 };
                part_of(field, ipv6_prefix)
            });
            let parts: Box<[usize]> = fields.collect();
            let there = shapes.iter().position(|shape| shape.parts == parts);
            there.unwrap_or_else(|| {
                shapes.push(Shape {
                    parts,
                    known: Known::default(),
                });
                shapes.len() - 1
            })
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
            let of_first = of.first().copied().unwrap_or_default();
            if of.iter().all(|shape| *shape == of_first) {
                of.clear();
            }
            keys.push(Keys {
                of_first,
                by_input: of.into(),
            });
            values.push(match &correlation.kind {
                Kind::ValueCount(fields) => Some(place(fields.clone(), 128)),
                _ => None,
            });
        }
        Entities {
            hashes: Hashes::default(),
            parts,
            shapes,
            keys,
            values,
            event: 0,
            target: None,
            of_targets: vec![Known::default(); MOST * parts_of_target],
            parts_of_target,
        }
    }

    /// Hashes like these from now on, so that what was counted under their keys goes on.
    pub fn hash_as(&mut self, hashes: Hashes) {
        self.hashes = hashes;
        self.of_targets.fill(Known::default());
    }

    /// What is hashed with.
    pub const fn hashes(&self) -> &Hashes {
        &self.hashes
    }

    /// The next event: nothing is known of it but what follows from its target, if that is kept.
    pub const fn begin(&mut self, target: Option<Place>) {
        self.event += 1;
        self.target = target;
    }

    /// The hash of the event's group under a correlation to which it is the input of that number;
    /// `None` when the event lacks a field to group by.
    pub fn key(&mut self, correlation: usize, input: usize, view: &View<'_>) -> Option<u64> {
        let of = self.keys.get(correlation)?;
        let shape = of.by_input.get(input).copied().unwrap_or(of.of_first);
        self.hash(shape, view)
    }

    /// The shape of a correlation's keys, if it is one for all inputs.
    pub fn shape_of_keys(&self, correlation: usize) -> Option<usize> {
        let of = self.keys.get(correlation)?;
        of.by_input.is_empty().then_some(of.of_first)
    }

    /// The shape of the values of which a correlation counts distinct ones, if it does.
    pub fn shape_of_values(&self, correlation: usize) -> Option<usize> {
        *self.values.get(correlation)?
    }

    /// The hash of what the event has of a shape; `None` when it lacks a field of it.
    #[inline]
    pub fn hash(&mut self, shape: usize, view: &View<'_>) -> Option<u64> {
        let known = self.shapes.get(shape)?.known;
        if known.since == self.event {
            return known.get();
        }
        self.put_together(shape, view)
    }

    fn put_together(&mut self, number: usize, view: &View<'_>) -> Option<u64> {
        let shape = self.shapes.get_mut(number)?;
        let mut hash = None;
        for part in &shape.parts {
            let part = self.parts.get_mut(*part)?;
            if part.known.since != self.event {
                let known = match (self.target, part.of_target) {
                    (Some(place), Some(at)) => {
                        let at = place.at * self.parts_of_target + at;
                        let kept = self.of_targets.get_mut(at)?;
                        if kept.since != place.since {
                            *kept = Known::of(place.since, hash_part(&self.hashes, part, view));
                        }
                        kept.get()
                    }
                    _ => hash_part(&self.hashes, part, view),
                };
                part.known = Known::of(self.event, known);
            }
            let of_part = part.known.get();
            hash = match (hash, of_part) {
                (Some(hash), Some(of_part)) => Some(self.hashes.mix(hash, of_part)),
                _ => of_part,
            };
            if of_part.is_none() {
                break;
            }
        }
        // A group of no fields is one and the same for all.
        if shape.parts.is_empty() {
            hash = Some(0);
        }
        shape.known = Known::of(self.event, hash);
        hash
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
