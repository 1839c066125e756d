//go:build linux

package e2e

import (
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

var aTarget = target{"registry.example.com", "team", "alice", "secret"}

// Two replicas on one PostgreSQL and with the same keys are one server: a token
// of one is good at the other, and both give the same answers.
func TestReplicas(t *testing.T) {
	db := startPostgres(t)
	t.Setenv("TIDEWAITER_DATABASE", db.URL)
	keys := filepath.Join(t.TempDir(), "keys")
	const public = "https://tidewaiter.example.com"
	one := startTidewaiter(t, "--keys", keys, "--public-url", public)
	two := startReplica(t, one, "--keys", keys, "--public-url", public)

	token := one.token(t)
	first := one.askCurl(t, token, aTarget)
	if second := two.askCurl(t, token, aTarget); second != first {
		t.Errorf("the replicas differ:\n%+v\n%+v", first, second)
	}
	if signed := two.askSDK(t, aTarget); signed != first {
		t.Errorf("the replicas differ:\n%+v\n%+v", first, signed)
	}
	path := strings.TrimPrefix(first.ImagesDownloadURL, public)
	if a, b := one.etag(t, path), two.etag(t, path); a == "" || a != b {
		t.Errorf("the zips have ETags %q and %q: a download cannot go on at the other replica", a, b)
	}

	// A user who is disabled at one is out at the other within its cache's second.
	output(t, command(nil, tidewaiterProgram(t), "user", "create", "bob", "--root", "--data", one.Data, "--keys", keys), "")
	output(t, command(nil, tidewaiterProgram(t), "user", "disable", one.User, "--data", one.Data, "--keys", keys), "")
	for _, s := range []*server{one, two} {
		if err := s.until("locked", func() bool { return s.status401(t, token) }); err != nil {
			t.Error(err)
		}
	}
	one.Kill()
	if two.status("/readyz") != http.StatusOK {
		t.Error("one replica died, and the other is not ready")
	}
}

// startReplica starts one more server on the database of another, whose
// bootstrap.json it shares.
func startReplica(t *testing.T, first *server, args ...string) *server {
	t.Helper()
	data := filepath.Join(t.TempDir(), "data")
	p, err := launch(command(nil, tidewaiterProgram(t), append([]string{"serve", "--data", data, "--listen", "127.0.0.1:0"}, args...)...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.stop(15) })
	found, err := p.await(&p.stderr, `listening url=(\S+)`)
	if err != nil {
		t.Fatal(err)
	}
	s := &server{process: p, bootstrap: first.bootstrap, Data: data, URL: found[1], Client: first.Client}
	if err := s.until("ready", func() bool { return s.status("/readyz") == http.StatusOK }); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *server) etag(t testing.TB, path string) string {
	t.Helper()
	resp, err := s.Client.Head(s.URL + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.Header.Get("ETag")
}

// status401 tells whether a token is refused.
func (s *server) status401(t testing.TB, token string) bool {
	t.Helper()
	r, err := http.NewRequest(http.MethodGet, s.URL+"/v3/auth/projects", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Auth-Token", token)
	resp, err := s.Client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode == http.StatusUnauthorized
}

// A server that was killed, in whatever state, starts again with all that it
// had accepted.
func TestKilledServerComesBack(t *testing.T) {
	s := startTidewaiter(t)
	token := s.token(t)
	for range 5 {
		s.Kill()
		s = startTidewaiter(t, "--data", s.Data)
		if a := s.askCurl(t, token, aTarget); a.ImageCommand == "" {
			t.Error("the token is gone")
		}
	}
}

// The log says how long the start took; BENCHMARKS.md has the numbers.
func TestStartTimeIsLogged(t *testing.T) {
	s := startTidewaiter(t, "--log-format", "json")
	// It answers a moment before it says so.
	took, err := s.await(&s.stderr, `"msg":"ready",.*"took":([1-9][0-9]*)`)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("ready after %s ns", took[1])
}

// Tokens of an external Keystone are taken, with the permissions of their roles.
func TestServerWithKeystone(t *testing.T) {
	k := startKeystone(t)
	s := startTidewaiter(t, "--keystone-url", k.URL)
	readOnly, nothing := k.NewRole(t, "HSS ReadOnlyAccess"), k.NewRole(t, "nothing")
	project, other := k.NewProject(t, "cn-test-1"), k.NewProject(t, "cn-test-2")
	for name, role := range map[string]string{"ann": readOnly, "ben": nothing} {
		user := k.NewUser(t, name, "pass word")
		k.Assign(t, project, user, role)
	}
	ask := func(token, project string) (int, string) {
		r, err := http.NewRequest(http.MethodGet, s.URL+"/v5/"+project+"/image/registries/image-upload-command?"+
			"registry_addr=registry.example.com&namespace=team&username=alice&password=secret", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-Auth-Token", token)
		resp, err := s.Client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(body)
	}
	ann, ben := k.Token(t, "ann", "pass word", "cn-test-1"), k.Token(t, "ben", "pass word", "cn-test-1")
	for _, tt := range []struct {
		name, token, project string
		want                 int
	}{
		{"reader", ann, project, 200},
		{"other project", ann, other, 403},
		{"role without permission", ben, project, 403},
		{"no scope", k.Token(t, "ann", "pass word", ""), project, 403},
		{"Keystone's administrator, own project", k.adminToken, other, 403},
		{"nonsense", "gAAAAAnonsense", project, 401},
		{"own token", s.token(t), s.ProjectID, 200},
	} {
		if got, body := ask(tt.token, tt.project); got != tt.want {
			t.Errorf("%s: status %d, want %d: %s", tt.name, got, tt.want, body)
		}
	}
	if a := s.askSDK(t, aTarget); a.ImageCommand == "" {
		t.Error("access keys do not work beside Keystone")
	}
	fresh := k.Token(t, "ann", "pass word", "cn-test-1")
	if err := k.stop(15); err == nil {
		t.Log("Keystone ended with status 0")
	}
	if got, body := ask(fresh, project); got != http.StatusServiceUnavailable {
		t.Errorf("without Keystone: status %d, want 503: %s", got, body)
	}
}
