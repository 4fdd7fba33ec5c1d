//! *I/O*: what /proc says of a process, read on a thread of its own: a process may be stopped or ending, and
//! the kernel's locks may be held. Knows no event.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::thread;
use std::time::{Instant, SystemTime};

use http_trace_common::sender::Sender;
use http_trace_model::process::Process;

use super::cgroup;

/// Questions and answers that wait at most.
const WAITING: usize = 64;
/// The first PID namespace (PROC_PID_INIT_INO of linux/proc_ns.h): in another one, /proc has other numbers
/// than the kernel notes.
const FIRST_NAMESPACE: &str = "pid:[4026531836]";
/// A thread of the kernel's own (PF_KTHREAD of linux/sched.h).
const KERNEL_THREAD: u64 = 0x0020_0000;

/// A process is asked about.
#[derive(Debug)]
pub struct Question(pub Sender);

/// What was found.
#[derive(Debug)]
pub struct Answer {
    /// Of which process.
    pub sender: Sender,
    /// What it is.
    pub found: Found,
    /// When it began (CLOCK_BOOTTIME, ns, rounded down), 0 when it is gone.
    pub began_ns: u64,
    /// When that was looked at (Unix ns).
    pub asked_ns: u64,
}

/// What is found under a process's number.
#[derive(Debug)]
pub enum Found {
    /// The process.
    Process(Box<Process>),
    /// Nothing, or another process.
    Gone,
    /// The kernel itself: whoever it sends for is not known.
    Kernel,
}

/// Who can be asked.
#[derive(Debug)]
pub struct Source {
    questions: SyncSender<Question>,
    answers: Receiver<Answer>,
}

impl Source {
    /// Reads /proc of this host.
    ///
    /// # Errors
    /// When there is no thread for it.
    pub fn start() -> io::Result<Self> {
        let mut proc = Proc::new();
        Source::answering(move |sender| proc.look(sender))
    }

    /// Asks a function, on a thread of its own.
    ///
    /// # Errors
    /// When there is no thread for it.
    pub fn answering(
        mut look: impl FnMut(&Sender) -> (u64, Found) + Send + 'static,
    ) -> io::Result<Self> {
        let (questions, asked) = sync_channel::<Question>(WAITING);
        let (answer, answers) = sync_channel(WAITING);
        let work = move || {
            for Question(sender) in asked {
                let asked_ns = now_ns();
                let (began_ns, found) = look(&sender);
                let told = answer.send(Answer {
                    sender,
                    found,
                    began_ns,
                    asked_ns,
                });
                if told.is_err() {
                    return;
                }
            }
        };
        thread::Builder::new()
            .name("attribution".to_owned())
            .spawn(work)?;
        Ok(Source { questions, answers })
    }

    /// Whether the question is taken.
    pub fn ask(&self, question: Question) -> bool {
        self.questions.try_send(question).is_ok()
    }

    /// An answer that is there.
    pub fn answered(&self) -> Option<Answer> {
        match self.answers.try_recv() {
            Ok(answer) => Some(answer),
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => None,
        }
    }

    /// The next answer, if it comes in time.
    pub fn answer_until(&self, until: Instant) -> Option<Answer> {
        let time = until.saturating_duration_since(Instant::now());
        match self.answers.recv_timeout(time) {
            Ok(answer) => Some(answer),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => None,
        }
    }
}

/// What does not change while it is read.
struct Proc {
    is_of_kernel: bool,
    tick_ns: u64,
    users: HashMap<u32, Box<str>>,
}

impl Proc {
    fn new() -> Self {
        let namespace = fs::read_link("/proc/self/ns/pid");
        let ticks = rustix::param::clock_ticks_per_second().max(1);
        Proc {
            is_of_kernel: namespace.is_ok_and(|name| name.as_os_str() == FIRST_NAMESPACE),
            tick_ns: 1_000_000_000 / ticks,
            users: users(&fs::read_to_string("/etc/passwd").unwrap_or_default()),
        }
    }

