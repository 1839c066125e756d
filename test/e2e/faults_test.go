//go:build linux

package e2e

import (
	"context"
	"net"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/huaweicloud/huaweicloud-sdk-go-v3/services/hss/v5/model"
)

// Faults in the middle of a synchronisation. Each wants the list to be exactly
// what the registry has in the end: nothing lost, nothing doubled.

func TestServerKilledInMidSync(t *testing.T) {
	t.Parallel()
	a := startAttached(t)
	want := a.reg.fillMany(t, 6, 3)
	task, g := a.hold(t, 7)
	a.restart(t)
	g.Open()
	a.finished(t, task, want)
	a.restart(t)
	a.compare(t, a.name, want)
}

func TestComponentKilledInMidSync(t *testing.T) {
	t.Parallel()
	a := startAttached(t)
	want := a.reg.fillMany(t, 6, 3)
	task, g := a.hold(t, 34) // of 42
	a.component.Kill()
	g.Open()
	before := len(a.front.Seen("/tags/list"))
	a.component.Start(t)
	a.finished(t, task, want)
	// What was reported completely is not listed again.
	if again := len(a.front.Seen("/tags/list")) - before; again >= 6 {
		t.Errorf("after the restart it listed the tags of all %d repositories again", again)
	}
}

// A component that does not come back loses its lease, and another of the same
// cluster goes on. It has the key from the first, so that no password is asked.
func TestAnotherComponentTakesOver(t *testing.T) {
	t.Parallel()
	a := startAttached(t)
	second := startComponent(t, a.way, a.cluster(t, a.way, "token", "office").Token)
	a.awaitComponents(t, a.clusterID, 2)
	want := a.reg.fillMany(t, 6, 3)
	task, g := a.hold(t, 7)
	// Which of them has the work is told by its log.
	working, other := a.component, second
	if strings.Contains(second.stderr.String(), "kind=sync") {
		working, other = other, working
	}
	working.Kill()
	g.Open()
	a.finished(t, task, want)
	if said := other.stderr.String(); !strings.Contains(said, "kind=sync") {
		t.Errorf("the other component did not do it:\n%s", said)
	}
}

// The network between component and server breaks while the component reads
// the registry.
func TestServerOutOfReachInMidSync(t *testing.T) {
	t.Parallel()
	a := startAttached(t)
	want := a.reg.fillMany(t, 6, 3)
	task, g := a.hold(t, 7)
	a.way.Cut()
	g.Open()
	before := len(a.way.Seen("/component/v1/"))
	if err := a.within(patience, "missed by the component", func() bool { return len(a.way.Seen("/component/v1/")) >= before+3 }); err != nil {
		t.Error(err)
	}
	a.way.Mend()
	a.finished(t, task, want)
}

// The server hangs for a while: it takes connections and says nothing.
func TestServerHangsInMidSync(t *testing.T) {
	t.Parallel()
	a := startAttached(t)
	want := a.reg.fillMany(t, 6, 3)
	task, g := a.hold(t, 7)
	if err := a.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	g.Open()
	before := len(a.way.Seen("/component/v1/work/"))
	err := a.within(patience, "asked", func() bool { return len(a.way.Seen("/component/v1/work/")) > before })
	if cont := a.cmd.Process.Signal(syscall.SIGCONT); cont != nil || err != nil {
		t.Fatal(cont, err)
	}
	a.finished(t, task, want)
}

// The registry goes away and comes back.
func TestRegistryDownInMidSync(t *testing.T) {
	t.Parallel()
	a := startAttached(t)
	want := a.reg.fillMany(t, 6, 3)
	a.sync(t, a.id)
	image := tinyImage(t, "later", "amd64")
	a.reg.Push(t, "many/repo-03", "later", image)
	want.add(t, "many/repo-03", "later", image)

	task, g := a.hold(t, 7)
	a.reg.Stop()
	g.Open()
	before := len(a.front.Seen("/v2/"))
	if err := a.within(patience, "refused by the registry", func() bool { return len(a.front.Seen("/v2/")) > before+2 }); err != nil {
		t.Error(err)
	}
	for _, i := range a.images(t, model.ListRegistryImagesRequest{RegistryName: &a.name}) {
		if gone(i) {
			t.Errorf("the registry is down, and %s is marked as gone", tagged(i))
		}
	}
	a.reg.Start(t)
	to := a.reg.Addr
	a.front.To(func(ctx context.Context) (net.Conn, error) { return new(net.Dialer).DialContext(ctx, "tcp", to) })
	a.finished(t, task, want)
}

