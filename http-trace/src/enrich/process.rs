//! Names the processes at both ends of an event by the cookies of their sockets: never by address, nor by a
//! pid that may have been reused. Uncertain values stay absent. Reads no file: a separate thread does, for
//! which an event waits a few milliseconds at most, and not at all while that thread does not answer.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use http_trace_common::record::Hook;
use http_trace_common::sender::Sender;
use http_trace_model::event::{HttpEvent, Missing};
use http_trace_model::process::{Process, Workload};

use super::directory::Directory;
use super::source::{self, Answer, PidOwner, Source};

/// Maximum number of remembered processes; then all are looked up again.
const MOST: usize = 4096;
/// How long after a lookup a pid is assumed to be the same process: the kernel reuses a pid only after all
/// others.
const SURE_NS: u64 = 1_000_000_000;
/// Longest time that an event waits for a lookup: on a busy host, the thread that answers first waits for a
/// CPU.
const PATIENCE: Duration = Duration::from_millis(50);
/// All events together wait at most 1/SHARE of the time.
const SHARE: u32 = 10;
/// When a workload that could not be told is asked for again.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// The root cgroup: the cgroup of all processes if cgroup v2 is not in use.
const ROOT_CGROUP: u64 = 1;

/// The sender on a socket.
#[derive(Clone, Copy, Debug)]
pub struct SentBy {
    /// As noted by the kernel program.
    pub sender: Sender,
    /// [`Sender::since_ns`] in event time (Unix ns).
    pub since_ns: u64,
}

pub trait SocketSenders: Send + std::fmt::Debug {
    fn sender(&self, cookie: u64) -> Option<SentBy>;
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AttributionCounts {
    /// Ends of events that are sockets of this host.
    pub sockets: u64,
    /// Of these, ends whose process is unknown.
    pub unknown: u64,
    /// Ends named only as the kernel noted, because the lookup was late.
    pub late: u64,
    /// Ends in a container whose name is unknown.
    pub containers_unnamed: u64,
    /// Ends in a pod whose name is unknown.
    pub pods_unnamed: u64,
}

#[derive(Debug)]
pub struct Attribution {
    senders: Box<dyn SocketSenders>,
    source: Source,
    directory: Arc<Directory>,
    /// Generation of the directory that the names below reflect.
    generation: u64,
    known: HashMap<u32, CachedProcess, RandomState>,
    /// By cgroup, for processes whose lookup is late.
    workloads: HashMap<u64, Workload, RandomState>,
    /// Processes with a pending lookup.
    asked: HashSet<u32, RandomState>,
    patience: Patience,
    pub counts: AttributionCounts,
}

/// Budget for waiting: a share of all time, and little at once.
#[derive(Debug)]
struct Patience {
    left: Duration,
    counted: Instant,
}

impl Patience {
    fn new() -> Self {
        Patience { left: PATIENCE, counted: Instant::now() }
    }

    /// Calls `wait` with its deadline and returns the result.
    fn wait<T>(&mut self, wait: impl FnOnce(Instant) -> T) -> T {
        let begun = Instant::now();
        let earned = begun.duration_since(self.counted) / SHARE;
        self.left = (self.left + earned).min(PATIENCE);
        let result = wait(begun + self.left);
        self.counted = Instant::now();
        self.left = self.left.saturating_sub(self.counted.duration_since(begun));
        result
    }
}

/// Result of a process lookup.
#[derive(Debug)]
struct CachedProcess {
    /// `None` for what must not be named.
    process: Option<Arc<Process>>,
    sender: Sender,
    /// Start time (CLOCK_BOOTTIME, ns); 0 if the process was gone.
    began_ns: u64,
    /// Time of the lookup (Unix ns).
    asked_ns: u64,
    /// When to ask again, if its workload could not be told.
    again: Option<Instant>,
}

impl CachedProcess {
    /// Whether this is the process that sends.
    fn is(&self, by: &SentBy) -> bool {
        let (known, sender) = (&self.sender, &by.sender);
        let threads = known.is_first_thread() && sender.is_first_thread();
        known.cgroup_id == sender.cgroup_id
            && known.user() == sender.user()
            && (!threads || known.comm == sender.comm)
            && sender.since_ns >= self.began_ns
            && by.since_ns <= self.asked_ns.saturating_add(SURE_NS)
    }
}

impl Attribution {
    /// Creates the stage from the sockets' senders, the lookup thread, and the directory of containers and
    /// pods.
    pub fn new(senders: Box<dyn SocketSenders>, source: Source, directory: Arc<Directory>) -> Self {
        Attribution {
            senders,
            source,
            directory,
            generation: 0,
            known: HashMap::default(),
            workloads: HashMap::default(),
            asked: HashSet::default(),
            patience: Patience::new(),
            counts: AttributionCounts::default(),
        }
    }

