//! Records against golden files and arbitrary bytes.

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::sink::choice::HeaderChoice;
use crate::sink::fields::Fields;
use crate::text::unescaped;
use http_trace_model::event::{LossUnit, Missing, NoResponse};
use http_trace_model::process::{Container, Owner, Pod, Process, Workload};
use http_trace_samples as testing;

fn json() -> Json {
    Json::new(&Style::default())
}

fn line(event: &HttpEvent) -> String {
    let mut out = Vec::new();
    json().event(&Entry { event, user: None }, &mut out);
    String::from_utf8(out).expect("UTF-8")
}

fn record(event: &HttpEvent) -> Value {
    serde_json::from_str(&line(event)).expect("JSON")
}

#[test]
fn golden() {
    let mut plain = Vec::new();
    json().event(&Entry { event: &testing::event(), user: Some(b"alice") }, &mut plain);
    let mut event = testing::event_of(
        testing::request(
            "CONNECT [2001:db8::2]:443 HTTP/1.1\r\nX-Request-Id: 7\r\n\
             traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n\r\n",
        ),
        testing::response("HTTP/1.0 200 \r\n\r\n"),
    );
    event.client.ip = "2001:db8::1".parse().expect("an address");
    event.informational =
        vec![testing::response("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nLink: </b>\r\n\r\n")];
    (event.complete, event.missing) = (false, vec![Missing::End]);
    (event.flags, event.egress) = (vec!["bare_lf", "obs_fold"], Some(false));
    event.response_end_ns = None;
    let loss = Loss {
        count: 12,
        unit: LossUnit::Records,
        place: "ring_full",
        since_ns: testing::TIME_NS - 1_000_000_000,
        until_ns: testing::TIME_NS,
        detail: None,
    };
    let mut out = plain;
    out.extend_from_slice(line(&event).as_bytes());
    json().loss(&loss, &mut out);
    insta::assert_snapshot!(String::from_utf8(out).expect("UTF-8"));
}

/// Every single field, alone and beside another, and all of them.
#[test]
fn chosen_fields_are_those_of_the_whole_record() {
    let event = testing::event();
    let whole = record(&event);
    let with = |fields: &str| {
        let style =
            Style { fields: Some(Fields::parse(fields).expect(fields)), ..Style::default() };
        let mut out = Vec::new();
        let mut json = Json::new(&style);
        for _ in 0..2 {
            out.clear();
            json.event(&Entry { event: &event, user: None }, &mut out);
        }
        serde_json::from_slice::<Value>(&out).expect(fields)
    };
    let at = |record: &Value, name: &str| {
        let path = format!("/{}", name.replace('.', "/"));
        record.pointer(&path).cloned()
    };
    for field in EVENT.iter().copied().flatten() {
        let name = field.about.name;
        if field.get.is_none() || field.about.kind == http_trace_model::field::Kind::Object {
            continue;
        }
        for beside in ["", ",url.path", ",source.ip,http_trace.hook"] {
            let chosen = with(&format!("{name}{beside}"));
            assert_eq!(at(&chosen, name), at(&whole, name), "{name}{beside}");
            assert_eq!(at(&chosen, "@timestamp"), at(&whole, "@timestamp"));
            assert_eq!(at(&chosen, "event.kind"), at(&whole, "event.kind"));
            assert!(chosen.to_string().len() < 600, "{chosen}");
        }
    }
    assert_eq!(with("*"), whole);
    let compact = with("compact").to_string();
    assert!(compact.len() < 450, "{}: {compact}", compact.len());
    let read = crate::recorded::Recorded::new(compact.as_bytes()).next();
    let read = read.expect("an event").expect("it is read back");
    assert_eq!((read.client.ip, read.server), (event.client.ip, event.server));
    assert_eq!(read.response.map(|r| r.status), Some(404));
}

