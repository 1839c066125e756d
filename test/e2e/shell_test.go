//go:build linux

package e2e

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
)

// shells are the ways in which people run a command that they were given. The
// interactive ones get it typed on a terminal, with history expansion on.
func shells() []string { return []string{"dash", "bash", "zsh", "bash -i", "zsh -i"} }

// shell runs a script of one line, as it stands, and returns what it wrote to
// both outputs and its exit status. On a terminal the prompts and the echo of
// the script are part of what was written. Nothing of the person's own
// configuration is read; env is added to the environment, dir is where it runs.
func shell(t testing.TB, name, script string, env []string, dir string) (written string, status int) {
	t.Helper()
	program, interactive := strings.CutSuffix(name, " -i")
	need(t, "/usr/bin/"+program)
	env = append([]string{"HOME=" + dir, "LC_ALL=C.UTF-8", "HISTFILE="}, env...)
	if interactive {
		return typed(t, program, script, env, dir)
	}
	var options []string
	if program == "zsh" {
		options = []string{"-f"}
	}
	cmd := command(env, "/usr/bin/"+program, append(options, "-c", script)...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if failed := new(exec.ExitError); err != nil && !errors.As(err, &failed) {
		t.Fatalf("%s: %v", name, err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// typed runs a script on a terminal of its own.
func typed(t testing.TB, program, script string, env []string, dir string) (written string, status int) {
	t.Helper()
	const prompt = "e2e-prompt>"
	options := []string{"--norc", "--noprofile", "-i"}
	if program == "zsh" {
		options = []string{"-f", "-i"}
	}
	env = append(env, "PS1="+prompt, "TERM=dumb", "PROMPT="+prompt, "BASH_SILENCE_DEPRECATION_WARNING=1")
	cmd := command(env, "/usr/bin/"+program, options...)
	cmd.Dir = dir
	attributes := &syscall.SysProcAttr{Setsid: true, Setctty: true, Pdeathsig: syscall.SIGKILL}
	terminal, err := pty.StartWithAttrs(cmd, &pty.Winsize{Rows: 50, Cols: 4000}, attributes)
	if err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: cmd, exited: make(chan struct{})}
	go func() {
		_, _ = io.Copy(&p.stdout, terminal) // ends with EIO when the shell does
		p.err = cmd.Wait()
		close(p.exited)
	}()
	defer func() {
		_ = p.stop(syscall.SIGHUP)
		_ = terminal.Close()
	}()
	enter := func(line, answer string) []string {
		t.Helper()
		if _, err := io.WriteString(terminal, line); err != nil {
			t.Fatalf("type into %s: %v\n%s", program, err, &p.stdout)
		}
		found, err := p.await(&p.stdout, answer)
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	enter("", regexp.QuoteMeta(prompt))
	// The answer is found beside the echo of the question, which has no digits.
	found := enter(script+"\necho status-is:$?:\n", `status-is:(\d+):`)
	if status, err = strconv.Atoi(found[1]); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(terminal, "exit 0\n"); err != nil {
		t.Fatal(err)
	}
	select {
	case <-p.exited:
	case <-time.After(patience):
		t.Fatalf("%s does not exit:\n%s", program, &p.stdout)
	}
	return p.stdout.String(), status
}

func TestShells(t *testing.T) {
	for _, name := range shells() {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			script := `printf '%s|' 'a!b' "$WORD" 'ü' >out && false`
			written, status := shell(t, name, script, []string{"WORD=$x `y`"}, dir)
			if status != 1 {
				t.Errorf("status %d, want 1:\n%s", status, written)
			}
			got, err := os.ReadFile(dir + "/out")
			if want := "a!b|$x `y`|ü|"; err != nil || string(got) != want {
				t.Errorf("wrote %q (%v), want %q:\n%s", got, err, want, written)
			}
			// Only a shell that people type into expands the history.
			written, status = shell(t, name, `echo "no!such"`, nil, dir)
			if expands := strings.Contains(written, "event not found"); expands != strings.HasSuffix(name, " -i") {
				t.Errorf("history expansion: %t, status %d:\n%s", expands, status, written)
			}
		})
	}
}

func TestShellsTakeTheLongestLine(t *testing.T) {
	word := strings.Repeat("界", 1000)
	for _, name := range shells() {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			written, status := shell(t, name, "printf %s '"+word+"' >out", nil, dir)
			got, err := os.ReadFile(dir + "/out")
			if status != 0 || err != nil || string(got) != word {
				t.Errorf("status %d, wrote %d bytes (%v), want %d:\n%s", status, len(got), err, len(word), written)
			}
		})
	}
}
