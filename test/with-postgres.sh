#!/usr/bin/env bash
# Runs a command with a private PostgreSQL of its own:
#
#	test/with-postgres.sh go test ./internal/store/...
#
# The command finds the server in TIDEWAITER_TEST_POSTGRES (a URL with a
# password made for this run, over a socket in a private folder; no TCP port)
# and its data folder in TIDEWAITER_TEST_POSTGRES_DATA. When the command ends,
# by itself or by a signal, the server is stopped and its folder removed.
# Needs root, because PostgreSQL refuses to run as root: it runs as user postgres.
set -euo pipefail

die() { echo "with-postgres: $*" >&2; exit 1; }
[[ $# -gt 0 ]] || die "usage: test/with-postgres.sh COMMAND [ARGUMENT...]"
[[ $(id -u) -eq 0 ]] || die "needs root, to run PostgreSQL as user postgres"
bin=$(compgen -G '/usr/lib/postgresql/*/bin' | sort -V | tail -1) || die "no PostgreSQL: run test/provision.sh"

# /tmp and not TMPDIR: the path of a socket may have 107 bytes only.
folder=$(mktemp -d /tmp/tw-pg.XXXXXX)
server=
command=
cleanup() {
	set +e
	trap '' INT TERM HUP
	if [[ -n $command ]]; then kill -TERM -- "-$command" && wait "$command"; fi 2>/dev/null
	if [[ -n $server ]]; then kill -INT "$server" && wait "$server"; fi 2>/dev/null # INT: a fast shutdown
	rm -rf "$folder"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

as_postgres=(setpriv --reuid=postgres --regid=postgres --init-groups --inh-caps=-all)

password=$(od -An -tx1 -N16 /dev/urandom | tr -d ' \n')
printf '%s\n' "$password" >"$folder/password"
chown -R postgres:postgres "$folder"
export LC_ALL=C.UTF-8
(cd "$folder" && "${as_postgres[@]}" "$bin/initdb" -D "$folder/data" -U tidewaiter --pwfile="$folder/password" \
	--auth=scram-sha-256 --encoding=UTF8 --no-sync >"$folder/initdb.log" 2>&1) ||
	{ cat "$folder/initdb.log" >&2; die "initdb failed"; }
cat >>"$folder/data/postgresql.conf" <<CONF
listen_addresses = ''
unix_socket_directories = '$folder'
max_connections = 200
fsync = off
full_page_writes = off
CONF

# Own process groups (set -m), so that Ctrl-C ends the command before its
# database; and the kernel ends both should this script be killed.
set -m
(cd "$folder" && exec "${as_postgres[@]}" --pdeathsig INT "$bin/postgres" -D "$folder/data" >"$folder/postgres.log" 2>&1) &
server=$!
set +m
for ((i = 0; ; i++)); do
	"$bin/pg_isready" -q -h "$folder" -U tidewaiter -d postgres && break
	[[ $i -lt 300 ]] && kill -0 "$server" 2>/dev/null || { cat "$folder/postgres.log" >&2; die "PostgreSQL did not start"; }
	sleep 0.1
done

export TIDEWAITER_TEST_POSTGRES="postgres://tidewaiter:$password@/postgres?host=$folder"
export TIDEWAITER_TEST_POSTGRES_DATA="$folder/data"
set -m
setpriv --pdeathsig TERM "$@" <&0 &
command=$!
set +m
status=0
wait "$command" || status=$?
command=
exit "$status"
