//! Segments lost on the network or missed by the tracer: no response is invented or paired wrongly, and
//! connections recover.

use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http_trace_tests::agent::{Agent, Outcome};
use http_trace_tests::bed::{log_differences_at, nothing, own_port, server_v4};
use http_trace_tests::client::{Answer, Raw};
use http_trace_tests::ledger::Ledger;
use http_trace_tests::netns::{Namespace, Pair};
use http_trace_tests::nginx::{LARGE, Nginx, read_log};
use http_trace_tests::routed::nft;
use http_trace_tests::{detour, needs};

const NOWHERE: ([u8; 4], u16) = ([127, 0, 0, 1], 9);

/// nginx and the agent in the server's namespace of a pair.
struct Lossy {
    pair: Pair,
    port: u16,
    nginx: Nginx,
    agent: Agent,
}

impl Lossy {
    fn new() -> Self {
        let pair = Pair::new(1500).expect("a pair");
        let port = own_port();
        let nginx = Nginx::start_at(&pair.server, port, NOWHERE.into()).expect("nginx");
        let port_text = port.to_string();
        let options = ["-i", "veth0", "-p", &port_text, "-vv"];
        let agent = Agent::start(&pair.server, &options).expect("the agent");
        Lossy { pair, port, nginx, agent }
    }

    fn connect(&self) -> Raw {
        Raw::connect(&self.pair.client, server_v4(self.port)).expect("a connection")
    }

    /// Each connection sends `count` requests, all at once; `target` is theirs.
    fn ask(
        &self,
        connections: &mut [Raw],
        count: usize,
        target: &(impl Fn(usize) -> String + Sync),
    ) {
        let asked = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for raw in connections {
                scope.spawn(|| {
                    for _ in 0..count {
                        let target = target(asked.fetch_add(1, Ordering::Relaxed));
                        assert_eq!(get(raw, &target).status, 200);
                    }
                });
            }
        });
    }

    fn stop(self) -> (Vec<u8>, Outcome, Vec<Vec<u8>>) {
        let log = self.nginx.stop_and_keep().expect("a log");
        let mut lines = Vec::new();
        let outcome = self.agent.stop_with(|line| lines.push(line.to_vec()));
        (log, outcome.expect("an outcome"), lines)
    }
}

fn get(raw: &mut Raw, target: &str) -> Answer {
    raw.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).expect("sent");
    raw.receive().expect("an answer")
}

/// Drops one in a hundred of the matching packets, at a netfilter hook.
fn drop_some(namespace: &Namespace, hook: &str, which: &str) {
    let rules = format!(
        "table ip lossy_{hook} {{
            chain lossy {{
                type filter hook {hook} priority 0;
                ip protocol tcp {which} numgen random mod 100 == 0 drop
            }}
        }}"
    );
    nft(namespace, &rules).expect("rules");
}

/// Losses between the ends are retransmitted: the tracer sees segments twice, or late, and every response is
/// still an event.
#[test]
fn what_is_lost_on_the_way_is_sent_again() {
    needs!(alone; "nginx", "nft");
    let lossy = Lossy::new();
    let mut connections: Vec<_> = (0..12).map(|_| lossy.connect()).collect();
    // Before and after the tracer's hook, in both directions.
    for namespace in [&lossy.pair.client, &lossy.pair.server] {
        for hook in ["input", "output"] {
            drop_some(namespace, hook, "");
        }
    }
    let target = |n: usize| match n % 3 {
        0 => format!("/small.txt?{n}"),
        1 => format!("/text.txt?{n}"),
        _ => format!("/index.html?{n}"),
    };
    lossy.ask(&mut connections, 60, &target);
    let connections_made = connections.len();
    drop(connections);
    let (log, outcome, lines) = lossy.stop();
    let mut ledger = Ledger::new(&log).expect("a ledger");
    assert_eq!(ledger.len(), connections_made * 60);
    for line in &lines {
        ledger.see(line);
    }
    println!("{}", outcome.said.join("\n"));
    ledger.check_all();
    assert!(ledger.losses.is_empty(), "{:?}", ledger.losses);
    assert!(outcome.counter("copies") > 0, "{:?}", outcome.said);
    assert_eq!(outcome.counter("filter_disagrees"), 0, "{:?}", outcome.said);
}

