//! RSTs, FINs, SYNs and second SYN-ACKs that their receivers refuse are forged into live connections: each
//! exchange is still an event with its request, and attacks after them raise their alerts.

use std::process::{Command, Stdio};
use std::time::Duration;

use http_trace_tests::agent::Agent;
use http_trace_tests::bed::{at_once, own_port, server_v4};
use http_trace_tests::client::Raw;
use http_trace_tests::need::program;
use http_trace_tests::needs;
use http_trace_tests::netns::{Namespace, Pair, Running};
use http_trace_tests::nginx::Nginx;
use http_trace_tests::routed::nft;
use http_trace_tests::seen::Seen;

const NOWHERE: ([u8; 4], u16) = ([127, 0, 0, 1], 9);
const CONNECTIONS: usize = 6;
/// Targets of each connection: one plain file, then attacks.
const ATTACKS: [&str; 4] = [
    "/small.txt?id=1%27%20UNION%20SELECT%20password%20FROM%20users--",
    "/small.txt?file=../../../../etc/passwd",
    "/.env",
    "/wp-login.php",
];
const ROUNDS: usize = 5;

/// Why receivers refuse the forged segments.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Damage {
    /// A wrong checksum, while other checksums are left to the network card.
    Sum,
    /// A wrong checksum, while the client's others are filled in; the server's are filled in after the hook.
    SumAmongFilled,
    /// The packet does not reach its receiver.
    Ttl,
    /// The same, and it is a request that comes before the client's own.
    Payload,
    /// The same, and it is the rest of a head of which the client has sent a part.
    Head,
}

fn forger(namespace: &Namespace, port: u16, sender: &str, damage: Damage) -> Running {
    let mut command = Command::new(program("python3").expect("python3"));
    command.args(["-c", include_str!("../../src/forger.py"), "veth0"]);
    let damage = match damage {
        Damage::Sum | Damage::SumAmongFilled => "sum",
        Damage::Ttl => "ttl",
        Damage::Payload => "payload",
        Damage::Head => "head",
    };
    command.args([&port.to_string(), sender, damage]);
    command.stdout(Stdio::piped());
    let mut forger = namespace.spawn(&mut command).expect("a forger");
    assert_eq!(forger.first_line().expect("a line").trim(), "ready");
    forger
}

/// Sends a request, and reads the body of the answer over 50 times the pause.
fn get(raw: &mut Raw, target: &str, pause: Duration) -> u16 {
    raw.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).expect("sent");
    raw.receive_in_parts(50, pause).expect("an answer").status
}

/// Drops packets whose TTL is used up, behind the hooks.
fn drop_far(end: &Namespace) {
    let drop = "table ip far {
 chain far {
 type filter hook prerouting priority -300
 ip ttl 1 drop
 }
}
";
    nft(end, drop).expect("a rule");
}

fn behind_a_forger(hook: &str, damage: Damage) {
    let pair = Pair::new(1500).expect("a pair");
    let port = own_port();
    for end in [&pair.client, &pair.server] {
        if damage == Damage::SumAmongFilled {
            let mut command = Command::new("ethtool");
            end.run(command.args(["-K", "veth0", "tx", "off"])).expect("ethtool");
        }
        if damage == Damage::Ttl {
            drop_far(end);
        }
    }
    let nginx = Nginx::start_at(&pair.server, port, NOWHERE.into()).expect("nginx");
    let port_text = port.to_string();
    let options = ["-i", "veth0", "-p", &port_text, "--hook", hook, "-v"];
    let agent = Agent::start(&pair.server, &options).expect("the agent");
    let forgers = [
        forger(&pair.client, port, "client", damage),
        forger(&pair.server, port, "server", damage),
    ];
    let mut asked = Vec::new();
    let mut connections: Vec<Raw> = (0..CONNECTIONS)
        .map(|_| Raw::connect(&pair.client, server_v4(port)).expect("a connection"))
        .collect();
    for (n, raw) in connections.iter_mut().enumerate() {
        let mut ask = |raw: &mut Raw, target: String, pause: Duration| {
            let status = get(raw, &target, pause);
            asked.push((raw.address().expect("an address"), target, status));
            // The forged segment comes before the next request.
            std::thread::sleep(Duration::from_millis(20));
        };
        ask(raw, format!("/small.txt?first={n}"), Duration::ZERO);
        if n % 3 == 0 {
            // Longer than a close waits for confirmation.
            raw.receive_buffer(64 << 10).expect("a small buffer");
            ask(raw, format!("/large.bin?{n}"), Duration::from_millis(60));
        }
        for round in 0..ROUNDS {
            for attack in ATTACKS {
                let sign = if attack.contains('?') { '&' } else { '?' };
                ask(raw, format!("{attack}{sign}n={n}.{round}"), Duration::ZERO);
            }
        }
    }
    drop(connections);
    let _ = agent.wait_for(asked.len(), Duration::from_secs(10));
    drop(forgers);
    let outcome = agent.stop().expect("an outcome");
    drop(nginx);
    let what = format!("{hook} {damage:?}: {:#?}", outcome.said);
    let told = outcome.report.responses.iter().map(|seen| {
        let target = seen.request.as_ref().map_or("no request", |(_, target)| target);
        (seen.client, target.to_owned(), seen.status.unwrap_or(0))
    });
    let (mut told, mut asked) = (told.collect::<Vec<_>>(), asked);
    told.sort();
    asked.sort();
    let missing: Vec<_> = asked.iter().filter(|a| !told.contains(a)).collect();
    let invented: Vec<_> = told.iter().filter(|t| !asked.contains(t)).collect();
    assert!(missing.is_empty() && invented.is_empty(), "{missing:?}\n{invented:?}\n{what}");
    assert_eq!(told.len(), asked.len(), "{what}");
    assert!(outcome.report.unanswered.is_empty(), "{:?}\n{what}", outcome.report.unanswered);
    assert!(!outcome.report.alerts.is_empty(), "{what}");
    assert_eq!(outcome.counter("filter_disagrees"), 0, "{what}");
    let counted = ["bad_checksum", "disputed_segments"].map(|name| outcome.counter(name));
    let filled = damage == Damage::SumAmongFilled;
    assert!(counted[usize::from(!filled)] > 0, "{counted:?} {what}");
    println!(
        "{hook} {damage:?}: {} exchanges, {counted:?}, {} alerts",
        told.len(),
        outcome.report.alerts.len()
    );
}

