#!/usr/bin/env bash
# interpreters.sh [SUITE...]: put the CPythons of other Debian suites (release and debug builds, headers) into .cache/rootfs-SUITE,
# for the tests and `make layouts`. Needs root, apt and the network; what is there already is kept.
#
# Run one with: chroot .cache/rootfs-sid /usr/bin/python3.15
set -euo pipefail
cd "$(dirname "$0")/.."

packages() {
	local version
	for version; do
		echo "python$version" "python$version-dbg" "libpython$version-dbg" "python$version-dev" "libpython$version" \
			"libpython$version-stdlib"
	done
}

mkdir -p .cache
[ $# -gt 0 ] || set -- sid forky trixie
for suite; do
	versions="3.13 3.14 3.15"
	[ "$suite" = trixie ] && versions=3.13
	# shellcheck disable=SC2046,SC2086
	tools/rootfs.sh "$suite" "$PWD/.cache/rootfs-$suite" $(packages $versions)
done
