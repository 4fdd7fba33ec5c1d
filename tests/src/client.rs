//! Clients that report what they saw: curl, wrk, and raw sockets.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::need::program;
use crate::netns::Namespace;

/// One transfer as curl saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// The client's port.
    pub port: u16,
    pub method: String,
    pub url: String,
    /// Status of the final response; 0 without one.
    pub status: u16,
    /// Body bytes received.
    pub body: u64,
}

/// Runs curl inside `namespace` with these arguments (URLs share a connection where possible) and returns its
/// transfers in order. curl's exit code is ignored: some servers here break off on purpose.
pub fn curl(namespace: &Namespace, arguments: &[&str]) -> Result<Vec<Transfer>> {
    let mut command = Command::new(program("curl").context("curl is not installed")?);
    command.args(["--silent", "--globoff", "--max-time", "20", "--noproxy", "*", "--path-as-is"]);
    let out = "%{local_port}\t%{method}\t%{url}\t%{http_code}\t%{size_download}\n";
    // Each URL on the command line needs its own --output.
    for argument in arguments {
        if argument.starts_with("http") {
            command.args(["--output", "/dev/null"]);
        }
        command.arg(argument);
    }
    command.args(["--write-out", out]);
    let output = namespace.enter(|| command.output())??;
    let text = String::from_utf8(output.stdout)?;
    let transfer = |line: &str| {
        let mut fields = line.split('\t');
        let mut next = || fields.next().with_context(|| format!("curl printed {line:?}"));
        Ok(Transfer {
            port: next()?.parse()?,
            method: next()?.to_owned(),
            url: next()?.to_owned(),
            status: next()?.parse()?,
            body: next()?.parse()?,
        })
    };
    text.lines().map(transfer).collect()
}

/// Counts of a run of wrk.
#[derive(Clone, Debug, PartialEq)]
pub struct Load {
    /// Responses.
    pub requests: u64,
    /// Per second.
    pub rate: f64,
    /// Its whole output.
    pub printed: String,
}

/// Runs wrk inside `namespace` for `seconds`.
pub fn wrk(
    namespace: &Namespace,
    url: &str,
    threads: u32,
    connections: u32,
    time: Duration,
) -> Result<Load> {
    let mut command = Command::new(program("wrk").context("wrk is not installed")?);
    command.args(["-t", &threads.to_string(), "-c", &connections.to_string()]);
    command.args(["-d", &format!("{}s", time.as_secs()), url]);
    let output = namespace.run(&mut command)?;
    let printed = String::from_utf8(output.stdout)?;
    let before = |what: &str| {
        let line = printed.lines().find(|line| line.contains(what));
        line.with_context(|| format!("wrk printed no {what:?}: {printed}"))
    };
    let requests = before("requests in")?.split_whitespace().next().context("requests")?.parse()?;
    let rate = before("Requests/sec:")?.split_whitespace().last().context("rate")?.parse()?;
    Ok(Load { requests, rate, printed })
}

/// One response as a raw client reads it; its body is read and discarded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// Body bytes.
    pub body: u64,
}

/// A connection of a raw client. Reads responses with a Content-Length or without a body.
#[derive(Debug)]
pub struct Raw {
    stream: BufReader<TcpStream>,
}

impl Raw {
    pub fn connect(namespace: &Namespace, server: SocketAddr) -> Result<Self> {
        let stream = namespace.enter(|| TcpStream::connect(server))?.context("connect")?;
        Raw::over(stream)
    }

    /// Wraps an open connection.
    pub fn over(stream: TcpStream) -> Result<Self> {
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        stream.set_nodelay(true)?;
        Ok(Raw { stream: BufReader::with_capacity(64 << 10, stream) })
    }

    /// Sets the receive buffer to this many bytes, which limits how much arrives before it is read.
    pub fn receive_buffer(&self, bytes: usize) -> Result<()> {
        let stream = self.stream.get_ref();
        rustix::net::sockopt::set_socket_recv_buffer_size(stream, bytes).context("a buffer")
    }

    pub fn address(&self) -> Result<SocketAddr> {
        Ok(self.stream.get_ref().local_addr()?)
    }

    /// Writes all bytes at once.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.get_mut().write_all(bytes).context("send")
    }

    /// Reads one response.
    pub fn receive(&mut self) -> Result<Answer> {
        self.receive_with_pause(Duration::ZERO)
    }

    /// Reads one response, with a pause in the middle of its body: what exceeds the buffers of both ends is
    /// sent after it.
    pub fn receive_with_pause(&mut self, pause: Duration) -> Result<Answer> {
        self.receive_in_parts(2, pause)
    }

    /// Reads one response, its body in `parts` with a pause between them.
    pub fn receive_in_parts(&mut self, parts: u64, pause: Duration) -> Result<Answer> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let status = line.get(9..12).and_then(|code| code.parse().ok());
        let status = status.with_context(|| format!("no status line: {line:?}"))?;
        let mut body = 0;
        loop {
            line.clear();
            self.stream.read_line(&mut line)?;
            if line.trim_end().is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                body = value.trim().parse()?;
            }
        }
        let mut got = 0;
        for part in 1..=parts {
            let until = body * part / parts;
            let mut rest = self.stream.by_ref().take(until - got);
            got += std::io::copy(&mut rest, &mut std::io::sink())?;
            if got < until || got == body {
                break;
            }
            std::thread::sleep(pause);
        }
        anyhow::ensure!(got == body, "a body of {body} bytes ended after {got}");
        Ok(Answer { status, body })
    }
    /// Shuts down the sending direction.
    pub fn finish(&mut self) -> Result<()> {
        Ok(self.stream.get_ref().shutdown(std::net::Shutdown::Write)?)
    }

    /// Reads to the end of the connection and returns the number of status lines; for servers whose bodies
    /// contain none.
    pub fn drain(&mut self) -> Result<usize> {
        let mut all = Vec::new();
        self.stream.read_to_end(&mut all)?;
        Ok(all.windows(9).filter(|at| at.starts_with(b"HTTP/1.") && at[8] == b' ').count())
    }
}
