//! Matches events to expected responses by connection, status, headers and reason, best match first. The
//! corpus comes with a script that scores the same way; both must agree.

use std::{collections::HashMap, fmt, net::IpAddr};

use serde_json::Value;

/// Counts of one capture, or sums over several.
#[derive(Clone, Copy, Debug, Default)]
pub struct Score {
    expected: u64,
    found: u64,
    extra: u64,
    optional: u64,
    found_optional: u64,
    headers: u64,
    headers_judged: u64,
    reason: u64,
    version: u64,
    request: u64,
    request_judged: u64,
    length: u64,
    length_judged: u64,
}

impl Score {
    /// Adds another's counts.
    pub fn add(&mut self, other: &Score) {
        let pairs = [
            (&mut self.expected, other.expected),
            (&mut self.found, other.found),
            (&mut self.extra, other.extra),
            (&mut self.optional, other.optional),
            (&mut self.found_optional, other.found_optional),
            (&mut self.headers, other.headers),
            (&mut self.headers_judged, other.headers_judged),
            (&mut self.reason, other.reason),
            (&mut self.version, other.version),
            (&mut self.request, other.request),
            (&mut self.request_judged, other.request_judged),
            (&mut self.length, other.length),
            (&mut self.length_judged, other.length_judged),
        ];
        for (sum, n) in pairs {
            *sum += n;
        }
    }

    /// The goals that the sums of a corpus miss: 99.9 % of the responses, none invented, every header, 99.5 %
    /// of the requests.
    pub fn misses(&self) -> Vec<&'static str> {
        let below = |part: u64, whole: u64, permille: u64| part * 1000 < whole * permille;
        let goals = [
            ("recall", below(self.found, self.expected, 999)),
            ("invented responses", self.extra > 0),
            ("headers", below(self.headers, self.headers_judged, 1000)),
            ("pairing", below(self.request, self.request_judged, 995)),
        ];
        let missed = goals.into_iter().filter(|(_, missed)| *missed);
        missed.map(|(name, _)| name).collect()
    }
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |a: u64, b: u64| {
            if b == 0 { "-".to_owned() } else { format!("{:.2}%", 100.0 * a as f64 / b as f64) }
        };
        write!(
            f,
            "expected {} found {} recall {} extra {} precision {} headers {}/{} reason {}/{} version {}/{} \
             request {}/{} content-length {}/{} optional {}/{}",
            self.expected,
            self.found,
            percent(self.found, self.expected),
            self.extra,
            percent(self.found, self.found + self.extra),
            self.headers,
            self.headers_judged,
            self.reason,
            self.found,
            self.version,
            self.found,
            self.request,
            self.request_judged,
            self.length,
            self.length_judged,
            self.found_optional,
            self.optional,
        )
    }
}

/// A capture's counts, and each difference as a line.
#[derive(Debug)]
pub struct Outcome {
    pub score: Score,
    /// Missing, invented and different responses, a line each.
    pub differences: Vec<String>,
}

/// A response in the form in which both sides are compared.
struct Response<'a> {
    /// Address and port of the server, then of the client.
    tuple: (String, u64, String, u64),
    status: String,
    reason: String,
    version: String,
    headers: Vec<(String, Option<&'a Value>)>,
    method: Option<&'a str>,
    uri: Option<&'a Value>,
    content_length: Option<&'a Value>,
    raw: &'a Value,
}

/// Compares a capture's expected responses with the events of its replay.
pub fn score(expected: &[Value], got: &[Value]) -> Outcome {
    let events: Vec<Value> = got.iter().flat_map(with_informational).collect();
    let events: Vec<Response<'_>> = events.iter().filter_map(event).collect();
    let expected: Vec<Response<'_>> = expected.iter().map(expectation).collect();
    let (picked, used) = pick(&expected, &events);
    let mut score = Score::default();
    let mut differences = Vec::new();
    for (e, pick) in expected.iter().zip(picked) {
        let event = pick.and_then(|i| events.get(i));
        if truthy(e.raw, "optional") {
            score.optional += 1;
            score.found_optional += u64::from(event.is_some());
            continue;
        }
        score.expected += 1;
        let Some(g) = event else {
            let frame = e.raw.get("frame_first").or_else(|| e.raw.get("frame"));
            differences.push(format!(
                "missing frame {} {:?} {} {}",
                show(frame),
                e.tuple,
                e.status,
                e.reason
            ));
            continue;
        };
        score.found += 1;
        let wrong = judge(&mut score, e, g);
        if !wrong.is_empty() {
            let frame = e.raw.get("frame_first").or_else(|| e.raw.get("frame"));
            differences.push(format!(
                "differs in {} frame {} {}\n        expected {} {:?}\n        got      {} {:?}",
                wrong.join(","),
                show(frame),
                e.status,
                show(e.raw.get("request")),
                e.raw.get("headers").map(Value::to_string).unwrap_or_default(),
                g.method.unwrap_or("-"),
                g.raw.pointer("/http/response").map(Value::to_string).unwrap_or_default(),
            ));
        }
    }
    for (g, used) in events.iter().zip(used) {
        if !used {
            score.extra += 1;
            differences.push(format!("extra {:?} {} {}", g.tuple, g.status, g.reason));
        }
    }
    Outcome { score, differences }
}

