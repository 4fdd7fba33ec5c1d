//! nginx (and Python's http.server) in a namespace, with the test's own files and configuration. nginx's
//! access log is one of the two truths for live runs.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::need::program;
use crate::netns::{Namespace, Running};

/// Bytes of `/large.bin`, which nginx sends with sendfile.
pub const LARGE: usize = 5 << 20;

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LogLine {
    /// The client's address and port.
    pub client: SocketAddr,
    /// Serial number of the connection.
    pub connection: u64,
    /// Number of the request within its connection, from 1.
    pub number: u64,
    pub method: String,
    /// Request target as sent.
    pub target: String,
    pub status: u16,
    /// Bytes written to the socket, head included; 0 if the client had gone, 1 from a server that does not
    /// count them.
    pub bytes: u64,
    /// Body bytes among them.
    pub body: u64,
    /// Log time, Unix milliseconds, in the server's resolution.
    pub time_ms: u64,
    /// Whether the server says that the response was cut off.
    pub cut: bool,
}

/// A running nginx. Ends on drop.
#[derive(Debug)]
pub struct Nginx {
    running: Running,
    folder: TempDir,
}

impl Nginx {
    /// Starts nginx on port 80 at all addresses of the namespace, and waits until it listens. `upstream` is
    /// the target of `/proxy/`, an address in the same namespace.
    pub fn start(namespace: &Namespace, upstream: SocketAddr) -> Result<Self> {
        Nginx::start_at(namespace, 80, upstream)
    }

    /// As [`Nginx::start`], on another port.
    pub fn start_at(namespace: &Namespace, port: u16, upstream: SocketAddr) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        write_files(folder.path())?;
        let http = http_block(folder.path(), port, upstream);
        let running = start(namespace, folder.path(), port, 2, &http)?;
        Ok(Nginx { running, folder })
    }

    /// Ends nginx cleanly, so that its log is complete, and reads the access log.
    pub fn stop(self) -> Result<Vec<LogLine>> {
        read_log(&self.stop_and_keep()?)
    }

    /// Ends nginx cleanly and returns the raw access log.
    pub fn stop_and_keep(mut self) -> Result<Vec<u8>> {
        self.running.signal(Signal::TERM)?;
        self.running.wait()?;
        Ok(std::fs::read(self.folder.path().join("access.log"))?)
    }

    /// Size of the access log on disk; nginx writes a quarter of a MiB at once.
    pub fn logged(&self) -> u64 {
        let log = std::fs::metadata(self.folder.path().join("access.log"));
        log.map_or(0, |log| log.len())
    }

    /// Path of a file below its document root.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join("www").join(name)
    }
}

/// Starts an nginx on `port` with its files in `folder`, this number of worker processes and this text inside
/// its `http` block; waits until it listens.
pub fn start(
    namespace: &Namespace,
    folder: &Path,
    port: u16,
    workers: u32,
    http: &str,
) -> Result<Running> {
    let shown = folder.display();
    let paths: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|what| format!("    {what}_temp_path {shown}/{what};\n"))
        .concat();
    let configuration = folder.join("nginx.conf");
    std::fs::write(
        &configuration,
        format!(
            "daemon off;\nuser root;\nworker_processes {workers};\npid {shown}/nginx.pid;\n\
             error_log {shown}/error.log;\nworker_rlimit_nofile 40000;\n\
             events {{ worker_connections 16384; }}\nhttp {{\n{paths}{http}}}\n"
        ),
    )?;
    let stderr = folder.join("stderr.log");
    let mut command = Command::new(program("nginx").context("nginx is not installed")?);
    command.arg("-p").arg(folder).arg("-c").arg(&configuration);
    command.stderr(std::fs::File::create(&stderr)?);
    let running = namespace.serve(&mut command, ([127, 0, 0, 1], port).into());
    running.with_context(|| {
        let said = std::fs::read_to_string(&stderr).unwrap_or_default();
        format!("nginx said: {said}")
    })
}

pub fn read_log(text: &[u8]) -> Result<Vec<LogLine>> {
    log_lines(text).collect()
}

pub fn log_lines(text: &[u8]) -> impl Iterator<Item = Result<LogLine>> {
    text.split(|b| *b == b'\n').filter(|line| !line.is_empty()).map(log_line)
}

