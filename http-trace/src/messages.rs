//! Counts what came of events, and words it for standard error at the start and end of a run. Prints nothing itself.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::iter::Sum;
use std::ops::AddAssign;
use std::sync::Arc;

use crate::ban::Counts;
use http_trace_detect::alert::{Alert, State};
use http_trace_detect::rule::Severity;
use http_trace_model::event::{HttpEvent, Loss, NOT_RUNNING, NoResponse};
use http_trace_model::shown::{grouped, span};

/// Numbers of records that are lines of an output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Records {
    pub events: u64,
    pub alerts: u64,
}

impl Records {
    pub const NONE: Self = Records { events: 0, alerts: 0 };
    pub const EVENT: Self = Records { events: 1, alerts: 0 };
    pub const ALERT: Self = Records { events: 0, alerts: 1 };
}

impl AddAssign for Records {
    fn add_assign(&mut self, more: Self) {
        self.events += more.events;
        self.alerts += more.alerts;
    }
}

impl Sum for Records {
    fn sum<I: Iterator<Item = Self>>(records: I) -> Self {
        let mut sum = Records::NONE;
        records.for_each(|more| sum += more);
        sum
    }
}

/// `3 events and 1 alert`.
impl fmt::Display for Records {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (events, alerts) = (counted(self.events, "event"), counted(self.alerts, "alert"));
        match self {
            Records { alerts: 0, .. } => out.write_str(&events),
            Records { events: 0, .. } => out.write_str(&alerts),
            _ => write!(out, "{events} and {alerts}"),
        }
    }
}

/// Connections of a protocol that is not readable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotReadable {
    pub protocol: &'static str,
    /// Of the server; 0 for all further ports.
    pub port: u16,
    pub connections: u64,
}

/// Counts of events from the pipeline, and what happened to them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WrittenCounts {
    /// Events written to some output, or counted in a summary.
    pub events: u64,
    /// Whether all outputs are summaries, which count events and write none.
    pub only_counted: bool,
    pub left_out_by_filters: u64,
    pub not_sampled: u64,
    /// What settings left out that a reload has changed since, by their text.
    pub left_out_earlier: BTreeMap<String, u64>,
    /// Events that the run's filters let through and no output takes.
    pub taken_by_none: u64,
    /// What outputs with filters of their own left out.
    pub by_output: Vec<ByOutput>,
    /// Responses that came out of the pipeline, by class.
    pub classes: BTreeMap<&'static str, u64>,
    /// 1xx heads, with or without a final response.
    pub informational: u64,
    /// Requests without a response.
    pub unanswered: u64,
    /// Requests of captures that do not show their response.
    pub unseen: u64,
    /// Losses by place and unit.
    pub lost: BTreeMap<(&'static str, &'static str), u64>,
    /// Time between an earlier run and this one, ns.
    pub not_running_ns: u64,
    /// Alerts that opened, by rule.
    pub alerts: BTreeMap<Arc<str>, u64>,
    /// The highest severity among them.
    pub worst: Option<Severity>,
    /// Records of alerts delivered to destinations other than outputs, by destination; an alert has several.
    pub delivered: BTreeMap<String, u64>,
    /// Alerts and losses that a format cannot represent, by format.
    pub left_out: BTreeMap<&'static str, u64>,
    /// A line about bans.
    pub bans: Option<String>,
    /// Failed outputs, with the reason.
    pub failed: Vec<String>,
    /// What was for outputs whose reader closed its pipe.
    pub unread: Records,
}

/// What an output with filters of its own left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ByOutput {
    /// The output, as it was given, without its options.
    pub name: String,
    /// Its filters, as they were given.
    pub filters: String,
    /// Events that it left out, and those that it took.
    pub left_out: u64,
    pub took: u64,
    /// What may have been meant, where it took none.
    pub hints: Vec<String>,
}

impl ByOutput {
    fn lines(&self) -> impl Iterator<Item = String> {
        let left_out = format!(
            "{}: {} left out by {}",
            self.name,
            counted(self.left_out, "event"),
            self.filters
        );
        let hints = self.hints.iter().filter(|_| self.took == 0).cloned();
        [left_out].into_iter().chain(hints)
    }
}

impl WrittenCounts {
    /// Notes that a reload changes these filters and samples, given as text.
    pub fn reloads(&mut self, filters: &str, sample: &str) {
        for (count, by) in
            [(&mut self.left_out_by_filters, filters), (&mut self.not_sampled, sample)]
        {
            if *count > 0 {
                *self.left_out_earlier.entry(by.to_owned()).or_default() += std::mem::take(count);
            }
        }
    }