/// Assigns an event to each expected response: first those equal in all members, then by connection and
/// status, then, where the status line is malformed, by connection.
fn pick(expected: &[Response<'_>], events: &[Response<'_>]) -> (Vec<Option<usize>>, Vec<bool>) {
    let mut by_tuple: HashMap<_, Vec<usize>> = HashMap::new();
    for (i, g) in events.iter().enumerate() {
        by_tuple.entry(&g.tuple).or_default().push(i);
    }
    let mut picked = vec![None; expected.len()];
    let mut used = vec![false; events.len()];
    for rule in 0..3 {
        for (e, slot) in expected.iter().zip(&mut picked) {
            if slot.is_some() || (rule == 2 && !truthy(e.raw, "any_status")) {
                continue;
            }
            let candidates = by_tuple.get(&e.tuple).map_or(&[][..], Vec::as_slice);
            let fits = |&&i: &&usize| {
                let g = &events[i];
                !used[i]
                    && (rule == 2 || g.status == e.status)
                    && (rule > 0
                        || (headers_same(&e.headers, &g.headers) && same(&e.reason, &g.reason)))
            };
            if let Some(&i) = candidates.iter().find(fits) {
                *slot = Some(i);
                used[i] = true;
            }
        }
    }
    (picked, used)
}

fn judge(score: &mut Score, e: &Response<'_>, g: &Response<'_>) -> Vec<&'static str> {
    let mut wrong = Vec::new();
    let mut check = |name, ok: bool, count: &mut u64| {
        if ok {
            *count += 1;
        } else {
            wrong.push(name);
        }
    };
    if !truthy(e.raw, "partial") {
        score.headers_judged += 1;
        check("headers", headers_same(&e.headers, &g.headers), &mut score.headers);
    }
    check("reason", same(&e.reason, &g.reason), &mut score.reason);
    check("version", e.version == g.version, &mut score.version);
    if e.raw.get("request").is_some_and(Value::is_object) {
        score.request_judged += 1;
        let uri = e.uri.filter(|u| !u.is_null()).and_then(Value::as_str);
        let target = g.uri.and_then(Value::as_str).unwrap_or_default();
        let ok = g.method == e.method && uri.is_none_or(|uri| same(uri, target));
        check("request", ok, &mut score.request);
    }
    // Only if there is a single plain number.
    let mut lengths = e.headers.iter().filter(|(name, _)| name == "content-length");
    if let (Some((_, Some(value))), None) = (lengths.next(), lengths.next())
        && let Some(length) = value.as_str().filter(|v| v.bytes().all(|b| b.is_ascii_digit()))
        && let Ok(length) = length.parse::<i64>()
    {
        score.length_judged += 1;
        let ok = g.content_length.is_some_and(|v| v.as_i64() == Some(length));
        check("content-length", ok, &mut score.length);
    }
    wrong
}

/// An event, preceded by an event for each of its informational heads.
fn with_informational(event: &Value) -> Vec<Value> {
    let heads = event.pointer("/http_trace/informational").and_then(Value::as_array);
    let mut out = Vec::new();
    for head in heads.into_iter().flatten() {
        let mut own = event.clone();
        own["http_trace"]["informational"] = Value::Null;
        own["http"]["version"] = head["version"].clone();
        own["http_trace"]["content_length"] = head["content_length"].clone();
        own["http"]["response"] = head.clone();
        out.push(own);
    }
    out.push(event.clone());
    out
}

