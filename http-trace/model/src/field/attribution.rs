//! The table of sending processes: the server's under ECS names, the client's under `http_trace.client`.

use std::sync::Arc;

use super::entry::Field;
use super::event::{always, field};
use super::value::{About, Kind, Value};
use crate::event::HttpEvent;
use crate::process::{Container, Owner, Pod, Process};

const OBJECT: Kind = Kind::Object;

/// The process that is being read back.
fn draft(process: &mut Option<Arc<Process>>) -> &mut Process {
    Arc::make_mut(process.get_or_insert_default())
}

fn text(text: &Option<Box<str>>) -> Option<Value<'_>> {
    text.as_deref().map(Value::word)
}

fn owned(value: Value<'static>) -> Option<Box<str>> {
    let bytes = value.into_bytes()?;
    Some(String::from_utf8_lossy(&bytes).into())
}

fn container(process: &Option<Arc<Process>>) -> Option<&Container> {
    process.as_ref()?.workload.container.as_ref()
}

fn pod(process: &Option<Arc<Process>>) -> Option<&Pod> {
    process.as_ref()?.workload.pod.as_ref()
}

fn labels(process: &Option<Arc<Process>>) -> Option<Value<'_>> {
    let labels = &pod(process)?.labels;
    let values = labels.iter().map(|label| Value::word(label));
    (!labels.is_empty()).then(|| Value::List(values.collect()))
}

fn container_draft(process: &mut Option<Arc<Process>>) -> &mut Container {
    let container = &mut draft(process).workload.container;
    container.get_or_insert_default()
}

fn pod_draft(process: &mut Option<Arc<Process>>) -> &mut Pod {
    draft(process).workload.pod.get_or_insert_default()
}

fn owner_draft(process: &mut Option<Arc<Process>>) -> &mut Owner {
    pod_draft(process).owner.get_or_insert_default()
}

/// An entry with a prefix, which rules use by its name.
macro_rules! entry {
    ($prefix:literal $name:literal, $kind:expr, $source:literal; $meaning:literal) => {
        field(concat!($prefix, $name), $kind, $source, $meaning).rules(&[concat!($prefix, $name)])
    };
}

