//! A run over captures. Event time is capture time; the host clock only advances it while a pipe is silent.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Mutex;

use super::exit::{Ended, Reading};
use super::pipe::{self, Shared, Unfinished};
use super::progress::Progress;
use super::session::{Session, reading, some_of, started};
use super::stop::Stop;
use crate::capture::error::Problem;
use crate::capture::{Replay, ReplayCounts, ReplayOptions};
use crate::config::Config;
use crate::driver::Driver;
use crate::messages::{counted, damaged};
use crate::sink::outlet::Next;
use crate::sync::lock;
use http_trace_common::config::FilterConfig;
use http_trace_common::filter::Context;
use http_trace_common::record::{Hook, Record, RecordHeader, flag};
use http_trace_common::walk::{Segment, tcp_flag};
use http_trace_engine::host_filter::HostFilter;
use http_trace_engine::stats::FilterLosses;

/// How often idle connections are removed, in capture time.
const FORGET_EVERY_NS: u64 = 10_000_000_000;

/// Largest forward jump in time that a single packet can cause.
const MOMENT_NS: u64 = 10_000_000_000;

/// Results of the reading thread.
#[derive(Default)]
struct Outcome {
    reading: Reading,
    /// Captures not opened because too many files were open.
    crowded: u64,
    /// Unknown if reading was still blocked.
    counts: Option<ReplayCounts>,
    skipped_files: Vec<PathBuf>,
}

/// Reads captures until their end, an output limit, or `stop`.
pub fn run(config: &Config, paths: &[PathBuf], stop: &Stop) -> Result<Ended, Ended> {
    let session = Session::of_files(config, stop)?;
    started(config, &reading(paths));
    let blocks = paths.iter().any(|path| pipe::may_block(path));
    let (config_too, stop_too, paths) = (config.clone(), stop.clone(), paths.to_vec());
    let (session, outcome) =
        pipe::drive(session, blocks, move |shared| read(&config_too, &paths, shared, &stop_too));
    let outcome = outcome.unwrap_or_else(|left| {
        let reading = match left {
            Unfinished::Blocked => Reading::Interrupted,
            Unfinished::Failed => Reading::Faulty,
        };
        Outcome { reading, ..Outcome::default() }
    });
    let Some(mut session) = session else { return Ok(Ended::Lossy) };
    if outcome.crowded > 0 {
        session.problems.push(format!(
            "{} not read: too many captures overlap in time for the open file limit; raise it \
             (ulimit -n 4096) or name fewer",
            counted(outcome.crowded, "capture")
        ));
    }
    if let Some(counts) = &outcome.counts {
        session.truncated = [counts.cut_segments, counts.cut_bytes];
    }
    Ok(session.finish(replay_lines(&outcome), outcome.reading))
}

