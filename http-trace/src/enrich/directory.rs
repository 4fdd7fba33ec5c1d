//! Names of containers and pods, shared by all threads: those that learn names write here, and attribution
//! completes processes it has named before. Performs no I/O.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use crate::sync::{lock, wait_while};
use http_trace_model::process::{Container, Pod, Workload};

/// Maximum number of remembered containers, and of pods.
const MOST: usize = 16_384;

/// What is known about a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named {
    pub container: Container,
    pub pod: Option<Pod>,
}

impl Named {
    /// Fills in missing fields of a workload, unless ids contradict.
    pub fn complete(&self, workload: &mut Workload) {
        let Some(container) = &mut workload.container else { return };
        let is_other = |pod: &Pod| workload.pod.as_ref().is_some_and(|own| own.uid != pod.uid);
        if container.id != self.container.id || self.pod.as_ref().is_some_and(is_other) {
            return;
        }
        let of = &self.container;
        container.runtime = container.runtime.or(of.runtime);
        container.name = of.name.clone().or_else(|| container.name.take());
        container.image = of.image.clone().or_else(|| container.image.take());
        match (&mut workload.pod, &self.pod) {
            (Some(own), Some(pod)) if own.name.is_none() => own.clone_from(pod),
            (own @ None, Some(pod)) => *own = Some(pod.clone()),
            _ => {}
        }
    }
}

/// All known containers and pods.
#[derive(Debug, Default)]
pub struct Directory {
    /// Changes whenever the contents change.
    generation: AtomicU64,
    known: Mutex<NamesById>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct NamesById {
    /// By id, from the runtime.
    containers: HashMap<Box<str>, Named>,
    /// By the id in their cgroup path.
    pods: HashMap<Box<str>, Members>,
    pod_of: HashMap<Box<str>, Box<str>>,
}

/// A pod and its containers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    pub pod: Pod,
    /// Containers that have been started.
    pub containers: Vec<Container>,
}

impl Directory {
    /// A number that changes when there is something new.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    fn change(&self) {
        self.generation.fetch_add(1, Ordering::Release);
        self.changed.notify_all();
    }

    /// Adds a container reported by its runtime.
    pub fn add_container(&self, named: Named) {
        let mut known = lock(&self.known);
        if known.containers.len() >= MOST {
            known.containers.clear();
        }
        let id = named.container.id.clone();
        known.containers.insert(id, named);
        self.change();
    }

    /// Waits until a container is known; returns whether it is.
    pub fn wait_for(&self, id: &str, time: Duration) -> bool {
        wait_while(&self.changed, lock(&self.known), time, |known| !known.has(id)).has(id)
    }

    pub fn set_pods(&self, pods: Vec<Members>) {
        let mut known = lock(&self.known);
        let before = std::mem::take(&mut known.pods);
        known.pod_of.clear();
        for members in pods.into_iter().take(MOST) {
            known.add(members);
        }
        if known.pods != before {
            self.change();
        }
    }

    /// Adds or replaces a pod.
    pub fn set_pod(&self, members: Members) {
        let mut known = lock(&self.known);
        let before = known.pods.get(&members.pod.uid);
        if before == Some(&members) || before.is_none() && known.pods.len() >= MOST {
            return;
        }
        known.remove(&members.pod.uid);
        known.add(members);
        self.change();
    }

    /// Removes a pod. Processes already named after it keep the name.
    pub fn remove_pod(&self, uid: &str) {
        lock(&self.known).remove(uid);
    }

    /// Fills in what is known about a workload now. Labels may change later, names do not.
    pub fn complete(&self, workload: &mut Workload) {
        if workload.container.is_none() && workload.pod.is_none() {
            return;
        }
        let known = lock(&self.known);
        if let Some(id) = workload.container.as_ref().map(|of| of.id.clone()) {
            if let Some(named) = known.containers.get(&id) {
                named.complete(workload);
            }
            // Not every runtime puts the pod into the cgroup path.
            if let (None, Some(uid)) = (&workload.pod, known.pod_of.get(&id)) {
                workload.pod = known.pods.get(uid).map(|members| members.pod.clone());
            }
        }
        let Some(pod) = &mut workload.pod else { return };
        let Some(members) = known.pods.get(&pod.uid) else { return };
        pod.clone_from(&members.pod);
        let Some(id) = workload.container.as_ref().map(|of| of.id.clone()) else {
            return;
        };
        if let Some(container) = members.containers.iter().find(|one| one.id == id) {
            let named = Named { container: container.clone(), pod: None };
            named.complete(workload);
        }
    }
}

