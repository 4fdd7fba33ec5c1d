//! Runs the tracer and other HTTP tools in turn beside the same server: what each costs, and how much of the
//! traffic it shows.
//!
//! ```text
//! cargo xtask bench --peers
//! ```
//! nginx and wrk run in two network namespaces joined by a veth pair. Each run with an observer is compared
//! with the mean of a run without before and after it. Writes its tables into docs/PERFORMANCE.md. Takes ten
//! minutes.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use http_trace_tests::agent;
use http_trace_tests::figures::{cpu, median, publish};
use http_trace_tests::need;
use http_trace_tests::netns::{Pair, Running};
use rustix::process::Signal;

/// Rounds over all observers.
const ROUNDS: usize = 5;
/// Duration of a run, in seconds.
const RUN: u32 = 4;
/// How long an observer may continue after the traffic has ended.
const DRAIN: Duration = Duration::from_secs(15);

/// A typical site: short pages, an API with larger answers, and errors.
const NGINX: &str = r#"
daemon off; worker_processes 2; pid nginx.pid; error_log stderr crit;
events { worker_connections 4096; }
http {
  access_log off; keepalive_requests 1000000000; default_type text/html;
  client_body_temp_path a; proxy_temp_path b; fastcgi_temp_path c; uwsgi_temp_path d; scgi_temp_path e;
  server {
    listen 80 reuseport;
    location = / { return 200 "PAGE"; }
    location = /api {
      default_type application/json;
      add_header X-Request-Id $request_id; add_header Cache-Control "no-store, max-age=0";
      add_header Set-Cookie "session=0123456789abcdef0123; Path=/; HttpOnly; SameSite=Lax";
      add_header Vary "Accept-Encoding, Origin";
      return 200 "ANSWER";
    }
    location = /404 { return 404 "not found\n"; }
    location = /500 { return 500 "server error\n"; }
    location = /301 { return 301 /; }
    location = /204 { return 204; }
  }
}
"#;
/// wrk's mix of a hundred requests.
const WRK: &str = r#"
local parts, paths = { ["/"]=70, ["/api"]=19, ["/404"]=5, ["/500"]=3, ["/301"]=2, ["/204"]=1 }, {}
for path, share in pairs(parts) do for _ = 1, share do paths[#paths + 1] = path end end
math.randomseed(1)
for at = #paths, 2, -1 do local other = math.random(at); paths[at], paths[other] = paths[other], paths[at] end
local at = 0
function request() at = at % #paths + 1; return wrk.format("GET", paths[at]) end
"#;
const SURICATA: &str = r#"%YAML 1.1
---
default-log-dir: .
outputs:
  - eve-log: {enabled: yes, filetype: regular, filename: eve.json, types: [http: {extended: yes}]}
logging: {outputs: [console: {enabled: yes}]}
af-packet: [{interface: veth0, threads: 1, cluster-id: 99, cluster-type: cluster_flow, defrag: yes}]
app-layer: {protocols: {http: {enabled: yes, libhtp: {default-config: {personality: IDS}}}}}
"#;
const HEADS: &str = "tcp src port 80 and tcp[((tcp[12:1] & 0xf0) >> 2):4] = 0x48545450";

struct Observer {
    name: &'static str,
    /// Arguments for a live run, then those for reading the capture `web.pcap`.
    live: &'static [&'static str],
    replay: &'static [&'static str],
    program: Program,
    /// Lines of its output (`out`, or the file) with this text are responses.
    line: Option<&'static str>,
    file: Option<&'static str>,
    /// It prints this when it captures; without it, the benchmark waits a second and a half.
    ready: Option<&'static str>,
}

enum Program {
    Ours,
    Theirs(&'static str),
}

impl Program {
    fn path(&self) -> Option<PathBuf> {
        match self {
            Program::Ours => agent::binary().ok().map(Path::to_path_buf),
            Program::Theirs(name) => need::program(name),
        }
    }
}

/// The tracer with these options; each response is a line if it writes any.
const fn ours(
    name: &'static str,
    live: &'static [&'static str],
    replay: &'static [&'static str],
    line: Option<&'static str>,
) -> Observer {
    Observer {
        name,
        live,
        replay,
        program: Program::Ours,
        line,
        file: None,
        ready: Some("tracing"),
    }
}

