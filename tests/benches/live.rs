//! The tracer beside a real server: what it costs, what it loses, what it needs.
//!
//! ```text
//! cargo xtask bench live
//! ```
//! nginx and wrk run in two network namespaces joined by a veth pair, the tracer in the server's. Runs with
//! and without the tracer alternate, so that their ratio is meaningful on a shared machine. Takes two
//! minutes.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use http_trace_tests::agent;
use http_trace_tests::bed::{UPSTREAM, server_v4};
use http_trace_tests::figures::median;
use http_trace_tests::need;
use http_trace_tests::netns::{Namespace, Pair, Running};
use http_trace_tests::nginx::Nginx;
use rustix::process::{Resource, Rlimit, Signal, setrlimit};
use serde_json::Value;

/// Number of pairs of runs with and without the tracer.
const PAIRS: usize = 5;
const RUN: &str = "4s";
/// Responses that must all be reported.
const RESPONSES: u64 = 1_000_000;
/// Connections open at once.
const FLOWS: usize = 10_000;
/// How long an idle tracer is observed.
const IDLE: Duration = Duration::from_secs(30);

/// A running tracer that writes json to `folder/events.jsonl`.
struct Tracer<'a> {
    running: Running,
    folder: &'a Path,
    begun: Instant,
}

impl<'a> Tracer<'a> {
    fn start(namespace: &Namespace, folder: &'a Path) -> Result<Self> {
        let events = folder.join("events.jsonl");
        let said = folder.join("said");
        let _ = fs::remove_file(&events);
        let mut command = Command::new(agent::binary()?);
        command
            .arg("-o")
            .arg(format!("json:{}", events.display()))
            .args(["-i", "veth0"])
            .stderr(File::create(&said)?);
        let begun = Instant::now();
        let running = namespace.spawn(&mut command)?;
        let tracer = Tracer { running, folder, begun };
        tracer.wait("the line that says it traces", || {
            Ok(fs::read_to_string(&said)?.contains("tracing"))
        })?;
        Ok(tracer)
    }

    fn wait(&self, what: &str, mut until: impl FnMut() -> Result<bool>) -> Result<()> {
        let end = Instant::now() + Duration::from_secs(30);
        while !until()? {
            ensure!(Instant::now() < end, "{what} did not come");
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// CPU time used so far.
    fn cpu(&self) -> Result<Duration> {
        let mut total = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.running.pid()))? {
            let text = fs::read_to_string(task?.path().join("schedstat"))?;
            let ns = text.split(' ').next().unwrap_or_default();
            total += ns.parse::<u64>().context("schedstat")?;
        }
        Ok(Duration::from_nanos(total))
    }

    /// Proportional set size without the pages of kernel maps, and the memory of those, in KiB. The ring
    /// buffer is mapped into the process, and its pages belong to the map.
    fn memory(&self) -> Result<(u64, u64)> {
        let number = |text: &str, name: &str| -> u64 {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            let word = line.and_then(|rest| rest.split_whitespace().next());
            word.and_then(|word| word.parse().ok()).unwrap_or(0)
        };
        let proc = format!("/proc/{}", self.running.pid());
        let (mut pss, mut in_map) = (0, false);
        for line in fs::read_to_string(format!("{proc}/smaps"))?.lines() {
            match line.split_once(':') {
                Some(("Pss", _)) if !in_map => pss += number(line, "Pss:"),
                Some((_, value)) if value.starts_with(' ') => {}
                // The first line of a mapping: addresses, device (`fd:00`) and name.
                _ => in_map = line.ends_with("anon_inode:bpf-map"),
            }
        }
        let mut maps = std::collections::BTreeMap::new();
        for entry in fs::read_dir(format!("{proc}/fdinfo"))? {
            let text = fs::read_to_string(entry?.path()).unwrap_or_default();
            if text.contains("map_id:") {
                maps.insert(number(&text, "map_id:"), number(&text, "memlock:"));
            }
        }
        Ok((pss, maps.values().sum::<u64>() / 1024))
    }

    /// Ends it as Ctrl-C does; fails if it reports a loss.
    fn stop(mut self) -> Result<()> {
        std::thread::sleep(Duration::from_millis(500));
        self.running.signal(Signal::INT)?;
        let status = self.running.wait()?;
        let said = fs::read_to_string(self.folder.join("said"))?;
        ensure!(status.success(), "the tracer ended with {status}: {said}");
        Ok(())
    }
}

