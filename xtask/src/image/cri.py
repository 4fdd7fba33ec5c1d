"""Runs the container of the DaemonSet's pod through containerd's CRI, as kubelet would, in a network namespace of its
own: its security context, variables, arguments and mounts, read from the rendered manifest. A server and a client talk
over the loopback of another network namespace, as the containers of a pod do.

Arguments: the manifest, the image as an archive of OCI, its name, the file of seccomp. Run by `unshare --net --mount`.
"""

import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request

import grpc
import yaml

PAUSE = "localhost/pause:1"
NODE = 2
PORT = 9464


def message(*fields):
    """Encodes (number, value) as protobuf does: integers, texts, and messages that are encoded already."""
    out = b""
    for number, value in fields:
        if isinstance(value, str):
            value = value.encode()
        if isinstance(value, bytes):
            out += varint(number << 3 | 2) + varint(len(value)) + value
        else:
            out += varint(number << 3) + varint(int(value))
    return out


def varint(value):
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def first_text(encoded):
    """The first field of a response: an id."""
    return encoded[2:2 + encoded[1]].decode()


def tar(folder, image, name):
    """An image of one static program, as an archive that containerd imports."""
    storage = ["--storage-driver", "vfs", "--root", f"{folder}/storage", "--runroot", f"{folder}/run"]
    run("buildah", *storage, "bud", "--isolation", "chroot", "--tag", name, f"{folder}/pause")
    run("buildah", *storage, "push", "--quiet", name, f"oci-archive:{image}:{name}")


def run(*command, **more):
    done = subprocess.run(command, capture_output=True, text=True, **more)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stdout}{done.stderr}")
    return done.stdout


def wait(what, is_there, seconds=30):
    until = time.time() + seconds
    while True:
        try:
            if found := is_there():
                return found
        except (OSError, grpc.RpcError):
            pass
        if time.time() > until:
            raise SystemExit(f"waited {seconds} s for {what}")
        time.sleep(0.2)


def probe(path):
    with urllib.request.urlopen(f"http://127.0.0.1:{PORT}{path}", timeout=5) as answer:
        return answer.status == 200


def container_of(pod, config_map, folder, seccomp):
    """The message ContainerConfig of the pod's container."""
    spec = pod["containers"][0]
    known = {"status.hostIP": "127.0.0.1", "spec.nodeName": "n1"}
    variables = {}
    for variable in spec["env"]:
        if "valueFrom" in variable:
            value = known[variable["valueFrom"]["fieldRef"]["fieldPath"]]
        else:
            value = variable["value"]
            for name, known_value in variables.items():
                value = value.replace(f"$({name})", known_value)
        variables[variable["name"]] = value
    paths = {}
    for volume in pod["volumes"]:
        if "configMap" in volume:
            paths[volume["name"]] = folder / "config"
            paths[volume["name"]].mkdir()
            for name, text in config_map["data"].items():
                (paths[volume["name"]] / name).write_text(text)
        elif volume["hostPath"]["type"] == "Directory":
            paths[volume["name"]] = volume["hostPath"]["path"]
        else:
            paths[volume["name"]] = folder / "state"
            paths[volume["name"]].mkdir()
    mounts = [
        message((1, mount["mountPath"]), (2, str(paths[mount["name"]])), (3, mount.get("readOnly", False)))
        for mount in spec["volumeMounts"]
    ]
    context = spec["securityContext"]
    capabilities = context["capabilities"]
    security = message(
        (1, message(*[(1, name) for name in capabilities["add"]], *[(2, name) for name in capabilities["drop"]])),
        (2, context["privileged"]),
        (3, namespaces(pod)),
        (5, message((1, context["runAsUser"]))),
        (7, context["readOnlyRootFilesystem"]),
        (11, not context["allowPrivilegeEscalation"]),
        # containerd 1.6 lets nobody without CAP_SYS_ADMIN call bpf, which docs/KUBERNETES.md says.
        (15, message((1, 2), (2, str(seccomp)))),
    )
    # Kubelet's units: bytes, and shares of 1024 a CPU.
    resources = message((3, 51), (4, 512 << 20))
    return message(
        (1, message((1, spec["name"]))),
        (2, message((1, spec["image"]))),
        *[(4, argument) for argument in spec["args"]],
        *[(6, message((1, name), (2, value))) for name, value in variables.items()],
        *[(7, mount) for mount in mounts],
        (11, "http-trace.log"),
        (15, message((1, resources), (2, security))),
    )


def namespaces(pod):
    """NamespaceOption; the pod's own are 0, its container's 1."""
    return message((1, NODE if pod["hostNetwork"] else 0), (2, NODE if pod.get("hostPID") else 1))


