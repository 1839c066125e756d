//go:build linux

package e2e

import (
	"bytes"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"filippo.io/age"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/services/hss/v5/model"
)

// disguises adds the forms that a program might write a secret in.
func (p planted) disguises() planted {
	all := planted{}
	for what, secret := range p {
		all[what] = secret
		b := []byte(secret)
		quoted, _ := json.Marshal(secret) // a string always can
		for form, text := range map[string]string{
			"base64": base64.StdEncoding.EncodeToString(b), "raw base64": base64.RawStdEncoding.EncodeToString(b),
			"base64 for URLs": base64.RawURLEncoding.EncodeToString(b), "query": url.QueryEscape(secret), "path": url.PathEscape(secret),
			"hexadecimal": hex.EncodeToString(b), "JSON": strings.Trim(string(quoted), `"`),
			"user info":            strings.TrimPrefix(url.UserPassword("", secret).String(), ":"),
			"basic authentication": base64.StdEncoding.EncodeToString([]byte(attachedUser + ":" + secret)),
		} {
			all[what+" in "+form] = text
		}
	}
	return all
}

const proxyPassword, secretKey, wrongPassword = "Pl4nted-Pr0xy-Pa55word", "Pl4nted5WRSecretKey0123456789abcdefghij", "Pl4nted-Wr0ng-Pa55word"

// With an attached cluster nobody but the component can read a credential: it
// stands in no file, log, argument, answer or metric of the server, and the
// server holds no key that opens what it keeps.
func TestAttachedSecretsAppearNowhere(t *testing.T) {
	for _, database := range []string{"sqlite", "postgres"} {
		t.Run(database, func(t *testing.T) {
			var db *postgres
			if database == "postgres" {
				db = startPostgres(t)
				t.Setenv("TIDEWAITER_DATABASE", db.URL)
			}
			lookForAttachedSecrets(t, db)
		})
	}
}

func lookForAttachedSecrets(t *testing.T, db *postgres) {
	secrets := planted{
		"registry password": attachedPassword, "proxy password": proxyPassword,
		"SWR secret key": secretKey, "wrong password": wrongPassword,
	}.disguises()
	arguments := watchArguments(t, secrets, "scan-component")
	a := startAttached(t, "--log-level", "debug", "--log-format", "json", "--metrics-listen", "127.0.0.1:0")
	want := a.reg.fill(t)

	a.sync(t, a.id)
	a.compare(t, a.name, want)
	a.updateRegistry(t, a.id, &model.UpdateRegistryRequestBody{RegistryPassword: ptr(wrongPassword)})
	a.awaitRegistry(t, a.id, "fail")
	answers := []any{a.details(t, a.id), a.test(t, a.id), a.registry(t, a.id), a.syncOf(t, a.failedSync(t)), a.syncTasks(t)}
	a.updateRegistry(t, a.id, &model.UpdateRegistryRequestBody{RegistryPassword: ptr(attachedPassword)})
	a.awaitRegistry(t, a.id, "success")
	a.set(t, a.id, settings{
		"proxy": "http://carol:" + proxyPassword + "@127.0.0.1:9", "swr_access_key": "AK", "swr_secret_key": secretKey,
	})
	a.awaitRegistry(t, a.id, "fail")
	answers = append(answers, a.details(t, a.id), a.test(t, a.id))
	// What is refused, is refused without repeating it.
	for path, body := range map[string]any{
		"/registries/" + a.id:          settings{"proxy": "ftp://" + proxyPassword, "swr_secret_key": secretKey + "\n"},
		"/registries/" + a.id + "/x":   settings{"proxy": proxyPassword},
		"/registries/" + wrongPassword: settings{"swr_secret_key": secretKey},
	} {
		status, answer := a.own(t, http.MethodPatch, path, body, nil)
		if status < 400 {
			t.Errorf("PATCH %s: status %d", path, status)
		}
		answers = append(answers, answer)
	}
	twice := a.connection()
	twice.Protocol = "gopher"
	_, err := a.sdk(t).AddRegistry(&model.AddRegistryRequest{Body: twice})
	answers = append(answers, refused(t, err, 400))

	metrics := a.metrics(t)
	said := a.Said()
	a.restart(t, "--log-level", "debug", "--log-format", "json", "--metrics-listen", "127.0.0.1:0")
	metrics += a.metrics(t)
	a.Stop(t)
	_ = a.component.stop(syscall.SIGTERM)
	arguments()

	said += a.Said()
	if !strings.Contains(said, "registries") {
		t.Fatalf("the log has no requests, so that looking in it proves nothing:\n%s", said)
	}
	secrets.lookIn(t, "the log", []byte(said))
	secrets.lookIn(t, "the component's log", []byte(a.component.stdout.String()+a.component.stderr.String()))
	secrets.lookIn(t, "the metrics", []byte(metrics))
	text, err := json.Marshal(answers)
	if err != nil {
		t.Fatal(err)
	}
	secrets.lookIn(t, "an answer", text)
	secrets.lookInFiles(t, a.Data, "")
	secrets.lookInFiles(t, filepath.Dir(a.component.State), "")
	if db != nil {
		db.query(t, "checkpoint")
		secrets.lookInFiles(t, db.Data, "")
	}
	for _, e := range a.way.Seen("/component/v1/") {
		secrets.lookIn(t, "what the component sends to "+e.Path, e.Body)
		secrets.lookIn(t, "what the component gets from "+e.Path, e.Answer)
	}
	onlyTheComponentOpens(t, a, db)
}

