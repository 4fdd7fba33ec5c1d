//! Cgroups as those of pods, with servers in them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::need::program;
use crate::netns::{Namespace, Running};

const SCRIPT: &str = include_str!("processes.py");

/// A cgroup whose path names a pod and a container.
#[derive(Debug)]
pub struct Cgroup(PathBuf);

impl Cgroup {
    /// Creates it, where cgroup v2 is mounted. Removed on drop.
    pub fn new(pod: &str, container: &str) -> Option<Self> {
        let mounts = fs::read_to_string("/proc/mounts").ok()?;
        let mut mounts = mounts.lines().filter(|line| line.contains(" cgroup2 "));
        let root = mounts.next()?.split(' ').nth(1)?.to_owned();
        let own = format!("http-trace-{}", std::process::id());
        let folder = Path::new(&root).join(own).join(format!("pod{pod}")).join(container);
        fs::create_dir_all(&folder).ok()?;
        Some(Cgroup(folder))
    }

    /// Starts the server `threads` of `processes.py` in this cgroup.
    ///
    /// # Panics
    /// If it does not start.
    pub fn serve(&self, namespace: &Namespace, port: u16) -> Running {
        let mut command = Command::new("sh");
        command
            .args(["-c", "echo $$ > \"$0/cgroup.procs\" && exec \"$@\""])
            .arg(&self.0)
            .arg(program("python3").expect("python3"))
            .args(["-c", SCRIPT, "threads", &port.to_string()]);
        let running = namespace.spawn(command.stdout(Stdio::piped()));
        let mut running = running.expect("python3");
        assert_eq!(running.first_line().expect("a line").trim(), "ready");
        running
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // Processes that have just ended still count for a moment.
        for folder in self.0.ancestors().take(3) {
            for _ in 0..50 {
                if fs::remove_dir(folder).is_ok() || !folder.exists() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}
