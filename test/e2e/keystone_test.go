//go:build linux

package e2e

import (
	"bytes"
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	_ "modernc.org/sqlite" // for Keystone's database

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/identity/keystone"
)

// A keystoneServer is Debian's Keystone over SQLite, on a port of its own.
type keystoneServer struct {
	*process
	URL           string // with /v3
	AdminPassword string // of user admin in project admin, domain Default
	client        *http.Client
	adminToken    string
}

const keystoneManage, keystoneServe = "/usr/bin/keystone-manage", "/usr/bin/keystone-wsgi-public"

// startKeystone starts a fresh Keystone for one test.
func startKeystone(t testing.TB) *keystoneServer {
	t.Helper()
	need(t, keystoneManage, keystoneServe)
	template, err := keystoneTemplate()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(shortDir(t), "keystone")
	if err := os.CopyFS(dir, os.DirFS(template.dir)); err != nil {
		t.Fatal(err)
	}
	if err := writeKeystoneConfig(dir); err != nil {
		t.Fatal(err)
	}
	p, err := launch(command([]string{"OS_KEYSTONE_CONFIG_DIR=" + dir, "OS_KEYSTONE_CONFIG_FILES=keystone.conf"},
		keystoneServe, "--host", "127.0.0.1", "--port", "0"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.stop(syscall.SIGTERM) })
	found, err := p.await(&p.stdout, `Available at http://[^:]+:(\d+)/`)
	if err != nil {
		t.Fatal(err)
	}
	k := &keystoneServer{
		process:       p,
		URL:           "http://127.0.0.1:" + found[1] + "/v3",
		AdminPassword: template.password,
		client:        &http.Client{Timeout: patience},
	}
	k.adminToken = k.Token(t, "admin", k.AdminPassword, "admin")
	return k
}

// A bootstrapped is the folder of a Keystone that has its tables, its keys and
// its administrator. To make it takes longer than all else, so it is made once.
type bootstrapped struct{ dir, password string }

var keystoneTemplate = sync.OnceValues(func() (b bootstrapped, err error) {
	if b.dir, err = tempDir(); err != nil {
		return b, err
	}
	theSuite.atEnd(func() { _ = os.RemoveAll(b.dir) })
	if err := writeKeystoneConfig(b.dir); err != nil {
		return b, err
	}
	// What keystone-manage fernet_setup and credential_setup do.
	for _, folder := range []string{"fernet", "credential"} {
		if err := os.Mkdir(filepath.Join(b.dir, folder), 0o700); err != nil {
			return b, err
		}
		for _, file := range []string{"0", "1"} {
			key := make([]byte, 32)
			_, _ = rand.Read(key) // never fails
			text := base64.URLEncoding.EncodeToString(key)
			if err := os.WriteFile(filepath.Join(b.dir, folder, file), []byte(text), 0o600); err != nil {
				return b, err
			}
		}
	}
	b.password = rand.Text()
	for _, verb := range []string{"db_sync", "bootstrap"} {
		cmd := command([]string{"OS_BOOTSTRAP_PASSWORD=" + b.password}, keystoneManage,
			"--config-file", filepath.Join(b.dir, "keystone.conf"), verb)
		if out, err := cmd.CombinedOutput(); err != nil {
			return b, fmt.Errorf("keystone-manage %s: %w\n%s", verb, err, out)
		}
	}
	return b, letReadersBe(filepath.Join(b.dir, "keystone.db"))
})

// letReadersBe turns on SQLite's write-ahead log, for good. Keystone leaves a
// reading connection open, which without the log blocks its own next commit
// until that times out.
func letReadersBe(path string) error {
	db, err := sql.Open("sqlite", path)
	if err != nil {
		return err
	}
	_, err = db.Exec("PRAGMA journal_mode=WAL")
	return errors.Join(err, db.Close())
}

func writeKeystoneConfig(dir string) error {
	text := fmt.Sprintf(`[DEFAULT]
log_dir =
use_stderr = true
max_token_size = 32768
[database]
connection = sqlite:///%[1]s/keystone.db
[fernet_tokens]
key_repository = %[1]s/fernet
[fernet_receipts]
key_repository = %[1]s/fernet
[credential]
key_repository = %[1]s/credential
[token]
provider = fernet
`, dir)
	return os.WriteFile(filepath.Join(dir, "keystone.conf"), []byte(text), 0o600)
}

// Token signs a user of the domain Default in; with no project the token is
// not scoped.
func (k *keystoneServer) Token(t testing.TB, user, password, project string) string {
	t.Helper()
	domain := map[string]any{"id": "default"}
	auth := map[string]any{"identity": map[string]any{
		"methods":  []string{"password"},
		"password": map[string]any{"user": map[string]any{"name": user, "password": password, "domain": domain}},
	}}
	if project != "" {
		auth["scope"] = map[string]any{"project": map[string]any{"name": project, "domain": domain}}
	}
	header, _ := k.call(t, http.MethodPost, "/auth/tokens", map[string]any{"auth": auth}, http.StatusCreated)
	return header.Get("X-Subject-Token")
}

