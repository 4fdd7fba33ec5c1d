//! OTLP metrics: histograms of durations with the names of the semantic conventions, and counts of responses
//! by server and status class. Cumulative, so that a lost request loses nothing. The number of series is bounded; the
//! rest counts for an overflow series. Must not send anything.

use std::collections::HashMap;

use super::attributes::{Attributes, attribute, is_client};
use super::{frame, wire};
use crate::histogram::{BOUNDS, Histogram};
use crate::sink::choice::Signal;
use http_trace_model::event::{HttpEvent, status_class};
use http_trace_model::field::{Value, View};

/// Maximum series per metric: the default of OpenTelemetry's SDK.
const MOST: usize = 2000;
/// Maximum length of a series' attributes, bytes: a host may be as long as a head.
const LONGEST: usize = 512;
/// Maximum series per record of a request.
const TOGETHER: usize = 200;

/// Attributes of histograms (semantic conventions for HTTP metrics).
const NAMES: &[&str] = &[
    "http.request.method", "http.response.status_code", "url.scheme", "error.type",
    "network.protocol.version", "server.address", "server.port",
];
/// Attributes of counts besides the class.
const SERVER: &[&str] = &["server.address", "server.port"];

/// Field numbers of `attributes` in a `HistogramDataPoint` and in a `NumberDataPoint`.
const OF_HISTOGRAM: u32 = 9;
const OF_NUMBER: u32 = 7;

/// `AGGREGATION_TEMPORALITY_CUMULATIVE`
const CUMULATIVE: u64 = 2;

/// Counts since the start of the run.
#[derive(Debug)]
pub struct Numbers {
    attributes: Attributes,
    server: Attributes,
    /// By kind and encoded attributes.
    series: HashMap<(bool, Vec<u8>), Series>,
    /// By encoded attributes.
    responses: HashMap<Vec<u8>, u64>,
    every_ns: u64,
    /// Times of the first event and of the last export.
    start_ns: u64,
    sent_ns: u64,
    now_ns: u64,
    is_changed: bool,
}

#[derive(Debug, Default)]
struct Series {
    duration: Histogram,
    ttfb: Histogram,
}

impl Numbers {
    /// Empty, with this export interval.
    pub fn new(every_ns: u64) -> Self {
        Numbers {
            attributes: Attributes::only(NAMES),
            server: Attributes::only(SERVER),
            series: HashMap::new(),
            responses: HashMap::new(),
            every_ns,
            start_ns: 0,
            sent_ns: 0,
            now_ns: 0,
            is_changed: false,
        }
    }

    pub fn event(&mut self, view: &View<'_, HttpEvent>) {
        let event = view.record;
        let begin_ns = event.request_start_ns.unwrap_or(event.time_ns);
        if self.start_ns == 0 {
            (self.start_ns, self.sent_ns) = (begin_ns, event.time_ns);
        }
        self.now_ns = self.now_ns.max(event.time_ns);
        self.is_changed = true;
        let is_client = is_client(event);
        let mut key = Vec::new();
        self.attributes.put(&mut key, OF_HISTOGRAM, view);
        let mut key = (is_client, key);
        if !self.series.contains_key(&key) && (self.series.len() >= MOST || key.1.len() > LONGEST) {
            key.1 = overflow(OF_HISTOGRAM);
        }
        let series = self.series.entry(key).or_default();
        // An event written before its end has no final duration.
        let is_over = event.response_end_ns.is_some() || event.no_response.is_some();
        if let Some(ns) = event.duration_ns().filter(|_| is_over) {
            series.duration.add(ns);
        }
        if let Some(ns) = event.ttfb_ns() {
            series.ttfb.add(ns);
        }
        if let Some(response) = &event.response {
            let mut key = Vec::new();
            self.server.put(&mut key, OF_NUMBER, view);
            let class = Value::word(status_class(response.status));
            attribute(&mut key, OF_NUMBER, "http_trace.status_class", &class);
            let is_new = !self.responses.contains_key(&key);
            if is_new && (self.responses.len() >= MOST || key.len() > LONGEST) {
                key = overflow(OF_NUMBER);
            }
            *self.responses.entry(key).or_default() += 1;
        }
    }

    /// Time of the next export, if there was an event.
    pub fn due_ns(&self) -> Option<u64> {
        self.is_changed.then_some(self.sent_ns.saturating_add(self.every_ns))
    }

    /// Appends the metrics if they are due at this time.
    pub fn tick(&mut self, now_ns: u64, out: &mut Vec<u8>) {
        self.now_ns = self.now_ns.max(now_ns);
        if self.due_ns().is_some_and(|due_ns| due_ns <= self.now_ns) {
            self.put(self.now_ns, out);
            self.sent_ns = self.now_ns;
            self.is_changed = false;
        }
    }

    /// Appends the metrics at the end of the run.
    pub fn tail(&self) -> Vec<u8> {
        let mut out = Vec::new();
        if self.is_changed {
            // Two points of a series at one time would be duplicates.
            self.put(self.now_ns.max(self.sent_ns.saturating_add(1)), &mut out);
        }
        out
    }