// failedSync runs a synchronisation that cannot go well.
func (a *attached) failedSync(t *testing.T) string {
	t.Helper()
	task := a.startSync(t, a.id)
	for _, one := range a.awaitSync(t, task) {
		if *one.SyncStatus != "failed" {
			t.Errorf("the synchronisation ended as %s", *one.SyncStatus)
		}
	}
	return task
}

// metrics returns what the server counts. Its port is within its own network.
func (s *server) metrics(t *testing.T) string {
	t.Helper()
	found, err := s.await(&s.stderr, `"metrics","url":"http://([^/"]+)/metrics"`)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := dialIn(t.Context(), s.cmd.Process.Pid, found[1])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("GET /metrics HTTP/1.0\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := b.ReadFrom(conn); err != nil || !strings.Contains(b.String(), "go_") {
		t.Fatalf("the metrics are %s (%v)", &b, err)
	}
	return b.String()
}

// onlyTheComponentOpens takes every age identity in the server's data folder
// and in the component's, and tries them on what is sealed in the database.
func onlyTheComponentOpens(t *testing.T, a *attached, db *postgres) {
	t.Helper()
	rows := map[string][]byte{}
	if db == nil {
		rows = sealedIn(t, a.Data)
	} else {
		for _, row := range db.query(t, "SELECT name, encode(sealed, 'hex') FROM registry_secrets") {
			name, sealed, _ := strings.Cut(row, "|")
			var err error
			if rows[name], err = hex.DecodeString(sealed); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(rows) != 3 {
		t.Fatalf("%d secrets are sealed, want 3", len(rows))
	}
	server, component := identitiesIn(t, a.Data), identitiesIn(t, a.component.State)
	if len(server) == 0 || len(component) == 0 {
		t.Fatalf("found %d identities of the server's own component and %d of the attached one", len(server), len(component))
	}
	opened := 0
	for name, sealed := range rows {
		if _, err := age.Decrypt(bytes.NewReader(sealed), server...); err == nil {
			t.Errorf("a key in the server's data folder opens %s", name)
		}
		if r, err := age.Decrypt(bytes.NewReader(sealed), component...); err == nil {
			var content struct{ Secret []byte }
			if err := json.NewDecoder(r).Decode(&content); err != nil {
				t.Error(err)
			}
			for _, secret := range []string{attachedPassword, proxyPassword, secretKey} {
				if strings.Contains(string(content.Secret), secret) {
					opened++
				}
			}
		}
	}
	if opened != 3 {
		t.Errorf("the component's keys open %d of 3 secrets, so that trying keys proves nothing", opened)
	}
}

// sealedIn returns the sealed secrets in a data folder with SQLite, by name.
func sealedIn(t *testing.T, data string) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(data, "*.db"))
	if err != nil || len(files) != 1 {
		t.Fatalf("databases: %q, %v", files, err)
	}
	db, err := sql.Open("sqlite", files[0])
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.QueryContext(t.Context(), "SELECT name, sealed FROM registry_secrets")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	found := map[string][]byte{}
	for rows.Next() {
		var name string
		var sealed []byte
		if err := rows.Scan(&name, &sealed); err != nil {
			t.Fatal(err)
		}
		found[name] = sealed
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return found
}

// identitiesIn returns every age identity in the files of a folder.
func identitiesIn(t *testing.T, dir string) []age.Identity {
	t.Helper()
	pattern := regexp.MustCompile(`(?i)AGE-SECRET-KEY-1[0-9A-Z]+`)
	var found []age.Identity
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		for _, text := range pattern.FindAllString(string(b), -1) {
			if identity, err := age.ParseX25519Identity(strings.ToUpper(text)); err == nil {
				found = append(found, identity)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