impl NamesById {
    fn has(&self, id: &str) -> bool {
        self.containers.contains_key(id) || self.pod_of.contains_key(id)
    }

    fn add(&mut self, members: Members) {
        for container in &members.containers {
            let uid = members.pod.uid.clone();
            self.pod_of.insert(container.id.clone(), uid);
        }
        self.pods.insert(members.pod.uid.clone(), members);
    }

    fn remove(&mut self, uid: &str) {
        if let Some(members) = self.pods.remove(uid) {
            for container in &members.containers {
                self.pod_of.remove(&container.id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(id: &str, name: &str) -> Container {
        Container {
            id: id.into(),
            name: (!name.is_empty()).then(|| name.into()),
            ..Container::default()
        }
    }

    fn pod(uid: &str, name: &str) -> Pod {
        Pod { uid: uid.into(), name: (!name.is_empty()).then(|| name.into()), ..Pod::default() }
    }

    fn shown(directory: &Directory, id: &str, uid: Option<&str>) -> [Option<String>; 2] {
        let mut workload = Workload {
            container: Some(container(id, "")),
            pod: uid.map(|uid| pod(uid, "")),
            ..Workload::default()
        };
        directory.complete(&mut workload);
        let name = |name: Option<Box<str>>| name.map(String::from);
        [
            workload.container.and_then(|one| name(one.name)),
            workload.pod.and_then(|one| name(one.name)),
        ]
    }

    #[test]
    fn two_containers_of_a_pod_have_its_name_and_their_own() {
        let directory = Directory::default();
        let before = directory.generation();
        let members = Members {
            pod: pod("u1", "web-7f"),
            containers: vec![container("a", "app"), container("b", "sidecar")],
        };
        directory.set_pods(vec![members.clone()]);
        assert_ne!(directory.generation(), before);
        let now = directory.generation();
        directory.set_pods(vec![members.clone()]);
        directory.set_pod(members);
        assert_eq!(directory.generation(), now, "nothing is new");
        let named = |a: &str, b: &str| [a, b].map(|n| (!n.is_empty()).then(|| n.to_owned()));
        assert_eq!(shown(&directory, "a", Some("u1")), named("app", "web-7f"));
        assert_eq!(shown(&directory, "b", Some("u1")), named("sidecar", "web-7f"));
        assert_eq!(shown(&directory, "b", None), named("sidecar", "web-7f"));
        assert_eq!(shown(&directory, "c", Some("u1")), named("", "web-7f"));
        assert_eq!(shown(&directory, "a", Some("u2")), named("", ""));
        directory.remove_pod("u1");
        assert_eq!(shown(&directory, "a", Some("u1")), named("", ""));
    }

    #[test]
    fn what_contradicts_the_cgroup_is_not_believed() {
        let directory = Directory::default();
        directory.add_container(Named {
            container: container("a", "liar"),
            pod: Some(pod("u2", "other")),
        });
        assert_eq!(shown(&directory, "a", Some("u1")), [None, None]);
        assert_eq!(
            shown(&directory, "a", Some("u2")),
            ["liar", "other"].map(|name| Some(name.to_owned()))
        );
    }

    #[test]
    fn whoever_waits_is_told() {
        let directory = std::sync::Arc::new(Directory::default());
        assert!(!directory.wait_for("a", Duration::from_millis(5)));
        let late = directory.clone();
        let thread = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(30));
            late.add_container(Named { container: container("a", "app"), pod: None });
        });
        assert!(directory.wait_for("a", Duration::from_secs(10)));
        thread.join().expect("it ends");
    }
}
