# The questions that are put to package managers, each in the root filesystem of
# the image: what is installed. tool_test.go reads the answers.

tool_dpkg() {
	inside dpkg-query -W -f '${db:Status-Status}\t${Package}\t${Version}\t${Architecture}\t${source:Package}\t${source:Version}\n'
}

# dpkg-admindir FOLDER: the same, by this machine's dpkg, for an image that has
# none or one of another architecture.
tool_dpkg-admindir() {
	dpkg-query --admindir="$ROOT$1" -W -f '${db:Status-Status}\t${Package}\t${Version}\t${Architecture}\t${source:Package}\t${source:Version}\n'
}

# control FILE...: what packages say of themselves, before they were unpacked.
tool_control() {
	local deb
	for deb in "$@"; do
		dpkg-deb --show --showformat='installed\t${Package}\t${Version}\t${Architecture}\t${source:Package}\t${source:Version}\n' "$deb"
	done
}

# rpm BACKEND FOLDER
tool_rpm() {
	rpm --root "$ROOT" --dbpath "$2" --define "_db_backend $1" -qa \
		--qf '%{NAME}\t%|EPOCH?{%{EPOCH}:}|%{VERSION}-%{RELEASE}\t%{ARCH}\t%{SOURCERPM}\n'
}

# apk: the fields of apk's own list.
tool_apk() {
	awk -F: '/^P:/{p=$2} /^V:/{v=$2} /^A:/{a=$2} /^o:/{o=$2} /^$/{if(p)print p"\t"v"\t"a"\t"o;p=o=""} END{if(p)print p"\t"v"\t"a"\t"o}' "$ROOT/lib/apk/db/installed"
}

# pip PYTHON
tool_pip() { inside "$1" -m pip --disable-pip-version-check list --verbose --format json; }

# npm FOLDER, pnpm FOLDER; npm-global
tool_npm() { inside sh -c 'cd "$1" && npm ls --all --parseable --long' npm "$1"; }
tool_npm-global() { inside npm ls --global --all --parseable --long; }
tool_pnpm() { inside sh -c 'cd "$1" && pnpm ls --depth Infinity --json --long' pnpm "$1"; }

# go FILE...
tool_go() { go version -m "$@" | sed "s|^$ROOT/||"; }

tool_gem() { inside gem list --local --quiet; }

# composer FOLDER
tool_composer() { inside env COMPOSER_ALLOW_SUPERUSER=1 composer --quiet show --working-dir "$1" --format json; }

# perl FOLDER: what was installed into a folder of libraries.
tool_perl() {
	inside env PERL5LIB="$1/lib/perl5" perl -MExtUtils::Installed -e '
		my $all = ExtUtils::Installed->new(inc_override => ["$ARGV[0]/lib/perl5"], extra_libs => ["$ARGV[0]/lib/perl5"]);
		for (grep { $_ ne "Perl" } $all->modules) { print "$_\t", $all->version($_), "\t$ARGV[0]\n" }' "$1"
}

tool_r() {
	inside Rscript -e 'write.table(installed.packages()[, c("LibPath", "Package", "Version")], sep = "\t", quote = FALSE, row.names = FALSE, col.names = FALSE)'
}

# jar FILE...: what Maven wrote into archives, and into those within them.
tool_jar() {
	local file
	for file in "$@"; do artifacts "$file" "${file#"$ROOT"/}"; done
}

artifacts() {
	local file=$1 name=$2 entry inner
	unzip -Z1 "$file" | grep -E '(\.[jw]ar|/pom\.properties)$' | while read -r entry; do
		if [[ $entry == */pom.properties ]]; then
			unzip -p "$file" "$entry" | tr -d '\r' |
				awk -F= -v name="$name" '{sub(/[ \t]+$/, "", $2); is[$1] = $2} END {print is["groupId"] ":" is["artifactId"] "\t" is["version"] "\t" name}'
			continue
		fi
		inner=$(mktemp -p "$WORK")
		unzip -p "$file" "$entry" >"$inner"
		artifacts "$inner" "$name!/$entry"
		rm "$inner"
	done
}

# maven-repo: the artifacts that Debian's packages say their archives are.
tool_maven-repo() {
	inside sh -c 'find /usr/share/maven-repo -name "*.jar" | sort' | while read -r jar; do
		folder=${jar#/usr/share/maven-repo/} folder=${folder%/*}
		version=${folder##*/} folder=${folder%/*}
		if [[ $version == debian ]]; then continue; fi
		artifact=${folder##*/} group=${folder%/*}
		file=$(inside readlink -f "$jar")
		printf '%s:%s\t%s\t%s\n' "${group//\//.}" "$artifact" "$version" "${file#/}"
	done
}

# cargo FILE PROGRAM: what cargo said when it built the program.
tool_cargo() { awk -v at="$2" '{sub(/^v/, "", $2); print $1 "\t" $2 "\t" at}' "$WORK/$1" | sort -u; }
