#!/bin/bash
# The first process of a test-bed. The machine's files are the root, read only; what is written goes to memory, or
# to the shared folder. The kernel's command line arrives as variables:
#   bed_share    where the shared folder is: hostfs:PATH or 9p:TAG
#   bed_modules  the folder that has lib/modules of this kernel
export PATH=/run/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/run/home TMPDIR=/run/tmp LANG=C.UTF-8
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/{bin,home,tmp,netns,share,lock}
mount -t devtmpfs devtmpfs /dev 2>/dev/null
mkdir -p /dev/pts /dev/shm 2>/dev/null
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
case $bed_share in
  hostfs:*) mount -t hostfs none /run/share -o "${bed_share#hostfs:}" ;;
  9p:*) mount -t 9p -o trans=virtio,version=9p2000.L,msize=131072 "${bed_share#9p:}" /run/share ;;
esac
mount -t bpf bpf /sys/fs/bpf 2>/dev/null
mount -t cgroup2 cgroup2 /sys/fs/cgroup
# As systemd does it.
echo '+cpu +memory +pids' >/sys/fs/cgroup/cgroup.subtree_control 2>/dev/null
mount -t tracefs tracefs /sys/kernel/tracing 2>/dev/null

# Modules come from where their package was unpacked, also those that the kernel asks for by itself.
printf '#!/bin/bash\nexec /usr/sbin/modprobe -d %q "$@"\n' "$bed_modules" >/run/bin/modprobe
chmod 755 /run/bin/modprobe
[ ! -e /proc/sys/kernel/modprobe ] || echo /run/bin/modprobe >/proc/sys/kernel/modprobe
# As systemd does it, too: its module comes with the first who opens it.
[ -e /dev/net/tun ] || { mkdir -p /dev/net && mknod -m 666 /dev/net/tun c 10 200; } 2>/dev/null

truncate -s 900M /run/disk; mkfs.ext4 -q -F /run/disk; modprobe loop; modprobe ext4; mount -o loop /run/disk /run/tmp || echo "no ext4" >&2
ip link set lo up
mapfile -d '' -t argv </run/share/argv
cd "$(</run/share/folder)" || exit
PATH=$PWD/node_modules/.bin:$PATH
"${argv[@]}" </dev/null >>/run/share/log 2>&1
echo $? >/run/share/code
sync
echo o >/proc/sysrq-trigger
# A kernel without that key panics when its first process ends, and a bed ends with it.
sleep 2