const RESPONSE: Option<&str> = Some("\"http-response\"");
const HTTPRY: &str = "timestamp,source-ip,source-port,dest-ip,dest-port,direction,http-version,status-code,\
                      reason-phrase,content-type,content-length";

const OBSERVERS: [Observer; 7] = [
    ours(
        "http-trace -o json",
        &["-i", "veth0", "-p", "80", "-o", "json"],
        &["-r", "web.pcap", "-o", "json"],
        RESPONSE,
    ),
    ours(
        "... --no-builtin-rules",
        &["-i", "veth0", "-p", "80", "-o", "json", "--no-builtin-rules"],
        &["-r", "web.pcap", "-o", "json", "--no-builtin-rules"],
        RESPONSE,
    ),
    ours(
        "... --status 4xx,5xx",
        &["-i", "veth0", "-p", "80", "-o", "json", "--status", "4xx,5xx"],
        &["-r", "web.pcap", "-o", "json", "--status", "4xx,5xx"],
        None,
    ),
    ours(
        "http-trace --summary",
        &["-i", "veth0", "-p", "80", "--summary"],
        &["-r", "web.pcap", "--summary"],
        None,
    ),
    Observer {
        name: "httpry",
        live: &["-i", "veth0", "-f", HTTPRY, "tcp port 80"],
        replay: &["-r", "web.pcap", "-f", HTTPRY, "tcp port 80"],
        program: Program::Theirs("httpry"),
        line: Some("\t<\t"),
        file: None,
        ready: None,
    },
    Observer {
        name: "suricata",
        live: &["-c", "suricata.yaml", "-S", "/dev/null", "--af-packet=veth0", "-l", "."],
        replay: &[
            "-c", "suricata.yaml", "-S", "/dev/null", "-k", "none", "--runmode", "single", "-r",
            "web.pcap", "-l", ".",
        ],
        program: Program::Theirs("suricata"),
        line: Some("\"event_type\":\"http\""),
        file: Some("eve.json"),
        ready: Some("started"),
    },
    Observer {
        name: "tcpdump -A",
        live: &["-i", "veth0", "-n", "-A", "-s", "700", HEADS],
        replay: &["-n", "-r", "web.pcap", "-A", HEADS],
        program: Program::Theirs("tcpdump"),
        line: Some(" Flags ["),
        file: None,
        ready: Some("listening on"),
    },
];

/// nginx and wrk in namespaces.
struct Site {
    pair: Pair,
    nginx: Running,
    folder: tempfile::TempDir,
}

/// A run of wrk.
#[derive(Clone, Copy)]
struct Run {
    responses: f64,
    /// CPU time of server and client, in seconds per response.
    inband: f64,
}

impl Site {
    fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let at = |name: &str| folder.path().join(name);
        let page = "<p>words</p> ".repeat(47);
        let answer = "{'id':12345,'name':'item','ok':true} ".repeat(53);
        fs::write(at("nginx.conf"), NGINX.replace("PAGE", &page).replace("ANSWER", &answer))?;
        fs::write(at("mix.lua"), WRK)?;
        fs::write(at("suricata.yaml"), SURICATA)?;
        let pair = Pair::new(1500)?;
        let mut nginx = Command::new(need::program("nginx").context("nginx")?);
        nginx.arg("-p").arg(folder.path()).args(["-c", "nginx.conf", "-e", "stderr"]);
        let nginx = pair.server.serve(&mut nginx, ([127, 0, 0, 1], 80).into())?;
        Ok(Site { pair, nginx, folder })
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// CPU time used by nginx's workers.
    fn server(&self) -> Result<f64> {
        let pid = self.nginx.pid();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
        let mut sum = 0.0;
        for child in children.split_whitespace() {
            sum += cpu(child.parse()?)?[0];
        }
        Ok(sum)
    }

