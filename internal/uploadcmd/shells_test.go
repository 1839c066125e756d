package uploadcmd

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// shell is one way in which a user's shell may read a command.
type shell struct {
	name        string
	program     string
	options     []string
	interactive bool   // reads commands from standard input, with history expansion
	locale      string // LC_ALL
	cases       int    // how many requests TestPushInRealShells runs
}

func shells() []shell {
	return []shell{
		{"dash", "dash", nil, false, "C.UTF-8", 1000},
		{"bash", "bash", nil, false, "C.UTF-8", 1000},
		{"zsh", "zsh", []string{"-f"}, false, "C.UTF-8", 1000},
		{"bash-i", "bash", []string{"--norc", "--noprofile", "-i"}, true, "C.UTF-8", 300},
		{"zsh-i", "zsh", []string{"-f", "-i"}, true, "C.UTF-8", 300},
		{"bash-as-C", "bash", []string{"--posix"}, false, "C", 100},
		{"zsh-as-C", "zsh", []string{"-f"}, false, "C", 100},
		{"zsh-as-sh", "zsh", []string{"--emulate", "sh", "-f"}, false, "C.UTF-8", 100},
	}
}

// find returns the path of a program that the tests cannot do without.
func find(t *testing.T, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		if program == "zsh" && os.Getenv("TIDEWAITER_E2E") == "" {
			t.Skip("zsh is not installed; install it with test/provision.sh")
		}
		t.Fatalf("%s is not installed; install it with test/provision.sh", program)
	}
	return path
}

// bench is a folder with nothing in its PATH but a docker that notes how it was
// called, and fails at the step named by DOCKER_FAIL.
type bench struct {
	shell          shell
	dir, log, path string
}

func newBench(t *testing.T, sh shell) bench {
	t.Helper()
	program := find(t, sh.program)
	dir := t.TempDir()
	sh.program = program
	b := bench{shell: sh, dir: dir, log: filepath.Join(dir, "log"), path: filepath.Join(dir, "path")}
	stub := "#!" + find(t, "dash") + "\n" +
		`printf '%s\0' call $# "$@" >>"$DOCKER_LOG"` + "\n" +
		`if [ "$1" = login ]; then ` + find(t, "cat") + ` >>"$DOCKER_LOG"; printf '\0' >>"$DOCKER_LOG"; fi` + "\n" +
		`[ "$1" != "$DOCKER_FAIL" ]` + "\n"
	if err := os.Mkdir(b.path, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(b.path, "docker"), []byte(stub), 0o700); err != nil {
		t.Fatal(err)
	}
	return b
}

// line is one command for a shell; the shell notes its exit status.
type line struct {
	command string
	fail    string // the step at which docker is to fail
}

// outcome is what became of a line.
type outcome struct {
	Calls  []call
	Status int
}

// run gives all lines to one shell and returns what each led to.
func (b bench) run(t *testing.T, lines []line) []outcome {
	t.Helper()
	var script bytes.Buffer
	for _, l := range lines {
		fmt.Fprintf(&script, "DOCKER_FAIL=%s\n%s\nprintf 'status\\0%%s\\0' $? >>\"$DOCKER_LOG\"\n", l.fail, l.command)
	}
	name := filepath.Join(b.dir, "script")
	if err := os.WriteFile(name, script.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(b.log); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	cmd := exec.Command(b.shell.program, b.shell.options...)
	cmd.Dir = b.dir
	cmd.Env = []string{"PATH=" + b.path, "HOME=" + b.dir, "LC_ALL=" + b.shell.locale, "DOCKER_LOG=" + b.log, "DOCKER_FAIL="}
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if b.shell.interactive {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		cmd.Stdin = f
	} else {
		cmd.Args = append(cmd.Args, name)
	}
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s", b.shell.program, err, output.Bytes())
	}
	if !b.shell.interactive && output.Len() > 0 {
		t.Fatalf("%s printed: %s", b.shell.program, output.Bytes())
	}
	outcomes := b.readLog(t)
	if len(outcomes) != len(lines) {
		t.Fatalf("%s finished %d of %d lines: %s", b.shell.program, len(outcomes), len(lines), output.Bytes())
	}
	return outcomes
}

