//! Two CPUs race for the same connection: a refused claim loses no response.

use std::process::Command;
use std::time::Duration;

use http_trace_tests::agent::Agent;
use http_trace_tests::bed::own_port;
use http_trace_tests::ledger::Ledger;
use http_trace_tests::netns::{Namespace, run};
use http_trace_tests::nginx::Nginx;
use http_trace_tests::pusher::Push;
use http_trace_tests::{needs, skip};

const NOWHERE: ([u8; 4], u16) = ([127, 0, 0, 1], 9);
/// Limit of rounds, each with its own agent, until enough races occurred.
const ROUNDS: u32 = 8;
/// Number of races that is enough.
const ENOUGH: u64 = 20;

/// The hooks tc and cgroup both see each packet on lo: on egress in the context of the process, on ingress on
/// the CPU it is steered to.
#[test]
fn two_hooks_on_two_cpus() {
    needs!(alone; "nginx");
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    if cpus < 2 {
        return skip!("two CPUs");
    }
    let namespace = Namespace::new("race").expect("a namespace");
    // `ip netns exec` shows the /sys of the namespace; the lowest two CPUs handle ingress.
    let steer = "echo 3 > /sys/class/net/lo/queues/rx-0/rps_cpus";
    let mut command = Command::new("ip");
    command.args(["netns", "exec", namespace.name(), "sh", "-c", steer]);
    run(&mut command).expect("packets are steered to both CPUs");
    let (mut refused, mut busy, mut responses) = (0, 0, 0);
    for round in 1..=ROUNDS {
        let port = own_port();
        let nginx = Nginx::start_at(&namespace, port, NOWHERE.into()).expect("nginx");
        let text = port.to_string();
        let options = ["--hook", "tc,cgroup", "-p", &text, "-H", "x-target", "-vv"];
        let agent = Agent::start(&namespace, &options).expect("the agent");
        let push = Push { connections: 8, depth: 4, ahead: true, run: round };
        let server = ([127, 0, 0, 1], port).into();
        let (answered, ()) = push
            .run(&namespace, server, |pushing| {
                pushing.wait_for(10_000);
                std::thread::sleep(Duration::from_secs(1));
            })
            .expect("clients");
        let log = nginx.stop_and_keep().expect("a log");
        let mut ledger = Ledger::new(&log).expect("a ledger");
        let outcome = agent.stop_with(|line| ledger.see(line)).expect("an outcome");
        assert_eq!(ledger.len() as u64, answered);
        let (r, b) = (outcome.counter("claim_refused"), outcome.counter("scratch_busy"));
        println!(
            "round {round}: {answered} responses, {r} claims refused, {b} times no scratch, {} times \
             unsure, {} handed back; {:?}",
            outcome.counter("became_unsure"),
            outcome.counter("handed_back"),
            ledger.losses
        );
        if ledger.losses.is_empty() {
            ledger.check_all();
        } else {
            ledger.check();
            assert_eq!(ledger.uncovered(100), [0; 0], "{:?}", ledger.losses);
        }
        assert!(outcome.counter("copies") > 0, "{:?}", outcome.said);
        assert_eq!(outcome.counter("filter_disagrees"), 0, "{:?}", outcome.said);
        (refused, busy, responses) = (refused + r, busy + b, responses + answered);
        if refused >= ENOUGH && round > 1 {
            break;
        }
    }
    println!("met {refused} refused claims and {busy} full scratches in {responses} responses");
    assert!(refused >= ENOUGH, "{refused} races in {responses} responses");
}
