//! Metrics of events in the Prometheus text format (version 0.0.4). Memory is bounded whatever servers and
//! clients send. Reads no clock and performs no I/O.
//!
//! # Layout
//! - [`endpoints`] counts by URL template, if enabled.

pub mod endpoints;

use std::collections::{BTreeMap, HashMap};
use std::fmt::{self, Write as _};
use std::hash::Hash;

use self::endpoints::EndpointCounts;
use crate::histogram::Histogram;
use crate::messages::WrittenCounts;
use crate::text::Escaped;
use http_trace_model::event::{HttpEvent, NoResponse, status_class};
use http_trace_model::process::Process;

/// Maximum number of series of a metric whose labels depend on traffic. Further ones are counted as
/// [`OTHER`].
const MOST: usize = 512;
/// Label of everything that has no series of its own.
const OTHER: &str = "_OTHER";
/// Series without updates are dropped after a day (ns).
const EXPIRES_NS: u64 = 86_400_000_000_000;

/// Request methods with their own label (RFC 9110 §9, RFC 5789).
const METHODS: [&str; 9] =
    ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"];

/// The label of a method, from a fixed set.
pub fn method(sent: &[u8]) -> &'static str {
    let known = METHODS.iter().find(|name| name.as_bytes() == sent);
    known.copied().unwrap_or(OTHER)
}

#[derive(Debug, Default)]
pub struct Metrics {
    /// Responses by server port, status code and answering workload.
    responses: Series<Option<(u16, u16, Option<Workload>)>, u64>,
    /// Requests without a response.
    unanswered: BTreeMap<&'static str, u64>,
    /// By method and status code: duration of exchanges, and time to first byte.
    times: Series<(&'static str, Option<u16>), Times>,
    now_ns: u64,
    /// By URL template, if enabled.
    pub endpoints: Option<EndpointCounts>,
}

/// Name and Kubernetes namespace.
type Workload = (Box<str>, Option<Box<str>>);

fn workload(process: &Process) -> Option<Workload> {
    let name = Escaped(process.workload_name()?.as_bytes()).to_string().into();
    let pod = process.workload.pod.as_ref();
    Some((name, pod.and_then(|pod| pod.namespace.clone())))
}

/// Escapes a label value.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('"', "\\\"");
    text.replace('\n', "\\n")
}

/// A metric: series that share a name.
#[derive(Clone, Debug)]
pub struct Family {
    /// Ends with `_total` if it is a counter; others are gauges.
    pub name: &'static str,
    /// Help text.
    pub meaning: &'static str,
    /// Values in the unit given by the name, by labels as they are written: `code="404",server_port="80"`, or nothing.
    pub series: Vec<(String, f64)>,
}

impl Family {
    /// One series without labels.
    pub fn plain(name: &'static str, meaning: &'static str, value: f64) -> Self {
        Family { name, meaning, series: vec![(String::new(), value)] }
    }

    /// A series for each value of a label.
    pub fn each(
        name: &'static str,
        meaning: &'static str,
        label: &'static str,
        values: impl IntoIterator<Item = (impl AsRef<str>, u64)>,
    ) -> Self {
        let series = values
            .into_iter()
            .map(|(of, value)| (format!("{label}=\"{}\"", escaped(of.as_ref())), value as f64));
        Family { name, meaning, series: series.collect() }
    }

    fn write(&self, out: &mut String) -> fmt::Result {
        let kind = if self.name.ends_with("_total") { "counter" } else { "gauge" };
        head(out, self.name, kind, self.meaning)?;
        for (labels, value) in &self.series {
            let labels = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
            writeln!(out, "{}{labels} {value}", self.name)?;
        }
        Ok(())
    }
}

#[derive(Clone, Debug, Default)]
struct Times {
    duration: Histogram,
    first_byte: Histogram,
}

/// Values by labels, at most [`MOST`] in addition to the overflow series.
#[derive(Debug)]
struct Series<K, V> {
    /// With the time of the last update (Unix ns).
    values: HashMap<K, (V, u64), foldhash::fast::RandomState>,
}

impl<K, V> Default for Series<K, V> {
    fn default() -> Self {
        Series { values: HashMap::default() }
    }
}

