//! Privileges of this process, and sudo where they do not suffice.

use std::{fs, process::Command};

use crate::command::{on_path, succeeds};

/// Bits of capability sets (linux/capability.h).
const CAP_NET_ADMIN: u32 = 12;
const CAP_PERFMON: u32 = 38;
const CAP_BPF: u32 = 39;

/// Whether this process is root.
pub fn is_root() -> bool {
    // Real, effective, saved and file system uid.
    status_field("Uid:").is_some_and(|ids| ids.split_whitespace().nth(1) == Some("0"))
}

/// Whether this process may load and attach the programs.
pub fn may_trace() -> bool {
    let effective =
        status_field("CapEff:").and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
    effective.is_some_and(|set| {
        [CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON].iter().all(|bit| set >> bit & 1 == 1)
    })
}

/// Whether sudo can run a command: without a password, or with a terminal to ask for it.
pub fn may_sudo() -> bool {
    on_path("sudo")
        && (succeeds(Command::new("sudo").args(["-n", "true"]))
            || fs::File::open("/dev/tty").is_ok())
}

/// A command that runs as root: directly if this process is root, otherwise with sudo. `None` if neither is
/// possible.
pub fn as_root(program: &str) -> Option<Command> {
    if is_root() {
        return Some(Command::new(program));
    }
    may_sudo().then(|| {
        let mut sudo = Command::new("sudo");
        sudo.arg(program);
        sudo
    })
}

fn status_field(name: &str) -> Option<String> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    status.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned)
}
