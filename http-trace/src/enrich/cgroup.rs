//! Extracts service, container and pod from the path of a process's cgroup. Reads no file.

use std::path::PathBuf;

use http_trace_model::process::{Container, Pod, Workload};

/// Prefixes that runtimes put before the container id in the name of a cgroup.
const PREFIXES: &[(&str, &str)] = &[
    ("docker-", "docker"),
    ("cri-containerd-", "containerd"),
    ("cri-containerd:", "containerd"),
    ("crio-", "cri-o"),
    ("libpod-", "podman"),
    ("nerdctl-", "containerd"),
    ("lxc.payload.", "lxc"),
];

/// The mount point of cgroup v2, whether alone or beside v1 hierarchies (hybrid).
pub fn mount(mounts: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let (place, kind) = (fields.next()?, fields.next()?);
        (kind == "cgroup2").then(|| PathBuf::from(place.replace("\\040", " ")))
    })
}

/// Whether v1 hierarchies of resources are mounted.
pub fn has_v1(mounts: &str) -> bool {
    let mut kinds = mounts.lines().map(|line| line.split(' ').nth(2));
    kinds.any(|kind| kind == Some("cgroup"))
}

/// As [`workload`], by the v2 line alone.
pub fn of_v2(text: &str) -> Workload {
    let mut lines = text.lines();
    let path = lines.find_map(|line| line.strip_prefix("0::"));
    path.map_or_else(Workload::default, of_path)
}

/// Parses `/proc/PID/cgroup` (cgroups(7)): the v2 line, or the most specific v1 hierarchy if v2 is not in
/// use.
pub fn workload(text: &str) -> Workload {
    let paths = text.lines().filter_map(|line| line.splitn(3, ':').nth(2));
    // In an unused hierarchy all processes are at the root.
    paths
        .map(of_path)
        .max_by_key(|workload| {
            let Workload { service, container, pod } = workload;
            (container.is_some(), pod.is_some(), service.is_some())
        })
        .unwrap_or_default()
}

pub fn of_path(path: &str) -> Workload {
    let segments: Vec<&str> = path.split('/').filter(|s| !s.is_empty()).collect();
    let container = (0..segments.len()).rev().find_map(|at| {
        let parent = at.checked_sub(1).and_then(|at| segments.get(at).copied());
        container(segments[at], parent)
    });
    // A user may name the groups below the own service manager after any pod.
    let is_of_user = segments.iter().any(|segment| segment.starts_with("user@"));
    let mut of_pods = segments.iter().rev().filter(|_| !is_of_user);
    let pod = of_pods.find_map(|segment| pod(segment));
    let pod = pod.map(|uid| Pod { uid, ..Pod::default() });
    // A container's runtime is itself a service, and its cgroup may be nested below it.
    let service = match container.is_none() && pod.is_none() {
        true => segments.iter().rev().find_map(|segment| service(segment)),
        false => None,
    };
    Workload { service, container, pod }
}

fn container(segment: &str, parent: Option<&str>) -> Option<Container> {
    let name = segment.strip_suffix(".scope").unwrap_or(segment);
    // Pods whose runtime and kubelet use different cgroup drivers: `SLICE:RUNTIME:ID`.
    let name = name.find("cri-containerd:").map_or(name, |at| &name[at..]);
    let (id, runtime) = match PREFIXES.iter().find_map(|(p, r)| Some((name.strip_prefix(p)?, *r))) {
        Some((id, runtime)) => (id, Some(runtime)),
        None if parent == Some("machine.slice") => return machine(segment),
        None => (name, parent.and_then(runtime_of_folder)),
    };
    if runtime == Some("lxc") && !id.is_empty() {
        return Some(of_name(id, "lxc"));
    }
    let is_id = id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit());
    is_id.then(|| Container { id: id.into(), runtime, ..Container::default() })
}