fn event(raw: &Value) -> Option<Response<'_>> {
    let at = |path: &str| raw.pointer(path).filter(|v| !v.is_null());
    let status = at("/http/response/status_code")?;
    if at("/event/kind").is_some_and(|kind| kind != "event") {
        return None;
    }
    let end = |ecs: &str, role: &str, field: &str| {
        at(&format!("/{ecs}/{field}")).or_else(|| at(&format!("/{role}/{field}")))
    };
    Some(Response {
        tuple: (
            ip(end("destination", "server", "ip")),
            end("destination", "server", "port").and_then(Value::as_u64).unwrap_or(0),
            ip(end("source", "client", "ip")),
            end("source", "client", "port").and_then(Value::as_u64).unwrap_or(0),
        ),
        status: show(Some(status)),
        reason: text(at("/http/response/status_phrase")),
        version: version(at("/http/version")),
        headers: headers(at("/http/response/headers")),
        method: at("/http/request/method").and_then(Value::as_str),
        uri: at("/url/original"),
        content_length: at("/http_trace/content_length"),
        raw,
    })
}

fn expectation(raw: &Value) -> Response<'_> {
    let port = |name: &str| raw.get(name).and_then(Value::as_u64).unwrap_or(0);
    Response {
        tuple: (ip(raw.get("src_ip")), port("src_port"), ip(raw.get("dst_ip")), port("dst_port")),
        status: show(raw.get("status")),
        reason: text(raw.get("reason")),
        version: version(raw.get("version")),
        headers: headers(raw.get("headers")),
        method: raw.pointer("/request/method").and_then(Value::as_str),
        uri: raw.pointer("/request/uri"),
        content_length: None,
        raw,
    }
}

/// Pairs of lower-case name and value, from an array of pairs or an object of arrays. A line without a colon
/// has no value.
fn headers(value: Option<&Value>) -> Vec<(String, Option<&Value>)> {
    let mut out = Vec::new();
    match value {
        Some(Value::Array(pairs)) => {
            for pair in pairs {
                let name = text(pair.get(0)).trim().to_lowercase();
                out.push((name, pair.get(1).filter(|v| !v.is_null())));
            }
        }
        Some(Value::Object(fields)) => {
            for (name, values) in fields {
                let values = values.as_array().map_or(std::slice::from_ref(values), Vec::as_slice);
                out.extend(values.iter().map(|v| (name.trim().to_lowercase(), Some(v))));
            }
        }
        _ => {}
    }
    out
}

fn headers_same(expected: &[(String, Option<&Value>)], got: &[(String, Option<&Value>)]) -> bool {
    let without_colon: Vec<&str> =
        expected.iter().filter(|(_, v)| v.is_none()).map(|(n, _)| n.as_str()).collect();
    let expected: Vec<_> =
        expected.iter().filter_map(|(n, v)| v.map(|v| (n.as_str(), v))).collect();
    let mut rest: Vec<(&str, String)> = got
        .iter()
        .filter(|(n, _)| {
            without_colon.is_empty() || !(n.is_empty() || without_colon.contains(&n.as_str()))
        })
        .map(|(n, v)| (n.as_str(), text(*v)))
        .collect();
    if expected.len() != rest.len() {
        return false;
    }
    expected.into_iter().all(|(name, value)| {
        let value = text(Some(value));
        let names = spellings(name);
        let found = rest
            .iter()
            .position(|(n, v)| (*n == name || names.iter().any(|s| s == n)) && same(&value, v));
        found.map(|i| rest.remove(i)).is_some()
    })
}

/// Equality, ignoring the amount of whitespace and the spelling of bytes beyond ASCII.
fn same(expected: &str, got: &str) -> bool {
    let fold = |s: &str| s.split_whitespace().collect::<Vec<_>>().join(" ");
    let got = fold(got);
    let expected = fold(expected);
    spellings(&expected).iter().any(|s| *s == got || fold(s) == got)
}

