//! Checks the namespaces and played scenes that the live tests build on.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

use http_trace_tests::needs;
use http_trace_tests::netns::{self, Namespace, Pair, Running, address, run};
use http_trace_tests::play::Stage;
use http_trace_tests::scene::Step;
use http_trace_tests::scenes;

fn echo(pair: &Pair, host: &str) {
    let listener = pair.server.enter(|| TcpListener::bind((host, 80))).expect("enter");
    let listener = listener.expect("bind in the server's namespace");
    let client = pair.client.enter(|| TcpStream::connect((host, 80))).expect("enter");
    let mut client = client.expect("connect from the client's namespace");
    let (mut server, _) = listener.accept().expect("accept");
    client.write_all(b"ping").expect("write");
    let mut got = [0; 4];
    server.read_exact(&mut got).expect("read");
    assert_eq!(&got, b"ping");
}

#[test]
fn a_veth_pair_carries_both_ip_versions() {
    needs!("ethtool");
    let pair = Pair::new(1500).expect("a pair");
    echo(&pair, address::SERVER_V4);
    echo(&pair, address::SERVER_V6);
    pair.server.offloads("veth0", false).expect("ethtool");
    let shown = pair.server.run(Command::new("ethtool").args(["-k", "veth0"])).expect("ethtool");
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("tcp-segmentation-offload: off"), "{shown}");
}

#[test]
fn a_tun_pair_has_no_link_layer() {
    needs!("python3");
    let (pair, _pipe) = Pair::tun().expect("a pair");
    echo(&pair, address::SERVER_V4);
    echo(&pair, address::SERVER_V6);
    let shown = pair.server.ip("-d link show tun0").expect("ip");
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("link/none"), "{shown}");
}

#[test]
fn a_namespace_goes_even_after_a_panic() {
    needs!();
    let (send, receive) = std::sync::mpsc::channel();
    let result = std::thread::spawn(move || {
        let namespace = Namespace::new("panic").expect("a namespace");
        send.send(namespace.name().to_owned()).expect("a receiver");
        panic!("on purpose: the namespace must go nevertheless");
    })
    .join();
    assert!(result.is_err());
    let name = receive.recv().expect("a name");
    assert!(!std::path::Path::new("/run/netns").join(name).exists());
}

/// A test that is killed cannot clean up; the next one does.
#[test]
fn what_a_killed_test_left_goes() {
    needs!();
    // The pid of a process that has ended and been waited for.
    let mut ended = Command::new("true").spawn().expect("true");
    let gone = ended.id();
    ended.wait().expect("its end");
    let left = format!("http-trace-{gone}-0-left");
    let kept = Namespace::new("kept").expect("a namespace");
    let other = format!("http-trace-{gone}-by-hand");
    for name in [&left, &other] {
        run(Command::new("ip").args(["netns", "add", name])).expect("a namespace");
    }
    let mut inside = Command::new("ip");
    inside.args(["netns", "exec", &left, "sleep", "600"]);
    let mut inside = Running::start(&mut inside).expect("a program inside");
    let entered = || {
        let pids = run(Command::new("ip").args(["netns", "pids", &left])).expect("ip");
        !pids.stdout.is_empty()
    };
    while !entered() {
        assert!(inside.try_wait().expect("wait").is_none(), "it ended early");
        std::thread::sleep(Duration::from_millis(10));
    }
    netns::sweep();
    let is_there = |name: &str| std::path::Path::new("/run/netns").join(name).exists();
    let there = [left.as_str(), other.as_str(), kept.name()].map(is_there);
    run(Command::new("ip").args(["netns", "del", &other])).expect("deleted");
    assert_eq!(there, [false, true, true], "left, made by hand, in use");
    assert!(!inside.wait().expect("an end").success(), "it was ended");
}

#[test]
fn every_scene_plays_on_real_sockets() {
    needs!();
    let namespace = Namespace::new("scenes").expect("a namespace");
    let stage = Stage::new(&namespace, &namespace, "127.0.0.1:8000".parse().expect("an address"));
    let stage = stage.expect("a listener");
    let mut names = std::collections::HashSet::new();
    for mut scene in scenes::all() {
        assert!(names.insert(scene.name), "two scenes are called {}", scene.name);
        scene.steps.retain(|step| !matches!(step, Step::Pause(_)));
        if let Err(error) = stage.play(&scene) {
            panic!("{error:#}");
        }
    }
}

#[test]
fn no_two_scenes_are_played_on_one_port() {
    needs!();
    let namespace = Namespace::new("ports").expect("a namespace");
    let ports = || std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", "40000 40005");
    namespace.enter(ports).expect("enter").expect("few ports");
    let server = "127.0.0.1:8000".parse().expect("an address");
    let stage = Stage::new(&namespace, &namespace, server).expect("a listener");
    // The server closes, so that the client's port is free right after the scene.
    let scene = scenes::named("unsolicited_408");
    let clients: std::collections::HashSet<_> =
        (0..6).map(|_| stage.play(&scene).expect("played").client).collect();
    assert_eq!(clients.len(), 6);
}
