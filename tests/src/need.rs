//! What a test needs of the machine, and how it says that it was not there.

use std::io::Write;
use std::path::{Path, PathBuf};

/// Says that the test `name` was skipped because the machine lacks `what`. `cargo xtask test`
/// gathers these lines. Written past the test harness's capture, which would swallow it.
pub fn skipped(what: &str, name: &str) {
    let line = format!("SKIPPED (needs {what}): {name}\n");
    let _ = std::io::stderr().lock().write_all(line.as_bytes());
}

/// Whether this process is root (namespaces and devices need it).
pub fn root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Where a program is, searched in PATH and in the folders for administrators, which a user's PATH
/// often lacks.
pub fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path);
    let system = ["/usr/bin", "/usr/sbin", "/bin", "/sbin"].map(PathBuf::from);
    system
        .into_iter()
        .chain(folders)
        .map(|f| f.join(name))
        .find(|f| is_program(f))
}

fn is_program(file: &Path) -> bool {
    rustix::fs::access(file, rustix::fs::Access::EXEC_OK).is_ok() && file.is_file()
}

/// Returns from the test, saying so, unless it runs as root and all the programs named are there.
///
/// ```ignore
/// needs!("nginx", "wrk");
/// ```
#[macro_export]
macro_rules! needs {
    ($($program:literal),* $(,)?) => {
        let test = {
            fn here() {}
            let name = std::any::type_name_of_val(&here);
            name.trim_end_matches("::here").trim_end_matches("::{{closure}}").to_owned()
        };
        if !$crate::need::root() {
            return $crate::need::skipped("root", &test);
        }
        $(
            if $crate::need::program($program).is_none() {
                return $crate::need::skipped($program, &test);
            }
        )*
        if $crate::need::program("ip").is_none() {
            return $crate::need::skipped("iproute2", &test);
        }
    };
}
