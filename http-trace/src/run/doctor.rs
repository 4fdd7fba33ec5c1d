//! `http-trace doctor`: reports what this host allows the agent to do and what it would see. Tries each hook,
//! then traces for a few seconds; writes no event.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use http_trace_common::counter::Counter;
use http_trace_common::record::Hook;
use http_trace_detect::Detector;
use serde_json::json;

use super::confine::confine;
use super::exit::Ended;
use super::limits::soft;
use super::live::{may_appear, no_interface, nothing_readable, options, work};
use super::stop::Stop;
use crate::cli::Doctor;
use crate::config::Config;
use crate::driver::{Driver, detection};
use crate::enrich::runtimes::Runtimes;
use crate::messages::counted;
use crate::own_sockets::OwnSockets;
use crate::privileges::{self, ATTACHING, CapabilitySet};
use crate::probe::{Notice, Probe, trial};
use crate::sink::writer::WhenFull;

/// How long traffic is watched without `--duration`.
const WATCHED: Duration = Duration::from_secs(5);

http_trace_model::named_enum! {
    /// Result of a check.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    pub enum State {
        /// It was not tried.
        Untried = "untried",
        /// The user should judge it.
        Note = "note",
        Good = "ok",
        /// The agent works but may not see everything.
        Limited = "limited",
        /// The agent cannot work.
        Bad = "failed",
    }
}

