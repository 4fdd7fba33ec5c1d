//! Counters of a run, for the summary, `metrics` and tests. Must not decide anything.

use std::collections::BTreeMap;

use http_trace_common::counter::Counter;
use http_trace_model::event::{Loss, LossUnit};

/// Counters of a filter, in the kernel or on the host, that mean that output is missing, with their unit.
const FILTER_LOSSES: &[(Counter, LossUnit)] = &[
    (Counter::RingFull, LossUnit::Records),
    (Counter::RingFullBytes, LossUnit::Bytes),
    (Counter::UnsureDroppedBytes, LossUnit::Bytes),
    (Counter::FragmentDroppedBytes, LossUnit::Bytes),
    (Counter::TooManyHeaders, LossUnit::Packets),
    (Counter::TableFull, LossUnit::Flows),
    (Counter::ScratchBusy, LossUnit::Records),
    (Counter::LoadFailed, LossUnit::Records),
];

/// Tracks reported filter losses.
#[derive(Clone, Debug)]
pub struct FilterLosses {
    /// Sums as last reported, in the order of [`FILTER_LOSSES`].
    reported: [u64; FILTER_LOSSES.len()],
    since_ns: u64,
}

impl FilterLosses {
    /// Counts losses from this time on (Unix ns).
    pub const fn since(since_ns: u64) -> Self {
        FilterLosses { reported: [0; FILTER_LOSSES.len()], since_ns }
    }

    /// Losses since the last call; `sum` returns the current value of a counter.
    pub fn take(
        &mut self,
        now_ns: u64,
        sum: impl Fn(Counter) -> u64,
    ) -> impl Iterator<Item = Loss> {
        let since_ns = std::mem::replace(&mut self.since_ns, now_ns);
        let counters = FILTER_LOSSES.iter().zip(&mut self.reported);
        counters.filter_map(move |(&(counter, unit), reported)| {
            let sum = sum(counter);
            let count = sum.wrapping_sub(std::mem::replace(reported, sum));
            (count > 0).then_some(Loss {
                count,
                unit,
                place: counter.name(),
                since_ns,
                until_ns: now_ns,
                detail: None,
            })
        })
    }
}

http_trace_model::named_enum! {
    /// Protocols that are recognised but not read.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
    pub enum Unreadable {
        /// TLS, by its record header (RFC 8446 §5.1).
        Tls = "TLS",
        /// The HTTP/2 connection preface (RFC 9113 §3.4).
        Http2 = "HTTP/2",
        /// Anything else that is not HTTP/1.x.
        Other = "other",
        /// What follows a CONNECT or an upgrade (RFC 9110 §9.3.6, §7.8), unless it is one of the above.
        Tunnel = "tunnel",
    }
}

/// Limit of separate (protocol, port) counters; the rest is counted under port 0.
const MAX_PORTS: usize = 256;