/// Packets on the detour reach both ends but not the tracer.
#[test]
fn what_only_the_tracer_misses_makes_nothing_up() {
    needs!(alone; "nginx", "nft");
    let lossy = Lossy::new();
    detour::add(&lossy.pair).expect("a detour");
    let ends = [&lossy.pair.client, &lossy.pair.server];
    let target = |n: usize| match n % 2 {
        0 => format!("/small.txt?{n}"),
        _ => format!("/text.txt?{n}"),
    };
    let mut connections: Vec<_> = (0..8).map(|_| lossy.connect()).collect();
    for end in ends {
        detour::lead(end, "numgen random mod 100 == 0").expect("a detour");
    }
    lossy.ask(&mut connections, 250, &target);
    for end in ends {
        detour::end(end).expect("its end");
    }
    let after = |n: usize| target(n + 1_000_000);
    lossy.ask(&mut connections, 20, &after);
    drop(connections);
    let (log, outcome, lines) = lossy.stop();
    let mut ledger = Ledger::new(&log).expect("a ledger");
    for line in &lines {
        ledger.see(line);
    }
    let missing = ledger.missing().len();
    println!(
        "{missing} of {} missing, {} without request, {:?}\n{}",
        ledger.len(),
        ledger.without_request,
        ledger.losses,
        outcome.said.join("\n")
    );
    ledger.check();
    assert!(missing + ledger.without_request as usize > 0, "nothing was missed");
    // Beyond a few, only losses for lack of CPU, which the agent reports.
    let overrun = ledger.losses.iter().any(|told| told.place != "hole");
    assert!(overrun || missing * 10 < ledger.len(), "{missing} of {}", ledger.len());
    // Three messages after the last loss each connection pairs again.
    assert_eq!(ledger.unpaired_of_last(17), 0, "{:?}", outcome.said);
    assert_eq!(outcome.counter("filter_disagrees"), 0, "{:?}", outcome.said);
}

/// Neither copies nor gaps inside bodies make the filter ship them.
#[test]
fn loss_inside_bodies_ships_next_to_nothing() {
    needs!(alone; "nginx", "nft");
    // The first packet of a response, with its head, begins with `HTTP`, after the TCP header with
    // timestamps.
    let body = "meta length > 1000 @th,256,32 != 0x48545450";
    for tracer_only in [false, true] {
        let lossy = Lossy::new();
        if tracer_only {
            detour::add(&lossy.pair).expect("a detour");
            let some = format!("{body} numgen random mod 100 == 0");
            detour::lead(&lossy.pair.server, &some).expect("a detour");
        } else {
            // Some that the tracer sees, with their copies; some that it does not see.
            drop_some(&lossy.pair.client, "input", body);
            drop_some(&lossy.pair.server, "output", body);
        }
        let mut connections: Vec<_> = (0..4).map(|_| lossy.connect()).collect();
        lossy.ask(&mut connections, 15, &|n| format!("/large.bin?{n}"));
        drop(connections);
        std::thread::sleep(Duration::from_millis(300));
        let log = lossy.nginx.stop_and_keep().expect("a log");
        let outcome = lossy.agent.stop().expect("an outcome");
        println!("{}", outcome.said.join("\n"));
        let log = read_log(&log).expect("a log");
        nothing(log_differences_at(lossy.port, &outcome.report, &log));
        let bodies = (log.len() * LARGE) as u64;
        let shipped = outcome.counter("record_bytes");
        // Heads of requests have less than 200 bytes.
        let heads: u64 = log.iter().map(|line| line.bytes - line.body + 200).sum();
        assert!(
            shipped < heads + bodies / 1000,
            "{shipped} bytes shipped of {bodies} of bodies and {heads} of heads: {:?}",
            outcome.said
        );
        if tracer_only {
            assert!(
                outcome.counter("body_skipped") < bodies,
                "nothing was missed: {:?}",
                outcome.said
            );
        } else {
            assert!(outcome.counter("copies") > 0, "{:?}", outcome.said);
        }
        assert_eq!(outcome.counter("filter_disagrees"), 0, "{:?}", outcome.said);
    }
}

/// A keep-alive connection whose client requests the next body as soon as it has one, over a link on which a
/// body takes some 40 ms: the agent's reaction must not depend on other load of the machine.
struct Busy {
    port: u16,
    pair: Pair,
    nginx: Nginx,
}

const MEBI: u64 = 1 << 20;

impl Busy {
    fn new() -> Self {
        let pair = Pair::new(1500).expect("a pair");
        let link = "qdisc add dev veth0 root tbf rate 200mbit burst 128kb latency 100ms";
        let shaped = pair.server.run(Command::new("tc").args(link.split(' ')));
        shaped.expect("a link of 200 Mbit/s");
        let port = own_port();
        let nginx = Nginx::start_at(&pair.server, port, NOWHERE.into()).expect("nginx");
        std::fs::write(nginx.file("mebi.bin"), vec![b'x'; MEBI as usize]).expect("a file");
        Busy { port, pair, nginx }
    }

