//! How a run went, once all is written: what standard error is told at its end.

use crate::config::{Config, Source};
use crate::enrich::process::AttributionCounts;
use crate::state_file::Kept;
use crate::summary::{self, Seen, Written, counted};
use http_trace_detect::DetectStats;
use http_trace_engine::fragments::FragmentCounts;
use http_trace_engine::stats::Stats;

/// What is left of an engine at its end.
#[derive(Debug)]
pub struct Finished {
    /// What became of the events.
    pub written: Written,
    /// What the pipeline counted.
    pub stats: Stats,
    /// What was counted about detection.
    pub detect: DetectStats,
    /// How the last writing of the file of `--state` went.
    pub kept: Kept,
    /// The same of the inventory.
    pub inventory: Kept,
    /// Whether there was no file of `--state` to write although it was asked for.
    pub keeps_nothing: bool,
    /// What became of IP fragments that the programs shipped.
    pub fragments: FragmentCounts,
    /// Packets of fragments that were not of one packet.
    pub bad_fragments: u64,
    /// Whether the run ended because the outputs had enough (`--count`, or nobody reads).
    pub had_enough: bool,
    /// Segments, and recorded events, that were out of scope.
    pub outside: u64,
    /// How many ends of events have a process.
    pub attribution: AttributionCounts,
}

impl Finished {
    /// The summary's lines: responses, alerts, and what there was of connections if any were looked at. Every
    /// counter with -v.
    pub fn lines(&self, config: &Config) -> Vec<String> {
        let stats = &self.stats;
        let all = config.verbose > 0;
        let written = &self.written;
        let mut lines = written.lines(&config.filters.join(" "), &config.sampled.join(" "));
        if written.is_empty() && self.outside > 0 {
            let what = match config.source {
                Source::Recorded(_) => "event",
                Source::Live | Source::Captures(_) => "segment",
            };
            let (outside, limits) = (counted(self.outside, what), config.limits.join(" "));
            lines.insert(1, format!("nothing is within {limits}: {outside} left out"));
        }
        if written.events == 0 && written.left_out_by_filters > 0 {
            lines.splice(1..1, config.selection().hints("--", ": "));
        }
        if self.detect.open > 0 {
            lines.push(format!(
                "{} still open at the end",
                counted(self.detect.open, "alert")
            ));
        }
        if matches!(config.source, Source::Recorded(_)) {
            if self.written.alerts.is_empty() {
                lines.push("no alert opened".to_owned());
            }
            lines.extend(all.then(|| self.counters()));
            return lines;
        }
        let mut line = format!(
            "{}, {} with HTTP",
            counted(stats.flows, "connection"),
            stats.http_flows
        );
        for (count, what, always) in [
            (stats.midstream, "connection open before the start", true),
            (stats.without_request, "response without a request", true),
            (
                stats.requests_unmatched,
                "request without a known answer",
                true,
            ),
            (stats.holes, "gap", true),
            (stats.hole_bytes, "byte in gaps", true),
            (stats.unended, "connection without an end", false),
            (stats.aliases, "name after translation of addresses", false),
            (stats.tunnels, "tunnel", false),
            (
                stats.bad_status,
                "line with an impossible status code",
                false,
            ),
            (stats.unframed_bytes, "byte of no message", false),
            (self.attribution.unknown, "end of an unknown process", true),
            (
                self.attribution.containers_unnamed,
                "end in an unnamed container",
                false,
            ),
            (
                self.attribution.pods_unnamed,
                "end in an unnamed pod",
                false,
            ),
            (
                self.attribution.late,
                "lookup of a process that came late",
                false,
            ),
            (stats.disputed_segments, "segment disproved", true),
            (stats.overlaps_differ, "overlap with other bytes", true),
            (stats.ignored_segments, "segment not believed", false),
            (stats.unproven, "response not believed", true),
            (
                stats.filter_disagrees,
                "skip of the filter that is not body",
                false,
            ),
        ] {
            if count > 0 && (always || all) {
                line.push_str(", ");
                // The plural is the first word's.
                let (first, rest) = what.split_at(what.find(' ').unwrap_or(what.len()));
                line.push_str(&format!("{}{rest}", counted(count, first)));
            }
        }
        lines.push(line);
        let fragments = &self.fragments;
        if fragments.fragments > 0 {
            let mut line = format!(
                "{} put together to {}",
                counted(fragments.fragments, "IP fragment"),
                counted(fragments.reassembled, "packet"),
            );
            for (count, what) in [
                (fragments.given_up, "incomplete"),
                (fragments.displaced, "given up for want of memory"),
                (fragments.contradicting, "with contradicting fragments"),
                (fragments.overlapping, "with overlapping fragments"),
                (self.bad_fragments, "with a wrong checksum"),
            ] {
                if count > 0 {
                    line.push_str(&format!(", {count} {what}"));
                }
            }
            lines.push(line);
        }
        lines.extend(all.then(|| self.counters()));
        lines
    }

    /// The last line: whether anything was lost and what was not readable. `is_cut` says that some of the input was
    /// not read.
    pub fn verdict(&self, is_cut: bool) -> String {
        let stats = &self.stats;
        self.written.verdict(&Seen {
            unreadable: &of_unreadable(stats),
            gaps: stats.holes,
            gap_bytes: stats.hole_bytes,
            is_cut,
            is_empty: self.written.is_empty() && stats.flows == 0 && self.outside == 0,
        })
    }

    /// Whether nothing came in at all.
    pub fn is_empty(&self) -> bool {
        self.written.is_empty() && self.stats.records == 0 && self.outside == 0
    }

    /// What the judge counted, by name: `judged: filter_disagrees 0, unsure 2, …`.
    fn counters(&self) -> String {
        let stats = &self.stats;
        let named = [
            ("filter_disagrees", stats.filter_disagrees),
            ("unsure", stats.became_unsure),
            ("resynchronised", stats.resynchronised),
            ("holes", stats.holes),
            ("hole_bytes", stats.hole_bytes),
            ("unframed_bytes", stats.unframed_bytes),
            ("copied_bytes", stats.copied_bytes),
            ("overlaps_differ", stats.overlaps_differ),
            ("disputed_segments", stats.disputed_segments),
            ("ignored_segments", stats.ignored_segments),
            ("unproven", stats.unproven),
            ("requests_unmatched", stats.requests_unmatched),
            ("flows_evicted", stats.flows_evicted),
        ];
        let named: Vec<String> = named.map(|(name, n)| format!("{name} {n}")).into();
        let detect = &self.detect;
        format!(
            "judged: {}; detection: keys {}, bytes {}, evicted {}, refused {}, late {}, clamped {}",
            named.join(", "),
            detect.keys,
            detect.bytes,
            detect.turnover.evicted,
            detect.turnover.refused,
            detect.late,
            detect.clamped,
        )
    }
}

/// `not readable: 398 TLS on :443`, if there are such.
pub(super) fn unreadable(stats: &Stats) -> Option<String> {
    summary::unreadable(&of_unreadable(stats))
}

/// Protocol, port and count of connections that cannot be read.
pub(super) fn of_unreadable(stats: &Stats) -> Vec<(&'static str, u16, u64)> {
    let items = stats.unreadable.iter();
    let items = items.map(|((kind, port), count)| (kind.name(), *port, *count));
    items.collect()
}
