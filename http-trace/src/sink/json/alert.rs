//! The field table of alerts: ECS names, and `http_trace.alert.*` for what ECS does not have. Must not format values.

use http_trace_detect::alert::{Alert, Differs, Outcome};
use http_trace_detect::field::Field as RuleField;
use http_trace_detect::rule::{Origin, Threat};
use http_trace_model::constant;
use http_trace_model::field::event::ECS_VERSION;
use http_trace_model::field::{About, Field, Kind, Value, always, field};

const OBJECT: Kind = Kind::Object;
const NUMBER: Kind = Kind::NUMBER;

const ENTITY_TYPES: &[&str] = &["ip", "hostname", "user", "url", "user_agent", "value"];
const ENTITY: &[About] = &[
    About::new("role", Kind::Text, "", "").always(),
    About::new("type", Kind::OneOf(ENTITY_TYPES), "", "").always(),
    About::new("value", Kind::Text, "", "").always(),
];
const COUNTED: &[About] = &[
    About::new("value", Kind::Text, "", "").always(),
    About::new("count", NUMBER, "", "").always(),
];
const SAMPLE: &[About] = &[
    About::new("at", Kind::Time, "", "").always(),
    About::new("method", Kind::Text, "", "").always(),
    About::new("target", Kind::Text, "", "").always(),
    About::new("status_code", Kind::STATUS, "", ""),
    About::new("server", Kind::Text, "", ""),
];
const MOST_SEEN: Kind = Kind::Rows(COUNTED, 0, 8);

