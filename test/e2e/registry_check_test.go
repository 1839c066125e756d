//go:build linux

package e2e

import (
	"encoding/json"
	"errors"
	"os/exec"
	"strings"
	"testing"
)

// The access check of a real registry says in each case what is wrong.
func TestRegistryCheck(t *testing.T) {
	r := startRegistry(t, registryOptions{User: "alice", Password: "pa ss", TLS: true})
	push := []string{"component", "push", "--registry", r.Addr, "--namespace", "team", "--username", "alice", "--password-stdin", "--ca", r.CAFile}
	output(t, command(nil, tidewaiterProgram(t), push...), "pa ss")

	for _, tt := range []struct {
		name, password string
		args           []string
		failed, says   string // the step, and words of its message
	}{
		{"good", "pa ss", []string{r.Addr, "--ca", r.CAFile}, "", ""},
		{"unknown CA", "pa ss", []string{r.Addr}, "tls", "e2e CA"},
		{"not verified", "pa ss", []string{r.Addr, "--tls-skip-verify"}, "", ""},
		{"wrong password", "s3cr3t-wrong", []string{r.Addr, "--ca", r.CAFile}, "auth", "password"},
		{"http to https", "pa ss", []string{"http://" + r.Addr}, "auth", "https"},
		{"metadata service", "pa ss", []string{"169.254.169.254"}, "tcp", "metadata"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			args := append([]string{"registry", "check", "--username", "alice", "--password-stdin", "-o", "json"}, tt.args...)
			cmd := command(nil, tidewaiterProgram(t), args...)
			cmd.Stdin = strings.NewReader(tt.password + "\n")
			out, err := cmd.Output()
			if err != nil && !errors.As(err, new(*exec.ExitError)) {
				t.Fatal(err)
			}
			if ok := err == nil; ok != (tt.failed == "") {
				t.Errorf("ended with %v", err)
			}
			var report struct {
				OK       bool
				Warnings []string
				Steps    []struct{ Step, Status, Message string }
			}
			if err := json.Unmarshal(out, &report); err != nil || len(report.Steps) != 6 {
				t.Fatalf("it says %s (%v)", out, err)
			}
			failed := ""
			for _, s := range report.Steps {
				if s.Status == "failed" {
					failed = s.Step
					if !strings.Contains(s.Message, tt.says) {
						t.Errorf("step %s says %q, want a word about %q", s.Step, s.Message, tt.says)
					}
				}
			}
			if failed != tt.failed || report.OK != (failed == "") {
				t.Errorf("failed step %q, want %q:\n%s", failed, tt.failed, out)
			}
			if strings.Contains(string(out), tt.password) {
				t.Errorf("it repeats the password:\n%s", out)
			}
			if skips := len(report.Warnings) > 0; skips != (strings.Contains(tt.name, "not verified") || strings.HasPrefix(tt.name, "http")) {
				t.Errorf("warnings: %q", report.Warnings)
			}
		})
	}
}
