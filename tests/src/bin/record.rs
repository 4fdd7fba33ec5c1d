//! Records the captures in tests/captures again: real servers and real sockets in namespaces, recorded by
//! tcpdump. Run as root: `cargo run -p http-trace-tests --bin record`.
//!
//! Writes the truth beside each capture: nginx's access log, or which scene was played on which connection.
#![forbid(unsafe_code)]

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use http_trace_tests::client::curl;
use http_trace_tests::need::program;
use http_trace_tests::netns::{Pair, Running, address, run};
use http_trace_tests::nginx::{Nginx, Python};
use http_trace_tests::play::Stage;
use http_trace_tests::scene::Step;
use http_trace_tests::{scenes, visits};
use rustix::process::Signal;

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

/// tcpdump at the server's end of a pair.
struct Tcpdump {
    running: Running,
    said: PathBuf,
    /// Held until the end.
    _folder: tempfile::TempDir,
}

impl Tcpdump {
    fn start(pair: &Pair, file: &Path) -> Result<Self> {
        let own = tempfile::tempdir()?;
        let said = own.path().join("stderr");
        let mut command = Command::new(program("tcpdump").context("tcpdump is not installed")?);
        command.args(["-i", "veth0", "-s", "0", "-B", "65536", "-U", "-Z", "root"]);
        command
            .args(["--time-stamp-precision", "nano", "-w"])
            .arg(file)
            .arg("tcp");
        command.stderr(std::fs::File::create(&said)?);
        let running = pair.server.spawn(&mut command)?;
        // It creates its file when it listens.
        for _ in 0..200 {
            if std::fs::metadata(file).is_ok_and(|m| m.len() > 0) {
                return Ok(Tcpdump {
                    running,
                    said,
                    _folder: own,
                });
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        anyhow::bail!("tcpdump did not start")
    }

    fn stop(mut self) -> Result<()> {
        std::thread::sleep(Duration::from_millis(1500));
        self.running.signal(Signal::INT)?;
        self.running.wait()?;
        let said = std::fs::read_to_string(&self.said)?;
        anyhow::ensure!(
            said.contains("\n0 packets dropped by kernel"),
            "not whole: {said}"
        );
        Ok(())
    }
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
    let tcpdump = Tcpdump::start(&pair, &fresh(folder, name)?)?;
    if v6 {
        let host = format!("http://[{}]/small.txt", address::SERVER_V6);
        curl(&pair.client, &[&host, &host])?;
        let missing = format!("http://[{}]/none", address::SERVER_V6);
        curl(&pair.client, &["--head", &missing])?;
    } else {
        visits::curls(&pair.client, address::SERVER_V4)?;
        visits::raws(
            &pair.client,
            SocketAddr::new(address::SERVER_V4.parse()?, 80),
        )?;
    }
    tcpdump.stop()?;
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
    request.args([
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
    ]);
    request.args([
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=scene.example",
        "-keyout",
    ]);
    run(request
        .arg(path("key.pem"))
        .arg("-out")
        .arg(path("cert.pem")))?;
    let mut server = Command::new(&openssl);
    server.args(["s_server", "-accept", "443", "-www", "-quiet", "-key"]);
    server
        .arg(path("key.pem"))
        .arg("-cert")
        .arg(path("cert.pem"));
    let _server = pair
        .server
        .spawn(server.stdout(Stdio::null()).stderr(Stdio::null()))?;
    let there = SocketAddr::new(address::SERVER_V4.parse()?, 443);
    anyhow::ensure!(http_trace_tests::nginx::wait_for_port(
        &pair.client,
        there,
        || true
    ));
    let tcpdump = Tcpdump::start(&pair, &fresh(folder, "tls")?)?;
    let url = format!("https://{}/", address::SERVER_V4);
    curl(&pair.client, &["--insecure", "--http1.1", &url])?;
    tcpdump.stop()
}

fn python(folder: &Path) -> Result<()> {
    let pair = Pair::new(1500)?;
    let there = SocketAddr::new(address::SERVER_V4.parse()?, 8080);
    let _python = Python::start(&pair.server, there)?;
    let tcpdump = Tcpdump::start(&pair, &fresh(folder, "python")?)?;
    let url = |path: &str| format!("http://{there}{path}");
    curl(
        &pair.client,
        &[&url("/small.txt"), &url("/none"), &url("/dav")],
    )?;
    curl(&pair.client, &["--head", &url("/small.txt")])?;
    curl(&pair.client, &["--data-binary", "x=1", &url("/form")])?;
    curl(&pair.client, &["--http1.0", &url("/")])?;
    tcpdump.stop()
}

fn node(folder: &Path) -> Result<()> {
    let pair = Pair::new(1500)?;
    let there = SocketAddr::new(address::SERVER_V4.parse()?, 3000);
    let _node = http_trace_tests::node::start(&pair.server, there)?;
    let tcpdump = Tcpdump::start(&pair, &fresh(folder, "node")?)?;
    http_trace_tests::node::visit(&pair.client, there)?;
    tcpdump.stop()
}

/// Plays every scene that is not too large, one connection each.
fn play(folder: &Path) -> Result<()> {
    let pair = Pair::new(1500)?;
    let there = SocketAddr::new(address::SERVER_V4.parse()?, 8000);
    let stage = Stage::new(&pair.client, &pair.server, there)?;
    let tcpdump = Tcpdump::start(&pair, &fresh(folder, "scenes")?)?;
    let mut index = String::new();
    for scene in scenes::all() {
        let large = |step: &Step| matches!(step, Step::Send(_, bytes) if bytes.len() > 100_000);
        if scene.steps.iter().any(large) {
            continue;
        }
        let played = stage.play(&scene)?;
        writeln!(index, "{} {}", played.client, scene.name)?;
    }
    tcpdump.stop()?;
    std::fs::write(folder.join("scenes.index"), index)?;
    Ok(())
}
