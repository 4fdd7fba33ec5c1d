//! A process at an end of a connection, and what it runs in.

/// Who sent. What is not known is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// Its number in the host's first PID namespace.
    pub pid: u32,
    /// Its name, at most 15 bytes as the kernel has it (`comm`).
    pub name: Option<Box<str>>,
    /// The file it runs, as it is named where the process runs.
    pub executable: Option<Box<str>>,
    /// The user's number in the host's first user namespace.
    pub user_id: Option<u32>,
    /// The user's name on this host; not of one in a container, whose names are its own.
    pub user_name: Option<Box<str>>,
    /// What it runs in.
    pub workload: Workload,
}

/// What a process runs in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Workload {
    /// The systemd service, without `.service`.
    pub service: Option<Box<str>>,
    /// The container.
    pub container: Option<Container>,
    /// UID of the Kubernetes pod.
    pub pod: Option<Box<str>>,
}

/// A container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// As its runtime has it: 64 hexadecimal digits, or a name.
    pub id: Box<str>,
    /// `docker`, `containerd`, `cri-o`, `podman`, `lxc` or `systemd-nspawn`, where the path of its cgroup
    /// says it.
    pub runtime: Option<&'static str>,
}
