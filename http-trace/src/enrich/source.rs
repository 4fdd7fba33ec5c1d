//! Looks up processes on a separate thread, because a lookup may block: the process may be stopped or
//! exiting, or kernel locks may be held. Does not know how the lookup works.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Instant;

use http_trace_common::sender::Sender;
use http_trace_model::process::{Process, Workload};

use crate::priority;
use crate::sync::unix_ns;

/// Maximum number of queued questions, and of answers.
const WAITING: usize = 64;

/// Result of a lookup.
#[derive(Debug)]
pub struct Answer {
    pub sender: Sender,
    pub found: PidOwner,
    /// Start time of the process (CLOCK_BOOTTIME, ns, rounded down), or 0 if it is gone.
    pub began_ns: u64,
    /// Time of the lookup (Unix ns).
    pub asked_ns: u64,
}

/// What a pid refers to.
#[derive(Debug)]
pub enum PidOwner {
    /// A process; if it is gone, as noted, with the workload of its cgroup.
    Process {
        process: Box<Process>,
        /// Whether all processes of its v2 cgroup have its workload.
        is_of_cgroup: bool,
    },
    /// Its workload cannot be told now; ask again.
    NotNow,
    /// A kernel thread: whom it sends for is unknown.
    Kernel,
}

/// Handle of the lookup thread.
#[derive(Debug)]
pub struct Source {
    questions: SyncSender<Sender>,
    answers: Receiver<Answer>,
}

impl Source {
    /// Starts a thread that answers with this function.
    pub fn start(
        mut look: impl FnMut(&Sender) -> (u64, PidOwner) + Send + 'static,
    ) -> io::Result<Self> {
        let (questions, asked) = sync_channel::<Sender>(WAITING);
        let (answer, answers) = sync_channel(WAITING);
        let work = move || {
            for sender in asked {
                let asked_ns = unix_ns().unwrap_or(0);
                let (began_ns, found) = look(&sender);
                let told = answer.send(Answer { sender, found, began_ns, asked_ns });
                if told.is_err() {
                    return;
                }
            }
        };
        priority::spawn("attribution", work)?;
        Ok(Source { questions, answers })
    }

    /// Queues a lookup of the process of this sender; returns whether there was room.
    pub fn ask(&self, sender: Sender) -> bool {
        self.questions.try_send(sender).is_ok()
    }

    /// The next answer, if available.
    pub fn answered(&self) -> Option<Answer> {
        self.answers.try_recv().ok()
    }

    /// Waits for the next answer.
    pub fn answer_until(&self, until: Instant) -> Option<Answer> {
        let time = until.saturating_duration_since(Instant::now());
        self.answers.recv_timeout(time).ok()
    }
}

/// What the kernel noted about a process. A thread's name is not its process's name.
pub fn noted(sender: &Sender, workload: Workload) -> Process {
    let name = || String::from_utf8_lossy(sender.name()).into();
    Process {
        pid: sender.process(),
        name: sender.is_first_thread().then(name),
        user_id: Some(sender.user()),
        workload,
        ..Process::default()
    }
}