    /// Counts an event, whether or not it is selected.
    pub fn saw(&mut self, event: &HttpEvent) {
        self.informational += event.informational.len() as u64;
        if event.response.is_some() {
            if let Some(class) = event.status_class() {
                *self.classes.entry(class).or_default() += 1;
            }
        } else if let Some(why) = event.no_response {
            let of =
                if why == NoResponse::Unseen { &mut self.unseen } else { &mut self.unanswered };
            *of += 1;
        }
    }

    /// Counts an alert, whether or not it is selected.
    pub fn alerted(&mut self, alert: &Alert) {
        if alert.state == State::Opened {
            *self.alerts.entry(Arc::clone(&alert.rule.id)).or_default() += 1;
            self.worst = self.worst.max(Some(alert.severity));
        }
    }

    /// Counts a loss. What crossed before this run is not lost by it.
    pub fn lost(&mut self, loss: &Loss) {
        if loss.place == NOT_RUNNING {
            self.not_running_ns += loss.until_ns.saturating_sub(loss.since_ns);
            return;
        }
        *self.lost.entry((loss.place, loss.unit.name())).or_default() += loss.count;
    }

    /// Notes that an output failed, and how many events and alerts are missing there: at most, as the last block may be
    /// there in part.
    pub fn failed(&mut self, name: &str, why: &str, lost: Records) {
        let mut line = format!("cannot write to {name}: {why}");
        // A report holds none.
        if lost != Records::NONE {
            line.push_str(&format!("; up to {lost} not written there"));
        }
        self.failed.push(line);
    }

    /// Notes that an output did not take its last events and alerts before the end of the run.
    pub fn abandoned(&mut self, name: &str, lost: Records) {
        self.failed.push(format!("{name} is too slow: up to {lost} not written there"));
    }

    /// Notes how many records an output's destination rejected.
    pub fn refused(&mut self, name: &str, records: u64, why: &str) {
        let records = counted(records, "record");
        self.failed.push(format!("{records} rejected by {name}: {why}"));
    }

    /// Notes the delivery of alerts to a destination other than the outputs.
    pub fn delivered(&mut self, name: &str, delivered: u64, lost: u64, failure: Option<String>) {
        if lost > 0 {
            let why = failure.unwrap_or_else(|| "too slow".to_owned());
            let lost = counted(lost, "alert record");
            self.failed.push(format!("{lost} not delivered to {name}: {why}"));
        }
        *self.delivered.entry(name.to_owned()).or_default() += delivered;
    }

    /// Notes bans, or in a dry run those that would have been made.
    pub fn banned(&mut self, is_dry: bool, counts: &Counts) {
        let mut line = match is_dry {
            true => {
                format!("{} would have been banned (dry run)", counted(counts.banned, "client"))
            }
            // A client whose ban was lifted may have been banned again.
            false => format!("{} made", counted(counts.banned, "ban")),
        };
        if counts.refused > 0 {
            let reasons: Vec<&str> = counts.reasons.iter().copied().collect();
            let refused = counted(counts.refused, "ban");
            let _ = write!(line, "; {refused} refused ({})", reasons.join("; "));
        }
        self.bans = (counts.banned + counts.refused > 0).then_some(line);
        if counts.failed > 0 || counts.failure.is_some() {
            let why = counts.failure.as_deref().unwrap_or("the firewall was too slow");
            let failed = counted(counts.failed, "client");
            self.failed.push(format!("{failed} not banned: {why}"));
        }
    }

    /// A line about outputs that nobody reads any more; `has_stopped` says whether the run ended for it.
    pub fn readers_gone(&self, has_stopped: bool) -> Option<String> {
        let begin = if has_stopped { "stopped, as nobody" } else { "nobody" };
        let is_unread = self.unread != Records::NONE;
        let unread = is_unread.then(|| format!("; {} not written there", self.unread));
        (has_stopped || is_unread)
            .then(|| format!("{begin} reads the output any more{}", unread.unwrap_or_default()))
    }

    /// Whether nothing was read.
    pub fn is_empty(&self) -> bool {
        self.classes.is_empty() && self.informational == 0 && self.unanswered + self.unseen == 0
    }

    /// Whether anything was lost.
    pub fn is_lossy(&self) -> bool {
        !self.lost.is_empty() || !self.failed.is_empty()
    }