    /// Names both ends of an event.
    pub fn name(&mut self, event: &mut HttpEvent) {
        if self.generation != self.directory.generation() {
            self.complete();
        }
        let late = self.counts.late;
        let [client, server] = event.sockets;
        let (asked_ns, answered_ns) = (event.request_start_ns, event.response_start_ns);
        event.client_process = self.end(client, asked_ns.or(answered_ns));
        event.server_process = self.end(server, answered_ns);
        let is_named =
            |end: &Option<Arc<Process>>| end.as_ref().is_some_and(|of| of.name.is_some());
        let unknown = client.is_some() && !is_named(&event.client_process)
            || server.is_some() && !is_named(&event.server_process) && answered_ns.is_some();
        // These see no socket of most senders, be they on this host or not.
        let is_blind = matches!(event.hook, Hook::Xdp | Hook::SocketFilter);
        let unknown = unknown || is_blind && server.is_none() && answered_ns.is_some();
        // A late lookup only helps later events; this one lacks fields.
        if unknown || self.counts.late != late {
            event.missing.push(Missing::Process);
        }
        for process in [&event.client_process, &event.server_process] {
            let Some(process) = process else { continue };
            for missing in unnamed(&process.workload) {
                match missing {
                    Missing::Container => self.counts.containers_unnamed += 1,
                    _ => self.counts.pods_unnamed += 1,
                }
                if !event.missing.contains(&missing) {
                    event.missing.push(missing);
                }
            }
        }
    }

    /// Completes named processes from the directory.
    fn complete(&mut self) {
        self.generation = self.directory.generation();
        for workload in self.workloads.values_mut() {
            self.directory.complete(workload);
        }
        for process in self.known.values_mut().filter_map(|k| k.process.as_mut()) {
            let mut workload = process.workload.clone();
            self.directory.complete(&mut workload);
            if workload != process.workload {
                Arc::make_mut(process).workload = workload;
            }
        }
    }

    /// The process that had been sending on this socket at this time (Unix ns).
    fn end(&mut self, cookie: Option<u64>, sent_ns: Option<u64>) -> Option<Arc<Process>> {
        let (cookie, sent_ns) = (cookie?, sent_ns?);
        self.counts.sockets += 1;
        // A process that started sending later did not send this.
        let by = self.senders.sender(cookie).filter(|by| by.since_ns <= sent_ns);
        let process = by.and_then(|by| self.process(&by));
        self.counts.unknown += u64::from(process.is_none());
        process
    }

    fn process(&mut self, by: &SentBy) -> Option<Arc<Process>> {
        let pid = by.sender.process();
        let is_due = |known: &CachedProcess| known.again.is_some_and(|at| at <= Instant::now());
        let known = self.known.get(&pid).filter(|known| known.is(by));
        if known.is_none_or(is_due) {
            self.ask(by);
        }
        match self.known.get(&pid).filter(|known| known.is(by)) {
            Some(known) => {
                self.counts.late += u64::from(known.again.is_some());
                known.process.clone()
            }
            None => {
                self.counts.late += 1;
                let workload = self.workloads.get(&by.sender.cgroup_id).cloned();
                let process = source::noted(&by.sender, workload.unwrap_or_default());
                Some(Arc::new(process))
            }
        }
    }

    /// Starts a lookup and waits for it, within [`Patience`] and only if no earlier lookup is pending.
    fn ask(&mut self, by: &SentBy) {
        while let Some(answer) = self.source.answered() {
            self.learn(answer);
        }
        let pid = by.sender.process();
        let is_first = self.asked.is_empty();
        if self.asked.contains(&pid) || !self.source.ask(by.sender) {
            return;
        }
        self.asked.insert(pid);
        if is_first
            && let Some(answer) = self.patience.wait(|until| self.source.answer_until(until))
        {
            self.learn(answer);
        }
    }

