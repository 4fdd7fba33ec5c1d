//! The agent starts in the middle of a load whose bodies imitate messages at the beginning of every segment,
//! in responses and uploads: no event that the server did not log, and all of them after each connection has
//! continued for a while.

use std::io::{Read, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use http_trace_tests::agent::Agent;
use http_trace_tests::bed::{own_port, server_v4};
use http_trace_tests::ledger::Ledger;
use http_trace_tests::need::program;
use http_trace_tests::needs;
use http_trace_tests::netns::{Namespace, Pair};
use http_trace_tests::nginx::Nginx;

const NOWHERE: ([u8; 4], u16) = ([127, 0, 0, 1], 9);
/// Segments have 1,448 bytes, eight of these blocks.
const BLOCK: usize = 181;
const BLOCKS: usize = 240;
/// No imitation ends with the body: that would be indistinguishable from a message.
const TAIL: &str = "the end";

/// A message that fills a block, so that each begins where the previous one ends.
fn imitation(start_line: &str) -> String {
    let head = |len: usize| format!("{start_line}\r\nHost: a\r\nContent-Length: {len}\r\n\r\n");
    let len = BLOCK - head(100).len();
    let mut block = head(len);
    block.extend(std::iter::repeat_n('x', len));
    block
}

/// Length of the head of the response to this target, in bytes.
fn head_len(namespace: &Namespace, port: u16, target: &str) -> usize {
    let connect = || TcpStream::connect(server_v4(port));
    let mut stream = namespace.enter(connect).expect("in").expect("a connection");
    let ask = format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n\r\n");
    stream.write_all(ask.as_bytes()).expect("asked");
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).expect("an answer");
        head.push(byte[0]);
    }
    head.len()
}

/// Kinds of wrk's requests.
#[derive(Clone, Copy, Debug)]
enum Asks {
    Downloads,
    Uploads,
}

/// wrk's script: this many requests at once, each with a unique number.
fn script(asks: Asks, at_once: usize) -> String {
    let each = match asks {
        Asks::Downloads => {
            "return wrk.format('GET', string.format('/fake.bin?%012d', n), fields)".to_owned()
        }
        Asks::Uploads => {
            let block = imitation("GET /fake?1 HTTP/1.1").replace('\r', "\\r").replace('\n', "\\n");
            format!(
                "local body = string.rep('{block}', {BLOCKS}) .. '{TAIL}'
    local target = string.format('/upload?%012d', n)
    fields['X-Pad'] = ''
    local head = #wrk.format('POST', target, fields, body) - #body
    fields['X-Pad'] = string.rep('p', ({BLOCK} - head % {BLOCK}) % {BLOCK})
    return wrk.format('POST', target, fields, body)"
            )
        }
    };
    format!(
        "local threads = 0
function setup(thread) threads = threads + 1; thread:set('base', threads * 10000000000) end
local n = 0
local fields = {{}}
fields['Host'] = 'a'
local function one(n)
    {each}
end
function request()
    local all = {{}}
    for i = 1, {at_once} do n = n + 1; all[i] = one(base + n) end
    return table.concat(all)
end
"
    )
}

fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.map_or(0, |now| now.as_millis() as u64)
}

