# Runs the image as the DaemonSet's pod: its capabilities, a read-only root, host network (here a namespace of its own),
# and the seccomp profile in $SECCOMP. Arguments: the settings, the image, podman and its options.
config=$1 image=$2
shift 2
work=$(mktemp -d)
ip link set lo up
mkdir "$work/www" "$work/state"
echo here >"$work/www/here"
python3 -m http.server --bind 127.0.0.1 --directory "$work/www" 8080 >/dev/null 2>&1 &
server=$!
container=
end() {
    kill "$server"
    [ -z "$container" ] || "$@" rm --force "$container" >/dev/null
    rm -r "$work"
}
trap 'end "$@"' EXIT
container=$("$@" --cgroup-manager cgroupfs run --runtime /usr/sbin/runc --detach --network host --pid host --read-only \
    --ulimit nofile=1024:1024 --ulimit nproc=1024:1024 \
    --security-opt no-new-privileges \
    --cap-drop all --cap-add BPF,NET_ADMIN,PERFMON,NET_RAW,SYS_NICE \
    --security-opt seccomp="$SECCOMP" \
    --volume "$config:/etc/http-trace/http-trace.toml:ro" --volume /sys/fs/cgroup:/sys/fs/cgroup:ro \
    --volume "$work/state:/var/lib/http-trace" \
    --env HTTP_TRACE_LISTEN=127.0.0.1:9464 \
    "$image" --quiet --config /etc/http-trace/http-trace.toml)
ready() { curl --silent --fail --output /dev/null http://127.0.0.1:9464/readyz; }
for _ in $(seq 150); do
    ready && break
    sleep 0.2
done
ready || { "$@" logs "$container"; echo "xtask: not ready after 30 s"; exit 1; }
for nth in $(seq 20); do
    curl --silent --output /dev/null "http://127.0.0.1:8080/missing-$nth"
    curl --silent --output /dev/null http://127.0.0.1:8080/here
    curl --silent --output /dev/null --user-agent kube-probe/1.32 http://127.0.0.1:8080/probed
done
seen() { "$@" logs "$container" 2>/dev/null | grep -c '"kind":"event".*"original":"/missing-' || true; }
for _ in $(seq 50); do
    [ "$(seen "$@")" -ge 20 ] && break
    sleep 0.2
done
sleep 1
pid=$("$@" inspect --format '{{.State.Pid}}' "$container")
grep -E '^(CapEff|NoNewPrivs|Seccomp):' "/proc/$pid/status"
curl --silent http://127.0.0.1:9464/metrics | grep -E '^http_trace_responses_total' | head -3 || true
curl --silent http://127.0.0.1:9464/metrics | promtool check metrics
"$@" stop --time 10 "$container" >/dev/null
events=$(seen "$@")
others=$("$@" logs "$container" 2>/dev/null | grep -c '"kind":"event".*"original":"/\(here\|probed\)"' || true)
echo "$events of 20 errors written, $others others"
# Of a thread, as each of the server's answers comes from one, the kernel does not say what its process is called; /proc does.
named=$("$@" logs "$container" 2>/dev/null | grep '"original":"/missing-' | grep -c '"process":{[^}]*"name":"python3"' || true)
echo "$named of 20 name the server's process"
[ "$events" = 20 ] && [ "$others" = 0 ] && [ "$named" -ge 19 ] || { "$@" logs "$container" | tail -5; exit 1; }
