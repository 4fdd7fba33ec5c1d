//! Scheduling priority of threads: the ones that read the ring buffer and write events get nice -10.
//!
//! At their fair share of a busy processor they fall behind in bursts, and the ring buffer overflows.
//! Other threads and child processes keep the priority that the agent was started with. Does nothing if
//! that is not the default, if the agent may not change it, or without the feature `live`.

#[cfg(feature = "live")]
pub use self::nice::{ordinary, raise};

#[cfg(feature = "live")]
mod nice {
    use std::sync::atomic::{AtomicBool, Ordering};

    use rustix::process::{getpriority_process, setpriority_process};

    /// The nice value of threads that must not fall behind (sched(7): a thread has its own on Linux).
    const FIRST: i32 = -10;

    /// Whether a thread was put first, so that threads it starts are too.
    static RAISED: AtomicBool = AtomicBool::new(false);

    /// Puts the calling thread first. Whether it may.
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

    /// Makes the calling thread as ordinary as the agent was when it started: one that a thread started
    /// which had been put first.
    pub fn ordinary() {
        if RAISED.load(Ordering::Relaxed) && getpriority_process(None) == Ok(FIRST) {
            // Nobody is refused less.
            let _ = setpriority_process(None, 0);
        }
    }
}

/// Nothing is lost by waiting.
#[cfg(not(feature = "live"))]
pub const fn raise() -> bool {
    true
}

/// Nothing is put first.
#[cfg(not(feature = "live"))]
pub const fn ordinary() {}
