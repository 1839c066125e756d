//go:build linux

package e2e

import (
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	hss "github.com/huaweicloud/huaweicloud-sdk-go-v3/services/hss/v5"
)

// A server is a running `tidewaiter serve`.
type server struct {
	*process
	bootstrap
	Data string // its data folder
	// URL is where it listens now, which bootstrap.json does not tell after a
	// restart on another port.
	URL    string
	Client *http.Client // trusts any certificate; follows no redirect

	mu     sync.Mutex
	client *hss.HssClient // see sdk
	signIn string         // see ownToken
}

// bootstrap is what the first start writes to DATA/bootstrap.json.
type bootstrap struct {
	Endpoint    string `json:"endpoint"`
	Domain      string `json:"domain"`
	User        string `json:"user"`
	Password    string `json:"password"`
	ProjectID   string `json:"project_id"`
	ProjectName string `json:"project_name"`
	AccessKey   string `json:"access_key"`
	SecretKey   string `json:"secret_key"`
}

// tidewaiterProgram returns the built program: TIDEWAITER_BIN, or bin/tidewaiter.
func tidewaiterProgram(t testing.TB) string {
	t.Helper()
	program := os.Getenv("TIDEWAITER_BIN")
	if program == "" {
		var err error
		if program, err = filepath.Abs("../../bin/tidewaiter"); err != nil {
			t.Fatal(err)
		}
	}
	need(t)
	if _, err := os.Stat(program); err != nil {
		t.Fatalf("no program to test (make build): %v", err)
	}
	return program
}

// startTidewaiter runs `tidewaiter serve` until the end of the test and waits
// until it is ready. Unless args say otherwise the data folder is a new one
// and the port the kernel's choice.
func startTidewaiter(t testing.TB, args ...string) *server {
	t.Helper()
	s := startServer(t, nil, args)
	s.awaitReady(t)
	return s
}

// startServer runs `tidewaiter serve` by way of another program, such as one
// that gives it a network of its own. It waits until the server listens.
func startServer(t testing.TB, wrapper, args []string) *server {
	t.Helper()
	s := &server{Client: &http.Client{
		Timeout:       patience,
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	if i := slices.Index(args, "--data"); i >= 0 {
		s.Data = args[i+1]
	} else {
		s.Data = filepath.Join(t.TempDir(), "data")
		args = append(args, "--data", s.Data)
	}
	if !slices.Contains(args, "--listen") {
		args = append(args, "--listen", "127.0.0.1:0")
	}
	if !slices.Contains(args, "--advisories-from") {
		args = append(args, "--advisories-from", "off") // tests are not a reason to ask anybody
	}
	words := slices.Concat(wrapper, []string{tidewaiterProgram(t), "serve"}, args)
	var err error
	if s.process, err = launch(command(nil, words[0], words[1:]...)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.stop(syscall.SIGTERM) })
	found, err := s.await(&s.stderr, `listening"?,? ?"?url"?[=:]"?(https?://[^\s",]+)`)
	if err != nil {
		t.Fatal(err)
	}
	s.URL = found[1]
	return s
}

// awaitReady waits until the server is ready, and reads what it left for its
// operator.
func (s *server) awaitReady(t testing.TB) {
	t.Helper()
	if err := s.until("ready", func() bool { return s.status("/readyz") == http.StatusOK }); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(s.Data, "bootstrap.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &s.bootstrap); err != nil {
		t.Fatal(err)
	}
}

// status returns the status of a GET, 0 if there was no answer.
func (s *server) status(path string) int {
	resp, err := s.Client.Get(s.URL + path)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

// Stop asks the server to end, as an operator does, and wants it to do so well.
func (s *server) Stop(t testing.TB) {
	t.Helper()
	if err := s.stop(syscall.SIGTERM); err != nil {
		t.Errorf("tidewaiter stopped with %v:\n%s", err, &s.stderr)
	}
}

// Kill ends the server as a crash of the machine would.
func (s *server) Kill() { _ = s.stop(syscall.SIGKILL) }

// Said returns all that the server has written so far.
func (s *server) Said() string { return s.stdout.String() + s.stderr.String() }

func TestTidewaiterStartsAndStops(t *testing.T) {
	s := startTidewaiter(t)
	info, err := os.Stat(filepath.Join(s.Data, "bootstrap.json"))
	if err != nil {
		t.Fatal(err)
	}
	if mode := info.Mode().Perm(); mode != 0o600 {
		t.Errorf("bootstrap.json has mode %o, want 600", mode)
	}
	if s.Endpoint != s.URL {
		t.Errorf("bootstrap.json says %s, the log %s", s.Endpoint, s.URL)
	}
	first := s.bootstrap
	s.Stop(t)
	if s.status("/readyz") != 0 {
		t.Error("something still answers")
	}

	again := startTidewaiter(t, "--data", s.Data)
	if again.Password != first.Password || again.SecretKey != first.SecretKey || first.Password == "" {
		t.Error("a second start on the same data made other secrets")
	}
	again.Kill()
	third := startTidewaiter(t, "--data", s.Data)
	if strings.Contains(third.stderr.String(), first.Password) {
		t.Error("the log holds the administrator's password")
	}
}