/// A unit of machine.slice: `machine-NAME.scope` or `systemd-nspawn@NAME.service`. Virtual machines are none.
fn machine(segment: &str) -> Option<Container> {
    let scope = || segment.strip_prefix("machine-")?.strip_suffix(".scope");
    let service = || segment.strip_prefix("systemd-nspawn@")?.strip_suffix(".service");
    let name = unescaped(scope().or_else(service)?);
    let is_other = ["qemu-", "lxc-", "libvirt-", "vmspawn-"];
    let is_other = is_other.iter().any(|prefix| name.starts_with(prefix));
    (!is_other).then(|| of_name(&name, "systemd-nspawn"))
}

fn of_name(name: &str, runtime: &'static str) -> Container {
    Container { id: name.into(), runtime: Some(runtime), ..Container::default() }
}

/// The runtime by parent folder, where it does not use systemd.
fn runtime_of_folder(folder: &str) -> Option<&'static str> {
    match folder {
        "docker" => Some("docker"),
        "libpod_parent" => Some("podman"),
        "lxc" => Some("lxc"),
        _ => None,
    }
}

/// Matches `pod1b2c…`, or `kubepods-burstable-pod1b2c….slice` with `_` for `-`; a kubelet with a cgroup root has that
/// before.
fn pod(segment: &str) -> Option<Box<str>> {
    let first = segment.split(':').next().unwrap_or(segment);
    let name = first.strip_suffix(".slice").unwrap_or(first);
    let id = match name.split_once("kubepods") {
        Some((_, rest)) => &rest[rest.rfind("-pod")? + "-pod".len()..],
        None => name.strip_prefix("pod")?,
    };
    let id = id.replace('_', "-");
    let is_digits = |digits: &str| digits.bytes().all(|b| b.is_ascii_hexdigit());
    // A UUID, or the hash of a static pod.
    let is_uid = match id.len() {
        36 => id.bytes().filter(|b| *b == b'-').count() == 4 && is_digits(&id.replace('-', "")),
        32 => is_digits(&id),
        _ => false,
    };
    is_uid.then(|| id.into())
}

/// Returns `nginx` for `nginx.service`; a user's service manager is not a service.
fn service(segment: &str) -> Option<Box<str>> {
    let name = segment.strip_suffix(".service")?;
    let is_manager = name.starts_with("user@");
    (!is_manager && !name.is_empty()).then(|| unescaped(name).into())
}