    fn run(&self, seconds: u32, connections: u32) -> Result<Run> {
        let (server, own) = (self.server()?, cpu(std::process::id())?[1]);
        let mut wrk = Command::new(need::program("wrk").context("wrk")?);
        wrk.args(["-t2", &format!("-c{connections}"), &format!("-d{seconds}s"), "-s"]);
        wrk.arg(self.at("mix.lua")).arg("http://10.77.0.2/");
        let output = self.pair.client.run(&mut wrk)?;
        let client = cpu(std::process::id())?[1] - own;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut words = text.split_whitespace();
        let mut last = None;
        let count = loop {
            match words.next().context("wrk says how many requests it made")? {
                "requests" => break last.context("wrk's requests")?,
                word => last = word.parse::<f64>().ok(),
            }
        };
        Ok(Run { responses: count, inband: (self.server()? - server + client) / count })
    }

    /// Starts this program with these arguments.
    fn observe(&self, observer: &Observer, program: &Path, words: &[&str]) -> Result<Running> {
        let _ = fs::remove_file(self.at(observer.file.unwrap_or("out")));
        let mut command = Command::new(program);
        command
            .args(words)
            .current_dir(&self.folder)
            .stdout(File::create(self.at("out"))?)
            .stderr(File::create(self.at("said"))?);
        self.pair.server.spawn(&mut command)
    }

    /// Number of responses in the observer's output; `None` if it shows none.
    fn seen(&self, observer: &Observer) -> Result<Option<f64>> {
        let Some(line) = observer.line else {
            return Ok(None);
        };
        let text = fs::read(self.at(observer.file.unwrap_or("out")))?;
        let lines = text.split(|byte| *byte == b'\n');
        let is_one = |text: &&[u8]| text.windows(line.len()).any(|at| at == line.as_bytes());
        Ok(Some(lines.filter(is_one).count() as f64))
    }

    /// One run beside an observer: the run, the observer's CPU time in seconds, and what it showed.
    fn beside(&self, observer: &Observer, program: &Path) -> Result<(Run, f64, Option<f64>)> {
        let mut running = self.observe(observer, program, observer.live)?;
        let until = Instant::now() + Duration::from_secs(30);
        match observer.ready {
            None => std::thread::sleep(Duration::from_millis(1500)),
            Some(word) => loop {
                let said = ["said", "out"].map(|name| fs::read_to_string(self.at(name)));
                if said.iter().flatten().any(|text| text.contains(word)) {
                    break;
                }
                ensure!(Instant::now() < until, "{} does not say {word}", observer.name);
                ensure!(running.try_wait()?.is_none(), "{} has ended: {:?}", observer.name, said);
                std::thread::sleep(Duration::from_millis(20));
            },
        }
        let before = cpu(running.pid())?[0];
        let run = self.run(RUN, 32)?;
        // Output that is still pending costs as well: wait until it is idle.
        let (mut used, until) = (cpu(running.pid())?[0], Instant::now() + DRAIN);
        loop {
            std::thread::sleep(Duration::from_millis(500));
            let now = cpu(running.pid())?[0];
            if now - used < 0.02 || Instant::now() > until {
                used = now - before;
                break;
            }
            used = now;
        }
        running.signal(Signal::INT)?;
        running.wait()?;
        Ok((run, used, self.seen(observer)?))
    }

    /// CPU time and wall time of reading the capture, in seconds.
    fn replay(&self, observer: &Observer, program: &Path) -> Result<f64> {
        let before = cpu(std::process::id())?[1];
        let status = self.observe(observer, program, observer.replay)?.wait()?;
        let said = fs::read_to_string(self.at("said")).unwrap_or_default();
        ensure!(status.success(), "{} ended with {status}: {said}", observer.name);
        Ok(cpu(std::process::id())?[1] - before)
    }
}

/// Cost and output of one observer, a value per round.
#[derive(Default)]
struct Figures {
    total: Vec<f64>,
    inband: Vec<f64>,
    own: Vec<f64>,
    seen: Vec<f64>,
}

