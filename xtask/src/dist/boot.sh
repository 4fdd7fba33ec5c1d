# Boots systemd in namespaces of its own, on a copy of this machine's root that is in memory and ends with it, and runs
# a script there. In the copy of the process that `unshare --fork --pid --mount --net --uts --ipc --cgroup` starts.
# Arguments: a folder that is /check there, too.
folder=$1
mount --make-rprivate /
root=$folder/root
mkdir -p "$root"
mount -t tmpfs tmpfs "$root"
mkdir "$root/upper" "$root/work" "$root/merged"
mount -t overlay -o "lowerdir=/,upperdir=$root/upper,workdir=$root/work" overlay "$root/merged"
cd "$root/merged"
mkdir -p check old
mount --bind "$folder" check
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=755 tmpfs dev
for device in null zero full random urandom tty; do
    touch "dev/$device"
    mount --bind "/dev/$device" "dev/$device"
done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
mount -t tmpfs tmpfs dev/shm
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
pivot_root . old
umount -l /old
# No service of this machine, and nothing that keeps a new one from starting.
rm -rf etc/systemd/system/*.wants etc/systemd/system/http-trace.service usr/sbin/policy-rc.d
: >etc/machine-id
exec env -i container=http-trace PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd --system --unit=multi-user.target --log-target=null --show-status=0
