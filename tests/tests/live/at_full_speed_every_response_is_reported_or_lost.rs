//! At full speed every line of the server's log is an event, or falls within a reported loss.

use std::time::{Duration, Instant};

use http_trace_tests::agent::Agent;
use http_trace_tests::bed::{own_port, server_v4};
use http_trace_tests::ledger::Ledger;
use http_trace_tests::needs;
use http_trace_tests::netns::Pair;
use http_trace_tests::nginx::Nginx;
use http_trace_tests::pusher::{Push, Pushing};
use rustix::process::Signal;

const NOWHERE: ([u8; 4], u16) = ([127, 0, 0, 1], 9);
/// Ring buffer of the agent, in bytes.
const RING: u64 = 16 << 20;

/// A pair with nginx and the agent, which writes only the header that names the target.
struct Busy {
    pair: Pair,
    port: u16,
    nginx: Nginx,
    agent: Agent,
}

impl Busy {
    fn new(options: &[&str]) -> Self {
        let pair = Pair::new(1500).expect("a pair");
        let port = own_port();
        let nginx = Nginx::start_at(&pair.server, port, NOWHERE.into()).expect("nginx");
        let port_text = port.to_string();
        let all = ["-i", "veth0", "-p", &port_text, "-H", "x-target", "-vv"];
        let agent =
            Agent::start_with(&pair.server, &[&all, options].concat(), &[]).expect("the agent");
        Busy { pair, port, nginx, agent }
    }

    /// Runs clients during `during`.
    fn push<T>(&self, push: Push, during: impl FnOnce(&Pushing<'_>, &Agent) -> T) -> (u64, T) {
        let server = server_v4(self.port);
        push.run(&self.pair.client, server, |pushing| during(pushing, &self.agent))
            .expect("clients")
    }

    /// Ends everything; compares the log with the events.
    fn stop(self) -> (Ledger, http_trace_tests::agent::Outcome) {
        // All packets have passed the hook; the agent drains its ring before it ends.
        let log = self.nginx.stop_and_keep().expect("a log");
        let mut ledger = Ledger::new(&log).expect("a ledger");
        let outcome = self.agent.stop_with(|line| ledger.see(line)).expect("an outcome");
        (ledger, outcome)
    }
}

/// How long sixteen clients send requests: `HTTP_TRACE_BUSY_SECONDS`, or ten seconds.
fn busy_time() -> Duration {
    let seconds = std::env::var("HTTP_TRACE_BUSY_SECONDS");
    Duration::from_secs(seconds.ok().and_then(|s| s.parse().ok()).unwrap_or(10))
}

#[test]
fn sixteen_clients_with_pipelining_agree_with_the_log() {
    needs!(alone; "nginx");
    let busy = Busy::new(&[]);
    let push = Push { connections: 16, depth: 16, ahead: true, run: 1 };
    let (answered, ()) = busy.push(push, |_, _| std::thread::sleep(busy_time()));
    let (ledger, outcome) = busy.stop();
    println!(
        "{answered} responses, {} missing; the agent ended after {:?}\n{}\n{:?}",
        ledger.missing().len(),
        outcome.stop,
        outcome.said.join("\n"),
        ledger.losses
    );
    assert_eq!(ledger.len() as u64, answered);
    if ledger.losses.is_empty() {
        ledger.check_all();
        assert!(outcome.status.success(), "{:?}", outcome.said);
    } else {
        // The clients use all CPU they get, and the agent gets what they and nginx leave.
        check_told(&ledger);
    }
    assert_eq!(outcome.counter("filter_disagrees"), 0, "{:?}", outcome.said);
    // Requests arrive on one CPU while responses leave on another; nothing else disturbs framing.
    let unsure = outcome.counter("became_unsure");
    let refused = outcome.counter("claim_refused");
    assert!(unsure <= refused, "{:?}", outcome.said);
}

/// Missing events fall within reported losses, and nothing is wrong.
fn check_told(ledger: &Ledger) {
    ledger.check();
    let uncovered = ledger.uncovered(100);
    assert!(
        uncovered.is_empty(),
        "{} responses are missing at times of which no loss tells: {:?}...; {:?}",
        uncovered.len(),
        uncovered.iter().take(20).collect::<Vec<_>>(),
        ledger.losses
    );
}

#[test]
fn a_stopped_agent_tells_what_it_lost() {
    needs!(alone; "nginx");
    let busy = Busy::new(&[]);
    let push = Push { connections: 16, depth: 1, ahead: false, run: 2 };
    // A record takes at least 128 bytes, and there are two per response, one with its head.
    let overflowing = RING / 256;
    let (answered, ()) = busy.push(push, |pushing, agent| {
        pushing.wait_for(1000);
        agent.signal(Signal::STOP).expect("stopped");
        std::thread::sleep(Duration::from_secs(2));
        pushing.wait_for(overflowing);
        agent.signal(Signal::CONT).expect("continued");
        // Meanwhile the ring is drained, and there is room again.
        pushing.wait_for(overflowing / 2);
        std::thread::sleep(Duration::from_secs(2));
    });
    let (ledger, outcome) = busy.stop();
    let missing = ledger.missing().len();
    println!(
        "{answered} responses, {missing} missing, {} without request; {:?}\n{}",
        ledger.without_request,
        ledger.losses,
        outcome.said.join("\n")
    );
    assert_eq!(ledger.len() as u64, answered);
    assert!(missing > 0, "the ring did not overflow");
    for unit in ["records", "bytes"] {
        let told = ledger.losses.iter().any(|told| told.unit == unit);
        assert!(told, "no loss of {unit} was told: {:?}", ledger.losses);
    }
    check_told(&ledger);
    assert_eq!(ledger.unpaired_of_last(100), 0, "{:?}", outcome.said);
    assert_eq!(outcome.status.code(), Some(1), "{:?}", outcome.said);
    assert_eq!(outcome.counter("filter_disagrees"), 0, "{:?}", outcome.said);
}

/// The threads that read and write have priority, or they fall behind in bursts; no other thread has it
/// for longer than it takes to begin.
#[test]
fn reading_and_writing_go_first() {
    needs!(alone; "nginx");
    let busy = Busy::new(&[]);
    let pid = busy.agent.pid();
    let until = Instant::now() + Duration::from_secs(10);
    let mut wrong = wrong_priorities(pid);
    while !wrong.is_empty() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(20));
        wrong = wrong_priorities(pid);
    }
    busy.stop();
    assert!(wrong.is_empty(), "{wrong:?}");
}

/// Names and nice values of the threads of process `pid` whose priority is not what it should be.
fn wrong_priorities(pid: u32) -> Vec<(String, String)> {
    let mut wrong = Vec::new();
    for task in std::fs::read_dir(format!("/proc/{pid}/task")).expect("its threads") {
        let of = task.expect("a thread").path();
        // A thread may have ended since.
        let Ok(stat) = std::fs::read_to_string(of.join("stat")) else {
            continue;
        };
        let (name, rest) = stat.rsplit_once(')').expect("a name");
        // proc_pid_stat(5): the name is field 2, the nice value field 19.
        let nice = rest.split_whitespace().nth(16).expect("a nice value");
        let name = name.split_once('(').expect("a name").1;
        let goes_first = of.ends_with(pid.to_string()) || name == "http-trace-out";
        if nice != if goes_first { "-10" } else { "0" } {
            wrong.push((name.to_owned(), nice.to_owned()));
        }
    }
    wrong
}
