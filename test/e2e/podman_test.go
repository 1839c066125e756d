//go:build linux

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// A podman is storage and configuration for Debian's podman and skopeo, as
// environment, so that scripts that call them plainly use it too. Containers
// use the network of the machine.
type podman struct {
	Env []string
	// AuthFile is where login keeps passwords.
	AuthFile string
}

// newPodman makes empty storage for one test. Registries at the addresses
// insecure are spoken to over plain http.
func newPodman(t testing.TB, insecure ...string) *podman {
	t.Helper()
	need(t, "/usr/bin/podman", "/usr/bin/skopeo")
	var err error
	for _, driver := range []string{"overlay", "vfs"} {
		p := &podman{}
		dir := shortDir(t)
		p.configure(t, dir, driver, insecure)
		// shortDir's removal comes after this one: last come first.
		t.Cleanup(func() {
			_ = command(p.Env, "/usr/bin/podman", "rm", "--all", "--force", "--time", "0").Run()
			_ = command(p.Env, "/usr/bin/podman", "rmi", "--all", "--force").Run()
			_ = command(nil, "/usr/bin/umount", "--lazy", filepath.Join(dir, "root", "overlay")).Run() // podman binds it to itself
		})
		if err = command(p.Env, "/usr/bin/podman", "info").Run(); err == nil {
			return p
		}
	}
	t.Fatalf("podman info: %v", err)
	return nil
}

const (
	storageConf = `[storage]
driver = %q
graphroot = %q
runroot = %q
`
	containersConf = `[containers]
netns = "host"
log_driver = "k8s-file"
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
cgroup_manager = "cgroupfs"
runtime = "runc"
events_logger = "none"
tmp_dir = %q
`
)

func (p *podman) configure(t testing.TB, dir, driver string, insecure []string) {
	t.Helper()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	var registries strings.Builder
	registries.WriteString("unqualified-search-registries = []\n")
	for _, addr := range insecure {
		fmt.Fprintf(&registries, "[[registry]]\nlocation = %q\ninsecure = true\n", addr)
	}
	p.AuthFile = write("auth.json", "{}") // podman run wants it to exist
	p.Env = []string{
		"CONTAINERS_STORAGE_CONF=" + write("storage.conf", fmt.Sprintf(storageConf, driver, filepath.Join(dir, "root"), filepath.Join(dir, "run"))),
		"CONTAINERS_CONF=" + write("containers.conf", fmt.Sprintf(containersConf, filepath.Join(dir, "tmp"))),
		"CONTAINERS_REGISTRIES_CONF=" + write(".config/containers/registries.conf", registries.String()),
		"HOME=" + dir, // skopeo looks for registries.conf there, and nowhere else
		"REGISTRY_AUTH_FILE=" + p.AuthFile,
		"XDG_RUNTIME_DIR=" + dir,
	}
}

// podman runs podman with input and returns its standard output.
func (p *podman) podman(t testing.TB, input string, args ...string) string {
	t.Helper()
	return output(t, command(p.Env, "/usr/bin/podman", args...), input)
}

// skopeo runs skopeo with input and returns its standard output.
func (p *podman) skopeo(t testing.TB, input string, args ...string) string {
	t.Helper()
	return output(t, command(p.Env, "/usr/bin/skopeo", args...), input)
}

func TestPodmanAndSkopeo(t *testing.T) {
	r := startRegistry(t, registryOptions{User: "alice", Password: "pa ss"})
	p := newPodman(t, r.Addr)
	ref, err := name.NewTag(r.Addr + "/team/hello:v1")
	if err != nil {
		t.Fatal(err)
	}
	archive := filepath.Join(t.TempDir(), "hello.tar")
	if err := tarball.WriteToFile(archive, ref, helloImage(t)); err != nil {
		t.Fatal(err)
	}
	p.podman(t, "", "load", "-i", archive)
	if got := p.podman(t, "", "run", "--rm", ref.String()); strings.TrimSpace(got) != helloSays {
		t.Errorf("podman run prints %q, want %q", got, helloSays)
	}
	p.podman(t, "pa ss", "login", "-u", "alice", "--password-stdin", r.Addr)
	p.podman(t, "", "push", ref.String())
	digest := r.Digest(t, "team/hello", "v1")
	if got := p.skopeo(t, "", "inspect", "--format", "{{.Digest}}", "docker://"+ref.String()); strings.TrimSpace(got) != digest {
		t.Errorf("skopeo sees %q, the registry says %q", got, digest)
	}
	p.skopeo(t, "", "copy", "docker://"+ref.String(), "docker://"+r.Addr+"/team/copy:v2")
	if got := r.Digest(t, "team/copy", "v2"); got != digest {
		t.Errorf("the copy has digest %q, want %q", got, digest)
	}
}
