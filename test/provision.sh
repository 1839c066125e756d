#!/usr/bin/env bash
# Installs what the tests need and this machine lacks, on Debian 12: packages,
# and programs that Debian does not have, which it builds into .tools.
#
# Quick when all is there, safe to run again. Needs root for the packages
# only. It starts no service: what it installs is switched off, now and after
# the next boot, and each test starts its own private copy. A service that was
# there before is left as it is; the tests use their own sockets, ports and
# folders beside it.
set -euo pipefail

# A file that must exist, and the package that brings it.
needs='
/usr/sbin/dockerd            docker.io
/usr/bin/docker              docker.io
/usr/bin/docker-registry     docker-registry
/usr/bin/podman              podman
/usr/sbin/runc               runc
/usr/bin/newuidmap           uidmap
/usr/lib/podman/netavark     netavark
/usr/bin/skopeo              skopeo
/usr/bin/dash                dash
/usr/bin/zsh                 zsh
/usr/lib/postgresql/*/bin/initdb  postgresql
/usr/bin/psql                postgresql-client
/usr/bin/keystone-manage     keystone
/usr/bin/htpasswd            apache2-utils
/usr/bin/curl                curl
/usr/bin/unzip               unzip
/usr/bin/openssl             openssl
/usr/bin/git                 git
/usr/bin/gcc                 gcc
/usr/include/stdlib.h        libc6-dev
/usr/bin/make                make
/usr/sbin/runuser            util-linux
/usr/bin/unshare             util-linux
/usr/bin/ip                  iproute2
/usr/bin/ps                  procps
/usr/bin/strace              strace
/usr/sbin/squid              squid
/usr/lib/squid/basic_ncsa_auth  squid
/etc/ssl/certs/ca-certificates.crt  ca-certificates
/usr/bin/mmdebstrap          mmdebstrap
/usr/bin/rpmbuild            rpm
/usr/bin/db5.3_load          db5.3-util
/usr/bin/npm                 npm
/usr/bin/zip                 zip
/usr/bin/chromium            chromium
/usr/share/fonts/truetype/wqy/wqy-microhei.ttc  fonts-wqy-microhei
'

say() { echo "provision: $*" >&2; }

# missing prints the packages whose file is not there. /usr/bin and /bin may
# be one folder or two, so both are looked at.
missing() {
	local file package
	while read -r file package; do
		[[ -n $file ]] || continue
		# shellcheck disable=SC2086 # the pattern is meant to be expanded
		compgen -G "$file" >/dev/null || compgen -G "${file#/usr}" >/dev/null || echo "$package"
	done <<<"$needs" | sort -u
}

# build makes .tools/$1 from a package of a Go module at a version, unless it
# is there. The module of its own makes no other version creep in, and needs no
# more of the tool's module than its go.mod and its source.
build() {
	local program=.tools/$1 module=$2 version=$3 package=$4 folder
	if [[ -x $program ]]; then return 0; fi
	say "building $program"
	mkdir -p .tools
	folder=$(mktemp -d)
	printf 'module tools\n\ngo 1.26.0\n\nrequire %s %s\n\ntool %s\n' "$module" "$version" "$package" >"$folder/go.mod"
	# Moved in place when done, so that a build that was cut short is not taken for it.
	if ! (cd "$folder" && CGO_ENABLED=0 GOWORK=off go build -mod=mod -trimpath -ldflags='-s -w' -o "$folder/program" "$package" &&
		mv "$folder/program" "$OLDPWD/$program.$$" && mv "$OLDPWD/$program.$$" "$OLDPWD/$program") >"$folder/log" 2>&1; then
		cat "$folder/log" >&2
		rm -rf "$folder"
		exit 1
	fi
	rm -rf "$folder"
}

# fetch makes .tools/$1 from a file of an npm package at a version, unless it is
# there. npm checks what it fetches against the registry's sum.
fetch() {
	local file=.tools/$1 package=$2 path=$3 folder
	if [[ -s $file ]]; then return 0; fi
	say "fetching $file"
	mkdir -p .tools
	folder=$(mktemp -d)
	if ! (cd "$folder" && npm pack --silent "$package" >log 2>&1 && tar -xzf ./*.tgz "$path" && mv "$path" "$OLDPWD/$file.$$"); then
		cat "$folder/log" >&2
		rm -rf "$folder"
		exit 1
	fi
	mv "$file.$$" "$file"
	rm -rf "$folder"
}

# Registries that the tests connect to; test/e2e/registry_test.go names them.
programs() {
	cd "$(dirname "${BASH_SOURCE[0]}")/.."
	build distribution-v3.1.2 github.com/distribution/distribution/v3 v3.1.2 github.com/distribution/distribution/v3/cmd/registry
	build olareg-v0.1.2 github.com/olareg/olareg v0.1.2 github.com/olareg/olareg/cmd/olareg
	fetch axe-core-4.14.1.js axe-core@4.14.1 package/axe.min.js # test/e2e/browser_test.go
}

packages=$(missing)
if [[ -z $packages ]]; then
	programs
	exit 0
fi
# shellcheck disable=SC2086 # a list of words
say "missing:" $packages

if [[ $(id -u) -ne 0 ]]; then
	say "installing needs root: run 'sudo test/provision.sh', or install the packages above"
	exit 1
fi
if ! command -v apt-get >/dev/null; then
	say "this machine has no apt-get: install the packages above by its own means"
	exit 1
fi

# Debian starts a service as soon as its package is installed, unless this
# program says no. The one that was there before comes back at the end.
policy=/usr/sbin/policy-rc.d
kept=$(mktemp -d)
restore() {
	rm -f "$policy"
	if [[ -e $kept/policy || -L $kept/policy ]]; then mv "$kept/policy" "$policy"; fi
	rm -rf "$kept"
}
trap restore EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
if [[ -e $policy || -L $policy ]]; then mv "$policy" "$kept/policy"; fi
printf '#!/bin/sh\nexit 101\n' >"$policy"
chmod 755 "$policy"

# enabled lists the units that start at boot, whether or not systemd runs now.
enabled() {
	if ! command -v systemctl >/dev/null; then return 0; fi
	systemctl --root=/ list-unit-files --state=enabled --no-legend 2>/dev/null | awk '{print $1}' | sort
}
enabled >"$kept/enabled"

export DEBIAN_FRONTEND=noninteractive
apt() {
	apt-get -q -y -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 \
		-o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold "$@" </dev/null >&2
}
apt update
# shellcheck disable=SC2086 # a list of words
apt install --no-install-recommends $packages

for unit in $(enabled | comm -13 "$kept/enabled" -); do
	systemctl --root=/ disable "$unit" >/dev/null 2>&1 || say "could not switch $unit off: see systemctl disable"
done

left=$(missing)
if [[ -n $left ]]; then
	# shellcheck disable=SC2086
	say "still missing after the installation:" $left
	say "this script knows Debian 12; on another release the names may differ"
	exit 1
fi
programs
say "done"
