//! Records the captures in tests/captures again: real servers and real sockets in namespaces, recorded by
//! tcpdump. Run as root: `cargo run -p http-trace-tests --bin record`.
//!
//! Writes the truth beside each capture: nginx's access log, or which scene was played on which connection.
#![forbid(unsafe_code)]

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use http_trace_tests::client::curl;
use http_trace_tests::need::program;
use http_trace_tests::netns::{Pair, address, run};
use http_trace_tests::nginx::{Nginx, Python};
use http_trace_tests::play::Stage;
use http_trace_tests::scene::Step;
use http_trace_tests::tcpdump::Tcpdump;
use http_trace_tests::{scenes, visits};

fn main() -> Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("captures");
    std::fs::create_dir_all(&folder)?;
    nginx(&folder, "nginx", false)?;
    nginx(&folder, "nginx-v6", true)?;
    tls(&folder)?;
    python(&folder)?;
    node(&folder)?;
    play(&folder)
}

/// Ends the recording; an error if packets were lost.
fn stop(tcpdump: Tcpdump) -> Result<()> {
    let said = tcpdump.stop()?;
    anyhow::ensure!(said.contains("\n0 packets dropped by kernel"), "not whole: {said}");
    Ok(())
}

fn fresh(folder: &Path, name: &str) -> Result<PathBuf> {
    let file = folder.join(name).with_extension("pcap");
    if file.exists() {
        std::fs::remove_file(&file)?;
    }
    println!("{}", file.display());
    Ok(file)
}

fn nginx(folder: &Path, name: &str, v6: bool) -> Result<()> {
    let pair = Pair::new(1500)?;
    let upstream = SocketAddr::from(([127, 0, 0, 1], 8080));
    let _python = Python::start(&pair.server, upstream)?;
    let nginx = Nginx::start(&pair.server, upstream)?;
    let tcpdump = Tcpdump::start(&pair, &fresh(folder, name)?, None)?;
    if v6 {
        let host = format!("http://[{}]/small.txt", address::SERVER_V6);
        curl(&pair.client, &[&host, &host])?;
        let missing = format!("http://[{}]/none", address::SERVER_V6);
        curl(&pair.client, &["--head", &missing])?;
    } else {
        visits::curls(&pair.client, address::SERVER_V4)?;
        visits::raws(&pair.client, SocketAddr::new(address::SERVER_V4.parse()?, 80))?;
    }
    stop(tcpdump)?;
    let log = folder.join(name).with_extension("access.jsonl");
    std::fs::write(log, nginx.stop_and_keep()?)?;
    Ok(())
}

/// nginx behind TLS: nothing in this capture may be read as HTTP/1.
fn tls(folder: &Path) -> Result<()> {
    let pair = Pair::new(1500)?;
    let own = tempfile::tempdir()?;
    let path = |name: &str| own.path().join(name);
    let openssl = program("openssl").context("openssl is not installed")?;
    let mut request = Command::new(&openssl);
    request.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]);
    request.args(["-nodes", "-days", "2", "-subj", "/CN=scene.example", "-keyout"]);
    run(request.arg(path("key.pem")).arg("-out").arg(path("cert.pem")))?;
    let mut server = Command::new(&openssl);
    server.args(["s_server", "-accept", "443", "-www", "-quiet", "-key"]);
    server.arg(path("key.pem")).arg("-cert").arg(path("cert.pem"));
    server.stdout(Stdio::null()).stderr(Stdio::null());
    let _server = pair.server.serve(&mut server, ([127, 0, 0, 1], 443).into())?;
    let tcpdump = Tcpdump::start(&pair, &fresh(folder, "tls")?, None)?;
    let url = format!("https://{}/", address::SERVER_V4);
    curl(&pair.client, &["--insecure", "--http1.1", &url])?;
    stop(tcpdump)
}

fn python(folder: &Path) -> Result<()> {
    let pair = Pair::new(1500)?;
    let there = SocketAddr::new(address::SERVER_V4.parse()?, 8080);
    let _python = Python::start(&pair.server, there)?;
    let tcpdump = Tcpdump::start(&pair, &fresh(folder, "python")?, None)?;
    let url = |path: &str| format!("http://{there}{path}");
    curl(&pair.client, &[&url("/small.txt"), &url("/none"), &url("/dav")])?;
    curl(&pair.client, &["--head", &url("/small.txt")])?;
    curl(&pair.client, &["--data-binary", "x=1", &url("/form")])?;
    curl(&pair.client, &["--http1.0", &url("/")])?;
    stop(tcpdump)
}

fn node(folder: &Path) -> Result<()> {
    let pair = Pair::new(1500)?;
    let there = SocketAddr::new(address::SERVER_V4.parse()?, 3000);
    let _node = http_trace_tests::node::start(&pair.server, there)?;
    let tcpdump = Tcpdump::start(&pair, &fresh(folder, "node")?, None)?;
    http_trace_tests::node::visit(&pair.client, there)?;
    stop(tcpdump)
}

/// Plays every scene that is not too large, one connection each.
fn play(folder: &Path) -> Result<()> {
    let pair = Pair::new(1500)?;
    let there = SocketAddr::new(address::SERVER_V4.parse()?, 8000);
    let stage = Stage::new(&pair.client, &pair.server, there)?;
    let tcpdump = Tcpdump::start(&pair, &fresh(folder, "scenes")?, None)?;
    let mut index = String::new();
    for scene in scenes::all() {
        let large = |step: &Step| matches!(step, Step::Send(_, bytes) if bytes.len() > 100_000);
        if scene.steps.iter().any(large) {
            continue;
        }
        let played = stage.play(&scene)?;
        writeln!(index, "{} {}", played.client, scene.name)?;
    }
    stop(tcpdump)?;
    std::fs::write(folder.join("scenes.index"), index)?;
    Ok(())
}
