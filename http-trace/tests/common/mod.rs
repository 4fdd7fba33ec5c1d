//! Running the command, and a capture of errors for it to read.

use std::ops::Range;
use std::process::{Command, Stdio};

use etherparse::PacketBuilder;
use serde_json::Value;

/// The client of [`capture_of_errors`], a private address.
pub const CLIENT: [u8; 4] = [10, 1, 2, 3];

/// How the command ended.
#[derive(Debug)]
pub struct Ran {
    pub status: i32,
    pub out: String,
    pub err: String,
}

/// Runs the command with nothing of its own in the environment.
pub fn run(arguments: &[&str]) -> Ran {
    run_with(arguments, Stdio::null())
}

/// Runs it with something on standard input.
pub fn run_with(arguments: &[&str], stdin: impl Into<Stdio>) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_http-trace"));
    command.args(arguments).env_remove("NO_COLOR").stdin(stdin);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("HTTP_TRACE_")) {
        command.env_remove(name);
    }
    let output = command.output().unwrap();
    Ran {
        status: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Records of lines of json.
pub fn records(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).expect(line))
        .collect()
}

/// The alerts among them: `RULE STATE`.
pub fn alerts(text: &str) -> Vec<String> {
    records(text)
        .iter()
        .filter(|record| record["event"]["kind"] == "alert")
        .map(|alert| {
            let word = |pointer: &str| alert.pointer(pointer).and_then(Value::as_str);
            let rule = word("/rule/id").expect("a rule");
            format!(
                "{rule} {}",
                word("/http_trace/alert/state").expect("a state")
            )
        })
        .collect()
}

/// A capture of one connection with requests for missing paths, a tenth of a second apart: those
/// with these numbers.
pub fn capture_of_errors(errors: Range<u32>) -> Vec<u8> {
    let header = [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 262_144, 101];
    let mut file = header.map(u32::to_le_bytes).concat();
    let mut next = [1000_u32, 5000];
    let mut add = |from_client: bool, at_ms: u32, syn: bool, bytes: &[u8]| {
        let me = usize::from(!from_client);
        let (from, to) = match from_client {
            true => ((CLIENT, 50_000), ([10, 9, 9, 9], 80)),
            false => (([10, 9, 9, 9], 80), (CLIENT, 50_000)),
        };
        let tcp = PacketBuilder::ipv4(from.0, to.0, 64).tcp(from.1, to.1, next[me], 64_000);
        let tcp = if syn { tcp.syn() } else { tcp };
        let tcp = match syn && from_client {
            true => tcp,
            false => tcp.ack(next[1 - me]),
        };
        let mut packet = Vec::new();
        tcp.write(&mut packet, bytes).unwrap();
        next[me] = next[me].wrapping_add(bytes.len() as u32 + u32::from(syn));
        let len = packet.len() as u32;
        let record = [1_795_156_800 + at_ms / 1000, at_ms % 1000 * 1000, len, len];
        file.extend(record.map(u32::to_le_bytes).concat());
        file.extend(packet);
    };
    let begin_ms = errors.start * 100;
    add(true, begin_ms, true, b"");
    add(false, begin_ms + 1, true, b"");
    for n in errors.clone() {
        let at_ms = 10 + n * 100;
        let request = format!(
            "GET /missing/{n}?q={n} HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: test/1.0\r\n\r\n"
        );
        add(true, at_ms, false, request.as_bytes());
        let response = b"HTTP/1.1 404 Not Found\r\nServer: nginx\r\nContent-Length: 0\r\n\r\n";
        add(false, at_ms + 5, false, response);
    }
    file
}