fn under(asks: Asks, at_once: usize, hook: &str) {
    let pair = Pair::new(1500).expect("a pair");
    for end in [&pair.client, &pair.server] {
        let mut command = Command::new("ethtool");
        end.run(command.args(["-K", "veth0", "tso", "off", "gso", "off", "gro", "off"]))
            .expect("ethtool");
    }
    let port = own_port();
    let nginx = Nginx::start_at(&pair.server, port, NOWHERE.into()).expect("nginx");
    let block = imitation("HTTP/1.1 500 FAKE");
    let body = |before: usize| "y".repeat(before) + &block.repeat(BLOCKS) + TAIL;
    std::fs::write(nginx.file("fake.bin"), body(100)).expect("a file");
    let head = head_len(&pair.client, port, "/fake.bin?000000000000");
    // As long as the previous body, so that the head has the same length.
    let before = BLOCK - head % BLOCK;
    std::fs::write(nginx.file("fake.bin"), body(before)).expect("a file");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("ask.lua");
    std::fs::write(&file, script(asks, at_once)).expect("a script");
    let mut wrk = Command::new(program("wrk").expect("wrk"));
    wrk.args(["-t", "2", "-c", "16", "-d", "9s", "-s"]).arg(&file);
    wrk.arg(format!("http://{}/", server_v4(port)));
    wrk.stdout(Stdio::piped());
    let mut wrk = pair.client.spawn(&mut wrk).expect("wrk");
    std::thread::sleep(Duration::from_millis(1000));
    let port_text = port.to_string();
    let options = ["-i", "veth0", "-p", &port_text, "--hook", hook, "-H", "x-target", "-vv"];
    let agent = Agent::start(&pair.server, &options).expect("the agent");
    let started = now_ms();
    wrk.wait().expect("its end");
    let ended = now_ms();
    std::thread::sleep(Duration::from_millis(300));
    let log = nginx.stop_and_keep().expect("a log");
    let first = log.iter().position(|b| *b == b'\n').map_or(0, |at| at + 1);
    let mut ledger = Ledger::new(&log[first..]).expect("a ledger");
    let mut unanswered = Vec::new();
    let sort = |line: &[u8]| {
        // wrk breaks off at the end: nginx may not have read its last requests.
        let text = String::from_utf8_lossy(line);
        if text.contains("\"no_response\"") {
            unanswered.push(text.into_owned());
        } else {
            ledger.see(line);
        }
    };
    let outcome = agent.stop_with(sort).expect("an outcome");
    let missing = ledger.missing().len();
    let counted = ["unproven", "unframed_bytes"].map(|name| outcome.counter(name));
    println!(
        "{asks:?} {at_once} {hook}: {missing} of {} missing, {} without request, {counted:?}, {:?}",
        ledger.len(),
        ledger.without_request,
        ledger.losses
    );
    let said = outcome.said.join("\n");
    ledger.check();
    assert!(missing < ledger.len(), "nothing was seen\n{said}");
    assert!(said.contains("connections with no start seen"), "{said}");
    assert_eq!(outcome.counter("filter_disagrees"), 0, "{said}");
    let asked = |line: &&String| !line.contains("/fake.bin?0") && !line.contains("/upload?0");
    assert_eq!(unanswered.iter().find(asked), None, "{said}");
    // Each connection has paused by then, and wrk has not begun to break off.
    let between = |time: &u64| (started + 1500..ended.saturating_sub(300)).contains(time);
    let missing = ledger.missing().into_iter().filter(between).count() as u64;
    // Two CPUs that meet on a connection can cost its framing once more: then its responses are counted until it pauses.
    let is_raced = outcome.counter("claim_refused") > 0;
    let counted = if is_raced { outcome.counter("unproven") } else { 0 };
    assert!(missing <= counted, "{missing} missing, {counted} counted\n{said}");
}

#[test]
fn in_responses_one_by_one() {
    needs!(alone; "nginx", "wrk", "ethtool");
    under(Asks::Downloads, 1, "tc");
}

#[test]
fn in_responses_to_pipelined_requests() {
    needs!(alone; "nginx", "wrk", "ethtool");
    under(Asks::Downloads, 8, "tc");
    under(Asks::Downloads, 8, "socket-filter");
}

#[test]
fn in_uploads_one_by_one() {
    needs!(alone; "nginx", "wrk", "ethtool");
    under(Asks::Uploads, 1, "tc");
}

#[test]
fn in_pipelined_uploads() {
    needs!(alone; "nginx", "wrk", "ethtool");
    under(Asks::Uploads, 4, "tc");
}
