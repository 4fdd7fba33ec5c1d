//! Every hook traces a keep-alive run, and leaves nothing in the kernel, however the agent ends.

use std::process::Command;
use std::time::Duration;

use http_trace_tests::agent::{Agent, ROOMY};
use http_trace_tests::bed::{log_differences, nothing};
use http_trace_tests::client::{Raw, wrk};
use http_trace_tests::needs;
use http_trace_tests::netns::{Namespace, Pair};
use http_trace_tests::nginx::Nginx;
use rustix::process::Signal;

const NOWHERE: ([u8; 4], u16) = ([127, 0, 0, 1], 9);

/// Compares a keep-alive run of wrk at these hooks with nginx's access log.
fn keep_alive(hooks: &str) {
    let pair = Pair::new(1500).expect("a pair");
    keep_alive_over(&pair, hooks, &[]);
}

/// The same over the caller's pair.
fn keep_alive_over(pair: &Pair, hooks: &str, environment: &[(&str, &str)]) {
    let nginx = Nginx::start(&pair.server, NOWHERE.into()).expect("nginx");
    let options = ["--hook", hooks, "-p", "80"];
    let environment = [environment, &[ROOMY]].concat();
    let agent = Agent::start_with(&pair.server, &options, &environment).expect("the agent");
    let url = format!("http://{}/small.txt", http_trace_tests::netns::address::SERVER_V4);
    wrk(&pair.client, &url, 1, 8, Duration::from_secs(2)).expect("wrk");
    let log = nginx.stop().expect("an access log");
    assert!(log.len() > 500, "{} requests are no load", log.len());
    // Waits until the last packets have been seen.
    std::thread::sleep(Duration::from_millis(300));
    let outcome = agent.stop().expect("the agent's end");
    // Checked first: a reported loss would explain missing events.
    outcome.check_clean();
    nothing(log_differences(&outcome.report, &log));
    println!("{hooks}: {} responses, {:?}", log.len(), outcome.said.last());
}

#[test]
fn tc() {
    needs!(alone; "nginx", "wrk");
    keep_alive("tc");
}

#[test]
fn socket_filter() {
    needs!(alone; "nginx", "wrk");
    keep_alive("socket-filter");
}

#[test]
fn cgroup() {
    needs!(alone; "nginx", "wrk");
    keep_alive("cgroup");
}

#[test]
fn xdp() {
    needs!(alone; "nginx", "wrk");
    keep_alive("xdp");
}

#[test]
fn tc_and_cgroup_at_once() {
    needs!(alone; "nginx", "wrk");
    keep_alive("tc,cgroup");
}

/// Ids of our programs in the kernel.
fn ours() -> Vec<u32> {
    aya::programs::loaded_programs()
        .filter_map(Result::ok)
        .filter(|program| program.name_as_str().is_some_and(|name| name.starts_with("http_trace")))
        .map(|program| program.id())
        .collect()
}

/// TC programs attach like this before Linux 6.6.
const CLSACT: &[(&str, &str)] = &[("HTTP_TRACE_TC", "clsact")];

/// The filters at one side of an interface's clsact qdisc, a line of `tc` each.
fn filters(namespace: &Namespace, interface: &str, place: &str) -> Vec<String> {
    let mut command = Command::new("tc");
    command.args(["filter", "show", "dev", interface, place]);
    let output = namespace.run(&mut command).expect("tc");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().map(str::to_owned).collect()
}

/// The id of our program in its only line, under its fixed handle.
fn our_filter(namespace: &Namespace, interface: &str, place: &str, name: &str) -> u32 {
    let all = filters(namespace, interface, place);
    let ours: Vec<&String> = all.iter().filter(|l| l.contains("http_trace")).collect();
    let [line] = ours[..] else {
        panic!("{interface} {place}: {all:?}");
    };
    assert!(
        line.contains(" pref 1 ") && line.contains(" handle 0x6874 ") && line.contains(name),
        "{line}"
    );
    let mut words = line.split_whitespace();
    words.find(|word| *word == "id").expect("an id");
    words.next().and_then(|id| id.parse().ok()).expect("an id")
}

