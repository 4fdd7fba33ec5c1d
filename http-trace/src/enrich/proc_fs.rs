//! *I/O*: looks up processes in /proc, and workloads in the cgroup tree. Knows nothing about events.

use std::collections::HashMap;
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::DirEntryExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use http_trace_common::sender::Sender;
use http_trace_model::process::{Process, Workload};

use super::cgroup;
use super::cri::Cri;
use super::runtimes::Runtimes;
use super::source::{PidOwner, noted};

/// The initial PID namespace (PROC_PID_INIT_INO, linux/proc_ns.h): in any other, pids in /proc differ from
/// those that the kernel program notes.
const FIRST_NAMESPACE: &str = "pid:[4026531836]";
/// The initial cgroup namespace (PROC_CGROUP_INIT_INO).
const FIRST_CGROUPS: &str = "cgroup:[4026531835]";
/// Inode number of the root cgroup.
const ROOT: u64 = 1;
/// Minimum time before unknown cgroups are looked up again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Maximum number of remembered cgroups.
const MOST_CGROUPS: usize = 16_384;
/// Maximum number of bytes read of a command line.
const LONGEST_COMMAND: u64 = 4096;
/// Flag of kernel threads (PF_KTHREAD, linux/sched.h).
const KERNEL_THREAD: u64 = 0x0020_0000;

/// Process information of this host.
pub struct Proc {
    is_of_kernel: bool,
    tick_ns: u64,
    users: Users,
    cgroups: Cgroups,
    runtimes: Runtimes,
    cri: Option<Cri>,
    command_lines: Option<CommandLines>,
}

/// Formats the arguments of a command line.
pub struct CommandLines(pub Box<dyn Fn(&[&[u8]]) -> String + Send>);

impl Proc {
    /// Reads the state of this host. With `cri`, containers of pods that no file names are queried; with
    /// `command_lines`, command lines are included.
    pub fn of_this_host(cri: Option<Cri>, command_lines: Option<CommandLines>) -> Self {
        let is_first = |kind: &str, first: &str| {
            let own = fs::read_link(format!("/proc/self/ns/{kind}"));
            own.is_ok_and(|own| own.as_os_str() == first)
        };
        // Inside a container, /etc/passwd does not describe the host's users.
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let is_contained =
            !is_first("cgroup", FIRST_CGROUPS) || cgroup::workload(&own).container.is_some();
        let ticks = rustix::param::clock_ticks_per_second().max(1);
        Proc {
            is_of_kernel: is_first("pid", FIRST_NAMESPACE),
            tick_ns: 1_000_000_000 / ticks,
            users: Users::of((!is_contained).then(|| "/etc/passwd".into())),
            cgroups: Cgroups::default(),
            runtimes: Runtimes::of_this_host(),
            cri,
            command_lines,
        }
    }

    fn command_line(&self, pid: u32) -> Option<Box<str>> {
        let CommandLines(text) = self.command_lines.as_ref()?;
        let file = fs::File::open(format!("/proc/{pid}/cmdline")).ok()?;
        let mut line = Vec::new();
        file.take(LONGEST_COMMAND).read_to_end(&mut line).ok()?;
        // Each argument ends with NUL; a process that changes its title may leave NULs after it.
        let end = line.iter().rposition(|byte| *byte != 0)?;
        let words: Vec<&[u8]> = line[..=end].split(|byte| *byte == 0).collect();
        Some(text(&words).into())
    }

    fn name(&mut self, mut workload: Workload) -> Workload {
        let Some(container) = &workload.container else { return workload };
        match self.runtimes.find(container) {
            Some(named) => named.complete(&mut workload),
            None if workload.pod.is_some() => {
                if let Some(cri) = &mut self.cri {
                    cri.ask(&container.id);
                }
            }
            None => {}
        }
        workload
    }

    /// A process that /proc does not know.
    fn gone(&mut self, sender: &Sender) -> PidOwner {
        let Some(workload) = self.cgroups.workload(sender.cgroup_id) else {
            return PidOwner::NotNow;
        };
        let workload = self.name(workload);
        PidOwner::Process { process: Box::new(noted(sender, workload)), is_of_cgroup: true }
    }

