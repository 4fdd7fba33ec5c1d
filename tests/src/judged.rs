//! Feeds frames through the tracer as a library (walk, filter or not, judge), and compares its events with
//! the truth.

use std::collections::BTreeSet;
use std::fmt::Debug;

use http_trace::capture::{Frames, Replay, ReplayOptions};
use http_trace_common::config::FilterConfig;
use http_trace_common::filter::{Context, handed};
use http_trace_common::record::{Record, flag};
use http_trace_engine::fragments::shipped::Shipped;
use http_trace_engine::host_filter::{Faults, HostFilter};
use http_trace_engine::pipeline::{Emit, Pipeline, PipelineConfig};
use http_trace_engine::stats::{FilterLosses, Stats};
use http_trace_model::event::{BodyEnd, HttpEvent, Loss, LossUnit, Missing, Output};
use proptest::prelude::*;

use crate::ethernet::PushEthernet;
use crate::generate::NUMBER;
use crate::pcap::{self, LinkType};
use crate::scene::{End, Transaction};
use crate::tcp::Timed;

/// Output of the judge for some frames.
#[derive(Debug, Default)]
pub struct Judged {
    pub events: Vec<HttpEvent>,
    pub losses: Vec<Loss>,
    pub stats: Stats,
}

impl Judged {
    /// Adds an event or a loss.
    pub fn take(&mut self, output: Output) {
        match output {
            Output::Http(event) => self.events.push(*event),
            Output::Loss(loss) => self.losses.push(loss),
        }
    }
}

/// A judge that keeps its output.
struct Bench {
    pipeline: Pipeline,
    shipped: Shipped,
    judged: Judged,
}

impl Bench {
    fn new() -> Self {
        // One event at the end of each message, however long its segments take in wire time.
        let pipeline = Pipeline::new(PipelineConfig { emit: Emit::End, ..Default::default() });
        Bench { pipeline, shipped: Shipped::default(), judged: Judged::default() }
    }

    fn push(&mut self, record: Record<'_>) {
        let mut out = |output| self.judged.take(output);
        if !record.header.has(flag::FRAGMENT) {
            return self.pipeline.push(&record, &mut out);
        }
        self.pipeline.note(&record, &mut out);
        let number = |encap: &_| self.pipeline.encap_number(encap);
        if let Some(whole) = self.shipped.push(&record, number) {
            self.pipeline.judge(&whole, &mut out);
        }
    }

    /// The clock advances whether or not anything ships.
    fn tick(&mut self, now_ns: u64) {
        self.shipped.expire(now_ns);
        // As the engine reports them.
        for (reason, count) in self.shipped.losses() {
            if count > 0 {
                self.pipeline.add_loss(&Loss {
                    count,
                    unit: LossUnit::Packets,
                    place: reason,
                    since_ns: now_ns,
                    until_ns: now_ns,
                    detail: None,
                });
            }
        }
        self.pipeline.tick(now_ns, &mut |output| self.judged.take(output));
    }

    fn finish(mut self) -> Judged {
        self.pipeline.finish(&mut |output| self.judged.take(output));
        self.judged.stats = self.pipeline.stats().clone();
        self.judged
    }
}

