//! Loads of exchanges, each from a client of its own, and the rule that each raises.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// The n-th exchange: method, target, fields of the request, status, fields of the response, server.
pub type Exchange =
    (String, String, Vec<(&'static str, String)>, u16, Vec<(&'static str, String)>, u8);

pub fn exchange(
    method: &str,
    target: String,
    sent: &[(&'static str, &str)],
    status: u16,
    got: &[(&'static str, &str)],
) -> Exchange {
    let own = |fields: &[(&'static str, &str)]| {
        fields.iter().map(|(name, value)| (*name, (*value).to_owned())).collect()
    };
    (method.to_owned(), target, own(sent), status, own(got), 1)
}

/// The host of a target in absolute or authority form (RFC 9112 §3.2).
fn host(target: &str) -> &str {
    let authority = match target.strip_prefix("http://") {
        Some(rest) => rest.split('/').next(),
        None => target.strip_suffix(":443"),
    };
    authority.unwrap_or("h")
}

/// Clients of a proxy are inside.
fn address(client: usize, load: fn(usize) -> Exchange) -> String {
    let network = if host(&load(0).1) == "h" { "198.51.100" } else { "10.9.8" };
    format!("{network}.{client}")
}

/// What is done, how often a minute, the rule above informational that must say so, if any, and each exchange.
pub type Load = (&'static str, usize, Option<&'static str>, fn(usize) -> Exchange);

/// Panics unless each load raises its rule, or nothing above low.
pub fn check(loads: &[Load]) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("events.jsonl");
    let mut events = Vec::new();
    for (client, (_, per_minute, _, load)) in loads.iter().enumerate() {
        for n in 0..80_usize {
            let (method, target, sent, status, got, server) = load(n);
            let named = sent.iter().find(|(name, _)| *name == "host");
            let domain = named.map_or_else(|| host(&target).to_owned(), |(_, host)| host.clone());
            let fields = |fields: Vec<(&str, String)>| -> Value {
                fields
                    .into_iter()
                    .map(|(name, value)| (name, json!([value])))
                    .collect::<BTreeMap<_, _>>()
                    .into_iter()
                    .collect()
            };
            let length = got.iter().find(|(name, _)| *name == "content-length");
            let length: u64 = length.map_or(0, |(_, length)| length.parse().unwrap());
            let ms = n * 60_000 / per_minute;
            let at =
                format!("2026-11-24T10:{:02}:{:02}.{:03}Z", ms / 60_000, ms / 1000 % 60, ms % 1000);
            let event = json!({
                "@timestamp": at,
                "event": {"kind": "event"},
                "http_trace": {"missing": []},
                "source": {"ip": address(client, *load)},
                "destination": {"ip": format!("10.0.2.{server}"), "port": 1000 + client},
                "url": {"original": target, "domain": domain},
                "http": {
                    "request": {"method": method, "headers": fields(sent)},
                    "response": {
                        "status_code": status,
                        "headers": fields(got),
                        "body": {"bytes": length},
                    },
                },
            });
            events.push((ms, format!("{event}\n")));
        }
    }
    events.sort_by_key(|(ms, _)| *ms);
    std::fs::write(&file, events.into_iter().map(|(_, event)| event).collect::<String>()).unwrap();
    let ran = crate::command::run(&["detect", "-o", "json", file.to_str().unwrap()]);
    let alerts = crate::command::records(&ran.out);
    for (client, (what, _, expected, load)) in loads.iter().enumerate() {
        let of = |alert: &&Value| {
            let source =
                alert["http_trace"]["alert"]["clients"][0]["value"] == address(client, *load);
            source && alert["event"]["severity"].as_u64() > Some(2)
        };
        let mut ids: Vec<_> =
            alerts.iter().filter(of).filter_map(|a| a["rule"]["id"].as_str()).collect();
        ids.sort_unstable();
        ids.dedup();
        match expected {
            Some(rule) => assert!(ids.contains(rule), "{what}: {ids:?}"),
            None => assert!(ids.is_empty(), "{what}: {ids:?}"),
        }
    }
}