fn live(site: &Site, observers: &[(&Observer, PathBuf)], table: &mut String) -> Result<()> {
    let mut figures: Vec<Figures> = observers.iter().map(|_| Figures::default()).collect();
    let mut without = vec![];
    site.run(2, 32)?;
    for round in 0..ROUNDS {
        let mut before = site.run(RUN, 32)?;
        for turn in 0..observers.len() {
            let at = if round % 2 == 0 { turn } else { observers.len() - 1 - turn };
            let (observer, program) = &observers[at];
            let (run, used, seen) = site.beside(observer, program)?;
            let after = site.run(RUN, 32)?;
            let base = (before.inband + after.inband) / 2.0;
            let own = used / run.responses;
            let figures = &mut figures[at];
            figures.total.push((run.inband + own) / base);
            figures.inband.push(run.inband / base);
            figures.own.push(own * 1e6);
            figures.seen.extend(seen.map(|seen| seen / run.responses * 100.0));
            without.push(base * 1e6);
            before = after;
            eprintln!("round {round}: {}: total {:.2}", observer.name, (run.inband + own) / base);
        }
    }
    writeln!(
        table,
        "Live: medians of {ROUNDS} rounds of {RUN} s. Server and client alone use {:.1} \u{b5}s of CPU a response.\n",
        median(&mut without)
    )?;
    writeln!(table, "| observer | total | on the traffic | own CPU, \u{b5}s a response | seen |")?;
    writeln!(table, "|---|---|---|---|---|")?;
    for ((observer, _), mut figures) in observers.iter().zip(figures) {
        let seen = match figures.seen.is_empty() {
            true => "\u{2013}".to_owned(),
            false => format!("{:.1} %", median(&mut figures.seen)),
        };
        writeln!(
            table,
            "| {} | {:.2} | {:.2} | {:.1} | {seen} |",
            observer.name,
            median(&mut figures.total),
            median(&mut figures.inband),
            median(&mut figures.own),
        )?;
    }
    Ok(())
}

fn replays(site: &Site, observers: &[(&Observer, PathBuf)], table: &mut String) -> Result<()> {
    let mut tcpdump = Command::new(need::program("tcpdump").context("tcpdump")?);
    tcpdump
        .args(["-i", "veth0", "-n", "-B", "65536", "-Z", "root", "-w"])
        .arg(site.at("web.pcap"))
        .arg("tcp port 80")
        .stderr(Stdio::null());
    let mut tcpdump = site.pair.server.spawn(&mut tcpdump)?;
    std::thread::sleep(Duration::from_millis(1500));
    let responses = site.run(RUN, 4)?.responses;
    std::thread::sleep(Duration::from_secs(2));
    tcpdump.signal(Signal::INT)?;
    tcpdump.wait()?;
    let mut used: Vec<Vec<f64>> = observers.iter().map(|_| vec![]).collect();
    let mut seen = vec![None; observers.len()];
    for _ in 0..ROUNDS {
        for (at, (observer, program)) in observers.iter().enumerate() {
            used[at].push(site.replay(observer, program)?);
            seen[at] = site.seen(observer)?;
        }
    }
    let size = fs::metadata(site.at("web.pcap"))?.len() >> 20;
    writeln!(
        table,
        "\nReading a capture of {responses:.0} responses ({size} MiB): medians of {ROUNDS} rounds.\n"
    )?;
    writeln!(table, "| observer | CPU, s | \u{b5}s a response | seen |\n|---|---|---|---|")?;
    for (((observer, _), mut used), seen) in observers.iter().zip(used).zip(seen) {
        let seen = seen.map_or("\u{2013}".to_owned(), |seen| format!("{seen:.0}"));
        let used = median(&mut used);
        writeln!(
            table,
            "| {} | {used:.2} | {:.1} | {seen} |",
            observer.name,
            used / responses * 1e6
        )?;
    }
    Ok(())
}

fn main() -> Result<()> {
    let programs = ["nginx", "wrk", "ip", "tcpdump"];
    let missing = programs.iter().find(|name| need::program(name).is_none());
    if !need::root() || missing.is_some() {
        need::skipped(missing.unwrap_or(&"root"), "the tracer beside its peers");
        return Ok(());
    }
    let mut observers = vec![];
    for observer in &OBSERVERS {
        match observer.program.path() {
            Some(program) => observers.push((observer, program)),
            None => need::skipped(observer.name, "what it costs"),
        }
    }
    let site = Site::new()?;
    let mut table = String::new();
    live(&site, &observers, &mut table)?;
    replays(&site, &observers, &mut table)?;
    print!("{table}");
    publish("peers", &table)
}