/// The records of Ethernet frames, read from a capture of them.
pub fn records(frames: &[Timed], each: impl FnMut(Record<'_>)) {
    records_of(pcap::of(LinkType::Ethernet, frames), each);
}

fn records_of(file: Vec<u8>, mut each: impl FnMut(Record<'_>)) {
    let frames = Frames::from_reader("built", Box::new(std::io::Cursor::new(file)));
    let mut replay = Replay::new(frames, ReplayOptions::default());
    while let Some(record) = replay.next_record() {
        each(record);
    }
    assert!(replay.frames.problems().is_empty(), "{:?}", replay.frames.problems());
}

/// Judges what a capture with this snap length has of Ethernet frames.
pub fn cut(frames: &[Timed], snap_length: usize) -> Judged {
    let file = pcap::of(LinkType::Ethernet, frames);
    let mut bench = Bench::new();
    records_of(pcap::cut(&file, snap_length), |record| bench.push(record));
    bench.finish()
}

/// Judges every byte of Ethernet frames.
pub fn plain(frames: &[Timed]) -> Judged {
    let mut bench = Bench::new();
    records(frames, |record| bench.push(record));
    bench.finish()
}

/// Judges what the filter, with these faults, ships of Ethernet frames.
pub fn filtered(frames: &[Timed], faults: Faults) -> (Judged, HostFilter) {
    filtered_late(frames, faults, &[Return::AT_ONCE])
}

/// As [`filtered`]; `returns` says in turn what happens to each hand-back.
pub fn filtered_late(frames: &[Timed], faults: Faults, returns: &[Return]) -> (Judged, HostFilter) {
    let mut filter = HostFilter::new(FilterConfig::DEFAULT);
    filter.set_faults(faults);
    let frames = frames.iter().map(|(time_ns, frame)| (*time_ns, 1, frame.as_slice()));
    handed_back_late(filter, Shipped::default(), frames, returns)
}

/// What happens to a hand-back.
#[derive(Clone, Copy, Debug)]
pub struct Return {
    /// The filter gets it this many frames later; `None`: never.
    pub after: Option<usize>,
    /// And again this many frames later, whatever it has got since.
    pub again: Option<usize>,
    /// It belongs to an earlier use of the table's entry.
    pub stale: bool,
    /// It confirms every trial, so that a test can show that it would notice.
    pub lie: bool,
}

impl Return {
    pub const AT_ONCE: Return = Return { after: Some(0), again: None, stale: false, lie: false };
    pub const NEVER: Return = Return { after: None, again: None, stale: false, lie: false };
}

/// Any of these.
pub fn returns() -> impl Strategy<Value = Return> {
    let later = prop_oneof![3 => 0usize..3, 2 => 3usize..40];
    (
        prop::option::weighted(0.8, later),
        prop::option::weighted(0.2, 1usize..40),
        prop::bool::weighted(0.1),
    )
        .prop_map(|(after, again, stale)| Return { after, again, stale, lie: false })
}

/// Judges what this filter ships of Ethernet frames, given as time, interface and bytes.
pub fn filtered_by<'a>(
    filter: HostFilter,
    shipped: Shipped,
    frames: impl IntoIterator<Item = (u64, u32, &'a [u8])>,
) -> (Judged, HostFilter) {
    handed_back_late(filter, shipped, frames, &[Return::AT_ONCE])
}

/// As [`filtered_by`]; `returns` says in turn what happens to each hand-back.
pub fn handed_back_late<'a>(
    mut filter: HostFilter,
    shipped: Shipped,
    frames: impl IntoIterator<Item = (u64, u32, &'a [u8])>,
    returns: &[Return],
) -> (Judged, HostFilter) {
    let mut bench = Bench::new();
    bench.shipped = shipped;
    let mut returns = returns.iter().cycle();
    let mut on_their_way = Vec::new();
    for (number, (time_ns, interface, frame)) in frames.into_iter().enumerate() {
        let context = Context {
            time_ns,
            interface,
            wire_len: frame.len() as u32,
            egress: false,
            hook: http_trace_common::record::Hook::Capture,
        };
        bench.tick(time_ns);
        filter.push_ethernet(frame, &context, &mut |record| bench.push(record));
        for (key, mut returned) in bench.pipeline.take_hand_backs() {
            let Some(becomes) = returns.next() else {
                continue;
            };
            returned.generation ^= u32::from(becomes.stale) << 7;
            if becomes.lie {
                returned.what |= handed::RIGHT | handed::RIGHT << 1;
            }
            for later in [becomes.after, becomes.again].into_iter().flatten() {
                on_their_way.push((number + later, key, returned));
            }
        }
        on_their_way.retain(|(due, key, returned)| {
            if *due <= number {
                filter.hand_back(*key, *returned);
            }
            *due > number
        });
    }
    // As the agent reports the kernel's counters.
    let now_ns = bench.pipeline.now_ns();
    for loss in FilterLosses::since(now_ns).take(now_ns, |counter| filter.counter(counter)) {
        bench.pipeline.add_loss(&loss);
    }
    (bench.finish(), filter)
}

/// An event without what may differ between a run with the filter and one without: times ([`same_times`]), counts of
/// copies, the interface, and the bytes so far of an unfinished body (the filter reports them at its end).
pub fn essence(event: &HttpEvent) -> impl Debug + PartialEq + use<> {
    let heads = event.informational.iter().chain(&event.response);
    let heads: Vec<_> = heads
        .map(|h| (h.minor_version, h.status, h.reason.clone(), h.headers.clone(), h.wire_len))
        .collect();
    let flags: Vec<_> = event.flags.iter().copied().filter(|f| !f.starts_with("overlap")).collect();
    let bytes = event.body_end.map(|end| (end, event.body_bytes, event.response_bytes));
    let is_answered =
        event.body_end.is_some() && event.complete || event.body_end == Some(BodyEnd::Cut);
    let is_asked = event.request_end_ns.is_some() || is_answered;
    let asked = is_asked.then_some(event.request_body_bytes);
    (
        (event.client, event.server, event.connection, event.ordinal),
        (event.request.clone(), asked, event.no_response),
        (heads, bytes, event.complete),
        (event.missing.clone(), flags),
    )
}

/// Checks that the events of both have the same times.
pub fn same_times(a: &Judged, b: &Judged) -> Result<(), String> {
    for (a, b) in a.events.iter().zip(&b.events) {
        let [a, b] = [a, b].map(|event| {
            [
                Some(event.time_ns),
                event.request_start_ns,
                event.request_end_ns,
                event.response_start_ns,
                event.head_end_ns,
                event.response_end_ns,
                event.given_up_ns,
            ]
        });
        if a != b {
            return Err(format!("times\n  all bytes: {a:?}\n   filtered: {b:?}"));
        }
    }
    Ok(())
}

pub fn responses(judged: &Judged) -> Vec<&HttpEvent> {
    judged.events.iter().filter(|event| event.response.is_some()).collect()
}

/// The event's word for the end in the truth.
fn end(end: End) -> Option<BodyEnd> {
    match end {
        End::None => Some(BodyEnd::None),
        End::Length => Some(BodyEnd::Length),
        End::Chunked => Some(BodyEnd::Chunked),
        End::Close => Some(BodyEnd::Close),
        End::Cut => Some(BodyEnd::Cut),
        End::Tunnel => Some(BodyEnd::Tunnel),
        End::Open => None,
    }
}

/// Compares an event with the truth of the same response; describes the first difference.
pub fn difference(event: &HttpEvent, truth: &Transaction) -> Option<String> {
    let differ = |what: &str, got: &dyn Debug, want: &dyn Debug| {
        Some(format!("{what} is {got:?} instead of {want:?}"))
    };
    let Some(head) = &event.response else {
        return Some("no response".into());
    };
    let request = event.request.as_ref().map(|r| (r.method.to_vec(), r.target.to_vec()));
    let headers: Vec<_> =
        head.headers.iter().map(|h| (h.name.to_vec(), h.value.to_vec())).collect();
    let informational: Vec<_> = event.informational.iter().map(|h| h.status).collect();
    let complete = !matches!(truth.end, End::Open | End::Cut);
    if request != truth.request {
        return differ("request", &request, &truth.request);
    }
    if (head.minor_version, head.status) != (truth.minor_version, truth.status) {
        return differ("status", &head.status, &truth.status);
    }
    if head.reason != truth.reason {
        return differ("reason", &head.reason, &truth.reason);
    }
    if headers != truth.headers {
        return differ("headers", &headers, &truth.headers);
    }
    if informational != truth.informational {
        return differ("informational", &informational, &truth.informational);
    }
    let ended = truth.end != End::Open;
    if ended && truth.body_bytes.is_some() && event.body_bytes != truth.body_bytes {
        return differ("body", &event.body_bytes, &truth.body_bytes);
    }
    if event.complete != complete {
        return differ("complete", &event.complete, &complete);
    }
    if event.body_end != end(truth.end) {
        return differ("end", &event.body_end, &truth.end);
    }
    let lacking: Vec<_> = truth.flags.iter().filter(|f| !event.flags.contains(f)).collect();
    (!lacking.is_empty()).then(|| format!("flags {:?} lack {lacking:?}", event.flags))
}

/// Checks that the events are the whole truth, in order.
pub fn is_truth(judged: &Judged, truth: &[Transaction]) -> Result<(), String> {
    let events = responses(judged);
    let codes = |e: &&HttpEvent| e.response.as_ref().map(|r| r.status);
    if events.len() != truth.len() {
        let got: Vec<_> = events.iter().map(codes).collect();
        let want: Vec<_> = truth.iter().map(|t| t.status).collect();
        return Err(format!("{got:?} instead of {want:?}"));
    }
    for (number, (event, truth)) in events.iter().zip(truth).enumerate() {
        if let Some(wrong) = difference(event, truth) {
            return Err(format!("response {number}: {wrong}\n{event:#?}"));
        }
        // A head with an impossible status code is no event, but was a transaction.
        if event.ordinal as usize <= number {
            return Err(format!("response {number} has ordinal {}", event.ordinal));
        }
    }
    Ok(())
}

/// The generator's number of a response.
fn number(event: &HttpEvent) -> Option<usize> {
    let value = event.response.as_ref()?.headers.first(NUMBER)?;
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// The response that an event without a number belongs to: the next one with its status line.
fn unnumbered(seen: &BTreeSet<usize>, event: &HttpEvent, truth: &[Transaction]) -> Option<usize> {
    let head = event.response.as_ref()?;
    let from = seen.iter().max().map_or(0, |n| n + 1);
    (from..truth.len()).find(|&n| truth.get(n).is_some_and(|t| t.status == head.status))
}

/// Checks that no event is false, and that whatever is missing is reported.
pub fn is_honest(judged: &Judged, truth: &[Transaction]) -> Result<(), String> {
    let mut last = None;
    let mut seen = BTreeSet::new();
    // A lost record may have held anything; the loss itself is reported.
    let records_lost = judged.losses.iter().any(|l| l.unit == LossUnit::Records);
    for event in responses(judged) {
        let head = event.response.as_ref().expect("it is a response");
        let status_known = truth.iter().any(|t| t.status == head.status && t.reason == head.reason);
        let informational = (100..200).contains(&head.status) && head.status != 101;
        if informational {
            continue;
        }
        let cut_head = event.missing.contains(&Missing::Headers);
        if !status_known && !cut_head {
            return Err(format!("invented: {event:#?}"));
        }
        let Some(number) = number(event) else {
            if cut_head || event.request.is_none() && head.status == 408 {
                // It is reported, in part or without a number; its position says which it is.
                seen.extend(unnumbered(&seen, event, truth));
                continue;
            }
            return Err(format!("a head without its number, and not flagged: {event:#?}"));
        };
        if last.is_some_and(|last| last >= number) {
            return Err(format!("response {number} after {last:?}"));
        }
        last = Some(number);
        let index = number;
        let truth = truth.get(number).ok_or("a number that nobody sent")?;
        let request = event.request.as_ref().map(|r| (r.method.to_vec(), r.target.to_vec()));
        // Where a stream is entered in the middle, the rest of a request line is a request line.
        let tail = |part: &(Vec<u8>, Vec<u8>)| {
            let same =
                truth.request.as_ref().is_some_and(|t| t.0.ends_with(&part.0) && t.1 == part.1);
            same && event.flags.contains(&"resynchronised")
        };
        // On a connection without a beginning, pairs are marked as assumed.
        let no_beginning = judged.stats.midstream + judged.stats.holes > 0 || records_lost;
        let assumed = event.flags.contains(&"request_assumed") && no_beginning;
        let request_true = request == truth.request || request.as_ref().is_some_and(tail);
        if request.is_some() && !request_true && !assumed {
            return Err(format!("response {number} has the request {request:?}"));
        }
        if request.is_none() && !event.missing.contains(&Missing::Request) {
            return Err(format!("response {number} does not say that its request is missing"));
        }
        let whole = event.complete && event.missing.is_empty();
        if whole
            && request_true
            && let Some(wrong) = difference(event, truth)
            && !event.flags.iter().any(|f| ["resynchronised", "body_gap"].contains(f))
        {
            return Err(format!("response {number} claims to be whole: {wrong}\n{event:#?}"));
        }
        seen.insert(index);
    }
    let absent = |n: &usize| !seen.contains(n);
    let tail = seen.iter().max().map_or(0, |n| n + 1);
    let head = seen.iter().min().copied().unwrap_or(truth.len());
    let stats = &judged.stats;
    // The beginning or end of the connection was not captured: what was there is unknown.
    let excused = |n: &usize| *n < head && stats.midstream > 0 || *n >= tail && stats.unended > 0;
    let owed = (0..truth.len()).filter(absent).filter(|n| !excused(n)).count() as u64;
    let unanswered = judged.events.iter().filter(|e| e.response.is_none()).count() as u64;
    let by_bytes = (stats.hole_bytes + stats.unframed_bytes).div_ceil(SHORTEST_HEAD);
    let never_http = seen.is_empty() && !stats.unreadable.is_empty();
    let paid = unanswered + stats.requests_unmatched + stats.unproven + stats.bad_status + by_bytes;
    // The filter ships nothing of a connection without payload.
    if owed > paid && !never_http && !records_lost && stats.flows > 0 {
        return Err(format!(
            "{owed} of {} responses are missing, {paid} are told of: {:?}\n{stats:?}\n{:?}",
            truth.len(),
            (0..truth.len()).filter(absent).collect::<Vec<_>>(),
            judged.losses
        ));
    }
    Ok(())
}

/// Lower bound of a generated response head, in bytes.
const SHORTEST_HEAD: u64 = 30;

/// Checks that both have the same events, compared by [`essence`].
pub fn same(a: &Judged, b: &Judged) -> Result<(), String> {
    let essences = |j: &Judged| j.events.iter().map(essence).collect::<Vec<_>>();
    let (a, b) = (essences(a), essences(b));
    for (number, (a, b)) in a.iter().zip(&b).enumerate() {
        if a != b {
            return Err(format!("event {number}\n  all bytes: {a:?}\n   filtered: {b:?}"));
        }
    }
    if a.len() == b.len() { Ok(()) } else { Err(format!("{} and {} events", a.len(), b.len())) }
}
