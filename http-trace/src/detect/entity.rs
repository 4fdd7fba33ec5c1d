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
}

/// What is hashed: a field or a group of them, and what is known of it. Groups that begin alike share
/// their beginning.
#[derive(Debug)]
struct Shape {
    made: Made,
    /// Its number among those that follow from the target.
    of_target: Option<usize>,
}

/// Of what a shape is put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Made {
    /// Of no field: one and the same for all.
    Nothing,
    /// Of a part, by its place.
    Part(usize),
    /// Of a shorter group and one field more, which are shapes themselves.
    Both(usize, usize),
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
    shapes: Shapes,
    /// By correlation.
    keys: Vec<Keys>,
    /// For each correlation the shape of its distinct values.
    values: Vec<Option<usize>>,
    event: u64,
    /// Where the target of the event at hand is kept.
    target: Option<Place>,
    /// What is known of each shape of the event at hand, then of each target that is kept the shapes that
    /// follow from it.
    known: Vec<Known>,
}

impl Entities {
    /// For these correlations, in order.
    pub fn new(rules: &[std::sync::Arc<Rule>], correlations: &[Correlation]) -> Self {
        let mut shapes = Shapes::default();
        let mut keys = Vec::new();
        let mut values = Vec::new();
        for correlation in correlations {
            let ipv6_prefix = rules.get(correlation.rule).map_or(128, |r| r.ipv6_prefix);
            let mut of_input = |input: usize| {
                let fields = correlation.group_by.iter();
                let fields =
                    fields.filter_map(|group| group.of.get(input).or(group.of.first()).cloned());
                shapes.group(fields, ipv6_prefix)
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
                Kind::ValueCount(fields) => Some(shapes.group(fields.iter().cloned(), 128)),
                _ => None,
            });
        }
        Entities {
            hashes: Hashes::default(),
            known: vec![Known::default(); shapes.all.len() + MOST * shapes.of_target],
            shapes,
            keys,
            values,
            event: 0,
            target: None,
        }
    }

    /// Hashes like these from now on, so that what was counted under their keys goes on.
    pub fn hash_as(&mut self, hashes: Hashes) {
        self.hashes = hashes;
        self.known.fill(Known::default());
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
        let (at, since) = match (self.shapes.all.get(shape)?.of_target, self.target) {
            (Some(number), Some(place)) => {
                let first = self.shapes.all.len() + place.at() * self.shapes.of_target;
                (first + number, place.since())
            }
            _ => (shape, self.event),
        };
        let known = self.known.get(at)?;
        if known.since == since {
            return known.get();
        }
        let hash = self.put_together(shape, view);
        *self.known.get_mut(at)? = Known::of(since, hash);
        hash
    }

    #[inline(never)]
    fn put_together(&mut self, shape: usize, view: &View<'_>) -> Option<u64> {
        match self.shapes.all.get(shape)?.made {
            Made::Nothing => Some(0),
            Made::Part(part) => {
                let Part { field, ipv6_prefix } = self.shapes.parts.get(part)?;
                hash_field(&self.hashes, field, *ipv6_prefix, view)
            }
            Made::Both(group, field) => {
                let (group, field) = (self.hash(group, view)?, self.hash(field, view)?);
                Some(self.hashes.mix(group, field))
            }
        }
    }
}

/// All shapes, each once, and what they are made of.
#[derive(Debug, Default)]
struct Shapes {
    parts: Vec<Part>,
    all: Vec<Shape>,
    /// How many follow from the target.
    of_target: usize,
}

impl Shapes {
    /// The place of the shape of some fields.
    fn group(&mut self, fields: impl Iterator<Item = Field>, ipv6_prefix: u8) -> usize {
        let mut group = None;
        for field in fields {
            let field = self.field(field, ipv6_prefix);
            group = Some(match group {
                Some(group) => self.place(Made::Both(group, field)),
                None => field,
            });
        }
        group.unwrap_or_else(|| self.place(Made::Nothing))
    }

    fn field(&mut self, field: Field, ipv6_prefix: u8) -> usize {
        let ipv6_prefix = if field.is_address() { ipv6_prefix } else { 0 };
        let is_it = |part: &Part| part.field == field && part.ipv6_prefix == ipv6_prefix;
        let at = self.parts.iter().position(is_it).unwrap_or_else(|| {
            self.parts.push(Part { field, ipv6_prefix });
            self.parts.len() - 1
        });
        self.place(Made::Part(at))
    }

    fn place(&mut self, made: Made) -> usize {
        let there = self.all.iter().position(|shape| shape.made == made);
        there.unwrap_or_else(|| {
            let follows = self.follows_from_target(made);
            self.all.push(Shape {
                made,
                of_target: follows.then_some(self.of_target),
            });
            self.of_target += usize::from(follows);
            self.all.len() - 1
        })
    }

    fn follows_from_target(&self, made: Made) -> bool {
        let of_shape = |shape: usize| {
            let shape = self.all.get(shape);
            shape.is_some_and(|shape| shape.of_target.is_some())
        };
        match made {
            Made::Nothing => false,
            Made::Part(part) => {
                let part = self.parts.get(part);
                part.is_some_and(|part| part.field.is_of_target())
            }
            Made::Both(group, field) => of_shape(group) && of_shape(field),
        }
    }
}

/// The hash of what an event has under a field; what most correlations ask for first.
#[inline(never)]
pub fn hash_field(hashes: &Hashes, field: &Field, ipv6_prefix: u8, view: &View<'_>) -> Option<u64> {
    let address = |ip| hashes.number(network(ip, ipv6_prefix));
    Some(match field {
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
