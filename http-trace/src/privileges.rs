//! Capabilities and user of this process, and how to reduce them. Does not know what a run needs them for.
//!
//! On Linux these are per thread (capabilities(7)) and inherited by new threads: a change covers the process
//! if it is made while there is one thread.

use std::{fs, io, thread};

pub use rustix::thread::CapabilitySet;
use rustix::thread::{
    CapabilitySets, Gid, Uid, capabilities, capability_is_in_bounding_set,
    clear_ambient_capability_set, configure_capability_in_ambient_set,
    remove_capability_from_bounding_set, set_capabilities, set_keep_capabilities, set_no_new_privs,
    set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};

/// A capability that the agent can use.
#[derive(Clone, Copy, Debug)]
pub struct Capability {
    /// Name as in capabilities(7).
    pub name: &'static str,
    pub bit: CapabilitySet,
    /// What does not work without it.
    pub lost: &'static str,
}

pub const USED: &[Capability] = &[
    capability("CAP_NET_ADMIN", CapabilitySet::NET_ADMIN, "programs cannot be attached"),
    capability("CAP_NET_RAW", CapabilitySet::NET_RAW, "the hook socket-filter is not available"),
    capability("CAP_PERFMON", CapabilitySet::PERFMON, "the kernel rejects the programs"),
    capability("CAP_BPF", CapabilitySet::BPF, "programs cannot be loaded"),
    capability(
        "CAP_SYS_ADMIN",
        CapabilitySet::SYS_ADMIN,
        "other programs at a hook are shown by id only",
    ),
    capability(
        "CAP_SYS_PTRACE",
        CapabilitySet::SYS_PTRACE,
        "--executables cannot read the files of other users' processes",
    ),
    capability(
        "CAP_SYS_NICE",
        CapabilitySet::SYS_NICE,
        "the reader and writer threads get no priority, so that a busy host loses more",
    ),
    capability(
        "CAP_DAC_READ_SEARCH",
        CapabilitySet::DAC_READ_SEARCH,
        "containers are shown by id only, because the runtime's files belong to root",
    ),
    capability(
        "CAP_DAC_OVERRIDE",
        CapabilitySet::DAC_OVERRIDE,
        "files of other users cannot be opened",
    ),
];

const fn capability(name: &'static str, bit: CapabilitySet, lost: &'static str) -> Capability {
    Capability { name, bit, lost }
}

/// Capabilities needed to load and attach programs.
pub const ATTACHING: CapabilitySet =
    CapabilitySet::NET_ADMIN.union(CapabilitySet::PERFMON).union(CapabilitySet::BPF);

/// Capabilities included in CAP_SYS_ADMIN (linux/capability.h).
const OF_SYS_ADMIN: CapabilitySet = CapabilitySet::PERFMON.union(CapabilitySet::BPF);

/// Why capabilities are of no use in a user namespace.
pub const OF_NAMESPACE: &str = "this is a user namespace (a rootless container, or unshare -r), whose capabilities do \
                                not suffice for bpf(2): run as root of the host";

/// Whether the process is in a user namespace other than the host's, as far as its map of users tells
/// (user_namespaces(7)).
pub fn in_user_namespace() -> bool {
    fs::read_to_string("/proc/self/uid_map").is_ok_and(|map| !maps_all(&map))
}

fn maps_all(map: &str) -> bool {
    map.split_whitespace().eq(["0", "0", "4294967295"])
}

/// Capabilities of this thread; all if the kernel does not report them.
pub fn held() -> CapabilitySet {
    capabilities(None).map_or(CapabilitySet::all(), |sets| sets.effective)
}

/// Needed capabilities that are neither held nor included in a held one.
pub fn missing(needed: CapabilitySet, held: CapabilitySet) -> CapabilitySet {
    match held.contains(CapabilitySet::SYS_ADMIN) {
        true => needed - held - OF_SYS_ADMIN,
        false => needed - held,
    }
}