/// Nothing shows which of two requests the server has taken: the first is told, and that there were two.
#[test]
fn a_request_that_comes_first_is_not_taken_in_silence() {
    needs!(alone; "nginx", "nft", "python3");
    let pair = Pair::new(1500).expect("a pair");
    let port = own_port();
    drop_far(&pair.server);
    let nginx = Nginx::start_at(&pair.server, port, NOWHERE.into()).expect("nginx");
    let port_text = port.to_string();
    let agent = Agent::start(&pair.server, &["-i", "veth0", "-p", &port_text, "-v"]);
    let agent = agent.expect("the agent");
    let forger = forger(&pair.client, port, "client", Damage::Payload);
    let mut raw = Raw::connect(&pair.client, server_v4(port)).expect("a connection");
    for _ in 0..ROUNDS {
        // Of the forged one's length, longer and shorter.
        for target in ["/.env?12", ATTACKS[0], "/.env"] {
            get(&mut raw, target, Duration::ZERO);
            // The forged segment comes before the next request.
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    drop(raw);
    let _ = agent.wait_for(3 * ROUNDS, Duration::from_secs(10));
    drop(forger);
    let outcome = agent.stop().expect("an outcome");
    drop(nginx);
    let what = format!("{:#?}", outcome.said);
    let differs = outcome.counter("overlaps_differ");
    assert!(differs >= 2 * ROUNDS as u64, "{differs} {what}");
    let forged = |seen: &&Seen| matches!(&seen.request, Some((_, target)) if target == "/forged");
    let mut told = outcome.report.responses.iter();
    assert!(told.clone().filter(forged).count() > 0, "{what}");
    assert!(
        told.all(|seen| !forged(&seen) || seen.flags.iter().any(|flag| flag == "overlap_differs")),
        "{what}"
    );
}

/// The same inside a head that comes in parts, none of which begins as a start line does but the first.
#[test]
fn a_rest_of_a_head_that_comes_first_is_not_taken_in_silence() {
    needs!(alone; "nginx", "nft", "python3");
    for hook in ["tc", "socket-filter", "xdp"] {
        let pair = Pair::new(1500).expect("a pair");
        let port = own_port();
        drop_far(&pair.server);
        let nginx = Nginx::start_at(&pair.server, port, NOWHERE.into()).expect("nginx");
        let port_text = port.to_string();
        let options = ["-i", "veth0", "-p", &port_text, "--hook", hook, "-v"];
        let agent = Agent::start(&pair.server, &options).expect("the agent");
        let forger = forger(&pair.client, port, "client", Damage::Head);
        for n in 0..ROUNDS {
            let mut raw = Raw::connect(&pair.client, server_v4(port)).expect("a connection");
            for part in ["GET ", &format!("/small.txt?n={n} HTTP/1.1\r\nHo"), "st: a\r\n\r\n"] {
                raw.send(part.as_bytes()).expect("sent");
                // The forged segment comes before the next part.
                std::thread::sleep(Duration::from_millis(30));
            }
            let answer = raw.receive_in_parts(50, Duration::ZERO).expect("an answer");
            assert_eq!(answer.status, 200);
        }
        let _ = agent.wait_for(ROUNDS, Duration::from_secs(10));
        drop(forger);
        let outcome = agent.stop().expect("an outcome");
        drop(nginx);
        let what = format!("{hook} {:#?}", outcome.said);
        let differs = outcome.counter("overlaps_differ");
        assert!(differs >= ROUNDS as u64, "{differs} {what}");
        let told = &outcome.report.responses;
        let flagged =
            told.iter().filter(|seen| seen.flags.iter().any(|flag| flag == "overlap_differs"));
        println!(
            "{hook}: {differs} overlaps differ, {} of {} events flagged",
            flagged.count(),
            told.len()
        );
    }
}

macro_rules! hooks {
    ($($name:ident $hook:literal)+) => {
        $(
            #[test]
            fn $name() {
                needs!(alone; "nginx", "nft", "python3", "ethtool");
                let damages = [Damage::Sum, Damage::SumAmongFilled, Damage::Ttl];
                at_once(damages, |damage| behind_a_forger($hook, damage));
            }
        )+
    };
}

hooks! {
    at_tc "tc"
    at_a_socket_filter "socket-filter"
    at_xdp "xdp"
}