    /// Opens a busy connection before the agent starts; `then` runs meanwhile, with a way to wait for more
    /// messages.
    fn trace(&self, then: impl Fn(&dyn Fn(usize))) -> Outcome {
        let asked = AtomicUsize::new(0);
        let stop = AtomicUsize::new(0);
        let mut raw = Raw::connect(&self.pair.client, server_v4(self.port)).expect("a connection");
        let wait_for = |more: usize| {
            let until = asked.load(Ordering::Relaxed) + more;
            for _ in 0..30_000 {
                if asked.load(Ordering::Relaxed) >= until {
                    return;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            panic!("the client is stuck");
        };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while stop.load(Ordering::Relaxed) == 0 {
                    let n = asked.fetch_add(1, Ordering::Relaxed);
                    let answer = get(&mut raw, &format!("/mebi.bin?{n}"));
                    assert_eq!(answer.body, MEBI);
                }
            });
            wait_for(3);
            let port = self.port.to_string();
            let options = ["-i", "veth0", "-p", &port, "-vv"];
            let agent = Agent::start(&self.pair.server, &options).expect("the agent");
            wait_for(40);
            then(&wait_for);
            stop.store(1, Ordering::Relaxed);
            // The last response is complete before the agent ends.
            std::thread::sleep(Duration::from_millis(300));
            agent.stop().expect("an outcome")
        })
    }

    fn check(self, outcomes: &[Outcome]) {
        let log = read_log(&self.nginx.stop_and_keep().expect("a log")).expect("a log");
        for outcome in outcomes {
            assert_eq!(outcome.counter("filter_disagrees"), 0, "{:?}", outcome.said);
            for seen in &outcome.report.responses {
                let named = seen.headers.get("x-target");
                let line =
                    log.iter().find(|line| named.is_some_and(|named| named.contains(&line.target)));
                let line = line.unwrap_or_else(|| panic!("nginx sent no {}", seen.json));
                if let Some((_, target)) = &seen.request {
                    assert_eq!(*target, line.target, "a wrong pair");
                }
            }
        }
    }
}

/// How many bodies' worth of bytes were not skipped: shipped, or dropped instead of shipped.
fn unskipped(outcome: &Outcome) -> f64 {
    let heads = 600 * outcome.report.responses.len() as u64;
    let shipped = outcome.counter("record_bytes").saturating_sub(heads);
    (shipped + outcome.counter("unsure_dropped_bytes")) as f64 / MEBI as f64
}

/// Bodies of a connection that was open and busy before the agent's start are skipped within three messages.
#[test]
fn framing_is_handed_back_to_a_busy_connection() {
    needs!(alone; "nginx", "tc");
    let busy = Busy::new();
    let outcomes: Vec<_> = (0..10).map(|_| busy.trace(|_| ())).collect();
    let messages: Vec<_> = outcomes.iter().map(unskipped).collect();
    println!("messages until bodies are skipped: {messages:.2?}");
    // The agent reacts as soon as it gets a CPU; on a busy machine, messages pass until then.
    let within = messages.iter().filter(|m| **m <= 3.0).count();
    assert!(within >= 3, "{messages:.2?}");
    for outcome in &outcomes {
        let taken = outcome.counter("trial_right") + outcome.counter("handed_back");
        assert!(taken > 0, "{:?}", outcome.said);
        assert!(outcome.report.responses.len() >= 38, "{:?}", outcome.said);
    }
    busy.check(&outcomes);
}

/// So are those of a connection of whose responses the tracer misses some heads: within three messages of
/// each, if the agent gets a CPU. In one of a few runs it does.
#[test]
fn framing_is_handed_back_after_heads_that_were_missed() {
    needs!(alone; "nginx", "nft", "tc");
    let busy = Busy::new();
    detour::add(&busy.pair).expect("a detour");
    let mut outcomes = Vec::new();
    let mut within = false;
    while !within && outcomes.len() < 6 {
        let outcome = busy.trace(|wait_for| {
            // The first segment of a response, after the TCP header with timestamps.
            let heads = "@th,256,32 0x48545450 numgen inc mod 20 == 7";
            detour::lead(&busy.pair.server, heads).expect("a detour");
            wait_for(100);
            detour::end(&busy.pair.server).expect("its end");
            wait_for(20);
        });
        let lost = outcome.counter("became_unsure");
        println!("{} messages for {lost} times lost", unskipped(&outcome));
        // The two directions of a connection that was open before, and the heads.
        assert!(lost >= 2 + 4, "{:?}", outcome.said);
        let taken = outcome.counter("trial_right") + outcome.counter("handed_back");
        assert!(taken >= 4, "{:?}", outcome.said);
        within = unskipped(&outcome) <= 3.0 * (lost as f64 - 1.0);
        outcomes.push(outcome);
    }
    assert!(within, "never within three messages of each");
    busy.check(&outcomes);
}
