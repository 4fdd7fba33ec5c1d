//! The file of `--state`: written periodically and at the end, on a separate thread. Does not know its
//! format, which belongs to [`http_trace_detect`].
//!
//! # Layout
//! - [`taken`] is the file on disk: locked, read once, replaced atomically.
//! - [`database`] is the database of the inventory beside it; [`inventory`] writes that.

#[cfg(feature = "live")]
pub mod database;
#[cfg(feature = "live")]
pub mod inventory;
pub mod taken;

use std::io;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::messages::counted;
use crate::priority;
use http_trace_detect::snapshot::{LeftOut, Snapshot};
use taken::Taken;

/// After so many intervals without a change the state is saved all the same: it has the time until which a run
/// traced, from which the next one counts what it missed if this one is killed.
const UNCHANGED: u32 = 10;

/// Saves the state during a run.
#[derive(Debug)]
pub struct Keeper {
    every: Duration,
    most_bytes: usize,
    next: Instant,
    /// `None` while a write is in progress.
    taken: Option<Taken>,
    writing: Option<JoinHandle<(Taken, io::Result<LeftOut>)>>,
    snapshot: Option<Snapshot>,
    /// Change counter of the saved state.
    kept_changes: Option<u64>,
    /// Intervals since, without a change.
    unchanged: u32,
    /// Last reported message, so that it is not repeated.
    said_failure: Option<String>,
    said_too_large: bool,
}

/// Outcome of the last write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SaveOutcome {
    /// A message to print.
    pub said: Option<String>,
    /// Why the file is not up to date.
    pub failure: Option<String>,
}

impl Keeper {
    /// Saves to this file at this interval, with at most `most_bytes` bytes. Saves for the first time at
    /// once, so that problems are reported at the start.
    pub fn new(taken: Taken, every: Duration, most_bytes: usize) -> Self {
        Keeper {
            every,
            most_bytes,
            next: Instant::now(),
            taken: Some(taken),
            writing: None,
            snapshot: None,
            kept_changes: None,
            unchanged: 0,
            said_failure: None,
            said_too_large: false,
        }
    }

    /// Does the next step, if due: `some` encodes a part and returns whether it was the last; `changes` is
    /// the change counter of the state. Returns a message to print.
    pub fn work(
        &mut self,
        changes: u64,
        some: impl FnOnce(&mut Snapshot) -> bool,
    ) -> Option<String> {
        if let Some(snapshot) = &mut self.snapshot {
            if some(snapshot)
                && let Some(snapshot) = self.snapshot.take()
            {
                self.kept_changes = Some(snapshot.changes);
                self.begin(snapshot);
            }
            return None;
        }
        if self.writing.as_ref().is_some_and(JoinHandle::is_finished) {
            return self.wait();
        }
        if self.writing.is_none() && Instant::now() >= self.next {
            self.next = Instant::now() + self.every;
            self.unchanged += 1;
            if self.kept_changes != Some(changes) || self.unchanged >= UNCHANGED {
                self.unchanged = 0;
                self.snapshot = Some(Snapshot::default());
            }
        }
        None
    }

    /// Writes on a separate thread: the disk may be slow, and encoding a large state takes a while.
    fn begin(&mut self, snapshot: Snapshot) {
        let Some(mut taken) = self.taken.take() else { return };
        let most_bytes = self.most_bytes;
        let write = move || {
            let (content, left_out) = snapshot.into_file(most_bytes);
            let written = taken.replace(content.slices());
            (taken, written.map(|()| left_out))
        };
        match priority::spawn("state", write) {
            Ok(thread) => self.writing = Some(thread),
            // Reported at the end of the run.
            Err(error) => {
                self.said_failure = Some(format!(
                    "the state is no longer kept: cannot start a thread to write it: {error}"
                ));
            }
        }
    }

