//! During a flood of SYNs honest connections are reported, and memory stays bounded.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::os::fd::OwnedFd;
use std::process::Command;
use std::time::{Duration, Instant};

use http_trace_tests::agent::Agent;
use http_trace_tests::bed::{Bed, log_differences_at, nothing, own_port, server_v4};
use http_trace_tests::client::Raw;
use http_trace_tests::needs;
use http_trace_tests::netns::{Pair, address};
use http_trace_tests::nginx::Nginx;
use http_trace_tests::scene::Side;
use http_trace_tests::tcp::{LinkType, Path, Segment};
use rustix::net::{AddressFamily, Protocol, SendFlags, SocketFlags, SocketType};

const NOWHERE: ([u8; 4], u16) = ([127, 0, 0, 1], 9);
const SYNS: u32 = 200_000;
/// One honest request per this many SYNs.
const ASKED_EVERY: u32 = 500;
/// One new honest connection per this many SYNs.
const NEW_EVERY: u32 = 5_000;
/// The agent's own bounds (reassembly 64 MiB, heads 64 MiB) plus its other needs.
const BOUND_KIB: u64 = 256 << 10;

/// The `n`th SYN, from its own address and port.
fn syn(n: u32, to: SocketAddrV4) -> Vec<u8> {
    let [_, a, b, c] = (n / 7).to_be_bytes();
    let from = [10, 100 + a, b, c];
    let port = 1024 + u16::try_from(n % 60_000).expect("a port");
    let seq = n.wrapping_mul(2_654_435_761);
    let path =
        Path { client: (from, port).into(), server: to.into(), link: LinkType::Raw, vlan: None };
    path.frame(&Segment { ack: 0, syn: true, ..Segment::new(Side::Client, seq, b"") })
}

/// A pair whose server answers unreachable addresses; SYN cookies admit honest clients.
fn open_to_all() -> Pair {
    let pair = Pair::new(1500).expect("a pair");
    let gateway = address::CLIENT_V4;
    pair.server.ip(&format!("route add default via {gateway}")).expect("a route");
    let loose = "echo 1 > /proc/sys/net/ipv4/tcp_syncookies
        for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 > $f; done";
    let mut command = Command::new("sh");
    pair.server.run(command.args(["-c", loose])).expect("settings");
    pair
}

/// A raw socket that sends packets with their headers.
fn raw_socket() -> OwnedFd {
    let raw_ip = Protocol::from_raw(255.try_into().expect("IPPROTO_RAW"));
    rustix::net::socket_with(
        AddressFamily::INET,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        Some(raw_ip),
    )
    .expect("a raw socket")
}

/// Sends the next request of a keep-alive connection; it must be answered.
fn ask(raw: &mut Raw, n: u32) {
    let request = format!("GET /small.txt?{n} HTTP/1.1\r\nHost: a\r\n\r\n");
    raw.send(request.as_bytes()).expect("sent");
    assert_eq!(raw.receive().expect("an answer").status, 200);
}

fn connect(server: SocketAddr) -> Raw {
    Raw::over(TcpStream::connect(server).expect("connect")).expect("raw")
}

