//! The table of loss fields. Reads nothing but the loss.

use super::entry::Field;
use super::event::ECS_VERSION;
use super::value::{About, Kind, Value};
use crate::constant;
use crate::event::{Loss, LossUnit};

/// An entry; where its value comes from is not shown.
const fn field(name: &'static str, kind: Kind, meaning: &'static str) -> Field<Loss> {
    Field::new(About::new(name, kind, "", meaning)).always()
}

pub const LOSS: &[Field<Loss>] = &[
    field("@timestamp", Kind::Time, "End of the interval in which the loss happened.")
        .get(|v| Some(Value::Time(v.record.until_ns))),
    field("ecs", Kind::Object, ""),
    field("ecs.version", Kind::Text, "").get(|_| Some(Value::word(ECS_VERSION))),
    field("event", Kind::Object, ""),
    constant!("event.kind", "pipeline_error"),
    field("event.category", Kind::Tags(&[&["network", "web"]]), "")
        .get(|_| Some(Value::Words(&["network", "web"]))),
    field("event.type", Kind::Tags(&[&["error"]]), "").get(|_| Some(Value::Words(&["error"]))),
    constant!("event.action", "responses-lost"),
    constant!("event.dataset", "http_trace.loss"),
    field("observer", Kind::Object, ""),
    field("observer.hostname", Kind::Text, "").get(|v| Some(Value::Text(v.hostname))),
    constant!("observer.type", "sensor"),
    field("observer.version", Kind::Text, "").get(|_| Some(Value::word(env!("CARGO_PKG_VERSION")))),
    field("http_trace", Kind::Object, ""),
    field("http_trace.lost", Kind::Object, ""),
    field("http_trace.lost.count", Kind::Number(1, u64::MAX), "Amount lost.")
        .get(|v| Some(Value::Number(v.record.count))),
    field("http_trace.lost.unit", Kind::OneOf(&LossUnit::NAMES), "Unit of the amount.")
        .get(|v| Some(Value::word(v.record.unit.name()))),
    field("http_trace.lost.where", Kind::Text, "Stage and reason, such as `ring_full`.")
        .get(|v| Some(Value::word(v.record.place))),
    Field::new(About::new(
        "http_trace.lost.detail",
        Kind::Text,
        "",
        "The interface, and the program that hides its packets.",
    ))
    .get(|v| v.record.detail.as_ref().map(|detail| Value::Text(detail.as_bytes()))),
    field("http_trace.lost.since", Kind::Time, "Start of the interval.")
        .get(|v| Some(Value::Time(v.record.since_ns))),
    field("http_trace.lost.until", Kind::Time, "End of the interval.")
        .get(|v| Some(Value::Time(v.record.until_ns))),
];
