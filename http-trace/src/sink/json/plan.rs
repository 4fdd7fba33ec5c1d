//! A field table prepared for writing: keys with punctuation, the text between fields of different objects, and
//! constant values. Must not format values.

use std::cell::OnceCell;
use std::ops::Range;

use super::value::{Choices, append, is_written};
use http_trace_model::field::{Field, Get, Kind, View};

/// The record itself, as an object.
pub const ROOT: usize = 0;

/// The fields of one kind of record.
#[derive(Debug)]
pub struct Plan<R: 'static> {
    steps: Vec<Step<R>>,
    objects: Vec<Object>,
    /// Text that closes one object and opens another, indexed by both: `},"name":{`. Made on first use: few of
    /// all pairs occur.
    turns: Vec<OnceCell<Box<[u8]>>>,
}

#[derive(Debug)]
struct Step<R: 'static> {
    get: Get<R>,
    kind: Kind,
    object: usize,
    /// `,"name":`
    key: Box<[u8]>,
    /// For a value that is the same in all records of a run: key and value, once written.
    of_run: Option<OnceCell<Box<[u8]>>>,
}

#[derive(Debug)]
struct Object {
    name: &'static str,
    parent: usize,
    depth: usize,
}

impl<R> Plan<R> {
    /// A plan in the order of the table, without header fields that are not chosen. If nested, a dot in a name
    /// begins a member of an object.
    pub fn new(
        fields: impl IntoIterator<Item = &'static Field<R>>,
        choices: &Choices,
        nested: bool,
    ) -> Self {
        let mut objects = vec![Object { name: "", parent: ROOT, depth: 0 }];
        let mut steps = Vec::new();
        for Field { about, get, .. } in fields {
            let Some(get) = get.filter(|_| is_written(about.kind, choices)) else {
                continue;
            };
            let (object, key) = match (about.kind, about.parts()) {
                (Kind::Object, _) => (about.name, ""),
                (_, parts) if nested => parts,
                _ => ("", about.name),
            };
            steps.push(Step {
                get,
                kind: about.kind,
                object: place(&mut objects, object),
                key: format!(",\"{key}\":").into_bytes().into(),
                of_run: about.of_run.then(OnceCell::new),
            });
        }
        Plan { steps, turns: vec![OnceCell::new(); objects.len() * objects.len()], objects }
    }

    pub const fn all(&self) -> Range<usize> {
        0..self.steps.len()
    }

    /// Appends fields to a record in which the object `open` is open; returns the object that is open afterwards.
    pub fn append(
        &self,
        steps: Range<usize>,
        mut open: usize,
        view: &mut View<'_, R>,
        choices: &Choices,
        out: &mut Vec<u8>,
    ) -> usize {
        for step in &self.steps[steps] {
            let kept = step.of_run.as_ref().and_then(OnceCell::get);
            if let Some(text) = kept {
                self.turn(open, step.object, out);
                open = step.object;
                put(out, text);
                continue;
            }
            let Some(value) = (step.get)(view) else { continue };
            if step.object != open {
                self.turn(open, step.object, out);
                open = step.object;
            }
            if matches!(step.kind, Kind::Object) {
                continue;
            }
            let start = out.len();
            put(out, &step.key);
            view.escaped |= append(out, value, step.kind, choices);
            if let Some(keep) = &step.of_run {
                let text = &out[start..];
                let text = text.strip_prefix(b",").unwrap_or(text);
                keep.get_or_init(|| [b",", text].concat().into());
            }
        }
        open
    }

    /// Closes and opens objects, from `from` to `to`.
    pub fn turn(&self, from: usize, to: usize, out: &mut Vec<u8>) {
        let objects = &self.objects;
        let text = &self.turns[from * objects.len() + to];
        put(out, text.get_or_init(|| turn(objects, from, to)));
    }
}

/// Index of an object, which is added if it is new.
fn place(objects: &mut Vec<Object>, name: &'static str) -> usize {
    if let Some(at) = objects.iter().position(|object| object.name == name) {
        return at;
    }
    let parent = place(objects, name.rsplit_once('.').map_or("", |(parent, _)| parent));
    let depth = objects[parent].depth + 1;
    objects.push(Object { name, parent, depth });
    objects.len() - 1
}

/// Text that closes one object and opens another.
fn turn(objects: &[Object], mut from: usize, to: usize) -> Box<[u8]> {
    let mut text = Vec::new();
    let mut opened = to;
    let mut keys = Vec::new();
    while opened != from {
        // The deeper of the two is not the common ancestor.
        if objects[opened].depth > objects[from].depth {
            let name = objects[opened].name;
            keys.push(name.rsplit_once('.').map_or(name, |(_, key)| key));
            opened = objects[opened].parent;
        } else {
            text.push(b'}');
            from = objects[from].parent;
        }
    }
    for (nth, key) in keys.into_iter().rev().enumerate() {
        let comma = if nth == 0 { "," } else { "" };
        text.extend_from_slice(format!("{comma}\"{key}\":{{").as_bytes());
    }
    text.into()
}

/// Text that may begin with a comma, which goes where it is the first in its object.
#[inline]
pub fn put(out: &mut Vec<u8>, text: &[u8]) {
    let is_first = matches!(out.last(), Some(b'{') | None);
    out.extend_from_slice(match text {
        [b',', rest @ ..] if is_first => rest,
        _ => text,
    });
}