#[test]
fn an_honest_connection_is_not_lost() {
    needs!(alone; "nginx");
    let pair = open_to_all();
    let port = own_port();
    let nginx = Nginx::start_at(&pair.server, port, NOWHERE.into()).expect("nginx");
    let text = port.to_string();
    // With the default ring, since memory is measured.
    let options = ["-i", "veth0", "-p", &text, "-vv"];
    let agent = Agent::start_with(&pair.server, &options, &[]).expect("the agent");
    let bed = Bed { pair, agent };
    let server = server_v4(port);
    let to = SocketAddrV4::new(address::SERVER_V4.parse::<Ipv4Addr>().expect("v4"), port);
    let flood = || {
        let socket = raw_socket();
        let mut honest = connect(server);
        let mut sent = 0;
        for n in 0..SYNS {
            // The link's queue may be full for a moment: then the SYN is not sent.
            let went = rustix::net::sendto(&socket, &syn(n, to), SendFlags::empty(), &to);
            sent += u32::from(went.is_ok());
            if n % ASKED_EVERY == 0 {
                ask(&mut honest, n);
            }
            if n % NEW_EVERY == 0 {
                ask(&mut connect(server), n);
            }
        }
        sent
    };
    let sent = bed.pair.client.enter(flood).expect("enter");
    let status = std::fs::read_to_string(format!("/proc/{}/status", bed.agent.pid()));
    let status = status.expect("the agent's status");
    let peak = status.lines().find(|line| line.starts_with("VmHWM:"));
    let peak = peak.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    let log = nginx.stop().expect("a log");
    let outcome = bed.stop().expect("an outcome");
    println!("{sent} SYNs, {peak:?} KiB\n{}", outcome.said.join("\n"));
    assert!(sent > SYNS / 2, "{sent} SYNs went out");
    assert_eq!(log.len() as u32, SYNS / ASKED_EVERY + SYNS / NEW_EVERY);
    outcome.check_clean();
    nothing(log_differences_at(port, &outcome.report, &log));
    let told = outcome.report.unanswered.len();
    assert!(told <= 1000, "{told} events of SYNs that nothing answered");
    assert!(peak.is_some_and(|kib| kib < BOUND_KIB), "{peak:?} KiB");
    assert!(outcome.counter("packets") >= u64::from(sent), "{:?}", outcome.said);
}

/// SYNs to a closed port that `-p` names are all refused: a limited number per second make events, and the
/// number of the others is reported.
#[test]
fn refused_syns_make_no_flood_of_events() {
    needs!(alone; "nginx");
    const REFUSED: u32 = 50_000;
    const EVENTS_A_SECOND: usize = 100;
    let pair = open_to_all();
    let (port, closed) = (own_port(), own_port());
    let nginx = Nginx::start_at(&pair.server, port, NOWHERE.into()).expect("nginx");
    let (port_text, closed_text) = (port.to_string(), closed.to_string());
    let options = ["-i", "veth0", "-p", &port_text, "-p", &closed_text, "-vv"];
    let agent = Agent::start_with(&pair.server, &options, &[]).expect("the agent");
    let bed = Bed { pair, agent };
    let server = server_v4(port);
    let to = SocketAddrV4::new(address::SERVER_V4.parse::<Ipv4Addr>().expect("v4"), closed);
    let began = Instant::now();
    let flood = || {
        let socket = raw_socket();
        let mut honest = connect(server);
        let mut sent = 0;
        for n in 0..REFUSED {
            let went = rustix::net::sendto(&socket, &syn(n, to), SendFlags::empty(), &to);
            sent += u32::from(went.is_ok());
            if n % ASKED_EVERY == 0 {
                ask(&mut honest, n);
            }
        }
        sent
    };
    let sent = bed.pair.client.enter(flood).expect("enter");
    std::thread::sleep(Duration::from_millis(500));
    let seconds = began.elapsed().as_secs() as usize + 2;
    let log = nginx.stop().expect("a log");
    let outcome = bed.stop().expect("an outcome");
    let refused = outcome.report.unanswered.iter();
    let told = refused.filter(|seen| seen.json["http_trace"]["no_response"] == "refused").count();
    let counted: u64 = outcome
        .report
        .losses
        .iter()
        .map(|loss| &loss["http_trace"]["lost"])
        .filter(|lost| lost["where"] == "connection_attempts")
        .filter_map(|lost| lost["count"].as_u64())
        .sum();
    println!("{sent} SYNs, {told} events, {counted} only counted, {seconds} s");
    assert!(sent > REFUSED / 2, "{sent} SYNs went out");
    assert!((1..=EVENTS_A_SECOND * seconds).contains(&told), "{told} events in {seconds} s");
    assert!(counted > 0, "{:?}", outcome.said);
    nothing(log_differences_at(port, &outcome.report, &log));
}
