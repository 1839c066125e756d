# What the recipes beside this file are written with. Each script of a recipe
# runs as root on this machine, with
#
#   ROOT   the root filesystem of the image, as the scripts before left it
#   FILES  the recipe's own files
#   WORK   a folder that the scripts of one recipe share, and no image has
set -euo pipefail
export LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive ROOT WORK
umask 022

# mirror is where this machine has its Debian packages from.
mirror() { apt-get indextargets --format '$(REPO_URI)' "Codename: $(. /etc/os-release && echo "$VERSION_CODENAME")" | awk 'NR == 1'; }

# download gets packages of this machine's Debian into the folder that it is
# called in. A list that is old names packages that are gone.
download() { apt-get -qq download "$@" 2>/dev/null || { flock "$(dirname "$WORK")/../apt.lock" apt-get -qq update && apt-get -qq download "$@"; }; }

# debootstrap makes a small Debian of a suite, without manuals, as images have it.
debootstrap() {
	local suite=$1
	shift
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

# rpms builds packages into WORK/rpms, which is emptied first. A line of the
# table is a source: name, epoch, version, release, architecture, licence with ~
# for spaces, then the names of its other packages, or how many files it has.
rpms() {
	rm -rf "$WORK/rpms"
	mkdir -p "$WORK/rpms" "$WORK/specs"
	local name epoch version release architecture license others
	while read -r name epoch version release architecture license others; do
		spec "$name" "$epoch" "$version" "$release" "$architecture" "${license//\~/ }" "$others" >"$WORK/specs/$name.spec"
		rpmbuild --quiet -bb --define "_topdir $WORK/rpmbuild" --define "_rpmdir $WORK/rpms" --define '_rpmfilename %%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm' \
			--define '__os_install_post %{nil}' --define 'debug_package %{nil}' --target "$architecture" "$WORK/specs/$name.spec" >"$WORK/rpmbuild.log" 2>&1 ||
			{ cat "$WORK/rpmbuild.log" >&2; return 1; }
	done <"$1"
}

spec() {
	local name=$1 license=$6 files=1 packages=("$1") other
	for other in $7; do
		if [[ $other == files=* ]]; then files=${other#files=}; else packages+=("$1-$other"); fi
	done
	printf 'Name: %s\nVersion: %s\nRelease: %s\nLicense: %s\nSummary: %s\nAutoReqProv: no\n' "$name" "$3" "$4" "$license" "$name"
	if [[ $2 != 0 ]]; then printf 'Epoch: %s\n' "$2"; fi
	printf '%%description\n%s\n' "$name"
	for other in "${packages[@]:1}"; do printf '%%package -n %s\nSummary: %s\n%%description -n %s\n%s\n' "$other" "$other" "$other" "$other"; done
	printf '%%install\n'
	for other in "${packages[@]}"; do
		printf 'mkdir -p %%{buildroot}/usr/share/%s\nfor i in $(seq %s); do echo %s >%%{buildroot}/usr/share/%s/file-of-a-package-$i; done\n' "$other" "$files" "$other" "$other"
	done
	printf '%%files\n/usr/share/%s\n' "$name"
	for other in "${packages[@]:1}"; do printf '%%files -n %s\n/usr/share/%s\n' "$other" "$other"; done
}

# rpm_into changes the database of the image: its format, its folder, and what
# rpm is to do.
rpm_into() {
	local backend=$1 folder=$2
	shift 2
	mkdir -p "$ROOT$folder"
	rpm --root "$ROOT" --dbpath "$folder" --define "_db_backend $backend" "$@"
}

# newer_rpm is the rpm of the Debian in WORK/newer, which sees the image at /image
# and the rest of WORK at /work.
newer_rpm() {
	unshare --mount --pid --fork --kill-child bash -c '
		mkdir -p "$WORK"/newer/{image,work}
		mount --bind "$ROOT" "$WORK/newer/image"
		mount --bind "$WORK" "$WORK/newer/work"
		mount -t proc proc "$WORK/newer/proc"
		exec chroot "$WORK/newer" rpm --root /image --dbpath /usr/lib/sysimage/rpm --define "_db_backend ndb" "${@//$WORK//work}"
	' newer_rpm "$@" </dev/null
}

# keys is a public key that this machine trusts.
keys() { find /etc/apt/trusted.gpg.d /usr/share/keyrings -name 'debian-archive-bookworm-stable.asc' | awk 'NR == 1'; }

# berkeley writes what rpm exports of the database in one folder into a database
# of Berkeley DB in another. A row is a number, and a header less its magic.
berkeley() {
	local dump=$WORK/dump
	rpmdb --root "$ROOT" --dbpath "$1" --define '_db_backend sqlite' --exportdb >"$dump.headers"
	perl -e '
		binmode STDIN; local $/; my $in = <STDIN>; my $n = 0; my @rows;
		while (length $in) {
			my ($entries, $size) = unpack "x8 N N", $in;
			my $length = 8 + 16 * $entries + $size;
			push @rows, unpack("H*", pack "V", ++$n), unpack("H*", substr $in, 8, $length);
			substr($in, 0, 8 + $length) = "";
		}
		print "VERSION=3\nformat=bytevalue\ntype=hash\ndb_pagesize=4096\nHEADER=END\n";
		print " $_\n" for "00000000", unpack("H*", pack "V", $n), @rows;
		print "DATA=END\n"' <"$dump.headers" >"$dump"
	mkdir -p "$ROOT$2"
	rm -f "$ROOT$2/Packages"
	db5.3_load -f "$dump" "$ROOT$2/Packages"
}

# npm_ installs with this machine's npm, which knows the way to the registry.
npm_() { npm install --ignore-scripts --no-audit --no-fund --loglevel error "$@" >/dev/null; }

# filler writes so many MiB that compress to about a fifth, other ones for each
# seed.
filler() {
	perl -e 'srand $ARGV[1]; for (1 .. $ARGV[0] * 13) { my $b = pack "N*", map { rand 2**32 } 1 .. 4096; print $b x 5 }' "$1" "$2"
}
