//! The table of loss fields. Reads nothing but the loss.

use super::entry::{Field, always, field};
use super::event::ECS_VERSION;
use super::value::{Kind, Value};
use crate::constant;
use crate::event::{Loss, LossUnit};

pub const LOSS: &[Field<Loss>] = &[
    always("@timestamp", Kind::Time, "End of the interval in which the loss happened.")
        .get(|v| Some(Value::Time(v.record.until_ns))),
    always("ecs", Kind::Object, ""),
    always("ecs.version", Kind::Text, "").get(|_| Some(Value::word(ECS_VERSION))),
    always("event", Kind::Object, ""),
    constant!("event.kind", "pipeline_error"),
    always("event.category", Kind::Tags(&[&["network", "web"]]), "")
        .get(|_| Some(Value::Words(&["network", "web"]))),
    always("event.type", Kind::Tags(&[&["error"]]), "").get(|_| Some(Value::Words(&["error"]))),
    constant!("event.action", "responses-lost"),
    constant!("event.dataset", "http_trace.loss"),
    always("observer", Kind::Object, ""),
    always("observer.hostname", Kind::Text, "").get(|v| Some(Value::Text(v.hostname))),
    constant!("observer.type", "sensor"),
    always("observer.version", Kind::Text, "")
        .get(|_| Some(Value::word(env!("CARGO_PKG_VERSION")))),
    always("http_trace", Kind::Object, ""),
    always("http_trace.lost", Kind::Object, ""),
    always("http_trace.lost.count", Kind::Number(1, u64::MAX), "Amount lost.")
        .get(|v| Some(Value::Number(v.record.count))),
    always("http_trace.lost.unit", Kind::OneOf(&LossUnit::NAMES), "Unit of the amount.")
        .get(|v| Some(Value::word(v.record.unit.name()))),
    always("http_trace.lost.where", Kind::Text, "Stage and reason, such as `ring_full`.")
        .get(|v| Some(Value::word(v.record.place))),
    field(
        "http_trace.lost.detail",
        Kind::Text,
        "The interface, and the program that hides its packets.",
    )
    .get(|v| v.record.detail.as_ref().map(|detail| Value::Text(detail.as_bytes()))),
    always("http_trace.lost.since", Kind::Time, "Start of the interval.")
        .get(|v| Some(Value::Time(v.record.since_ns))),
    always("http_trace.lost.until", Kind::Time, "End of the interval.")
        .get(|v| Some(Value::Time(v.record.until_ns))),
];
