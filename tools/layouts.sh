#!/usr/bin/env bash
# layouts.sh LAYOUTS: write symbols/layouts/*.inc from the interpreters at hand: pyenv's, and the Debian suites that
# tools/rootfs.sh unpacked into .cache/. What isn't at hand keeps its table.
set -euo pipefail
shopt -s nullglob
layouts=$(realpath "$1")
cd "$(dirname "$0")/.."
tables=symbols/layouts
pyenv=${PYENV_ROOT:-$HOME/.pyenv}/versions

# table NAME TITLE FILE...: the first file must be there, all others help out
table() {
	local name=$1 title=$2
	shift 2
	if [ ! -e "$1" ]; then
		echo "skipped $name: no $title here"
		return
	fi
	"$layouts" -t "CPython $title" -o "$tables/$name.inc" "$@"
	echo "wrote $tables/$name.inc"
}

# pyenv NAME VERSION: a release build with a shared library
pyenv() {
	local name=$1 version=$2 root=$pyenv/$2 minor
	minor=${version%.*}
	local library=("$root"/lib/libpython"$minor"*.so.1.0)
	table "$name" "$version, release, from pyenv" "${library[0]:-$root/bin/python$minor}" \
		"$root"/lib/python"$minor"/lib-dynload/*.so
}

pyenv py36 3.6.15
pyenv py37 3.7.16
pyenv py38 3.8.18
pyenv py39 3.9.18
pyenv py310 3.10.13
pyenv py311 3.11.7
pyenv py312 3.12.1
pyenv py313_0 3.13.0
