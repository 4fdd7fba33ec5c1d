//! Generates the JSON Schema (draft 2020-12) of every record that `-o json` writes from the field tables. Performs no
//! I/O. The tests generate `docs/FIELDS.md` and the index template for Elasticsearch from the same tables.

use std::fmt::Write as _;

use crate::sink::counts::SUMMARY;
use crate::sink::json::ALERT;
use http_trace_model::field::event::EVENT;
use http_trace_model::field::loss::LOSS;
use http_trace_model::field::{About, Kind};

/// The schema that `http-trace schema` prints.
pub fn record() -> String {
    let events = EVENT.iter().copied().flatten().map(|field| &field.about);
    let alerts = ALERT.iter().map(|field| &field.about);
    let losses = LOSS.iter().map(|field| &field.about);
    let mut out = HEAD.to_owned();
    for (name, title, fields) in [
        ("event", "A response, or a request without one", events.collect()),
        ("alert", "An alert: a rule matched", alerts.collect()),
        ("loss", "A loss", losses.collect::<Vec<_>>()),
        (
            "summary",
            "Response counts of a service by status ('-o summary')",
            SUMMARY.iter().map(|field| &field.about).collect(),
        ),
    ] {
        let _ = write!(out, ",\n    \"{name}\": {{\"title\": \"{title}\", ");
        object(&mut out, &fields, "", 6);
        out.push('}');
    }
    out.push_str("\n  }\n}\n");
    out
}

