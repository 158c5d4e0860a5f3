#!/usr/bin/env bash
# The pool on persistent memory: a small virtual machine, half of whose memory is declared persistent (and lies in a
# file of this machine), an ext4 file system mounted with DAX on it, and EagleDB in that. The machine's power is cut under load, several times over; each time the pool must be
# taken up again by the next boot, with every acknowledged write.
#
# usage: tests/dax/run.sh [CUTS]      (default 5)
#   EAGLEDB_BIN  the server binary; by default the ci profile is built
#
# Needs root to install qemu, a kernel package and busybox through apt. Where the virtual machine cannot run, says so
# and ends well. What the emulation does not show: a cache that loses lines; for that there is the simulated medium
# (eagle-core/src/pmem/sim.rs).
set -euo pipefail
cd "$(dirname "$0")"
cuts=${1:-5}
work=$PWD/../../target/dax
mkdir -p "$work"

skip() {
  echo "skipped: $*"
  exit 0
}

[[ $(uname -m) == x86_64 ]] || skip "the virtual machine is an x86-64 one"
for tool in qemu-system-x86_64 busybox cpio mkfs.ext4 depmod python3; do
  command -v $tool >/dev/null || missing=yes
done
if [[ ${missing:-} ]]; then
  ((EUID == 0)) || skip "qemu is not installed, and installing it takes root"
  apt-get -qq update
  DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-install-recommends \
    qemu-system-x86 busybox-static cpio e2fsprogs kmod python3 || skip "qemu cannot be installed"
fi
if [[ -z ${EAGLEDB_BIN:-} ]]; then
  (cd ../.. && cargo build --package eagledb --profile ci)
  EAGLEDB_BIN=$PWD/../../target/ci/eagledb
fi

# A kernel as the distribution packages it, unpacked and not installed.
if ! compgen -G "$work/kernel/boot/vmlinuz-*" >/dev/null; then
  package=$(apt-cache depends linux-image-amd64 | sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
  [[ $package ]] || skip "the distribution has no kernel package"
  (cd "$work" && apt-get -qq download "$package" 2>/dev/null) || skip "the kernel package cannot be fetched"
  dpkg-deb --extract "$work/$package"*.deb "$work/kernel"
fi
kernel=$(compgen -G "$work/kernel/boot/vmlinuz-*" | head -n 1)
version=${kernel##*/vmlinuz-}
depmod --basedir "$work/kernel" "$version"

# The first file system: busybox, the modules needed, the server and its libraries.
root=$work/root
rm -rf "$root"
mkdir -p "$root"/{bin,dev,proc,sys,mnt,lib64,"lib/modules/$version"}
cp "$(command -v busybox)" "$root/bin/busybox"
for applet in sh mount modprobe ifconfig poweroff sleep cat; do
  ln -s busybox "$root/bin/$applet"
done
modules=(virtio_pci virtio_net libnvdimm nd_e820 nd_pmem crc32c_generic ext4)
for module in "${modules[@]}"; do
  modprobe --dirname "$work/kernel" --set-version "$version" --show-depends "$module" |
    sed -n 's/^insmod \([^ ]*\).*/\1/p'
done | sort -u | while read -r file; do
  install -D "$file" "$root/lib/modules/$version/${file#*"/$version/"}"
done
cp "$work/kernel/lib/modules/$version"/modules.{builtin,builtin.modinfo,order} "$root/lib/modules/$version/"
depmod --basedir "$root" "$version"
cp "$EAGLEDB_BIN" "$root/bin/eagledb"
ldd "$EAGLEDB_BIN" | grep -o '/[^ ]*' | while read -r library; do
  install -D "$library" "$root/$library"
done
cat >"$root/init" <<INIT
#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for module in ${modules[*]}; do modprobe \$module; done
ifconfig lo up
ifconfig eth0 10.0.2.15 netmask 255.255.255.0 up
mount -t ext4 -o dax=always /dev/pmem0 /mnt || poweroff -f
eagledb --port 6379 --bind 0.0.0.0 --protected-mode no --dir /mnt --save "" --pool-size 256mb
poweroff -f
INIT
chmod +x "$root/init"
(cd "$root" && find . | cpio --quiet --create --format=newc) >"$work/root.cpio"

# The machine's memory, 1 GiB; what lies between 256 and 768 MiB is persistent (see cuts.py).
rm -f "$work/memory" "$work/disk"
truncate --size 1G "$work/memory"
truncate --size 512M "$work/disk"
mkfs.ext4 -q -b 4096 "$work/disk"
dd if="$work/disk" of="$work/memory" bs=1M seek=256 conv=notrunc,sparse status=none

python3 cuts.py "$kernel" "$work" "$cuts" || {
  code=$?
  ((code == 77)) && skip "the virtual machine did not start (see $work/console)"
  tail -n 30 "$work/console"
  exit $code
}
# The server was shut down at last, so the pool is closed cleanly and can be looked at from outside.
dd if="$work/memory" of="$work/disk" bs=1M skip=256 count=512 status=none
debugfs -R "dump /eagle.pool $work/eagle.pool" "$work/disk" 2>/dev/null
"$EAGLEDB_BIN" pool check "$work/eagle.pool"
