//! Cost of the kernel programs in ns per packet, by kind: BPF_PROG_TEST_RUN of each kind compared with an
//! empty program, all interleaved in one run.
//!
//! ```text
//! cargo xtask bench kernel [-- OBJECT.o …]
//! ```
//! Further objects are measured beside this build's, so that a change is compared within one run. This
//! build's is also measured with `--decap vxlan,ipip`, which shows what that costs packets outside tunnels.
//!
//! A packet is repeated with its connection unchanged (`FilterConfig::no_write_back`), which leaves out the
//! copy of 168 bytes into the table at the end. Its skbs are linear and smaller than a page.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Error, Result, bail};
use aya::Ebpf;
use aya::maps::{HashMap, Map, PerCpuArray, RingBuf};
use aya::programs::{Program, SchedClassifier, TestRun, TestRunOptions};
use http_trace::probe::loader::{self, Settings, load_object, load_program, programs_of};
use http_trace_common::config::{FilterConfig, decap};
use http_trace_common::counter::Counter;
use http_trace_common::filter::Flow;
use http_trace_common::record::Hook;
use http_trace_tests::figures::median;
use http_trace_tests::scene::Side;
use http_trace_tests::talk::Talk;
use http_trace_tests::tcp::Path;
use http_trace_tests::{empty, layers, need};

/// The program under test.
const PROGRAM: &str = "http_trace_in";
/// Runs of a packet per turn.
const REPEAT: u32 = 4000;
/// Turns per kind; the median over the turns is printed.
const TURNS: usize = 41;

struct Kind {
    name: &'static str,
    /// Run once, in order, with a program that keeps state.
    before: Vec<Vec<u8>>,
    packet: Vec<u8>,
    /// Counters that a run must increment, which proves its kind.
    counts: &'static [(Counter, u64)],
}

/// A connection after its handshake.
struct Connection(Talk);

impl Connection {
    fn new(port: u16) -> Self {
        Connection(Talk::open(Path::v4(port)))
    }

    /// Adds a packet before the measured one.
    fn then(self, from: Side, payload: &[u8]) -> Self {
        Connection(self.0.send(from, payload))
    }

    fn measure(
        self,
        name: &'static str,
        from: Side,
        payload: &[u8],
        counts: &'static [(Counter, u64)],
    ) -> Kind {
        let Connection(talk) = self;
        Kind {
            name,
            packet: talk.path.frame(&talk.segment(from, payload)),
            before: talk.frames(),
            counts,
        }
    }
}

const REQUEST: &[u8] = b"GET /index.html HTTP/1.1\r\nHost: www.example.com\r\n\
    User-Agent: curl/8.5.0\r\nAccept: */*\r\n\r\n";

/// A response head as nginx writes it, padded to `len` bytes.
fn head(len: usize, content_length: u32) -> Vec<u8> {
    let mut head = format!(
        "HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Fri, 20 Nov 2026 09:00:00 GMT\r\n\
         Content-Type: text/html\r\nContent-Length: {content_length}\r\n\
         Last-Modified: Mon, 02 Nov 2026 10:00:00 GMT\r\nConnection: keep-alive\r\n"
    );
    while head.len() + 60 < len {
        head.push_str("Set-Cookie: session=0123456789abcdef; Path=/\r\n");
    }
    let padding = len.saturating_sub(head.len() + "ETag: \"\"\r\n\r\n".len());
    head.push_str(&format!("ETag: \"{}\"\r\n\r\n", "e".repeat(padding)));
    head.into_bytes()
}

