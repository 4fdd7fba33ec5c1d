//! Foreign programs at TC, before and after the agent's, with any return value: every response is reported
//! once, or that it may have been hidden is reported. Their chain stays unchanged.

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpStream;
use std::ops::RangeInclusive;
use std::process::Command;
use std::time::{Duration, Instant};

use http_trace_tests::agent::{Agent, Outcome, ROOMY};
use http_trace_tests::bed::{at_once, log_differences, nothing, server_v4};
use http_trace_tests::client::{Raw, curl, wrk};
use http_trace_tests::needs;
use http_trace_tests::neighbour::{VERDICTS, ask, attach};
use http_trace_tests::netns::{Namespace, Pair, Running, address};
use http_trace_tests::nginx::Nginx;
use rustix::process::Signal;

const NOWHERE: ([u8; 4], u16) = ([127, 0, 0, 1], 9);
const SIDES: [&str; 2] = ["ingress", "egress"];
const CLSACT: (&str, &str) = ("HTTP_TRACE_TC", "clsact");

fn agent(pair: &Pair, hook: &str) -> Agent {
    let environment: &[_] = match hook {
        "tcx" => &[ROOMY],
        _ => &[ROOMY, CLSACT],
    };
    let options = ["--hook", "tc", "-i", "veth0", "-p", "80", "-v"];
    Agent::start_with(&pair.server, &options, environment).expect("the agent")
}

/// A neighbour on both sides of the server's veth0: first at TCX; at clsact before all others, at the agent's
/// own preference.
fn neighbours(pair: &Pair, hook: &str, verdict: &str, every: &str) -> Vec<Running> {
    // A neighbour might drop ARP or ND.
    pair.know_link_addresses("veth0").expect("link addresses");
    let place = if hook == "tcx" { "first" } else { "1" };
    let one = |side| {
        let arguments = format!("{hook} {side} veth0 {verdict} {place} {every}");
        attach(&pair.server, &arguments).expect("a neighbour")
    };
    SIDES.into_iter().map(one).collect()
}

