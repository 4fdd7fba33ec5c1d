//! The outcome of a run: the lines of its summary on standard error.

use crate::config::{Config, Source};
use crate::enrich::process::AttributionCounts;
use crate::messages::{self, Coverage, NotReadable, WrittenCounts, counted};
use crate::stages::Outside;
use crate::state_file::SaveOutcome;
use http_trace_detect::DetectStats;
use http_trace_engine::fragments::FragmentCounts;
use http_trace_engine::stats::Stats;
use http_trace_model::shown::grouped;

/// What remains of a driver at its end.
#[derive(Debug)]
pub struct Finished {
    pub written: WrittenCounts,
    pub stats: Stats,
    pub detect: DetectStats,
    /// Outcome of the last write of the file of `--state`.
    pub kept: SaveOutcome,
    /// The same for the inventory.
    pub inventory: SaveOutcome,
    /// Whether `--state` was given but its file cannot be written.
    pub keeps_nothing: bool,
    /// Counters of IP fragments that the programs shipped.
    pub fragments: FragmentCounts,
    /// Reassembled packets with a wrong checksum.
    pub bad_fragments: u64,
    /// Whether the run ended because the outputs reached their limit (`--count`, or a closed pipe).
    pub had_enough: bool,
    pub outside: Outside,
    /// Counters of attributing ends of events to processes.
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
        if written.is_empty() && self.outside != Outside::default() {
            let Outside { segments, events } = self.outside;
            let outside = [(segments, "segment"), (events, "event")]
                .map(|(count, what)| (count > 0).then(|| counted(count, what)));
            let outside = outside.into_iter().flatten().collect::<Vec<_>>().join(" and ");
            let limits = config.limits.join(" ");
            lines.insert(1, format!("nothing matches {limits}: {outside} left out"));
        }
        if written.events == 0 && written.left_out_by_filters > 0 {
            lines.splice(1..1, config.selection().hints("--", ": "));
        }
        if self.detect.open > 0 {
            lines.push(format!("{} still open at the end", counted(self.detect.open, "alert")));
        }
        if matches!(config.source, Source::Recorded(_)) {
            if self.written.alerts.is_empty() {
                lines.push("no alerts".to_owned());
            }
            lines.extend(all.then(|| self.counters()));
            return lines;
        }
        let http = grouped(stats.http_flows);
        let mut line = format!("{}, {http} with HTTP", counted(stats.flows, "connection"));
        for (count, what, always) in [
            (stats.midstream, "connection with no start seen", true),
            (stats.without_request, "response without a request", true),
            (stats.requests_unmatched, "request without a matched response", true),
            (stats.holes, "gap", true),
            (stats.hole_bytes, "byte in gaps", true),
            (stats.unended, "connection with no end seen", false),
            (stats.aliases, "tuple aliased by address translation", false),
            (stats.bad_status, "line with an invalid status code", false),
            (stats.unframed_bytes, "byte outside messages", true),
            (self.attribution.unknown, "endpoint of an unknown process", true),
            (self.attribution.containers_unnamed, "endpoint in an unnamed container", false),
            (self.attribution.pods_unnamed, "endpoint in an unnamed pod", false),
            (self.attribution.late, "lookup of a process too late", false),
            (stats.disputed_segments, "segment rejected", true),
            (stats.overlaps_differ, "overlap with different bytes", true),
            (stats.ignored_segments, "segment ignored", false),
            (stats.unproven, "response unproven", true),
            (stats.filter_disagrees, "skip of the filter outside a body", false),
        ] {
            if count > 0 && (always || all) {
                line.push_str(", ");
                // Only the first word takes the plural.
                let (first, rest) = what.split_at(what.find(' ').unwrap_or(what.len()));
                line.push_str(&format!("{}{rest}", counted(count, first)));
            }
        }
        lines.push(line);
        let fragments = &self.fragments;
        if fragments.fragments > 0 {
            let mut line = format!(
                "{} reassembled into {}",
                counted(fragments.fragments, "IP fragment"),
                counted(fragments.reassembled, "packet"),
            );
            for (count, what) in [
                (fragments.given_up, "incomplete"),
                (fragments.displaced, "dropped for lack of memory"),
                (fragments.contradicting, "with conflicting fragments"),
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
    /// not read, `has_lines` that recorded lines were; `truncated` are the segments truncated by the snap length,
    /// and their missing bytes.
    /// `lacks_rules`: some rules could not be read or did not load.
    pub fn verdict(
        &self,
        is_cut: bool,
        has_lines: bool,
        truncated: [u64; 2],
        lacks_rules: bool,
    ) -> String {
        let stats = &self.stats;
        let mut line = self.written.verdict(&Coverage {
            unreadable: &of_unreadable(stats),
            gaps: stats.holes,
            gap_bytes: stats.hole_bytes,
            truncated,
            is_cut,
            has_lines,
            is_empty: self.written.is_empty()
                && (stats.flows == 0 || truncated[0] > 0)
                && self.outside == Outside::default(),
        });
        let state = self.keeps_nothing || self.kept.failure.is_some();
        let kept = [(state, "state"), (self.inventory.failure.is_some(), "inventory")];
        for (_, what) in kept.iter().filter(|(failed, _)| *failed) {
            line.push_str(&format!("; the {what} was not kept"));
        }
        if lacks_rules {
            line.push_str("; not all rules were loaded");
        }
        line
    }

    /// Whether nothing came in at all.
    pub fn is_empty(&self) -> bool {
        self.written.is_empty() && self.stats.records == 0 && self.outside == Outside::default()
    }

    /// Counters of the judge by name: `judged: filter_disagrees 0, unsure 2, …`.
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
    messages::unreadable(&of_unreadable(stats))
}

/// Connections that cannot be read, by protocol.
pub(super) fn of_unreadable(stats: &Stats) -> Vec<NotReadable> {
    let items = stats.unreadable.iter().map(|((kind, port), count)| NotReadable {
        protocol: kind.name(),
        port: *port,
        connections: *count,
    });
    items.collect()
}
