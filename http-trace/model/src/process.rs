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
    /// What it was started with, where that is asked for; words between blanks.
    pub command_line: Option<Box<str>>,
    /// The user's number in the host's first user namespace.
    pub user_id: Option<u32>,
    /// The user's name on this host; not of one in a container, whose names are its own.
    pub user_name: Option<Box<str>>,
    /// What it runs in.
    pub workload: Workload,
}

impl Process {
    /// What it belongs to, as somebody who runs hosts calls it: what made its pod, the service, the container,
    /// or its own name.
    pub fn workload_name(&self) -> Option<&str> {
        let (workload, pod) = (&self.workload, self.workload.pod.as_ref());
        let owner = pod.and_then(|pod| Some(&*pod.owner.as_ref()?.name));
        let pod = pod.and_then(|pod| pod.name.as_deref());
        let container = workload.container.as_ref();
        let container = container.and_then(|container| container.name.as_deref());
        let names = [
            owner,
            pod,
            workload.service.as_deref(),
            container,
            self.name.as_deref(),
        ];
        names.into_iter().flatten().next()
    }
}

/// What a process runs in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Workload {
    /// The systemd service, without `.service`.
    pub service: Option<Box<str>>,
    /// The container.
    pub container: Option<Container>,
    /// The Kubernetes pod.
    pub pod: Option<Pod>,
}

impl Workload {
    /// The service: systemd's, or what the pod's labels or owner call it, in the order of OpenTelemetry's
    /// semantic conventions ("Specify resource attributes using Kubernetes annotations").
    pub fn service_name(&self) -> Option<&str> {
        let of_pod = || self.pod.as_ref().and_then(Pod::service_name);
        self.service.as_deref().or_else(of_pod)
    }
}

/// A container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Container {
    /// As its runtime has it: 64 hexadecimal digits, or a name.
    pub id: Box<str>,
    /// `docker`, `containerd`, `cri-o`, `podman`, `lxc` or `systemd-nspawn`, where the path of its cgroup
    /// or its runtime says it.
    pub runtime: Option<&'static str>,
    /// Its name, as its runtime has it; in a pod the name there.
    pub name: Option<Box<str>>,
    /// The image, as it was named when the container was made.
    pub image: Option<Box<str>>,
}

/// A Kubernetes pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// Its UID.
    pub uid: Box<str>,
    /// Its name.
    pub name: Option<Box<str>>,
    /// The namespace that it is in.
    pub namespace: Option<Box<str>>,
    /// What made it.
    pub owner: Option<Owner>,
    /// The node that it runs on.
    pub node: Option<Box<str>>,
    /// Labels that were chosen, as `key=value`.
    pub labels: Vec<Box<str>>,
    /// What its labels call the service, if they do.
    pub service: Option<Box<str>>,
}

impl Pod {
    fn service_name(&self) -> Option<&str> {
        let of_owner = || self.owner.as_ref().map(|owner| &*owner.name);
        self.service.as_deref().or_else(of_owner)
    }
}

/// What made a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owner {
    /// `Deployment`, `StatefulSet` and so on.
    pub kind: Box<str>,
    /// Its name.
    pub name: Box<str>,
}