    /// Waits for a write in progress; returns a message that has not been printed.
    fn wait(&mut self) -> Option<String> {
        let failure = match self.writing.take()?.join() {
            Ok((taken, result)) => {
                let name = taken.path.display().to_string();
                self.taken = Some(taken);
                match result {
                    Ok(left_out) => {
                        self.said_failure = None;
                        let new = left_out.is_any() && !self.said_too_large;
                        self.said_too_large |= new;
                        return new.then(|| too_large(&name, &left_out, self.most_bytes));
                    }
                    Err(error) => format!("cannot keep the state in {name}: {error}"),
                }
            }
            Err(_) => "the state is no longer kept: its writer thread failed".to_owned(),
        };
        self.kept_changes = None;
        let new = self.said_failure.as_ref() != Some(&failure);
        self.said_failure = Some(failure.clone());
        new.then_some(failure)
    }

    /// Writes the final state and waits for it.
    pub fn finish(mut self, snapshot: Snapshot) -> SaveOutcome {
        // Whichever write first finds the state too large reports it, once.
        let before = self.wait().filter(|_| self.said_failure.is_none());
        self.begin(snapshot);
        let last = self.wait().filter(|_| self.said_failure.is_none());
        SaveOutcome { said: last.or(before), failure: self.said_failure }
    }
}

fn too_large(name: &str, left_out: &LeftOut, most_bytes: usize) -> String {
    let mut line =
        format!("the state is larger than state-size ({most_bytes} bytes): {name} holds");
    if left_out.left_out > 0 {
        line.push_str(&format!(
            " {}, without the {} least valuable",
            counted(left_out.counters as u64, "counter"),
            left_out.left_out
        ));
    } else {
        line.push_str(" all counters");
    }
    if let Some((entities, days)) = left_out.hits {
        line.push_str(&format!(
            ", and per rule {entities} entities and {} of hits",
            counted(days as u64, "day")
        ));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Works until a write has finished; returns the message.
    fn written(keeper: &mut Keeper, changes: u64) -> Option<String> {
        let mut steps = 0;
        loop {
            let said = keeper.work(changes, |_| {
                steps += 1;
                steps == 3
            });
            if steps == 3 && keeper.writing.is_none() {
                return said;
            }
            std::thread::yield_now();
        }
    }

    #[test]
    fn it_writes_in_steps_what_changed_and_rarely_what_did_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("state");
        let taken = Taken::take(&path).0.expect("taken");
        let mut keeper = Keeper::new(taken, Duration::ZERO, 1 << 20);
        assert_eq!(written(&mut keeper, 7), None);
        keeper.kept_changes = Some(7);
        for _ in 1..UNCHANGED {
            let said = keeper.work(7, |_| panic!("nothing changed"));
            assert_eq!(said, None);
        }
        std::fs::remove_file(&path).expect("removed");
        assert_eq!(written(&mut keeper, 7), None);
        assert!(path.exists(), "nothing changed for a long time");
        std::fs::remove_file(&path).expect("removed");
        assert_eq!(written(&mut keeper, 8), None);
        assert!(path.exists(), "something changed");
        assert_eq!(keeper.finish(Snapshot::default()), SaveOutcome::default());
    }

    #[test]
    fn what_hinders_it_is_said_once_until_it_changes() {
        let folder = tempfile::tempdir().expect("a folder");
        let below = folder.path().join("below");
        std::fs::create_dir(&below).expect("made");
        let taken = Taken::take(&below.join("state")).0.expect("taken");
        let mut keeper = Keeper::new(taken, Duration::ZERO, 1 << 20);
        std::fs::remove_dir(&below).expect("removed");
        let said = written(&mut keeper, 1).expect("said");
        assert!(said.contains("cannot keep the state in"), "{said}");
        assert_eq!(written(&mut keeper, 1), None, "said before");
        std::fs::create_dir(&below).expect("made");
        assert_eq!(written(&mut keeper, 1), None);
        assert!(below.join("state").exists(), "tried again");
        std::fs::remove_dir_all(&below).expect("removed");
        assert!(written(&mut keeper, 2).is_some(), "again");
        let kept = keeper.finish(Snapshot::default());
        assert!(kept.failure.is_some(), "{kept:?}");
    }
}
