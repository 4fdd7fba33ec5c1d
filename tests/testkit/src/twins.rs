//! Two connections at once with equal addresses and ports, in two VLANs or namespaces.

use crate::scene::{End, Scene, Side, Step, Transaction};
use crate::tcp::{Layout, Path, Segment, Timed, frames, segments};

/// Requests of a connection.
pub const REQUESTS: usize = 40;
/// Number of requests sent at once.
pub const AT_ONCE: usize = 4;

/// Source port of both clients.
pub const FROM: u16 = 40_000;

/// Every second target is the same on both connections.
pub fn target(connection: usize, number: usize) -> String {
    match number % 2 {
        0 => format!("/{number}"),
        _ => format!("/{connection}/{number}"),
    }
}

pub fn request(connection: usize, number: usize) -> String {
    let target = target(connection, number);
    format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")
}

/// Body lengths differ too, so that framing one by the other would fail.
pub fn response(connection: usize, number: usize) -> String {
    let body = "b".repeat(number * (1 + connection));
    format!(
        "HTTP/1.1 200 OK\r\nX-Of: {connection} {number}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

pub fn scene(connection: usize) -> Scene {
    let mut steps = Vec::new();
    for first in (0..REQUESTS).step_by(AT_ONCE) {
        let batch = first..first + AT_ONCE;
        let mut send = |side, text: String| steps.push(Step::Send(side, text.into_bytes().into()));
        send(Side::Client, batch.clone().map(|n| request(connection, n)).collect());
        for number in batch {
            send(Side::Server, response(connection, number));
        }
    }
    steps.push(Step::Close(Side::Client));
    steps.push(Step::Close(Side::Server));
    let truth = |number: usize| {
        let bytes = number * (1 + connection);
        Transaction::new("GET", &target(connection, number), 200, "OK")
            .header("X-Of", format!("{connection} {number}"))
            .header("Content-Length", bytes.to_string())
            .body(bytes as u64, End::Length)
    };
    Scene { name: "same_tuple", steps, truth: (0..REQUESTS).map(truth).collect() }
}

pub const VLANS: [u16; 2] = [10, 20];

/// Frames of both connections, in VLANs of one trunk, with these initial sequence numbers; `copy` says where
/// each frame is seen again.
pub fn in_two_vlans(isn: [[u32; 2]; 2], copy: Option<Copied>) -> Vec<Timed> {
    let each = [0, 1].map(|connection| in_its_vlan(connection, isn[connection], copy));
    let mut all = each.concat();
    all.sort_by_key(|(time, _)| *time);
    all
}

pub fn in_its_vlan(connection: usize, isn: [u32; 2], copy: Option<Copied>) -> Vec<Timed> {
    let layout = Layout {
        isn,
        start_ns: Layout::default().start_ns + connection as u64 * 50_000,
        cuts: vec![700, 1448, 90],
        ..Layout::default()
    };
    let segments = segments(&scene(connection), &layout);
    let tagged = Path { vlan: Some(VLANS[connection]), ..Path::v4(FROM) };
    let mut all = frames(&tagged, &segments);
    let later = |s: &Segment| Segment { time_ns: s.time_ns + 1_000, ..s.clone() };
    let later: Vec<_> = segments.iter().map(later).collect();
    match copy {
        Some(Copied::AtBothPorts) => all.extend(frames(&tagged, &later)),
        Some(Copied::AboveTheTrunk) => all.extend(frames(&Path::v4(FROM), &later)),
        None => {}
    }
    all.sort_by_key(|(time, _)| *time);
    all
}

#[derive(Clone, Copy, Debug)]
pub enum Copied {
    /// At another port of a bridge, with its tag.
    AtBothPorts,
    /// At its VLAN device, without the tag.
    AboveTheTrunk,
}

/// Initial sequence numbers: different ones here, equal ones in [`EQUAL`].
pub const DRAWN: [[u32; 2]; 2] = [[0x1234_5678, 0x9abc_def0], [0x2468_ace0, 0x1357_9bdf]];
pub const EQUAL: [[u32; 2]; 2] = [[0x1234_5678, 0x9abc_def0]; 2];