fn kinds() -> Vec<Kind> {
    use Counter::{
        BodySkipped, HeadShipped, NotHttp, NotTcp, RecordBytes, Records, SkbSeveralHeads, Tls,
    };
    let ends = [[192, 0, 2, 7], [198, 51, 100, 80]];
    let udp = layers::ethernet(0x0800, &layers::ipv4(17, ends, &layers::udp(53, &[0; 64])));
    let binary: Vec<u8> = (0..1400).map(|i| (i * 7 + 200) as u8 | 0x80).collect();
    let mut hello = vec![0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
    hello.resize(517, 0x5a);
    let ten_requests = Connection::new(4008).then(Side::Client, &REQUEST.repeat(10));
    let chunked = [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        &b"400\r\n"[..],
        &[b'x'; 1024],
        b"\r\n",
    ]
    .concat();
    let chunks = [&b"1ff\r\n"[..], &[b'y'; 511], b"\r\n"].concat().repeat(2);
    let small_body = [head(235, 16), b"0123456789abcdef".to_vec()].concat();
    let client = Side::Client;
    let server = Side::Server;
    vec![
        Kind { name: "UDP", before: Vec::new(), packet: udp, counts: &[(NotTcp, 1)] },
        Connection::new(4001).measure("bare ACK", client, b"", &[]),
        Connection::new(4002).measure("non-HTTP 1400 B", client, &binary, &[(NotHttp, 1)]),
        Connection::new(4003).measure("TLS ClientHello", client, &hello, &[(Tls, 1), (Records, 1)]),
        Connection::new(4004).then(client, REQUEST).then(server, &head(235, 1 << 20)).measure(
            "body 1400 B",
            server,
            &[b'b'; 1400],
            &[(BodySkipped, 1400)],
        ),
        Connection::new(4012).then(client, REQUEST).then(server, &head(235, 1 << 20)).measure(
            "binary body 1400 B",
            server,
            &[0xbb; 1400],
            &[(BodySkipped, 1400)],
        ),
        Connection::new(4005).measure("request 83 B", client, REQUEST, &[(Records, 1)]),
        Connection::new(4006).then(client, REQUEST).measure(
            "head 235 B",
            server,
            &head(235, 1 << 20),
            &[(Records, 1), (HeadShipped, 235)],
        ),
        Connection::new(4011).then(client, REQUEST).measure(
            "head 235 B + body 16 B",
            server,
            &small_body,
            &[(Records, 1), (HeadShipped, 251)],
        ),
        Connection::new(4007).then(client, REQUEST).measure(
            "head 973 B",
            server,
            &head(973, 1 << 20),
            &[(Records, 1), (HeadShipped, 973)],
        ),
        ten_requests.measure(
            "ten heads of 235 B",
            server,
            &head(235, 0).repeat(10),
            &[(Records, 1), (HeadShipped, 2350), (SkbSeveralHeads, 1)],
        ),
        Connection::new(4009).then(client, REQUEST).then(server, &chunked).measure(
            "two chunks of 511 B",
            server,
            &chunks,
            &[(Records, 3)],
        ),
        {
            // Its beginning was not seen: a status line in the middle of a connection.
            let mut midstream = Connection::new(4010);
            midstream.0.segments.clear();
            midstream.then(server, &head(235, 1 << 20)).measure(
                "unsure 1400 B",
                server,
                &[b'u'; 1400],
                &[(RecordBytes, 1400)],
            )
        },
    ]
}

/// A loaded object that repeats packets without keeping state.
struct Subject {
    name: String,
    ebpf: Ebpf,
    ring: RingBuf<aya::maps::MapData>,
}

type Key = [u32; 10];
type Value = [u64; size_of::<Flow>() / 8];

impl Subject {
    /// Loads the object and brings every connection to the point where its packet is due.
    fn new(name: String, object: &[u8], decap: u32, kinds: &[Kind]) -> Result<Self> {
        let mut settings = Settings::default();
        settings.filter.decap = decap;
        let mut remembering = load_object(object, &settings, &[Hook::Tc]).map_err(Error::msg)?;
        settings.filter = FilterConfig { no_write_back: 1, decap, ..FilterConfig::DEFAULT };
        settings.ring_bytes = 64 << 20;
        let mut ebpf = load_object(object, &settings, &[Hook::Tc]).map_err(Error::msg)?;
        for ebpf in [&mut remembering, &mut ebpf] {
            load_program(ebpf, PROGRAM).map_err(Error::msg)?;
        }
        for frame in kinds.iter().flat_map(|kind| &kind.before) {
            run(&remembering, PROGRAM, frame, 1)?;
        }
        let flows: HashMap<_, Key, Value> = HashMap::try_from(map(&mut remembering, "FLOWS")?)?;
        let mut into: HashMap<_, Key, Value> =
            HashMap::try_from(ebpf.map_mut("FLOWS").context("FLOWS")?)?;
        for flow in flows.iter() {
            let (key, value) = flow?;
            into.insert(key, value, 0)?;
        }
        // All programs keep SYNs, and nothing else of these frames.
        for frame in kinds.iter().flat_map(|kind| kind.before.iter().take(2)) {
            run(&ebpf, PROGRAM, frame, 1)?;
        }
        let ring = RingBuf::try_from(map(&mut ebpf, "EVENTS")?)?;
        Ok(Subject { name, ebpf, ring })
    }

    fn count(&self, counter: Counter) -> Result<u64> {
        let map = self.ebpf.map("COUNTERS").context("COUNTERS")?;
        let values: PerCpuArray<_, u64> = PerCpuArray::try_from(map)?;
        Ok(values.get(&(counter as u32), 0)?.iter().sum())
    }

    /// One turn of a kind; fails unless every run counted what the kind must.
    fn turn(&mut self, kind: &Kind) -> Result<f64> {
        let before: Vec<u64> =
            kind.counts.iter().map(|(counter, _)| self.count(*counter)).collect::<Result<_>>()?;
        let time = run(&self.ebpf, PROGRAM, &kind.packet, REPEAT)?;
        while self.ring.next().is_some() {}
        for ((counter, each), before) in kind.counts.iter().zip(before) {
            let counted = self.count(*counter)? - before;
            if counted != each * u64::from(REPEAT) {
                let all: Vec<_> = Counter::ALL
                    .iter()
                    .map(|c| (c.name(), self.count(*c).unwrap_or(0)))
                    .filter(|(_, n)| *n > 0)
                    .collect();
                bail!(
                    "{}: {} counted {counted} instead of {each} a packet: {all:?}",
                    kind.name,
                    counter.name()
                );
            }
        }
        Ok(time)
    }
}

fn map(ebpf: &mut Ebpf, name: &str) -> Result<Map> {
    ebpf.take_map(name).with_context(|| name.to_owned())
}

/// Runs a TC program on a packet; returns ns per run as measured by the kernel.
fn run(ebpf: &Ebpf, program: &str, packet: &[u8], repeat: u32) -> Result<f64> {
    let Some(Program::SchedClassifier(program)) = ebpf.program(program) else {
        bail!("no TC program {program}");
    };
    let result = program.test_run(TestRunOptions {
        data_in: Some(packet),
        repeat,
        ..TestRunOptions::default()
    })?;
    Ok(result.duration.as_nanos() as f64)
}

/// Verified instructions and load time of every program.
fn print_loads(object: &[u8]) -> Result<()> {
    let hooks = [Hook::Tc, Hook::SocketFilter, Hook::Cgroup, Hook::Xdp];
    println!("{:<20} {:>16} {:>9}", "program", "verified insns", "load ms");
    let names: std::collections::BTreeSet<_> =
        hooks.iter().flat_map(|hook| programs_of(*hook)).collect();
    let mut times = BTreeMap::<_, (u32, Vec<f64>)>::new();
    for _ in 0..3 {
        let mut ebpf = load_object(object, &Settings::default(), &hooks).map_err(Error::msg)?;
        for name in &names {
            let start = Instant::now();
            load_program(&mut ebpf, name).map_err(Error::msg)?;
            let time = start.elapsed();
            let info = ebpf.program(name).context("just loaded")?.info()?;
            let verified = info.verified_instruction_count().unwrap_or(0);
            let entry = times.entry(*name).or_insert((verified, Vec::new()));
            entry.1.push(time.as_secs_f64() * 1e3);
        }
    }
    for (name, (verified, mut times)) in times {
        println!("{name:<20} {verified:>16} {:>9.1}", median(&mut times));
    }
    Ok(())
}

fn main() -> Result<()> {
    // `cargo test --benches` only checks that it runs.
    if std::env::args().any(|arg| arg == "--test") || !need::root() {
        need::skipped("root", "the cost of the kernel's programs");
        return Ok(());
    }
    let mut objects = vec![("this build".to_owned(), loader::OBJECT.to_vec())];
    for path in std::env::args().skip(1).filter(|arg| !arg.starts_with('-')) {
        let bytes = std::fs::read(&path).with_context(|| path.clone())?;
        let name = path.rsplit('/').next().unwrap_or(&path).to_owned();
        objects.push((name, bytes));
    }
    let kinds = kinds();
    let mut nothing = Ebpf::load(&empty::object())?;
    let program: &mut SchedClassifier =
        nothing.program_mut(empty::NAME).context("the empty program")?.try_into()?;
    program.load()?;
    let mut subjects = Vec::new();
    for (name, object) in &objects {
        println!("{name}:");
        print_loads(object)?;
        subjects.push(Subject::new(name.clone(), object, 0, &kinds)?);
    }
    let with_decap = Subject::new(
        "this build, --decap".to_owned(),
        loader::OBJECT,
        decap::VXLAN | decap::IPIP,
        &kinds,
    )?;
    subjects.insert(1, with_decap);

    let mut empty_times = Vec::new();
    let mut times = vec![vec![Vec::new(); kinds.len()]; subjects.len()];
    let begun = Instant::now();
    for turn in 0..=TURNS {
        let packet = kinds.first().map_or(&[][..], |kind| &kind.packet);
        let time = run(&nothing, empty::NAME, packet, REPEAT)?;
        if turn > 0 {
            empty_times.push(time);
        }
        for (number, kind) in kinds.iter().enumerate() {
            for (subject, times) in subjects.iter_mut().zip(&mut times) {
                let time = subject.turn(kind)?;
                // The first turn warms caches up.
                if turn > 0 {
                    times[number].push(time);
                }
            }
        }
        // Leaves CPU time to others; a long run without a pause would be throttled.
        std::thread::sleep(Duration::from_millis(5));
    }
    let base = median(&mut empty_times);
    println!(
        "\nns a packet (median of {TURNS} turns of {REPEAT} runs in {:.0} s); the empty program's \
         {base:.0} ns are subtracted",
        begun.elapsed().as_secs_f64()
    );
    print!("{:<24}", "");
    for subject in &subjects {
        print!("{:>24}", subject.name);
    }
    println!();
    for (number, kind) in kinds.iter().enumerate() {
        print!("{:<24}", kind.name);
        for times in &mut times {
            let times = &mut times[number];
            let middle = median(times);
            let least = times.first().copied().unwrap_or(f64::NAN);
            print!("{:>24}", format!("{:.0} (least {:.0})", middle - base, least - base));
        }
        println!();
    }
    Ok(())
}