// readLog reads the fields, each ended by a NUL, that docker and the shell
// wrote.
func (b bench) readLog(t *testing.T) []outcome {
	t.Helper()
	log, err := os.ReadFile(b.log)
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Split(strings.TrimSuffix(string(log), "\x00"), "\x00")
	next := func() string {
		if len(fields) == 0 {
			t.Fatal("the log is cut short")
		}
		f := fields[0]
		fields = fields[1:]
		return f
	}
	number := func() int {
		n, err := strconv.Atoi(next())
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	var outcomes []outcome
	var calls []call
	for len(fields) > 0 {
		switch kind := next(); kind {
		case "call":
			var c call
			for range number() {
				c.Args = append(c.Args, next())
			}
			if len(c.Args) > 0 && c.Args[0] == "login" {
				c.Stdin = next()
			}
			calls = append(calls, c)
		case "status":
			outcomes = append(outcomes, outcome{calls, number()})
			calls = nil
		default:
			t.Fatalf("%q in the log", kind)
		}
	}
	return outcomes
}

// TestPushInRealShells runs different requests in each shell, 3,000 and more in
// all; three times as many where the end-to-end tests run.
func TestPushInRealShells(t *testing.T) {
	t.Parallel()
	for i, sh := range shells() {
		t.Run(sh.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, sh)
			cases := sh.cases
			if testing.Short() {
				cases /= 10
			}
			if os.Getenv("TIDEWAITER_E2E") != "" {
				cases *= 3
			}
			var lines []line
			var want []outcome
			for n := range cases {
				seed := uint64(n*len(shells()) + i)
				rng := seeded(seed)
				r := legalRequest(t, rng.IntN)
				form := Push(r, testImage)
				if rng.IntN(4) == 0 {
					form = compact(r, testImage)
				}
				lines = append(lines, line{command: form})
				want = append(want, outcome{Calls: wantCalls(r, testImage)})
			}
			for n, got := range b.run(t, lines) {
				if diff := cmp.Diff(want[n], got); diff != "" {
					t.Fatalf("seed %d: (-want +got)\n%s\n%s", n*len(shells())+i, diff, lines[n].command)
				}
			}
		})
	}
}

func TestPushStopsAtAFailedStep(t *testing.T) {
	t.Parallel()
	hard := Request{
		Address: address(t, "https://registry.example:5000"), Namespace: "a/b",
		Username: "o'neill", Password: strings.Repeat("'!", 64),
	}
	for _, sh := range shells() {
		t.Run(sh.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, sh)
			var lines []line
			var want []outcome
			calls := wantCalls(hard, testImage)
			for _, command := range []string{plain(hard, testImage), compact(hard, testImage)} {
				for i, c := range calls {
					lines = append(lines, line{command, c.Args[0]})
					want = append(want, outcome{calls[:i+1], 1})
				}
			}
			if diff := cmp.Diff(want, b.run(t, lines)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// TestInteractiveShellsExpandHistory shows that the interactive runs above
// would notice a '!' outside quotes.
func TestInteractiveShellsExpandHistory(t *testing.T) {
	t.Parallel()
	for _, sh := range shells() {
		if !sh.interactive {
			continue
		}
		t.Run(sh.name, func(t *testing.T) {
			t.Parallel()
			got := newBench(t, sh).run(t, []line{{command: "docker first"}, {command: `docker bare !docker "and !docker"`}, {command: `docker kept '!docker' \!docker`}})
			want := []outcome{
				{Calls: []call{{Args: []string{"first"}}}},
				{Calls: []call{{Args: []string{"bare", "docker", "first", "and docker first"}}}},
				{Calls: []call{{Args: []string{"kept", "!docker", "!docker"}}}},
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestCompactLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	r := Request{Address: address(t, "registry.example"), Namespace: "a", Username: "u'", Password: "p'"}
	for _, sh := range shells() {
		t.Run(sh.name, func(t *testing.T) {
			t.Parallel()
			got := newBench(t, sh).run(t, []line{{command: compact(r, testImage)}, {command: `docker "${addr-none}${n-none}${u-none}${image-none}"`}, {command: `_q 0 0 2>/dev/null`}})
			want := []outcome{
				{Calls: wantCalls(r, testImage)},
				{Calls: []call{{Args: []string{"nonenonenonenone"}}}},
				{Status: 127},
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}