    /// The final lines: responses by class, then losses. `filters` and `sample` are the options that leave
    /// events out.
    pub fn lines(&self, filters: &str, sample: &str) -> Vec<String> {
        let mut lines = Vec::new();
        let mut line = counted(self.classes.values().sum(), "response");
        let classes: Vec<String> = self
            .classes
            .iter()
            .map(|(class, count)| format!("{class} {}", grouped(*count)))
            .collect();
        if !classes.is_empty() {
            let _ = write!(line, " ({})", classes.join(", "));
        }
        for (count, what) in
            [(self.informational, "informational head"), (self.unanswered, "unanswered request")]
        {
            if count > 0 {
                let _ = write!(line, ", {}", counted(count, what));
            }
        }
        if self.unseen > 0 {
            let _ = write!(
                line,
                ", {} without a response in the capture",
                counted(self.unseen, "request")
            );
        }
        let done = if self.only_counted { "counted" } else { "written" };
        let _ = write!(line, "; {} {done}", counted(self.events, "event"));
        for (count, by) in [
            (self.left_out_by_filters, filters),
            (self.not_sampled, sample),
            (self.taken_by_none, "what outputs take"),
        ] {
            if count > 0 {
                // An output has filters of its own beside those of the run.
                let by = if by.is_empty() { "filters of an output" } else { by };
                let _ = write!(line, ", {} left out by {by}", grouped(count));
            }
        }
        for (by, count) in &self.left_out_earlier {
            let _ = write!(line, ", {} left out by {by} before a reload", grouped(*count));
        }
        lines.push(line);
        let with_filters = self.by_output.iter().filter(|of| of.left_out > 0);
        lines.extend(with_filters.flat_map(ByOutput::lines));
        if !self.alerts.is_empty() {
            let of: Vec<String> =
                self.alerts.iter().map(|(rule, count)| format!("{rule} {count}")).collect();
            let all = counted(self.alerts.values().sum(), "alert");
            lines.push(format!("{all}: {}", of.join(", ")));
        }
        lines.extend(self.bans.clone());
        for (name, count) in &self.delivered {
            lines.push(format!("{} delivered to {name}", counted(*count, "alert record")));
        }
        for (format, count) in self.left_out.iter().filter(|(_, count)| **count > 0) {
            let records = match count {
                1 => "1 alert or loss".to_owned(),
                _ => format!("{count} alerts and losses"),
            };
            lines.push(format!("{records} not written as {format}, which only has events"));
        }
        let has = |wanted: &str| self.lost.keys().any(|(place, _)| *place == wanted);
        lines.extend(
            ADVICE.iter().filter(|(place, _)| has(place)).map(|(_, line)| (*line).to_owned()),
        );
        lines
    }

    /// Whether anything was lost, in words: the beginning of the last line.
    fn losses(&self) -> String {
        let each = self.lost.iter();
        let each = each.map(|((place, unit), count)| {
            let unit = unit.strip_suffix('s').unwrap_or(unit);
            format!("{} ({place})", counted(*count, unit))
        });
        let mut lost: Vec<String> = each.collect();
        if !self.failed.is_empty() {
            lost.push("what could not be written or delivered".to_owned());
        }
        match lost.is_empty() {
            true => "nothing was lost".to_owned(),
            false => format!("lost: {}", lost.join(", ")),
        }
    }

    /// The last line of a run: whether anything was lost, what of the traffic was not there to be seen, and what
    /// was not readable. `seen` says what a run looked at.
    pub fn verdict(&self, seen: &Coverage<'_>) -> String {
        let mut line = self.losses();
        if self.not_running_ns > 0 {
            let time = span(self.not_running_ns.div_ceil(1_000_000_000));
            let _ = write!(line, "; nothing was traced in the {time} before this run");
        }
        // Where the filter runs, bytes cut off a segment are no gap.
        let [segments, bytes] = seen.truncated;
        let is_truncated = bytes > seen.gap_bytes;
        if seen.gaps > 0 || is_truncated {
            let bytes = counted(bytes.max(seen.gap_bytes), "byte");
            let gaps = (seen.gaps > 0).then(|| counted(seen.gaps, "gap"));
            let cut = is_truncated.then(|| counted(segments, "truncated segment"));
            let why = gaps.into_iter().chain(cut).collect::<Vec<_>>().join(", ");
            let _ = write!(line, "; {bytes} of connections were not seen ({why})");
        }
        if seen.is_cut {
            line.push_str("; not all of the input was read");
        }
        let is_partial = seen.is_cut || segments > 0;
        let unreadable = unreadable(seen.unreadable);
        line.push_str("; ");
        line.push_str(match &unreadable {
            Some(unreadable) => unreadable,
            None if seen.is_empty && (is_partial || seen.has_lines) => "none of it gave an event",
            None if seen.is_empty => "there was nothing to read",
            None if is_partial => "the rest was readable",
            None => "everything was readable",
        });
        line
    }
}

