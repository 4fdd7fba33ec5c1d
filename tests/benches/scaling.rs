//! What a response costs as connections, clients, rules and heads grow: CPU time and peak memory of replays
//! of generated captures, one quantity at a time. Cases are interleaved.
//!
//! ```text
//! cargo xtask bench scaling
//! ```
//! Writes its table into docs/PERFORMANCE.md. Needs 2 GiB in the folder of temporary files. Takes four minutes.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Result, ensure};
use http_trace_detect::{builtin, parse};
use http_trace_tests::agent;
use http_trace_tests::figures::{cpu, median, peak_memory, publish};
use http_trace_tests::pcap::{LinkType, PcapWriter};
use http_trace_tests::scene::Side;
use http_trace_tests::tcp::{Path as Way, Segment};

/// Rounds over all cases.
const ROUNDS: usize = 3;
/// Responses of a case, and at least this many on each connection.
const RESPONSES: u32 = 200_000;
const EACH: u32 = 2;
/// Event time between two responses: 10,000 a second.
const STEP_NS: u64 = 100_000;
/// What a server sends at once.
const SEGMENT: usize = 1_448;
/// Requests that fail: one in this many.
const ERRORS: u32 = 20;

/// How many there are of each quantity.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Case {
    /// Connections, all open at once; requests take turns.
    connections: u32,
    /// Clients behind the proxy that holds the connections.
    clients: u32,
    /// Length of a response's head, in bytes.
    head: usize,
    /// Rules: none, the built-in ones, or those and others that match nothing.
    rules: usize,
}

/// What one case cost.
struct Cost {
    /// CPU time, in seconds.
    cpu: f64,
    /// Peak resident memory, in KiB.
    memory: u64,
}

impl Case {
    /// The case that the others differ from in one quantity.
    fn ordinary() -> Self {
        Case { connections: 100, clients: 1_000, head: 256, rules: builtin_rules() }
    }

    fn all() -> Vec<(String, Case)> {
        let usual = Case::ordinary();
        let mut cases = vec![];
        for connections in [1, 100, 10_000, 100_000, 1_000_000] {
            let case = Case { connections, ..usual };
            cases.push((format!("{} connections", grouped(connections)), case));
        }
        for clients in [10, 1_000, 100_000, 1_000_000] {
            let case = Case { clients, ..usual };
            cases.push((format!("{} clients", grouped(clients)), case));
        }
        for rules in [0, usual.rules, usual.rules + 50] {
            let case = Case { rules, ..usual };
            cases.push((format!("{rules} rules"), case));
        }
        for head in [200, 1 << 10, 4 << 10, 16 << 10, 64 << 10] {
            let case = Case { head, ..usual };
            cases.push((format!("head of {} B", grouped(head as u32)), case));
        }
        cases
    }

    fn responses(self) -> u32 {
        // Long heads make large captures.
        let usual = if self.head > 8 << 10 { RESPONSES / 10 } else { RESPONSES };
        usual.max(self.connections.saturating_mul(EACH))
    }

    /// Whether both read the same capture.
    fn responses_like(self, other: Case) -> bool {
        self == Case { rules: self.rules, ..other }
    }

    /// Writes the capture, or an empty one.
    fn write(self, file: &Path, empty: bool) -> Result<()> {
        let out = BufWriter::new(File::create(file)?);
        let mut writer = PcapWriter::new(out, LinkType::Ethernet)?;
        let mut next = vec![[1_u32; 2]; self.connections as usize];
        let responses = if empty { 0 } else { self.responses() };
        for number in 0..responses {
            let connection = number % self.connections;
            // The proxy has several addresses: a million connections need more ports than one has.
            let mut way = Way::v4(1_024 + (connection % 50_000) as u16);
            way.client.set_ip([192, 0, 2, (7 + connection / 50_000) as u8].into());
            let [client, server] = &mut next[connection as usize];
            let time_ns = 1_764_000_000_000_000_000 + u64::from(number) * STEP_NS;
            let mut write = |segment: Segment| writer.write(segment.time_ns, &way.frame(&segment));
            if *client == 1 {
                for (from, ack) in [(Side::Client, 0), (Side::Server, 1)] {
                    let mut syn = Segment::new(from, 0, &[]);
                    (syn.time_ns, syn.syn, syn.ack) = (time_ns, true, ack);
                    write(syn)?;
                }
            }
            let (request, response) = self.exchange(number);
            let mut ask = Segment::new(Side::Client, *client, request.as_bytes());
            (ask.time_ns, ask.ack) = (time_ns, *server);
            write(ask)?;
            *client = client.wrapping_add(request.len() as u32);
            for part in response.as_bytes().chunks(SEGMENT) {
                let mut answer = Segment::new(Side::Server, *server, part);
                (answer.time_ns, answer.ack) = (time_ns + STEP_NS / 2, *client);
                write(answer)?;
                *server = server.wrapping_add(part.len() as u32);
            }
        }
        writer.finish()?;
        Ok(())
    }

