#!/usr/bin/env bash
# kernels.sh [SUITE...]: put the kernels of Debian suites (the image, and the modules that tools/machine.sh needs) into .cache/kernel-SUITE.
# Needs apt and the network; what is there already is kept.
set -euo pipefail
cd "$(dirname "$0")/.."

[ $# -gt 0 ] || set -- bookworm trixie
uri=$(awk '/^URIs/{print $2; exit}' /etc/apt/sources.list.d/debian.sources)
for suite; do
	dir=$PWD/.cache/kernel-$suite work=$PWD/.cache/kernel-$suite.apt
	[ -e "$dir/vmlinuz" ] && continue
	rm -rf "$work" && mkdir -p "$dir" "$work"/{root,etc/apt.conf.d,etc/preferences.d,etc/trusted.gpg.d,state/lists/partial,cache/archives/partial,log}
	echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $uri $suite main" >"$work/etc/sources.list"
	: >"$work/status"
	o=(-o Dir::Etc="$work/etc" -o Dir::Etc::sourcelist="$work/etc/sources.list" -o Dir::Etc::sourceparts=- -o Dir::State="$work/state" -o Dir::State::status="$work/status" -o Dir::Cache="$work/cache" -o Dir::Log="$work/log" -o Debug::NoLocking=1 -o APT::Sandbox::User=root)
	apt-get -q "${o[@]}" update >/dev/null
	# the packages of the kernel itself alone: what else it depends on is for installing it. The ordinary flavour: that of the cloud has no 9p
	packages=$(apt-cache "${o[@]}" depends --recurse --important linux-image-amd64 | grep -E '^linux-(image|binary|modules)-[0-9].*-amd64$' | sort -u)
	# shellcheck disable=SC2086
	(cd "$work" && apt-get -q "${o[@]}" download $packages >/dev/null)
	for deb in "$work"/linux-*.deb; do
		# no package has all of these
		dpkg-deb --fsys-tarfile "$deb" | tar -C "$work/root" -x --wildcards '*/vmlinuz*' '*/config-*' '*/virtio.ko*' '*/virtio_ring.ko*' \
			'*/virtio_pci*.ko*' '*/virtio_console.ko*' '*/9p.ko*' '*/9pnet.ko*' '*/9pnet_virtio.ko*' '*/netfs.ko*' '*/fscache.ko*' '*/overlay.ko*' 2>/dev/null || true
	done
	find "$work/root" -name '*.ko.xz' -exec xz -d {} +
	find "$work/root" \( -name '*.ko' -o -name 'config-*' \) -exec cp -t "$dir" {} +
	cp "$(find "$work/root" -name 'vmlinuz*')" "$dir/vmlinuz"
	rm -r "$work"
done