impl<K: Eq + Hash + Ord, V: Default> Series<K, V> {
    /// The value with these labels, or the overflow value `others` if there are too many.
    fn of(&mut self, labels: K, others: K, now_ns: u64) -> &mut V {
        let is_full = self.values.len() >= MOST && !self.values.contains_key(&labels);
        let labels = if is_full { others } else { labels };
        let (value, changed_ns) = self.values.entry(labels).or_default();
        *changed_ns = now_ns;
        value
    }

    /// All values that have not expired, sorted by labels.
    fn sorted(&mut self, now_ns: u64) -> Vec<(&K, &V)> {
        self.values.retain(|_, (_, changed_ns)| now_ns.saturating_sub(*changed_ns) < EXPIRES_NS);
        let mut all: Vec<(&K, &V)> = self.values.iter().map(|(k, (v, _))| (k, v)).collect();
        all.sort_unstable_by_key(|(labels, _)| *labels);
        all
    }
}

impl Metrics {
    /// Empty metrics; by URL template too if enabled.
    pub fn new(endpoints: Option<EndpointCounts>) -> Self {
        Metrics { endpoints, ..Metrics::default() }
    }

    /// Counts an event, whether or not it is written.
    pub fn event(&mut self, event: &HttpEvent) {
        let now_ns = self.now_ns.max(event.time_ns);
        self.now_ns = now_ns;
        if let Some(why) = event.no_response {
            *self.unanswered.entry(why.name()).or_default() += 1;
        }
        let Some(response) = &event.response else { return };
        let port = event.server.known_port().unwrap_or(0);
        let workload = event.server_process.as_deref().and_then(workload);
        let labels = Some((port, response.status, workload));
        *self.responses.of(labels, None, now_ns) += 1;
        let Some(request) = &event.request else { return };
        let method = method(&request.method);
        let times = self.times.of((method, Some(response.status)), (OTHER, None), now_ns);
        if let Some(ns) = event.ttfb_ns() {
            times.first_byte.add(ns);
        }
        // An event written before its end has no final duration.
        if let Some(ns) = event.duration_ns().filter(|_| event.response_end_ns.is_some()) {
            times.duration.add(ns);
        }
    }

    /// Responses by server port, as far as they have series of their own.
    pub fn by_port(&self) -> BTreeMap<u16, u64> {
        let mut ports = BTreeMap::new();
        for (labels, (count, _)) in &self.responses.values {
            if let Some((port, ..)) = labels {
                *ports.entry(*port).or_default() += count;
            }
        }
        ports
    }

    /// Formats everything, including what happened to events and metrics of the agent.
    pub fn text(&mut self, written: &WrittenCounts, of_agent: &[Family]) -> String {
        let mut out = String::new();
        // Writing to a string cannot fail.
        let _ = self.write(&mut out, written, of_agent);
        out
    }

    fn write(
        &mut self,
        out: &mut String,
        written: &WrittenCounts,
        of_agent: &[Family],
    ) -> fmt::Result {
        let responses = self.responses.sorted(self.now_ns).into_iter();
        let responses = Family {
            name: "http_trace_responses_total",
            meaning: "Responses by server port, status code and, if served by a process of this host, workload.",
            series: responses.map(|(labels, count)| (of_response(labels), *count as f64)).collect(),
        };
        responses.write(out)?;
        let unanswered = Family::each(
            "http_trace_unanswered_total",
            "Requests and connections without a response.",
            "why",
            NoResponse::NAMES.map(|why| (why, self.unanswered.get(why).copied().unwrap_or(0))),
        );
        unanswered.write(out)?;
        if let Some(endpoints) = &mut self.endpoints {
            endpoints.family().write(out)?;
        }
        self.write_times(out)?;
        let alerts = Family::each(
            "http_trace_alerts_total",
            "Alerts opened, by rule.",
            "rule",
            written.alerts.iter().map(|(rule, count)| (rule, *count)),
        );
        alerts.write(out)?;
        let lost = written.lost.iter().map(|((place, unit), count)| {
            (format!("where=\"{place}\",unit=\"{unit}\""), *count as f64)
        });
        let lost = Family {
            name: "http_trace_lost_total",
            meaning: "Losses by place and unit, as in loss records.",
            series: lost.collect(),
        };
        lost.write(out)?;
        of_agent.iter().try_for_each(|family| family.write(out))
    }

