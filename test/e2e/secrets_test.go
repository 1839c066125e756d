//go:build linux

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/huaweicloud/huaweicloud-sdk-go-v3/services/hss/v5/model"
)

// planted are secrets that must appear nowhere but where they belong.
type planted map[string]string

// TestSecretsAppearNowhere plants a registry password, tokens, the
// administrator's password and a secret key in every way that a request can
// carry them, runs the upload command with them, and looks for them: in logs at
// debug level, in metrics, in answers that are errors, in every file of the data
// folder, and among the arguments of every process meanwhile.
func TestSecretsAppearNowhere(t *testing.T) {
	for _, database := range []string{"sqlite", "postgres"} {
		t.Run(database, func(t *testing.T) { lookForSecrets(t, database) })
	}
}

func lookForSecrets(t *testing.T, database string) {
	d := startDockerd(t)
	var db *postgres
	if database == "postgres" {
		db = startPostgres(t)
		t.Setenv("TIDEWAITER_DATABASE", db.URL) // it has a password, and so is no argument
	}
	s := startTidewaiter(t, "--log-level", "debug", "--log-format", "json", "--metrics-listen", "127.0.0.1:0")
	metrics, err := s.await(&s.stderr, `"metrics","url":"([^"]+)"`)
	if err != nil {
		t.Fatal(err)
	}
	const password = "Pl4nted-Reg1stry-Pa55word"
	r := startRegistry(t, registryOptions{User: "alice", Password: password})
	token := s.token(t)
	secrets := planted{
		"registry password": password, "token": token, "administrator's password": s.Password, "secret key": s.SecretKey,
	}
	arguments := watchArguments(t, secrets, "docker")

	asked := s.askSDK(t, target{r.Addr, "team", "alice", password})
	dir := s.download(t, asked.ImagesDownloadURL)
	for _, sh := range []string{"dash", "bash -i"} {
		if written, status := shell(t, sh, asked.ImageCommand, d.env(t.TempDir()), dir); status != 0 {
			t.Fatalf("status %d:\n%s", status, written)
		}
	}
	output(t, command(nil, tidewaiterProgram(t), "component", "push", "--registry", r.URL(), "--namespace", "pushed",
		"--username", "alice", "--password-stdin"), password)
	output(t, command(nil, tidewaiterProgram(t), "user", "create", "bob", "--password-stdin", "--data", s.Data), password)

	for _, answer := range s.misuse(t, secrets) {
		secrets.lookIn(t, "an answer", answer)
	}
	secrets.lookIn(t, "the metrics", fetch(t, metrics[1]))
	arguments()
	s.Stop(t)
	if db != nil {
		db.query(t, "checkpoint")
	}

	log := s.stderr.String()
	if !strings.Contains(log, `"route":"GET /v5/{project_id}/image/registries/image-upload-command"`) {
		t.Fatalf("the log has no requests, so that looking in it proves nothing:\n%s", log)
	}
	secrets.lookIn(t, "the log", []byte(log))
	secrets.lookInFiles(t, s.Data, "bootstrap.json")
	if db != nil {
		secrets.lookInFiles(t, db.Data, "")
	}
}

