package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/tidewaiter/tidewaiter/internal/component"
)

// TestMain lets the scripts run this program as the command tidewaiter.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"tidewaiter": main})
}

// TestScripts runs testdata/*.txt. Beside testscript's commands they have:
//
//	serve NAME [ARG...]    run "tidewaiter serve --listen 127.0.0.1:0 ARG..." until it
//	                       is ready; its output is in NAME.out and NAME.err, its URL in $URL
//	terminate NAME         send SIGTERM to it, and want exit status 0
//	fails STATUS [ARG...]  run "tidewaiter ARG..." and want this exit status
//	admin [ARG...]         run "tidewaiter ARG... $TARGET", $TARGET split at blanks
//	adminfails STATUS [ARG...]
//	field VAR NAME FILE    put the text that a JSON object has under a name into $VAR
//	mode OCTAL FILE...     want these permissions
//	poll REGEXP PROG [ARG...]  run it until its output matches
func TestScripts(t *testing.T) {
	needComponent(t)
	testscript.Run(t, testscript.Params{Dir: "testdata", Setup: setUp, Cmds: commands(), RequireUniqueNames: true})
}

// TestAdminScripts runs testdata/admin/*.txt on the data folder of a server that
// is stopped, on that of one that runs, and on a server by its URL.
func TestAdminScripts(t *testing.T) {
	needComponent(t)
	for _, where := range []string{"stopped", "running", "remote"} {
		t.Run(where, func(t *testing.T) {
			if testing.Short() && where != "running" {
				t.Skip("the same commands once more, each a process; two at work at once, on one folder, is the case for the race detector")
			}
			testscript.Run(t, testscript.Params{
				Dir: "testdata/admin", Cmds: commands(), RequireUniqueNames: true,
				Setup: func(env *testscript.Env) error {
					if err := setUp(env); err != nil {
						return err
					}
					s, err := startServer(env.WorkDir, "server", env.Vars, "--data", "data")
					if err != nil {
						return err
					}
					env.Setenv("URL", s.url)
					env.Setenv("TARGET", "--data data")
					switch where {
					case "stopped":
						return s.terminate()
					case "remote":
						env.Setenv("TARGET", "--credentials data/bootstrap.json --server "+s.url)
					}
					env.Defer(s.kill)
					return nil
				},
			})
		})
	}
}

func needComponent(t *testing.T) {
	t.Helper()
	if _, err := component.Embedded(); err != nil {
		t.Fatalf("run make component first: %v", err)
	}
}

// serversKey is where a script keeps its servers, by name.
type serversKey struct{}

// setUp keeps what this machine has configured away from the scripts.
func setUp(env *testscript.Env) error {
	env.Values[serversKey{}] = map[string]*served{}
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, "TIDEWAITER_") || strings.HasSuffix(strings.ToLower(name), "_proxy") {
			env.Setenv(name, "")
		}
	}
	return nil
}