    /// Histograms of durations.
    fn write_times(&mut self, out: &mut String) -> fmt::Result {
        let times = self.times.sorted(self.now_ns);
        let all: [(&str, &str, fn(&Times) -> &Histogram); 2] = [
            (
                "http_server_request_duration_seconds",
                "Time from the first byte of the request to the last byte of the response.",
                |times| &times.duration,
            ),
            (
                "http_trace_time_to_first_byte_seconds",
                "Time from the last byte of the request to the first byte of the response.",
                |times| &times.first_byte,
            ),
        ];
        for (name, meaning, of) in all {
            head(out, name, "histogram", meaning)?;
            for ((method, code), times) in &times {
                let code = code.map_or(OTHER.to_owned(), |code| code.to_string());
                let labels = format!(
                    "http_request_method=\"{method}\",http_response_status_code=\"{code}\""
                );
                histogram(out, of(times), name, &labels)?;
            }
        }
        Ok(())
    }
}

/// Labels of responses with this server port, status code and workload; `None` are the others.
fn of_response(of: &Option<(u16, u16, Option<Workload>)>) -> String {
    let Some((port, code, workload)) = of else {
        return format!("class=\"{OTHER}\",code=\"{OTHER}\",server_port=\"{OTHER}\"");
    };
    let class = status_class(*code);
    let mut labels = format!("class=\"{class}\",code=\"{code}\",server_port=\"{port}\"");
    if let Some((name, namespace)) = workload {
        labels += &format!(",workload=\"{}\"", escaped(name));
        if let Some(namespace) = namespace {
            labels += &format!(",namespace=\"{}\"", escaped(namespace));
        }
    }
    labels
}

fn histogram(out: &mut String, of: &Histogram, name: &str, labels: &str) -> fmt::Result {
    let mut count = 0;
    for (bound, more) in of.ranges() {
        count += more;
        let bound = bound.map_or("+Inf".to_owned(), |bound| bound.to_string());
        writeln!(out, "{name}_bucket{{{labels},le=\"{bound}\"}} {count}")?;
    }
    writeln!(out, "{name}_sum{{{labels}}} {}", of.sum_ns as f64 / 1e9)?;
    writeln!(out, "{name}_count{{{labels}}} {count}")
}

