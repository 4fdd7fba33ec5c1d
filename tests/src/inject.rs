//! Sends raw frames on an interface.

use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::need::program;

/// Sends the frames on an interface of the calling thread's namespace; calls `between` after each.
///
/// # Errors
/// If Python is missing, or not all frames were accepted.
pub fn inject(interface: &str, frames: &[Vec<u8>], mut between: impl FnMut()) -> Result<()> {
    let mut sender = Command::new(program("python3").context("python3")?)
        .args(["-c", include_str!("inject.py"), interface])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut to = sender.stdin.take().context("a pipe")?;
    for frame in frames {
        to.write_all(&(frame.len() as u32).to_be_bytes())?;
        to.write_all(frame)?;
        between();
    }
    drop(to);
    let output = sender.wait_with_output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(text.trim() == format!("sent {}", frames.len()), "{interface}: {}", text.trim());
    Ok(())
}
