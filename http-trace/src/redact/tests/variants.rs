//! Checks the labelled table of secrets through every sink.

use crate::redact::*;
use crate::sink::{Entry, Format, Style};
use http_trace_detect::alert::Entity;
use http_trace_samples as testing;

const TABLE: &str = include_str!("../variants.tsv");

struct Variant<'a> {
    personal: bool,
    place: &'a str,
    /// As sent, and as it must be written.
    sent: String,
    expected: String,
    secrets: Vec<String>,
}

fn variants() -> impl Iterator<Item = Variant<'static>> {
    let lines = TABLE.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| {
        let (place, text) = line.split_once('\t').expect("a tab");
        let text = text.replace('␤', "\n").replace('␍', "\r").replace('␋', "\u{b}");
        let (mut expected, mut secrets) = (String::new(), Vec::new());
        let mut rest = &text[..];
        while let Some((shown, marked)) = rest.split_once('«') {
            let (secret, after) = marked.split_once('»').expect("an end");
            expected.push_str(shown);
            expected.push_str(&String::from_utf8(redacted(secret.as_bytes())).expect("UTF-8"));
            secrets.push(secret.to_owned());
            rest = after;
        }
        expected.push_str(rest);
        let personal = place.strip_prefix("personal ");
        Variant {
            personal: personal.is_some(),
            place: personal.unwrap_or(place),
            sent: text.replace(['«', '»'], ""),
            expected,
            secrets,
        }
    })
}

/// The event of a variant, and the user of its credentials.
fn event(variant: &Variant<'_>) -> (HttpEvent, Option<Vec<u8>>) {
    let (mut event, mut user) = (testing::event(), None);
    let text = Bytes::from(variant.sent.clone());
    let request = event.request.as_mut().expect("a request");
    let response = event.response.as_mut().expect("a response");
    match variant.place {
        "target" => request.target = text,
        "body" => event.body_snippet = Some(text),
        "reason" => response.reason = text,
        "user" => user = Some(text.to_vec()),
        name => {
            let lines: &[(&[u8], &[u8])] = &[(b"X-Beside", b"x"), (name.as_bytes(), &text)];
            request.headers = testing::headers(lines);
            response.headers = testing::headers(lines);
        }
    }
    (event, user)
}

/// What the event contains at the variant's place.
fn shown(variant: &Variant<'_>, event: &HttpEvent, user: Option<&[u8]>) -> String {
    let request = event.request.as_ref().expect("a request");
    let response = event.response.as_ref().expect("a response");
    let bytes = match variant.place {
        "target" => &request.target,
        "body" => event.body_snippet.as_deref().expect("a body"),
        "reason" => &response.reason,
        "user" => user.expect("a user"),
        name => {
            let first = request.headers.first(&name.to_ascii_lowercase());
            assert_eq!(first, response.headers.first(&name.to_ascii_lowercase()));
            first.expect("a field")
        }
    };
    String::from_utf8_lossy(bytes).into_owned()
}

/// An alert that contains the variant wherever possible.
fn alert(variant: &Variant<'_>, like: &Alert) -> Option<Alert> {
    let text = variant.sent.as_bytes().to_vec();
    let field = match variant.place {
        "target" => Field::Target,
        "body" => Field::BodyContent,
        "user" => Field::UserName,
        "reason" => return None,
        name => Field::RequestHeader(name.to_ascii_lowercase().into()),
    };
    let mut alert = like.clone();
    match variant.place {
        "target" => {
            alert.paths = vec![(text.clone(), 1)];
            alert.samples[0].target.clone_from(&text);
        }
        "Host" => alert.hosts = vec![(text.clone(), 1)],
        "User-Agent" => alert.user_agents = vec![(text.clone(), 1)],
        _ => {}
    }
    let value = Shown { field, value: text };
    alert.summary = vec![Piece::Value(value.clone())];
    alert.entities = vec![Entity { role: "client".into(), shown: value }];
    Some(alert)
}

#[test]
fn every_variant_is_redacted_or_shown_in_every_sink() {
    let style = Style { verbose: 2, width: Some(4000), ..Style::default() };
    let like = http_trace_samples::alert();
    let (mut count, mut faults) = (0, Vec::new());
    let mut of = [false, true].map(|personal| Secrets::with(&[], &[], personal, None));
    for variant in variants() {
        count += 1;
        let secrets = &mut of[usize::from(variant.personal)];
        let (mut event, user) = event(&variant);
        secrets.redact(&mut event);
        let user = user.map(|user| secrets.user(user));
        let is = shown(&variant, &event, user.as_deref());
        if is != variant.expected {
            faults.push(format!("{}\n  want {}\n  is   {is}", variant.place, variant.expected));
            continue;
        }
        // As when the written event is read back.
        secrets.redact(&mut event);
        let user = user.map(|user| secrets.user(user));
        let is = shown(&variant, &event, user.as_deref());
        if is != variant.expected {
            faults
                .push(format!("{} again\n  want {}\n  is   {is}", variant.place, variant.expected));
        }
        let entry = Entry { event: &event, user: user.as_deref() };
        let mut alert = alert(&variant, &like);
        if let Some(alert) = &mut alert {
            secrets.redact_alert(alert);
        }
        for format in Format::ALL {
            let mut out = Vec::new();
            let mut render = format.render(&style);
            render.event(&entry, &mut out);
            if let Some(alert) = &alert {
                render.alert(alert, &mut out);
            }
            // Not all formats are text, but strings appear unchanged in all of them.
            let text = String::from_utf8_lossy(&out);
            for secret in &variant.secrets {
                let secret = secret.trim();
                if text.contains(secret) {
                    faults.push(format!("{format:?}: {} in {text}", secret));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{} of {count}:\n{}", faults.len(), faults.join("\n"));
    assert!(count >= 300, "{count}");
}
