#!/bin/sh
# deps.sh build|check|demo|lint...: install the Debian packages that these need and that are not there yet.
set -eu

packages=
for purpose; do
	case $purpose in
	build) packages="$packages gcc libc6-dev pkg-config libglib2.0-dev libjson-glib-dev libsqlite3-dev libncurses-dev libelf-dev libdw-dev libzstd-dev libseccomp-dev libcap-ng-dev libmicrohttpd-dev libsystemd-dev" ;;
	check) packages="$packages perl python3 python3-pytest python3-numpy python3-pandas ipython3 tmux sqlite3 gdb qemu-system-x86 cpio xz-utils" ;;
	bench)
		packages="$packages austin gdb python3-dbg python3-numpy python3-objgraph"
		# not in every Debian; what it lacks the benchmarks leave out, and say so
		! apt-cache show python3-pympler >/dev/null 2>&1 || packages="$packages python3-pympler"
		;;
	demo) packages="$packages python3" ;;
	fuzz) packages="$packages clang" ;;
	lint) packages="$packages clang-format clang-tidy cppcheck" ;;
	*) echo "deps.sh: unknown purpose: $purpose" >&2; exit 2 ;;
	esac
done

# what counts is that the thing works, wherever it came from
have() {
	case $1 in
	gcc) command -v "${CC:-cc}" ;;
	libc6-dev) [ -e /usr/include/stdio.h ] ;;
	pkg-config) command -v pkg-config ;;
	libglib2.0-dev) pkg-config --atleast-version 2.74 glib-2.0 ;;
	libjson-glib-dev) pkg-config --exists json-glib-1.0 ;;
	libsqlite3-dev) pkg-config --atleast-version 3.35 sqlite3 ;;
	libncurses-dev) pkg-config --exists ncursesw ;;
	libelf-dev) pkg-config --exists libelf ;;
	libdw-dev) pkg-config --exists libdw ;;
	libzstd-dev) pkg-config --exists libzstd ;;
	libseccomp-dev) pkg-config --exists libseccomp ;;
	libcap-ng-dev) pkg-config --exists libcap-ng ;;
	libmicrohttpd-dev) pkg-config --exists libmicrohttpd ;;
	libsystemd-dev) pkg-config --exists libsystemd ;;
	perl) command -v prove ;;
	python3-pytest-xdist) [ -e /usr/lib/python3/dist-packages/xdist ] ;;
	python3-pytest) [ -x /usr/bin/pytest-3 ] || python3 -m pytest --version ;;
	python3-numpy) [ -d /usr/lib/python3/dist-packages/numpy ] ;;
	python3-objgraph) [ -e /usr/lib/python3/dist-packages/objgraph.py ] ;;
	python3-pympler) [ -d /usr/lib/python3/dist-packages/pympler ] ;;
	python3-pandas) [ -d /usr/lib/python3/dist-packages/pandas ] ;;
	qemu-system-x86) command -v qemu-system-x86_64 ;;
	xz-utils) command -v xz ;;
	python3-dbg) ls /usr/share/gdb/auto-load/usr/bin/python3*-gdb.py ;;
	*) command -v "$1" ;;
	esac >/dev/null 2>&1
}

missing=
for package in $packages; do
	have "$package" || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null; then
	echo "deps.sh: please install what your distribution calls:$missing" >&2
	exit 1
fi
root=
if [ "$(id -u)" != 0 ]; then
	if ! command -v sudo >/dev/null; then
		echo "deps.sh: please run as root: apt-get install$missing" >&2
		exit 1
	fi
	root=sudo
fi
echo "installing:$missing"
$root apt-get update -q
$root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing
