# Runs deploy/compose.yaml by docker-compose, with podman's service in the place of docker's, in a network namespace of its
# own. Arguments: the folder deploy, the image, podman's storage.
deploy=$1 image=$2 storage=$3
work=$(mktemp -d)
cat >"$work/containers.conf" <<END
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
cgroup_manager = "cgroupfs"
runtime = "runc"
END
cat >"$work/storage.conf" <<END
[storage]
driver = "vfs"
graphroot = "$storage/storage"
runroot = "$storage/run"
END
export CONTAINERS_CONF="$work/containers.conf" CONTAINERS_STORAGE_CONF="$work/storage.conf"
# Podman 4.3 takes no text of a profile; its own lets nobody without CAP_SYS_ADMIN call bpf.
export HTTP_TRACE_SECCOMP=unconfined
export DOCKER_HOST="unix://$work/podman.sock" HTTP_TRACE_IMAGE="$image"
ip link set lo up
podman system service --time 0 "$DOCKER_HOST" >"$work/podman.log" 2>&1 &
service=$!
python3 -m http.server --bind 127.0.0.1 8080 >/dev/null 2>&1 &
server=$!
cd "$deploy"
compose() { docker-compose --project-name http-trace-check "$@"; }
end() {
    compose down --volumes >"$work/down.log" 2>&1 || cat "$work/down.log"
    kill "$server" "$service"
    rm -r "$work"
}
trap end EXIT
for _ in $(seq 50); do
    [ -S "$work/podman.sock" ] && break
    sleep 0.1
done
compose up --detach >"$work/up.log" 2>&1 || { cat "$work/up.log" "$work/podman.log"; exit 1; }
ready() { curl --silent --fail --output /dev/null http://127.0.0.1:9464/readyz; }
for _ in $(seq 150); do
    ready && break
    sleep 0.2
done
ready || { compose logs; echo "xtask: not ready after 30 s"; exit 1; }
for nth in $(seq 20); do
    curl --silent --output /dev/null "http://127.0.0.1:8080/missing-$nth"
done
log() { podman logs http-trace-check_http-trace_1 2>&1; }
count() { log | grep '"kind":"event".*"original":"/missing-' | grep -c '"process":{[^}]*"name":"python3"' || true; }
for _ in $(seq 50); do
    [ "$(count)" -ge 20 ] && break
    sleep 0.2
done
echo "compose: $(count) of 20 errors written with the server's process"
[ "$(count)" -ge 19 ] || { log | tail -5; exit 1; }
