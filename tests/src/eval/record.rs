//! Compressed captures of runs.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use flate2::{Compression, GzBuilder};
use tempfile::TempDir;

use crate::netns::Pair;
use crate::tcpdump::Tcpdump;

/// A recording at the server's end of a pair.
#[derive(Debug)]
pub struct Recording {
    tcpdump: Tcpdump,
    to: PathBuf,
    folder: TempDir,
}

impl Recording {
    /// Starts recording the first `packets` packets of the run; the capture is compressed to `to`.
    pub fn start(pair: &Pair, to: &Path, packets: u32) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let tcpdump = Tcpdump::start(pair, &folder.path().join("raw.pcap"), Some(packets))?;
        Ok(Recording { tcpdump, to: to.to_owned(), folder })
    }

    /// Ends it and writes the capture.
    pub fn stop(self) -> Result<()> {
        self.tcpdump.stop()?;
        let raw = std::fs::read(self.folder.path().join("raw.pcap"))?;
        let file = File::create(&self.to).with_context(|| self.to.display().to_string())?;
        // No name or time in the header: the bytes depend on the packets alone.
        let mut out = GzBuilder::new().write(file, Compression::best());
        out.write_all(&raw)?;
        out.finish()?;
        Ok(())
    }
}