/// What a run looked at, besides what came of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Coverage<'a> {
    /// Those of a protocol follow each other.
    pub unreadable: &'a [NotReadable],
    /// Gaps in connections, and how many bytes of these they hide.
    pub gaps: u64,
    pub gap_bytes: u64,
    /// Segments truncated by the snap length, and how many of their bytes are missing.
    pub truncated: [u64; 2],
    /// Whether some of the input was not read: files, lines, or what comes after a signal.
    pub is_cut: bool,
    /// Whether nothing came.
    pub is_empty: bool,
    /// Whether recorded lines were read, be they events or not.
    pub has_lines: bool,
}

/// Advice about losses by their place: what bounds them.
const ADVICE: &[(&str, &str)] = &[
    (
        "ring_full",
        "the agent could not keep up with the kernel: trace less (-i, -p), give it more CPU, or enlarge the ring \
         buffer (HTTP_TRACE_RING_SIZE=64MiB)",
    ),
    (
        "table_full",
        "more connections were open than are followed at once: raise max-flows (HTTP_TRACE_MAX_FLOWS), or trace less \
         (-i, -p)",
    ),
    (
        "output_queue",
        "an output took its events too slowly: write fewer (--status, --sample, fields=compact), or enlarge its queue \
         (HTTP_TRACE_OUTPUT_QUEUE)",
    ),
];

/// Formats `not readable: 398 TLS on :443, 14 HTTP/2 on :8443`; `None` if there are none. At most three
/// ports per protocol are named.
pub fn unreadable(items: &[NotReadable]) -> Option<String> {
    protocols(items).map(|protocols| format!("not readable: {protocols}"))
}

/// What was seen if nothing readable came for this many seconds: unreadable connections, packets, those
/// excluded by port limits, and where.
pub fn nothing_readable(
    seconds: u64,
    items: &[NotReadable],
    [packets, left_out]: [u64; 2],
    place: &str,
) -> String {
    if packets == 0 {
        return format!(
            "no packets {place} in {seconds} s: does the traffic use another interface? (`ip -s \
             link` counts packets per interface, -i chooses one)"
        );
    }
    let mut line = format!("nothing readable in {seconds} s: ");
    if let Some(protocols) = protocols(items) {
        let _ = write!(line, "{protocols}; ");
    }
    let _ = write!(line, "{} {place}", counted(packets, "packet"));
    if left_out > 0 {
        let _ = write!(line, ", {} of them left out by --port", grouped(left_out));
    }
    line.push_str("; is the unencrypted traffic on another interface or port?");
    line
}

/// Formats `398 TLS on :443, 14 HTTP/2 on :8443`. Items of one protocol follow each other.
fn protocols(items: &[NotReadable]) -> Option<String> {
    let of_protocol = |items: &[NotReadable]| {
        let count: u64 = items.iter().map(|item| item.connections).sum();
        let mut ports: Vec<_> = items.iter().map(|item| (item.connections, item.port)).collect();
        ports.sort_unstable_by(|a, b| b.cmp(a));
        let named = ports.iter().take(3).map(|(_, port)| match port {
            0 => "other ports".to_owned(),
            port => format!(":{port}"),
        });
        let named = named.collect::<Vec<_>>().join(" ");
        let more = if ports.len() > 3 { " …" } else { "" };
        (count, format!("{} {} on {named}{more}", grouped(count), items[0].protocol))
    };
    let mut protocols: Vec<(u64, String)> = items
        .chunk_by(|a, b| a.protocol == b.protocol)
        .map(of_protocol)
        .filter(|(count, _)| *count > 0)
        .collect();
    protocols.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
    let parts: Vec<String> = protocols.into_iter().map(|(_, text)| text).collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// Formats the number of segments that a receiver would drop.
pub fn damaged(count: u64) -> Option<String> {
    (count > 0).then(|| {
        let segments = counted(count, "segment");
        format!("{segments} disproved: wrong checksum, old timestamp or no acknowledgement")
    })
}

/// Formats `1 frame`, `2 frames`.
pub fn counted(count: u64, what: &str) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{} {what}{s}", grouped(count))
}

#[cfg(test)]
mod tests;