    /// Appends the metrics as of this time.
    fn put(&self, now_ns: u64, out: &mut Vec<u8>) {
        type Of = fn(&Series) -> &Histogram;
        const HISTOGRAMS: [(&str, bool, &str, Of); 4] = [
            ("http.server.request.duration", false, "Duration of HTTP server requests.", |s| {
                &s.duration
            }),
            ("http.client.request.duration", true, "Duration of HTTP client requests.", |s| {
                &s.duration
            }),
            (
                "http_trace.server.time_to_first_byte",
                false,
                "From a request's end to its response's first byte.",
                |s| &s.ttfb,
            ),
            (
                "http_trace.client.time_to_first_byte",
                true,
                "From a request's end to its response's first byte.",
                |s| &s.ttfb,
            ),
        ];
        for (name, is_client, description, of) in HISTOGRAMS {
            let points = self
                .series
                .iter()
                .filter(|((client, _), series)| *client == is_client && of(series).count() > 0);
            let points: Vec<_> = points.collect();
            for points in points.chunks(TOGETHER) {
                metric(out, name, description, "s", 9, |out| {
                    for ((_, attributes), series) in points {
                        wire::message(out, 1, |out| {
                            self.histogram(now_ns, out, attributes, of(series))
                        });
                    }
                });
            }
        }
        let responses: Vec<_> = self.responses.iter().collect();
        for points in responses.chunks(TOGETHER) {
            metric(
                out,
                "http_trace.responses",
                "Responses by server and status class.",
                "{response}",
                7,
                |out| {
                    for (attributes, count) in points {
                        wire::message(out, 1, |out| {
                            wire::fixed64(out, 2, self.start_ns);
                            wire::fixed64(out, 3, now_ns);
                            wire::fixed64(out, 6, **count);
                            out.extend_from_slice(attributes);
                        });
                    }
                    // Monotonic.
                    wire::number(out, 3, 1);
                },
            );
        }
    }

    /// A `HistogramDataPoint`.
    fn histogram(&self, now_ns: u64, out: &mut Vec<u8>, attributes: &[u8], of: &Histogram) {
        wire::fixed64(out, 2, self.start_ns);
        wire::fixed64(out, 3, now_ns);
        wire::fixed64(out, 4, of.count());
        wire::fixed64(out, 5, (of.sum_ns as f64 / 1e9).to_bits());
        let packed =
            |numbers: Vec<u64>| numbers.into_iter().flat_map(u64::to_le_bytes).collect::<Vec<_>>();
        wire::bytes(out, 6, &packed(of.ranges().map(|(_, count)| count).collect()));
        wire::bytes(out, 7, &packed(BOUNDS.map(f64::to_bits).to_vec()));
        out.extend_from_slice(attributes);
    }
}

/// A `Metric` (opentelemetry/proto/metrics/v1/metrics.proto); `fill` appends the data points.
fn metric(
    out: &mut Vec<u8>,
    name: &str,
    description: &str,
    unit: &str,
    kind: u32,
    fill: impl FnOnce(&mut Vec<u8>),
) {
    frame(out, Signal::Metrics, |out| {
        wire::bytes(out, 1, name.as_bytes());
        wire::bytes(out, 2, description.as_bytes());
        wire::bytes(out, 3, unit.as_bytes());
        wire::message(out, kind, |out| {
            fill(out);
            wire::number(out, 2, CUMULATIVE);
        });
    });
}

/// Attributes of the overflow series (OpenTelemetry, metrics SDK, cardinality limits).
fn overflow(number: u32) -> Vec<u8> {
    let mut attributes = Vec::new();
    attribute(&mut attributes, number, "otel.metric.overflow", &Value::Bool(true));
    attributes
}

#[cfg(test)]
mod tests {
    use http_trace_samples as testing;

    use super::*;

    #[test]
    fn what_goes_on_has_no_duration_and_no_time_comes_twice() {
        let mut numbers = Numbers::new(1_000_000_000);
        let mut event = testing::event();
        let mut sent = Vec::new();
        for seconds in [0, 2, 2] {
            event.time_ns = testing::TIME_NS + seconds * 1_000_000_000;
            event.response_end_ns = None;
            numbers.event(&View::new(&event));
            numbers.tick(event.time_ns, &mut sent);
        }
        let series: Vec<_> = numbers.series.values().collect();
        assert!(series.iter().all(|of| of.duration.count() == 0));
        assert_eq!(series.iter().map(|of| of.ttfb.count()).sum::<u64>(), 3);
        let stamp = |ns: u64| ns.to_le_bytes();
        let holds = |bytes: &[u8], ns| bytes.windows(8).any(|window| window == stamp(ns));
        let tail = numbers.tail();
        assert!(holds(&sent, event.time_ns) && !holds(&tail, event.time_ns));
        assert!(holds(&tail, event.time_ns + 1));
    }
}
