//! Locks and condition variables that go on after a panic, which the panic hook has reported; the host's clock.
//! Must not know what they guard.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub fn wait<'a, T>(changed: &Condvar, state: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
    changed.wait(state).unwrap_or_else(PoisonError::into_inner)
}

/// Waits for a change, and at most this time.
pub fn wait_for<'a, T>(
    changed: &Condvar,
    state: MutexGuard<'a, T>,
    time: Duration,
) -> MutexGuard<'a, T> {
    changed.wait_timeout(state, time).unwrap_or_else(PoisonError::into_inner).0
}

/// Waits while `holds`, and at most this time.
pub fn wait_while<'a, T>(
    changed: &Condvar,
    state: MutexGuard<'a, T>,
    time: Duration,
    holds: impl FnMut(&mut T) -> bool,
) -> MutexGuard<'a, T> {
    changed.wait_timeout_while(state, time, holds).unwrap_or_else(PoisonError::into_inner).0
}

/// Unix ns; `None` if the host's clock is before 1970.
pub fn unix_ns() -> Option<u64> {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.ok().map(|since| since.as_nanos() as u64)
}
