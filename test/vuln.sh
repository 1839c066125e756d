#!/usr/bin/env bash
# Runs govulncheck ($1) over the module. The advisories come from the first of
#
#	$GOVULNDB              a database, by URL
#	$TIDEWAITER_OSV        a folder with Go/all.zip, an OSV export
#	the public database    if it can be reached
#
# Where there is none, it says so in capitals and succeeds: a machine without
# a network cannot know, and must not look as if it knew.
set -euo pipefail
govulncheck=$1

database=${GOVULNDB:-}
if [[ -z $database && -f ${TIDEWAITER_OSV:-}/Go/all.zip ]]; then
	folder=$(mktemp -d)
	trap 'rm -rf "$folder"' EXIT
	go run ./test/vulndb -zip "$TIDEWAITER_OSV/Go/all.zip" -out "$folder"
	database=file://$folder
fi
if [[ -z $database ]]; then
	database=https://vuln.go.dev
	if ! curl -fsS -m 20 -o /dev/null "$database/index/db.json"; then
		echo "vuln: NOT CHECKED: the public vulnerability database does not answer, and neither GOVULNDB nor TIDEWAITER_OSV names another" >&2
		exit 0
	fi
fi
echo "vuln: advisories from $database" >&2
"$govulncheck" -db "$database" ./...
