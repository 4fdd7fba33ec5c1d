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
use http_trace_model::known::to_lower;

/// A field that is hashed.
#[derive(Debug)]
struct Part {
    field: Field,
    /// Of addresses.
    ipv6_prefix: u8,
}

/// What is hashed: a field or a group of them. Groups that begin alike share their beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    number: u32,
    /// Its number among those that follow from the target; [`NOT_OF_TARGET`] if it does not.
    of_target: u32,
}

const NOT_OF_TARGET: u32 = u32::MAX;

impl Shape {
    const fn follows_from_target(self) -> bool {
        self.of_target != NOT_OF_TARGET
    }
}

/// Of what a shape is put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Made {
    /// Of no field: one and the same for all.
    Nothing,
    /// Of a part, by its place.
    Part(usize),
    /// Of a shorter group and one field more, which are shapes themselves.
    Both(Shape, Shape),
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
    of_first: Shape,
    /// Of each input, when they differ.
    by_input: Box<[Shape]>,
}

/// The entities of the event at hand, for a list of correlations.
#[derive(Debug)]
pub struct Entities {
    hashes: Hashes,
    shapes: Shapes,
    /// By correlation.
    keys: Vec<Keys>,
    /// For each correlation the shape of its distinct values.
    values: Vec<Option<Shape>>,
    event: u64,
    /// Of the target of the event at hand: where what is known of it begins, and since when that is of this
    /// target; 0 if it is not kept.
    of_target: usize,
    target_since: u64,
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
            let mut of: Vec<Shape> = inputs.map(&mut of_input).collect();
            let of_first = of.first().copied();
            let of_first = of_first.unwrap_or_else(|| shapes.place(Made::Nothing));
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
            known: vec![Known::default(); shapes.all.len() + MOST * shapes.of_target as usize],
            shapes,
            keys,
            values,
            event: 0,
            of_target: 0,
            target_since: 0,
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
    pub fn begin(&mut self, target: Option<Place>) {
        self.event += 1;
        (self.of_target, self.target_since) = (0, 0);
        if let Some(place) = target {
            self.of_target = self.shapes.all.len() + place.at() * self.shapes.of_target as usize;
            self.target_since = place.since();
        }
    }

    /// The hash of the event's group under a correlation to which it is the input of that number;
    /// `None` when the event lacks a field to group by.
    pub fn key(&mut self, correlation: usize, input: usize, view: &View<'_>) -> Option<u64> {
        let of = self.keys.get(correlation)?;
        let shape = of.by_input.get(input).copied().unwrap_or(of.of_first);
        self.hash(shape, view)
    }

    /// The shape of a correlation's keys, if it is one for all inputs.
    pub fn shape_of_keys(&self, correlation: usize) -> Option<Shape> {
        let of = self.keys.get(correlation)?;
        of.by_input.is_empty().then_some(of.of_first)
    }

    /// The shape of the values of which a correlation counts distinct ones, if it does.
    pub fn shape_of_values(&self, correlation: usize) -> Option<Shape> {
        *self.values.get(correlation)?
    }

    /// The hash of what the event has of a shape; `None` when it lacks a field of it.
    #[inline]
    pub fn hash(&mut self, shape: Shape, view: &View<'_>) -> Option<u64> {
        let (at, since) = if shape.follows_from_target() && self.target_since != 0 {
            (self.of_target + shape.of_target as usize, self.target_since)
        } else {
            (shape.number as usize, self.event)
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
    fn put_together(&mut self, shape: Shape, view: &View<'_>) -> Option<u64> {
        match self.shapes.all.get(shape.number as usize)?.0 {
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
    all: Vec<(Made, Shape)>,
    /// How many follow from the target.
    of_target: u32,
}

impl Shapes {
    /// The place of the shape of some fields.
    fn group(&mut self, fields: impl Iterator<Item = Field>, ipv6_prefix: u8) -> Shape {
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

    fn field(&mut self, field: Field, ipv6_prefix: u8) -> Shape {
        let ipv6_prefix = if field.is_address() { ipv6_prefix } else { 0 };
        let is_it = |part: &Part| part.field == field && part.ipv6_prefix == ipv6_prefix;
        let at = self.parts.iter().position(is_it).unwrap_or_else(|| {
            self.parts.push(Part { field, ipv6_prefix });
            self.parts.len() - 1
        });
        self.place(Made::Part(at))
    }

    fn place(&mut self, made: Made) -> Shape {
        if let Some((_, shape)) = self.all.iter().find(|(of, _)| *of == made) {
            return *shape;
        }
        let follows = self.follows_from_target(made);
        let shape = Shape {
            number: self.all.len() as u32,
            of_target: if follows {
                self.of_target
            } else {
                NOT_OF_TARGET
            },
        };
        self.of_target += u32::from(follows);
        self.all.push((made, shape));
        shape
    }

    fn follows_from_target(&self, made: Made) -> bool {
        match made {
            Made::Nothing => false,
            Made::Part(part) => {
                let part = self.parts.get(part);
                part.is_some_and(|part| part.field.is_of_target())
            }
            Made::Both(group, field) => group.follows_from_target() && field.follows_from_target(),
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
            other => other.with_text(|text| hashes.text(text, |word| word)),
        },
    })
}