/// Everything counted since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    pub records: u64,
    /// Payload bytes in them.
    pub bytes: u64,
    /// Final responses in events, by the first digit of the code: index 0 for 6xx–9xx.
    pub responses: [u64; 6],
    /// 1xx heads that came with a final response or made an event of their own.
    pub informational: u64,
    /// Events of requests without a response.
    pub no_response: u64,
    /// Response events whose request was not seen.
    pub without_request: u64,
    /// Response events whose end was not seen.
    pub incomplete: u64,
    /// Requests whose response was not seen, though there may have been one.
    pub requests_unmatched: u64,
    /// `HTTP/1.x` heads with an impossible status code; they make no events.
    pub bad_status: u64,
    /// Connections added to the table.
    pub flows: u64,
    /// Aliases of connections (address translation); not included in `flows`.
    pub aliases: u64,
    /// Connections on which a message was framed.
    pub http_flows: u64,
    /// Open connections evicted because the table was full.
    pub flows_evicted: u64,
    /// Directions that lost their framing.
    pub became_unsure: u64,
    /// Times that framing was resynchronised at a start line.
    pub resynchronised: u64,
    /// Gaps that were given up.
    pub holes: u64,
    /// Bytes in these gaps.
    pub hole_bytes: u64,
    /// Bytes of HTTP connections that were not framed as a message: after a loss, before the first start
    /// line of a connection that was already open, or not HTTP/1.x.
    pub unframed_bytes: u64,
    /// HTTP connections for which the beginning of a direction was not seen.
    pub midstream: u64,
    /// Apparent responses where framing was lost that nothing proved.
    pub unproven: u64,
    /// HTTP connections whose end was not seen.
    pub unended: u64,
    /// Declared skips that are not body according to the judge.
    pub filter_disagrees: u64,
    /// Bytes that came more than once.
    pub copied_bytes: u64,
    /// Copies that differed from the first bytes seen at their position.
    pub overlaps_differ: u64,
    /// RSTs, FINs and SYNs that fit and were disproved by what followed.
    pub disputed_segments: u64,
    /// Other segments that a receiver would have ignored.
    pub ignored_segments: u64,
    /// Connections that are not read, or no longer, by protocol and server port.
    pub unreadable: BTreeMap<(Unreadable, u16), u64>,
    /// Losses reported in the stream, by place.
    pub lost: BTreeMap<(&'static str, LossUnit), u64>,
}

impl Stats {
    /// Counts a connection that turned out not to be readable.
    pub fn count_unreadable(&mut self, kind: Unreadable, port: u16) {
        let known =
            self.unreadable.len() < MAX_PORTS || self.unreadable.contains_key(&(kind, port));
        let port = if known { port } else { 0 };
        *self.unreadable.entry((kind, port)).or_default() += 1;
    }

    /// Takes back such a count: the connection is readable after all.
    pub fn uncount_unreadable(&mut self, kind: Unreadable, port: u16) {
        for port in [port, 0] {
            if let Some(count) = self.unreadable.get_mut(&(kind, port))
                && *count > 0
            {
                *count -= 1;
                if *count == 0 {
                    self.unreadable.remove(&(kind, port));
                }
                return;
            }
        }
    }

    /// Counts the event of a final response.
    pub fn count_response(&mut self, status: u16) {
        let class = usize::from(status / 100);
        if class == 1 && status != 101 {
            self.informational += 1;
        } else {
            let class = if class < self.responses.len() { class } else { 0 };
            self.responses[class] += 1;
        }
    }
}

/// Losses not reported yet.
#[derive(Clone, Debug, Default)]
pub struct Losses(Vec<Loss>);

impl Losses {
    /// Adds to the next report.
    pub fn add(
        &mut self,
        place: &'static str,
        unit: LossUnit,
        count: u64,
        since_ns: u64,
        until_ns: u64,
    ) {
        match self
            .0
            .iter_mut()
            .find(|loss| loss.place == place && loss.unit == unit && loss.detail.is_none())
        {
            Some(loss) => {
                loss.count += count;
                loss.since_ns = loss.since_ns.min(since_ns);
                loss.until_ns = loss.until_ns.max(until_ns);
            }
            None => self.0.push(Loss { count, unit, place, since_ns, until_ns, detail: None }),
        }
    }

    /// Adds a loss that names its location, which is reported separately.
    pub fn add_detailed(&mut self, loss: Loss) {
        self.0.push(loss);
    }

    /// Takes back up to `count` unreported losses; returns how many there were.
    pub fn take_back(&mut self, place: &'static str, unit: LossUnit, count: u64) -> u64 {
        let Some(loss) = self.0.iter_mut().find(|loss| loss.place == place && loss.unit == unit)
        else {
            return 0;
        };
        let taken = count.min(loss.count);
        loss.count -= taken;
        taken
    }

    /// Whether there is nothing to report.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn take(&mut self) -> impl Iterator<Item = Loss> + use<> {
        std::mem::take(&mut self.0).into_iter().filter(|loss| loss.count > 0)
    }
}
