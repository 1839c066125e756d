//go:build linux

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// docker is Debian's client; one under /usr/local would be another version.
const docker = "/usr/bin/docker"

// A dockerd is a Docker daemon on a private socket, one for all tests. It lives
// in process and mount namespaces of its own, so that its containers and mounts
// end with it, however it ends. Containers need --network host: it has no
// bridge and leaves the firewall alone.
type dockerd struct {
	*process
	host string // DOCKER_HOST
}

// startDockerd returns the daemon, started on first use.
func startDockerd(t testing.TB) *dockerd {
	t.Helper()
	need(t, "/usr/sbin/dockerd", docker, "/usr/bin/unshare")
	d, err := sharedDockerd()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

var sharedDockerd = sync.OnceValues(func() (*dockerd, error) {
	dir, err := tempDir()
	if err != nil {
		return nil, err
	}
	theSuite.atEnd(func() { _ = os.RemoveAll(dir) })
	for _, driver := range []string{"overlay2", "vfs"} {
		var d *dockerd
		if d, err = launchDockerd(filepath.Join(dir, driver), driver); err == nil {
			theSuite.atEnd(func() { _ = d.stop(syscall.SIGTERM) })
			return d, nil
		}
	}
	return nil, err
})

func launchDockerd(dir, driver string) (*dockerd, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "daemon.json") // instead of the machine's own
	if err := os.WriteFile(config, []byte("{}"), 0o600); err != nil {
		return nil, err
	}
	socket := filepath.Join(dir, "s")
	p, err := launch(command(nil, "/usr/bin/unshare", "--pid", "--fork", "--kill-child", "--mount", "--mount-proc",
		"/usr/sbin/dockerd", "--config-file", config, "--host", "unix://"+socket,
		"--data-root", filepath.Join(dir, "data"), "--exec-root", filepath.Join(dir, "x"),
		"--pidfile", filepath.Join(dir, "pid"), "--storage-driver", driver,
		"--iptables=false", "--ip6tables=false", "--bridge=none", "--ip-forward=false", "--shutdown-timeout", "5"))
	if err != nil {
		return nil, err
	}
	d := &dockerd{process: p, host: "unix://" + socket}
	err = p.until("ready", func() bool {
		return command(d.env(dir), docker, "info").Run() == nil
	})
	if err != nil {
		_ = p.stop(syscall.SIGKILL)
		return nil, err
	}
	return d, nil
}

// env is what points a docker client at the daemon; config is the folder where
// the client keeps the passwords of docker login.
func (d *dockerd) env(config string) []string {
	return []string{"DOCKER_HOST=" + d.host, "DOCKER_CONFIG=" + config}
}

// docker runs the client with input and returns its standard output.
func (d *dockerd) docker(t testing.TB, config, input string, args ...string) string {
	t.Helper()
	return output(t, command(d.env(config), docker, args...), input)
}

func TestDockerdLoadsPushesAndRuns(t *testing.T) {
	d := startDockerd(t)
	r := startRegistry(t, registryOptions{User: "alice", Password: "pa ss"})
	config := t.TempDir()

	ref, err := name.NewTag(r.Addr + "/team/hello:v1")
	if err != nil {
		t.Fatal(err)
	}
	archive := filepath.Join(t.TempDir(), "hello.tar")
	if err := tarball.WriteToFile(archive, ref, helloImage(t)); err != nil {
		t.Fatal(err)
	}
	d.docker(t, config, "", "load", "-i", archive)
	if err := command(d.env(config), docker, "push", ref.String()).Run(); err == nil {
		t.Fatal("the registry takes a push without a password")
	}
	d.docker(t, config, "pa ss", "login", "-u", "alice", "--password-stdin", r.Addr)
	d.docker(t, config, "", "push", ref.String())
	digest := r.Digest(t, "team/hello", "v1")
	d.docker(t, config, "", "rmi", ref.String())
	pinned := fmt.Sprintf("%s/team/hello@%s", r.Addr, digest)
	d.docker(t, config, "", "pull", pinned)
	if got := d.docker(t, config, "", "run", "--rm", "--network", "host", pinned); strings.TrimSpace(got) != helloSays {
		t.Errorf("docker run prints %q, want %q", got, helloSays)
	}
	if tags := r.Tags(t, "team/hello"); len(tags) != 1 || tags[0] != "v1" {
		t.Errorf("tags are %q, want v1 alone", tags)
	}
}
