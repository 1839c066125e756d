//go:build linux

package e2e

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/services/hss/v5/model"
)

// A scanComponent is the scan component's program as a process of its own, on
// an attached cluster.
type scanComponent struct {
	*process
	State  string // its state folder
	env    []string
	server string
}

// componentProgram returns the program that is in the image for this machine.
func componentProgram(t testing.TB) string {
	t.Helper()
	need(t)
	program, err := sharedComponent()
	if err != nil {
		t.Fatalf("take the program out of the scan component's image (make build): %v", err)
	}
	return program
}

var sharedComponent = sync.OnceValues(func() (string, error) {
	index, err := layout.ImageIndexFromPath("../../internal/component/dist")
	if err != nil {
		return "", err
	}
	image, err := platformOf(index)
	if err != nil {
		return "", err
	}
	dir, err := tempDir()
	if err != nil {
		return "", err
	}
	theSuite.atEnd(func() { _ = os.RemoveAll(dir) })
	content := mutate.Extract(image)
	defer content.Close()
	for files := tar.NewReader(content); ; {
		file, err := files.Next()
		if err != nil {
			return "", err
		}
		if filepath.Base(file.Name) != "scan-component" || file.Typeflag != tar.TypeReg {
			continue
		}
		path := filepath.Join(dir, "scan-component")
		program, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o755)
		if err != nil {
			return "", err
		}
		_, err = io.Copy(program, files)
		return path, errors.Join(err, program.Close())
	}
})

// platformOf returns this machine's image out of nested indexes.
func platformOf(index v1.ImageIndex) (v1.Image, error) {
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	for _, child := range manifest.Manifests {
		if child.MediaType.IsIndex() {
			nested, err := index.ImageIndex(child.Digest)
			if err != nil {
				return nil, err
			}
			if image, err := platformOf(nested); err == nil {
				return image, nil
			}
		} else if child.MediaType.IsImage() && child.Platform != nil && child.Platform.Architecture == runtime.GOARCH {
			return index.Image(child.Digest)
		}
	}
	return nil, errors.New("no image for " + runtime.GOARCH)
}

// A clusterStart is what `tidewaiter cluster create` and `token` say.
type clusterStart struct{ ID, Token, Command string }

// cluster runs `tidewaiter cluster` from elsewhere, as an administrator does.
func (s *server) cluster(t testing.TB, way *relay, args ...string) clusterStart {
	t.Helper()
	args = append([]string{"cluster"}, append(args, "-o", "json", "--server", s.URL, "--credentials", filepath.Join(s.Data, "bootstrap.json"))...)
	if strings.HasPrefix(way.URL, "https:") {
		args = append(args, "--ca", way.CA.File)
	}
	var start clusterStart
	out := output(t, command(nil, tidewaiterProgram(t), args...), "")
	if err := json.Unmarshal([]byte(out), &start); err != nil || start.Token == "" {
		t.Fatalf("tidewaiter %s says %s (%v)", strings.Join(args, " "), out, err)
	}
	return start
}

// startComponent starts a component with a one-time token. More of the
// environment may be given.
func startComponent(t testing.TB, way *relay, token string, env ...string) *scanComponent {
	t.Helper()
	c := &scanComponent{State: filepath.Join(t.TempDir(), "state"), server: way.URL}
	c.env = append(c.env, "TIDEWAITER_SERVER="+way.URL, "TIDEWAITER_TOKEN="+token, "TIDEWAITER_STATE="+c.State, "TIDEWAITER_CA="+way.CA.File)
	c.env = append(c.env, env...)
	t.Cleanup(func() {
		if c.process != nil {
			_ = c.stop(syscall.SIGTERM)
		}
	})
	c.Start(t)
	return c
}

// Start starts the program, again after a stop: with the same state.
func (c *scanComponent) Start(t testing.TB) { c.StartProgram(t, componentProgram(t)) }

// StartProgram is Start with a program that was built in another way.
func (c *scanComponent) StartProgram(t testing.TB, program string) {
	t.Helper()
	var err error
	if c.process, err = launch(command(c.env, program, "run")); err != nil {
		t.Fatal(err)
	}
}

// Kill ends the component as a crash of its machine would.
func (c *scanComponent) Kill() { _ = c.stop(syscall.SIGKILL) }

