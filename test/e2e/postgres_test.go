//go:build linux

package e2e

import (
	"io"
	"net/url"
	"strings"
	"syscall"
	"testing"
)

// A postgres is a private PostgreSQL server, made by test/with-postgres.sh.
type postgres struct {
	*process
	URL  string // with the password of a superuser
	Data string // its data folder
}

// startPostgres starts an empty server for one test.
func startPostgres(t testing.TB) *postgres {
	t.Helper()
	need(t, "/usr/bin/psql", "/usr/bin/setpriv")
	// The script's command holds the server up until its input ends.
	cmd := command(nil, "../with-postgres.sh", "/bin/sh", "-c",
		`echo "$TIDEWAITER_TEST_POSTGRES $TIDEWAITER_TEST_POSTGRES_DATA ready"; exec cat >/dev/null`)
	hold, release := io.Pipe()
	cmd.Stdin = hold
	p, err := launch(cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = release.Close()
		if err := p.stop(syscall.SIGTERM); err != nil && !strings.Contains(err.Error(), "exit status 143") {
			t.Error(err)
		}
	})
	found, err := p.await(&p.stdout, `^(\S+) (\S+) ready\n`)
	if err != nil {
		t.Fatal(err)
	}
	return &postgres{process: p, URL: found[1], Data: found[2]}
}

// query runs SQL and returns the rows, columns separated by "|".
func (p *postgres) query(t testing.TB, sql string) []string {
	t.Helper()
	u, err := url.Parse(p.URL)
	if err != nil {
		t.Fatal(err)
	}
	password, _ := u.User.Password()
	env := []string{"PGHOST=" + u.Query().Get("host"), "PGUSER=" + u.User.Username(), "PGPASSWORD=" + password, "PGDATABASE=postgres"}
	out := output(t, command(env, "/usr/bin/psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-f", "-"), sql)
	if out == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(out, "\n"), "\n")
}

func TestPostgres(t *testing.T) {
	p := startPostgres(t)
	if got := p.query(t, "select 1; select 2, 'x';"); len(got) != 2 || got[0] != "1" || got[1] != "2|x" {
		t.Errorf("rows are %q", got)
	}
	if !strings.Contains(p.URL, "?host=/tmp/") {
		t.Errorf("the server is not on a private socket: %s", p.URL)
	}
}