func commands() map[string]func(*testscript.TestScript, bool, []string) {
	run := func(ts *testscript.TestScript, want int, args []string) {
		status := 0
		if err := ts.Exec("tidewaiter", args...); err != nil {
			e, ok := errors.AsType[*exec.ExitError](err)
			if !ok {
				ts.Fatalf("%v", err)
			}
			status = e.ExitCode()
		}
		if status != want {
			ts.Fatalf("exit status %d, want %d", status, want)
		}
	}
	target := func(ts *testscript.TestScript, args []string) []string {
		return append(args, strings.Fields(ts.Getenv("TARGET"))...)
	}
	number := func(ts *testscript.TestScript, s string, base int) int {
		n, err := strconv.ParseInt(s, base, 32)
		ts.Check(err)
		return int(n)
	}
	return map[string]func(*testscript.TestScript, bool, []string){
		"serve": scriptServe,
		"terminate": func(ts *testscript.TestScript, _ bool, args []string) {
			s := ts.Value(serversKey{}).(map[string]*served)[args[0]]
			if s == nil {
				ts.Fatalf("there is no server %s", args[0])
			}
			ts.Check(s.terminate())
		},
		"fails": func(ts *testscript.TestScript, _ bool, args []string) {
			run(ts, number(ts, args[0], 10), args[1:])
		},
		"admin": func(ts *testscript.TestScript, _ bool, args []string) { run(ts, 0, target(ts, args)) },
		"adminfails": func(ts *testscript.TestScript, _ bool, args []string) {
			run(ts, number(ts, args[0], 10), target(ts, args[1:]))
		},
		"field": func(ts *testscript.TestScript, _ bool, args []string) {
			var object map[string]any
			ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[2])), &object))
			text, ok := object[args[1]].(string)
			if !ok || text == "" {
				ts.Fatalf("%s has no text %q", args[2], args[1])
			}
			ts.Setenv(args[0], text)
		},
		"poll": func(ts *testscript.TestScript, _ bool, args []string) {
			want := regexp.MustCompile("(?m)" + args[0])
			for range 600 { // a minute: only a machine that is stuck takes that long
				_ = ts.Exec(args[1], args[2:]...) // its output decides
				if want.MatchString(ts.ReadFile("stdout") + ts.ReadFile("stderr")) {
					return
				}
				time.Sleep(100 * time.Millisecond)
			}
			ts.Fatalf("%v never said %s", args[1:], args[0])
		},
		"mode": func(ts *testscript.TestScript, _ bool, args []string) {
			for _, file := range args[1:] {
				info, err := os.Stat(ts.MkAbs(file))
				ts.Check(err)
				if got, want := info.Mode().Perm(), os.FileMode(number(ts, args[0], 8)); got != want { //nolint:gosec // nine bits
					ts.Fatalf("%s has mode %o, want %o", file, got, want)
				}
			}
		},
	}
}

func scriptServe(ts *testscript.TestScript, _ bool, args []string) {
	vars := []string{}
	for _, name := range []string{"PATH", "HOME", "TMPDIR"} {
		vars = append(vars, name+"="+ts.Getenv(name))
	}
	s, err := startServer(ts.MkAbs("."), args[0], vars, args[1:]...)
	ts.Check(err)
	ts.Defer(s.kill)
	ts.Setenv("URL", s.url)
	ts.Value(serversKey{}).(map[string]*served)[args[0]] = s
}

// served is a server that runs as a process of its own.
type served struct {
	cmd *exec.Cmd
	url string
	out []*os.File
}

func startServer(dir, name string, environ []string, args ...string) (*served, error) {
	path, err := exec.LookPath("tidewaiter")
	if err != nil {
		return nil, err
	}
	s := &served{cmd: exec.Command(path, append([]string{"serve", "--listen", "127.0.0.1:0"}, args...)...)}
	// As a shell would start it, so that it prints a command that a shell finds.
	s.cmd.Args[0], s.cmd.Dir, s.cmd.Env = "tidewaiter", dir, environ
	stderr := filepath.Join(dir, name+".err")
	for _, file := range []string{filepath.Join(dir, name+".out"), stderr} {
		f, err := os.Create(file)
		if err != nil {
			return nil, err
		}
		s.out = append(s.out, f)
	}
	s.cmd.Stdout, s.cmd.Stderr = s.out[0], s.out[1]
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	stdout := s.out[0]
	ready := regexp.MustCompile(`(?m)msg=ready endpoint=(\S+) .*\n`)
	for range 6000 { // a minute: only a machine that is stuck takes that long
		log, err := os.ReadFile(stderr)
		if err != nil {
			return nil, err
		}
		said, err := stdout.Stat()
		if err != nil {
			return nil, err
		}
		if m := ready.FindSubmatch(log); m != nil && said.Size() > 0 {
			s.url = string(m[1])
			return s, nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	s.kill()
	return nil, fmt.Errorf("the server did not get ready; see %s", stderr)
}

// terminate asks the server to stop, and wants it to end well.
func (s *served) terminate() error {
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	err := s.cmd.Wait()
	s.close()
	if err != nil {
		return fmt.Errorf("after SIGTERM: %w", err)
	}
	return nil
}

// kill ends the server if it still runs.
func (s *served) kill() {
	if s.cmd.ProcessState == nil {
		s.cmd.Process.Kill() //nolint:errcheck // it is gone already
		s.cmd.Wait()         //nolint:errcheck // it was killed
	}
	s.close()
}

func (s *served) close() {
	for _, f := range s.out {
		f.Close()
	}
}
