#!/usr/bin/env bash
# layouts.sh LAYOUTS: write symbols/layouts/*.inc from the interpreters at hand: pyenv's, and those of the Debian suites that
# tools/rootfs.sh unpacked into .cache/rootfs-SUITE. What isn't at hand keeps its table.
#
# A build there is no interpreter of is made of headers (tools/headers.c compiled with its macros); what headers don't show is taken
# from the release of the same version, objects' fields moved by what the object header grew. Tables of a minor version's variants
# hold only the differences from the first.
set -euo pipefail
shopt -s nullglob
layouts=$(realpath "$1")
cd "$(dirname "$0")/.."
tables=symbols/layouts
pyenv=${PYENV_ROOT:-$HOME/.pyenv}/versions
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# table NAME BASES TITLE FILE...
table() {
	local name=$1 bases=$2 title=$3 options=() base
	shift 3
	for base in $bases; do options+=(-b "$tables/$base.inc"); done
	if [ ! -e "$1" ]; then
		echo "skipped $name: CPython $title isn't at hand"
		return
	fi
	"$layouts" -t "CPython $title" -o "$tables/$name.inc" "${options[@]}" "$@"
	echo "wrote $tables/$name.inc: $(grep -c '^\.' "$tables/$name.inc") fields"
}

# headers FILE INCLUDE... -- MACRO...: the structures that headers show
headers() {
	local out=$1 includes=() macros=()
	shift
	while [ "$1" != -- ]; do includes+=("-I$1" "-I$1/internal"); shift; done
	shift
	macros=("$@")
	${CC:-cc} -std=gnu11 -w -g -O0 -fno-eliminate-unused-debug-types -shared -fPIC -nostdlib -o "$out" tools/headers.c \
		"${includes[@]}" "${macros[@]/#/-D}" || rm -f "$out"
}

# --- pyenv: release builds with a shared library and all extensions; other builds from their headers ---

