//! A field table made ready for writing: keys with their punctuation, and which object each field is
//! in. Decides nothing about values.

use std::ops::Range;

use super::value::{Choices, append, is_written};
use http_trace_model::field::{Field, Get, Kind, View};

/// The record itself, as an object.
pub const ROOT: usize = 0;

/// The fields of a kind of record.
#[derive(Debug)]
pub struct Plan<R: 'static> {
    steps: Vec<Step<R>>,
    objects: Vec<Object>,
}

#[derive(Debug)]
struct Step<R: 'static> {
    get: Get<R>,
    kind: Kind,
    object: usize,
    /// `,"name":`
    key: Box<[u8]>,
}

#[derive(Debug)]
struct Object {
    name: &'static str,
    parent: usize,
    depth: usize,
    /// `,"name":{`
    key: Box<[u8]>,
}

impl<R> Plan<R> {
    /// Of a table, in its order.
    pub fn new(fields: impl IntoIterator<Item = &'static Field<R>>) -> Self {
        let mut plan = Plan {
            steps: Vec::new(),
            objects: vec![Object {
                name: "",
                parent: ROOT,
                depth: 0,
                key: Box::default(),
            }],
        };
        for field in fields {
            let Some(get) = field.get else { continue };
            let (object, key) = match (field.about.kind, field.about.parts()) {
                (Kind::Object, _) => (field.about.name, ""),
                (_, parts) => parts,
            };
            let object = plan.object(object);
            plan.steps.push(Step {
                get,
                kind: field.about.kind,
                object,
                key: format!(",\"{key}\":").into_bytes().into(),
            });
        }
        plan
    }

    /// The place of an object among the objects.
    fn object(&mut self, name: &'static str) -> usize {
        if let Some(at) = self.objects.iter().position(|object| object.name == name) {
            return at;
        }
        let (parent, key) = name.rsplit_once('.').unwrap_or(("", name));
        let parent = self.object(parent);
        self.objects.push(Object {
            name,
            parent,
            depth: self.objects[parent].depth + 1,
            key: format!(",\"{key}\":{{").into_bytes().into(),
        });
        self.objects.len() - 1
    }

    /// All its fields.
    pub const fn all(&self) -> Range<usize> {
        0..self.steps.len()
    }

    /// Appends fields to a record of which `open` is the object written last; returns which one is then.
    pub fn append(
        &self,
        steps: Range<usize>,
        mut open: usize,
        view: &mut View<'_, R>,
        choices: &Choices,
        out: &mut Vec<u8>,
    ) -> usize {
        for step in &self.steps[steps] {
            let Some(value) = (step.get)(view) else {
                continue;
            };
            if !is_written(step.kind, choices) {
                continue;
            }
            if step.object != open {
                self.turn(open, step.object, out);
                open = step.object;
            }
            if step.kind != Kind::Object {
                put_key(out, &step.key);
                view.escaped |= append(out, &value, step.kind, choices);
            }
        }
        open
    }

    /// Closes objects and opens others, so that `to` is the one written last.
    pub fn turn(&self, mut from: usize, to: usize, out: &mut Vec<u8>) {
        while !self.is_in(to, from) {
            out.push(b'}');
            from = self.objects[from].parent;
        }
        self.open(from, to, out);
    }

    fn open(&self, from: usize, to: usize, out: &mut Vec<u8>) {
        if to != from {
            self.open(from, self.objects[to].parent, out);
            put_key(out, &self.objects[to].key);
        }
    }

    /// Whether `inner` is `outer` or lies in it.
    fn is_in(&self, mut inner: usize, outer: usize) -> bool {
        while self.objects[inner].depth > self.objects[outer].depth {
            inner = self.objects[inner].parent;
        }
        inner == outer
    }
}

/// A key with a comma before it, which goes when it is the first in its object.
#[inline]
fn put_key(out: &mut Vec<u8>, key: &[u8]) {
    let first = matches!(out.last(), Some(b'{') | None);
    out.extend_from_slice(if first { &key[1..] } else { key });
}
