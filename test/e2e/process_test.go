//go:build linux

package e2e

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long a program may take to get ready or to stop, on a slow
// machine; nothing here waits this long when all is well.
const patience = 60 * time.Second

// debianPath is the PATH of what the tests start: Debian's programs, so that
// another docker client under /usr/local does not matter.
const debianPath = "PATH=/usr/sbin:/usr/bin:/sbin:/bin"

// markName is the environment variable that all our processes carry.
const markName = "TIDEWAITER_E2E_MARK"

// suite is what the tests of one run share: a mark on every process, and what
// has to be undone at the end.
type suite struct {
	mark string
	mu   sync.Mutex
	end  []func()
}

var theSuite = suite{mark: rand.Text()}

// atEnd runs f after the last test, last come first.
func (s *suite) atEnd(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.end = append(s.end, f)
}

// close undoes everything and returns the processes that are still there.
func (s *suite) close() []string {
	for i := len(s.end) - 1; i >= 0; i-- {
		s.end[i]()
	}
	var alive []string
	for range 50 {
		if alive = s.survivors(); len(alive) == 0 {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	return alive
}

// survivors returns the command lines of the living processes that carry our mark.
func (s *suite) survivors() []string {
	environs, _ := filepath.Glob("/proc/[0-9]*/environ")
	var alive []string
	for _, environ := range environs {
		env, err := os.ReadFile(environ)
		if err != nil || !bytes.Contains(env, []byte(markName+"="+s.mark)) {
			continue
		}
		folder := filepath.Dir(environ)
		args, _ := os.ReadFile(filepath.Join(folder, "cmdline"))
		alive = append(alive, filepath.Base(folder)+" "+strings.ReplaceAll(string(args), "\x00", " "))
	}
	return alive
}

func TestMain(m *testing.M) {
	// Tests that run beside others wait for most of their time, so that there may
	// be more of them than processors. A flag of the command line still wins.
	if err := flag.Set("test.parallel", "6"); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	code := m.Run()
	if alive := theSuite.close(); len(alive) > 0 {
		fmt.Fprintf(os.Stderr, "FAIL: still running after the tests:\n%s\n", strings.Join(alive, "\n"))
		code = max(code, 1)
	}
	os.Exit(code)
}

// need skips the test unless the end-to-end tests are wanted, and fails it
// when they are and a program is missing.
func need(t testing.TB, programs ...string) {
	t.Helper()
	if os.Getenv("TIDEWAITER_E2E") == "" {
		t.Skip("set TIDEWAITER_E2E=1 (make e2e); needs root and test/provision.sh")
	}
	if os.Getuid() != 0 {
		t.Fatal("the end-to-end tests need root")
	}
	for _, program := range programs {
		if _, err := os.Stat(program); err != nil {
			t.Fatalf("%s is missing: run test/provision.sh", program)
		}
	}
}

// tempDir returns a new folder with a path short enough for sockets.
func tempDir() (string, error) { return os.MkdirTemp("/tmp", "tw-e2e-") }

// shortDir is tempDir for one test.
func shortDir(t testing.TB) string {
	t.Helper()
	dir, err := tempDir()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// What was killed may have children that write for a moment more.
		err := os.RemoveAll(dir)
		for end := time.Now().Add(patience / 4); err != nil && time.Now().Before(end); err = os.RemoveAll(dir) {
			time.Sleep(50 * time.Millisecond)
		}
		if err != nil {
			t.Error(err)
		}
	})
	return dir
}

// command is exec.Command with Debian's PATH and our mark in the environment,
// then env, each "NAME=value". It has a process group of its own and dies with
// the tests.
func command(env []string, name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), debianPath, markName+"="+theSuite.mark)
	cmd.Env = append(cmd.Env, env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// output runs a command with input and returns what it wrote to standard
// output. A failure ends the test and shows what it wrote to standard error.
func output(t testing.TB, cmd *exec.Cmd, input string) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s%s", strings.Join(cmd.Args, " "), err, stdout.Bytes(), stderr.Bytes())
	}
	return stdout.String()
}

// A process is a program that runs until it is stopped.
type process struct {
	cmd            *exec.Cmd
	stdout, stderr transcript
	exited         chan struct{} // closed when it has ended and err is set
	err            error
}

// launch starts a program and collects what it says.
func launch(cmd *exec.Cmd) (*process, error) {
	p := &process{cmd: cmd, exited: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = &p.stdout, &p.stderr
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		p.err = cmd.Wait()
		close(p.exited)
	}()
	return p, nil
}

// stop sends a signal to the program's group, waits for the program to end,
// and in any case kills what is left of the group. It returns how the program
// ended, and an error of its own if it had to be killed for being too slow.
func (p *process) stop(sig syscall.Signal) error {
	group := -p.cmd.Process.Pid
	_ = syscall.Kill(group, sig)
	var slow error
	select {
	case <-p.exited:
	case <-time.After(patience):
		slow = fmt.Errorf("%s did not end within %s of %s", p.cmd.Path, patience, sig)
	}
	_ = syscall.Kill(group, syscall.SIGKILL)
	<-p.exited
	return errors.Join(slow, p.err)
}

// await waits until what the program wrote to one of its outputs matches, and
// returns the submatches.
func (p *process) await(from *transcript, pattern string) ([]string, error) {
	re := regexp.MustCompile(pattern)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		if found := re.FindStringSubmatch(from.String()); found != nil {
			return found, nil
		}
		select {
		case <-p.exited:
			return nil, fmt.Errorf("%s ended (%w) before it said %q:\n%s%s", p.cmd.Path, p.ending(), pattern, &p.stdout, &p.stderr)
		case <-ctx.Done():
			return nil, fmt.Errorf("%s did not say %q within %s:\n%s%s", p.cmd.Path, pattern, patience, &p.stdout, &p.stderr)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// ending is how a program that has exited ended, never nil.
func (p *process) ending() error {
	if p.err == nil {
		return errors.New("exit status 0")
	}
	return p.err
}

// until asks ready until it agrees, the program ends or patience does.
func (p *process) until(what string, ready func() bool) error {
	return p.within(patience, what, ready)
}

// within is until with another patience.
func (p *process) within(limit time.Duration, what string, ready func() bool) error {
	deadline := time.Now().Add(limit)
	for !ready() {
		select {
		case <-p.exited:
			return fmt.Errorf("%s ended (%w) before it was %s:\n%s%s", p.cmd.Path, p.ending(), what, &p.stdout, &p.stderr)
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s was not %s within %s:\n%s%s", p.cmd.Path, what, limit, &p.stdout, &p.stderr)
		}
	}
	return nil
}

// A transcript is what a program has written so far.
type transcript struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *transcript) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(b)
}

func (o *transcript) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

func TestProcessGroupIsStopped(t *testing.T) {
	need(t, "/bin/sh")
	p, err := launch(command(nil, "/bin/sh", "-c", "sleep 1000 & echo child $!; wait"))
	if err != nil {
		t.Fatal(err)
	}
	child, err := p.await(&p.stdout, `child (\d+)`)
	if err != nil {
		t.Fatal(err)
	}
	if len(theSuite.survivors()) < 2 {
		t.Error("the shell and its child do not carry the mark")
	}
	if err := p.stop(syscall.SIGTERM); err == nil {
		t.Error("stop hides that the shell died of a signal")
	}
	if _, err := os.Stat("/proc/" + child[1] + "/exe"); err == nil {
		if exe, _ := os.Readlink("/proc/" + child[1] + "/exe"); exe != "" {
			t.Errorf("the child outlived its group: %s", exe)
		}
	}
}
