//! Resource limits of this process: open files and memory. Refuses to start or warns when they are too low,
//! naming the limit and what is needed; decides nothing else. Reads `/proc` and `/sys`.

use std::fs;
use std::path::Path;

use crate::config::{Config, Source};

const MIB: u64 = 1 << 20;

/// Minimum address space: threads and the ring buffer are mapped.
const LEAST_SPACE: u64 = 256 * MIB;
const LEAST_SPACE_READING: u64 = 64 * MIB;

/// Minimum cgroup memory limit, including kernel maps.
const LEAST_MEMORY: u64 = 64 * MIB;
const LEAST_MEMORY_READING: u64 = 32 * MIB;

/// Memory used in addition to what settings bound.
const BESIDE: u64 = 48 * MIB;

/// Open files of a live run without interfaces, and per interface and hook.
#[cfg(feature = "live")]
const FILES: u64 = 64;
#[cfg(feature = "live")]
const FILES_OF_INTERFACE: u64 = 6;
/// Open files of a run that reads, whatever it writes.
#[cfg(feature = "live")]
const FILES_READING: u64 = 8;

/// Returns a warning, if any.
pub fn check(config: &Config) -> Result<Option<String>, String> {
    let live = config.source == Source::Live;
    #[cfg(feature = "live")]
    files(config, live)?;
    let (space, memory) = match live {
        true => (LEAST_SPACE, LEAST_MEMORY),
        false => (LEAST_SPACE_READING, LEAST_MEMORY_READING),
    };
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let allowed = [
        soft(&limits, "Max address space").map(|bytes| (bytes, "RLIMIT_AS, ulimit -v", space)),
        of_group(Path::new("/")).map(|bytes| (bytes, "cgroup", memory)),
    ];
    judge(allowed.into_iter().flatten(), bounds(config, live))
}

/// Compares each limit (bytes, name, required minimum) with what is needed.
fn judge<'a>(
    allowed: impl Iterator<Item = (u64, &'a str, u64)>,
    bounds: u64,
) -> Result<Option<String>, String> {
    let mut warning = None;
    for (bytes, name, least) in allowed {
        let limit = format!("memory is limited to {} MiB ({name})", bytes / MIB);
        if bytes < least {
            return Err(format!(
                "{limit}; at least {} MiB are needed: raise the limit",
                least / MIB
            ));
        }
        if bytes < bounds {
            warning = Some(format!(
                "{limit}; up to {} MiB may be used under load: lower heads-memory, reorder-memory, \
                 detect-memory and output-queue (docs/CONFIG.md), or raise the limit",
                bounds / MIB
            ));
        }
    }
    Ok(warning)
}

/// The sum of all memory bounds of the settings, plus a fixed overhead.
fn bounds(config: &Config, live: bool) -> u64 {
    let outputs = config.output.len().max(1);
    let heads = match config.source {
        Source::Recorded(_) => 0,
        Source::Live | Source::Captures(_) => config.heads_memory + config.reorder_memory,
    };
    let ring = if live { config.ring_size } else { 0 };
    (heads + config.detect_memory + ring + config.output_queue * outputs) as u64 + BESIDE
}

/// The soft limit of this name, if set.
pub(super) fn soft(limits: &str, name: &str) -> Option<u64> {
    let rest = limits.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

/// The lowest memory limit of this process's cgroup and its ancestors.
fn of_group(root: &Path) -> Option<u64> {
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    let limits = groups.lines().flat_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
        let (mount, file) = match controllers {
            "" => ("sys/fs/cgroup", "memory.max"),
            _ if controllers.split(',').any(|one| one == "memory") => {
                ("sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => return Vec::new(),
        };
        let mount = root.join(mount);
        let own = mount.join(path.trim_start_matches('/'));
        let within = own.ancestors().take_while(|folder| folder.starts_with(&mount));
        let read = |folder: &Path| fs::read_to_string(folder.join(file)).ok()?.trim().parse().ok();
        within.filter_map(read).collect()
    });
    // Cgroup v1 writes a huge number for "no limit".
    limits.min().filter(|bytes: &u64| *bytes < 1 << 60)
}

/// Raises the soft limit of open files to the hard limit.
#[cfg(feature = "live")]
fn files(config: &Config, live: bool) -> Result<(), String> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let now = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    if !live {
        return match now {
            Some(now) if now < FILES_READING => Err(format!(
                "the open file limit is {now} (RLIMIT_NOFILE); reading needs {FILES_READING}: \
                 `ulimit -n 1024`"
            )),
            _ => Ok(()),
        };
    }
    let interfaces = fs::read_dir("/sys/class/net").map_or(0, |all| all.count() as u64);
    let needed = FILES + FILES_OF_INTERFACE * interfaces * config.hook.len() as u64;
    match now {
        Some(now) if now < needed => Err(format!(
            "the open file limit is {now} (RLIMIT_NOFILE); tracing up to {interfaces} interfaces \
             needs {needed}: `ulimit -n 1024`, or LimitNOFILE=1024 in the unit"
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_that_do_not_suffice_are_named_with_what_is_needed() {
        let of = |bytes: u64| {
            judge([(bytes * MIB, "x", 64)].map(|(b, n, l)| (b, n, l * MIB)).into_iter(), 300 * MIB)
        };
        assert_eq!(
            of(32),
            Err("memory is limited to 32 MiB (x); at least 64 MiB are needed: raise the limit"
                .to_owned())
        );
        assert!(of(299).is_ok_and(|w| w.is_some_and(|w| w.contains("up to 300 MiB"))));
        assert_eq!(of(300), Ok(None));
        assert_eq!(judge(std::iter::empty(), 1), Ok(None));
        let config = crate::config::testing::config(["http-trace", "-o", "json", "-o", "csv:x"]);
        assert_eq!(bounds(&config, true), (3 * 64 + 16 + 2 * 64) * MIB + BESIDE);
    }

    #[test]
    fn limits_are_read_where_the_system_has_them() {
        let limits = "Limit  Soft Limit  Hard Limit  Units\n\
                      Max open files            1024                 524288               files\n\
                      Max address space         unlimited            unlimited            bytes\n";
        assert_eq!(soft(limits, "Max open files"), Some(1024));
        assert_eq!(soft(limits, "Max address space"), None);
        let root = tempfile::tempdir().expect("a folder");
        let put = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            fs::write(path, text).expect("written");
        };
        assert_eq!(of_group(root.path()), None);
        put("proc/self/cgroup", "0::/a/b\n");
        put("sys/fs/cgroup/a/b/memory.max", "max\n");
        assert_eq!(of_group(root.path()), None);
        put("sys/fs/cgroup/a/memory.max", "268435456\n");
        assert_eq!(of_group(root.path()), Some(256 * MIB), "of one that it is in");
        put("proc/self/cgroup", "4:cpu,memory:/c\n0::/\n");
        put("sys/fs/cgroup/memory/c/memory.limit_in_bytes", "9223372036854771712\n");
        assert_eq!(of_group(root.path()), None);
        put("sys/fs/cgroup/memory/c/memory.limit_in_bytes", "1048576\n");
        assert_eq!(of_group(root.path()), Some(MIB));
    }
}
