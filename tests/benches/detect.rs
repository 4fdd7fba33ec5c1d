//! Cost of detection per event, in ns of the thread's CPU time: the built-in rules over events of which none,
//! one in twenty or all are errors, from ten clients and from a million, compared with the same events
//! without rules. Cases are interleaved.
//!
//! ```text
//! cargo xtask bench detect
//! cargo xtask bench detect -- FOLDER     # also the rules of a folder alone
//! cargo xtask bench detect -- --each     # also each built-in detection's share
//! cargo xtask bench detect -- --longest  # only the longest times: of an event, and of keeping state
//! cargo xtask bench detect -- --case=5,10 # 5 % errors, 10 clients, no clock: for a profiler
//! cargo xtask bench detect -- --fresh    # also with any of these: no target comes twice
//! ```

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use http_trace_detect::rule::RuleSet;
use http_trace_detect::snapshot::Snapshot;
use http_trace_detect::{Detected, Detector, Settings, builtin, load, parse};
use http_trace_model::event::HttpEvent;
use http_trace_tests::figures::median;
use http_trace_tests::visitors::{Visitors, ip_of};
use rustix::time::{ClockId, clock_gettime};

/// Events per turn; a million clients all occur in every five turns.
const TURN: u32 = 200_000;
const TURNS: usize = 9;

/// Time between two events: 10,000 per second.
const STEP_NS: u64 = 100_000;

const MILLION: u32 = 1_000_000;

/// CPU time of this thread.
fn cpu() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec as u32)
}

/// A detector and its events, which are reused.
struct Case {
    name: String,
    detector: Detector,
    pool: Vec<Option<Box<HttpEvent>>>,
    clients: u32,
    time_ns: u64,
    number: u32,
    alerts: u64,
    matched: u64,
    ns: Vec<f64>,
    /// Whether each event has a new target.
    fresh: bool,
}

impl Case {
    fn new(name: impl Into<String>, rules: RuleSet, errors: u32, clients: u32) -> Self {
        let mut visitors = Visitors::new(7);
        // Few enough to stay in the cache, as freshly decoded events are.
        let pool =
            (0..140).map(|n| Some(Box::new(visitors.event(n * errors % 100 < errors)))).collect();
        Case {
            name: name.into(),
            detector: Detector::new(rules, Settings::default()),
            pool,
            clients,
            time_ns: Visitors::TIME_NS,
            number: 0,
            alerts: 0,
            matched: 0,
            ns: Vec::new(),
            fresh: std::env::args().any(|arg| arg == "--fresh"),
        }
    }

    /// Feeds one event; the caller measures what `work` takes.
    fn one(&mut self, work: &mut dyn FnMut(&mut dyn FnMut())) {
        let at = self.number as usize % self.pool.len();
        let Some(mut event) = self.pool[at].take() else {
            return;
        };
        // Odd, so that every client meets every event.
        event.client.ip = ip_of(self.number.wrapping_mul(7_919) % self.clients);
        if self.fresh
            && let Some(request) = &mut event.request
        {
            let number = self.number.wrapping_mul(0x9e37_79b1);
            request.target = format!("/articles/2026/a-quiet-launch-{number:x}.html").into();
        }
        self.number = self.number.wrapping_add(1);
        self.time_ns += STEP_NS;
        event.time_ns = self.time_ns;
        event.rules = Default::default();
        let mut event = Some(event);
        let (detector, slot) = (&mut self.detector, &mut self.pool[at]);
        let (alerts, matched) = (&mut self.alerts, &mut self.matched);
        work(&mut || {
            let Some(event) = event.take() else { return };
            detector.push(event, &mut |detected| match detected {
                Detected::Event(event) => {
                    *matched += u64::from(!event.rules.is_empty());
                    *slot = Some(event);
                }
                Detected::Alert(_) => *alerts += 1,
            });
        });
    }

    fn turn(&mut self) -> f64 {
        let begun = cpu();
        for _ in 0..TURN {
            self.one(&mut |work| work());
        }
        (cpu() - begun).as_nanos() as f64 / f64::from(TURN)
    }
}

fn builtins(without: &dyn Fn(&str) -> bool) -> RuleSet {
    parse::parse(&builtin::sources(), without).rules
}

fn folder(path: &str) -> Result<RuleSet> {
    let (sources, unreadable) = load::read(Path::new(path));
    ensure!(unreadable.is_empty(), "{unreadable:?}");
    let parsed = parse::parse(&sources, &|_| false);
    let rules = parsed.rules;
    println!(
        "{path}: {} files, {} rules, {} diagnostics",
        sources.len(),
        rules.rules.len(),
        parsed.diagnostics.len()
    );
    Ok(rules)
}

