//! Requirements of tests, reports of skipped tests, and serialisation of tests on the machine.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Reports that the test `name` was skipped because the machine lacks `what`. `cargo xtask test` collects
/// these lines. Written past the test harness's output capture.
pub fn skipped(what: &str, name: &str) {
    let line = format!("SKIPPED (needs {what}): {name}\n");
    let _ = std::io::stderr().lock().write_all(line.as_bytes());
}

/// Whether this process is root, which namespaces and devices need.
pub fn root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Path of a program, searched in PATH and in the sbin folders, which a user's PATH often lacks.
pub fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path);
    let system = ["/usr/bin", "/usr/sbin", "/bin", "/sbin"].map(PathBuf::from);
    system.into_iter().chain(folders).map(|f| f.join(name)).find(|f| is_program(f))
}

fn is_program(file: &Path) -> bool {
    rustix::fs::access(file, rustix::fs::Access::EXEC_OK).is_ok() && file.is_file()
}

/// Serialises this process's tests.
static TURN: RwLock<()> = RwLock::new(());

/// If this is set, tests do nothing, and those that must run alone print their names: `cargo xtask test` runs
/// these last, so that the others need not wait for each of them.
const LIST: &str = "HTTP_TRACE_LIST_ALONE";

/// Whether the tests are only listed; prints the name of this one if it must run alone.
pub fn only_lists(alone: bool) -> bool {
    if std::env::var_os(LIST).is_none() {
        return false;
    }
    // The harness names the thread after the test.
    if alone && let Some(name) = std::thread::current().name() {
        let _ = std::io::stderr().lock().write_all(format!("ALONE: {name}\n").as_bytes());
    }
    true
}

/// Held by a test that may run beside others.
pub fn beside_others() -> RwLockReadGuard<'static, ()> {
    // A failed test leaves nothing behind that could affect the next.
    TURN.read().unwrap_or_else(PoisonError::into_inner)
}

/// Held by a test that must run alone: it sees other namespaces, or needs both CPUs.
pub fn alone() -> RwLockWriteGuard<'static, ()> {
    TURN.write().unwrap_or_else(PoisonError::into_inner)
}

/// Path of the calling function.
#[macro_export]
macro_rules! test_name {
    () => {{
        fn here() {}
        let name = std::any::type_name_of_val(&here);
        name.trim_end_matches("::here").trim_end_matches("::{{closure}}")
    }};
}

/// Reports that the calling test was skipped, since the machine lacks this.
#[macro_export]
macro_rules! skip {
    ($what:expr) => {
        $crate::need::skipped($what, $crate::test_name!())
    };
}

/// Skips the test unless it runs as root and the named programs are installed; then waits for the test's
/// turn. At most once per test.
///
/// ```ignore
/// needs!("nginx", "wrk");
/// needs!(alone; "nginx");
/// ```
#[macro_export]
macro_rules! needs {
    (@machine $test:expr; $($program:literal),*) => {
        if !$crate::need::root() {
            return $crate::need::skipped("root", $test);
        }
        $(
            if $crate::need::program($program).is_none() {
                return $crate::need::skipped($program, $test);
            }
        )*
        if $crate::need::program("ip").is_none() {
            return $crate::need::skipped("iproute2", $test);
        }
    };
    (alone; $($program:literal),* $(,)?) => {
        if $crate::need::only_lists(true) {
            return;
        }
        $crate::needs!(@machine $crate::test_name!(); $($program),*);
        let _turn = $crate::need::alone();
    };
    ($($program:literal),* $(,)?) => {
        if $crate::need::only_lists(false) {
            return;
        }
        $crate::needs!(@machine $crate::test_name!(); $($program),*);
        let _turn = $crate::need::beside_others();
    };
}