/// Through the decoder, and as if it kept more of the word than it does.
#[test]
fn what_stands_for_a_version_holds_no_secret() {
    let sent = b"GET /a HTTP/1.1?access_token=SECRET\r\nHost: x\r\n\r\n";
    let (decoded, _) =
        http_trace_engine::http1::decode::request(&Bytes::from_static(sent), 0).expect("a head");
    let mut kept = decoded.clone();
    kept.target = Bytes::from_static(b"/a");
    kept.version = Some(Bytes::from_static(b"HTTP/1.1?access_token=SECRET"));
    for request in [decoded, kept] {
        let mut event = testing::event();
        event.request = Some(request);
        crate::redact::Secrets::default().redact(&mut event);
        let line = line(&event);
        assert!(!line.contains("SECRET"), "{line}");
        assert!(line.contains("HTTP/1.1?access_token=‹redacted:6 bytes›"), "{line}");
    }
}

#[test]
fn lines_of_one_field_stay_in_order_however_many_there_are() {
    for count in [3, 48, 49, 5000] {
        let mut lines: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        for n in 0..count {
            let name = if n % 3 == 0 { "Set-Cookie" } else { "set-cookie" };
            lines.push((name.into(), format!("v{n}").into_bytes()));
            lines.push((format!("X-{n}").into_bytes(), b"x".to_vec()));
        }
        let fields: Vec<(&[u8], &[u8])> = lines.iter().map(|(n, v)| (&n[..], &v[..])).collect();
        let mut event = testing::event();
        if let Some(response) = &mut event.response {
            response.headers = testing::headers(&fields);
        }
        let record = record(&event);
        let headers = &record["http"]["response"]["headers"];
        let expected: Vec<Value> = (0..count).map(|n| format!("v{n}").into()).collect();
        assert_eq!(headers["set-cookie"], Value::Array(expected), "{count}");
        assert_eq!(headers.as_object().map(|o| o.len()), Some(count + 1), "{count}");
    }
}

#[test]
fn bytes_that_are_no_utf8_are_flagged() {
    let mut event = testing::event();
    event.flags = vec!["bare_lf", "obs_fold"];
    assert_eq!(record(&event)["http_trace"]["flags"], serde_json::json!(["bare_lf", "obs_fold"]));
    if let Some(response) = &mut event.response {
        response.reason = Bytes::from_static(b"caf\xe9");
    }
    let record = record(&event);
    assert_eq!(record["http"]["response"]["status_phrase"], "caf\\xe9");
    assert_eq!(
        record["http_trace"]["flags"],
        serde_json::json!(["bare_lf", "escaped_bytes", "obs_fold"])
    );
}

#[test]
fn outcomes() {
    for (status, no_response, expected) in [
        (Some(101), None, "success"),
        (Some(399), None, "success"),
        (Some(400), None, "failure"),
        (Some(999), None, "failure"),
        (None, None, "unknown"),
        (None, Some(NoResponse::Timeout), "failure"),
    ] {
        let mut event = testing::event();
        match (&mut event.response, status) {
            (Some(response), Some(status)) => response.status = status,
            _ => event.response = None,
        }
        event.no_response = no_response;
        assert_eq!(record(&event)["event"]["outcome"], expected, "{status:?}");
    }
}

/// Folding the case after escaping made `\\X55` read as the byte 0x55.
#[test]
fn a_name_that_reads_as_an_escape_once_folded_stays_itself() {
    let mut event = testing::event();
    if let Some(response) = &mut event.response {
        response.headers = testing::headers(&[(b"\\X55", b"v"), (b"Content-Type", b"a/\\X55")]);
    }
    let response = &record(&event)["http"]["response"];
    assert_eq!(response["headers"]["\\x5cx55"][0], "v", "{response}");
    assert_eq!(response["mime_type"], "a/\\x5cx55");
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(
        prop_oneof![any::<u8>(), prop::sample::select(b"\\x5c\"\n:;=,\0".to_vec())],
        0..40,
    )
}

