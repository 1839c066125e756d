//go:build linux

package e2e

import (
	"strings"
	"testing"
)

// The way of a user whose registry the server cannot reach: the component's
// image goes into the user's registry by the upload command, and is started by
// the line that `tidewaiter cluster create` prints, both as they stand, with a
// real dockerd. The server runs in a network of its own, from which the
// registry does not exist. (The containers share the host's network, because
// the server's address here is a loopback one; the printed line says so.)
func TestAttachedClusterWithDocker(t *testing.T) {
	d := startDockerd(t)
	a := &attached{way: newPlainRelay(t), name: "docker"}
	a.server = startAlone(t, a.way, "--sync-at", "off")
	a.reg = startRegistry(t, registryOptions{User: "alice", Password: "pa ss"})
	a.front = relayTo(t, a.reg.Addr)
	want := a.reg.fillMany(t, 6, 3)
	config := t.TempDir()

	asked := a.askSDK(t, target{a.reg.Addr, "tools", "alice", "pa ss"})
	dir := a.download(t, asked.ImagesDownloadURL)
	if written, status := shell(t, "dash", asked.ImageCommand, d.env(config), dir); status != 0 {
		t.Fatalf("status %d:\n%s", status, written)
	}
	image := a.reg.Addr + "/tools/scan-component:" + a.reg.Tags(t, "tools/scan-component")[0]
	want.addFrom(t, a.reg, "tools/scan-component", strings.Split(image, ":")[2])

	first, second := a.runComponent(t, d, config, "create", image), ""
	a.awaitComponents(t, a.clusterID, 1)
	a.id = a.addRegistry(t, a.connection())
	a.set(t, a.id, settings{"ca": a.front.CA.PEM})
	a.awaitRegistry(t, a.id, "success")
	a.unreachable(t)

	// The server is killed in the middle.
	task, g := a.hold(t, 7)
	a.restart(t)
	g.Open()
	a.finished(t, task, want)

	// The component is killed in the middle, and started again.
	push := func(tag string) {
		image := tinyImage(t, tag, "amd64")
		a.reg.Push(t, "many/repo-02", tag, image)
		want.add(t, "many/repo-02", tag, image)
	}
	push("second")
	task, g = a.hold(t, 7)
	d.docker(t, config, "", "kill", first)
	g.Open()
	d.docker(t, config, "", "start", first)
	a.finished(t, task, want)

	// A second component gets the key from the first, which then goes.
	second = a.runComponent(t, d, config, "token", image)
	a.awaitComponents(t, a.clusterID, 2)
	d.docker(t, config, "", "rm", "--force", "--volumes", first)
	push("third")
	a.sync(t, a.id)
	a.compare(t, a.name, want)
	check := a.test(t, a.id)
	if !check.OK {
		t.Errorf("the second component cannot reach the registry: %+v", check)
	}
	d.docker(t, config, "", "stop", second)
	if out := d.docker(t, config, "", "inspect", "--format", "{{.State.ExitCode}}", second); strings.TrimSpace(out) != "0" {
		t.Errorf("docker stop ended the component with status %s", out)
	}
}

// runComponent starts a container by the printed line, and returns its name.
func (a *attached) runComponent(t *testing.T, d *dockerd, config, verb, image string) string {
	t.Helper()
	name := "tw-" + verb
	start := a.cluster(t, a.way, verb, "office", "--image", image, "--container", name)
	if verb == "create" {
		a.clusterID = start.ID
	}
	written, status := shell(t, "dash", start.Command, d.env(config), t.TempDir())
	if status != 0 {
		t.Fatalf("%s: status %d:\n%s", start.Command, status, written)
	}
	t.Cleanup(func() {
		if t.Failed() {
			logs, _ := command(d.env(config), docker, "logs", name).CombinedOutput()
			t.Logf("the component %s says:\n%s", name, logs)
		}
		_ = command(d.env(config), docker, "rm", "--force", "--volumes", name).Run()
		_ = command(d.env(config), docker, "volume", "rm", name).Run()
	})
	return name
}

// unreachable proves that the registry does not exist for the server: its own
// component fails at the same address. The attached one says each step.
func (a *attached) unreachable(t *testing.T) {
	t.Helper()
	body := a.connection()
	body.RegistryName, body.ConnectClusterId = "from the server", "local"
	id := a.addRegistry(t, body)
	if reason := a.awaitRegistry(t, id, "fail"); reason != "REQUEST_API_ERROR" {
		t.Errorf("from the server's own network the reason is %s", reason)
	}
	if step, message := a.test(t, id).failed(); step != "tcp" {
		t.Errorf("from the server's own network step %q failed: %s", step, message)
	}
	check := a.test(t, a.id)
	if len(check.Steps) != 6 || !check.OK {
		t.Errorf("from the attached cluster: %+v", check)
	}
}
