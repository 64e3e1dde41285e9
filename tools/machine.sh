#!/usr/bin/env bash
# machine.sh KERNEL-DIR COMMAND...: run a command as root under another kernel (tools/kernels.sh), in an emulated machine whose tree of
# files is this one's. What the command writes stays in that machine's memory, but for its output; its exit status is this one's.
#
# MACHINE_SECONDS (600) limits how long it may take, MACHINE_MEMORY (2G) is what the machine has; MACHINE_LOG=FILE keeps what the kernel said.
set -euo pipefail
[ $# -ge 2 ] || { echo "usage: machine.sh KERNEL-DIR COMMAND..." >&2; exit 2; }
kernel=$(realpath "$1"); shift
here=$(dirname "$(realpath "$0")")

work=$(mktemp -d)
qemu= out= err=
# timeout leads a group of its own, with what it started
trap '[ -z "$qemu" ] || kill -9 -- -$qemu $out $err 2>/dev/null || true; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP

mkdir -p "$work/root/modules"
"${CC:-cc}" -static -O1 -Wall -o "$work/root/init" "$here/machine.c"
cp "$kernel"/*.ko "$work/root/modules"
printf '%s\0' "$@" >"$work/root/command"
printf '%s\0' "$PWD" >"$work/root/folder"
env -0 >"$work/root/environment"
(cd "$work/root" && find . | cpio --quiet -o -H newc) >"$work/initramfs"

# pipes, as qemu would truncate a file and begin at its start
mkfifo "$work/out" "$work/err"
cat "$work/out" & out=$!
cat "$work/err" >&2 & err=$!
log=${MACHINE_LOG:-$work/log}
timeout -k 5 "${MACHINE_SECONDS:-600}" qemu-system-x86_64 -nodefaults -no-user-config -display none -no-reboot -net none \
	-accel tcg,thread=single -cpu max -smp 2 -m "${MACHINE_MEMORY:-2G}" \
	-kernel "$kernel/vmlinuz" -initrd "$work/initramfs" \
	-append "console=ttyS0 oops=panic panic=-1 reboot=t mitigations=off nokaslr audit=0 no_timer_check tsc=reliable loglevel=5 cryptomgr.notests hugepages=8" \
	-serial "file:$log" \
	-virtfs local,path=/,mount_tag=root,security_model=none,readonly=on,multidevs=remap \
	-device virtio-serial-pci \
	-chardev "file,path=$work/out,id=out" -device virtserialport,chardev=out,nr=1 \
	-chardev "file,path=$work/err,id=err" -device virtserialport,chardev=err,nr=2 \
	-chardev "file,path=$work/status,id=status" -device virtserialport,chardev=status,nr=3 \
	</dev/null >"$work/qemu" 2>&1 &
qemu=$!
ended=0
wait $qemu || ended=$?
qemu=
# had it never begun, nobody would have opened them
: <>"$work/out" <>"$work/err"
wait $out $err
status=$(cat "$work/status" 2>/dev/null || true)
[ -n "$status" ] && exit "$status"
{
	[ $ended != 124 ] && [ $ended != 137 ] || echo "machine.sh: not done after ${MACHINE_SECONDS:-600} s"
	cat "$work/qemu"
	tail -n 40 "$log" 2>/dev/null || true
	echo "machine.sh: the machine ended without an exit status"
} >&2
exit 125