/// Formats `CAP_BPF, CAP_PERFMON`, or `none`.
pub fn names(set: CapabilitySet) -> String {
    let used = USED.iter().filter(|one| set.contains(one.bit));
    match used.map(|one| one.name).collect::<Vec<_>>() {
        none if none.is_empty() => "none".to_owned(),
        some => some.join(", "),
    }
}

/// Lists these capabilities with what does not work without each.
pub fn lost(missing: CapabilitySet) -> String {
    let used = USED.iter().filter(|one| missing.contains(one.bit));
    let each = used.map(|one| format!("{} (without it, {})", one.name, one.lost));
    each.collect::<Vec<_>>().join(", ")
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    id: u32,
    group: u32,
    groups: Vec<u32>,
}

impl User {
    /// Looks up a user in `/etc/passwd`, by name or number.
    pub fn find(name: &str) -> Result<Self, String> {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        User::parse(name, &read("/etc/passwd"), &read("/etc/group")).ok_or_else(|| {
            format!(
                "--user {name}: no such user in /etc/passwd; create one with `useradd --system \
                 {name}`, or give a numeric id"
            )
        })
    }

    /// Parses passwd(5) and group(5).
    fn parse(name: &str, users: &str, groups: &str) -> Option<Self> {
        let mut entries = users.lines().map(|l| l.split(':').collect::<Vec<_>>());
        let is_named =
            |entry: &Vec<&str>| matches!(entry[..], [n, _, id, ..] if n == name || id == name);
        let Some(entry) = entries.find(is_named) else {
            let id = name.parse().ok()?;
            return Some(User { id, group: id, groups: Vec::new() });
        };
        let [name, _, id, group, ..] = entry[..] else { return None };
        let of_user = |line: &str| {
            let fields: Vec<&str> = line.split(':').collect();
            let [_, _, id, members] = fields[..] else { return None };
            let is_in = members.split(',').any(|member| member == name);
            is_in.then(|| id.parse().ok()).flatten()
        };
        Some(User {
            id: id.parse().ok()?,
            group: group.parse().ok()?,
            groups: groups.lines().filter_map(of_user).collect(),
        })
    }

    fn become_it(&self) -> io::Result<()> {
        let (user, group) = (Uid::from_raw(self.id), Gid::from_raw(self.group));
        set_keep_capabilities(true)?;
        let groups: Vec<Gid> = self.groups.iter().map(|id| Gid::from_raw(*id)).collect();
        set_thread_groups(&groups)?;
        set_thread_res_gid(group, group, group)?;
        Ok(set_thread_res_uid(user, user, user)?)
    }
}

/// Switches this thread to the user, keeps at most the capabilities in `keep` (or CAP_SYS_ADMIN in place of
/// those that it includes), and prevents gaining others. Of these, child processes may inherit those in
/// `handed`, if their thread calls [`hand_on`]. Returns the kept capabilities.
///
/// # Errors
/// Those of the kernel: switching the user needs CAP_SETUID and CAP_SETGID.
pub fn enter(
    user: Option<&User>,
    keep: CapabilitySet,
    handed: CapabilitySet,
) -> io::Result<CapabilitySet> {
    // execve must not grant capabilities by set-user-ID, file capabilities, or because of root.
    set_no_new_privs(true)?;
    let mut sets = capabilities(None)?;
    sets.inheritable = handed & sets.permitted;
    // Must precede dropping the bounding set, which limits what can become inheritable.
    set_capabilities(None, sets)?;
    for capability in (0..64).filter_map(|bit| CapabilitySet::from_bits(1 << bit)) {
        // Without CAP_SETPCAP the bounding set stays, which grants nothing by itself.
        if capability_is_in_bounding_set(capability).is_ok_and(|is_in| is_in)
            && remove_capability_from_bounding_set(capability).is_err()
        {
            break;
        }
    }
    // Kernels before 4.3 have no ambient set.
    let _ = clear_ambient_capability_set();
    let held = capabilities(None)?.effective;
    let instead = match (keep - held).intersects(OF_SYS_ADMIN) {
        true => held & CapabilitySet::SYS_ADMIN,
        false => CapabilitySet::empty(),
    };
    let keep = keep & held | instead;
    if let Some(user) = user.filter(|user| user.id != rustix::process::geteuid().as_raw()) {
        user.become_it()?;
    }
    let sets = CapabilitySets { effective: keep, permitted: keep, inheritable: keep & handed };
    set_capabilities(None, sets)?;
    Ok(keep)
}

