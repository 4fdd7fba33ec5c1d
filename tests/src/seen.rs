//! Reads the tracer's json back and compares it with the truth.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::scene::{End, Transaction};

/// One reported response.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The client's end of the connection.
    pub client: SocketAddr,
    /// The server's.
    pub server: SocketAddr,
    /// Position within the connection, from 1.
    pub ordinal: u64,
    /// Method and target, unless missing.
    pub request: Option<(String, String)>,
    /// Status codes of the 1xx heads.
    pub informational: Vec<u16>,
    /// The digits after `HTTP/`.
    pub version: String,
    /// Status code; `None` without a response.
    pub status: Option<u16>,
    pub reason: String,
    /// Lower-cased name to values, in order within a name.
    pub headers: BTreeMap<String, Vec<String>>,
    /// Body bytes on the wire.
    pub body_bytes: Option<u64>,
    /// Whether its end was seen.
    pub complete: bool,
    /// What was not seen.
    pub missing: Vec<String>,
    pub flags: Vec<String>,
    /// The record itself.
    pub json: Value,
}

/// Everything a run of the tracer wrote.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Responses, in the order in which they were written.
    pub responses: Vec<Seen>,
    /// Requests without a response.
    pub unanswered: Vec<Seen>,
    /// Loss records.
    pub losses: Vec<Value>,
    pub alerts: Vec<Value>,
    /// Number of responses written before each alert.
    pub alerts_after: Vec<usize>,
}

impl Report {
    /// Reads json lines.
    pub fn read(text: &[u8]) -> Result<Self> {
        let mut report = Report::default();
        for line in text.split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
            let shown = || format!("line {:?}", String::from_utf8_lossy(line));
            let json: Value = serde_json::from_slice(line).with_context(shown)?;
            if json["event"]["kind"] == "pipeline_error" {
                report.losses.push(json);
                continue;
            }
            if json["event"]["kind"] == "alert" {
                report.alerts.push(json);
                report.alerts_after.push(report.responses.len());
                continue;
            }
            let seen = seen(json).with_context(shown)?;
            match seen.status {
                Some(_) => report.responses.push(seen),
                None => report.unanswered.push(seen),
            }
        }
        Ok(report)
    }

    /// The responses by connection, each in the order in which they were written.
    pub fn connections(&self) -> HashMap<(SocketAddr, SocketAddr), Vec<&Seen>> {
        let mut by = HashMap::<_, Vec<_>>::new();
        for seen in &self.responses {
            by.entry((seen.client, seen.server)).or_default().push(seen);
        }
        by
    }

    /// The responses of the connection with this client.
    pub fn of(&self, client: SocketAddr) -> Vec<&Seen> {
        self.responses.iter().filter(|seen| seen.client == client).collect()
    }
}

fn seen(json: Value) -> Result<Seen> {
    let end = |name: &str| -> Result<SocketAddr> {
        let end = &json[name];
        let ip = end["ip"].as_str().with_context(|| format!("{name}.ip"))?;
        let port = end["port"].as_u64().with_context(|| format!("{name}.port"))?;
        Ok(SocketAddr::new(ip.parse()?, u16::try_from(port)?))
    };
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let texts = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().filter_map(text).collect()
    };
    let code = |value: &Value| value.as_u64().and_then(|code| u16::try_from(code).ok());
    let (http, ours) = (&json["http"], &json["http_trace"]);
    let response = &http["response"];
    let headers = response["headers"].as_object().into_iter().flatten();
    Ok(Seen {
        client: end("source")?,
        server: end("destination")?,
        ordinal: ours["ordinal"].as_u64().context("http_trace.ordinal")?,
        request: text(&http["request"]["method"]).zip(text(&json["url"]["original"])),
        informational: ours["informational"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|head| code(&head["status_code"]))
            .collect(),
        version: text(&http["version"]).unwrap_or_default(),
        status: code(&response["status_code"]),
        reason: text(&response["status_phrase"]).unwrap_or_default(),
        headers: headers.map(|(name, values)| (name.clone(), texts(values))).collect(),
        body_bytes: response["body"]["bytes"].as_u64(),
        complete: ours["complete"].as_bool().context("http_trace.complete")?,
        missing: texts(&ours["missing"]),
        flags: texts(&ours["flags"]),
        json,
    })
}

/// Compares the responses of one connection with the truth; a line for each difference.
pub fn differences(seen: &[&Seen], truth: &[Transaction]) -> Vec<String> {
    let mut wrong = Vec::new();
    if seen.len() != truth.len() {
        let list: Vec<_> = seen.iter().map(|s| (&s.request, s.status)).collect();
        wrong.push(format!("{} responses instead of {}: {list:?}", seen.len(), truth.len()));
    }
    for (number, (seen, truth)) in seen.iter().zip(truth).enumerate() {
        let mut differ = |what: &str, seen: &dyn std::fmt::Debug, truth: &dyn std::fmt::Debug| {
            let (seen, truth) = (format!("{seen:?}"), format!("{truth:?}"));
            if seen != truth {
                let [seen, truth] = [seen, truth].map(|t| t.chars().take(300).collect::<String>());
                wrong.push(format!("response {number}: {what} is {seen} instead of {truth}"));
            }
        };
        let request = truth.request.as_ref();
        let request = request.map(|(m, t)| (plain(m), plain(t)));
        if let Some((method, target)) = request {
            // Bytes that JSON cannot hold are escaped by the sink, which has its own tests.
            match (method, target) {
                (Some(method), Some(target)) => {
                    differ("request", &seen.request, &Some((method, target)));
                }
                _ => differ("a request", &seen.request.is_some(), &true),
            }
        } else {
            differ("request", &seen.request, &None::<()>);
        }
        differ("status", &seen.status, &Some(truth.status));
        let is_other = truth.flags.contains(&"other_version");
        let version = if is_other { String::new() } else { format!("1.{}", truth.minor_version) };
        differ("version", &seen.version, &version);
        if let Some(reason) = plain(&truth.reason) {
            differ("reason", &seen.reason, &reason);
        }
        differ("informational", &seen.informational, &truth.informational);
        let mut headers = BTreeMap::<String, Vec<Option<String>>>::new();
        for (name, value) in &truth.headers {
            let name = String::from_utf8_lossy(name).to_ascii_lowercase();
            headers.entry(name).or_default().push(plain(value));
        }
        let names = |keys: Vec<&String>| keys.into_iter().cloned().collect::<Vec<_>>();
        differ(
            "header names",
            &names(seen.headers.keys().collect()),
            &names(headers.keys().collect()),
        );
        for (name, values) in &headers {
            let got = seen.headers.get(name).map(Vec::as_slice).unwrap_or_default();
            differ(&format!("number of {name}"), &got.len(), &values.len());
            for (got, want) in got.iter().zip(values) {
                if let Some(want) = want {
                    differ(name, got, want);
                }
            }
        }
        if let Some(body) = truth.body_bytes {
            differ("body bytes", &seen.body_bytes, &Some(body));
        }
        differ("complete", &seen.complete, &!matches!(truth.end, End::Open | End::Cut));
        for flag in &truth.flags {
            differ(&format!("flag {flag}"), &seen.flags.iter().any(|f| f == flag), &true);
        }
    }
    wrong
}

/// The bytes as text, if every sink must write them unchanged: printable ASCII.
fn plain(bytes: &[u8]) -> Option<String> {
    let printable = bytes.iter().all(|b| (0x20..0x7f).contains(b) && *b != b'\\');
    printable.then(|| String::from_utf8_lossy(bytes).into_owned())
}
