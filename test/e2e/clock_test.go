//go:build linux

package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// wrongClock builds the scan component with a time.Now that adds the seconds
// of E2E_CLOCK. Nothing else is changed. Go asks the kernel for the time
// without the C library, so that libfaketime has no say.
func wrongClock(t *testing.T) string {
	t.Helper()
	need(t)
	dir := t.TempDir()
	path := []string{os.ExpandEnv("PATH=$PATH")}
	source := filepath.Join(strings.TrimSpace(output(t, command(path, "go", "env", "GOROOT"), "")), "src", "time")
	text := readFile(t, filepath.Join(source, "time.go"))
	const asks = "sec, nsec, mono := runtimeNow()\n"
	if !strings.Contains(text, "func Now() Time {\n\t"+asks) {
		t.Fatal("this Go's time.Now is another than the one that this test knows how to change")
	}
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{
		filepath.Join(source, "time.go"): write("time.go", strings.Replace(text, "func Now() Time {\n\t"+asks, "func Now() Time {\n\t"+asks+"\tsec += wrong()\n", 1)),
		filepath.Join(source, "wrong.go"): write("wrong.go", `package time

import (
	"sync"
	"syscall"
)

var wrong = sync.OnceValue(func() (seconds int64) {
	text, _ := syscall.Getenv("E2E_CLOCK")
	negative := len(text) > 0 && text[0] == '-'
	for _, c := range text {
		if '0' <= c && c <= '9' {
			seconds = 10*seconds + int64(c-'0')
		}
	}
	if negative {
		return -seconds
	}
	return seconds
})
`),
	}})
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "scan-component")
	build := command(append(path, "CGO_ENABLED=0"), "go", "build", "-trimpath", "-overlay", write("overlay.json", string(overlay)), "-o", program, "./cmd/scan-component")
	build.Dir = "../.."
	output(t, build, "")
	return program
}

// A component whose clock is a day fast or slow works all the same.
func TestComponentWithWrongClock(t *testing.T) {
	t.Parallel()
	program := wrongClock(t)
	a := startAttached(t)
	want := a.reg.fillMany(t, 3, 2)
	for _, clock := range []string{"86400", "-86400"} {
		a.component.Kill()
		a.component.env = append(a.component.env, "E2E_CLOCK="+clock)
		a.component.StartProgram(t, program)
		task, g := a.hold(t, 3)
		a.component.Kill()
		g.Open()
		a.component.StartProgram(t, program)
		a.finished(t, task, want)
		if check := a.test(t, a.id); !check.OK {
			t.Errorf("with %s seconds too many: %+v", clock, check)
		}
		cargo := newCargo()
		cargo.put(t, a.reg, scanRepository+"clock"+clock, "v1", imageOf(t, "amd64", npmLayer(t, "clock", clock, 100)), []string{"clock " + clock + " 0"})
		a.sync(t, a.id)
		name := scanRepository + "clock" + clock + ":v1"
		a.scanned(t, a.scanImage(t, a.image(t, name)), scanPatience, 1)
		if found := ledgerOf(t, a.server).packages(t)[name]; !slices.Equal(found, cargo.Images[name]) {
			t.Errorf("with %s seconds too many the image holds %q, want %q", clock, found, cargo.Images[name])
		}
		if at := time.UnixMilli(*a.image(t, name).LatestScanTime); time.Since(at).Abs() > patience {
			t.Errorf("with %s seconds too many the image was scanned at %s", clock, at)
		}
		want.Images[name] = imageListed{Digest: a.reg.Digest(t, scanRepository+"clock"+clock, "v1")}
	}
}