def main(manifest, archive, name, seccomp):
    folder = pathlib.Path(tempfile.mkdtemp())
    documents = list(yaml.safe_load_all(pathlib.Path(manifest).read_text()))
    pod = next(d for d in documents if d["kind"] == "DaemonSet")["spec"]["template"]["spec"]
    config_map = next(d for d in documents if d["kind"] == "ConfigMap")
    run("ip", "link", "set", "lo", "up")
    (folder / "pause").mkdir()
    (folder / "pause/pause.c").write_text("#include <unistd.h>\nint main(void) { for (;;) pause(); }\n")
    run("gcc", "-static", "-O", "-o", str(folder / "pause/pause"), str(folder / "pause/pause.c"))
    (folder / "pause/Containerfile").write_text('FROM scratch\nCOPY pause /pause\nENTRYPOINT ["/pause"]\n')
    tar(folder, folder / "pause.tar", PAUSE)
    socket = folder / "containerd.sock"
    (folder / "containerd.toml").write_text(f'''version = 2
root = "{folder}/root"
state = "{folder}/containerd"
[grpc]
address = "{socket}"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{PAUSE}"
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "native"
''')
    log = open(folder / "containerd.log", "w")
    containerd = subprocess.Popen(["containerd", "--config", folder / "containerd.toml"], stdout=log, stderr=log)
    stop = []
    try:
        channel = grpc.insecure_channel(f"unix:{socket}")

        def call(method, request, service="RuntimeService"):
            return channel.unary_unary(f"/runtime.v1.{service}/{method}")(request, timeout=60)

        wait("containerd", lambda: call("Version", message()))
        for image in (folder / "pause.tar", archive):
            run("ctr", "--address", str(socket), "--namespace", "k8s.io", "images", "import",
                "--snapshotter", "native", str(image))
        sandbox_config = message(
            (1, message((1, "http-trace"), (2, "6f1c4e5a-1b2c-4d3e-8f90-0000000000aa"), (3, "http-trace"))),
            (3, str(folder)),
            (8, message((2, message((1, namespaces(pod)))))),
        )
        sandbox = first_text(call("RunPodSandbox", message((1, sandbox_config))))
        stop.append(lambda: call("RemovePodSandbox", message((1, sandbox))))
        stop.append(lambda: call("StopPodSandbox", message((1, sandbox))))
        profile = folder / "seccomp.json"
        shutil.copy(seccomp, profile)
        config = container_of(pod, config_map, folder, profile)
        container = first_text(call("CreateContainer", message((1, sandbox), (2, config), (3, sandbox_config))))
        call("StartContainer", message((1, container)))
        written = folder / "http-trace.log"
        try:
            wait("/readyz", lambda: probe("/readyz"))
        except SystemExit as late:
            raise SystemExit(f"{late}\n{written.read_text() if written.exists() else ''}")
        assert probe("/healthz") and probe("/metrics")
        talk = ("ip link set lo up; python3 -m http.server --bind 127.0.0.1 8080 >/dev/null 2>&1 & server=$!;"
                " until curl -so /dev/null http://127.0.0.1:8080/; do sleep 0.1; done;"
                " for n in $(seq 20); do curl -so /dev/null http://127.0.0.1:8080/$0-$n; done; kill $server")
        for word, apart in (("node", []), ("sidecar", ["unshare", "--net"])):
            run(*apart, "sh", "-c", talk, word)

        def events(word):
            # As CRI logs: time, stream, F or P, text; a long line comes in parts.
            text = "".join(line.split(" ", 3)[3].rstrip("\n") + ("\n" if line.split(" ", 3)[2] == "F" else "")
                           for line in written.open() if line.count(" ") >= 3)
            lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
            return [line for line in lines if line.get("url", {}).get("original", "").startswith(f"/{word}-")
                    and line["event"]["kind"] == "event"]

        for word in ("node", "sidecar"):
            wait(f"20 events of {word}", lambda: len(events(word)) == 20)
            named = sum(event.get("process", {}).get("name") == "python3" for event in events(word))
            print(f"{word}: 20 of 20 errors written, {named} with the server's process")
            assert named >= 19, events(word)[0]
        call("StopContainer", message((1, container), (2, 10)))
    except BaseException:
        log.flush()
        print((folder / "containerd.log").read_text()[-2000:])
        raise
    finally:
        for step in reversed(stop):
            try:
                step()
            except grpc.RpcError as error:
                print("containerd:", error.details())
        containerd.terminate()
        containerd.wait(30)
        subprocess.run(["umount", "-R", folder / "containerd"], capture_output=True)
        shutil.rmtree(folder, ignore_errors=True)


main(*sys.argv[1:])