    /// Looks up a process by pid; also returns its start time (CLOCK_BOOTTIME, ns), or 0 if it is gone.
    pub fn look(&mut self, sender: &Sender) -> (u64, PidOwner) {
        let pid = sender.process();
        let read = |name: &str| fs::read(format!("/proc/{pid}/{name}")).ok();
        let stat = read("stat").filter(|_| self.is_of_kernel);
        let Some((name, flags, ticks)) = stat.as_deref().and_then(parse_stat) else {
            return (0, self.gone(sender));
        };
        let began_ns = ticks.saturating_mul(self.tick_ns);
        if began_ns > sender.since_ns {
            return (0, self.gone(sender));
        }
        if flags & KERNEL_THREAD != 0 {
            return (began_ns, PidOwner::Kernel);
        }
        let noted: Box<str> = String::from_utf8_lossy(sender.name()).into();
        // If the names differ, the process has called execve or renamed itself: use the noted name.
        let is_same = !sender.is_first_thread() || *noted == *name;
        let text = read("cgroup").unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let workload = cgroup::workload(&text);
        // Containers of v1 hierarchies may share a v2 cgroup.
        let is_of_cgroup = cgroup::of_v2(&text) == workload;
        let workload = self.name(workload);
        let user = sender.user();
        let is_contained = workload.container.is_some();
        let process = Process {
            pid,
            name: Some(if is_same { name } else { noted }),
            executable: is_same.then(|| executable(pid)).flatten(),
            command_line: is_same.then(|| self.command_line(pid)).flatten(),
            user_id: Some(user),
            user_name: if is_contained { None } else { self.users.name(user) },
            workload,
        };
        let found = PidOwner::Process { process: Box::new(process), is_of_cgroup };
        (began_ns, found)
    }
}

/// Workloads of v2 cgroups by cgroup id, which is the inode number of the folder.
#[derive(Debug, Default)]
struct Cgroups {
    known: HashMap<u64, Workload>,
    /// When unknown cgroups may be looked up again.
    next_look: Option<Instant>,
    /// Whether cgroup v2 is mounted, and whether v1 hierarchies are beside it.
    is_mounted: bool,
    is_beside_v1: bool,
}

impl Cgroups {
    /// The workload of a cgroup; `None` if it is not known now: it is new, or gone.
    fn workload(&mut self, id: u64) -> Option<Workload> {
        if id <= ROOT {
            return Some(Workload::default());
        }
        if !self.known.contains_key(&id) && self.next_look.is_none_or(|at| at <= Instant::now()) {
            let begun = Instant::now();
            self.look();
            // Spends at most a twentieth of the time.
            self.next_look = Some(Instant::now() + begun.elapsed() * 20 + LOOK_AGAIN);
        }
        let workload = self.known.get(&id).cloned();
        // Beside v1 hierarchies, the v2 cgroup of a container may be that of its runtime's service.
        let is_certain =
            |of: &Workload| !self.is_beside_v1 || of.container.is_some() || of.pod.is_some();
        match self.is_mounted {
            true => workload.map(|of| Some(of).filter(is_certain).unwrap_or_default()),
            false => Some(Workload::default()),
        }
    }

    fn look(&mut self) {
        self.known.clear();
        let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
        self.is_beside_v1 = cgroup::has_v1(&mounts);
        let root = cgroup::mount(&mounts);
        self.is_mounted = root.is_some();
        let Some(root) = root else { return };
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
            let below = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
            for entry in below {
                if self.known.len() >= MOST_CGROUPS {
                    return;
                }
                let path = entry.path();
                let name = path.strip_prefix(&root).unwrap_or(&path).to_string_lossy();
                self.known.insert(entry.ino(), cgroup::of_path(&name));
                folders.push(path);
            }
        }
    }
}

/// The executable of a process; `None` also for other users' processes without CAP_SYS_PTRACE.
fn executable(pid: u32) -> Option<Box<str>> {
    let path = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    let path = path.to_string_lossy();
    Some(path.strip_suffix(" (deleted)").unwrap_or(&path).into())
}

/// Parses name, flags and start time (ticks since boot) of proc_pid_stat(5).
fn parse_stat(stat: &[u8]) -> Option<(Box<str>, u64, u64)> {
    let stat = String::from_utf8_lossy(stat);
    // The name may contain any character, including ')'.
    let (before, rest) = stat.rsplit_once(')')?;
    let (_, name) = before.split_once('(')?;
    let number = |at: usize| rest.split_ascii_whitespace().nth(at)?.parse().ok();
    // Fields 9 and 22; `rest` starts at field 3.
    Some((name.into(), number(6)?, number(19)?))
}

/// User names by uid, from passwd(5); a file that is not there has none.
#[derive(Default)]
struct Users {
    path: Option<PathBuf>,
    modified: Option<SystemTime>,
    names: HashMap<u32, Box<str>>,
}