const HEAD: &str = r##"{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "title": "http-trace record",
  "description": "One line of 'http-trace -o json' or '-o summary'. Text from the wire that is not UTF-8 holds \\xNN for each such byte (and \\x5c for a backslash that would read as one); the record then has the flag escaped_bytes.",
  "oneOf": [{"$ref": "#/$defs/event"}, {"$ref": "#/$defs/loss"}, {"$ref": "#/$defs/alert"}, {"$ref": "#/$defs/summary"}],
  "$defs": {
    "time": {"type": "string", "format": "date-time", "pattern": "^\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d\\.\\d{9}Z$"},
    "ip": {"type": "string", "anyOf": [{"format": "ipv4"}, {"format": "ipv6"}]},
    "headers": {"type": "object", "additionalProperties": {"type": "array", "items": {"type": "string"}, "minItems": 1}, "description": "Field name in lower case to its values, in the order they were sent."}"##;

/// Writes the members of an object's schema: the fields below `prefix`, in order.
fn object(out: &mut String, fields: &[&About], prefix: &str, indent: usize) {
    let mut names: Vec<&str> = Vec::new();
    for rest in fields.iter().filter_map(|about| about.name.strip_prefix(prefix)) {
        let name = rest.split('.').next().unwrap_or(rest);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    out.push_str("\"type\": \"object\", \"properties\": {");
    let mut required = Vec::new();
    for (at, name) in names.iter().enumerate() {
        let full = format!("{prefix}{name}");
        let own = fields.iter().find(|about| about.name == full);
        let comma = if at == 0 { "" } else { "," };
        let _ = write!(out, "{comma}\n{:indent$}{}: {{", "", quoted(name));
        match own {
            Some(about) if about.kind != Kind::Object => kind(out, about.kind, indent),
            _ => object(out, fields, &format!("{full}."), indent + 2),
        }
        if let Some(about) = own.filter(|about| !about.meaning.is_empty()) {
            let _ = write!(out, ", \"description\": {}", quoted(about.meaning));
        }
        out.push('}');
        if own.is_some_and(|about| about.always) {
            required.push(quoted(name));
        }
    }
    let required = required.join(", ");
    let _ = write!(out, "}}, \"required\": [{required}], \"additionalProperties\": false");
}

/// Writes the members of a value's schema.
fn kind(out: &mut String, kind: Kind, indent: usize) {
    let list = |words: &[&str]| {
        let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
        format!("[{}]", words.join(", "))
    };
    let _ = match kind {
        Kind::Object => return,
        Kind::Text => write!(out, "\"type\": \"string\""),
        Kind::Pattern(pattern) => text_like(out, pattern),
        Kind::OneOf(words) => write!(out, "\"enum\": {}", list(words)),
        Kind::Constant(word) => write!(out, "\"const\": {}", quoted(word)),
        Kind::Tags(lists) => {
            let lists: Vec<String> = lists.iter().map(|words| list(words)).collect();
            write!(out, "\"enum\": [{}]", lists.join(", "))
        }
        Kind::Number(least, u64::MAX) => write!(out, "\"type\": \"integer\", \"minimum\": {least}"),
        Kind::Number(least, most) => {
            write!(out, "\"type\": \"integer\", \"minimum\": {least}, \"maximum\": {most}")
        }
        Kind::Port => {
            write!(out, "\"type\": \"integer\", \"minimum\": 0, \"maximum\": {}", u16::MAX)
        }
        Kind::Bool => write!(out, "\"type\": \"boolean\""),
        Kind::Ip => write!(out, "\"$ref\": \"#/$defs/ip\""),
        Kind::Time => write!(out, "\"$ref\": \"#/$defs/time\""),
        Kind::Id => text_like(out, "^[0-9a-f]{16}$"),
        Kind::Texts(least) => write!(
            out,
            "\"type\": \"array\", \"items\": {{\"type\": \"string\"}}, \"minItems\": {least}"
        ),
        Kind::Set(words) => write!(
            out,
            "\"type\": \"array\", \"items\": {{\"enum\": {}}}, \"uniqueItems\": true",
            list(words)
        ),
        Kind::Flags => {
            out.push_str("\"type\": \"array\", \"items\": {");
            let _ = text_like(out, "^[a-z0-9_]+$");
            write!(out, "}}, \"uniqueItems\": true")
        }
        Kind::RequestHeaders | Kind::ResponseHeaders => {
            write!(out, "\"$ref\": \"#/$defs/headers\"")
        }
        Kind::Rows(members, least, most) => {
            out.push_str("\"type\": \"array\", \"items\": {");
            object(out, &members.iter().collect::<Vec<_>>(), "", indent + 2);
            let _ = write!(out, "}}, \"minItems\": {least}");
            match most {
                u64::MAX => return,
                most => write!(out, ", \"maxItems\": {most}"),
            }
        }
        Kind::LatencyCounts => write!(
            out,
            "\"type\": \"object\", \"patternProperties\": {{\"^([1-9][0-9]*|more)$\": \
             {{\"type\": \"integer\", \"minimum\": 1}}}}, \"additionalProperties\": false"
        ),
        Kind::StatusCounts => write!(
            out,
            "\"type\": \"object\", \"patternProperties\": {{\"^([1-9][0-9]{{2}}|none)$\": \
             {{\"type\": \"integer\", \"minimum\": 0}}}}, \"additionalProperties\": false"
        ),
    };
}

fn text_like(out: &mut String, pattern: &str) -> std::fmt::Result {
    write!(out, "\"type\": \"string\", \"pattern\": {}", quoted(pattern))
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    mod page;
    mod template;

    use self::page::page;
    use self::template::template;
    use super::*;
    use crate::redact::Secrets;
    use crate::sink::Style;
    use crate::sink::json::Json;
    use crate::sink::{Entry, Render};
    use http_trace_model::event::{Endpoint, Loss, LossUnit, Missing, NoResponse};
    use http_trace_samples as testing;

    /// After changing a table run `UPDATE=1 cargo test -p http-trace --lib schema`.
    #[test]
    fn generated_files_are_those_of_the_tables() {
        for (path, expected) in [
            ("/schema/record.schema.json", record()),
            ("/../docs/FIELDS.md", page()),
            ("/../deploy/elastic/index-template.json", template()),
        ] {
            let path = format!("{}{path}", env!("CARGO_MANIFEST_DIR"));
            if std::env::var_os("UPDATE").is_some() {
                std::fs::write(&path, expected).expect("written");
            } else {
                let is = std::fs::read_to_string(&path).expect("read");
                let how = "UPDATE=1 cargo test -p http-trace --lib schema";
                assert!(is == expected, "{path} is not that of the tables: run {how}");
            }
        }
    }

    fn validator() -> jsonschema::Validator {
        let schema = serde_json::from_str(&record()).expect("the schema is JSON");
        jsonschema::draft202012::meta::validate(&schema).expect("the schema is one");
        jsonschema::draft202012::options()
            .should_validate_formats(true)
            .build(&schema)
            .expect("the schema compiles")
    }

    #[test]
    fn records_are_as_the_schema_says() {
        let validator = validator();
        let mut json = Json::new(&Style::default());
        let mut events = vec![testing::event()];
        let mut bare = testing::event();
        (bare.request, bare.request_start_ns, bare.request_end_ns) = (None, None, None);
        (bare.egress, bare.response_bytes, bare.body_bytes) = (None, None, None);
        bare.missing = vec![Missing::Request, Missing::End];
        bare.server.ip = "2001:db8::1".parse().expect("an address");
        events.push(bare);
        let mut unanswered = testing::event();
        (unanswered.response, unanswered.no_response) = (None, Some(NoResponse::Reset));
        events.push(unanswered);
        let request = testing::request(
            "POST /x?y HTTP/1.0\r\nHost: h:8080\r\nReferer: http://a/\r\nX-Request-Id: 7\r\n\
             traceparent: 00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01\r\n\r\n",
        );
        let mut full =
            testing::event_of(request, testing::response("HTTP/1.1 299 \r\nA: b\r\n\r\n"));
        full.informational =
            vec![testing::response("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")];
        full.rules = ["http-path-scan".into()].into_iter().collect();
        full.flags = vec!["bare_lf", "obs_fold"];
        (full.nat_client, full.nat_server) = (Some(full.server), Some(full.client));
        full.forwarded = Some(http_trace_model::event::Forwarded {
            ip: "2001:db8::9".parse().expect("an address"),
            port: None,
        });
        events.push(full);
        // As from an access log, and from a recording without ports.
        let (mut logged, mut portless) = (testing::event(), testing::event());
        (logged.server, logged.client.port) = (Endpoint::NOBODY, 0);
        (portless.server.port, portless.client.port) = (0, 0);
        let mut anonymous = logged.clone();
        anonymous.client = Endpoint::NOBODY;
        events.extend([logged, portless, anonymous]);
        for event in &events {
            let mut out = Vec::new();
            json.event(&Entry { event, user: Some(b"alice\xff") }, &mut out);
            let record = serde_json::from_slice(&out).expect("JSON");
            let errors: Vec<String> =
                validator.iter_errors(&record).map(|e| e.to_string()).collect();
            assert!(errors.is_empty(), "{errors:#?}\n{record:#}");
        }
        let loss = Loss {
            count: 12,
            unit: LossUnit::Records,
            place: "ring_full",
            since_ns: 1,
            until_ns: testing::TIME_NS,
            detail: None,
        };
        for secrets in [None, Some(Secrets::default())] {
            let mut alert = http_trace_samples::alert();
            if let Some(secrets) = &secrets {
                secrets.redact_alert(&mut alert);
            }
            let mut out = Vec::new();
            json.alert(&alert, &mut out);
            let text = String::from_utf8(out).expect("UTF-8");
            assert_eq!(text.contains("hidden"), secrets.is_none());
            assert_eq!(text.matches(char::is_control).count(), 1, "its end of line");
            let record = serde_json::from_str(&text).expect("JSON");
            let errors: Vec<String> =
                validator.iter_errors(&record).map(|e| e.to_string()).collect();
            assert!(errors.is_empty(), "{errors:#?}\n{record:#}");
        }
        let mut out = Vec::new();
        json.loss(&loss, &mut out);
        let record = serde_json::from_slice(&out).expect("JSON");
        assert!(validator.is_valid(&record), "{record:#}");
    }

    #[test]
    fn a_name_that_is_not_in_the_table_is_refused() {
        let mut json = Json::new(&Style::default());
        let mut out = Vec::new();
        json.event(&Entry { event: &testing::event(), user: None }, &mut out);
        let mut record: serde_json::Value = serde_json::from_slice(&out).expect("JSON");
        record["http"]["response"]["made_up"] = 1.into();
        assert!(!validator().is_valid(&record));
    }
}
