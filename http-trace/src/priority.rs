//! Scheduling priority of threads: those that read the ring buffer and write events get nice -10.
//!
//! With their fair share of a busy CPU they fall behind in bursts, and the ring buffer overflows. Other
//! threads and child processes keep the priority that the agent was started with. Has no effect if that is
//! not the default, if the agent lacks permission, or without the feature `live`.

use std::{io, thread};

#[cfg(feature = "live")]
pub use self::nice::{ordinary, raise};

#[cfg(feature = "live")]
mod nice {
    use std::sync::atomic::{AtomicBool, Ordering};

    use rustix::process::{getpriority_process, setpriority_process};

    /// The nice value of prioritised threads (sched(7): on Linux it is per thread).
    const FIRST: i32 = -10;

    /// Whether any thread was prioritised: threads started by it inherit the priority.
    static RAISED: AtomicBool = AtomicBool::new(false);

    /// Prioritises the calling thread; returns whether that is permitted.
    pub fn raise() -> bool {
        match getpriority_process(None) {
            Ok(0) => {
                let raised = setpriority_process(None, FIRST).is_ok();
                RAISED.fetch_or(raised, Ordering::Relaxed);
                raised
            }
            _ => true,
        }
    }

    /// Resets the calling thread to the agent's original priority, if it inherited a raised one.
    pub fn ordinary() {
        if RAISED.load(Ordering::Relaxed) && getpriority_process(None) == Ok(FIRST) {
            // Lowering the priority is always permitted.
            let _ = setpriority_process(None, 0);
        }
    }
}

/// Without live tracing, waiting loses nothing.
#[cfg(not(feature = "live"))]
pub const fn raise() -> bool {
    true
}

/// Without live tracing, no thread is prioritised.
#[cfg(not(feature = "live"))]
pub const fn ordinary() {}

/// Starts a thread of the agent with its original priority.
pub fn spawn<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<thread::JoinHandle<T>> {
    let work = move || {
        ordinary();
        work()
    };
    thread::Builder::new().name(name.to_owned()).spawn(work)
}