fn read(config: &Config, paths: &[PathBuf], shared: &Mutex<Shared>, stop: &Stop) -> Outcome {
    let options = ReplayOptions { verify_checksums: config.verify_checksums };
    let mut replay = Replay::open(paths, options);
    let mut outcome = Outcome::default();
    let mut progress = Progress::of(config);
    let mut filter = config.kernel_filter.then(|| {
        HostFilter::new(FilterConfig { snippet: config.snippet(), ..FilterConfig::DEFAULT })
    });
    let mut named = HashSet::<u32, foldhash::fast::RandomState>::default();
    let mut begin_ns = None;
    let mut last_forget_ns = 0;
    let mut lost: Option<FilterLosses> = None;
    while !stop.is_requested() && replay.advance() {
        let record = replay.current();
        let header = record.header;
        let begin_ns = *begin_ns.get_or_insert(header.time_ns);
        let run_ns = header.time_ns.saturating_sub(begin_ns);
        if config.duration.is_some_and(|most| u128::from(run_ns) >= most.as_nanos()) {
            break;
        }
        let mut shared = lock(shared);
        let Some(session) = shared.session.as_mut() else { break };
        session.upkeep();
        let driver = &mut session.driver;
        let interface = header.interfaces[0];
        if interface != 0
            && named.insert(interface)
            && let Some(name) = replay.frames.interface_name(interface)
        {
            driver.pipeline.set_interface(interface, name);
        }
        let encap = driver.pipeline.encap_number(replay.encap());
        let header = &RecordHeader { encap, ..*header };
        let record = Record { header, ..record };
        let next = match &mut filter {
            None => driver.push(&record),
            Some(filter) => {
                if header.time_ns.saturating_sub(last_forget_ns) > FORGET_EVERY_NS {
                    last_forget_ns = header.time_ns;
                    filter.forget_idle((header.time_ns / 1_000_000_000) as u32);
                    let lost = lost.get_or_insert(FilterLosses::since(begin_ns));
                    report_losses(lost, filter, driver);
                }
                through_filter(filter, &record, driver)
            }
        };
        let time_ns = header.time_ns;
        if let Some(progress) = &mut progress {
            progress.tick(&replay);
        }
        keep_problems(&mut replay, session, &mut outcome);
        shared.came(time_ns);
        drop(shared);
        if next == Next::Stop {
            break;
        }
    }
    if let Some(session) = lock(shared).session.as_mut() {
        if let (Some(filter), Some(lost)) = (&filter, &mut lost) {
            report_losses(lost, filter, &mut session.driver);
        }
        keep_problems(&mut replay, session, &mut outcome);
    }
    if stop.is_requested() {
        outcome.reading = Reading::Interrupted;
    }
    outcome.counts = Some(replay.counts());
    outcome.skipped_files = replay.frames.skipped().to_vec();
    outcome
}

/// Reports losses counted by the filter, as live runs do for the eBPF programs.
fn report_losses(losses: &mut FilterLosses, filter: &HostFilter, driver: &mut Driver) {
    let now_ns = driver.pipeline.now_ns();
    for loss in losses.take(now_ns, |counter| filter.counter(counter)) {
        driver.pipeline.add_loss(&loss);
    }
}

/// Passes a segment through the filter, and what it ships to the driver.
fn through_filter(filter: &mut HostFilter, record: &Record<'_>, driver: &mut Driver) -> Next {
    let header = record.header;
    if !driver.stages.admits(header) {
        return Next::Go;
    }
    // Segments that the filter drops still advance time, as the clock does live. A single time far ahead is
    // left to the pipeline, which accepts it only when others agree.
    let now_ns = driver.pipeline.now_ns();
    if (1..MOMENT_NS).contains(&header.time_ns.saturating_sub(now_ns)) {
        driver.tick(header.time_ns);
    }
    let context = Context {
        hook: Hook::Capture,
        time_ns: header.time_ns,
        interface: header.interfaces[0],
        wire_len: header.wire_len,
        egress: header.has(flag::EGRESS),
    };
    let mut next = Next::Go;
    let end = header.seq.wrapping_add(header.len);
    let mut has_end = false;
    filter.push(record.bytes, &segment(header), &context, &mut |shipped| {
        has_end |= shipped.header.skip_to == end;
        // The filter, as in the kernel, knows nothing about tunnels.
        let shipped_header = RecordHeader { encap: header.encap, ..*shipped.header };
        let shipped = Record { header: &shipped_header, ..shipped };
        if driver.push(&shipped) == Next::Stop {
            next = Next::Stop;
        }
    });
    if next == Next::Go && has_end && header.skip_to != end {
        // The rest of the segment is in no capture, and the kernel's filter never meets such a segment.
        let cut = RecordHeader {
            seq: end,
            skip_from: end,
            len: 0,
            flags: header.flags & (flag::ACK | flag::EGRESS),
            ..*header
        };
        next = driver.push(&Record { tunnel: None, header: &cut, bytes: &[] });
    }
    for (key, handed) in driver.pipeline.take_hand_backs() {
        filter.hand_back(key, handed);
    }
    next
}

