//go:build linux

package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestDemo runs what `make demo` runs, to the point where it leaves the console
// open: it has found what is known of its two images, and nothing else.
func TestDemo(t *testing.T) {
	program := tidewaiterProgram(t)
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	demo := filepath.Join(t.TempDir(), "demo")
	build := command(nil, "go", "build", "-o", demo, "./test/demo")
	build.Dir = root
	output(t, build, "")

	// The demo looks for the program and its advisories where make runs it.
	place := t.TempDir()
	for link, target := range map[string]string{"bin/tidewaiter": program, "test/demo": filepath.Join(root, "test/demo")} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(place, link)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(target, filepath.Join(place, link)); err != nil {
			t.Fatal(err)
		}
	}
	run := command([]string{"TIDEWAITER_DEMO_ONCE=1", "PATH=" + os.Getenv("PATH")}, demo)
	run.Dir = place
	said := output(t, run, "")
	for _, want := range []string{"CVE-2021-38561", "CVE-2022-32149", "CVE-2022-3064", "CVE-2019-11254", "The console is open at http://127.0.0.1:", "password "} {
		if !strings.Contains(said, want) {
			t.Errorf("it did not say %q:\n%s", want, said)
		}
	}
	if n := len(regexp.MustCompile(`(?m)^  (CVE|GO|GHSA)-`).FindAllString(said, -1)); n != 4 {
		t.Errorf("it found %d vulnerabilities, not 4:\n%s", n, said)
	}
}
