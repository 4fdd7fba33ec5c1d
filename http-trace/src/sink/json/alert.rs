//! Alerts as ECS has them (`event.kind: "alert"`, `rule.*`, `threat.*`, `related.*`); what ECS has
//! no name for is under `http_trace.alert`.

use std::net::IpAddr;

use super::object::{comma, hex16, key, number, open, put_key, time, word};
use crate::text::json_string;
use http_trace_detect::alert::Alert;
use http_trace_detect::field::Field;
use http_trace_detect::rule::{Origin, Threat};

/// The members of an alert's record, into an object that is open.
pub fn members(out: &mut Vec<u8>, alert: &Alert) {
    let rule = &alert.rule;
    open!(out, "event");
    out.extend_from_slice(
        br#""kind":"alert","category":["network","web","intrusion_detection"],"type":["info"]"#,
    );
    out.extend_from_slice(br#","action":"rule-matched","dataset":"http_trace.alert""#);
    number!(out, "severity", u64::from(alert.severity.score()));
    time!(out, "start", alert.first_seen_ns);
    time!(out, "end", alert.last_seen_ns);
    key!(out, "id");
    hex16(out, alert.id);
    out.push(b'}');
    key!(out, "message");
    json_string(out, &alert.message());

    open!(out, "rule");
    text(out, ",\"id\":", rule.id.as_bytes());
    text(out, ",\"name\":", rule.title.as_bytes());
    if let Some(category) = &rule.category {
        text(out, ",\"category\":", category.as_bytes());
    }
    if !rule.description.is_empty() {
        text(out, ",\"description\":", rule.description.as_bytes());
    }
    if let Some(reference) = rule.references.first() {
        text(out, ",\"reference\":", reference.as_bytes());
    }
    let ruleset = match rule.origin {
        Origin::BuiltIn(_) => "built-in".to_owned(),
        Origin::File(ref path) => path.display().to_string(),
    };
    text(out, ",\"ruleset\":", ruleset.as_bytes());
    if let Some(version) = &rule.version {
        text(out, ",\"version\":", version.as_bytes());
    }
    out.push(b'}');

    threat(out, &rule.threat);
    related(out, alert);

    open!(out, "http_trace");
    open!(out, "alert");
    word!(out, "state", alert.state.name());
    word!(out, "level", alert.severity.level().name());
    key!(out, "entities");
    list(out, &alert.entities, |out, entity| {
        out.push(b'{');
        text(out, ",\"role\":", entity.role.as_bytes());
        word!(out, "type", entity.kind());
        text(out, ",\"value\":", &entity.shown.value);
        out.push(b'}');
    });
    number!(out, "count", alert.count);
    if let Some(distinct) = alert.distinct {
        number!(out, "distinct", distinct);
    }
    number!(out, "threshold", alert.threshold);
    number!(out, "window", alert.window_ns / 1_000_000_000);
    time!(out, "first_seen", alert.first_seen_ns);
    time!(out, "last_seen", alert.last_seen_ns);
    open!(out, "statuses");
    for (status, count) in &alert.statuses {
        let name = match status {
            0 => "none".to_owned(),
            status => status.to_string(),
        };
        comma(out);
        json_string(out, name.as_bytes());
        out.push(b':');
        super::object::decimal(out, *count);
    }
    out.push(b'}');
    for (key, values) in [
        (",\"paths\":", &alert.paths),
        (",\"user_agents\":", &alert.user_agents),
    ] {
        put_key(out, key);
        list(out, values, |out, (value, count)| {
            counted(out, value, *count)
        });
    }
    for (key, values) in [
        (",\"servers\":", &alert.servers),
        (",\"clients\":", &alert.clients),
    ] {
        put_key(out, key);
        list(out, values, |out, (ip, count)| {
            counted(out, ip.to_string().as_bytes(), *count);
        });
    }
    key!(out, "samples");
    list(out, &alert.samples, |out, sample| {
        out.push(b'{');
        time!(out, "at", sample.time_ns);
        text(out, ",\"method\":", &sample.method);
        text(out, ",\"target\":", &sample.target);
        if let Some(status) = sample.status {
            number!(out, "status_code", u64::from(status));
        }
        if let Some(server) = sample.server {
            text(out, ",\"server\":", server.to_string().as_bytes());
        }
        out.push(b'}');
    });
    for (key, yes) in [
        (",\"under_counted\":", alert.under_counted),
        (",\"proxy_suspected\":", alert.proxy_suspected),
    ] {
        put_key(out, key);
        out.extend_from_slice(if yes { b"true" } else { b"false" });
    }
    out.extend_from_slice(b"}}");
}

fn text(out: &mut Vec<u8>, key: &'static str, value: &[u8]) {
    put_key(out, key);
    json_string(out, value);
}

fn list<T>(out: &mut Vec<u8>, values: &[T], item: impl Fn(&mut Vec<u8>, &T)) {
    out.push(b'[');
    for value in values {
        comma(out);
        item(out, value);
    }
    out.push(b']');
}

fn counted(out: &mut Vec<u8>, value: &[u8], count: u64) {
    out.push(b'{');
    text(out, ",\"value\":", value);
    number!(out, "count", count);
    out.push(b'}');
}

fn threat(out: &mut Vec<u8>, threat: &Threat) {
    if *threat == Threat::default() {
        return;
    }
    open!(out, "threat");
    word!(out, "framework", "MITRE ATT&CK");
    let array = |out: &mut Vec<u8>, ids: &[String]| {
        list(out, ids, |out, id| {
            json_string(out, id.as_bytes());
        });
    };
    if !threat.tactics.is_empty() {
        open!(out, "tactic");
        key!(out, "id");
        array(out, &threat.tactics);
        out.push(b'}');
    }
    if !threat.techniques.is_empty() || !threat.subtechniques.is_empty() {
        open!(out, "technique");
        if !threat.techniques.is_empty() {
            key!(out, "id");
            array(out, &threat.techniques);
        }
        if !threat.subtechniques.is_empty() {
            open!(out, "subtechnique");
            key!(out, "id");
            array(out, &threat.subtechniques);
            out.push(b'}');
        }
        out.push(b'}');
    }
    out.push(b'}');
}

/// Every address, host and user that the alert speaks of, so that records can be joined.
fn related(out: &mut Vec<u8>, alert: &Alert) {
    let mut ips: Vec<String> = Vec::new();
    let mut hosts: Vec<&[u8]> = Vec::new();
    let mut users: Vec<&[u8]> = Vec::new();
    let seen = alert.clients.iter().chain(&alert.servers);
    for ip in seen.map(|(ip, _): &(IpAddr, u64)| ip.to_string()) {
        if !ips.contains(&ip) {
            ips.push(ip);
        }
    }
    for (host, _) in &alert.hosts {
        hosts.push(host);
    }
    for entity in &alert.entities {
        let value = &entity.shown.value[..];
        match entity.shown.field {
            Field::UserName if !users.contains(&value) => users.push(value),
            Field::ForwardedClient | Field::PeerIp => {
                let ip = String::from_utf8_lossy(value).into_owned();
                if !ips.contains(&ip) {
                    ips.push(ip);
                }
            }
            _ => {}
        }
    }
    open!(out, "related");
    if !ips.is_empty() {
        key!(out, "ip");
        list(out, &ips, |out, ip| {
            json_string(out, ip.as_bytes());
        });
    }
    for (key, values) in [(",\"hosts\":", &hosts), (",\"user\":", &users)] {
        if !values.is_empty() {
            put_key(out, key);
            list(out, values, |out, value| {
                json_string(out, value);
            });
        }
    }
    out.push(b'}');
}