/// Runs wrk; returns the number of requests and their rate per second.
fn wrk(client: &Namespace, time: &str) -> Result<(u64, f64)> {
    let mut command = Command::new("wrk");
    command.args(["-t1", "-c32", "-d", time, "http://10.77.0.2/small.txt"]);
    let output = client.run(&mut command)?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let word_before = |what: &str| {
        let words: Vec<_> = text.split_whitespace().collect();
        let at = words.iter().position(|word| *word == what)?;
        Some(words[at - 1].to_owned())
    };
    let total = word_before("requests").context("wrk's requests")?;
    let rate = text.split("Requests/sec:").nth(1);
    let rate = rate.and_then(|rest| rest.split_whitespace().next());
    Ok((total.parse()?, rate.context("wrk's rate")?.parse()?))
}

/// Runs with and without the tracer, alternating.
fn pairs(pair: &Pair, folder: &Path) -> Result<()> {
    let (mut without, mut with, mut ratios, mut cpu) = (vec![], vec![], vec![], vec![]);
    wrk(&pair.client, "2s")?;
    for turn in 0..PAIRS {
        let mut rates = [0.0; 2];
        for half in 0..2 {
            let traced = (turn + half) % 2 == 1;
            rates[usize::from(traced)] = if traced {
                let tracer = Tracer::start(&pair.server, folder)?;
                let before = tracer.cpu()?;
                let (total, rate) = wrk(&pair.client, RUN)?;
                cpu.push((tracer.cpu()? - before).as_nanos() as f64 / total as f64);
                tracer.stop()?;
                rate
            } else {
                wrk(&pair.client, RUN)?.1
            };
        }
        without.push(rates[0]);
        with.push(rates[1]);
        ratios.push(rates[1] / rates[0]);
    }
    println!(
        "wrk, {PAIRS} pairs of {RUN}: {:.0} requests/s without, {:.0} with the tracer; the median \
         ratio of a pair is {:.2}; the tracer itself uses {:.1} us of CPU a response",
        median(&mut without),
        median(&mut with),
        median(&mut ratios),
        median(&mut cpu) / 1e3,
    );
    Ok(())
}

/// A response packed into one number: the client's port, its position on the connection, its status.
fn packed(port: u64, ordinal: u64, status: u64) -> u64 {
    port << 48 | ordinal << 16 | status
}

/// A million responses, each compared with the access log.
fn million(folder: &Path) -> Result<()> {
    let pair = Pair::new(1500)?;
    let nginx = Nginx::start(&pair.server, SocketAddr::from(UPSTREAM))?;
    let tracer = Tracer::start(&pair.server, folder)?;
    let begun = Instant::now();
    let mut total = 0;
    while total < RESPONSES {
        total += wrk(&pair.client, "5s")?.0;
    }
    let took = begun.elapsed();
    tracer.stop()?;
    let log = nginx.stop_and_keep()?;
    let mut truth = Vec::new();
    for line in log.split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
        let line: Value = serde_json::from_slice(line)?;
        let number = |name: &str| line[name].as_u64().unwrap_or(0);
        // A request whose client had gone before the answer was written.
        if number("bytes") > 0 {
            truth.push(packed(number("client_port"), number("number"), number("status")));
        }
    }
    let mut seen = Vec::new();
    let mut losses = 0;
    for line in BufReader::new(File::open(folder.join("events.jsonl"))?).split(b'\n') {
        let line: Value = serde_json::from_slice(&line?)?;
        if line["event"]["kind"] == "pipeline_error" {
            losses += 1;
        } else if let Some(status) = line["http"]["response"]["status_code"].as_u64() {
            let port = line["source"]["port"].as_u64().unwrap_or(0);
            let ordinal = line["http_trace"]["ordinal"].as_u64().unwrap_or(0);
            seen.push(packed(port, ordinal, status));
        }
    }
    truth.sort_unstable();
    seen.sort_unstable();
    let missing = truth.iter().filter(|one| seen.binary_search(one).is_err()).count();
    let extra = seen.iter().filter(|one| truth.binary_search(one).is_err()).count();
    println!(
        "{} responses in the access log, {} reported in {:.0} s: {missing} missing, {extra} that \
         the log does not have, {losses} loss events",
        truth.len(),
        seen.len(),
        took.as_secs_f64(),
    );
    ensure!(missing == 0 && losses == 0, "responses were lost");
    Ok(())
}

