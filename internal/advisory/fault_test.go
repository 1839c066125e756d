package advisory_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/advisory"
)

// TestMain is the tests, or a process that builds an index in a folder until
// it is killed or the disk is full.
func TestMain(m *testing.M) {
	folder := os.Getenv("TEST_BUILD_IN")
	if folder == "" {
		os.Exit(m.Run())
	}
	if os.Getenv("TEST_DISK_FULL") != "" {
		limit := unix.Rlimit{Cur: 1 << 20, Max: 1 << 20} // of the size of each file
		if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &limit); err != nil {
			panic(err)
		}
	}
	fmt.Println("begin")
	b := advisory.NewBuilder(folder)
	for _, a := range many(60_000) {
		if err := b.Add(a); err != nil {
			fmt.Println(errors.Join(err, b.Close()))
			os.Exit(3)
		}
	}
	_, err := b.Finish(context.Background())
	if err := errors.Join(err, b.Close()); err != nil {
		fmt.Println(err)
		os.Exit(3)
	}
}

// builder returns a process that builds in a folder.
func builder(t *testing.T, folder string, env ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(append(os.Environ(), "TEST_BUILD_IN="+folder), env...)
	return cmd
}

// TestKilled kills a process that builds, at many moments. There is never half
// an index under the name of one.
func TestKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	folder := t.TempDir()
	for i := range 12 {
		cmd := builder(t, folder)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := out.Read(make([]byte, 5)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(i) * 150 * time.Millisecond)
		if err := cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Fatal(err)
		}
		_ = cmd.Wait() // it was killed
		wholeOrNothing(t, folder)
	}
	if err := advisory.Sweep(folder); err != nil {
		t.Fatal(err)
	}
	if left, err := filepath.Glob(filepath.Join(folder, ".*")); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// wholeOrNothing opens all that is called an index.
func wholeOrNothing(t *testing.T, folder string) {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		digest := tidewaiter.Digest(strings.Replace(strings.TrimSuffix(e.Name(), ".advisories"), "-", ":", 1))
		x, err := advisory.Open(filepath.Join(folder, e.Name()), digest)
		if err != nil {
			t.Fatal(err)
		}
		if x.Meta().Advisories != 60_000 {
			t.Errorf("%+v", x.Meta())
		}
		if err := x.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestDiskFull builds where no file can have more than a megabyte.
func TestDiskFull(t *testing.T) {
	folder := t.TempDir()
	out, err := builder(t, folder, "TEST_DISK_FULL=1").CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 3 || !strings.Contains(string(out), "file too large") {
		t.Errorf("%v: %s", err, out)
	}
	if entries, err := os.ReadDir(folder); err != nil || len(entries) > 0 {
		t.Errorf("left: %v, %v", entries, err)
	}
}

// TestRenewedKeys asks an index whose keys were made by other rules.
func TestRenewedKeys(t *testing.T) {
	list := many(500)
	list = append(list, simple("D-1", "Debian:12", "a", "2.0-1"))
	list[0].Affected[0].Versions = []string{"8.0.0"}
	x := open(t, build(t, list...))
	stale := open(t, build(t, list...))
	advisory.MakeStale(stale)
	for i := range 260 {
		for _, v := range []string{"0.9.0", "1.0.0", "1.3.5", "1.6.0", "8.0.0", "x"} {
			p := tidewaiter.Package{Ecosystem: "npm", Name: fmt.Sprint("pkg-", i), Version: v}
			a, errA := x.Match(p, tidewaiter.Release{})
			b, errB := stale.Match(p, tidewaiter.Release{})
			if err := errors.Join(errA, errB); err != nil || !slices.EqualFunc(a.Matches, b.Matches, func(a, b tidewaiter.Match) bool { return a.AdvisoryID == b.AdvisoryID }) {
				t.Fatalf("%+v: %+v, %+v, %v", p, a, b, err)
			}
		}
	}
}