    fn learn(&mut self, answer: Answer) {
        let Answer { sender, mut found, began_ns, asked_ns } = answer;
        self.asked.remove(&sender.process());
        if let PidOwner::Process { process, .. } = &mut found {
            self.directory.complete(&mut process.workload);
        }
        if let PidOwner::Process { process, is_of_cgroup: true } = &found
            && process.workload != Workload::default()
            && sender.cgroup_id > ROOT_CGROUP
        {
            if self.workloads.len() >= MOST {
                self.workloads.clear();
            }
            self.workloads.insert(sender.cgroup_id, process.workload.clone());
        }
        if self.known.len() >= MOST {
            self.known.clear();
        }
        let mut again = None;
        let process = match found {
            PidOwner::Process { process, .. } => Some(Arc::from(process)),
            PidOwner::Kernel => None,
            PidOwner::NotNow => {
                again = Some(Instant::now() + ASK_AGAIN);
                Some(Arc::new(source::noted(&sender, Workload::default())))
            }
        };
        let known = CachedProcess { process, sender, began_ns, asked_ns, again };
        self.known.insert(sender.process(), known);
    }
}

/// Which parts of a workload lack a name.
fn unnamed(workload: &Workload) -> impl Iterator<Item = Missing> {
    // For these runtimes the id is the name.
    let is_named_by_id = |runtime| matches!(runtime, Some("lxc" | "systemd-nspawn"));
    let container = workload.container.as_ref();
    let container = container.filter(|of| of.name.is_none() && !is_named_by_id(of.runtime));
    let pod = workload.pod.as_ref().filter(|pod| pod.name.is_none());
    let container = container.map(|_| Missing::Container);
    container.into_iter().chain(pod.map(|_| Missing::Orchestrator))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc::sync_channel;
    use std::thread::sleep;

    use http_trace_model::event::Endpoint;
    use http_trace_model::process::{Container, Pod};

    use super::super::directory::Members;
    use super::*;

    /// Senders by cookie.
    #[derive(Clone, Debug, Default)]
    struct Fake(Arc<Mutex<HashMap<u64, SentBy>>>);

    impl SocketSenders for Fake {
        fn sender(&self, cookie: u64) -> Option<SentBy> {
            self.0.lock().expect("not poisoned").get(&cookie).copied()
        }
    }

    impl Fake {
        /// Sets the process that sends since `since_ns`, by its first thread or another one.
        fn sends(&self, cookie: u64, (pid, thread): (u64, u64), name: &[u8; 4], since_ns: u64) {
            let mut comm = [0; 16];
            comm[..4].copy_from_slice(name);
            let sender = Sender {
                cookie,
                since_ns,
                process_and_thread: pid << 32 | thread,
                cgroup_id: 7,
                comm,
                ..Sender::default()
            };
            let by = SentBy { sender, since_ns };
            self.0.lock().expect("not poisoned").insert(cookie, by);
        }
    }

    fn stage(look: impl FnMut(&Sender) -> (u64, PidOwner) + Send + 'static) -> (Fake, Attribution) {
        let senders = Fake::default();
        let source = Source::start(look).expect("a thread");
        let stage = Attribution::new(Box::new(senders.clone()), source, Arc::default());
        (senders, stage)
    }

    /// The process with the sender's pid and an executable.
    fn found(sender: &Sender) -> (u64, PidOwner) {
        let process = Process {
            pid: sender.process(),
            name: Some("prog".into()),
            executable: Some("/bin/prog".into()),
            ..Process::default()
        };
        (1, of(process))
    }

    fn of(process: Process) -> PidOwner {
        PidOwner::Process { process: Box::new(process), is_of_cgroup: true }
    }

    /// The processes named for client (socket 1, time 10) and server (socket 2, time 20).
    fn ends(stage: &mut Attribution) -> ([Option<String>; 2], bool) {
        let mut event = HttpEvent::new(20, Endpoint::NOBODY, Endpoint::NOBODY);
        event.sockets = [Some(1), Some(2)];
        (event.request_start_ns, event.response_start_ns) = (Some(10), Some(20));
        stage.name(&mut event);
        let shown = |process: Option<Arc<Process>>| {
            let process = process?;
            let name = process.name.as_deref().unwrap_or("-");
            let file = process.executable.as_deref().unwrap_or("-");
            Some(format!("{} {name} {file}", process.pid))
        };
        let ends = [event.client_process, event.server_process].map(shown);
        (ends, event.missing.contains(&Missing::Process))
    }

    #[test]
    fn who_sent_before_the_bytes_left_is_named_and_nobody_else() {
        let (senders, mut stage) = stage(found);
        assert_eq!(ends(&mut stage), ([None, None], true));
        senders.sends(1, (5, 5), b"prog", 9);
        senders.sends(2, (6, 6), b"prog", 20);
        let both = ["5 prog /bin/prog", "6 prog /bin/prog"].map(|end| Some(end.to_owned()));
        assert_eq!(ends(&mut stage), (both.clone(), false));
        // Another process took over the socket after the request was sent.
        senders.sends(1, (8, 8), b"prog", 11);
        assert_eq!(ends(&mut stage), ([None, both[1].clone()], true));
    }

    #[test]
    fn a_server_that_the_hook_cannot_know_is_missing() {
        for (hook, is_missing) in [
            (Hook::Tc, false),
            (Hook::Cgroup, false),
            (Hook::Xdp, true),
            (Hook::SocketFilter, true),
        ] {
            let mut event = HttpEvent::new(20, Endpoint::NOBODY, Endpoint::NOBODY);
            event.hook = hook;
            // Nobody answered.
            stage(found).1.name(&mut event);
            assert!(event.missing.is_empty(), "{hook:?}");
            event.response_start_ns = Some(20);
            stage(found).1.name(&mut event);
            assert_eq!(event.missing.contains(&Missing::Process), is_missing, "{hook:?}");
        }
    }

    #[test]
    fn a_number_that_has_become_another_process_is_not_taken_for_the_first() {
        let (senders, mut stage) = stage(|sender| match &sender.comm[..3] {
            b"old" => (0, of(source::noted(sender, Workload::default()))),
            b"ker" => (1, PidOwner::Kernel),
            _ => found(sender),
        });
        for (name, shown) in [
            (b"prog", Some("6 prog /bin/prog")),
            (b"old1", Some("6 old1 -")),
            (b"kern", None),
            (b"prog", Some("6 prog /bin/prog")),
        ] {
            senders.sends(2, (6, 6), name, 15);
            assert_eq!(ends(&mut stage).0[1].as_deref(), shown);
        }
        // A thread's name is not its process's name.
        senders.sends(2, (7, 9), b"old2", 15);
        assert_eq!(ends(&mut stage).0[1].as_deref(), Some("7 - -"));
    }

    #[test]
    fn a_workload_that_is_not_known_yet_is_missing_and_not_asked_for_each_event() {
        let times = Arc::new(Mutex::new(0));
        let asked = Arc::clone(&times);
        let (senders, mut stage) = stage(move |sender| {
            let mut times = asked.lock().expect("not poisoned");
            *times += 1;
            match *times {
                1..=2 => (0, PidOwner::NotNow),
                _ => found(sender),
            }
        });
        senders.sends(1, (5, 5), b"prog", 9);
        senders.sends(2, (6, 6), b"prog", 15);
        while *times.lock().expect("not poisoned") < 2 {
            assert!(ends(&mut stage).1);
        }
        for _ in 0..100 {
            assert!(ends(&mut stage).1);
        }
        assert!(*times.lock().expect("not poisoned") < 50);
        sleep(ASK_AGAIN);
        while ends(&mut stage).1 {
            sleep(Duration::from_millis(1));
        }
        assert!(*times.lock().expect("not poisoned") < 50);
    }

    #[test]
    fn what_hangs_holds_no_event_up() {
        let (answers, may_answer) = sync_channel::<()>(0);
        let (senders, mut stage) = stage(move |sender| {
            let _ = may_answer.recv();
            found(sender)
        });
        senders.sends(1, (6, 6), b"prog", 9);
        senders.sends(2, (6, 6), b"prog", 15);
        // No lookup is answered until all events have passed.
        let late = [(); 2].map(|()| Some("6 prog -".to_owned()));
        for _ in 0..1000 {
            assert_eq!(ends(&mut stage), (late.clone(), true));
        }
        assert_eq!(stage.counts.late, 2000);
        drop(answers);
        for _ in 0..1000 {
            let is_late = ends(&mut stage).1;
            if !is_late {
                break;
            }
            sleep(Duration::from_millis(5));
        }
        let both = [(); 2].map(|()| Some("6 prog /bin/prog".to_owned()));
        assert_eq!(ends(&mut stage), (both, false));
    }

    #[test]
    fn what_comes_late_completes_what_is_named() {
        let (senders, mut stage) = stage(|sender| {
            let workload = Workload {
                container: Some(Container { id: "c".into(), ..Container::default() }),
                pod: Some(Pod { uid: "u".into(), ..Pod::default() }),
                ..Workload::default()
            };
            (1, of(source::noted(sender, workload)))
        });
        senders.sends(2, (6, 6), b"prog", 15);
        let mut seen = || {
            let mut event = HttpEvent::new(20, Endpoint::NOBODY, Endpoint::NOBODY);
            event.sockets = [None, Some(2)];
            event.response_start_ns = Some(20);
            stage.name(&mut event);
            let workload = event.server_process.expect("it is known").workload.clone();
            let names =
                [workload.container.and_then(|of| of.name), workload.pod.and_then(|of| of.name)];
            (names.map(|name| name.map(String::from)), event.missing, stage.directory.clone())
        };
        let (names, missing, directory) = seen();
        assert_eq!(names, [None, None]);
        assert_eq!(missing, [Missing::Container, Missing::Orchestrator]);
        directory.set_pods(vec![Members {
            pod: Pod { uid: "u".into(), name: Some("web-7f".into()), ..Pod::default() },
            containers: vec![Container {
                id: "c".into(),
                name: Some("app".into()),
                ..Container::default()
            }],
        }]);
        let (names, missing, _) = seen();
        assert_eq!(names, ["app", "web-7f"].map(|name| Some(name.to_owned())));
        assert_eq!(missing, []);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (senders, mut stage) = stage(found);
        for pid in 0..2 * MOST as u64 + 10 {
            senders.sends(2, (pid, pid), b"prog", 15);
            ends(&mut stage);
        }
        assert!(stage.known.len() <= MOST, "{}", stage.known.len());
    }
}