// NewProject creates a project in the domain Default and returns its id.
func (k *keystoneServer) NewProject(t testing.TB, name string) string {
	t.Helper()
	return k.create(t, "project", map[string]any{"name": name, "domain_id": "default"})
}

// NewUser creates a user in the domain Default and returns the id.
func (k *keystoneServer) NewUser(t testing.TB, name, password string) string {
	t.Helper()
	return k.create(t, "user", map[string]any{"name": name, "password": password, "domain_id": "default"})
}

// NewRole creates a role and returns its id.
func (k *keystoneServer) NewRole(t testing.TB, name string) string {
	t.Helper()
	return k.create(t, "role", map[string]any{"name": name})
}

// Assign gives a user a role in a project, all by id.
func (k *keystoneServer) Assign(t testing.TB, projectID, userID, roleID string) {
	t.Helper()
	k.call(t, http.MethodPut, "/projects/"+projectID+"/users/"+userID+"/roles/"+roleID, nil, http.StatusNoContent)
}

// Revoke ends a token.
func (k *keystoneServer) Revoke(t testing.TB, token string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodDelete, k.URL+"/auth/tokens", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Auth-Token", k.adminToken)
	req.Header.Set("X-Subject-Token", token)
	resp, err := k.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent {
		t.Fatalf("DELETE /auth/tokens: %s", resp.Status)
	}
}

func (k *keystoneServer) create(t testing.TB, noun string, properties map[string]any) string {
	t.Helper()
	_, body := k.call(t, http.MethodPost, "/"+noun+"s", map[string]any{noun: properties}, http.StatusCreated)
	var made map[string]struct{ ID string }
	if err := json.Unmarshal(body, &made); err != nil {
		t.Fatal(err)
	}
	return made[noun].ID
}

// call speaks to Keystone as its administrator.
func (k *keystoneServer) call(t testing.TB, method, path string, body any, want int) (http.Header, []byte) {
	t.Helper()
	var raw []byte
	if body != nil {
		var err error
		if raw, err = json.Marshal(body); err != nil {
			t.Fatal(err)
		}
	}
	req, err := http.NewRequest(method, k.URL+path, bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Auth-Token", k.adminToken)
	resp, err := k.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != want {
		t.Fatalf("%s %s: %s\n%s\n%s", method, path, resp.Status, answer, &k.stderr)
	}
	return resp.Header, answer
}

func TestKeystoneClientOnRealKeystone(t *testing.T) {
	k := startKeystone(t)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	project := k.NewProject(t, "cn-test-1")
	user := k.NewUser(t, "ann", "pass word")
	k.Assign(t, project, user, k.NewRole(t, "HSS ReadOnlyAccess"))
	token := k.Token(t, "ann", "pass word", "cn-test-1")

	client, err := keystone.New(keystone.Options{URL: k.URL, CacheTTL: time.Nanosecond})
	if err != nil {
		t.Fatal(err)
	}
	got, err := client.AuthenticateToken(ctx, token)
	if err != nil {
		t.Fatal(err)
	}
	if got.UserID != user || got.UserName != "ann" || got.DomainID != "default" || got.DomainName != "Default" ||
		got.ProjectID != project || got.ProjectName != "cn-test-1" || len(got.Roles) != 1 || got.Roles[0] != "HSS ReadOnlyAccess" {
		t.Errorf("the token is of %+v", got)
	}
	if until := time.Until(got.Expires); until <= 0 || until > 24*time.Hour {
		t.Errorf("the token expires in %s", until)
	}

	unscoped, err := client.AuthenticateToken(ctx, k.Token(t, "ann", "pass word", ""))
	if err != nil || unscoped.ProjectID != "" || unscoped.UserID != user {
		t.Errorf("a token without scope: %+v, %v", unscoped, err)
	}
	k.Revoke(t, token)
	wantKind(t, client, token, tidewaiter.Unauthenticated, "a revoked token")
	wantKind(t, client, "gAAAAABnonsense", tidewaiter.Unauthenticated, "nonsense")

	second := k.Token(t, "ann", "pass word", "cn-test-1")
	if err := k.stop(syscall.SIGTERM); err == nil {
		t.Log("Keystone ended with status 0")
	}
	wantKind(t, client, second, tidewaiter.Unavailable, "with Keystone gone, a good token")
}

func wantKind(t testing.TB, client *keystone.Client, token string, want tidewaiter.Kind, what string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, err := client.AuthenticateToken(ctx, token)
	var e *tidewaiter.Error
	if !errors.As(err, &e) || e.Kind != want {
		t.Errorf("%s: %v, want an error of kind %s", what, err, want)
	}
	if err != nil && bytes.Contains([]byte(err.Error()), []byte(token)) {
		t.Errorf("%s: the error repeats the token", what)
	}
}