proptest! {
    /// Whatever the bytes are, the record is one line of JSON and gives them back.
    #[test]
    fn any_event_is_one_line_and_loses_nothing(
        target in bytes(), reason in bytes(), name in bytes(), value in bytes(), second in bytes(),
    ) {
        let mut event = testing::event();
        if let Some(request) = &mut event.request {
            request.target = target.clone().into();
        }
        if let Some(response) = &mut event.response {
            response.reason = reason.clone().into();
            response.headers = testing::headers(&[(&name, &value), (&name, &second)]);
        }
        let line = line(&event);
        prop_assert_eq!(line.find('\n'), Some(line.len() - 1));
        let record: Value = serde_json::from_str(&line).expect("JSON");
        let back = |v: &Value| v.as_str().map(|text| unescaped(text).into_owned());
        prop_assert_eq!(back(&record["url"]["original"]), Some(target));
        let response = &record["http"]["response"];
        prop_assert_eq!(back(&response["status_phrase"]), Some(reason));
        let headers = response["headers"].as_object().expect("an object");
        let (key, values) = headers.iter().next().expect("one field");
        prop_assert_eq!(unescaped(key).into_owned(), name.to_ascii_lowercase());
        prop_assert_eq!(back(&values[0]), Some(value));
        prop_assert_eq!(back(&values[1]), Some(second));
    }
}

/// Processes, some with the same address in memory as one that is gone.
fn process(number: u32) -> Option<Arc<Process>> {
    let text = |text: &str| Some(format!("{text}{number}").into());
    let pod = Pod {
        uid: "u".into(),
        name: text("web-"),
        labels: vec!["app=web".into()],
        owner: Some(Owner { kind: "Deployment".into(), name: "web".into() }),
        ..Pod::default()
    };
    let container =
        Container { id: "c".into(), name: text("\u{fffd}\"app"), ..Container::default() };
    let process = Process {
        pid: number,
        name: (!number.is_multiple_of(3)).then(|| format!("nginx{number}").into()),
        user_id: Some(33),
        workload: Workload {
            service: None,
            container: number.is_multiple_of(2).then_some(container),
            pod: (number % 4 < 2).then_some(pod),
        },
        ..Process::default()
    };
    (!number.is_multiple_of(5)).then(|| Arc::new(process))
}

#[test]
fn processes_are_written_as_if_each_were_the_first() {
    for (fields, request_headers) in [
        (None, HeaderChoice::None),
        (None, HeaderChoice::All),
        (Some("compact"), HeaderChoice::None),
        (Some("process.*"), HeaderChoice::None),
        (Some("http_trace.client.*,container.id"), HeaderChoice::None),
        (Some("url.*,http_trace.client.orchestrator.*"), HeaderChoice::All),
    ] {
        let style = Style {
            fields: fields.map(|text| Fields::parse(text).expect("fields")),
            request_headers,
            ..Style::default()
        };
        let mut json = Json::new(&style);
        let kept: Vec<_> = (0..7).map(process).collect();
        for number in 0..400_u32 {
            let mut event = testing::event();
            let one = |number: u32| match number % 3 {
                0 => process(number),
                _ => kept[number as usize % kept.len()].clone(),
            };
            event.server_process = one(number);
            event.client_process = one(number / 2 + 1);
            event.flags = vec!["bare_lf"; number as usize % 2];
            event.response = event.response.filter(|_| number % 7 != 0);
            let line = |json: &mut Json| {
                let mut out = Vec::new();
                let entry = Entry { event: &event, user: None };
                json.event(&entry, &mut out);
                String::from_utf8(out).expect("UTF-8")
            };
            let written = line(&mut json);
            assert_eq!(written, line(&mut Json::new(&style)));
            let read: Value = serde_json::from_str(&written).expect("JSON");
            if fields.is_none() {
                let pid = |process: &Option<Arc<Process>>| process.as_ref().map(|p| p.pid.into());
                assert_eq!(read["process"]["pid"].as_u64(), pid(&event.server_process));
                let client = &read["http_trace"]["client"]["process"]["pid"];
                assert_eq!(client.as_u64(), pid(&event.client_process));
            }
        }
    }
}
