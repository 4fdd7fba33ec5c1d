//! Parses the needed parts of a pod's JSON (k8s.io/api core/v1). Performs no I/O.

use std::collections::HashMap;

use http_trace_model::process::{Container, Owner, Pod};
use serde::Deserialize;

use crate::enrich::directory::Members;

/// Annotation of a static pod: its cgroup path contains this value in place of the UID. The kubelet sets it, and the
/// API server lets nobody change it, unlike `kubernetes.io/config.hash`.
const MIRROR: &str = "kubernetes.io/config.mirror";
/// Label with the hash that a Deployment appends to the names of its ReplicaSets.
const TEMPLATE_HASH: &str = "pod-template-hash";
/// Labels that name a pod's service, in the order of OpenTelemetry's semantic conventions.
const SERVICE: [&str; 2] = ["app.kubernetes.io/instance", "app.kubernetes.io/name"];

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct List {
    pub(super) metadata: Metadata,
    pub(super) items: Option<Vec<Object>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Object {
    pub(super) metadata: Metadata,
    spec: Option<Spec>,
    status: Option<Status>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Metadata {
    name: String,
    namespace: String,
    uid: String,
    pub(super) resource_version: String,
    labels: Option<HashMap<String, String>>,
    annotations: Option<HashMap<String, String>>,
    owner_references: Option<Vec<Reference>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Reference {
    kind: String,
    name: String,
    controller: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    node_name: String,
    containers: Option<Vec<Image>>,
    init_containers: Option<Vec<Image>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Status {
    container_statuses: Option<Vec<Image>>,
    init_container_statuses: Option<Vec<Image>>,
    ephemeral_container_statuses: Option<Vec<Image>>,
}

/// A container, from the spec or the status.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Image {
    name: String,
    image: String,
    #[serde(rename = "containerID")]
    container_id: String,
}

fn some(text: &str) -> Option<Box<str>> {
    (!text.is_empty()).then(|| text.into())
}

fn all(lists: [&Option<Vec<Image>>; 3]) -> impl Iterator<Item = &Image> {
    lists.into_iter().flatten().flatten()
}

impl Object {
    /// The id in its cgroup path.
    pub fn key(&self) -> &str {
        let of_file = self.metadata.annotations.as_ref();
        let hash = of_file.and_then(|all| all.get(MIRROR));
        // Never the UID of another pod, which has hyphens.
        let is_hash =
            |hash: &&String| hash.len() == 32 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
        hash.filter(is_hash).unwrap_or(&self.metadata.uid)
    }

    /// Converts it, with these labels; `None` for a pod of another node.
    pub fn members(&self, node: &str, labels: &[String]) -> Option<Members> {
        let spec = self.spec.as_ref()?;
        if spec.node_name != node || self.key().is_empty() {
            return None;
        }
        let of = &self.metadata;
        let label = |name: &str| of.labels.as_ref()?.get(name).map(String::as_str);
        let chosen = labels.iter().filter_map(|name| {
            let value = label(name)?;
            Some(format!("{name}={value}").into())
        });
        let pod = Pod {
            uid: self.key().into(),
            name: some(&of.name),
            namespace: some(&of.namespace),
            owner: self.owner(label(TEMPLATE_HASH)),
            node: some(node),
            labels: chosen.collect(),
            service: SERVICE.into_iter().find_map(|name| some(label(name)?)),
        };
        Some(Members { pod, containers: self.containers(spec) })
    }

    fn owner(&self, template_hash: Option<&str>) -> Option<Owner> {
        let references = self.metadata.owner_references.as_ref()?;
        let by = references.iter().find(|by| by.controller == Some(true))?;
        // A static pod is owned by its node.
        if by.kind == "Node" || by.name.is_empty() {
            return None;
        }
        let deployment = template_hash
            .filter(|_| by.kind == "ReplicaSet")
            .and_then(|hash| by.name.strip_suffix(hash)?.strip_suffix('-'));
        let (kind, name) = match deployment {
            Some(name) => ("Deployment", name),
            None => (&*by.kind, &*by.name),
        };
        Some(Owner { kind: kind.into(), name: name.into() })
    }

    /// Containers that have been started.
    fn containers(&self, spec: &Spec) -> Vec<Container> {
        let Some(status) = &self.status else { return Vec::new() };
        let wanted = |name: &str| {
            let mut all = all([&spec.containers, &spec.init_containers, &None]);
            all.find(|one| one.name == name).map(|one| &*one.image)
        };
        all([
            &status.container_statuses,
            &status.init_container_statuses,
            &status.ephemeral_container_statuses,
        ])
        .filter_map(|one| {
            let (scheme, id) = one.container_id.split_once("://")?;
            // An image with several names, or none, is reported by its hash.
            let image = match one.image.starts_with("sha256:") {
                true => wanted(&one.name).unwrap_or(&one.image),
                false => &one.image,
            };
            Some(Container {
                id: some(id)?,
                runtime: ["containerd", "cri-o", "docker"].into_iter().find(|name| *name == scheme),
                name: some(&one.name),
                image: some(image),
            })
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(json: &str) -> Option<Members> {
        let object: Object = serde_json::from_str(json).expect("a pod");
        let labels = ["app", "tier"].map(str::to_owned);
        object.members("n1", &labels)
    }

    #[test]
    fn a_pod_of_a_deployment_is_read() {
        let json = r#"{"kind":"Pod","metadata":{"name":"web-5d-x","namespace":"shop","uid":"u1","resourceVersion":"7",
            "labels":{"app":"web","pod-template-hash":"5d","app.kubernetes.io/name":"web","secret":"x"},
            "annotations":null,"managedFields":[{}],
            "ownerReferences":[{"kind":"X","name":"x"},{"kind":"ReplicaSet","name":"web-5d","controller":true}]},
            "spec":{"nodeName":"n1","containers":[{"name":"b","image":"side:2"}]},
            "status":{"containerStatuses":[
              {"name":"a","image":"web:1","containerID":"containerd://c1"},
              {"name":"b","image":"sha256:00","containerID":"containerd://c2"},
              {"name":"c","image":"late:1"}]}}"#;
        let found = members(json).expect("of this node");
        assert_eq!(&*found.pod.uid, "u1");
        assert_eq!(found.pod.name.as_deref(), Some("web-5d-x"));
        assert_eq!(found.pod.namespace.as_deref(), Some("shop"));
        let owner = found.pod.owner.expect("one");
        assert_eq!((&*owner.kind, &*owner.name), ("Deployment", "web"));
        assert_eq!(found.pod.labels, ["app=web".into()]);
        assert_eq!(found.pod.service.as_deref(), Some("web"));
        let of = |one: &Container| {
            format!("{} {:?} {:?} {:?}", one.id, one.runtime, one.name, one.image)
        };
        assert_eq!(
            found.containers.iter().map(of).collect::<Vec<_>>(),
            [
                r#"c1 Some("containerd") Some("a") Some("web:1")"#,
                r#"c2 Some("containerd") Some("b") Some("side:2")"#
            ]
        );
        assert!(members(&json.replace("n1", "n2")).is_none(), "of another node");
    }

    #[test]
    fn owners_are_as_sure_as_what_says_them() {
        for (labels, kind, name, expected) in [
            ("", "ReplicaSet", "web-5d", Some("ReplicaSet web-5d")),
            (r#""pod-template-hash":"77""#, "ReplicaSet", "web-5d", Some("ReplicaSet web-5d")),
            (r#""pod-template-hash":"5d""#, "ReplicaSet", "a-b-5d", Some("Deployment a-b")),
            ("", "StatefulSet", "db", Some("StatefulSet db")),
            ("", "Job", "backup-29", Some("Job backup-29")),
            ("", "Node", "n1", None),
        ] {
            let json = format!(
                r#"{{"metadata":{{"uid":"u","labels":{{{labels}}},
                    "ownerReferences":[{{"kind":"{kind}","name":"{name}","controller":true}}]}},
                    "spec":{{"nodeName":"n1"}}}}"#
            );
            let owner = members(&json).expect("of this node").pod.owner;
            let owner = owner.map(|owner| format!("{} {}", owner.kind, owner.name));
            assert_eq!(owner.as_deref(), expected);
        }
    }

    #[test]
    fn a_pod_from_a_file_has_its_hash_and_one_without_members_is_nobody() {
        let hash = "0123456789abcdef0123456789abcdef";
        let other = "6f1c4e5a-1b2c-4d3e-8f90-a1b2c3d4e5f6";
        // Anybody who may create a pod chooses its other annotations.
        for (name, value, key) in
            [("mirror", hash, hash), ("mirror", other, "u1"), ("hash", hash, "u1")]
        {
            let json = format!(
                r#"{{"metadata":{{"uid":"u1","name":"etcd-n1",
                    "annotations":{{"kubernetes.io/config.{name}":"{value}"}}}},
                    "spec":{{"nodeName":"n1"}}}}"#
            );
            assert_eq!(&*members(&json).expect("of this node").pod.uid, key);
        }
        for json in ["{}", r#"{"metadata":{"uid":"u"}}"#, r#"{"spec":{"nodeName":"n1"}}"#] {
            assert!(members(json).is_none(), "{json}");
        }
    }
}