/// Converts a record of a replay to a segment with its payload at offset 0.
fn segment(header: &RecordHeader) -> Segment {
    let (key, direction) = header.key();
    let mut flags = 0;
    for (record, tcp) in [
        (flag::SYN, tcp_flag::SYN),
        (flag::FIN, tcp_flag::FIN),
        (flag::RST, tcp_flag::RST),
        (flag::ACK, tcp_flag::ACK),
    ] {
        if header.has(record) {
            flags |= tcp;
        }
    }
    Segment {
        key,
        direction,
        // A record holds the sequence number of the payload, a segment that of the SYN.
        seq: header.seq.wrapping_sub(u32::from(header.has(flag::SYN))),
        ack: header.ack,
        flags,
        // The replay has already verified its checksum.
        header_len: 0,
        payload_offset: 0,
        payload_len: header.len,
    }
}

/// Keeps read errors to be reported at the end.
fn keep_problems(replay: &mut Replay, session: &mut Session, outcome: &mut Outcome) {
    if replay.frames.problems().is_empty() {
        return;
    }
    for problem in replay.frames.take_problems() {
        match &problem.problem {
            Problem::Open(error) if is_crowded(error) => outcome.crowded += 1,
            _ => session.problems.push(problem.to_string()),
        }
    }
}

/// Whether too many files are open (EMFILE, ENFILE).
fn is_crowded(error: &std::io::Error) -> bool {
    matches!(error.raw_os_error(), Some(23 | 24))
}

fn replay_lines(outcome: &Outcome) -> Vec<String> {
    let Some(counts) = &outcome.counts else { return Vec::new() };
    let mut line = match counts.frames {
        0 => "no packets read".to_owned(),
        frames => {
            format!("{}, {}", counted(frames, "packet"), counted(counts.segments, "TCP segment"))
        }
    };
    for (reason, count) in counts.reasons() {
        line.push_str(", ");
        line.push_str(&passed_over(reason, count));
    }
    let mut lines = vec![line];
    if counts.bad_checksums() > 0 {
        lines.push(format!(
            "{} skipped with a wrong checksum: normal in captures from the sending host (checksum \
             offload)",
            counted(counts.bad_checksums(), "packet")
        ));
    }
    lines.extend(damaged(counts.disproved));
    if counts.backwards > 0 {
        lines.push(format!(
            "{} earlier than the one before: sort the capture with reordercap",
            counted(counts.backwards, "packet")
        ));
    }
    if counts.cut_segments > 0 {
        lines.push(format!(
            "{} truncated by the snap length ({} bytes missing): capture with -s 0",
            counted(counts.cut_segments, "segment"),
            counts.cut_bytes
        ));
    }
    if !outcome.skipped_files.is_empty() {
        let files = &outcome.skipped_files;
        lines.push(format!(
            "{} in folders skipped: not {} ({})",
            counted(files.len() as u64, "file"),
            if files.len() == 1 { "a capture" } else { "captures" },
            some_of(files.iter().map(|path| path.display().to_string()), 3),
        ));
    }
    lines
}

/// Formats `2 malformed packets` or `2 not tcp`: only some reasons are countable nouns.
fn passed_over(reason: &str, count: u64) -> String {
    let reason = reason.replace('_', " ");
    match reason.ends_with("packet") || reason.ends_with("fragment") {
        true => counted(count, &reason),
        false => format!("{count} {reason}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_counts_in_whole_words() {
        for (reason, count, expected) in [
            ("malformed_packet", 1, "1 malformed packet"),
            ("malformed_packet", 50, "50 malformed packets"),
            ("fragment", 2, "2 fragments"),
            ("not_tcp", 2, "2 not tcp"),
        ] {
            assert_eq!(passed_over(reason, count), expected);
        }
        for (skipped_files, expected) in [
            (1, "1 file in folders skipped: not a capture (d/1)"),
            (4, "4 files in folders skipped: not captures (d/1, d/2, d/3 and 1 more)"),
        ] {
            let outcome = Outcome {
                counts: Some(ReplayCounts::default()),
                skipped_files: (1..=skipped_files)
                    .map(|n| PathBuf::from(format!("d/{n}")))
                    .collect(),
                ..Outcome::default()
            };
            assert_eq!(replay_lines(&outcome).last().map(String::as_str), Some(expected));
        }
    }
}
