//! The table of who sent: the server's end under the names of ECS, the client's under `http_trace.client`.

use std::sync::Arc;

use super::entry::Field;
use super::event::field;
use super::value::{Kind, Value};
use crate::event::HttpEvent;
use crate::process::{Container, Process};

const OBJECT: Kind = Kind::Object;

/// A process that is read back.
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

fn runtime(process: &Option<Arc<Process>>) -> Option<Value<'_>> {
    let container = process.as_ref()?.workload.container.as_ref()?;
    container.runtime.map(Value::word)
}

/// A word about a process that runs in a pod.
fn in_pod<'a>(process: &'a Option<Arc<Process>>, word: &'static str) -> Option<Value<'a>> {
    process.as_ref()?.workload.pod.as_ref()?;
    Some(Value::word(word))
}

/// The fields of one end, after a prefix.
macro_rules! end {
    ($prefix:literal, $of:ident) => {
        &[
            field(
                concat!($prefix, "process"),
                OBJECT,
                "",
                "Who sent, where it is a process of this host.",
            ),
            field(
                concat!($prefix, "process.pid"),
                Kind::NUMBER,
                "kernel",
                "Number of the process in the host's first PID namespace.",
            )
            .always()
            .rules(&[concat!($prefix, "process.pid")])
            .get(|v| Some(Value::Number(v.record.$of.as_ref()?.pid.into())))
            .read(|d, v| {
                draft(&mut d.event.$of).pid =
                    v.number().and_then(|pid| pid.try_into().ok()).unwrap_or(0)
            }),
            field(
                concat!($prefix, "process.name"),
                Kind::Text,
                "kernel",
                "Name of the process (`comm`, 15 bytes at most).",
            )
            .rules(&[concat!($prefix, "process.name")])
            .get(|v| text(&v.record.$of.as_ref()?.name))
            .read(|d, v| draft(&mut d.event.$of).name = owned(v)),
            field(
                concat!($prefix, "process.executable"),
                Kind::Text,
                "/proc",
                "File that it runs; of another user's process only with --executables.",
            )
            .rules(&[concat!($prefix, "process.executable")])
            .get(|v| text(&v.record.$of.as_ref()?.executable))
            .read(|d, v| draft(&mut d.event.$of).executable = owned(v)),
            field(concat!($prefix, "process.user"), OBJECT, "", ""),
            field(
                concat!($prefix, "process.user.id"),
                Kind::Pattern("^[0-9]+$"),
                "kernel",
                "Number of its user in the host's first user namespace.",
            )
            .rules(&[concat!($prefix, "process.user.id")])
            .get(|v| {
                Some(Value::Made(
                    v.record.$of.as_ref()?.user_id?.to_string().into_bytes(),
                ))
            })
            .read(|d, v| draft(&mut d.event.$of).user_id = owned(v).and_then(|id| id.parse().ok())),
            field(
                concat!($prefix, "process.user.name"),
                Kind::Text,
                "/etc/passwd",
                "That user's name; not of a process in a container.",
            )
            .rules(&[concat!($prefix, "process.user.name")])
            .get(|v| text(&v.record.$of.as_ref()?.user_name))
            .read(|d, v| draft(&mut d.event.$of).user_name = owned(v)),
            field(concat!($prefix, "service"), OBJECT, "", ""),
            field(
                concat!($prefix, "service.name"),
                Kind::Text,
                "cgroup",
                "systemd service, without `.service`.",
            )
            .rules(&[concat!($prefix, "service.name")])
            .get(|v| text(&v.record.$of.as_ref()?.workload.service))
            .read(|d, v| draft(&mut d.event.$of).workload.service = owned(v)),
            field(concat!($prefix, "container"), OBJECT, "", ""),
            field(
                concat!($prefix, "container.id"),
                Kind::Text,
                "cgroup",
                "As its runtime has it: 64 hexadecimal digits, or a name.",
            )
            .always()
            .rules(&[concat!($prefix, "container.id")])
            .get(|v| {
                Some(Value::word(
                    &v.record.$of.as_ref()?.workload.container.as_ref()?.id,
                ))
            })
            .read(|d, v| {
                let id = owned(v).unwrap_or_default();
                draft(&mut d.event.$of).workload.container = Some(Container { id, runtime: None });
            }),
            field(
                concat!($prefix, "container.runtime"),
                Kind::OneOf(&RUNTIMES),
                "cgroup",
                "",
            )
            .rules(&[concat!($prefix, "container.runtime")])
            .get(|v| runtime(&v.record.$of))
            .read(|d, v| {
                let named = RUNTIMES
                    .into_iter()
                    .find(|name| v.bytes() == Some(name.as_bytes()));
                if let Some(container) = &mut draft(&mut d.event.$of).workload.container {
                    container.runtime = named;
                }
            }),
            field(concat!($prefix, "orchestrator"), OBJECT, "", ""),
            field(
                concat!($prefix, "orchestrator.type"),
                Kind::Constant("kubernetes"),
                "cgroup",
                "",
            )
            .always()
            .get(|v| in_pod(&v.record.$of, "kubernetes")),
            field(concat!($prefix, "orchestrator.resource"), OBJECT, "", "").always(),
            field(
                concat!($prefix, "orchestrator.resource.type"),
                Kind::Constant("pod"),
                "cgroup",
                "",
            )
            .always()
            .get(|v| in_pod(&v.record.$of, "pod")),
            field(
                concat!($prefix, "orchestrator.resource.id"),
                Kind::Text,
                "cgroup",
                "UID of the pod.",
            )
            .always()
            .rules(&[concat!($prefix, "orchestrator.resource.id")])
            .get(|v| text(&v.record.$of.as_ref()?.workload.pod))
            .read(|d, v| draft(&mut d.event.$of).workload.pod = owned(v)),
        ]
    };
}

/// Container runtimes that name themselves in the path of a cgroup.
pub const RUNTIMES: [&str; 6] = [
    "docker",
    "containerd",
    "cri-o",
    "podman",
    "lxc",
    "systemd-nspawn",
];

/// Who answered.
pub(super) const SERVER: &[Field<HttpEvent>] = end!("", server_process);

/// Who asked.
pub(super) const CLIENT: &[Field<HttpEvent>] = end!("http_trace.client.", client_process);
