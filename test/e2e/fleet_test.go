//go:build linux

package e2e

import (
	"context"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/huaweicloud/huaweicloud-sdk-go-v3/services/hss/v5/model"
)

// The key of a cluster is changed: its components agree on a new one, and the
// registries say that they need their passwords again.
func TestClusterKeyChanged(t *testing.T) {
	t.Parallel()
	a := startAttached(t)
	startComponent(t, a.way, a.cluster(t, a.way, "token", "office").Token)
	a.awaitComponents(t, a.clusterID, 2)
	want := a.reg.fillMany(t, 2, 2)
	a.sync(t, a.id)

	var before, after struct{ Key string }
	a.must(t, http.MethodGet, "/clusters/office", nil, &before)
	a.must(t, http.MethodPost, "/clusters/office/rotate-key", nil, nil)
	if reason := a.awaitRegistry(t, a.id, "fail"); reason != "REQUEST_API_ERROR" {
		t.Errorf("the reason is %s", reason)
	}
	if detail := a.details(t, a.id).FailDetail; !strings.Contains(detail, "office") || !strings.Contains(detail, "UpdateRegistry") {
		t.Errorf("it says %q, and not what to mend", detail)
	}
	a.compare(t, a.name, want) // nothing is marked
	a.awaitComponents(t, a.clusterID, 2)
	a.must(t, http.MethodGet, "/clusters/office", nil, &after)
	if before.Key == "" || after.Key == "" || before.Key == after.Key {
		t.Errorf("the key was %q and is %q", before.Key, after.Key)
	}
	a.updateRegistry(t, a.id, &model.UpdateRegistryRequestBody{RegistryPassword: ptr(attachedPassword)})
	a.awaitRegistry(t, a.id, "success")
	a.sync(t, a.id)
	a.compare(t, a.name, want)
}

// A component that was removed can do nothing any more, and says so.
func TestComponentRemoved(t *testing.T) {
	t.Parallel()
	a := startAttached(t)
	var cluster struct{ Components []struct{ ID string } }
	a.must(t, http.MethodGet, "/clusters/office", nil, &cluster)
	if len(cluster.Components) != 1 {
		t.Fatalf("there are %d components", len(cluster.Components))
	}
	output(t, command(nil, tidewaiterProgram(t), "cluster", "remove-component", "office", cluster.Components[0].ID, "--data", a.Data), "")
	select {
	case <-a.component.exited:
	case <-time.After(patience):
		t.Fatal("the component goes on")
	}
	if code := a.component.cmd.ProcessState.ExitCode(); code != 3 || !strings.Contains(a.component.stderr.String(), "token") {
		t.Errorf("the component ended with status %d:\n%s", code, &a.component.stderr)
	}
	// With another token it is another component. The cluster's key, which the old
	// one had alone, is lost; the advice says what to do.
	a.component.env = append(a.component.env, "TIDEWAITER_TOKEN="+a.cluster(t, a.way, "token", "office").Token)
	a.component.Start(t)
	if err := a.until("with advice", func() bool {
		info := a.clusterInfo(t, a.clusterID)
		return *info.ClusterStatus == "Unavailable" && strings.Contains(text(info.FailedMessage), "rotate-key office")
	}); err != nil {
		t.Fatal(err)
	}
	output(t, command(nil, tidewaiterProgram(t), "cluster", "rotate-key", "office", "--data", a.Data), "")
	a.awaitComponents(t, a.clusterID, 1)
	a.updateRegistry(t, a.id, &model.UpdateRegistryRequestBody{RegistryPassword: ptr(attachedPassword)})
	a.awaitRegistry(t, a.id, "success")
}

// Two replicas on one PostgreSQL: one is killed in the middle of a
// synchronisation, and the component goes on with the other.
func TestReplicaKilledInMidSync(t *testing.T) {
	db := startPostgres(t)
	t.Setenv("TIDEWAITER_DATABASE", db.URL)
	keys := filepath.Join(t.TempDir(), "keys")
	a := startAttached(t, "--keys", keys)
	two := startReplica(t, a.server, "--keys", keys, "--public-url", a.way.URL, "--sync-at", "off")
	want := a.reg.fillMany(t, 6, 3)
	task, g := a.hold(t, 7)
	other := strings.TrimPrefix(two.URL, "http://")
	a.way.To(func(ctx context.Context) (net.Conn, error) { return new(net.Dialer).DialContext(ctx, "tcp", other) })
	a.Kill()
	g.Open()
	a.server = two
	a.finished(t, task, want)
	if check := a.test(t, a.id); !check.OK {
		t.Errorf("%+v", check)
	}
}

// A registry is synchronised by itself after its first check that went well,
// and each day at its time; a time that passed while the server was down is
// made up for, once.
func TestScheduledSync(t *testing.T) {
	t.Parallel()
	r := startRegistry(t, registryOptions{User: "alice", Password: "pa ss"})
	want := r.fillMany(t, 2, 1)
	s := startTidewaiter(t)
	id := s.addRegistry(t, r.connection("daily", "local"))
	synced := func(tasks int) {
		t.Helper()
		if err := s.within(2*patience, "synchronised by itself", func() bool {
			found := s.syncTasks(t)
			return len(found) == tasks && *found[0].TaskStatus == 100 && *found[0].TaskType == "autoSync"
		}); err != nil {
			t.Fatalf("%d tasks: %v", len(s.syncTasks(t)), err)
		}
	}
	synced(1)
	s.compare(t, "daily", want)

	image := tinyImage(t, "later", "amd64")
	r.Push(t, "many/repo-01", "later", image)
	want.add(t, "many/repo-01", "later", image)
	next := time.Now().Add(30 * time.Second).Truncate(time.Minute).Add(time.Minute)
	s.set(t, id, settings{"sync_at": next.Format("15:04")})
	s.Stop(t)
	time.Sleep(time.Until(next.Add(time.Second))) // the clock of the wall is what this is about
	s = startTidewaiter(t, "--data", s.Data)
	synced(2)
	s.compare(t, "daily", want)
	if n := len(s.syncTasks(t)); n != 2 {
		t.Errorf("there are %d tasks", n)
	}
}
