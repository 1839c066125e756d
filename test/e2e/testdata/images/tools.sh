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

# rpm-newer: the same, by the rpm of newer_rpm.
tool_rpm-newer() {
	newer_rpm -qa --qf '%{NAME}\t%|EPOCH?{%{EPOCH}:}|%{VERSION}-%{RELEASE}\t%{ARCH}\t%{SOURCERPM}\n'
}

# apk: the fields of apk's own list.
tool_apk() {
	awk -F: '/^P:/{p=$2} /^V:/{v=$2} /^A:/{a=$2} /^o:/{o=$2} /^$/{if(p)print p"\t"v"\t"a"\t"(o?o:p);p=o=""}' "$ROOT/lib/apk/db/installed"
}

# pip PYTHON
tool_pip() { inside "$1" -m pip --disable-pip-version-check list --verbose --format json; }

# npm FOLDER, pnpm FOLDER; npm-global PREFIX
tool_npm() { inside sh -c 'cd "$1" && npm ls --all --parseable --long' npm "$1"; }
tool_npm-global() { inside npm ls --global --prefix "$1" --all --parseable --long; }
tool_pnpm() { inside sh -c 'cd "$1" && pnpm ls --depth Infinity --json --long' pnpm "$1"; }

# go FILE...
tool_go() { go version -m "$@" | sed "s|^$ROOT/||"; }

tool_gem() { inside gem list --local --quiet; }

# composer FOLDER
tool_composer() { inside env COMPOSER_ALLOW_SUPERUSER=1 composer show --working-dir "$1" --format json; }

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
	unzip -Z1 "$file" | { grep -E '(\.[jw]ar|/pom\.properties)$' || true; } | while read -r entry; do
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

# maven-repo FOLDER: the artifacts that Debian's packages say their archives are,
# of those that are in a folder under the names that Maven has for them.
tool_maven-repo() {
	find "$ROOT/usr/share/maven-repo" -name '*.jar' | sort | while read -r jar; do
		folder=${jar#"$ROOT/usr/share/maven-repo/"} folder=${folder%/*}
		version=${folder##*/} folder=${folder%/*}
		artifact=${folder##*/} group=${folder%/*}
		if [[ -e $ROOT$1/$artifact-$version.jar ]]; then
			printf '%s:%s\t%s\t%s\n' "${group//\//.}" "$artifact" "$version" "$1/$artifact-$version.jar"
		fi
	done
}

# cargo FILE PROGRAM: what cargo said when it built the program.
tool_cargo() { awk -v at="$2" '{sub(/^v/, "", $2); print $1 "\t" $2 "\t" at}' "$WORK/$1" | sort -u; }

# pip-path FOLDER: what pip --target put there.
tool_pip-path() { inside pip --disable-pip-version-check list --verbose --format json --path "$1"; }

# gem-in FOLDER: what gem --install-dir put there.
tool_gem-in() { inside env GEM_HOME="$1" GEM_PATH="$1" gem list --local --quiet; }

# node_modules FOLDER...: name, version and folder of each package, read as
# Node.js reads them: for an image without it.
tool_node_modules() {
	local folder
	for folder in "$@"; do
		find "$ROOT$folder" -path '*/node_modules/*/package.json' -exec node -e '
			for (const file of process.argv.slice(2)) {
				const folder = file.replace(/\/package\.json$/, "")
				if (!/\/node_modules\/(@[^/]+\/)?[^/@.][^/]*$/.test(folder)) continue
				const is = JSON.parse(require("fs").readFileSync(file))
				if (is.name && is.version) console.log([is.name, is.version, folder.slice(process.argv[1].length)].join("\t"))
			}' "$ROOT" {} +
	done
}