// clusterInfo is what the contract's list says of a cluster.
func (s *server) clusterInfo(t testing.TB, id string) model.ClusterInfoResponse {
	t.Helper()
	resp, err := s.sdk(t).ListAgentDaemonsetInfo(&model.ListAgentDaemonsetInfoRequest{Limit: ptr(int32(100))})
	if err != nil {
		t.Fatalf("ListAgentDaemonsetInfo: %v", err)
	}
	for _, c := range *resp.DataList {
		if *c.ClusterId == id {
			return c
		}
	}
	t.Fatalf("ListAgentDaemonsetInfo does not list the cluster %s", id)
	return model.ClusterInfoResponse{}
}

// awaitComponents waits until so many components of a cluster can take work.
func (s *server) awaitComponents(t testing.TB, cluster string, ready int32) {
	t.Helper()
	var info model.ClusterInfoResponse
	if err := s.until("with the components", func() bool {
		info = s.clusterInfo(t, cluster)
		return *info.DsInfo.ReadyNum == ready
	}); err != nil {
		t.Fatalf("%d of %d components can take work, want %d: %s\n%v", *info.DsInfo.ReadyNum, *info.DsInfo.DesiredNum, ready, text(info.FailedMessage), err)
	}
	if ready > 0 && (*info.ClusterStatus != "Available" || *info.AccessStatus != "connect_success") {
		t.Errorf("the cluster is %s, %s", *info.ClusterStatus, *info.AccessStatus)
	}
}

// An attached is a whole installation with an attached cluster: a server that
// can connect to nothing, a scan component as a process, and a registry with a
// password behind a relay with a private CA, known to the server by name and id.
type attached struct {
	*server
	way       *relay // to the server
	front     *relay // to the registry
	reg       *registryServer
	component *scanComponent
	clusterID string
	name, id  string // of the connection
}

const attachedUser, attachedPassword = "alice", "Pl4nted-Reg1stry-Pa55word/+&="

// startAttached starts one for one test, with an access check that went well.
func startAttached(t testing.TB, args ...string) *attached {
	t.Helper()
	a := &attached{way: newRelay(t), name: "attached"}
	a.server = startAlone(t, a.way, append([]string{"--sync-at", "off"}, args...)...)
	a.attach(t)
	return a
}

// attach brings the cluster and the registry to a server that runs.
func (a *attached) attach(t testing.TB) {
	t.Helper()
	a.reg = startRegistry(t, registryOptions{User: attachedUser, Password: attachedPassword})
	a.front = relayTo(t, a.reg.Addr)
	start := a.cluster(t, a.way, "create", "office")
	a.clusterID = start.ID
	a.component = startComponent(t, a.way, start.Token)
	a.awaitComponents(t, a.clusterID, 1)
	a.id = a.addRegistry(t, a.connection())
	a.set(t, a.id, settings{"ca": a.front.CA.PEM})
	a.awaitRegistry(t, a.id, "success")
}

// connection is what AddRegistry takes.
func (a *attached) connection() *model.AddRegistryRequestBody {
	body := a.reg.connection(a.name, a.clusterID)
	body.Protocol, body.RegistryAddr = "https", a.front.Addr
	return body
}

// restart ends the server as a crash would and starts it again.
func (a *attached) restart(t testing.TB, args ...string) {
	t.Helper()
	a.Kill()
	signIn := a.signIn
	a.server = startAlone(t, a.way, append([]string{"--sync-at", "off", "--data", a.Data}, args...)...)
	a.signIn = signIn
}

// hold stops the component at a request for a manifest, in the middle of a
// synchronisation that it starts, and returns the task and the gate.
func (a *attached) hold(t testing.TB, skip int) (task string, g *gate) {
	t.Helper()
	g = a.front.Hold(skip, func(method, path string) bool {
		return (method == http.MethodGet || method == http.MethodHead) && strings.Contains(path, "/manifests/")
	})
	t.Cleanup(g.Open)
	task = a.startSync(t, a.id)
	g.await(t)
	return task, g
}

// finished wants a task to end well, and the server to list exactly this.
func (a *attached) finished(t testing.TB, task string, want listing) {
	t.Helper()
	for _, one := range a.awaitSync(t, task) {
		if *one.SyncStatus != "finished" {
			t.Errorf("the synchronisation ended as %s: %s", *one.SyncStatus, text(one.FailedReason))
		}
	}
	a.compare(t, a.name, want)
}
