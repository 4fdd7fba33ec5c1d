//! tcpdump at the server's end of a pair.

use std::fs::File;
use std::io::{Read, Seek};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;

use crate::need::program;
use crate::netns::{Pair, Running};

/// A running tcpdump. Ends on drop.
#[derive(Debug)]
pub struct Tcpdump {
    running: Running,
    stderr: File,
}

impl Tcpdump {
    /// Starts to write TCP packets to `file`, the first `packets` only if given; waits until it listens.
    pub fn start(pair: &Pair, file: &Path, packets: Option<u32>) -> Result<Self> {
        let stderr = tempfile::tempfile()?;
        let mut command = Command::new(program("tcpdump").context("tcpdump is not installed")?);
        command.args(["-i", "veth0", "-s", "0", "-B", "65536", "-U", "-Z", "root"]);
        if let Some(packets) = packets {
            command.args(["-c", &packets.to_string()]);
        }
        command
            .args(["--time-stamp-precision", "nano", "-w"])
            .arg(file)
            .arg("tcp")
            .stderr(stderr.try_clone()?);
        let running = pair.server.spawn(&mut command)?;
        // It creates its file when it listens.
        for _ in 0..500 {
            if std::fs::metadata(file).is_ok_and(|found| found.len() > 0) {
                return Ok(Tcpdump { running, stderr });
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        bail!("tcpdump did not start")
    }

    /// Ends it once it has written the last packets; returns what it printed on stderr.
    pub fn stop(mut self) -> Result<String> {
        if self.running.try_wait()?.is_none() {
            std::thread::sleep(Duration::from_millis(1500));
            self.running.signal(Signal::INT)?;
        }
        self.running.wait()?;
        let mut printed = String::new();
        self.stderr.rewind()?;
        self.stderr.read_to_string(&mut printed)?;
        Ok(printed)
    }
}
