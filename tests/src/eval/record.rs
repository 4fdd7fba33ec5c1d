//! Captures of runs, with tcpdump at the server's end.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use flate2::{Compression, GzBuilder};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::need::program;
use crate::netns::{Pair, Running};

/// tcpdump at the server's end of a pair.
#[derive(Debug)]
pub struct Recording {
    tcpdump: Running,
    to: PathBuf,
    folder: TempDir,
}

impl Recording {
    /// Starts recording the first `packets` packets of the run; the capture is compressed to `to`.
    pub fn start(pair: &Pair, to: &Path, packets: u32) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let raw = folder.path().join("raw.pcap");
        let mut command = Command::new(program("tcpdump").context("tcpdump is not installed")?);
        command.args(["-i", "veth0", "-s", "0", "-B", "65536", "-U", "-Z", "root"]);
        command.args(["-c", &packets.to_string()]);
        command
            .args(["--time-stamp-precision", "nano", "-w"])
            .arg(&raw)
            .arg("tcp");
        let tcpdump = pair.server.spawn(command.stderr(Stdio::null()))?;
        // It creates its file when it listens.
        for _ in 0..500 {
            if std::fs::metadata(&raw).is_ok_and(|found| found.len() > 0) {
                return Ok(Recording {
                    tcpdump,
                    to: to.to_owned(),
                    folder,
                });
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        bail!("tcpdump did not start")
    }

    /// Ends it and writes the capture.
    pub fn stop(mut self) -> Result<()> {
        if self.tcpdump.try_wait()?.is_none() {
            std::thread::sleep(Duration::from_millis(1200));
            self.tcpdump.signal(Signal::INT)?;
        }
        self.tcpdump.wait()?;
        let raw = std::fs::read(self.folder.path().join("raw.pcap"))?;
        let file = File::create(&self.to).with_context(|| self.to.display().to_string())?;
        // No name or time in the header: the bytes depend on the packets alone.
        let mut out = GzBuilder::new().write(file, Compression::best());
        out.write_all(&raw)?;
        out.finish()?;
        Ok(())
    }
}
