//! The JSON Schema (draft 2020-12) of every record that `-o json` writes. Kept by hand beside the
//! writer, and held against its output by a test.

/// The schema, as `http-trace schema` prints it.
pub const RECORD: &str = include_str!("../schema/record.schema.json");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redact::Secrets;
    use crate::sink::HeaderChoice;
    use crate::sink::json::Json;
    use crate::sink::{Entry, Render};
    use http_trace_model::event::{Endpoint, Loss, LossUnit, Missing, NoResponse};
    use http_trace_model::testing;

    fn validator() -> jsonschema::Validator {
        let schema = serde_json::from_str(RECORD).expect("the schema is JSON");
        jsonschema::draft202012::meta::validate(&schema).expect("the schema is one");
        jsonschema::draft202012::options()
            .should_validate_formats(true)
            .build(&schema)
            .expect("the schema compiles")
    }

    #[test]
    fn records_are_as_the_schema_says() {
        let validator = validator();
        let mut json = Json::new(HeaderChoice::All, HeaderChoice::All, b"host");
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
        full.informational = vec![testing::response(
            "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
        )];
        full.rules = vec!["http-path-scan".into()].into();
        full.flags = vec!["bare_lf", "obs_fold"];
        (full.nat_client, full.nat_server) = (Some(full.server), Some(full.client));
        full.forwarded = Some(http_trace_model::event::Forwarded {
            ip: "2001:db8::9".parse().expect("an address"),
            port: None,
        });
        events.push(full);
        // As of an access log, and of a recording without ports.
        let (mut logged, mut portless) = (testing::event(), testing::event());
        (logged.server, logged.client.port) = (Endpoint::NOBODY, 0);
        (portless.server.port, portless.client.port) = (0, 0);
        let mut anonymous = logged.clone();
        anonymous.client = Endpoint::NOBODY;
        events.extend([logged, portless, anonymous]);
        for event in &events {
            let mut out = Vec::new();
            json.event(
                &Entry {
                    event,
                    user: Some(b"alice\xff"),
                },
                &mut out,
            );
            let record = serde_json::from_slice(&out).expect("JSON");
            let errors: Vec<String> = validator
                .iter_errors(&record)
                .map(|e| e.to_string())
                .collect();
            assert!(errors.is_empty(), "{errors:#?}\n{record:#}");
        }
        let loss = Loss {
            count: 12,
            unit: LossUnit::Records,
            place: "ring_full",
            since_ns: 1,
            until_ns: testing::TIME_NS,
        };
        for secrets in [None, Some(Secrets::default())] {
            let mut alert = http_trace_detect::testing::alert();
            if let Some(secrets) = &secrets {
                secrets.redact_alert(&mut alert);
            }
            let mut out = Vec::new();
            json.alert(&alert, &mut out);
            let text = String::from_utf8(out).expect("UTF-8");
            assert_eq!(text.contains("hidden"), secrets.is_none());
            assert_eq!(text.matches(char::is_control).count(), 1, "its end of line");
            let record = serde_json::from_str(&text).expect("JSON");
            let errors: Vec<String> = validator
                .iter_errors(&record)
                .map(|e| e.to_string())
                .collect();
            assert!(errors.is_empty(), "{errors:#?}\n{record:#}");
        }
        let mut out = Vec::new();
        json.loss(&loss, &mut out);
        let record = serde_json::from_slice(&out).expect("JSON");
        assert!(validator.is_valid(&record), "{record:#}");
    }

    #[test]
    fn a_name_that_is_not_in_the_table_is_refused() {
        let mut json = Json::new(HeaderChoice::All, HeaderChoice::All, b"host");
        let mut out = Vec::new();
        json.event(
            &Entry {
                event: &testing::event(),
                user: None,
            },
            &mut out,
        );
        let mut record: serde_json::Value = serde_json::from_slice(&out).expect("JSON");
        record["http"]["response"]["made_up"] = 1.into();
        assert!(!validator().is_valid(&record));
    }
}
