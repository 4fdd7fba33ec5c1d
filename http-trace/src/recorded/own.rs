//! Converts our own json back to events, by the field table. Decides nothing about the meaning of values.

use serde_json::Value as Json;

use super::parts::{Line, address, time};
use crate::text::unescaped;
use http_trace_model::field::draft::Draft;
use http_trace_model::field::event::EVENT;
use http_trace_model::field::{About, Kind, Value};
use http_trace_model::head::Headers;

/// Parses a record; alerts and losses are not events.
pub(super) fn event(record: &Json) -> Result<Line, String> {
    match record.pointer("/event/kind").and_then(Json::as_str) {
        Some("event") => {}
        _ => return Ok(Line::Other),
    }
    let mut draft = Draft::default();
    let mut members = Members { record, parent: "", object: Some(record) };
    for field in EVENT.iter().copied().flatten() {
        let Some(read) = field.read else { continue };
        let name = field.about.name;
        match members.get(&field.about) {
            Some(json) => match value(json, field.about.kind) {
                Some(value) => read(&mut draft, value),
                None if field.about.strict => return Err(format!("malformed {name}")),
                None => {}
            },
            // Records made from an access log have no server.
            None if name == "destination.ip" && record.get("destination").is_some() => {
                return Err(format!("missing {name}"));
            }
            None => {}
        }
    }
    let event = draft.finish().map_err(|name| format!("missing {name}"))?;
    Ok(Line::Event(Box::new(event)))
}

/// Finds members of a record. Neighbours in the table are mostly members of one object, which is found once.
struct Members<'a> {
    record: &'a Json,
    /// Name of the object found last, and the object.
    parent: &'static str,
    object: Option<&'a Json>,
}

impl<'a> Members<'a> {
    fn get(&mut self, about: &About) -> Option<&'a Json> {
        let (parent, name) = about.parts();
        if parent != self.parent {
            (self.parent, self.object) = (parent, at(self.record, parent));
        }
        self.object?.get(name)
    }
}

/// The member with a dotted name; the record itself for an empty one.
fn at<'a>(record: &'a Json, name: &str) -> Option<&'a Json> {
    let mut names = name.split('.').filter(|name| !name.is_empty());
    names.try_fold(record, |object, name| object.get(name))
}

/// Converts a value of this kind; `None` for a value of another kind.
fn value(json: &Json, kind: Kind) -> Option<Value<'static>> {
    Some(match kind {
        Kind::Text | Kind::Pattern(_) | Kind::OneOf(_) | Kind::Constant(_) => wire(json)?,
        Kind::Number(least, most) => {
            let number = json.as_u64()?;
            (least..=most).contains(&number).then_some(Value::Number(number))?
        }
        Kind::Port => Value::Number(u16::try_from(json.as_u64()?).ok()?.into()),
        Kind::Bool => Value::Bool(json.as_bool()?),
        Kind::Ip => Value::Ip(address(json.as_str()?)?),
        Kind::Time => Value::Time(time(json.as_str()?)?),
        Kind::Id => Value::Id(u64::from_str_radix(json.as_str()?, 16).ok()?),
        Kind::Texts(_) | Kind::Set(_) | Kind::Flags => {
            Value::List(json.as_array()?.iter().filter_map(wire).collect())
        }
        Kind::RequestHeaders | Kind::ResponseHeaders => Value::MadeHeaders(Box::new(fields(json))),
        Kind::Rows(members, ..) => {
            let rows = json.as_array()?.iter().map(|json| row(json, members));
            Value::List(rows.collect::<Option<_>>()?)
        }
        Kind::Object | Kind::Tags(_) | Kind::StatusCounts | Kind::LatencyCounts => return None,
    })
}

/// Converts an object in a list; `None` if its status code is malformed.
fn row(json: &Json, members: &'static [About]) -> Option<Value<'static>> {
    let values = members.iter().map(|about| {
        let member = at(json, about.name).and_then(|json| value(json, about.kind));
        match member {
            None if about.kind == Kind::STATUS && about.always => None,
            member => Some(member),
        }
    });
    Some(Value::Row(members, values.collect::<Option<_>>()?))
}

/// Converts bytes from the wire, of which those that are not UTF-8 are written as `\xNN`.
fn wire(json: &Json) -> Option<Value<'static>> {
    Some(Value::Made(unescaped(json.as_str()?).into_owned()))
}

/// Converts `name → [value, …]` to header fields.
fn fields(object: &Json) -> Headers {
    let mut lines = Headers::default();
    for (name, values) in object.as_object().into_iter().flatten() {
        for value in values.as_array().into_iter().flatten().filter_map(Json::as_str) {
            lines.push(&unescaped(name), &unescaped(value));
        }
    }
    lines
}
