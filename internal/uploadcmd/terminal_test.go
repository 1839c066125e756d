package uploadcmd

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/google/go-cmp/cmp"
)

// TestPushAtATerminal types and pastes commands into interactive shells at a
// pseudo-terminal, with their line editors at work.
func TestPushAtATerminal(t *testing.T) {
	t.Parallel()
	for _, sh := range shells() {
		if !sh.interactive {
			continue
		}
		t.Run(sh.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, sh)
			keyboard, shellDone := b.startAtTerminal(t)
			const cases = 60
			var want []outcome
			for seed := uint64(0); len(want) < cases; seed++ {
				r := legalRequest(t, seeded(seed).IntN)
				command := Push(r, testImage)
				if len(command) > 3000 { // a terminal takes 4095 bytes ahead of the shell
					continue
				}
				if seed%2 == 0 {
					command = "\x1b[200~" + command + "\x1b[201~" // a bracketed paste
				}
				want = append(want, outcome{Calls: wantCalls(r, testImage)})
				keyboard(command + "\r")
				keyboard(`printf 'status\0%s\0' $? >>"$DOCKER_LOG"` + "\r")
				b.await(t, len(want), shellDone)
			}
			keyboard("exit\r")
			<-shellDone
			if diff := cmp.Diff(want, b.readLog(t)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// startAtTerminal starts the shell at a pseudo-terminal. The function sends
// keys; the channel is closed when the shell has ended.
func (b bench) startAtTerminal(t *testing.T) (keyboard func(string), done <-chan struct{}) {
	t.Helper()
	if err := os.WriteFile(b.log, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(b.shell.program, b.shell.options...)
	cmd.Dir = b.dir
	cmd.Env = []string{
		"PATH=" + b.path, "HOME=" + b.dir, "LC_ALL=" + b.shell.locale, "TERM=xterm",
		"DOCKER_LOG=" + b.log, "DOCKER_FAIL=",
	}
	terminal, err := pty.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, terminal) // ends with an error when the shell hangs up
		_ = cmd.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		_ = terminal.Close()
		_ = cmd.Process.Kill()
		<-ended
	})
	return func(keys string) {
		if _, err := terminal.WriteString(keys); err != nil {
			t.Fatal(err)
		}
	}, ended
}

// await returns when the shell has noted n exit statuses.
func (b bench) await(t *testing.T, n int, done <-chan struct{}) {
	t.Helper()
	for {
		log, err := os.ReadFile(b.log)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Count(log, []byte("status\x00")) >= n {
			return
		}
		select {
		case <-done:
			t.Fatalf("the shell ended after %q", log)
		case <-time.After(time.Millisecond):
		}
	}
}
