//! A response is one event, whatever interfaces and address translations it crosses, wherever the agent runs.

use std::net::SocketAddr;
use std::time::Duration;

use http_trace_tests::agent::Agent;
use http_trace_tests::bed::{nothing, scene_differences};
use http_trace_tests::needs;
use http_trace_tests::netns::Namespace;
use http_trace_tests::play::{Played, Stage};
use http_trace_tests::routed::{ASKED, Routed, SERVED};
use http_trace_tests::scene::{Scene, Step};
use http_trace_tests::scenes;
use http_trace_tests::seen::Seen;
use serde_json::Value;

/// What an agent in one place must report.
struct View<'a> {
    name: &'static str,
    namespace: &'a Namespace,
    hooks: &'static str,
    /// Whether it sees the tuples of both sides of the router.
    both_sides: bool,
    /// Whether it sees traffic on the server's lo.
    lo: bool,
    /// Interfaces of the namespace that responses to the client cross.
    interfaces: &'static [&'static str],
}

fn nat(end: &Value) -> Option<SocketAddr> {
    let nat = end.get("nat")?;
    let ip = nat["ip"].as_str()?.parse().ok()?;
    Some(SocketAddr::new(ip, u16::try_from(nat["port"].as_u64()?).ok()?))
}

fn names_differ(seen: &Seen, played: &Played, view: &View<'_>) -> Option<String> {
    let (client, server) = played.outside;
    let outer =
        |outer: SocketAddr, inner: SocketAddr| (view.both_sides && outer != inner).then_some(outer);
    let want = (outer(client, played.client), outer(server, played.server));
    let got = (nat(&seen.json["source"]), nat(&seen.json["destination"]));
    // Without a request, the first tuple of the answer is the nearest to the server, and the event may be
    // written before another tuple is seen.
    if seen.request.is_none() && got == (None, None) {
        return None;
    }
    (got != want).then(|| format!("nat {got:?} instead of {want:?}: {}", seen.json))
}

/// Interfaces in the view's namespace have names. Those of others, which the cgroup hook sees, have numbers,
/// some of which also exist here.
fn interfaces_differ(seen: &Seen, view: &View<'_>) -> Option<String> {
    let names = seen.json["http_trace"]["interfaces"].as_array()?;
    let names: Vec<&str> = names.iter().filter_map(Value::as_str).collect();
    let numbered = |name: &str| {
        let number = name.strip_prefix("if");
        number.is_some_and(|number| number.parse::<u32>().is_ok())
    };
    let allowed = names.iter().all(|name| {
        view.interfaces.contains(name) || view.hooks.contains("cgroup") && numbered(name)
    });
    // A packet passes the outer side of a router after the points nearer to the server.
    let outer_alone = names == ["wan"];
    (names.is_empty() || !allowed || outer_alone).then(|| format!("interfaces {names:?}"))
}

#[test]
fn one_event_per_response_wherever_it_is_looked_at() {
    needs!(alone; "nft");
    let net = Routed::new().expect("a router");
    let views = [
        View {
            name: "tc on the router",
            namespace: &net.router,
            hooks: "tc",
            both_sides: true,
            lo: false,
            interfaces: &["lan", "br0", "wan"],
        },
        View {
            name: "tc on the server",
            namespace: &net.server,
            hooks: "tc",
            both_sides: false,
            lo: true,
            interfaces: &["eth0"],
        },
        View {
            name: "cgroup over all",
            namespace: &net.server,
            hooks: "cgroup",
            both_sides: true,
            lo: true,
            interfaces: &["eth0"],
        },
        View {
            name: "tc and cgroup on the router",
            namespace: &net.router,
            hooks: "tc,cgroup",
            both_sides: true,
            lo: true,
            interfaces: &["lan", "br0", "wan"],
        },
        View {
            name: "tc and cgroup on the server",
            namespace: &net.server,
            hooks: "tc,cgroup",
            both_sides: true,
            lo: true,
            interfaces: &["eth0"],
        },
    ];
    // Other programs on this machine are in the same cgroup: limited to the test's ports.
    let ports = format!("{ASKED}-{SERVED}");
    let agents: Vec<Agent> = views
        .iter()
        .map(|view| {
            Agent::start(view.namespace, &["--hook", view.hooks, "-p", &ports, "-vv"])
                .unwrap_or_else(|error| panic!("{}: {error:#}", view.name))
        })
        .collect();

    let mut routed = Vec::new();
    let mut local = Vec::new();
    let stage =
        Stage::new(&net.client, &net.server, net.back()).expect("a stage").behind(net.front());
    let here = SocketAddr::from(([127, 0, 0, 1], SERVED));
    let inside = Stage::new(&net.server, &net.server, here).expect("a stage");
    for scene in scenes::all() {
        if scene.steps.iter().any(|step| matches!(step, Step::Pause(_))) {
            continue;
        }
        let play = |stage: &Stage<'_>| -> (Played, Scene) {
            let played = stage.play(&scene);
            let played = played.unwrap_or_else(|error| panic!("{}: {error:#}", scene.name));
            (played, scene.clone())
        };
        routed.push(play(&stage));
        local.push(play(&inside));
    }
    std::thread::sleep(Duration::from_millis(500));

    let mut wrong = Vec::new();
    for (view, agent) in views.iter().zip(agents) {
        let outcome = agent.stop().expect("an outcome");
        outcome.check_clean();
        let mut played = routed.clone();
        if view.lo {
            played.extend(local.iter().cloned());
        }
        let mut differences = scene_differences(&outcome.report, &played);
        for (played, _) in &played {
            let seen = outcome.report.of(played.client);
            differences.extend(seen.iter().filter_map(|s| names_differ(s, played, view)));
        }
        for (played, _) in &routed {
            let seen = outcome.report.of(played.client);
            differences.extend(seen.iter().filter_map(|s| interfaces_differ(s, view)));
        }
        let responses = outcome.report.responses.len();
        println!("{}: {responses} responses, {:?}", view.name, outcome.said);
        wrong.extend(differences.into_iter().map(|d| format!("{}: {d}", view.name)));
    }
    nothing(wrong);
}