    fn look(&mut self, sender: &Sender) -> (u64, Found) {
        let pid = sender.process();
        let read = |name: &str| fs::read(format!("/proc/{pid}/{name}")).ok();
        let stat = read("stat").filter(|_| self.is_of_kernel);
        let Some((name, flags, ticks)) = stat.as_deref().and_then(parse_stat) else {
            return (0, Found::Gone);
        };
        let began_ns = ticks.saturating_mul(self.tick_ns);
        if began_ns > sender.since_ns {
            return (0, Found::Gone);
        }
        if flags & KERNEL_THREAD != 0 {
            return (began_ns, Found::Kernel);
        }
        let noted: Box<str> = String::from_utf8_lossy(sender.name()).into();
        // It has become another program since, or has named itself anew: then it was what was noted.
        let is_same = !sender.is_first_thread() || *noted == *name;
        let workload = read("cgroup").map_or_else(Default::default, |text| {
            cgroup::workload(&String::from_utf8_lossy(&text))
        });
        let user = sender.user();
        let is_contained = workload.container.is_some();
        let process = Process {
            pid,
            name: Some(if is_same { name } else { noted }),
            executable: is_same.then(|| executable(pid)).flatten(),
            user_id: Some(user),
            user_name: self.users.get(&user).filter(|_| !is_contained).cloned(),
            workload,
        };
        (began_ns, Found::Process(Box::new(process)))
    }
}

/// The file that a process runs; `None` also of another user's without CAP_SYS_PTRACE.
fn executable(pid: u32) -> Option<Box<str>> {
    let path = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    let path = path.to_string_lossy();
    Some(path.strip_suffix(" (deleted)").unwrap_or(&path).into())
}

/// Name, flags and start (ticks since boot) of proc_pid_stat(5).
fn parse_stat(stat: &[u8]) -> Option<(Box<str>, u64, u64)> {
    let stat = String::from_utf8_lossy(stat);
    // The name may hold anything.
    let (before, rest) = stat.rsplit_once(')')?;
    let (_, name) = before.split_once('(')?;
    let number = |at: usize| rest.split_ascii_whitespace().nth(at)?.parse().ok();
    // Of the fields 9 and 22, whose third is the first of the rest.
    Some((name.into(), number(6)?, number(19)?))
}

/// Names by number, of passwd(5).
fn users(passwd: &str) -> HashMap<u32, Box<str>> {
    let entry = |line: &str| {
        let mut fields = line.split(':');
        let (name, id) = (fields.next()?, fields.nth(1)?);
        Some((id.parse().ok()?, name.into()))
    };
    // The first of a number counts, as for getpwuid(3).
    passwd.lines().rev().filter_map(entry).collect()
}

fn now_ns() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_nanos() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_is_read_whatever_the_name_is() {
        let rest = "S 1 2 3 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 123456 7 8";
        for name in ["nginx", "a) b", "((", ""] {
            let stat = format!("17 ({name}) {rest}\n");
            assert_eq!(
                parse_stat(stat.as_bytes()),
                Some((name.into(), 4_194_560, 123_456))
            );
        }
        for bad in [
            "",
            "17 nginx",
            "17 (nginx)",
            "17 (nginx) S 1 2",
            "17 (x) S 1 2 3 0 -1 y 1 2",
        ] {
            assert_eq!(parse_stat(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn a_user_has_the_first_name_of_its_number() {
        let users = users("root:x:0:0::/:/bin/sh\ntoor:x:0:0::/:\nbad\nweb:x:33:33::/:\nx:y:z\n");
        assert_eq!(users.get(&0).map(|name| &**name), Some("root"));
        assert_eq!(users.get(&33).map(|name| &**name), Some("web"));
        assert_eq!(users.len(), 2);
    }

    #[test]
    fn this_process_is_found_and_one_that_began_later_is_not() {
        let mut proc = Proc::new();
        if !proc.is_of_kernel {
            return;
        }
        let pid = u64::from(std::process::id());
        let thread = Sender {
            since_ns: u64::MAX,
            process_and_thread: pid << 32,
            ..Sender::default()
        };
        let (began_ns, found) = proc.look(&thread);
        let Found::Process(process) = found else {
            panic!("{found:?}")
        };
        let own = std::env::current_exe().expect("a path");
        assert_eq!(process.executable.as_deref(), own.to_str());
        assert_eq!(u64::from(process.pid), pid);
        let before = Sender {
            since_ns: began_ns - 1,
            ..thread
        };
        assert!(matches!(proc.look(&before), (0, Found::Gone)));
        let named = Sender {
            process_and_thread: pid << 32 | pid,
            comm: *b"another\0\0\0\0\0\0\0\0\0",
            ..thread
        };
        let (_, Found::Process(process)) = proc.look(&named) else {
            panic!("it is there")
        };
        assert_eq!(
            (process.name.as_deref(), process.executable),
            (Some("another"), None)
        );
    }
}
