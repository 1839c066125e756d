package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// A toolchain is a go command with an environment in which nothing but the
// source decides what it builds.
type toolchain struct {
	env     []string // complete, but for the target platform
	version string   // of the go command, such as "go1.26.8"
	wanted  string   // by go.mod, likewise; "" if go.mod names none
}

// kept are the settings that say where modules come from and where files are
// cached. All other settings of the go command could change the program, and
// are taken from neither the environment nor the file of "go env -w".
func kept() []string {
	return []string{
		"GOPATH", "GOMODCACHE", "GOCACHE", "GOPROXY", "GOSUMDB", "GONOSUMDB",
		"GONOPROXY", "GOPRIVATE", "GOINSECURE", "GOAUTH", "GOVCS", "GOTOOLCHAIN",
	}
}

// findToolchain reads the settings of the go command in the module at src.
func findToolchain(ctx context.Context, src string) (*toolchain, error) {
	goEnv, err := output(ctx, src, os.Environ(), "go", append([]string{"env", "-json", "GOVERSION"}, kept()...)...)
	if err != nil {
		return nil, err
	}
	settings := map[string]string{}
	if err := json.Unmarshal(goEnv, &settings); err != nil {
		return nil, fmt.Errorf("read output of go env: %w", err)
	}
	goMod, err := output(ctx, src, os.Environ(), "go", "mod", "edit", "-json")
	if err != nil {
		return nil, err
	}
	var module struct{ Toolchain string }
	if err := json.Unmarshal(goMod, &module); err != nil {
		return nil, fmt.Errorf("read output of go mod edit: %w", err)
	}

	t := &toolchain{version: settings["GOVERSION"], wanted: module.Toolchain}
	for _, variable := range os.Environ() {
		if name, _, _ := strings.Cut(variable, "="); !strings.HasPrefix(name, "GO") && !strings.HasPrefix(name, "CGO_") {
			t.env = append(t.env, variable)
		}
	}
	for _, name := range kept() {
		t.env = append(t.env, name+"="+settings[name])
	}
	t.env = append(t.env, "GOENV=off", "GOWORK=off", "GOFLAGS=", "GOEXPERIMENT=", "GOFIPS140=off", "CGO_ENABLED=0")
	return t, nil
}

// warning says why the digests will not be those of a release, or "".
// Both the compiler and compress/gzip differ between versions of Go.
func (t *toolchain) warning() string {
	for _, used := range []string{t.version, runtime.Version()} {
		if t.wanted != "" && used != t.wanted {
			return fmt.Sprintf("this is %s and go.mod names %s: the digests will not be those of a release; set GOTOOLCHAIN=%s", used, t.wanted, t.wanted)
		}
	}
	return ""
}

// compile returns the scan-component program for one platform.
func (t *toolchain) compile(ctx context.Context, src string, p v1.Platform, linkerFlags string) ([]byte, error) {
	dir, err := os.MkdirTemp("", "mkimage-")
	if err != nil {
		return nil, fmt.Errorf("create folder for the program: %w", err)
	}
	defer os.RemoveAll(dir) //nolint:errcheck // at worst a file is left for the system to clear
	file := filepath.Join(dir, "scan-component")
	env := append(t.env[:len(t.env):len(t.env)], "GOOS="+p.OS, "GOARCH="+p.Architecture, "GOAMD64=v1", "GOARM64=v8.0")
	_, err = output(ctx, src, env, "go", "build", "-trimpath", "-buildvcs=false",
		"-ldflags", "-s -w -buildid= "+linkerFlags, "-o", file, "./cmd/scan-component")
	if err != nil {
		return nil, err
	}
	return os.ReadFile(file)
}

// output runs a command in dir and returns what it prints. The error says
// what the command said.
func output(ctx context.Context, dir string, env []string, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...) //nolint:gosec // go and git, with arguments made here
	cmd.Dir, cmd.Env = dir, env
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("run %s %s: %w: %s", name, args[0], err, bytes.TrimSpace(stderr.Bytes()))
	}
	return out, nil
}