fn log_line(line: &[u8]) -> Result<LogLine> {
    let shown = || format!("access log line {:?}", String::from_utf8_lossy(line));
    let value: Value = serde_json::from_slice(line).with_context(shown)?;
    let number = |name: &str| value[name].as_u64().with_context(|| format!("{name}: {}", shown()));
    let text = |name: &str| {
        let text = value[name].as_str().with_context(|| format!("{name}: {}", shown()));
        text.map(str::to_owned)
    };
    let mut method = text("method")?;
    // On an error page, nginx's `$request_method` becomes GET; the request line keeps the method.
    if let Some(line) = value["line"].as_str().filter(|_| !method.is_empty()) {
        method = line.split(' ').next().unwrap_or_default().to_owned();
    }
    let port = u16::try_from(number("client_port")?)?;
    Ok(LogLine {
        client: SocketAddr::new(text("client")?.parse()?, port),
        connection: number("connection")?,
        number: number("number")?,
        method,
        target: text("target")?,
        status: u16::try_from(number("status")?)?,
        bytes: number("bytes")?,
        body: number("body")?,
        time_ms: (value["time"].as_f64().unwrap_or(0.0) * 1000.0) as u64,
        // HAProxy's session state at disconnection: the second letter is D while data flows.
        cut: value["ends"].as_str().is_some_and(|ends| ends.ends_with('D')),
    })
}

/// Writes the files that every server here serves, below `www`.
pub(crate) fn write_files(folder: &Path) -> Result<()> {
    let www = folder.join("www");
    std::fs::create_dir(&www)?;
    std::fs::create_dir(www.join("dav"))?;
    std::fs::write(www.join("index.html"), "<html><body>index</body></html>\n")?;
    std::fs::write(www.join("404.html"), "<html><body>no such page</body></html>\n")?;
    std::fs::write(www.join("small.txt"), "0123456789abcdef")?;
    std::fs::write(www.join("empty.txt"), "")?;
    std::fs::write(www.join("page.shtml"), "<!--#echo var=\"request_uri\" -->\n".repeat(200))?;
    std::fs::write(www.join("text.txt"), "a line that compresses well\n".repeat(2000))?;
    let large: Vec<u8> = b"HTTP/1.1 200 OK\r\n".iter().copied().cycle().take(LARGE).collect();
    std::fs::write(www.join("large.bin"), large)?;
    Ok(())
}

fn http_block(folder: &Path, port: u16, upstream: SocketAddr) -> String {
    let folder = folder.display();
    format!(
        r#"
    log_format json escape=json '{{"connection":$connection,"number":$connection_requests,'
        '"client":"$remote_addr","client_port":$remote_port,"method":"$request_method",'
        '"target":"$request_uri","line":"$request","status":$status,"bytes":$bytes_sent,'
        '"body":$body_bytes_sent,"time":$msec}}';
    access_log {folder}/access.log json buffer=256k;
    types {{ text/html html shtml; text/plain txt; }}
    default_type application/octet-stream;
    sendfile on;
    tcp_nopush on;
    keepalive_timeout 75s;
    keepalive_requests 1000000000;
    client_header_timeout 75s;
    gzip_min_length 1;
    gzip_types text/plain;
    server {{
        listen 0.0.0.0:{port} backlog=4096;
        listen [::]:{port} backlog=4096;
        root {folder}/www;
        index index.html;
        add_header X-Target $request_uri always;
        error_page 404 /404.html;
        location = /204 {{ return 204; }}
        location = /301 {{ return 301 /index.html; }}
        location = /403 {{ deny all; }}
        location = /500 {{ return 500; }}
        location = /503 {{ return 503 "busy\n"; }}
        location = /444 {{ return 444; }}
        location = /502 {{ proxy_pass http://127.0.0.1:9; }}
        location = /page.shtml {{ ssi on; }}
        location = /text.txt {{ gzip on; }}
        location = /limited {{ client_max_body_size 100; proxy_pass http://{upstream}; }}
        location = /upload {{ client_max_body_size 1m; return 200 "taken\n"; }}
        location /dav/ {{ dav_methods PUT DELETE; }}
        location /proxy/ {{
            proxy_pass http://{upstream}/;
            proxy_http_version 1.1;
            proxy_buffering off;
        }}
    }}
"#
    )
}

/// Python's http.server over a folder. Ends on drop.
#[derive(Debug)]
pub struct Python {
    /// Ends the server on drop.
    _running: Running,
    _folder: TempDir,
}

impl Python {
    /// Starts it on `address` and waits until it listens. It serves the files of [`Nginx`].
    pub fn start(namespace: &Namespace, address: SocketAddr) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        write_files(folder.path())?;
        let mut command = Command::new(program("python3").context("python3 is not installed")?);
        command.args(["-m", "http.server", "--protocol", "HTTP/1.1", "--bind"]);
        command.arg(address.ip().to_string()).arg(address.port().to_string());
        command.current_dir(folder.path().join("www"));
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let running = namespace.serve(&mut command, address)?;
        Ok(Python { _running: running, _folder: folder })
    }
}
