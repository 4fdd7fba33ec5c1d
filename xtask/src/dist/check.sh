# Checks a Debian package under systemd, in namespaces of its own on a copy of this machine's root.
# Arguments: the package, and the folder of this script.
package=$1 scripts=$2
work=$(mktemp -d)
group=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)/http-trace-dist-$$
mkdir "$group"
booted=
end() {
    [ -z "$booted" ] || kill -KILL "$booted" 2>/dev/null || true
    # Processes that have just ended still count for a moment.
    for _ in $(seq 50); do
        find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || true
        [ -d "$group" ] || break
        sleep 0.1
    done
    rm -r "$work" 2>/dev/null || true
}
trap end EXIT
cp "$package" "$work/new.deb"
cp "$scripts/check.py" "$work"
# The same with an older version is what is upgraded.
dpkg-deb --raw-extract "$package" "$work/older"
sed -i 's/^Version: .*/Version: 0.0.1-1/' "$work/older/DEBIAN/control"
dpkg-deb --build "$work/older" "$work/old.deb" >/dev/null
rm -r "$work/older"
sh -c 'echo 0 >"$0/cgroup.procs"; exec unshare --fork --kill-child --pid --mount --net --uts --ipc --cgroup bash -eu "$@"' \
    "$group" "$scripts/boot.sh" "$work" >"$work/boot.log" 2>&1 &
unshare=$!
for _ in $(seq 100); do
    booted=$(pgrep --parent "$unshare" || true)
    [ -n "$booted" ] && [ "$(cat "/proc/$booted/comm")" = systemd ] && break
    sleep 0.1
done
inside() { nsenter --target "$booted" --mount --pid --net --uts --ipc --cgroup --root --wd=/ "$@"; }
for _ in $(seq 300); do
    state=$(inside systemctl is-system-running 2>/dev/null || true)
    case $state in running | degraded) break ;; esac
    sleep 0.1
done
case $state in running | degraded) ;; *) cat "$work/boot.log"; echo "systemd does not start here: $state"; exit 1 ;; esac
inside ip link set lo up
inside env PATH=/usr/sbin:/usr/bin:/sbin:/bin python3 /check/check.py /check/new.deb /check/old.deb