    /// A request and its response. Their lengths do not depend on the number.
    fn exchange(self, number: u32) -> (String, String) {
        let client = number.wrapping_mul(7_919) % self.clients;
        let [a, b, c] = [client / 10_000, client / 100 % 100, client % 100].map(|n| n + 100);
        let fails = number.is_multiple_of(ERRORS);
        let page = if fails { "missing" } else { "article" };
        let request = format!(
            "GET /{page}/{:06} HTTP/1.1\r\nHost: www.example.com\r\n\
            User-Agent: Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 Firefox/128.0\r\n\
            Accept: */*\r\nX-Forwarded-For: 10.{a}.{b}.{c}\r\n\r\n",
            number % 5_000
        );
        let status = if fails { "404 Not Found" } else { "200 OK" };
        let mut response = format!(
            "HTTP/1.1 {status}\r\nServer: nginx\r\nDate: Fri, 20 Nov 2026 09:00:00 GMT\r\n\
            Content-Type: text/html\r\nContent-Length: 16\r\n"
        );
        // Fields of usual length, and one that fills up.
        while response.len() + 200 < self.head {
            response.push_str("X-Field: ");
            response.extend(std::iter::repeat_n('v', 60));
            response.push_str("\r\n");
        }
        let rest = self.head.saturating_sub(response.len() + "X-Fill: \r\n\r\n".len());
        response.push_str("X-Fill: ");
        response.extend(std::iter::repeat_n('v', rest));
        response.push_str("\r\n\r\n0123456789abcdef");
        (request, response)
    }

    /// Replays the capture as json with the case's rules.
    fn replay(self, file: &Path, rules: &Path) -> Result<Cost> {
        let mut command = Command::new(agent::binary()?);
        command.arg("-r").arg(file).args(["-o", "json:/dev/null"]);
        command.args(["--trusted-proxies", "192.0.2.0/24"]);
        command.env("HTTP_TRACE_MAX_FLOWS", self.connections.max(65_536).to_string());
        match self.rules.checked_sub(builtin_rules()) {
            None => {
                command.arg("--no-builtin-rules");
            }
            Some(0) => {}
            Some(more) => {
                fs::write(rules, generated(more))?;
                command.arg("--rules").arg(rules);
            }
        }
        let before = cpu(std::process::id())?[1];
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let mut memory = 0;
        let status = loop {
            memory = peak_memory(child.id()).map_or(memory, |now| memory.max(now));
            match child.try_wait()? {
                Some(status) => break status,
                None => std::thread::sleep(Duration::from_millis(20)),
            }
        };
        ensure!(status.success(), "{command:?} ended with {status}");
        Ok(Cost { cpu: cpu(std::process::id())?[1] - before, memory })
    }
}

/// A number with its thousands apart.
fn grouped(number: u32) -> String {
    match number {
        0..1_000 => number.to_string(),
        _ => format!("{},{:03}", grouped(number / 1_000), number % 1_000),
    }
}

/// Number of built-in rules.
fn builtin_rules() -> usize {
    parse::parse(&builtin::sources(), &|_| false).rules.rules.len()
}

/// A file of `count` rules: half of them detections, the others count what those match.
fn generated(count: usize) -> String {
    let mut text = String::new();
    for number in 0..count / 2 {
        let _ = write!(
            text,
            "---\ntitle: Page {number}\nname: page-{number}\nlogsource: {{ category: webserver }}\n\
            detection: {{ selection: {{ cs-uri-stem|contains: /never/{number}/ }}, condition: selection }}\n\
            ---\ntitle: Pages {number}\nname: pages-{number}\ncorrelation: {{ type: event_count, \
            rules: page-{number}, group-by: c-ip, timespan: 5m, condition: {{ gte: 10 }} }}\n"
        );
    }
    text
}

/// A case with its capture and what its rounds cost.
struct Row {
    name: String,
    case: Case,
    capture: PathBuf,
    cpu: Vec<f64>,
    memory: Vec<f64>,
}

fn main() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(name);
    let empty = at("empty.pcap");
    Case::ordinary().write(&empty, true)?;
    let mut rows: Vec<Row> = Vec::new();
    for (name, case) in Case::all() {
        // Cases that differ only in their rules read one capture.
        let same = |row: &&Row| row.case.responses_like(case);
        let capture = match rows.iter().find(same) {
            Some(row) => row.capture.clone(),
            None => {
                let capture = at(&format!("{}.pcap", rows.len()));
                case.write(&capture, false)?;
                capture
            }
        };
        rows.push(Row { name, case, capture, cpu: vec![], memory: vec![] });
    }
    let rules = at("rules.yml");
    for round in 0..ROUNDS {
        for row in &mut rows {
            let start = row.case.replay(&empty, &rules)?.cpu;
            let cost = row.case.replay(&row.capture, &rules)?;
            let each = (cost.cpu - start) / f64::from(row.case.responses()) * 1e6;
            eprintln!("round {round}: {}: {each:.1} \u{b5}s", row.name);
            row.cpu.push(each);
            row.memory.push(cost.memory as f64 / 1024.0);
        }
    }
    let mut table =
        String::from("| case | \u{b5}s of CPU per response | peak memory, MiB |\n|---|---|---|\n");
    for row in &mut rows {
        writeln!(
            table,
            "| {} | {:.1} | {:.0} |",
            row.name,
            median(&mut row.cpu),
            median(&mut row.memory)
        )?;
    }
    print!("{table}");
    publish("scaling", &table)
}