/// Time from the start of the process to a response in its file.
fn first_event(pair: &Pair, folder: &Path) -> Result<()> {
    let (mut ready, mut first) = (vec![], vec![]);
    for _ in 0..5 {
        let tracer = Tracer::start(&pair.server, folder)?;
        ready.push(tracer.begun.elapsed().as_secs_f64() * 1e3);
        let mut command = Command::new("curl");
        command.args(["-s", "-o", "/dev/null", "http://10.77.0.2/small.txt"]);
        pair.client.run(&mut command)?;
        let events = tracer.folder.join("events.jsonl");
        tracer.wait("an event", || Ok(fs::metadata(&events)?.len() > 0))?;
        first.push(tracer.begun.elapsed().as_secs_f64() * 1e3);
        tracer.stop()?;
    }
    println!(
        "start to tracing {:.0} ms, to the first event in the file {:.0} ms (with curl's own time)",
        median(&mut ready),
        median(&mut first),
    );
    Ok(())
}

fn idle(pair: &Pair, folder: &Path) -> Result<()> {
    let tracer = Tracer::start(&pair.server, folder)?;
    std::thread::sleep(Duration::from_secs(2));
    let before = tracer.cpu()?;
    std::thread::sleep(IDLE);
    let used = tracer.cpu()? - before;
    println!(
        "idle for {} s: {:.2} ms of CPU, {:.3} %",
        IDLE.as_secs(),
        used.as_secs_f64() * 1e3,
        used.as_secs_f64() / IDLE.as_secs_f64() * 100.0,
    );
    tracer.stop()
}

fn memory(pair: &Pair, folder: &Path) -> Result<()> {
    let many = FLOWS as u64 + 1000;
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: Some(many),
            maximum: Some(
                many.max(rustix::process::getrlimit(Resource::Nofile).maximum.unwrap_or(many)),
            ),
        },
    )?;
    let tracer = Tracer::start(&pair.server, folder)?;
    let (pss_before, maps_before) = tracer.memory()?;
    let open = pair.client.enter(|| -> Result<Vec<TcpStream>> {
        let mut open = Vec::new();
        let mut answer = [0; 4096];
        for _ in 0..FLOWS {
            let mut stream = TcpStream::connect(server_v4(80))?;
            stream.write_all(b"GET /small.txt HTTP/1.1\r\nHost: a\r\n\r\n")?;
            ensure!(stream.read(&mut answer)? > 0, "no answer");
            open.push(stream);
        }
        Ok(open)
    })??;
    std::thread::sleep(Duration::from_secs(1));
    let (pss, maps) = tracer.memory()?;
    println!(
        "memory at {} open connections: PSS {:.1} MiB + kernel maps {:.1} MiB = {:.1} MiB (at the \
         start {:.1} + {:.1}); the ring buffer, mapped into the process, counts among the maps",
        open.len(),
        pss as f64 / 1024.0,
        maps as f64 / 1024.0,
        (pss + maps) as f64 / 1024.0,
        pss_before as f64 / 1024.0,
        maps_before as f64 / 1024.0,
    );
    drop(open);
    tracer.stop()
}

fn main() -> Result<()> {
    let programs = ["nginx", "wrk", "curl", "ip"];
    let missing = programs.iter().find(|name| need::program(name).is_none());
    if !need::root() || missing.is_some() {
        need::skipped(missing.unwrap_or(&"root"), "the tracer beside nginx");
        return Ok(());
    }
    let only: Vec<_> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let wanted = |name: &str| only.is_empty() || only.iter().any(|one| one == name);
    let folder = tempfile::tempdir()?;
    let folder = folder.path();
    if wanted("million") {
        million(folder)?;
    }
    let pair = Pair::new(1500)?;
    let nginx = Nginx::start(&pair.server, SocketAddr::from(UPSTREAM))?;
    type Part = fn(&Pair, &Path) -> Result<()>;
    let parts: [(&str, Part); 4] =
        [("start", first_event), ("pairs", pairs), ("memory", memory), ("idle", idle)];
    for (name, part) in parts {
        if wanted(name)
            && let Err(error) = part(&pair, folder)
        {
            bail!("{name}: {error:#}");
        }
    }
    // Cleanly: workers of a killed nginx stay.
    nginx.stop_and_keep()?;
    Ok(())
}
