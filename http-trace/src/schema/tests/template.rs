//! The index template for Elasticsearch (`deploy/elastic/`): how each field of the records is indexed. Uses
//! the types of the Elastic Common Schema for its fields.

use serde_json::{Map, Value, json};

use crate::sink::counts::SUMMARY;
use crate::sink::json::ALERT;
use http_trace_model::field::event::{ECS_VERSION, EVENT};
use http_trace_model::field::loss::LOSS;
use http_trace_model::field::{About, Kind};

/// Fields whose ECS type differs from the default of their kind.
const OF_ECS: &[(&str, &str)] = &[
    ("http.response.body.content", "wildcard"),
    ("message", "match_only_text"),
    ("process.command_line", "wildcard"),
    ("related.ip", "ip"),
    ("url.original", "wildcard"),
    ("url.path", "wildcard"),
];

/// The template for `PUT _index_template/http-trace`.
pub fn template() -> String {
    let events = EVENT.iter().copied().flatten().map(|field| &field.about);
    let alerts = ALERT.iter().map(|field| &field.about);
    let losses = LOSS.iter().map(|field| &field.about);
    let mut properties = Map::new();
    let summaries = SUMMARY.iter().map(|field| &field.about);
    for about in events.chain(alerts).chain(losses).chain(summaries) {
        put(&mut properties, about);
    }
    let template = json!({
        "index_patterns": ["http-trace-*"],
        "priority": 200,
        "template": {
            "mappings": {
                "_meta": {"ecs_version": ECS_VERSION},
                "date_detection": false,
                "properties": properties
            }
        }
    });
    format!("{template:#}\n")
}

fn put(properties: &mut Map<String, Value>, about: &About) {
    let of_ecs = OF_ECS.iter().find(|(name, _)| *name == about.name);
    let how = match (of_ecs, about.kind) {
        (Some((_, kind)), _) => json!({"type": kind}),
        (None, Kind::Object) => return,
        // As a server declares it.
        (None, _) if about.name == "http_trace.content_length" => json!({"type": "unsigned_long"}),
        (None, Kind::Number(..) | Kind::Port) => json!({"type": "long"}),
        (None, Kind::Bool) => json!({"type": "boolean"}),
        (None, Kind::Ip) => json!({"type": "ip"}),
        (None, Kind::Time) => json!({"type": "date"}),
        // Their names are chosen by the sender.
        (None, Kind::RequestHeaders | Kind::ResponseHeaders | Kind::StatusCounts)
        | (None, Kind::LatencyCounts) => json!({"type": "flattened", "ignore_above": 1024}),
        (None, Kind::Rows(members, ..)) => {
            let mut properties = Map::new();
            for member in members {
                put(&mut properties, member);
            }
            json!({"properties": properties})
        }
        (None, _) => json!({"type": "keyword", "ignore_above": 1024}),
    };
    let (mut at, mut rest) = (properties, about.name);
    while let Some((object, inner)) = rest.split_once('.') {
        let entry = at.entry(object).or_insert_with(|| json!({"properties": {}}));
        let Some(Value::Object(inside)) = entry.get_mut("properties") else {
            return;
        };
        (at, rest) = (inside, inner);
    }
    at.insert(rest.to_owned(), how);
}