/// Lets programs started by this thread inherit the capabilities that [`enter`] allows to hand on.
pub fn hand_on() {
    let Ok(sets) = capabilities(None) else { return };
    for one in sets.inheritable {
        // Fails before Linux 4.3: programs of root inherit them anyway.
        let _ = configure_capability_in_ambient_set(one, true);
    }
}

/// Drops these capabilities from this thread, and thus from threads that it starts later.
pub fn give_up(these: CapabilitySet) -> io::Result<()> {
    let mut sets = capabilities(None)?;
    sets.effective -= these;
    sets.permitted -= these;
    sets.inheritable -= these;
    Ok(set_capabilities(None, sets)?)
}

/// Evaluates `question` on a thread without capabilities; `None` if there is no such thread.
pub fn without<T: Send>(question: impl FnOnce() -> T + Send) -> Option<T> {
    let none = CapabilitySet::empty();
    let ask = || enter(None, none, none).ok().map(|_| question());
    thread::scope(|scope| {
        let asking = thread::Builder::new().spawn_scoped(scope, ask);
        asking.ok().and_then(|asking| asking.join().ok().flatten())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_namespace_is_told_by_its_map() {
        for (map, all) in [
            ("         0          0 4294967295\n", true),
            ("         0          0          1\n", false),
            ("         0       1000          1\n", false),
            ("0 1000 1\n1 100000 65536\n", false),
            ("0 100000 4294967295\n", false),
            ("", false),
        ] {
            assert_eq!(maps_all(map), all, "{map}");
        }
    }

    #[test]
    fn what_is_missing_is_named_with_what_is_lost() {
        type Set = CapabilitySet;
        for (needed, held, expected) in [
            (ATTACHING, Set::empty(), ATTACHING),
            (ATTACHING, Set::NET_ADMIN | Set::BPF, Set::PERFMON),
            (ATTACHING, ATTACHING, Set::empty()),
            (ATTACHING | Set::NET_RAW, ATTACHING, Set::NET_RAW),
            (ATTACHING, Set::NET_ADMIN | Set::SYS_ADMIN, Set::empty()),
        ] {
            assert_eq!(missing(needed, held), expected);
        }
        assert_eq!(names(ATTACHING), "CAP_NET_ADMIN, CAP_PERFMON, CAP_BPF");
        assert_eq!(names(Set::empty()), "none");
        assert_eq!(
            lost(Set::NET_RAW),
            "CAP_NET_RAW (without it, the hook socket-filter is not available)"
        );
    }

    #[test]
    fn a_user_is_found_by_name_or_number_with_its_groups() {
        const USERS: &str = "root:x:0:0::/root:/bin/sh\nbad\nweb:x:33:34::/:/bin/false\n";
        const GROUPS: &str =
            "adm:x:4:syslog,web\nweb:x:34:\nbad:x:web\nlog:x:7:website\nx:x:n:web\n";
        let user = |id, group, groups: &[u32]| Some(User { id, group, groups: groups.to_vec() });
        for (name, expected) in [
            ("web", user(33, 34, &[4])),
            ("33", user(33, 34, &[4])),
            ("root", user(0, 0, &[])),
            ("4000", user(4000, 4000, &[])),
            ("bad", None),
            ("-1", None),
            ("", None),
        ] {
            assert_eq!(User::parse(name, USERS, GROUPS), expected, "{name}");
        }
    }
}