# the files of a pyenv version, the interpreter first
pyenv_files() {
	local minor=${1%.*}
	echo "$pyenv/$1"/lib/libpython"$minor"*.so.1.0 "$pyenv/$1"/lib/python"$minor"/lib-dynload/*.so
}

pyenv_release() { # NAME VERSION BASES
	table "$1" "${3:-}" "$2, release, from pyenv" $(pyenv_files "$2")
}

# edited DIR "FILE... SED": a copy of headers, some of them changed back to what an older release had
edited() {
	local copy
	copy=$(mktemp -d -p "$work")
	cp -r "$1/." "$copy"
	(cd "$copy" && sed -i "${2#* }" ${2%% *})
	echo "$copy"
}

pyenv_headers() { # NAME VERSION BASES KIND SHIFT MACRO...
	local name=$1 version=$2 bases=$3 kind=$4 shift=$5 include
	shift 5
	include=$(echo "$pyenv/$version"/include/python*)
	[ -n "${edit:-}" ] && [ -d "$include" ] && include=$(edited "$include" "$edit")
	[ -d "$include" ] && headers "$work/$name.so" "$include" -- "$@"
	table "$name" "$bases" "$version, $kind, from pyenv's headers" "$work/$name.so" -x "$shift" $(pyenv_files "$version")
}

# --- Debian: release and debug builds with debug information in files of their own; free-threaded from headers ---

# with_debug FILE...: each, or the separate debug file it has
with_debug() {
	local root=$1 file id
	shift
	for file; do
		id=$(readelf -n "$file" 2>/dev/null | awk '/Build ID/{print $3}')
		if [ -n "$id" ] && [ -e "$root/usr/lib/debug/.build-id/${id:0:2}/${id:2}.debug" ]; then
			echo "$root/usr/lib/debug/.build-id/${id:0:2}/${id:2}.debug"
		else
			echo "$file"
		fi
	done
}

# debian_files ROOT MINOR FLAG
debian_files() {
	local root=$1 minor=$2 flag=$3 extension=cpython-${2/./}$3-x86_64-linux-gnu
	with_debug "$root" "$root/usr/bin/python$minor$flag" "$root/usr/lib/python$minor"/lib-dynload/*."$extension".so
}

debian_version() { # ROOT MINOR: 3.14.10
	sed -n 's/^#define PY_VERSION[[:space:]]*"\(.*\)"/\1/p' "$1/usr/include/python$2/patchlevel.h" 2>/dev/null || true
}

debian() { # NAME SUITE MINOR FLAG BASES
	local root=.cache/rootfs-$2 kind=release
	[ -n "$4" ] && kind=debug
	[ "$2" = bookworm ] && root=
	table "$1" "$5" "$(debian_version "$root" "$3"), $kind, from Debian $2" $(debian_files "$root" "$3" "$4")
}

debian_headers() { # NAME SUITE MINOR BASES KIND SHIFT MACRO...
	local name=$1 suite=$2 minor=$3 bases=$4 kind=$5 shift=$6 root=.cache/rootfs-$2
	shift 6
	mkdir -p "$work/$suite/x86_64-linux-gnu"
	ln -sfn "$PWD/$root/usr/include/x86_64-linux-gnu/python$minor" "$work/$suite/x86_64-linux-gnu/python$minor"
	local include=$root/usr/include/python$minor
	[ -n "${edit:-}" ] && [ -d "$include" ] && include=$(edited "$include" "$edit")
	[ -d "$include" ] && headers "$work/$name.so" "$include" "$work/$suite" -- "$@"
	table "$name" "$bases" "$(debian_version "$root" "$minor"), $kind, from Debian $suite's headers" "$work/$name.so" \
		-x "$shift" $(debian_files "$root" "$minor" "")
}

# stock 3.6 and 3.7.0-3 have a gc head of 24 bytes (bpo-27987 made the dummy in it a long double; pyenv patches it into 3.6)
pyenv_release py36 3.6.15
pyenv_headers py36d 3.6.15 py36 debug 16 Py_DEBUG
edit="objimpl.h s/long double dummy/double dummy/" pyenv_headers py36_0 3.6.15 py36 "release, gc head of stock 3.6" 0 NDEBUG
edit="objimpl.h s/long double dummy/double dummy/" pyenv_headers py36_0d 3.6.15 "py36 py36d" "debug, gc head of stock 3.6" 16 Py_DEBUG
pyenv_release py37 3.7.16
pyenv_headers py37d 3.7.16 py37 debug 16 Py_DEBUG
edit="objimpl.h s/long double dummy/double dummy/" pyenv_headers py37_0 3.7.16 py37 "release, gc head of 3.7.0-3" 0 NDEBUG
edit="objimpl.h s/long double dummy/double dummy/" pyenv_headers py37_0d 3.7.16 "py37 py37d" "debug, gc head of 3.7.0-3" 16 Py_DEBUG

# 3.8 to 3.11: debug builds have the layout of release builds (a test compares py311 with Debian's debug build)
for minor in 38:3.8.18 39:3.9.18 310:3.10.13 311:3.11.7 312:3.12.1; do
	name=py${minor%:*} version=${minor#*:}
	pyenv_release $name $version
	pyenv_headers ${name}r $version $name "trace refs" 16 Py_TRACE_REFS
done
pyenv_headers py312d 3.12.1 py312 debug 0 Py_DEBUG
pyenv_headers py312dr 3.12.1 "py312 py312r" "debug, trace refs" 16 Py_DEBUG Py_TRACE_REFS

debian py313 sid 3.13 "" ""
debian py313d sid 3.13 d py313
debian py313_5 trixie 3.13 "" py313
debian py313_5d trixie 3.13 d py313
pyenv_release py313_0 3.13.0 py313
pyenv_headers py313_0d 3.13.0 py313 debug 0 Py_DEBUG
# the real thing, from tools/freethreaded.sh, without Debian's patches: its generations start elsewhere (py313.c)
free=.cache/freethreaded-3.13
table py313t "" "3.13.15, free-threaded, built from source" $free/bin/python3.13t $free/lib/python3.13t/lib-dynload/*.so
[ -d $free ] && headers "$work/py313td.so" $free/include/python3.13t -- Py_GIL_DISABLED Py_DEBUG
table py313td py313t "3.13.15, free-threaded, debug, from headers" "$work/py313td.so" $free/bin/python3.13t \
	$free/lib/python3.13t/lib-dynload/*.so
debian_headers py313_5t trixie 3.13 py313t free-threaded 16 Py_GIL_DISABLED
debian_headers py313_5td trixie 3.13 py313t "free-threaded, debug" 16 Py_GIL_DISABLED Py_DEBUG
pyenv_headers py313_0t 3.13.0 py313t free-threaded 16 Py_GIL_DISABLED
pyenv_headers py313_0td 3.13.0 py313t "free-threaded, debug" 16 Py_GIL_DISABLED Py_DEBUG

for minor in 14 15; do
	debian py3$minor sid 3.$minor "" ""
	debian py3${minor}d sid 3.$minor d py3$minor
	debian_headers py3${minor}t sid 3.$minor "" free-threaded 16 Py_GIL_DISABLED
	debian_headers py3${minor}td sid 3.$minor py3${minor}t "free-threaded, debug" 16 Py_GIL_DISABLED Py_DEBUG
	old=py3$minor$([ $minor = 14 ] && echo _8 || echo _0)
	debian $old forky 3.$minor "" py3$minor
	debian ${old}d forky 3.$minor d py3$minor
	debian_headers ${old}t forky 3.$minor py3${minor}t free-threaded 16 Py_GIL_DISABLED
	debian_headers ${old}td forky 3.$minor py3${minor}t "free-threaded, debug" 16 Py_GIL_DISABLED Py_DEBUG
done

# 3.14.0-4 have the incremental collector: the last three words of the collector's state weren't there (gh-142516)
incremental="internal/pycore_[gi]*.h /^    Py_ssize_t long_lived_total;/d;/^    Py_ssize_t long_lived_pending;/d;\
/^    PyGC_Head \*generation0;/d;s/gcstate->generation0;/\&gcstate->young.head;/;\
s/struct gc_generation generations.NUM_GENERATIONS./struct gc_generation young, old[2]/"
edit="$incremental" debian_headers py314_0 forky 3.14 "py314 py314_8" "release, collector of 3.14.0-4" 0 NDEBUG
edit="$incremental" debian_headers py314_0d forky 3.14 "py314 py314_8d" "debug, collector of 3.14.0-4" 0 Py_DEBUG