/// Decodes the `\xNN` escapes of systemd.unit(5).
fn unescaped(name: &str) -> String {
    let mut parts = name.split("\\x");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.get(..2).and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) if byte.is_ascii_graphic() => {
                text.push(char::from(byte));
                text.push_str(&part[2..]);
            }
            _ => {
                text.push_str("\\x");
                text.push_str(part);
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    const POD: &str = "6f1c4e5a-1b2c-4d3e-8f90-a1b2c3d4e5f6";

    #[test]
    fn cgroup2_is_found_alone_and_beside_v1() {
        let table = [
            ("cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0\n", Some("/sys/fs/cgroup")),
            (
                "tmpfs /sys/fs/cgroup tmpfs rw 0 0\ncgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n\
                 none /sys/fs/cgroup/unified cgroup2 rw 0 0\n",
                Some("/sys/fs/cgroup/unified"),
            ),
            ("none /mnt/two\\040words cgroup2 rw 0 0\n", Some("/mnt/two words")),
            ("cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n", None),
        ];
        for (mounts, place) in table {
            assert_eq!(mount(mounts), place.map(PathBuf::from), "{mounts}");
        }
    }

    #[test]
    fn paths_of_runtimes_and_services_are_read() {
        let under = POD.replace('-', "_");
        let table = [
            ("/", None, None, None),
            ("/system.slice/nginx.service", Some("nginx"), None, None),
            ("/system.slice/system-getty.slice/getty@tty1.service", Some("getty@tty1"), None, None),
            ("/system.slice/my\\x2dapp.service/sub", Some("my-app"), None, None),
            (
                "/user.slice/user-1000.slice/user@1000.service/app.slice/web.service",
                Some("web"),
                None,
                None,
            ),
            ("/user.slice/user-1000.slice/user@1000.service/init.scope", None, None, None),
            ("/user.slice/user-0.slice/session-3.scope", None, None, None),
            ("/system.slice/docker-ID.scope", None, Some(Some("docker")), None),
            ("/docker/ID", None, Some(Some("docker")), None),
            ("/docker/ID/init", None, Some(Some("docker")), None),
            ("/machine.slice/libpod-ID.scope/container", None, Some(Some("podman")), None),
            ("/machine.slice/libpod-conmon-ID.scope", None, None, None),
            ("/libpod_parent/libpod-ID", None, Some(Some("podman")), None),
            ("/ID", None, Some(None), None),
            (
                "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podUNDER.slice/cri-containerd-ID.scope",
                None,
                Some(Some("containerd")),
                Some(POD),
            ),
            (
                "/kubepods.slice/kubepods-podUNDER.slice/crio-ID.scope",
                None,
                Some(Some("cri-o")),
                Some(POD),
            ),
            ("/kubepods/burstable/podPOD/ID", None, Some(None), Some(POD)),
            (
                "/system.slice/containerd.service/kubepods-burstable-podUNDER.slice:cri-containerd:ID",
                None,
                Some(Some("containerd")),
                Some(POD),
            ),
            (
                "/kubepods/pod0123456789abcdef0123456789abcdef/ID",
                None,
                Some(None),
                Some("0123456789abcdef0123456789abcdef"),
            ),
            ("/system.slice/podman.service", Some("podman"), None, None),
            ("/kubepods-pod", None, None, None),
            (
                "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-podUNDER.slice/crio-ID.scope",
                None,
                Some(Some("cri-o")),
                Some(POD),
            ),
            ("/system.slice/nerdctl-ID.scope", None, Some(Some("containerd")), None),
            (
                "/user.slice/user-7.slice/user@7.service/kubepods-podUNDER.slice/x.scope",
                None,
                None,
                None,
            ),
            ("/machine.slice/machine-qemu\\x2d1\\x2ddb.scope/libvirt/emulator", None, None, None),
            ("/user.slice/machine-web.scope", None, None, None),
        ];
        for (path, service, runtime, pod) in table {
            let path = path.replace("ID", ID).replace("UNDER", &under).replace("POD", POD);
            let expected = Workload {
                service: service.map(Into::into),
                container: runtime.map(|runtime| Container {
                    id: ID.into(),
                    runtime,
                    ..Container::default()
                }),
                pod: pod.map(|uid| Pod { uid: uid.into(), ..Pod::default() }),
            };
            assert_eq!(workload(&format!("0::{path}\n")), expected, "{path}");
        }
        let named = |id: &str, runtime| {
            Some(Container { id: id.into(), runtime: Some(runtime), ..Container::default() })
        };
        assert_eq!(
            workload("0::/lxc.payload.web/system.slice/nginx.service").container,
            named("web", "lxc")
        );
        assert_eq!(
            workload("0::/machine.slice/machine-web.scope/payload").container,
            named("web", "systemd-nspawn")
        );
        let path = "/machine.slice/systemd-nspawn@web.service/payload/system.slice/nginx.service";
        assert_eq!(of_path(path).container, named("web", "systemd-nspawn"));
    }

    #[test]
    fn the_hierarchy_that_says_most_counts() {
        let text = format!("9:name=systemd:/docker/{ID}\n4:memory:/docker/{ID}\n0::/\n");
        assert!(workload(&text).container.is_some());
        let text = "1:name=systemd:/system.slice/web.service\n0::/\n";
        assert_eq!(workload(text).service.as_deref(), Some("web"));
        assert_eq!(of_v2(text), Workload::default());
        assert_eq!(of_v2("0::/docker.service").service.as_deref(), Some("docker"));
        assert!(has_v1("cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n"));
        assert!(!has_v1("none /sys/fs/cgroup cgroup2 rw 0 0\n"));
        assert_eq!(workload(""), Workload::default());
        assert_eq!(workload("nonsense\n0:\n::"), Workload::default());
    }
}
