//! The table of loss fields. Reads nothing but the loss.

use super::entry::Field;
use super::event::ECS_VERSION;
use super::value::{About, Kind, Value};
use crate::event::{Loss, LossUnit};

const fn field(
    name: &'static str,
    kind: Kind,
    source: &'static str,
    meaning: &'static str,
) -> Field<Loss> {
    Field::new(About::new(name, kind, source, meaning)).always()
}

/// All fields of a loss.
pub const LOSS: &[Field<Loss>] = &[
    field(
        "@timestamp",
        Kind::Time,
        "clock of the capture",
        "End of the interval in which the loss happened.",
    )
    .get(|v| Some(Value::Time(v.record.until_ns))),
    field("ecs", Kind::Object, "", ""),
    field("ecs.version", Kind::Text, "constant", "").get(|_| Some(Value::word(ECS_VERSION))),
    field("event", Kind::Object, "", ""),
    field(
        "event.kind",
        Kind::Constant("pipeline_error"),
        "constant",
        "",
    )
    .get(|_| Some(Value::word("pipeline_error"))),
    field(
        "event.category",
        Kind::Tags(&[&["network", "web"]]),
        "constant",
        "",
    )
    .get(|_| Some(Value::Words(&["network", "web"]))),
    field("event.type", Kind::Tags(&[&["error"]]), "constant", "")
        .get(|_| Some(Value::Words(&["error"]))),
    field(
        "event.action",
        Kind::Constant("responses-lost"),
        "constant",
        "",
    )
    .get(|_| Some(Value::word("responses-lost"))),
    field(
        "event.dataset",
        Kind::Constant("http_trace.loss"),
        "constant",
        "",
    )
    .get(|_| Some(Value::word("http_trace.loss"))),
    field("observer", Kind::Object, "", ""),
    field("observer.hostname", Kind::Text, "agent", "").get(|v| Some(Value::Text(v.hostname))),
    field("observer.type", Kind::Constant("sensor"), "constant", "")
        .get(|_| Some(Value::word("sensor"))),
    field("observer.version", Kind::Text, "agent", "")
        .get(|_| Some(Value::word(env!("CARGO_PKG_VERSION")))),
    field("http_trace", Kind::Object, "", ""),
    field("http_trace.lost", Kind::Object, "", ""),
    field(
        "http_trace.lost.count",
        Kind::Number(1, u64::MAX),
        "counter",
        "Amount lost.",
    )
    .get(|v| Some(Value::Number(v.record.count))),
    field(
        "http_trace.lost.unit",
        Kind::OneOf(&LossUnit::NAMES),
        "counter",
        "Unit of the amount.",
    )
    .get(|v| Some(Value::word(v.record.unit.name()))),
    field(
        "http_trace.lost.where",
        Kind::Text,
        "counter",
        "Stage and reason, such as `ring_full`.",
    )
    .get(|v| Some(Value::word(v.record.place))),
    Field::new(About::new(
        "http_trace.lost.detail",
        Kind::Text,
        "kernel",
        "The interface, and the program that hides its packets.",
    ))
    .get(|v| {
        v.record
            .detail
            .as_ref()
            .map(|detail| Value::Text(detail.as_bytes()))
    }),
    field(
        "http_trace.lost.since",
        Kind::Time,
        "clock of the capture",
        "Start of the interval.",
    )
    .get(|v| Some(Value::Time(v.record.since_ns))),
    field(
        "http_trace.lost.until",
        Kind::Time,
        "clock of the capture",
        "End of the interval.",
    )
    .get(|v| Some(Value::Time(v.record.until_ns))),
];
