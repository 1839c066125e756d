//go:build linux

package e2e

import (
	"context"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Faults in the middle of a scan. Each wants every image to be scanned in the
// end, or to say why not, and nothing to be left behind.

// scanPatience is how long a scan may take after a fault: a registry that was
// down is tried again after a minute, as is work whose lease nobody gave back.
const scanPatience = 3 * patience

// isBlob is for requests for the content of layers and configs.
func isBlob(method, path string) bool {
	return method == http.MethodGet && strings.Contains(path, "/blobs/")
}

// ofLayer is for requests for a layer.
func ofLayer(digest string) func(method, path string) bool {
	return func(method, path string) bool {
		return method == http.MethodGet && strings.HasSuffix(path, "/blobs/"+digest)
	}
}

// pulls returns how often each of these layers was asked for.
func (w *relay) pulls(of *cargo) map[string]int {
	asked := map[string]int{}
	for _, e := range w.Seen("/blobs/") {
		_, digest, _ := strings.Cut(e.Path, "/blobs/")
		if _, layer := of.Layers[digest]; layer && e.Method == http.MethodGet {
			asked[digest]++
		}
	}
	return asked
}

// startScanning starts an installation whose registry holds images on one base.
func startScanning(t *testing.T, images int, args ...string) (*attached, *cargo) {
	t.Helper()
	a := startAttached(t, args...)
	want := a.reg.fillBase(t, images, 256<<10, 32<<10)
	a.sync(t, a.id)
	return a, want
}

// holdScan starts a scan of all images, and stops it at the request number skip
// of those that stops is for.
func (a *attached) holdScan(t *testing.T, skip int, stops func(method, path string) bool) (task string, g *gate) {
	t.Helper()
	g = a.front.Hold(skip, stops)
	t.Cleanup(g.Open)
	task = a.scanAll(t)
	g.await(t)
	return task, g
}

// done wants a task to have scanned all, the database to say so, and nothing
// to be left.
func (a *attached) done(t *testing.T, task string, want *cargo) {
	t.Helper()
	a.scanned(t, task, scanPatience, len(want.names()))
	book := ledgerOf(t, a.server)
	book.quiet(t)
	book.consistent(t)
	book.holds(t, want)
	a.lists(t, want)
}

func TestServerKilledInMidScan(t *testing.T) {
	t.Parallel()
	a, want := startScanning(t, 6)
	task, g := a.holdScan(t, 3, isBlob)
	a.restart(t)
	g.Open()
	a.done(t, task, want)
}

// The layers that were looked into are not pulled again.
func TestComponentKilledInMidScan(t *testing.T) {
	t.Parallel()
	a, want := startScanning(t, 6)
	// The base and the first images' own layers pass, with their configs.
	task, g := a.holdScan(t, 7, isBlob)
	a.component.Kill()
	g.Open()
	a.component.Start(t)
	a.done(t, task, want)
	asked := a.front.pulls(want)
	again := 0
	for digest, n := range asked {
		if n > 2 {
			t.Errorf("the layer %s was asked for %d times", digest, n)
		}
		again += n - 1
	}
	// What was on its way when the component died is.
	if again > 2 || len(asked) != len(want.Layers) {
		t.Errorf("%d layers were asked for, %d times more than once; there are %d", len(asked), again, len(want.Layers))
	}
}

// A component that does not come back loses its leases, and the layers that it
// has claimed: another one goes on.
func TestAnotherComponentScans(t *testing.T) {
	t.Parallel()
	a, want := startScanning(t, 6)
	second := startComponent(t, a.way, a.cluster(t, a.way, "token", "office").Token)
	a.awaitComponents(t, a.clusterID, 2)
	base := layerDigest(t, baseLayer(t, "base", 256<<10))
	task, g := a.holdScan(t, 0, ofLayer(base))
	// Whoever asks for the base has claimed it; its log says which it was.
	begun := ledgerOf(t, a.server).one(t, "SELECT work_id FROM layer_claims WHERE digest = '"+base+"'")
	working, other := a.component, second
	if strings.Contains(second.stderr.String(), begun) {
		working, other = other, working
	}
	working.Kill()
	g.Open()
	a.done(t, task, want)
	if said := other.stderr.String(); !strings.Contains(said, begun) {
		t.Errorf("the other component has not taken the work %s over:\n%s", begun, said)
	}
}

// Answers of the server that are lost on the way: what was asked for is done
// once.
func TestAnswersLostInMidScan(t *testing.T) {
	t.Parallel()
	a, want := startScanning(t, 6)
	a.way.Lose(func(path string) bool {
		return strings.HasPrefix(path, "/component/v1/work/") && !strings.HasSuffix(path, "/heartbeat")
	}, 2)
	a.done(t, a.scanAll(t), want)
	if lost := a.way.Lost(); lost < 10 {
		t.Errorf("%d answers were lost, which proves little", lost)
	}
	asked := a.front.pulls(want)
	for digest, n := range asked {
		if n != 1 {
			t.Errorf("the layer %s was asked for %d times", digest, n)
		}
	}
	if len(asked) != len(want.Layers) {
		t.Errorf("%d layers were asked for, there are %d", len(asked), len(want.Layers))
	}
	ledgerOf(t, a.server).scanned(t, 6, len(want.Layers))
}

// Whoever sends again what a component has sent changes nothing.
func TestReplayedFacts(t *testing.T) {
	t.Parallel()
	a, want := startScanning(t, 3)
	a.done(t, a.scanAll(t), want)
	requests := 0
	for _, e := range a.way.Seen("/component/v1/work/") {
		status, answer := a.way.Replay(t, e)
		if requests++; status < 400 || status >= 500 {
			t.Errorf("%s was sent again: status %d: %s", e.Path, status, answer)
		}
	}
	if requests < 12 {
		t.Errorf("%d requests were sent again, which proves little", requests)
	}
	a.done(t, a.scanTask1(t), want)
}

// scanTask1 returns the only task.
func (a *attached) scanTask1(t *testing.T) string {
	t.Helper()
	tasks := a.scanTasks(t)
	if len(tasks) != 1 {
		t.Fatalf("there are %d tasks", len(tasks))
	}
	return *tasks[0].TaskId
}

// A scan is stopped while images are being pulled: those end within five
// seconds, and nothing begins any more.
func TestScanStopped(t *testing.T) {
	t.Parallel()
	a, want := startScanning(t, 12)
	task, g := a.holdScan(t, 4, isBlob)
	book := ledgerOf(t, a.server)
	const leased = "SELECT COUNT(*) FROM work WHERE kind = 'scan' AND state = 'leased'"
	if book.one(t, leased) == "0" {
		t.Error("nothing is under way")
	}
	asked := time.Now()
	a.stopScan(t, task)
	if err := a.until("rid of the scans under way", func() bool { return book.one(t, leased) == "0" }); err != nil {
		t.Error(err)
	}
	took := time.Since(asked)
	t.Logf("what was under way ended in %s", took.Round(time.Millisecond))
	if took > 5*time.Second {
		t.Errorf("what was under way ended in %s", took)
	}
	g.Open()
	before := len(a.front.Seen("/"))
	time.Sleep(2 * time.Second) // nothing is to happen
	if after := len(a.front.Seen("/")); after != before {
		t.Errorf("the registry was asked %d times more", after-before)
	}
	if ended := a.scanTask(t, task); *ended.TaskStatus != -1 || *ended.EndTime == 0 {
		t.Errorf("the task has come to %s", progressOf(ended))
	}
	for name, status := range a.statuses(t) {
		if status != "success" && status != "unscan" {
			t.Errorf("%s is %s", name, status)
		}
	}
	book.quiet(t)
	a.done(t, a.scanAll(t), want)
}

// The server's data folder is full for a while.
func TestDiskFullInMidScan(t *testing.T) {
	t.Parallel()
	const size = 96 << 20
	a := startAttachedOn(t, size)
	want := a.reg.fillBase(t, 6, 256<<10, 32<<10)
	a.sync(t, a.id)
	task, g := a.holdScan(t, 3, isBlob)
	ballast := a.Data + "/../ballast"
	f, err := os.Create(ballast)
	if err != nil {
		t.Fatal(err)
	}
	for chunk := make([]byte, 1<<20); ; {
		n, err := f.Write(chunk)
		if err != nil || n < len(chunk) {
			break
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	g.Open()
	refused := func() int {
		n := 0
		for _, e := range a.way.Seen("/component/v1/work/") {
			if e.Status >= 500 {
				n++
			}
		}
		return n
	}
	if err := a.until("full", func() bool { return refused() > 3 }); err != nil {
		t.Error(err)
	}
	if status := a.status("/readyz"); status == 0 {
		t.Error("the server is gone")
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	a.scanned(t, task, scanPatience, len(want.names()))
	book := ledgerOf(t, &server{Data: a.copyData(t)})
	book.quiet(t)
	book.consistent(t)
	book.holds(t, want)
	if got := book.one(t, "PRAGMA integrity_check"); got != "ok" {
		t.Errorf("the database says of itself: %s", got)
	}
}

// copyData copies the database of a server that stands still meanwhile: SQLite
// does not find one by way of another process's file systems.
func (s *server) copyData(t *testing.T) string {
	t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.cmd.Process.Signal(syscall.SIGCONT) }()
	dir := t.TempDir()
	for _, name := range []string{"tidewaiter.db", "tidewaiter.db-wal"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(readFile(t, filepath.Join(s.Data, name))), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// startAttachedOn is startAttached with a server whose data folder has a file
// system of its own, of a size. It goes with the server, however that ends.
func startAttachedOn(t *testing.T, size int) *attached {
	t.Helper()
	dir := shortDir(t)
	script := `mount -t tmpfs -o size=` + strconv.Itoa(size) + ` tmpfs "` + dir + `" && exec "$0" "$@"`
	wrapper := append([]string{"/usr/bin/unshare", "--mount", "/bin/sh", "-c", script}, alone...)
	a := &attached{way: newRelay(t), name: "attached"}
	s := startServer(t, wrapper, []string{"--sync-at", "off", "--local-cluster=false", "--public-url", a.way.URL, "--data", dir + "/data"})
	listens, pid := strings.TrimPrefix(s.URL, "http://"), s.cmd.Process.Pid
	a.way.To(func(ctx context.Context) (net.Conn, error) { return dialIn(ctx, pid, listens) })
	s.URL, s.Client, s.Data = a.way.URL, a.way.client(), "/proc/"+strconv.Itoa(pid)+"/root"+dir+"/data"
	s.awaitReady(t)
	a.server = s
	a.attach(t)
	return a
}

// The network between component and server is gone for longer than a lease.
func TestServerOutOfReachInMidScan(t *testing.T) {
	t.Parallel()
	a, want := startScanning(t, 6)
	task, g := a.holdScan(t, 3, isBlob)
	a.way.Cut()
	g.Open()
	if err := a.within(2*patience, "rid of its leases", func() bool {
		return strings.Contains(a.component.stderr.String(), "the lease is lost")
	}); err != nil {
		t.Error(err)
	}
	a.way.Mend()
	a.done(t, task, want)
}

// The component dies of one image, again and again: that image fails, with a
// reason, and the others do not.
func TestImageKillsComponent(t *testing.T) {
	t.Parallel()
	a, want := startScanning(t, 4)
	layer := npmLayer(t, "poison", "1.0.0", 1000)
	digest := layerDigest(t, layer)
	const name = scanRepository + "poison"
	a.reg.Push(t, name, "v1", imageOf(t, "amd64", layer))
	a.sync(t, a.id)
	task, g := a.holdScan(t, 0, ofLayer(digest))
	for n := range 5 {
		g.await(t)
		// The others have all the time.
		if err := a.until("done with the others", func() bool { return *a.scanTask(t, task).SuccessNum == 4 }); err != nil {
			t.Fatal(err)
		}
		if *a.scanTask(t, task).FailedNum != 0 {
			t.Errorf("the image failed after %d times", n)
		}
		a.component.Kill()
		next := a.front.Hold(0, ofLayer(digest))
		t.Cleanup(next.Open)
		g.Open()
		a.component.Start(t)
		g = next
	}
	ended := a.awaitScan(t, task, scanPatience)
	if *ended.SuccessNum != 4 || *ended.FailedNum != 1 {
		t.Fatalf("the scan has come to %s", progressOf(ended))
	}
	if f := (*ended.FailedImages)[0]; *f.ImageName != "poison" || !strings.Contains(*f.FailedReason, "never came to an end") {
		t.Errorf("of %s it says %q", *f.ImageName, *f.FailedReason)
	}
	if status := a.statuses(t)[name+":v1"]; status != "failed: unknown_error" {
		t.Errorf("the image is %s", status)
	}
	book := ledgerOf(t, a.server)
	book.quiet(t)
	book.consistent(t)
	book.holds(t, want)
}

// The component dies of one image whatever else it is at, again and again. What
// else it was at each time is scanned all the same.
func TestImageKillsComponentAtWork(t *testing.T) {
	t.Parallel()
	a := startAttached(t)
	want := newCargo()
	poison, slow := npmLayer(t, "poison", "1.0.0", 1000), npmLayer(t, "slow", "1.0.0", 1000)
	want.put(t, a.reg, scanRepository+"slow", "v1", imageOf(t, "amd64", slow), []string{"slow 1.0.0 0"})
	a.reg.Push(t, scanRepository+"poison", "v1", imageOf(t, "amd64", poison))
	a.sync(t, a.id)
	of := func(layer v1.Layer) func(method, path string) bool { return ofLayer(layerDigest(t, layer)) }
	asked := func(layer v1.Layer) int { return len(a.front.Seen("/blobs/" + layerDigest(t, layer))) }
	both := func(method, path string) bool { return of(poison)(method, path) || of(slow)(method, path) }
	task, g := a.holdScan(t, 0, both)
	deaths, p, s := 0, 0, 0
	for ended := false; !ended; {
		if err := a.within(scanPatience, "further", func() bool {
			ended = *a.scanTask(t, task).EndTime != 0
			return ended || asked(poison) > p || asked(slow) > s
		}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second) // for what else is under way
		dies := asked(poison) > p
		p, s = asked(poison), asked(slow)
		holds := both
		if dies {
			deaths++
			a.component.Kill()
		} else {
			holds = of(poison) // what is slow comes to its end, alone
		}
		next := a.front.Hold(0, holds)
		t.Cleanup(next.Open)
		g.Open()
		if g = next; dies {
			a.component.Start(t)
		}
	}
	ended := a.scanTask(t, task)
	if *ended.SuccessNum != 1 || *ended.FailedNum != 1 || deaths != 5 {
		t.Errorf("after %d deaths the scan has come to %s", deaths, progressOf(ended))
	}
	book := ledgerOf(t, a.server)
	book.quiet(t)
	book.consistent(t)
	book.holds(t, want)
}

// A component breaks off in the middle of sending facts: nothing of them is
// kept, and they are sent again.
func TestFactsBreakOff(t *testing.T) {
	t.Parallel()
	a, want := startScanning(t, 3)
	var broken int
	dial := a.way.to
	a.way.To(func(ctx context.Context) (net.Conn, error) {
		c, err := dial(ctx)
		if err != nil {
			return nil, err
		}
		return &brokenConn{Conn: c, breaks: func() bool { broken++; return broken%2 == 1 }}, nil
	})
	a.done(t, a.scanAll(t), want)
	if broken < 6 {
		t.Errorf("%d uploads of facts passed, which proves little", broken)
	}
}

// A brokenConn ends in the middle of a request with facts.
type brokenConn struct {
	net.Conn
	breaks func() bool
	facts  bool
}

func (c *brokenConn) Write(b []byte) (int, error) {
	if line, _, _ := strings.Cut(string(b[:min(len(b), 200)]), "\r\n"); strings.HasSuffix(line, "/layer HTTP/1.1") && !c.facts {
		if c.facts = true; c.breaks() {
			n, _ := c.Conn.Write(b[:len(b)*3/4])
			_ = c.Close()
			return n, syscall.EPIPE
		}
	}
	return c.Conn.Write(b)
}