// The password is changed in the registry, and not yet here.
func TestCredentialRotatedInMidSync(t *testing.T) {
	t.Parallel()
	a := startAttached(t)
	want := a.reg.fillMany(t, 6, 3)
	a.sync(t, a.id)
	image := tinyImage(t, "later", "amd64")
	a.reg.Push(t, "many/repo-03", "later", image)

	task, g := a.hold(t, 7)
	a.reg.SetPassword(t, "an0ther-Pa55word")
	g.Open()
	for _, one := range a.awaitSync(t, task) {
		if *one.SyncStatus != "failed" || !strings.Contains(text(one.FailedReason), "password") {
			t.Errorf("the synchronisation ended as %s: %s", *one.SyncStatus, text(one.FailedReason))
		}
	}
	if reason := a.awaitRegistry(t, a.id, "fail"); reason != "REQUEST_API_ERROR" {
		t.Errorf("the reason is %s", reason)
	}
	if detail := a.details(t, a.id).FailDetail; !strings.Contains(detail, "password") {
		t.Errorf("it says %q, and not what to mend", detail)
	}
	a.compare(t, a.name, want) // as before, nothing is marked
	a.updateRegistry(t, a.id, &model.UpdateRegistryRequestBody{RegistryPassword: ptr("an0ther-Pa55word")})
	a.awaitRegistry(t, a.id, "success")
	want.add(t, "many/repo-03", "later", image)
	a.sync(t, a.id)
	a.compare(t, a.name, want)
}

// An image is deleted, and a tag moved, between the listing of the tags and the
// request for the manifest.
func TestImageDeletedInMidSync(t *testing.T) {
	t.Parallel()
	a := startAttached(t)
	want := a.reg.fillMany(t, 3, 3)
	g := a.front.Hold(0, func(method, path string) bool {
		return strings.HasPrefix(path, "/v2/many/repo-01/manifests/")
	})
	t.Cleanup(g.Open)
	task := a.startSync(t, a.id)
	g.await(t)
	a.reg.Delete(t, "many/repo-01", "v1")
	delete(want.Images, "many/repo-01:v1")
	moved := tinyImage(t, "moved", "amd64")
	a.reg.Push(t, "many/repo-01", "v2", moved)
	want.add(t, "many/repo-01", "v2", moved)
	g.Open()
	a.finished(t, task, want)
	for _, skipped := range a.details(t, a.id).Skipped {
		t.Logf("skipped: %+v", skipped)
	}
	a.sync(t, a.id)
	a.compare(t, a.name, want)
}

// Whoever sends again what a component has sent changes nothing.
func TestReplayedReports(t *testing.T) {
	t.Parallel()
	a := startAttached(t)
	want := a.reg.fillMany(t, 3, 2)
	a.sync(t, a.id)
	a.compare(t, a.name, want)
	old := a.way.Seen("/component/v1/work/")
	a.reg.Delete(t, "many/repo-01", "v1")
	delete(want.Images, "many/repo-01:v1")
	a.sync(t, a.id)

	requests := 0
	for _, e := range slices.Concat(a.way.Seen("/component/v1/enrol"), a.way.Seen("/component/v1/hello"), old, old) {
		status, answer := a.way.Replay(t, e)
		requests++
		// The enrolment has no signature; its answer is the same for the same keys.
		if enrol := strings.HasSuffix(e.Path, "/enrol"); status < 400 && !enrol || enrol && status != http.StatusOK {
			t.Errorf("%s was sent again: status %d: %s", e.Path, status, answer)
		}
	}
	if requests < 10 {
		t.Fatalf("%d requests were sent again, which proves nothing", requests)
	}
	a.compare(t, a.name, want)
	info := a.clusterInfo(t, a.clusterID)
	if *info.DsInfo.DesiredNum != 1 {
		t.Errorf("there are %d components", *info.DsInfo.DesiredNum)
	}
	a.sync(t, a.id)
	a.compare(t, a.name, want)
}

// Answers of the server that are lost on the way: the component sends its
// reports again, signed anew.
func TestAnswersLostInMidSync(t *testing.T) {
	t.Parallel()
	a := startAttached(t)
	want := a.reg.fillMany(t, 6, 3)
	a.way.Lose(func(path string) bool { return strings.HasPrefix(path, "/component/v1/work/") }, 2)
	task := a.startSync(t, a.id)
	a.finished(t, task, want)
	if lost := a.way.Lost(); lost < 5 {
		t.Errorf("%d answers were lost, which proves little", lost)
	}
}