fn qdiscs(namespace: &Namespace, interface: &str) -> String {
    let mut command = Command::new("tc");
    command.args(["qdisc", "show", "dev", interface]);
    let output = namespace.run(&mut command).expect("tc");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn clsact() {
    needs!(alone; "nginx", "wrk", "tc");
    let pair = Pair::new(1500).expect("a pair");
    keep_alive_over(&pair, "tc", CLSACT);
}

#[test]
fn at_clsact_a_killed_agent_is_replaced_and_others_are_left_alone() {
    needs!(alone; "nginx", "wrk", "tc");
    const SIDES: [(&str, &str); 2] = [("ingress", "http_trace_in"), ("egress", "http_trace_out")];
    let pair = Pair::new(1500).expect("a pair");
    let tc = |arguments: &str| {
        let mut command = Command::new("tc");
        command.args(arguments.split_whitespace());
        pair.server.run(&mut command).expect("tc");
    };
    // A foreign qdisc, and a filter that passes everything.
    tc("qdisc add dev veth0 clsact");
    tc("filter add dev veth0 ingress pref 7 protocol all u32 match u32 0 0 flowid 1:1");
    let foreign = filters(&pair.server, "veth0", "ingress");
    assert!(!foreign.is_empty(), "the other's filter is not there");

    let agent = Agent::start_with(&pair.server, &["--hook", "tc"], CLSACT).expect("the agent");
    let first = SIDES.map(|(place, name)| our_filter(&pair.server, "veth0", place, name));
    agent.signal(Signal::KILL).expect("a signal");
    drop(agent);
    let left = SIDES.map(|(place, name)| our_filter(&pair.server, "veth0", place, name));
    assert_eq!(left, first, "what SIGKILL leaves is what was there");

    let agent = Agent::start_with(&pair.server, &["--hook", "tc"], CLSACT).expect("the agent");
    for (at, (place, name)) in SIDES.into_iter().enumerate() {
        let second = our_filter(&pair.server, "veth0", place, name);
        assert_ne!(second, first[at], "{place}: not replaced");
        our_filter(&pair.server, "lo", place, name);
    }
    let outcome = agent.stop().expect("the agent's end");
    assert!(outcome.status.success(), "{:?}", outcome.said);

    // A third agent, killed while idle, and a fourth that traces: each response once.
    drop(Agent::start_with(&pair.server, &["--hook", "tc"], CLSACT).expect("the agent"));
    keep_alive_over(&pair, "tc", CLSACT);
    assert_eq!(filters(&pair.server, "veth0", "ingress"), foreign);
    for interface in ["veth0", "lo"] {
        assert!(filters(&pair.server, interface, "egress").is_empty());
        assert!(qdiscs(&pair.server, interface).contains("clsact"));
    }
}

#[test]
fn nothing_stays_behind() {
    needs!(alone;);
    for hook in ["tc", "socket-filter", "cgroup", "xdp"] {
        for signal in [Signal::INT, Signal::TERM, Signal::KILL] {
            let namespace = Namespace::new("left").expect("a namespace");
            let before = ours();
            let agent = Agent::start(&namespace, &["--hook", hook]).expect("the agent");
            let during: Vec<u32> = ours().into_iter().filter(|id| !before.contains(id)).collect();
            assert!(!during.is_empty(), "{hook}: nothing was loaded");
            agent.signal(signal).expect("a signal");
            // Links are freed after a grace period.
            let mut left = during.clone();
            for _ in 0..100 {
                std::thread::sleep(Duration::from_millis(50));
                let now = ours();
                left.retain(|id| now.contains(id));
                if left.is_empty() {
                    break;
                }
            }
            assert!(left.is_empty(), "{hook}, {signal:?}: programs {left:?} stay");
        }
    }
}

#[test]
fn an_interface_that_comes_later_is_traced() {
    needs!(alone; "python3");
    for hook in ["tc", "socket-filter"] {
        let namespace = Namespace::new("later").expect("a namespace");
        let options = ["--hook", hook, "-i", "lo", "-i", "new*"];
        let mut agent = Agent::start(&namespace, &options).expect("the agent");
        namespace.ip("link add old0 type veth peer name peer0").expect("a veth pair");
        namespace.ip("link set old0 name new0").expect("a new name");
        namespace.ip("link set new0 up").expect("up");
        agent.wait_for_line("tracing new0 too", Duration::from_secs(5));
        namespace.ip("link del new0").expect("deleted");
        agent.wait_for_line("stopped tracing new0", Duration::from_secs(5));
        let outcome = agent.stop().expect("the agent's end");
        let said = outcome.said.join("\n");
        assert!(said.contains("tracing new0 too"), "{hook}: {said}");
        assert!(said.contains("stopped tracing new0"), "{hook}: {said}");
        assert!(!said.contains("peer0"), "{hook}: {said}");
    }
}

#[test]
fn an_interface_that_goes_away_is_reported_without_hotplug_too() {
    needs!(alone;);
    for hook in ["tc", "socket-filter"] {
        let namespace = Namespace::new("leaves").expect("a namespace");
        namespace.ip("link add old0 type veth peer name old1").expect("a veth pair");
        namespace.ip("link set old0 up").expect("up");
        let options = ["--hook", hook, "-i", "old*", "--no-hotplug"];
        let mut agent = Agent::start(&namespace, &options).expect("the agent");
        namespace.ip("link set old1 up").expect("up");
        namespace.ip("link del old0").expect("deleted");
        agent.wait_for_line("nothing is traced now", Duration::from_secs(5));
        let said = agent.stop().expect("the agent's end").said.join("\n");
        for (line, is_there) in [
            ("stopped tracing old0", true),
            ("; restart to trace it again", true),
            ("tracing old1 too", false),
        ] {
            assert_eq!(said.contains(line), is_there, "{hook}: {line}: {said}");
        }
    }
}

/// A rename is said with the new name, and that nothing is left to trace.
#[test]
fn an_interface_whose_new_name_was_not_asked_for_is_reported() {
    needs!(alone;);
    let nothing = "nothing is traced now: no interface that is up matches ";
    for hook in ["tc", "socket-filter"] {
        let namespace = Namespace::new("renamed").expect("a namespace");
        namespace.ip("link add old0 type veth peer name old1").expect("a veth pair");
        for name in ["old0", "old1"] {
            namespace.ip(&format!("link set {name} up")).expect("up");
        }
        let options = ["--hook", hook, "-i", "old*"];
        let mut agent = Agent::start(&namespace, &options).expect("the agent");
        for (name, change, said) in [
            ("old0", "name new0", "stopped tracing old0: it is named new0 now"),
            ("old1", "name new1", "stopped tracing old1: it is named new1 now"),
            ("new1", "name old1", "tracing old1 too"),
        ] {
            namespace.ip(&format!("link set {name} {change}")).expect("a new name");
            assert!(agent.wait_for_line(said, Duration::from_secs(5)), "{hook}: {said}");
        }
        namespace.ip("link del old1").expect("deleted");
        agent.wait_for_lines(nothing, 2, Duration::from_secs(5));
        let said = agent.stop().expect("the agent's end").said;
        let lines = said.iter().filter(|line| line.contains(nothing)).count();
        assert_eq!(lines, 2, "{hook}: {said:?}");
    }
}

/// The programs are attached while it is down.
#[test]
fn an_interface_that_comes_later_is_traced_from_its_first_packet() {
    needs!(alone; "python3");
    let name = |label| Namespace::new(label).expect("a namespace");
    let (client, host) = (name("client"), name("host"));
    let everywhere = ([0, 0, 0, 0], 8000).into();
    let _server = http_trace_tests::nginx::Python::start(&host, everywhere).expect("python");
    let agent = Agent::start(&host, &[]).expect("the agent");
    client.link("eth0", &host, "new0", 1500).expect("a pair");
    for (namespace, command) in [
        (&host, "address add 10.79.0.1/24 dev new0"),
        (&client, "address add 10.79.0.2/24 dev eth0"),
        (&client, "link set eth0 up"),
    ] {
        namespace.ip(command).expect("ip");
    }
    std::thread::sleep(Duration::from_millis(300));
    host.ip("link set new0 up").expect("up");
    let server = ([10, 79, 0, 1], 8000).into();
    let mut raw = Raw::connect(&client, server).expect("a connection");
    raw.send(b"GET / HTTP/1.0\r\n\r\n").expect("sent");
    raw.drain().expect("an answer");
    let report = agent.wait_for(1, Duration::from_secs(5)).expect("a report");
    assert_eq!(report.responses.len(), 1, "{report:?}");
    assert!(report.responses[0].complete, "{report:?}");
    agent.stop().expect("the agent's end").check_clean();
}

#[test]
fn what_cannot_start_says_why() {
    needs!(alone;);
    let namespace = Namespace::new("why").expect("a namespace");
    let error = Agent::start(&namespace, &["-i", "absent0"]).expect_err("no such interface");
    assert!(format!("{error:#}").contains("absent0"), "{error:#}");
}

#[test]
fn raw_connection_over_lo_is_reported_once() {
    needs!(alone; "python3");
    let namespace = Namespace::new("lo").expect("a namespace");
    let address = ([127, 0, 0, 1], 8000).into();
    let _server = http_trace_tests::nginx::Python::start(&namespace, address).expect("python");
    let agent = Agent::start(&namespace, &["--hook", "tc,cgroup"]).expect("the agent");
    let mut raw = Raw::connect(&namespace, address).expect("a connection");
    raw.send(b"GET / HTTP/1.0\r\n\r\n").expect("sent");
    raw.drain().expect("an answer");
    let report = agent.wait_for(1, Duration::from_secs(5)).expect("a report");
    assert_eq!(report.responses.len(), 1, "{report:?}");
    let outcome = agent.stop().expect("the agent's end");
    assert_eq!(outcome.report.responses.len(), 1, "{:?}", outcome.report);
}

#[test]
fn the_programs_say_what_they_are_and_which_errors_they_meet_when_asked() {
    needs!(alone; "nginx", "wrk");
    let pair = Pair::new(1500).expect("a pair");
    let nginx = Nginx::start(&pair.server, NOWHERE.into()).expect("nginx");
    let url = format!("http://{}/small.txt", http_trace_tests::netns::address::SERVER_V4);
    let framing = "first packet; framing HTTP/1.x here";
    let host = "first packet; the host does framing";
    for (hook, variables, options, expected) in [
        ("tc", &[][..], &["-vv"][..], Some(framing)),
        ("socket-filter", &[], &["-vv"], Some(framing)),
        ("cgroup", &[], &["-vv"], Some(framing)),
        ("xdp", &[], &["-vv"], Some(framing)),
        ("tc", &[("HTTP_TRACE_FRAMING", "host")], &["-vv"], Some(host)),
        ("tc", &[], &["-v"], None),
    ] {
        // A ring for a moment's records only, which nobody reads for two seconds.
        let environment = [variables, &[("HTTP_TRACE_RING_SIZE", "64KiB")]].concat();
        let options = [&["--hook", hook, "-p", "80"], options].concat();
        let agent = Agent::start_with(&pair.server, &options, &environment).expect("the agent");
        agent.signal(Signal::STOP).expect("stopped");
        // Each CPU logs at most once per second, and its first packet first.
        wrk(&pair.client, &url, 1, 8, Duration::from_secs(2)).expect("wrk");
        agent.signal(Signal::CONT).expect("goes on");
        let outcome = agent.stop().expect("the agent's end");
        assert!(outcome.counter("ring_full") > 0, "{hook}: {:?}", outcome.said);
        let said: Vec<&String> =
            outcome.said.iter().filter(|line| line.contains("kernel: CPU ")).collect();
        let says = |what: &str| said.iter().any(|line| line.contains(what));
        match expected {
            Some(what) => assert!(
                says(what) && says("record lost: ring buffer full"),
                "{hook}: {:?}",
                outcome.said
            ),
            None => assert!(said.is_empty(), "{said:?}"),
        }
        // One or two lines per CPU, and none per packet.
        assert!(said.len() < 100, "{hook}: {} lines", said.len());
    }
    drop(nginx);
}

#[test]
fn a_socket_that_may_not_hold_the_program_is_an_error_that_says_what_to_do() {
    needs!(alone;);
    let namespace = Namespace::new("optmem").expect("a namespace");
    let allow = |bytes: &str| {
        namespace
            .enter(|| std::fs::write("/proc/sys/net/core/optmem_max", bytes))
            .expect("in the namespace")
            .expect("a setting of the namespace");
    };
    // The default of older kernels.
    allow("20480");
    let start = || Agent::start(&namespace, &["--hook", "socket-filter", "-i", "lo"]);
    let Err(error) = start() else {
        panic!("it starts");
    };
    let said = error.to_string();
    assert!(said.contains("`sysctl -w net.core.optmem_max=262144`"), "{said}");
    // This is enough.
    allow("262144");
    start().expect("allowed").stop().expect("the end");
}