impl Users {
    fn of(path: Option<PathBuf>) -> Self {
        let mut users = Users { path, ..Users::default() };
        users.read_again();
        users
    }

    /// The name of a user, who may have been added since the file was read.
    fn name(&mut self, uid: u32) -> Option<Box<str>> {
        if !self.names.contains_key(&uid) {
            self.read_again();
        }
        self.names.get(&uid).cloned()
    }

    /// Reads the file if it has changed.
    fn read_again(&mut self) {
        let Some(path) = &self.path else { return };
        let modified = fs::metadata(path).and_then(|of| of.modified()).ok();
        if modified != self.modified {
            self.modified = modified;
            self.names = names(&fs::read_to_string(path).unwrap_or_default());
        }
    }
}

fn names(passwd: &str) -> HashMap<u32, Box<str>> {
    let entry = |line: &str| {
        let mut fields = line.split(':');
        let (name, id) = (fields.next()?, fields.nth(1)?);
        Some((id.parse().ok()?, name.into()))
    };
    // The first entry of a uid wins, as in getpwuid(3).
    passwd.lines().rev().filter_map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_is_read_whatever_the_name_is() {
        let rest = "S 1 2 3 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 123456 7 8";
        for name in ["nginx", "a) b", "((", ""] {
            let stat = format!("17 ({name}) {rest}\n");
            assert_eq!(parse_stat(stat.as_bytes()), Some((name.into(), 4_194_560, 123_456)));
        }
        for bad in ["", "17 nginx", "17 (nginx)", "17 (nginx) S 1 2", "17 (x) S 1 2 3 0 -1 y 1 2"] {
            assert_eq!(parse_stat(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn a_user_has_the_first_name_of_its_number() {
        let names = names("root:x:0:0::/:/bin/sh\ntoor:x:0:0::/:\nbad\nweb:x:33:33::/:\nx:y:z\n");
        assert_eq!(names.get(&0).map(|name| &**name), Some("root"));
        assert_eq!(names.get(&33).map(|name| &**name), Some("web"));
        assert_eq!(names.len(), 2);
    }

    #[test]
    fn users_added_later_are_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("passwd");
        let write = |text: &str, seconds: u64| {
            fs::write(&path, text).expect("written");
            let file = fs::File::options().write(true).open(&path).expect("a file");
            let at = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            file.set_modified(at).expect("set");
        };
        write("root:x:0:0::/:\n", 1_000);
        let mut users = Users::of(Some(path.clone()));
        assert_eq!((users.name(0).as_deref(), users.name(33)), (Some("root"), None));
        write("root:x:0:0::/:\nweb:x:33:33::/:\n", 2_000);
        assert_eq!(users.name(33).as_deref(), Some("web"));
        assert_eq!(Users::of(None).name(0), None);
    }

    fn joined(words: &[&[u8]]) -> String {
        String::from_utf8_lossy(&words.join(&b' ')).into_owned()
    }

    #[test]
    fn this_process_is_found_and_one_that_began_later_is_not() {
        let mut proc = Proc::of_this_host(None, Some(CommandLines(Box::new(joined))));
        if !proc.is_of_kernel {
            return;
        }
        let pid = u64::from(std::process::id());
        let thread =
            Sender { since_ns: u64::MAX, process_and_thread: pid << 32, ..Sender::default() };
        let (began_ns, found) = proc.look(&thread);
        let PidOwner::Process { process, .. } = found else { panic!("{found:?}") };
        let own = std::env::current_exe().expect("a path");
        assert_eq!(process.executable.as_deref(), own.to_str());
        let line = std::env::args().collect::<Vec<_>>().join(" ");
        assert_eq!(process.command_line.as_deref(), line.get(..line.len().min(4096)));
        assert_eq!(u64::from(process.pid), pid);
        let before = Sender { since_ns: began_ns - 1, ..thread };
        let (0, PidOwner::Process { process: gone, .. }) = proc.look(&before) else {
            panic!("another one")
        };
        assert_eq!((gone.name, gone.executable), (None, None));
        let named = Sender {
            process_and_thread: pid << 32 | pid,
            comm: *b"another\0\0\0\0\0\0\0\0\0",
            ..thread
        };
        let (_, PidOwner::Process { process, .. }) = proc.look(&named) else {
            panic!("it is there")
        };
        assert_eq!((process.name.as_deref(), process.executable), (Some("another"), None));
    }
}