pub const ALERT: &[Field<Alert>] = &[
    always("@timestamp", Kind::Time, "When the state of the alert began.")
        .get(|v| Some(Value::Time(v.record.time_ns))),
    always("ecs", OBJECT, ""),
    always("ecs.version", Kind::Text, "").get(|_| Some(Value::word(ECS_VERSION))),
    always("event", OBJECT, ""),
    constant!("event.kind", "alert"),
    always("event.category", Kind::Tags(&[&["network", "web", "intrusion_detection"]]), "")
        .get(|_| Some(Value::Words(&["network", "web", "intrusion_detection"]))),
    always("event.type", Kind::Tags(&[&["info"]]), "").get(|_| Some(Value::Words(&["info"]))),
    constant!("event.action", "rule-matched"),
    constant!("event.dataset", "http_trace.alert"),
    always(
        "event.severity",
        Kind::Number(0, 10),
        "0 informational, 1–3 low, 4–6 medium, 7–8 high, 9–10 critical.",
    )
    .get(|v| Some(Value::Number(v.record.severity.score().into()))),
    always("event.start", Kind::Time, "").get(|v| Some(Value::Time(v.record.first_seen_ns))),
    always("event.end", Kind::Time, "").get(|v| Some(Value::Time(v.record.last_seen_ns))),
    always("event.id", Kind::Id, "The same for all states of one alert.")
        .get(|v| Some(Value::Id(v.record.id))),
    always("message", Kind::Text, "The rule's summary.")
        .get(|v| Some(Value::Made(v.record.message()))),
    always("rule", OBJECT, ""),
    always("rule.id", Kind::Text, "").get(|v| Some(Value::word(&v.record.rule.id))),
    always("rule.name", Kind::Text, "").get(|v| Some(Value::word(&v.record.rule.title))),
    field("rule.category", Kind::Text, "")
        .get(|v| v.record.rule.category.as_deref().map(Value::word)),
    field("rule.description", Kind::Text, "").get(|v| {
        let description = &v.record.rule.description;
        Some(Value::word(description)).filter(|_| !description.is_empty())
    }),
    field("rule.reference", Kind::Text, "")
        .get(|v| v.record.rule.references.first().map(|r| Value::word(r))),
    always("rule.ruleset", Kind::Text, "`built-in`, or the file that the rule is in.")
        .get(|v| {
            Some(match v.record.rule.origin {
                Origin::BuiltIn(_) => Value::word("built-in"),
                Origin::File(ref path) => made(path.display().to_string()),
            })
        }),
    field("rule.version", Kind::Text, "").get(|v| v.record.rule.version.as_deref().map(Value::word)),
    always("threat.framework", Kind::Constant("MITRE ATT&CK"), "")
        .get(|v| {
            let has_threat = v.record.rule.threat != Threat::default();
            has_threat.then_some(Value::word("MITRE ATT&CK"))
        }),
    always("threat.tactic.id", Kind::Texts(0), "")
        .get(|v| some_texts(&v.record.rule.threat.tactics)),
    field("threat.technique.id", Kind::Texts(0), "")
        .get(|v| some_texts(&v.record.rule.threat.techniques)),
    always("threat.technique.subtechnique.id", Kind::Texts(0), "")
        .get(|v| some_texts(&v.record.rule.threat.subtechniques)),
    always(
        "related",
        OBJECT,
        "Every address, host and user that the alert speaks of, so that records can be joined.",
    )
    .get(|_| Some(Value::Open)),
    field("related.ip", Kind::Texts(0), "").get(|v| {
        let (alert, mut ips) = (v.record, Vec::new());
        let seen = alert.clients.iter().chain(&alert.servers);
        let seen = seen.map(|(ip, _)| ip.to_string());
        let named = entities(alert, |field| {
            matches!(field, RuleField::ForwardedClient | RuleField::PeerIp)
        });
        for ip in seen.chain(named.map(|ip| String::from_utf8_lossy(ip).into_owned())) {
            if !ips.contains(&ip) {
                ips.push(ip);
            }
        }
        some_list(ips.into_iter().map(made))
    }),
    field("related.hosts", Kind::Texts(0), "").get(|v| {
        let hosts = v.record.hosts.iter().map(|(host, _)| &host[..]);
        let clients = v.record.entities.iter().filter(|entity| entity.kind() == "hostname");
        let clients = clients.filter(|entity| entity.shown.field == RuleField::ClientIp);
        let all = hosts.chain(clients.map(|entity| &entity.shown.value[..]));
        some_list(all.map(Value::Text))
    }),
    field("related.user", Kind::Texts(0), "").get(|v| {
        let mut users = Vec::new();
        for user in entities(v.record, |field| matches!(field, RuleField::UserName)) {
            if !users.contains(&user) {
                users.push(user);
            }
        }
        some_list(users.into_iter().map(Value::Text))
    }),
    always("http_trace", OBJECT, ""),
    always("http_trace.alert", OBJECT, ""),
    always("http_trace.alert.state", Kind::OneOf(&["opened", "updated", "ended"]), "")
        .get(|v| Some(Value::word(v.record.state.name()))),
    always("http_trace.alert.level", Kind::OneOf(&["informational", "low", "medium", "high", "critical"]), "")
        .get(|v| Some(Value::word(v.record.severity.level().name()))),
    always("http_trace.alert.entities", Kind::Rows(ENTITY, 0, u64::MAX), "What the alert is about.")
        .get(|v| {
            let entities = v.record.entities.iter();
            let rows = entities.map(|entity| {
                let values = [
                    Value::word(&entity.role),
                    Value::word(entity.kind()),
                    Value::Text(&entity.shown.value),
                ];
                Value::Row(ENTITY, values.map(Some).into())
            });
            Some(Value::List(rows.collect()))
        }),
    always("http_trace.alert.count", NUMBER, "Events counted.")
        .get(|v| Some(Value::Number(v.record.count))),
    field(
        "http_trace.alert.distinct",
        NUMBER,
        "Distinct values counted: exact up to the threshold, at least so many beyond.",
    )
    .get(|v| v.record.distinct.map(Value::Number)),
    always("http_trace.alert.threshold", NUMBER, "")
        .get(|v| Some(Value::Number(v.record.threshold))),
    always("http_trace.alert.window", NUMBER, "Seconds")
        .get(|v| Some(Value::Number(v.record.window_ns / 1_000_000_000))),
    always("http_trace.alert.first_seen", Kind::Time, "First event of the evidence, which begins at half of the threshold; event.start is the same.")
        .get(|v| Some(Value::Time(v.record.first_seen_ns))),
    always("http_trace.alert.last_seen", Kind::Time, "")
        .get(|v| Some(Value::Time(v.record.last_seen_ns))),
    always(
        "http_trace.alert.statuses",
        Kind::StatusCounts,
        "Status code, or none for no response, and how often",
    )
    .get(|v| {
        let counts = v.record.statuses.iter().map(|(status, count)| match status {
            0 => ("none".to_owned(), *count),
            status => (status.to_string(), *count),
        });
        Some(Value::Counts(counts.collect()))
    }),
    always("http_trace.alert.paths", MOST_SEEN, "Paths of the counted events, up to 8 of those seen most often. A count is a lower bound: evidence is gathered from half the threshold on, and a value that took the place of a rarer one is counted from then on.")
        .get(|v| counted(&v.record.paths, |path| Value::Text(path))),
    always("http_trace.alert.user_agents", MOST_SEEN, "User agents of the counted events, as paths.")
        .get(|v| counted(&v.record.user_agents, |agent| Value::Text(agent))),
    always("http_trace.alert.hosts", MOST_SEEN, "Hosts that the counted events asked for, as paths.")
        .get(|v| counted(&v.record.hosts, |host| Value::Text(host))),
    always("http_trace.alert.servers", MOST_SEEN, "Addresses of servers of the counted events, as paths.")
        .get(|v| counted(&v.record.servers, |ip| Value::Ip(*ip))),
    always("http_trace.alert.clients", MOST_SEEN, "Addresses of clients of the counted events, as paths.")
        .get(|v| counted(&v.record.clients, |ip| Value::Ip(*ip))),
    always("http_trace.alert.samples", Kind::Rows(SAMPLE, 0, 10), "Some of the counted events.")
        .get(|v| {
            let samples = v.record.samples.iter();
            let rows = samples.map(|sample| {
                let values = vec![
                    Some(Value::Time(sample.time_ns)),
                    Some(Value::Text(&sample.method)),
                    Some(Value::Text(&sample.target)),
                    sample.status.map(|status| Value::Number(status.into())),
                    sample.server.map(|server| made(server.to_string())),
                ];
                Value::Row(SAMPLE, values)
            });
            Some(Value::List(rows.collect()))
        }),
    field(
        "http_trace.alert.stands_for",
        Kind::Number(1, u64::MAX),
        "In an alert that is told in place of others of its rule: how many it stands for; count is how many there were, told or not.",
    )
    .get(|v| v.record.stands_for.map(Value::Number)),
    field(
        "http_trace.alert.statuses_differ",
        Kind::Set(&Differs::NAMES),
        "Why statuses do not add up to count, if they do not: from_half, the evidence begins at half of the threshold; from_before, it goes back further than the count; of_part, count is that of the part of the rule that counted most; between_updates, of a quiet rule there is no evidence between updates; rare_left_out, there were more different statuses than are kept.",
    )
    .get(|v| some_list(v.record.differs.iter().map(|why| Value::word(why.name())))),
    always("http_trace.alert.under_counted", Kind::Bool, "Whether something was lost in the time of the evidence.")
        .get(|v| Some(Value::Bool(v.record.under_counted))),
    always("http_trace.alert.proxy_suspected", Kind::Bool, "Whether the client looks like a proxy that many clients are behind.")
        .get(|v| Some(Value::Bool(v.record.proxy_suspected))),
    field("http_trace.alert.ban", OBJECT, "What became of the client, with --ban.")
        .get(|v| v.record.ban.is_some().then_some(Value::Open)),
    field("http_trace.alert.ban.client", Kind::Ip, "").get(|v| Some(Value::Ip(v.record.ban.as_ref()?.client))),
    field(
        "http_trace.alert.ban.outcome",
        Kind::OneOf(&Outcome::NAMES),
        "`banning`: the firewall was asked; `in_force`: it has confirmed; `dry_run` without --ban-for; `refused` with the reason.",
    )
    .get(|v| Some(Value::word(v.record.ban.as_ref()?.outcome.name()))),
    field("http_trace.alert.ban.seconds", NUMBER, "How long it is banned, or would be, or still is.")
        .get(|v| v.record.ban.as_ref()?.seconds.map(Value::Number)),
    field("http_trace.alert.ban.reason", Kind::Text, "Why it is not banned.")
        .get(|v| v.record.ban.as_ref()?.reason.map(Value::word)),
    always("observer", OBJECT, ""),
    always("observer.hostname", Kind::Text, "Name of the host that traced.")
        .get(|v| Some(Value::Text(v.hostname))),
    constant!("observer.type", "sensor"),
    always("observer.version", Kind::Text, "Version of http-trace.")
        .get(|_| Some(Value::word(env!("CARGO_PKG_VERSION")))),
];

const fn made(text: String) -> Value<'static> {
    Value::Made(text.into_bytes())
}

/// A list, unless it is empty.
fn some_list<'a>(values: impl Iterator<Item = Value<'a>>) -> Option<Value<'a>> {
    let values: Vec<_> = values.collect();
    (!values.is_empty()).then_some(Value::List(values))
}

fn some_texts(texts: &[String]) -> Option<Value<'_>> {
    some_list(texts.iter().map(|text| Value::word(text)))
}

fn counted<'a, T>(values: &'a [(T, u64)], shown: impl Fn(&'a T) -> Value<'a>) -> Option<Value<'a>> {
    let rows = values.iter().map(|(value, count)| {
        let values = vec![Some(shown(value)), Some(Value::Number(*count))];
        Value::Row(COUNTED, values)
    });
    Some(Value::List(rows.collect()))
}

/// Values of the entities with certain fields.
fn entities(alert: &Alert, is_wanted: impl Fn(&RuleField) -> bool) -> impl Iterator<Item = &[u8]> {
    let entities = alert.entities.iter();
    let wanted = entities.filter(move |entity| is_wanted(&entity.shown.field));
    wanted.map(|entity| &entity.shown.value[..])
}