// misuse sends the secrets wherever a confused client might, and returns all
// answers that are errors.
func (s *server) misuse(t testing.TB, secrets planted) [][]byte {
	t.Helper()
	operation := "/v5/" + s.ProjectID + "/image/registries/image-upload-command"
	var answers [][]byte
	send := func(method, target string, header http.Header, body string) {
		t.Helper()
		r, err := http.NewRequest(method, s.URL+target, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header = header
		resp, err := s.Client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode < 400 {
			t.Errorf("%s %s was taken: %s", method, strings.Split(target, "?")[0], resp.Status)
		}
		answers = append(answers, b)
		answers = append(answers, []byte(fmt.Sprint(resp.Header)))
	}
	for _, secret := range secrets {
		q := url.QueryEscape(secret)
		for _, target := range []string{
			operation + "?password=" + q, operation + "?password=" + q + "&password=" + q, operation + "?" + q,
			operation + "?" + q + "=1", operation + "?password=" + q + "%zz", operation + "?password=" + q + ";",
			operation + "?registry_addr=" + q + "@h&namespace=" + q + "&username=" + q + "&password=" + q + "%00",
			operation + "%3Fpassword=" + q, "/" + q, "/v2/" + q + "/manifests/" + q, "/components/" + q, "/v5/" + q + "/image/registries",
			operation + "?password=" + q + strings.Repeat("x", 40000),
		} {
			for _, header := range []http.Header{
				{}, {"X-Auth-Token": {secrets["token"]}}, {"X-Auth-Token": {secret + "x"}}, {"X-Auth-Token": {secret, secret}},
				{"Authorization": {secret}}, {"Authorization": {"SDK-HMAC-SHA256 Access=" + secret + ", SignedHeaders=" + secret + ", Signature=" + secret}},
				{"X-Auth-Token": {secrets["token"]}, "X-Project-Id": {secret}, "X-Request-Id": {secret}},
			} {
				send(http.MethodGet, target, header, "")
			}
		}
		for _, body := range []string{
			secret, `{"auth":` + secret, `{"auth":{"identity":{"methods":["password"],"password":{"user":{"name":"admin","password":"` + secret + `x","domain":{"name":"nobody"}}}}}}`,
			`{"auth":{"identity":{"methods":["` + secret + `"]}}}`, `{"auth":"` + secret + `"}`,
		} {
			send(http.MethodPost, "/v3/auth/tokens", http.Header{"Content-Type": {"application/json"}}, body)
		}
	}
	// The SDK turns answers into errors, and its users log them.
	_, err := s.sdk(t).ShowImageUploadCommand(&model.ShowImageUploadCommandRequest{
		RegistryAddr: "h/path", Namespace: "n", Username: "u", Password: secrets["registry password"],
	})
	if err == nil {
		t.Fatal("a path in the address was taken")
	}
	return append(answers, []byte(err.Error()))
}

func (p planted) lookIn(t testing.TB, where string, text []byte) {
	t.Helper()
	for what, secret := range p {
		if i := bytes.Index(text, []byte(secret)); i >= 0 {
			t.Errorf("%s has the %s: …%q…", where, what, text[max(0, i-80):min(len(text), i+len(secret)+40)])
		}
	}
}

func (p planted) lookInFiles(t testing.TB, dir, except string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() || except != "" && entry.Name() == except {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files++
		p.lookIn(t, "the file "+entry.Name(), b)
		return nil
	})
	if err != nil || files < 2 {
		t.Fatalf("looked in %d files of %s: %v", files, dir, err)
	}
}

// watchArguments looks for the secrets among the arguments of all processes
// until the returned function is called, and wants to have seen a program.
func watchArguments(t testing.TB, secrets planted, program string) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	found := map[string]string{}
	processes := map[string]bool{}
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
			for _, file := range files {
				args, err := os.ReadFile(file)
				if err != nil {
					continue // it has ended
				}
				name, _, _ := bytes.Cut(args, []byte{0})
				processes[filepath.Base(string(name))] = true
				for what, secret := range secrets {
					// "dash -c SCRIPT" is this test's way to run the command; a
					// user's shell reads it from a terminal, not as an argument.
					if bytes.Contains(args, []byte(secret)) && !bytes.HasPrefix(args, []byte("/usr/bin/dash\x00-c\x00")) {
						found[what] = strings.ReplaceAll(string(args), "\x00", " ")
					}
				}
			}
			time.Sleep(time.Millisecond)
		}
	})
	return func() {
		cancel()
		wg.Wait()
		if !processes[program] {
			t.Errorf("no %s was seen among the processes: the watch is too slow to prove anything", program)
		}
		for what, args := range found {
			t.Errorf("the %s was an argument of: %s", what, args)
		}
	}
}

func fetch(t testing.TB, url string) []byte {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK || len(b) == 0 {
		t.Fatalf("GET %s: %s, %d bytes, %v", url, resp.Status, len(b), err)
	}
	return b
}
