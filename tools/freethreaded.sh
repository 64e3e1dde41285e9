#!/usr/bin/env bash
# freethreaded.sh [SUITE MINOR]: build a free-threaded CPython from Debian's source package into .cache/freethreaded-MINOR, once, for
# the tests: Debian has no such package. Run it as .cache/freethreaded-MINOR/bin/pythonMINORt. Takes some minutes; needs a compiler,
# apt, the network, and a mirror that carries the sources (some name those of 3.14 and 3.15 in their lists and lack the files).
set -euo pipefail
cd "$(dirname "$0")/.."
suite=${1:-forky} minor=${2:-3.13}
target=$PWD/.cache/freethreaded-$minor
[ -x "$target/bin/python${minor}t" ] && exit 0
work=$target.build
rm -rf "$work"
mkdir -p "$work"/{etc/apt.conf.d,etc/preferences.d,state/lists/partial,cache/archives/partial,log}
uri=$(awk '/^URIs/{print $2; exit}' /etc/apt/sources.list.d/debian.sources)
echo "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $uri $suite main" >"$work/etc/sources.list"
: >"$work/status"
options=(-o Dir::Etc="$work/etc" -o Dir::Etc::sourcelist="$work/etc/sources.list" -o Dir::Etc::sourceparts=-
	-o Dir::State="$work/state" -o Dir::State::status="$work/status" -o Dir::Cache="$work/cache" -o Dir::Log="$work/log"
	-o Debug::NoLocking=1)
apt-get -q "${options[@]}" update >/dev/null
(cd "$work" && apt-get -q "${options[@]}" source --download-only "python$minor" >/dev/null)
tar -C "$work" -xf "$work"/python"$minor"_*.orig.tar.*
cd "$work"/Python-"$minor"*
./configure --prefix="$target" --disable-gil --without-ensurepip --disable-test-modules CFLAGS="-O1 -g" >/dev/null
make -j"${JOBS:-2}" >"$work/log/make" 2>&1
make install >"$work/log/install" 2>&1
cd "$target" && rm -rf "$work"