/// Runs cases in turns; the median of each, minus that of the first case with as many errors.
fn run(cases: &mut [Case]) {
    for turn in 0..=TURNS {
        for case in &mut *cases {
            let ns = case.turn();
            if turn > 0 {
                case.ns.push(ns);
            }
        }
    }
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    if let Some(case) = args.iter().find_map(|arg| arg.strip_prefix("--case=")) {
        let (errors, clients) = case.split_once(',').context("--case=ERRORS,CLIENTS")?;
        let mut case = Case::new(case, builtins(&|_| false), errors.parse()?, clients.parse()?);
        for _ in 0..TURN {
            case.one(&mut |work| work());
        }
        println!("{TURN} events, {:?}", case.detector.stats());
        return Ok(());
    }
    if args.iter().any(|arg| arg == "--longest") {
        longest();
        return Ok(());
    }
    println!(
        "{TURNS} turns of {TURN} events; ns an event of this thread's CPU time, medians; \"net\" is \
         less the same events without rules"
    );
    for errors in [0, 5, 100] {
        let name = |what: &str| format!("{errors} % errors, {what}");
        let mut cases = vec![
            Case::new(name("10 clients, no rules"), RuleSet::default(), errors, 10),
            Case::new(name("10^6 clients, no rules"), RuleSet::default(), errors, MILLION),
            Case::new(name("10 clients"), builtins(&|_| false), errors, 10),
            Case::new(name("10^6 clients"), builtins(&|_| false), errors, MILLION),
        ];
        for path in args.iter().filter(|arg| !arg.starts_with("--")) {
            let rules = folder(path).with_context(|| format!("rules of {path}"))?;
            cases.push(Case::new(name(path), rules, errors, 10));
        }
        run(&mut cases);
        let mut base = f64::NAN;
        let mut least_base = f64::NAN;
        for (at, case) in cases.iter_mut().enumerate() {
            let ns = median(&mut case.ns);
            // Sorted by now: the quietest turn.
            let least = case.ns.first().copied().unwrap_or(f64::NAN);
            if at == 0 {
                (base, least_base) = (ns, least);
            }
            let stats = case.detector.stats();
            println!(
                "{:<44} {ns:>7.0}  net {:>6.0}, least {:>6.0}  matched {:>5.1} %  alerts {:>6}  keys {:>7}  {:>5.1} MiB",
                case.name,
                ns - base,
                least - least_base,
                case.matched as f64 * 100.0 / f64::from(case.number),
                case.alerts,
                stats.keys,
                stats.bytes as f64 / f64::from(1 << 20),
            );
        }
    }
    if args.iter().any(|arg| arg == "--each") {
        each();
    }
    longest();
    Ok(())
}

/// The share of each built-in correlation: what is saved without it.
fn each() {
    let all = builtins(&|_| false);
    let names: Vec<String> = all
        .correlations
        .iter()
        .filter(|correlation| correlation.alerts)
        .map(|correlation| all.rules[correlation.rule].id.to_string())
        .collect();
    for errors in [5, 100] {
        let mut cases = vec![Case::new("all", builtins(&|_| false), errors, 10)];
        for name in &names {
            let rules = builtins(&|id| id == name);
            cases.push(Case::new(name.clone(), rules, errors, 10));
        }
        run(&mut cases);
        let all = median(&mut cases[0].ns);
        println!("\n{errors} % errors, all: {all:.0}; saved without");
        for case in &mut cases[1..] {
            println!("{:<44} {:>7.0}", case.name, all - median(&mut case.ns));
        }
    }
}

/// The longest time of any event while a million made-up clients fill the table, in CPU time, which excludes
/// other load of the machine.
fn longest() {
    let mut case = Case::new("", builtins(&|_| false), 100, MILLION);
    let mut times: Vec<Duration> = Vec::with_capacity(2 * MILLION as usize);
    for _ in 0..2 * MILLION {
        case.one(&mut |work| {
            let begun = cpu();
            work();
            times.push(cpu() - begun);
        });
    }
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_nanos() as f64;
    println!(
        "a push while 10^6 clients fill the table, 100 % errors, us: median {:.2}, 99.99 % {:.1}, \
         longest {:.1}; {} keys, {:.1} MiB, {:?}",
        at(0.5) / 1e3,
        at(0.9999) / 1e3,
        at(1.0) / 1e3,
        case.detector.stats().keys,
        case.detector.stats().bytes as f64 / f64::from(1 << 20),
        case.detector.stats().turnover,
    );
    kept(&case.detector);
}

/// The cost of writing all that to the file of `--state`: each step delays one event; another thread does the
/// rest.
fn kept(detector: &Detector) {
    let mut snapshot = Snapshot::default();
    let mut times: Vec<Duration> = Vec::new();
    loop {
        let begun = cpu();
        let done = detector.save_some(&mut snapshot);
        times.push(cpu() - begun);
        if done {
            break;
        }
    }
    let all: Duration = times.iter().sum();
    times.sort_unstable();
    let begun = cpu();
    let (content, _) = snapshot.into_file(64 << 20);
    let bytes: usize = content.slices().map(<[u8]>::len).sum();
    println!(
        "kept by --state: {:.1} MiB in {} steps, us: median {:.1}, longest {:.1}, all {:.0}; \
         another thread puts it together in {:.0}",
        bytes as f64 / f64::from(1 << 20),
        times.len(),
        times[times.len() / 2].as_nanos() as f64 / 1e3,
        times[times.len() - 1].as_nanos() as f64 / 1e3,
        all.as_nanos() as f64 / 1e3,
        (cpu() - begun).as_nanos() as f64 / 1e3,
    );
}