/// The fields of one end, with a prefix.
macro_rules! end {
    ($prefix:literal, $of:ident) => {
        &[
            field(concat!($prefix, "process"), OBJECT, "", "The sending process, if it is on this host."),
            entry!($prefix "process.pid", Kind::NUMBER, "kernel"; "PID in the host's initial PID namespace.")
                .always()
                .get(|v| Some(Value::Number(v.record.$of.as_ref()?.pid.into())))
                .read(|d, v| {
                    let pid = v.number().and_then(|pid| pid.try_into().ok());
                    draft(&mut d.event.$of).pid = pid.unwrap_or(0);
                }),
            entry!($prefix "process.name", Kind::Text, "kernel"; "Name of the process (`comm`, at most 15 bytes).")
                .get(|v| text(&v.record.$of.as_ref()?.name))
                .read(|d, v| draft(&mut d.event.$of).name = owned(v)),
            entry!($prefix "process.executable", Kind::Text, "/proc";
                "Path of its executable; for other users' processes only with --executables.")
                .get(|v| text(&v.record.$of.as_ref()?.executable))
                .read(|d, v| draft(&mut d.event.$of).executable = owned(v)),
            entry!($prefix "process.command_line", Kind::Text, "/proc";
                "Its command line, redacted; only with --command-line.")
                .get(|v| text(&v.record.$of.as_ref()?.command_line))
                .read(|d, v| draft(&mut d.event.$of).command_line = owned(v)),
            entry!($prefix "process.user.id", Kind::Pattern("^[0-9]+$"), "kernel";
                "Its user id in the host's initial user namespace.")
                .get(|v| Some(Value::Made(v.record.$of.as_ref()?.user_id?.to_string().into())))
                .read(|d, v| draft(&mut d.event.$of).user_id = owned(v).and_then(|id| id.parse().ok())),
            entry!($prefix "process.user.name", Kind::Text, "/etc/passwd";
                "That user's name; absent for processes in containers and those that have exited.")
                .get(|v| text(&v.record.$of.as_ref()?.user_name))
                .read(|d, v| draft(&mut d.event.$of).user_name = owned(v)),
            entry!($prefix "service.name", Kind::Text, "cgroup";
                "systemd service, without `.service`; for a pod, its label `app.kubernetes.io/instance` or `app.kubernetes.io/name`, or the name of its owner.")
                .get(|v| v.record.$of.as_ref()?.workload.service_name().map(Value::word))
                .read(|d, v| draft(&mut d.event.$of).workload.service = owned(v)),
            entry!($prefix "container.id", Kind::Text, "cgroup";
                "Container id as used by its runtime: 64 hexadecimal digits, or a name.")
                .always()
                .get(|v| container(&v.record.$of).map(|container| Value::word(&container.id)))
                .read(|d, v| container_draft(&mut d.event.$of).id = owned(v).unwrap_or_default()),
            entry!($prefix "container.name", Kind::Text, "runtime"; "Container name; in a pod the name there.")
                .get(|v| text(&container(&v.record.$of)?.name))
                .read(|d, v| container_draft(&mut d.event.$of).name = owned(v)),
            entry!($prefix "container.image.name", Kind::Text, "runtime";
                "Image name given when the container was created, with its tag.")
                .get(|v| text(&container(&v.record.$of)?.image))
                .read(|d, v| container_draft(&mut d.event.$of).image = owned(v)),
            entry!($prefix "container.runtime", Kind::OneOf(&RUNTIMES), "cgroup"; "")
                .get(|v| container(&v.record.$of)?.runtime.map(Value::word))
                .read(|d, v| {
                    let named = |name: &&str| v.bytes() == Some(name.as_bytes());
                    container_draft(&mut d.event.$of).runtime = RUNTIMES.into_iter().find(named);
                }),
            always(concat!($prefix, "orchestrator.type"), Kind::Constant("kubernetes"), "cgroup", "")
                .get(|v| pod(&v.record.$of).map(|_| Value::word("kubernetes"))),
            always(concat!($prefix, "orchestrator.resource"), OBJECT, "", ""),
            always(concat!($prefix, "orchestrator.resource.type"), Kind::Constant("pod"), "cgroup", "")
                .get(|v| pod(&v.record.$of).map(|_| Value::word("pod"))),
            entry!($prefix "orchestrator.resource.id", Kind::Text, "cgroup"; "UID of the pod.")
                .always()
                .get(|v| pod(&v.record.$of).map(|pod| Value::word(&pod.uid)))
                .read(|d, v| pod_draft(&mut d.event.$of).uid = owned(v).unwrap_or_default()),
            entry!($prefix "orchestrator.resource.name", Kind::Text, "API server"; "Name of the pod.")
                .get(|v| text(&pod(&v.record.$of)?.name))
                .read(|d, v| pod_draft(&mut d.event.$of).name = owned(v)),
            entry!($prefix "orchestrator.resource.label", Kind::Texts(1), "API server";
                "Labels of the pod that `pod-labels` names, as `key=value`.")
                .get(|v| labels(&v.record.$of))
                .read(|d, v| {
                    let texts = v.texts().map(|text| String::from_utf8_lossy(text).into());
                    pod_draft(&mut d.event.$of).labels = texts.collect();
                }),
            field(concat!($prefix, "orchestrator.resource.parent"), OBJECT, "", "The owner of the pod."),
            entry!($prefix "orchestrator.resource.parent.type", Kind::Text, "API server";
                "`Deployment`, `StatefulSet`, `DaemonSet`, `Job` and so on.")
                .get(|v| Some(Value::word(&pod(&v.record.$of)?.owner.as_ref()?.kind)))
                .read(|d, v| owner_draft(&mut d.event.$of).kind = owned(v).unwrap_or_default()),
            entry!($prefix "orchestrator.resource.parent.name", Kind::Text, "API server";
                "Its name; for a Deployment, derived from the ReplicaSet between them.")
                .get(|v| Some(Value::word(&pod(&v.record.$of)?.owner.as_ref()?.name)))
                .read(|d, v| owner_draft(&mut d.event.$of).name = owned(v).unwrap_or_default()),
            entry!($prefix "orchestrator.namespace", Kind::Text, "API server"; "Namespace of the pod.")
                .get(|v| text(&pod(&v.record.$of)?.namespace))
                .read(|d, v| pod_draft(&mut d.event.$of).namespace = owned(v)),
            entry!($prefix "kubernetes.node.name", Kind::Text, "API server"; "Node on which the pod runs.")
                .get(|v| text(&pod(&v.record.$of)?.node))
                .read(|d, v| pod_draft(&mut d.event.$of).node = owned(v)),
        ]
    };
}

/// Container runtimes that can be recognised by the path of a cgroup.
pub const RUNTIMES: [&str; 6] =
    ["docker", "containerd", "cri-o", "podman", "lxc", "systemd-nspawn"];

pub(super) const SERVER: &[Field<HttpEvent>] = end!("", server_process);

pub(super) const CLIENT: &[Field<HttpEvent>] = end!("http_trace.client.", client_process);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Server,
    Client,
}

/// The end whose process a field describes.
pub fn end_of(field: &About) -> Option<End> {
    let is_in = |table: &[Field<HttpEvent>]| table.iter().any(|of| of.about.name == field.name);
    match (is_in(SERVER), is_in(CLIENT)) {
        (true, _) => Some(End::Server),
        (_, true) => Some(End::Client),
        _ => None,
    }
}
