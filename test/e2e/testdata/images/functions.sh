# What the recipes beside this file are written with. Each script of a recipe
# runs as root on this machine, with
#
#   ROOT   the root filesystem of the image, as the scripts before left it
#   FILES  the recipe's own files
#   WORK   a folder that the scripts of one recipe share, and no image has
set -euo pipefail
export LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive
umask 022

# mirror is where this machine has its Debian packages from.
mirror() { apt-get indextargets --format '$(REPO_URI)' "Codename: $(. /etc/os-release && echo "$VERSION_CODENAME")" | head -n1; }

# debootstrap makes a small Debian of a suite, without manuals, as images have it.
debootstrap() {
	local suite=$1
	shift
	# The same archive has all suites, and the key of this machine's Debian
	# is not that of a newer one.
	mmdebstrap --quiet --variant=minbase \
		--dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
		--dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
		--dpkgopt='force-unsafe-io' "$@" \
		"$suite" "$ROOT" "deb $(mirror) $suite main"
	printf '#!/bin/sh\nexit 101\n' >"$ROOT/usr/sbin/policy-rc.d"
	chmod 755 "$ROOT/usr/sbin/policy-rc.d"
	: >"$ROOT/etc/resolv.conf"
	echo image >"$ROOT/etc/hostname"
}

# inside runs a command in the image, with processes and mounts of its own, and
# this machine's way to the network.
inside() {
	unshare --mount --pid --fork --kill-child bash -c '
		root=$1
		shift
		mount -t proc proc "$root/proc"
		mount --rbind /dev "$root/dev"
		if [[ -e $root/etc/resolv.conf ]]; then mount --bind /etc/resolv.conf "$root/etc/resolv.conf"; fi
		exec chroot "$root" /usr/bin/env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
			HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@"
	' inside "$ROOT" "$@" </dev/null
}

# packages installs Debian packages in the image, and leaves no lists behind.
packages() {
	inside apt-get -qq update
	inside apt-get -qq install -y --no-install-recommends "$@" >/dev/null
	inside apt-get clean
	rm -rf "$ROOT"/var/lib/apt/lists/* "$ROOT"/var/log/apt "$ROOT"/var/log/dpkg.log
}
