//! A test bed for live runs: namespaces, servers and the agent. Compares what the agent reported with what
//! servers and clients saw.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use anyhow::Result;

use crate::agent::{Agent, Outcome};
use crate::netns::{Pair, address};
use crate::nginx::LogLine;
use crate::play::Played;
use crate::scene::Scene;
use crate::seen::{Report, Seen, differences};

/// Address of nginx's upstream in every bed; nothing listens there unless the test starts a server.
pub const UPSTREAM: ([u8; 4], u16) = ([127, 0, 0, 1], 8080);

/// The server's IPv4 address in a [`Pair`] with this port.
pub fn server_v4(port: u16) -> SocketAddr {
    SocketAddr::new(address::SERVER_V4.parse().expect("an address"), port)
}

/// The server's IPv6 address in a [`Pair`] with this port.
pub fn server_v6(port: u16) -> SocketAddr {
    SocketAddr::new(address::SERVER_V6.parse().expect("an address"), port)
}

/// A port that no other test uses now, so that a hook that sees every namespace of the machine can be limited
/// to this test's traffic. Below the ephemeral ports.
pub fn own_port() -> u16 {
    static GIVEN: AtomicU16 = AtomicU16::new(0);
    let of_process = u16::try_from(std::process::id() % 100).expect("below 100");
    10_000 + of_process * 200 + GIVEN.fetch_add(1, Ordering::Relaxed) % 200
}

/// Runs all cases of a test at the same time; fails if one does.
pub fn at_once<C: Send>(cases: impl IntoIterator<Item = C>, run: impl Fn(C) + Sync) {
    let run = &run;
    std::thread::scope(|scope| {
        for case in cases {
            scope.spawn(move || run(case));
        }
    });
}

/// [`log_differences_at`] port 80.
pub fn log_differences(report: &Report, log: &[LogLine]) -> Vec<String> {
    log_differences_at(80, report, log)
}

/// Compares the responses reported from a port with its server's access log: the same count, and on each
/// connection the same ordinal, method, target and status in the same order, and the same number of bytes.
/// Returns a line for each difference.
pub fn log_differences_at(port: u16, report: &Report, log: &[LogLine]) -> Vec<String> {
    let mut wrong = Vec::new();
    // nginx logs when a request ends. Sorted by connection and request number, the log has the order of the
    // wire.
    let mut truth = BTreeMap::<SocketAddr, Vec<&LogLine>>::new();
    for line in log.iter().filter(|line| line.bytes > 0) {
        truth.entry(line.client).or_default().push(line);
    }
    let mut seen = BTreeMap::<SocketAddr, Vec<&Seen>>::new();
    for response in report.responses.iter().filter(|r| r.server.port() == port) {
        seen.entry(response.client).or_default().push(response);
    }
    for (client, lines) in &mut truth {
        lines.sort_by_key(|line| (line.connection, line.number));
        let seen = seen.remove(client).unwrap_or_default();
        if seen.len() != lines.len() {
            wrong.push(format!(
                "{client}: {} responses reported, {} in the access log: {:?} against {:?}",
                seen.len(),
                lines.len(),
                head(seen.iter().map(|s| (s.ordinal, s.status, &s.request, &s.missing))),
                head(lines.iter().map(|l| (l.number, l.status, &l.method, &l.target))),
            ));
            continue;
        }
        for (seen, line) in seen.iter().zip(lines.iter()) {
            wrong.extend(line_difference(seen, line));
        }
    }
    for (client, seen) in seen {
        let list = head(seen.iter().map(|s| (s.ordinal, s.status, &s.request, &s.flags)));
        wrong.push(format!("{client}: {} responses that nginx did not log: {list:?}", seen.len()));
    }
    wrong
}

fn head<T>(all: impl Iterator<Item = T>) -> Vec<T> {
    all.take(12).collect()
}

fn line_difference(seen: &Seen, line: &LogLine) -> Option<String> {
    let request = (!line.method.is_empty()).then(|| (line.method.clone(), line.target.clone()));
    // nginx logs no request line that it could not parse; the tracer may have read one.
    let same_request = request.is_none() || seen.request == request;
    let bytes = seen.json["http"]["response"]["bytes"].as_u64();
    // nginx counts the 1xx heads that it sent. 1 marks a server that does not count bytes.
    let uncounted = line.bytes == 1 || !seen.informational.is_empty();
    let same_bytes = uncounted || bytes == Some(line.bytes);
    let same = seen.status == Some(line.status)
        && same_request
        && same_bytes
        && seen.ordinal == line.number
        && (seen.complete || line.cut);
    (!same).then(|| {
        let of_seen = (&seen.request, seen.ordinal, seen.status, seen.complete);
        let doubts = (&seen.missing, &seen.flags);
        format!("reported {of_seen:?}, {bytes:?} bytes, {doubts:?} against {line:?}")
    })
}

/// Compares the report of played scenes with the truth.
pub fn scene_differences(report: &Report, played: &[(Played, Scene)]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut by = report.connections();
    for (played, scene) in played {
        let seen = by.remove(&(played.client, played.server)).unwrap_or_default();
        let different = differences(&seen, &scene.truth);
        wrong.extend(different.into_iter().map(|line| format!("{}: {line}", scene.name)));
    }
    for ((client, server), seen) in by {
        let list = head(seen.iter().map(|s| (s.ordinal, s.status, &s.request, &s.flags)));
        wrong.push(format!("{client} to {server}: nobody played {list:?}"));
    }
    wrong
}

impl Outcome {
    /// A counter of the summary on stderr; 0 if absent.
    pub fn counter(&self, name: &str) -> u64 {
        let value = |line: &str| -> Option<u64> {
            let mut words = line.split(|c: char| c.is_whitespace() || "=:,".contains(c));
            words.by_ref().find(|word| *word == name)?;
            words.find(|word| !word.is_empty())?.parse().ok()
        };
        self.said.iter().rev().find_map(|line| value(line)).unwrap_or(0)
    }

    /// Fails if the tracer lost something or ended with an error, or if filter and judge disagreed.
    pub fn check_clean(&self) {
        assert!(self.report.losses.is_empty(), "lost: {:?}, {:?}", self.report.losses, self.said);
        assert!(self.status.success(), "{}: {:?}", self.status, self.said);
        assert_eq!(self.counter("filter_disagrees"), 0, "{:?}", self.said);
    }
}

/// Fails with all lines of `wrong`, if there are any.
pub fn nothing(wrong: Vec<String>) {
    let shown: Vec<_> = wrong.iter().take(25).map(String::as_str).collect();
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), shown.join("\n"));
}

/// A pair of namespaces, with the agent in the server's.
#[derive(Debug)]
pub struct Bed {
    /// Both namespaces.
    pub pair: Pair,
    pub agent: Agent,
}

impl Bed {
    /// A veth pair with this MTU, with the agent at the server's end.
    pub fn new(mtu: u32, options: &[&str]) -> Result<Self> {
        let pair = Pair::new(mtu)?;
        Bed::over(pair, &[&["-i", "veth0"], options].concat())
    }

    /// An agent in the server's namespace of a pair.
    pub fn over(pair: Pair, options: &[&str]) -> Result<Self> {
        let agent = Agent::start(&pair.server, options)?;
        Ok(Bed { pair, agent })
    }

    /// Waits until the last packets have been seen, and ends the agent.
    pub fn stop(self) -> Result<Outcome> {
        std::thread::sleep(Duration::from_millis(300));
        self.agent.stop()
    }
}