fn tc(namespace: &Namespace, arguments: &str) -> String {
    let mut command = Command::new("tc");
    command.args(arguments.split_whitespace());
    let output = namespace.run(&mut command).expect("tc");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn load(pair: &Pair, seconds: u64) {
    let url = format!("http://{}/small.txt", address::SERVER_V4);
    wrk(&pair.client, &url, 1, 4, Duration::from_secs(seconds)).expect("wrk");
}

/// Lines of the agent's losses, as `where: detail`.
fn losses(outcome: &Outcome) -> Vec<String> {
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let lost = |loss: &serde_json::Value| {
        let lost = &loss["http_trace"]["lost"];
        format!("{}: {}", text(&lost["where"]), text(&lost["detail"]))
    };
    outcome.report.losses.iter().map(lost).collect()
}

/// Programs at the server's veth0 that are not the agent's.
fn chain(pair: &Pair, hook: &str) -> Vec<String> {
    let one = |side| {
        let all = match hook {
            "tcx" => ask(&pair.server, &format!("list {side} veth0"))
                .expect("a list")
                .split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>(),
            _ => tc(&pair.server, &format!("filter show dev veth0 {side}"))
                .lines()
                .filter(|line| line.contains(" handle "))
                .map(str::to_owned)
                .collect(),
        };
        let foreign = all.into_iter().filter(|l| !l.contains("http_trace"));
        format!("{side}: {}", foreign.collect::<Vec<_>>().join(", "))
    };
    SIDES.into_iter().map(one).collect()
}

/// Runs a case for each hook and verdict, those of a hook in parallel.
fn each_verdict(case: impl Fn(&str, &str) + Sync) {
    for hook in ["tcx", "clsact"] {
        at_once(VERDICTS, |verdict| case(hook, verdict));
    }
}

#[test]
fn neighbours_that_were_there_first_hide_nothing() {
    needs!(alone; "nginx", "wrk", "tc", "python3");
    each_verdict(|hook, verdict| {
        let pair = Pair::new(1500).expect("a pair");
        tc(&pair.server, "qdisc add dev veth0 clsact");
        let there = neighbours(&pair, hook, verdict, "");
        let before = chain(&pair, hook);
        assert!(before[0].contains("nb_"), "{before:?}");
        let nginx = Nginx::start(&pair.server, NOWHERE.into()).expect("nginx");
        let agent = agent(&pair, hook);
        load(&pair, 1);
        assert_eq!(chain(&pair, hook), before, "{hook} {verdict}");
        let log = nginx.stop().expect("an access log");
        assert!(log.len() > 5, "{hook} {verdict}: {} requests", log.len());
        std::thread::sleep(Duration::from_millis(300));
        let outcome = agent.stop().expect("the agent's end");
        outcome.check_clean();
        nothing(log_differences(&outcome.report, &log));
        assert_eq!(chain(&pair, hook), before, "{hook} {verdict}");
        drop(there);
    });
}

#[test]
fn neighbours_that_come_later_are_reported_and_overtaken() {
    needs!(alone; "nginx", "wrk", "tc", "python3");
    each_verdict(|hook, verdict| {
        let pair = Pair::new(1500).expect("a pair");
        tc(&pair.server, "qdisc add dev veth0 clsact");
        let nginx = Nginx::start(&pair.server, NOWHERE.into()).expect("nginx");
        let agent = agent(&pair, hook);
        let there = neighbours(&pair, hook, verdict, "");
        let before = chain(&pair, hook);
        // One check of the hooks, with a margin.
        std::thread::sleep(Duration::from_millis(3500));
        load(&pair, 1);
        let log = nginx.stop().expect("an access log");
        assert!(log.len() > 5, "{hook} {verdict}: {} requests", log.len());
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(chain(&pair, hook), before, "{hook} {verdict}");
        let outcome = agent.stop().expect("the agent's end");
        assert_eq!(outcome.status.code(), Some(1), "{:?}", outcome.said);
        nothing(log_differences(&outcome.report, &log));
        let losses = losses(&outcome);
        // After the start the agent may not query names; netlink has those of filters.
        let who = match hook {
            "tcx" => "program id ".to_owned(),
            _ => format!("nb_{}_", verdict.to_lowercase()),
        };
        for side in SIDES {
            let place = format!("shadowed: tc {side} of veth0: ");
            let told = losses.iter().any(|line| {
                line.starts_with(&place)
                    && line.contains(&who)
                    && line.ends_with("http-trace is first again")
            });
            assert!(told, "{hook} {verdict} {side}: {losses:?}");
        }
        assert_eq!(losses.len(), 2, "{losses:?}");
        let said = outcome.said.join("\n");
        assert!(said.contains("packets may be missing for "), "{said}");
        drop(there);
    });
}

/// Sends requests with unique targets, over connections that stay open: thousands per second.
fn ask_for(pair: &Pair, time: Duration) {
    const CONNECTIONS: usize = 4;
    const PAUSE: Duration = Duration::from_micros(500);
    let end = Instant::now() + time;
    let one = |connection: usize| {
        let server = server_v4(80);
        let mut raw = Raw::over(TcpStream::connect(server).expect("connect")).expect("raw");
        for n in 0.. {
            let request = format!("GET /small.txt?{connection}-{n} HTTP/1.1\r\nHost: a\r\n\r\n");
            raw.send(request.as_bytes()).expect("sent");
            assert_eq!(raw.receive().expect("an answer").status, 200);
            if Instant::now() > end {
                break;
            }
            std::thread::sleep(PAUSE);
        }
    };
    let all = || {
        std::thread::scope(|scope| (0..CONNECTIONS).for_each(|n| drop(scope.spawn(move || one(n)))))
    };
    pair.client.enter(all).expect("enter");
}

/// The times of the losses at one side of veth0, in Unix ms.
fn hidden_times(outcome: &Outcome) -> Vec<RangeInclusive<u64>> {
    let ms = |value: &serde_json::Value| {
        let time: jiff::Timestamp = value.as_str().expect("a time").parse().expect("a time");
        time.as_millisecond() as u64
    };
    let time = |loss: &serde_json::Value| {
        let lost = &loss["http_trace"]["lost"];
        ms(&lost["since"])..=ms(&lost["until"])
    };
    outcome.report.losses.iter().map(time).collect()
}

/// Neighbours that constantly replace each other in first place, under load: every response is reported once
/// with its request, or the time at which it may have been hidden is reported.
#[test]
fn neighbours_that_are_replaced_under_load_are_reported() {
    needs!(alone; "nginx", "tc", "python3");
    for hook in ["tcx", "clsact"] {
        at_once(["0.3", "1.7"], |every| are_replaced(hook, every));
    }
}

fn are_replaced(hook: &str, every: &str) {
    // How far a log's time lags behind the packets.
    const SLACK_MS: u64 = 100;
    let pair = Pair::new(1500).expect("a pair");
    tc(&pair.server, "qdisc add dev veth0 clsact");
    let nginx = Nginx::start(&pair.server, NOWHERE.into()).expect("nginx");
    let agent = agent(&pair, hook);
    let there = neighbours(&pair, hook, "OK", every);
    ask_for(&pair, Duration::from_secs(5));
    drop(there);
    std::thread::sleep(Duration::from_millis(300));
    let log = nginx.stop().expect("an access log");
    let outcome = agent.stop().expect("the agent's end");
    let losses = losses(&outcome);
    let shadowed = losses.iter().filter(|l| l.starts_with("shadowed: tc "));
    assert!(
        shadowed.count() >= 2,
        "{hook}: {losses:?} {:?} {:?}",
        outcome.said,
        hidden_times(&outcome)
    );
    assert_eq!(outcome.status.code(), Some(1), "{:?}", outcome.said);
    let mut reported = BTreeSet::new();
    let mut alone = BTreeMap::<_, usize>::new();
    for seen in &outcome.report.responses {
        match &seen.request {
            Some((_, target)) => {
                assert!(reported.insert(target.clone()), "{hook}: {target} twice")
            }
            None => *alone.entry(seen.client).or_default() += 1,
        }
    }
    let hidden = hidden_times(&outcome);
    let mut missing = BTreeMap::<_, usize>::new();
    for line in &log {
        if reported.remove(&line.target) {
            continue;
        }
        *missing.entry(line.client).or_default() += 1;
        let around = line.time_ms - SLACK_MS..=line.time_ms + SLACK_MS;
        let told = |time: &RangeInclusive<u64>| {
            time.start() <= around.end() && around.start() <= time.end()
        };
        assert!(hidden.iter().any(told), "{hook} {every}: {line:?}, {losses:?}");
    }
    assert!(reported.is_empty(), "{hook}: nobody asked for {reported:?}");
    for (client, count) in alone {
        let of_missing = missing.get(&client).copied().unwrap_or_default();
        assert!(count <= of_missing, "{hook}: {count} without a request of {of_missing}");
    }
    let missing: usize = missing.values().sum();
    println!("{hook} {every}: {missing} of {} missing, {} losses", log.len(), losses.len());
}

#[test]
fn what_takes_the_agent_off_is_reported_and_undone() {
    needs!(alone; "nginx", "wrk", "tc", "python3");
    let cases = [
        ("tcx", "link", "detached: tc "),
        ("tcx", "qdisc", ""),
        ("clsact", "qdisc", "detached: tc "),
        ("clsact", "replaced", "detached: tc "),
        ("clsact", "preference", "detached: tc "),
    ];
    at_once(cases, |(hook, what, expected)| is_taken_off(hook, what, expected));
}

fn is_taken_off(hook: &str, what: &str, expected: &str) {
    let pair = Pair::new(1500).expect("a pair");
    tc(&pair.server, "qdisc replace dev veth0 clsact");
    let nginx = Nginx::start(&pair.server, NOWHERE.into()).expect("nginx");
    let agent = agent(&pair, hook);
    let mut there = Vec::new();
    match what {
        "link" => {
            for side in SIDES {
                ask(&pair.server, &format!("detach {side} veth0 http_trace")).expect("detached");
            }
        }
        "qdisc" => {
            tc(&pair.server, "qdisc del dev veth0 clsact");
            tc(&pair.server, "qdisc add dev veth0 clsact");
        }
        // A foreign filter at our preference and handle.
        "replaced" => {
            for side in SIDES {
                let arguments = format!("clsact {side} veth0 OK -1");
                there.push(attach(&pair.server, &arguments).expect("a neighbour"));
            }
        }
        _ => {
            for side in SIDES {
                tc(&pair.server, &format!("filter del dev veth0 {side} pref 1"));
            }
        }
    }
    let neighbours = chain(&pair, hook);
    std::thread::sleep(Duration::from_millis(3500));
    load(&pair, 1);
    let log = nginx.stop().expect("an access log");
    std::thread::sleep(Duration::from_millis(300));
    let outcome = agent.stop().expect("the agent's end");
    let losses = losses(&outcome);
    println!("{hook} {what}: {} requests, {losses:?}", log.len());
    nothing(log_differences(&outcome.report, &log));
    if expected.is_empty() {
        outcome.check_clean();
    } else {
        assert_eq!(losses.len(), 2, "{hook} {what}: {losses:?}");
        for line in &losses {
            assert!(
                line.starts_with(expected) && line.ends_with("http-trace is first again"),
                "{hook} {what}: {line}"
            );
        }
    }
    // Our programs are gone, theirs are not.
    assert_eq!(chain(&pair, hook), neighbours, "{hook} {what}");
    let both = SIDES.map(|side| tc(&pair.server, &format!("filter show dev veth0 {side}")));
    assert!(!both.concat().contains("http_trace"), "{both:?}");
}

/// Programs before the agent's that cannot be overtaken: TCX before clsact, and a filter of another kind at
/// the first preference.
#[test]
fn what_cannot_be_overtaken_is_reported() {
    needs!(alone; "nginx", "wrk", "tc", "python3");
    let pair = Pair::new(1500).expect("a pair");
    let _there = neighbours(&pair, "tcx", "OK", "");
    tc(&pair.server, "qdisc add dev veth0 clsact");
    tc(
        &pair.server,
        "filter add dev veth0 egress pref 1 protocol all u32 match u32 0 0 flowid 1:1",
    );
    let nginx = Nginx::start(&pair.server, NOWHERE.into()).expect("nginx");
    let agent = agent(&pair, "clsact");
    let begun = Instant::now();
    load(&pair, 1);
    std::thread::sleep(Duration::from_millis(500).saturating_sub(begun.elapsed()));
    drop(nginx);
    let outcome = agent.stop().expect("the agent's end");
    assert_eq!(outcome.status.code(), Some(1), "{:?}", outcome.said);
    let losses = losses(&outcome);
    let tells = |side: &str, who: &str| {
        let place = format!("shadowed: tc {side} of veth0: ");
        losses.iter().any(|line| line.starts_with(&place) && line.contains(who))
    };
    assert!(tells("ingress", "program nb_ok_ingress (id "), "{losses:?}");
    assert!(tells("egress", "program nb_ok_egress (id "), "{losses:?}");
    assert!(tells("egress", "u32 filter (preference 1)"), "{losses:?}");
}

/// Two agents that both want to be first must not overtake each other for ever.
#[test]
fn another_agent_hides_nothing() {
    needs!(alone; "nginx", "curl");
    let pair = Pair::new(1500).expect("a pair");
    let _nginx = Nginx::start(&pair.server, NOWHERE.into()).expect("nginx");
    for hook in ["tcx", "clsact"] {
        two_agents(&pair, hook);
    }
    // Others that come and go between two checks.
    let long = agent(&pair, "tcx");
    for _ in 0..3 {
        let short = agent(&pair, "tcx");
        short.stop().expect("the short agent's end").check_clean();
    }
    std::thread::sleep(Duration::from_secs(3));
    long.stop().expect("the agent's end").check_clean();
}

fn two_agents(pair: &Pair, hook: &str) {
    let both = [agent(pair, hook), agent(pair, hook)];
    let url = format!("http://{}/small.txt", address::SERVER_V4);
    // Each checks its hooks every two seconds.
    for _ in 0..5 {
        curl(&pair.client, &[&url]).expect("curl");
        std::thread::sleep(Duration::from_secs(1));
    }
    for agent in both {
        let outcome = agent.stop().expect("the agent's end");
        outcome.check_clean();
        assert_eq!(outcome.report.responses.len(), 5);
    }
}

#[test]
fn the_neighbours_chain_stays_as_it_was_after_a_kill() {
    needs!(alone; "tc", "python3");
    for hook in ["tcx", "clsact"] {
        let pair = Pair::new(1500).expect("a pair");
        tc(&pair.server, "qdisc add dev veth0 clsact");
        let _there = neighbours(&pair, hook, "OK", "");
        let _behind = match hook {
            "tcx" => attach(&pair.server, "tcx egress veth0 UNSPEC last"),
            _ => attach(&pair.server, "clsact egress veth0 UNSPEC 9"),
        };
        let before = chain(&pair, hook);
        let agent = agent(&pair, hook);
        assert_eq!(chain(&pair, hook), before, "{hook}: during");
        agent.signal(Signal::KILL).expect("a signal");
        drop(agent);
        assert_eq!(chain(&pair, hook), before, "{hook}: after");
    }
}

/// XDP has room for one program: its owner is named at TC, and the place cannot be shared at XDP.
#[test]
fn a_program_at_xdp_is_named() {
    needs!(alone; "python3");
    let pair = Pair::new(1500).expect("a pair");
    let _there = attach(&pair.server, "xdp veth0").expect("a neighbour");
    let agent = agent(&pair, "tcx");
    let outcome = agent.stop().expect("the agent's end");
    outcome.check_clean();
    let said = outcome.said.join("\n");
    assert!(said.contains("xdp of veth0: program nb_xdp (id "), "{said}");
    let refused = Agent::start(&pair.server, &["--hook", "xdp", "-i", "veth0"]);
    let why = refused.expect_err("a place that is taken").to_string();
    assert!(why.contains("another XDP program may hold it"), "{why}");
}
