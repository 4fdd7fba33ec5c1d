//! A process at one end of a connection, and its workload.

/// The process that sent. Unknown values are absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// PID in the host's initial PID namespace.
    pub pid: u32,
    /// Name as in the kernel's `comm`, at most 15 bytes.
    pub name: Option<Box<str>>,
    /// Path of the executable, as seen in the process's own mount namespace.
    pub executable: Option<Box<str>>,
    /// Command line, if requested; arguments are separated by spaces.
    pub command_line: Option<Box<str>>,
    /// User id in the host's initial user namespace.
    pub user_id: Option<u32>,
    /// User name on this host; absent for a process in a container, which has its own user names.
    pub user_name: Option<Box<str>>,
    pub workload: Workload,
}

impl Process {
    /// Name of the workload as an operator knows it, the first that is known: the pod's owner, the pod, the
    /// service, the container, the process.
    pub fn workload_name(&self) -> Option<&str> {
        let (workload, pod) = (&self.workload, self.workload.pod.as_ref());
        let owner = pod.and_then(|pod| Some(&*pod.owner.as_ref()?.name));
        let pod = pod.and_then(|pod| pod.name.as_deref());
        let container = workload.container.as_ref();
        let container = container.and_then(|container| container.name.as_deref());
        let names = [owner, pod, workload.service.as_deref(), container, self.name.as_deref()];
        names.into_iter().flatten().next()
    }
}

/// What a process runs in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Workload {
    /// The systemd service, without `.service`.
    pub service: Option<Box<str>>,
    pub container: Option<Container>,
    pub pod: Option<Pod>,
}

impl Workload {
    /// Service name: from systemd, or from the pod's labels or owner, in the order of OpenTelemetry's
    /// semantic conventions ("Specify resource attributes using Kubernetes annotations").
    pub fn service_name(&self) -> Option<&str> {
        let of_pod = || self.pod.as_ref().and_then(Pod::service_name);
        self.service.as_deref().or_else(of_pod)
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Container {
    /// Id as the runtime gives it: 64 hexadecimal digits, or a name.
    pub id: Box<str>,
    /// `docker`, `containerd`, `cri-o`, `podman`, `lxc` or `systemd-nspawn`, if the cgroup
    /// path or the runtime reveals it.
    pub runtime: Option<&'static str>,
    /// Name as the runtime gives it; in a pod, the name in the pod's spec.
    pub name: Option<Box<str>>,
    /// Image, as named when the container was created.
    pub image: Option<Box<str>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    pub uid: Box<str>,
    pub name: Option<Box<str>>,
    pub namespace: Option<Box<str>>,
    /// The controller that owns it.
    pub owner: Option<Owner>,
    pub node: Option<Box<str>>,
    /// Selected labels, as `key=value`.
    pub labels: Vec<Box<str>>,
    /// Service name from its labels, if they give one.
    pub service: Option<Box<str>>,
}

impl Pod {
    fn service_name(&self) -> Option<&str> {
        let of_owner = || self.owner.as_ref().map(|owner| &*owner.name);
        self.service.as_deref().or_else(of_owner)
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owner {
    /// `Deployment`, `StatefulSet` and so on.
    pub kind: Box<str>,
    pub name: Box<str>,
}
