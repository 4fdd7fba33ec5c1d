//! Whom an event is counted for: the keyed hash of the fields that a correlation groups by, and of
//! those whose distinct values it counts. Each is made once an event, however many correlations
//! ask for it.

use std::hash::Hasher as _;

use super::count::{Hashes, hash_value};
use super::derived;
use super::field::{Field, View};
use super::rule::{Correlation, Kind, Rule};

/// Fields that are hashed together.
#[derive(Debug, PartialEq)]
struct Shape {
    fields: Vec<Field>,
    ipv6_prefix: u8,
}

/// What is known of the event at hand.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    /// The event for which it is known.
    event: u64,
    hash: Option<u64>,
}

/// The entities of the event at hand, for a list of correlations.
#[derive(Debug)]
pub struct Entities {
    hashes: Hashes,
    shapes: Vec<Shape>,
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
        let mut shapes: Vec<Shape> = Vec::new();
        let mut place = |shape: Shape| {
            shapes.iter().position(|s| *s == shape).unwrap_or_else(|| {
                shapes.push(shape);
                shapes.len() - 1
            })
        };
        let mut keys = Vec::new();
        let mut values = Vec::new();
        for correlation in correlations {
            let ipv6_prefix = rules.get(correlation.rule).map_or(128, |r| r.ipv6_prefix);
            let of_input = |input: usize| Shape {
                fields: correlation
                    .group_by
                    .iter()
                    .filter_map(|group| group.of.get(input).or(group.of.first()).cloned())
                    .collect(),
                ipv6_prefix,
            };
            let mut of: Vec<usize> = (0..correlation.inputs.len().clamp(1, 64))
                .map(|input| place(of_input(input)))
                .collect();
            of.dedup();
            if of.len() > 1 {
                of = (0..correlation.inputs.len().clamp(1, 64))
                    .map(|input| place(of_input(input)))
                    .collect();
            }
            keys.push(of.into_boxed_slice());
            values.push(match &correlation.kind {
                Kind::ValueCount(fields) => Some(place(Shape {
                    fields: fields.clone(),
                    ipv6_prefix: 128,
                })),
                _ => None,
            });
        }
        Entities {
            hashes: Hashes::default(),
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

    fn hash(&mut self, number: usize, view: &View<'_>) -> Option<u64> {
        let known = self.known.get_mut(number)?;
        if known.event == self.event {
            return known.hash;
        }
        let shape = self.shapes.get(number)?;
        let mut hasher = self.hashes.build_hasher();
        let mut complete = true;
        for field in &shape.fields {
            if *field == Field::PathTemplate
                && let Some(path) = view.target.path
            {
                derived::hash_template(path, &mut hasher);
                continue;
            }
            match view.first(field) {
                Some(value) => hash_value(&value, field, shape.ipv6_prefix, &mut hasher),
                None => {
                    complete = false;
                    break;
                }
            }
        }
        *known = Known {
            event: self.event,
            hash: complete.then(|| hasher.finish()),
        };
        known.hash
    }
}
