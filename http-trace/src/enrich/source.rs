//! Asks what is known of a process beyond what the kernel noted, on a thread of its own: a process may be
//! stopped or ending, and locks of the kernel may be held. Does not know who answers.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Instant, SystemTime};

use http_trace_common::sender::Sender;
use http_trace_model::process::{Process, Workload};

use crate::priority;

/// Questions and answers that wait at most.
const WAITING: usize = 64;

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
    /// The process; one that is gone as it was noted, with what its cgroup is of.
    Process(Box<Process>),
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
    /// Asks this function, on a thread of its own.
    ///
    /// # Errors
    /// When there is no thread for it.
    pub fn start(
        mut look: impl FnMut(&Sender) -> (u64, Found) + Send + 'static,
    ) -> io::Result<Self> {
        let (questions, asked) = sync_channel::<Question>(WAITING);
        let (answer, answers) = sync_channel(WAITING);
        let work = move || {
            priority::ordinary();
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
        self.answers.try_recv().ok()
    }

    /// The next answer, if it comes in time.
    pub fn answer_until(&self, until: Instant) -> Option<Answer> {
        let time = until.saturating_duration_since(Instant::now());
        self.answers.recv_timeout(time).ok()
    }
}

/// What was noted of a process. A thread's name is not its process's.
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

fn now_ns() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_nanos() as u64)
}