fn head(out: &mut String, name: &str, kind: &str, meaning: &str) -> fmt::Result {
    writeln!(out, "# HELP {name} {meaning}\n# TYPE {name} {kind}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use http_trace_model::event::Endpoint;
    use http_trace_model::head::{Headers, RequestHead, ResponseHead};
    use http_trace_model::process::Pod;

    const SECOND: u64 = 1_000_000_000;

    fn event(port: u16, method: &'static [u8], status: u16, took_ns: Option<u64>) -> HttpEvent {
        let end = |port| Endpoint { ip: [10, 0, 0, 1].into(), port };
        let start = 1_000 * SECOND;
        HttpEvent {
            request: Some(RequestHead {
                method: Bytes::from_static(method),
                target: Bytes::from_static(b"/"),
                minor_version: 1,
                version: None,
                headers: Headers::default(),
                wire_len: 18,
            }),
            response: Some(ResponseHead {
                minor_version: 1,
                version: None,
                status,
                reason: Bytes::new(),
                headers: Headers::default(),
                content_length: None,
                wire_len: 19,
                first_byte_ns: start + 30_000_000,
            }),
            request_start_ns: Some(start),
            request_end_ns: Some(start),
            response_start_ns: Some(start + 30_000_000),
            head_end_ns: Some(start + 30_000_000),
            response_end_ns: took_ns.map(|ns| start + ns),
            ..HttpEvent::new(start, end(40_000), end(port))
        }
    }

    fn of(mut event: HttpEvent, namespace: Option<&str>, name: &str) -> HttpEvent {
        let mut process = Process { name: Some(name.into()), ..Process::default() };
        process.workload.pod = namespace.map(|namespace| Pod {
            name: Some(name.into()),
            namespace: Some(namespace.into()),
            ..Pod::default()
        });
        event.server_process = Some(process.into());
        event
    }

    #[test]
    fn workloads_are_told_apart_up_to_a_bound_and_forgotten() {
        let mut metrics = Metrics::default();
        let answer = |at: u64| {
            let mut event = event(80, b"GET", 200, None);
            event.time_ns += at;
            event
        };
        metrics.event(&of(answer(0), Some("shop"), "cart\"\n"));
        metrics.event(&of(answer(0), None, "nginx"));
        metrics.event(&answer(0));
        let text = metrics.text(&WrittenCounts::default(), &[]);
        let line = r#"http_trace_responses_total{class="2xx",code="200",server_port="80""#;
        for labels in
            [r#",workload="cart\"\\x0a",namespace="shop"} 1"#, r#",workload="nginx"} 1"#, "} 1"]
        {
            assert!(text.contains(&format!("{line}{labels}\n")), "{labels}: {text}");
        }
        for n in 0..2 * MOST {
            metrics.event(&of(answer(SECOND), None, &format!("worker-{n}")));
        }
        let text = metrics.text(&WrittenCounts::default(), &[]);
        assert!(text.contains(r#"server_port="_OTHER"} 515"#), "{text}");
        assert!(text.lines().filter(|l| l.starts_with(line)).count() <= MOST + 1);
        // After a day the series are free for others.
        metrics.event(&of(answer(EXPIRES_NS + 2 * SECOND), None, "late"));
        let text = metrics.text(&WrittenCounts::default(), &[]);
        assert!(!text.contains("worker-1"), "{text}");
        metrics.event(&of(answer(EXPIRES_NS + 2 * SECOND), None, "later"));
        let text = metrics.text(&WrittenCounts::default(), &[]);
        assert!(text.contains(&format!("{line},workload=\"later\"}} 1")), "{text}");
    }

    #[test]
    fn what_passes_is_counted_by_port_code_and_method() {
        let mut metrics = Metrics::default();
        metrics.event(&event(80, b"GET", 200, Some(40_000_000)));
        metrics.event(&event(80, b"GET", 200, Some(3 * SECOND)));
        // A stream in progress has no duration yet.
        metrics.event(&event(80, b"GET", 200, None));
        metrics.event(&event(8080, b"BREW", 418, Some(60 * SECOND)));
        let text = metrics.text(&WrittenCounts::default(), &[]);
        for line in [
            r#"http_trace_responses_total{class="2xx",code="200",server_port="80"} 3"#,
            r#"http_trace_responses_total{class="4xx",code="418",server_port="8080"} 1"#,
            r#"http_server_request_duration_seconds_bucket{http_request_method="GET",http_response_status_code="200",le="0.05"} 1"#,
            r#"http_server_request_duration_seconds_sum{http_request_method="GET",http_response_status_code="200"} 3.04"#,
            r#"http_server_request_duration_seconds_count{http_request_method="GET",http_response_status_code="200"} 2"#,
            r#"http_server_request_duration_seconds_bucket{http_request_method="_OTHER",http_response_status_code="418",le="10"} 0"#,
            r#"http_server_request_duration_seconds_bucket{http_request_method="_OTHER",http_response_status_code="418",le="+Inf"} 1"#,
            r#"http_trace_time_to_first_byte_seconds_count{http_request_method="GET",http_response_status_code="200"} 3"#,
            r#"http_trace_unanswered_total{why="timeout"} 0"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }

    #[test]
    fn no_traffic_makes_more_series_than_are_allowed() {
        let mut metrics = Metrics::default();
        for port in 1..=60_000 {
            metrics.event(&event(port, b"GET", 100 + port % 900, Some(1)));
        }
        assert_eq!(metrics.responses.values.len(), MOST + 1);
        assert_eq!(metrics.times.values.len(), MOST + 1);
        let text = metrics.text(&WrittenCounts::default(), &[]);
        let others = 60_000 - MOST;
        let line = format!(
            "http_trace_responses_total{{class=\"_OTHER\",code=\"_OTHER\",server_port=\"_OTHER\"}} {others}"
        );
        assert!(text.contains(&line), "{text}");
    }

    #[test]
    fn a_series_of_which_nothing_comes_any_more_goes() {
        let mut metrics = Metrics::default();
        metrics.event(&event(80, b"GET", 200, Some(1)));
        let mut later = event(81, b"GET", 200, Some(1));
        later.time_ns += EXPIRES_NS;
        metrics.event(&later);
        let text = metrics.text(&WrittenCounts::default(), &[]);
        assert!(!text.contains("server_port=\"80\""), "{text}");
        assert!(text.contains("server_port=\"81\""), "{text}");
    }
}