/// The spellings in which a tracer may write bytes, given here as Latin-1 text.
fn spellings(latin1: &str) -> Vec<String> {
    let mut out = vec![latin1.to_owned()];
    let Some(bytes) = latin1.chars().map(|c| u8::try_from(c).ok()).collect::<Option<Vec<u8>>>()
    else {
        return out;
    };
    if bytes.is_ascii() {
        return out;
    }
    out.push(String::from_utf8_lossy(&bytes).into_owned());
    let mut escaped = String::new();
    for chunk in bytes.utf8_chunks() {
        escaped.push_str(chunk.valid());
        escaped.extend(chunk.invalid().iter().map(|b| format!("\\x{b:02x}")));
    }
    out.push(escaped);
    let ascii = |other: &dyn Fn(u8) -> String| -> String {
        bytes
            .iter()
            .map(|&b| if b.is_ascii() { char::from(b).to_string() } else { other(b) })
            .collect()
    };
    out.push(ascii(&|_| "\u{fffd}".to_owned()));
    out.push(ascii(&|b| format!("\\x{b:02x}")));
    out
}

/// An address in canonical form; IPv4-mapped IPv6 as IPv4.
fn ip(value: Option<&Value>) -> String {
    let text = text(value);
    match text.trim_matches(['[', ']']).split('%').next().unwrap_or_default().parse::<IpAddr>() {
        Ok(ip) => ip.to_canonical().to_string(),
        Err(_) => text,
    }
}

fn version(value: Option<&Value>) -> String {
    text(value).to_uppercase().replace("HTTP/", "").replace("HTTP_", "")
}

fn text(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(s)) => s.clone(),
        Some(other) => other.to_string(),
    }
}

fn show(value: Option<&Value>) -> String {
    text(value)
}

fn truthy(value: &Value, field: &str) -> bool {
    value.get(field).and_then(Value::as_bool).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn expected() -> Value {
        json!({"src_ip": "10.0.0.2", "src_port": 80, "dst_ip": "10.0.0.1", "dst_port": 4000, "version": "1.1",
               "status": 200, "reason": "OK", "headers": [["A", "1"], ["Content-Length", "5"], ["a", "2"]],
               "request": {"method": "GET", "uri": "/x", "host": "h"}})
    }

    fn got() -> Value {
        json!({"event": {"kind": "event"}, "source": {"ip": "10.0.0.1", "port": 4000},
               "destination": {"ip": "::ffff:10.0.0.2", "port": 80}, "url": {"original": "/x"},
               "http": {"version": "1.1", "request": {"method": "GET"},
                        "response": {"status_code": 200, "status_phrase": "OK",
                                     "headers": {"a": ["1", "2"], "content-length": ["5"]}}},
               "http_trace": {"content_length": 5}})
    }

    #[test]
    fn a_sum_below_its_goal_is_named() {
        let good = Score {
            expected: 1000,
            found: 999,
            headers: 5,
            headers_judged: 5,
            request: 995,
            request_judged: 1000,
            ..Score::default()
        };
        assert_eq!(good.misses(), [""; 0]);
        let bad = Score { found: 998, extra: 1, headers: 4, request: 994, ..good };
        let all = ["recall", "invented responses", "headers", "pairing"];
        assert_eq!(bad.misses(), all);
    }

    #[test]
    fn each_difference_is_seen() {
        assert!(score(&[expected()], &[got()]).differences.is_empty());
        let edits: [(&str, Value, &str); 7] = [
            ("/http/response/status_code", json!(404), "missing"),
            ("/http/response/status_phrase", json!("No"), "differs in reason"),
            ("/http/version", json!("1.0"), "differs in version"),
            ("/http/response/headers/a", json!(["1"]), "differs in headers"),
            ("/url/original", json!("/y"), "differs in request"),
            ("/http_trace/content_length", json!(6), "differs in content-length"),
            ("/source/port", json!(1), "missing"),
        ];
        for (path, value, difference) in edits {
            let mut event = got();
            *event.pointer_mut(path).expect("the path is in the event") = value;
            let outcome = score(&[expected()], &[event]);
            assert!(
                outcome.differences[0].starts_with(difference),
                "{path}: {:?}",
                outcome.differences
            );
        }
        let twice = score(&[expected()], &[got(), got()]);
        assert_eq!((twice.score.extra, twice.score.found), (1, 1));
    }

    #[test]
    fn informational_heads_are_responses() {
        let mut event = got();
        event["http_trace"]["informational"] =
            json!([{"version": "1.1", "status_code": 100, "status_phrase": "C", "headers": {}}]);
        let mut first = expected();
        first["status"] = json!(100);
        first["reason"] = json!("C");
        first["headers"] = json!([]);
        assert!(score(&[first, expected()], &[event]).differences.is_empty());
    }
}