/// Findings, in order.
#[derive(Debug, Default)]
struct Report(Vec<(&'static str, State, String)>);

impl Report {
    fn add(&mut self, check: &'static str, state: State, found: impl Into<String>) {
        self.0.push((check, state, found.into()));
    }

    fn worst(&self) -> State {
        let states = self.0.iter().map(|(_, state, _)| *state);
        states.max().unwrap_or(State::Good)
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for (check, state, found) in &self.0 {
            let _ = writeln!(text, "{:<8} {check}: {found}", state.name());
        }
        text
    }

    fn json(&self) -> String {
        let findings = self.0.iter().map(
            |(check, state, found)| json!({"check": check, "state": state.name(), "found": found}),
        );
        let findings: Vec<_> = findings.collect();
        format!("{}\n", json!({"state": self.worst().name(), "findings": findings}))
    }
}

/// Checks what these settings need. Returns the text and the exit status: 0 if all is well, 1 if the agent
/// works but may not see everything, 2 if it cannot work.
pub fn run(asked: &Doctor, config: &Config, stop: &Stop) -> (String, Ended) {
    let mut report = Report::default();
    kernel(config, &mut report);
    capabilities(config, &mut report);
    for hook in [Hook::Tc, Hook::SocketFilter, Hook::Cgroup, Hook::Xdp] {
        let (state, found) = match trial::try_hook(hook, config.tc) {
            Ok(how) => (State::Good, how),
            Err(why) if !config.hook.contains(&hook) => {
                (State::Good, format!("not requested: {why}"))
            }
            // Tracing will show whether it works.
            Err(why) if why.starts_with("not tried") => (State::Untried, why),
            Err(why) => (State::Bad, why),
        };
        report.add("hook", state, format!("{}: {found}", hook.name()));
    }
    match trial::leftovers(asked.clean) {
        Err(why) => report.add("leftovers", State::Limited, why),
        Ok(left) if left.is_empty() => report.add("leftovers", State::Good, "none"),
        Ok(left) => {
            let (state, then) = match asked.clean {
                true => (State::Good, "removed"),
                false => (State::Limited, "--clean removes them"),
            };
            let left = left.join(", ");
            let found = format!("filters of an earlier run: {left}; {then}");
            report.add("leftovers", state, found);
        }
    }
    if !asked.clean
        && report.worst() != State::Bad
        && let Err(why) = coverage(config, stop, &mut report)
    {
        report.add("traffic", State::Bad, why);
    }
    let text = if asked.json { report.json() } else { report.text() };
    let ended = match report.worst() {
        State::Untried | State::Note | State::Good => Ended::Done,
        State::Limited => Ended::Lossy,
        State::Bad => Ended::CannotStart,
    };
    (text, ended)
}

/// Reports kernel release and features.
fn kernel(config: &Config, report: &mut Report) {
    let read = |path: &str| {
        let text = fs::read_to_string(path).ok();
        text.map(|text| text.trim().to_owned())
    };
    let release = read("/proc/sys/kernel/osrelease").unwrap_or_default();
    report.add("kernel", State::Good, release.clone());
    let has_btf = Path::new("/sys/kernel/btf/vmlinux").exists();
    let (state, found) = match (has_btf, config.names_processes()) {
        (true, _) => (State::Good, "present"),
        (false, true) => (State::Limited, "absent: processes, containers and pods are not named"),
        (false, false) => (State::Good, "absent; only names of processes need it"),
    };
    report.add("btf", state, found);
    let lockdown = read("/sys/kernel/security/lockdown").unwrap_or_else(|| "[none]".to_owned());
    let (state, found) = match lockdown.contains("[confidentiality]") {
        true => (State::Bad, "confidentiality: programs cannot read packets"),
        false => (State::Good, "no restriction"),
    };
    report.add("lockdown", state, found);
    let status = read("/proc/self/status").unwrap_or_default();
    let seccomp = status.lines().find_map(|line| line.strip_prefix("Seccomp:"));
    let (state, found) = filtered(seccomp.map(str::trim), trial::may_load());
    report.add("seccomp", state, found);
    let limits = read("/proc/self/limits").unwrap_or_default();
    let (state, found) =
        memlock(&release, soft(&limits, "Max locked memory"), config.ring_size as u64);
    report.add("memlock", state, found);
    let mounts = read("/proc/mounts").unwrap_or_default();
    let (state, found) = match mounts.contains(" cgroup2 ") {
        true => (State::Good, "v2 mounted"),
        false => (State::Note, "v2 not mounted: hook cgroup is not available"),
    };
    report.add("cgroups", state, found);
}

/// Judges the mode of `Seccomp:` in `/proc/PID/status`, and whether a program could be loaded.
fn filtered(mode: Option<&str>, loaded: Result<(), String>) -> (State, String) {
    match (mode, loaded) {
        // If something else refuses it, other checks say so.
        (None | Some("0"), _) => (State::Good, "no filter".to_owned()),
        (Some(_), Ok(())) => (State::Good, "filtered; bpf(2) is allowed".to_owned()),
        (Some(_), Err(why)) => (
            State::Bad,
            format!(
                "filtered, and bpf(2) fails ({why}): allow bpf and perf_event_open in the profile"
            ),
        ),
    }
}

/// Maps other than the ring buffer, in bytes, at most.
const MAPS: u64 = 64 << 20;

/// Judges the limit of locked memory (bytes; `None`: unlimited), which bounds maps before Linux 5.11.
fn memlock(release: &str, limit: Option<u64>, ring: u64) -> (State, String) {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    let mut number = || numbers.next()?.parse::<u32>().ok();
    let is_bound =
        matches!((number(), number()), (Some(major), Some(minor)) if (major, minor) < (5, 11));
    let shown = limit.map_or("unlimited".to_owned(), |bytes| format!("{} KiB", bytes >> 10));
    let needed = ring + MAPS;
    match (is_bound, limit) {
        (false, _) => (State::Good, format!("{shown}; does not limit maps on this kernel")),
        (true, Some(limit)) if limit < needed => (
            State::Bad,
            format!(
                "{shown}, which limits maps before Linux 5.11: set it to {} MiB (LimitMEMLOCK=, `ulimit -l`)",
                needed >> 20
            ),
        ),
        (true, _) => (State::Good, shown),
    }
}

fn capabilities(config: &Config, report: &mut Report) {
    if privileges::in_user_namespace() {
        report.add("capabilities", State::Bad, privileges::OF_NAMESPACE);
        return;
    }
    let held = privileges::held();
    let mut needed = ATTACHING;
    needed.set(CapabilitySet::NET_RAW, config.hook.contains(&Hook::SocketFilter));
    let mut helpful = CapabilitySet::SYS_NICE;
    helpful.set(CapabilitySet::SYS_PTRACE, config.executables);
    let names_containers =
        config.names_processes() && Runtimes::of_this_host().unreadable().is_some();
    helpful.set(CapabilitySet::DAC_READ_SEARCH, names_containers);
    if privileges::missing(needed | helpful, held).is_empty() {
        report.add("capabilities", State::Good, "all needed ones are held");
    }
    let absent = privileges::missing(CapabilitySet::all(), held);
    for one in privileges::USED {
        let (state, not_needed) = match one.bit {
            held if !absent.contains(held) => continue,
            bit if needed.contains(bit) => (State::Bad, ""),
            bit if helpful.contains(bit) => (State::Limited, ""),
            _ => (State::Good, "not needed with these settings: "),
        };
        let found = format!("{not_needed}{}", privileges::lost(one.bit));
        report.add("capabilities", state, found);
    }
}

/// Traces for a few seconds as a run would, and reports what was seen.
fn coverage(config: &Config, stop: &Stop, report: &mut Report) -> Result<(), String> {
    let own = OwnSockets::default();
    let mut config = config.clone();
    config.output = vec!["json:/dev/null".parse()?];
    config.alerts_to.clear();
    config.ban = None;
    // Turns on counting by port; nothing binds this address.
    config.listen = Some(([127, 0, 0, 1], 0).into());
    let (mut probe, notices) = Probe::start(options(&config, own.clone())?)?;
    attached(&config, &probe, &notices, report);
    if probe.traced_interfaces().is_empty() && !may_appear(&config) {
        return Ok(());
    }
    let names = listeners();
    let hidden = probe.check_hooks(false);
    confine(&config, probe.needs(true))?;
    let detector = Detector::new(Default::default(), detection(&config));
    let mut driver = Driver::open(&config, detector, WhenFull::Drop, &own)?;
    let time = config.duration.unwrap_or(WATCHED);
    let until = Instant::now() + time;
    let mut losses = hidden;
    while Instant::now() < until && !stop.is_requested() {
        work(&mut probe, &mut driver);
        losses.extend(probe.check_hooks(false));
        if !probe.ring.has_more {
            probe.sleep();
        }
    }
    losses.extend(probe.counters.losses(probe.clock.now_ns()));
    match losses.is_empty() {
        true => report.add("neighbours", State::Good, "no packets hidden or lost"),
        false => {
            for loss in &losses {
                let what = loss.detail.as_deref().unwrap_or(loss.place);
                report.add("neighbours", State::Limited, format!("packets may be missing: {what}"));
            }
        }
    }
    let packets = probe.counters.get(Counter::Packets);
    let flows = driver.pipeline.stats().http_flows;
    let (state, found) = match nothing_readable(&probe, &driver, time) {
        Some(line) => (State::Note, line),
        None => (
            State::Good,
            format!(
                "{}, {} with HTTP/1.x",
                counted(packets, "packet"),
                counted(flows, "connection")
            ),
        ),
    };
    report.add("traffic", state, found);
    seen(&driver, &names, report);
    driver.finish();
    Ok(())
}

/// Reports what the programs are attached to, and who names processes.
fn attached(config: &Config, probe: &Probe, notices: &[Notice], report: &mut Report) {
    let traced = probe.traced_interfaces();
    let (state, found) = match traced.join(", ") {
        none if none.is_empty() => (State::Bad, no_interface(config)),
        some => (State::Good, some),
    };
    report.add("interfaces", state, found);
    for name in probe.down_interfaces() {
        let found = match config.no_hotplug {
            true => format!("{name} is down, and is not traced when it comes up: --no-hotplug"),
            false => format!("{name} is down; it is traced once it is up"),
        };
        report.add("interfaces", State::Good, found);
    }
    for notice in notices {
        match notice {
            Notice::Attached(_) | Notice::Detached(..) => {}
            Notice::Failed(error) => report.add("interfaces", State::Limited, error.clone()),
            Notice::Before(name, who) => {
                let found =
                    format!("{who} at xdp of {name} runs before http-trace and may hide packets");
                report.add("neighbours", State::Limited, found);
            }
            Notice::Unreadable(name, _) => {
                let found = format!("{name} is skipped: unsupported link-layer header");
                report.add("interfaces", State::Limited, found);
            }
        }
    }
    let (state, found) = match &probe.senders {
        None => (State::Good, "not named, as configured".to_owned()),
        Some(Ok(_)) => (State::Good, "named by the process that sends on the socket".to_owned()),
        Some(Err(why)) => (State::Limited, why.to_string()),
    };
    report.add("processes", state, found);
}

/// Reports the traffic by port, and what of it cannot be read.
fn seen(driver: &Driver, names: &BTreeMap<u16, String>, report: &mut Report) {
    let named = |port: u16| match names.get(&port) {
        Some(name) => format!(":{port} ({name})"),
        None => format!(":{port}"),
    };
    for (port, responses) in driver.by_port() {
        let found = format!("{} on {}", counted(responses, "response"), named(port));
        report.add("readable", State::Good, found);
    }
    for ((kind, port), count) in &driver.pipeline.stats().unreadable {
        let found =
            format!("{} {} on {}", counted(*count, "connection"), kind.name(), named(*port));
        let hint = match kind.name() {
            "TLS" => "; readable where unencrypted: behind the proxy that terminates TLS",
            "HTTP/2" => "; readable if clients use HTTP/1.1",
            _ => "",
        };
        report.add("not readable", State::Limited, format!("{found}{hint}"));
    }
}

/// Names of listening processes by port, as far as /proc shows them.
fn listeners() -> BTreeMap<u16, String> {
    let mut ports: BTreeMap<String, u16> = BTreeMap::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        // proc_pid_net(5): local address, state (0A: listening) and inode are the 2nd, 4th and 10th.
        for line in fs::read_to_string(table).unwrap_or_default().lines() {
            let fields: Vec<&str> = line.split_whitespace().collect();
            if let [_, local, _, "0A", _, _, _, _, _, inode, ..] = fields[..]
                && let Some((_, port)) = local.rsplit_once(':')
                && let Ok(port) = u16::from_str_radix(port, 16)
            {
                ports.insert(format!("socket:[{inode}]"), port);
            }
        }
    }
    let mut names = BTreeMap::new();
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let files = fs::read_dir(process.path().join("fd"));
        for file in files.into_iter().flatten().flatten() {
            let link = fs::read_link(file.path()).unwrap_or_default();
            if let Some(port) = ports.get(&*link.to_string_lossy())
                && let Ok(name) = fs::read_to_string(process.path().join("comm"))
            {
                names.insert(*port, name.trim().to_owned());
            }
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_and_limits_are_judged() {
        let refused = || Err("EPERM".to_owned());
        for (mode, loaded, state) in [
            (None, Ok(()), State::Good),
            (Some("0"), refused(), State::Good),
            (Some("2"), Ok(()), State::Good),
            (Some("2"), refused(), State::Bad),
            (Some("1"), refused(), State::Bad),
        ] {
            assert_eq!(filtered(mode, loaded).0, state, "{mode:?}");
        }
        for (release, limit, state) in [
            ("6.1.0-28-amd64", Some(65536), State::Good),
            ("5.11.0", Some(65536), State::Good),
            ("5.10.0-8", Some(65536), State::Bad),
            ("4.19.0", Some(1 << 30), State::Good),
            ("5.4.0", None, State::Good),
            ("", Some(65536), State::Good),
        ] {
            assert_eq!(memlock(release, limit, 16 << 20).0, state, "{release}");
        }
    }
}
