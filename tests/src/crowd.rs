//! A flood of connections that stay open, from several addresses: unfinished heads, idle keep-alive
//! connections and partial status lines, alternating.

use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::OwnedFd;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::need::program;

/// Number of kinds of connections; one in this many is answered in full, with a 204.
pub const KINDS: u32 = 3;

#[derive(Clone, Debug)]
pub struct Crowd {
    /// Client addresses in the calling thread's namespace; their number is no multiple of [`KINDS`].
    pub from: Vec<Ipv4Addr>,
    pub connections: u32,
    /// New connections per second.
    pub per_second: u32,
}

impl Crowd {
    /// Opens the connections from the calling thread's namespace; returns how long that took.
    pub fn open(&self, listener: &TcpListener) -> Result<Duration> {
        let output = Command::new(program("python3").context("python3")?)
            .args(["-c", include_str!("crowd.py")])
            .args([self.connections.to_string(), self.per_second.to_string()])
            .args(self.from.iter().map(Ipv4Addr::to_string))
            .stdin(OwnedFd::from(listener.try_clone()?))
            .output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{}", said.trim());
        let took: f64 = String::from_utf8(output.stdout)?.trim().parse()?;
        Ok(Duration::from_secs_f64(took))
    }
}
