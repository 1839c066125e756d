//go:build linux

package e2e

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	// killsPerScan is how often something is killed while a hundred images are
	// scanned. More often, and an image could rightly fail: work that was begun
	// five times, and never came to an end, is given up.
	killsPerScan = 20
	// memoryAfterKills bounds what a server or a component holds in the end.
	memoryAfterKills = 300 << 20
)

// TestScanKills kills servers and a component at random while a hundred images
// are scanned, and starts them again at once. Every image is scanned, none
// twice, nothing is left behind. TIDEWAITER_SOAK_KILLS (make soak) says how
// often; each 20 have a hundred images of their own.
func TestScanKills(t *testing.T) {
	t.Parallel()
	kills := killsPerScan
	if text := os.Getenv("TIDEWAITER_SOAK_KILLS"); text != "" {
		var err error
		if kills, err = strconv.Atoi(text); err != nil || kills < 1 {
			t.Fatalf("TIDEWAITER_SOAK_KILLS is %q; give a number", text)
		}
	}
	t.Run("SQLite", func(t *testing.T) {
		t.Parallel()
		r := startRaid(t, 1)
		r.book = ledgerOf(t, r.server)
		r.run(t, kills)
		if got := r.book.one(t, "PRAGMA integrity_check"); got != "ok" {
			t.Errorf("the database says of itself: %s", got)
		}
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		t.Parallel()
		db := startPostgres(t)
		r := startRaid(t, 2, "--database", db.URL, "--keys", filepath.Join(t.TempDir(), "keys"))
		r.book = db.query
		r.run(t, kills)
	})
}

// A raid is an installation with two components whose servers, and one of the
// components, are killed.
type raid struct {
	*attached
	steady *scanComponent // the component that is left alone
	book   ledger
	data   []string // data folders of the replicas
	args   []string // of each
	random *rand.Rand

	mu       sync.Mutex
	replicas []*server
	up       []string // their addresses, "" while one is down
}

// startRaid starts as many servers on one database, and the rest.
func startRaid(t *testing.T, replicas int, args ...string) *raid {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	t.Logf("the seed is %d", seed)
	r := &raid{
		attached: &attached{way: newRelay(t), name: "attached"},
		random:   rand.New(rand.NewPCG(seed, 0)), replicas: make([]*server, replicas), up: make([]string, replicas),
	}
	r.args = append(args, "--sync-at", "off", "--public-url", r.way.URL)
	r.way.To(r.dial)
	for i := range replicas {
		r.data = append(r.data, filepath.Join(t.TempDir(), "data"))
		r.serve(t, i)
	}
	// What tests ask is answered by any replica.
	first := r.replicas[0]
	first.awaitReady(t)
	r.server = &server{process: first.process, bootstrap: first.bootstrap, Data: first.Data, URL: r.way.URL, Client: r.way.client()}
	r.attach(t)
	// The registry takes its time, so that layers are under way at any moment.
	direct := r.front.to
	r.front.To(func(ctx context.Context) (net.Conn, error) {
		time.Sleep(rand.N(150 * time.Millisecond))
		return direct(ctx)
	})
	r.steady = startComponent(t, r.way, r.cluster(t, r.way, "token", "office").Token)
	r.process = r.steady.process // what lives as long as the test
	r.awaitComponents(t, r.clusterID, 2)
	return r
}

// serve starts a replica, and waits until it answers.
func (r *raid) serve(t *testing.T, i int) {
	t.Helper()
	s := startServer(t, nil, append([]string{"--data", r.data[i]}, r.args...))
	if err := s.until("ready", func() bool { return s.status("/readyz") == 200 }); err != nil {
		t.Fatal(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.replicas[i], r.up[i] = s, strings.TrimPrefix(s.URL, "http://")
}

// dial connects to a replica that is up: any of them.
func (r *raid) dial(ctx context.Context) (net.Conn, error) {
	r.mu.Lock()
	up := slices.DeleteFunc(slices.Clone(r.up), func(addr string) bool { return addr == "" })
	r.mu.Unlock()
	if len(up) == 0 {
		return nil, errors.New("no server is up")
	}
	return new(net.Dialer).DialContext(ctx, "tcp", up[rand.IntN(len(up))])
}

// kill kills one, and starts it again.
func (r *raid) kill(t *testing.T) {
	t.Helper()
	i := r.random.IntN(len(r.replicas) + 1)
	if i == len(r.replicas) {
		r.component.Kill()
		r.component.Start(t)
		return
	}
	r.mu.Lock()
	r.up[i] = ""
	r.mu.Unlock()
	r.replicas[i].Kill()
	r.serve(t, i)
}

// run scans hundreds of images with so many kills.
func (r *raid) run(t *testing.T, kills int) {
	t.Helper()
	before := r.folders(t)
	want := newCargo()
	for round := 0; kills > 0; round++ {
		started := time.Now()
		pushed := r.reg.fillHundred(t, fmt.Sprintf("r%d", round))
		t.Logf("a hundred images were pushed in %s", time.Since(started).Round(time.Second))
		maps.Copy(want.Images, pushed.Images)
		maps.Copy(want.Layers, pushed.Layers)
		r.sync(t, r.id)
		r.scanUnderKills(t, min(kills, killsPerScan))
		kills -= killsPerScan
		r.settled(t, want)
		r.lists(t, pushed)
		if t.Failed() {
			break
		}
	}
	if after := r.folders(t); !slices.Equal(before, after) {
		t.Errorf("in the folders there were\n%s\nand are\n%s", before, after)
	}
	processes := map[string]*process{"the component that was killed": r.component.process, "the other component": r.steady.process}
	for i, s := range r.replicas {
		processes[fmt.Sprintf("server %d", i)] = s.process
	}
	for name, p := range processes {
		now, most := memoryOf(t, p)
		t.Logf("%s holds %d MiB, and has held %d MiB", name, now>>20, most>>20)
		if now > memoryAfterKills {
			t.Errorf("%s holds %d MiB", name, now>>20)
		}
		if left := deletedFiles(p); len(left) > 0 {
			t.Errorf("%s has open what is deleted: %s", name, left)
		}
	}
}

// scanUnderKills scans all images. The kills are spread over the scan, by how
// many images are done.
func (r *raid) scanUnderKills(t *testing.T, kills int) {
	t.Helper()
	started := time.Now()
	task := r.scanAll(t)
	first := r.scanTask(t, task)
	known := int(*first.SuccessNum) // of rounds before
	var moments []int
	for range kills {
		moments = append(moments, known+r.random.IntN(96))
	}
	slices.Sort(moments)
	for n, moment := range moments {
		if err := r.within(scanPatience, "further with the scan", func() bool { return int(*r.scanTask(t, task).SuccessNum) >= moment }); err != nil {
			t.Fatalf("after %d kills the scan has come to %s\n%v", n, progressOf(r.scanTask(t, task)), err)
		}
		time.Sleep(time.Duration(r.random.IntN(150)) * time.Millisecond) // at any moment
		r.kill(t)
	}
	killed := time.Since(started)
	t.Logf("%d kills in %s: %s", kills, killed.Round(time.Second), progressOf(r.scanTask(t, task)))
	ended := r.awaitScan(t, task, 5*time.Minute)
	t.Logf("the scan took %s: %s", time.Since(started).Round(time.Second), progressOf(ended))
	for _, f := range *ended.FailedImages {
		t.Errorf("%s failed: %s", *f.ImageName, *f.FailedReason)
	}
}

// settled wants all that was pushed to be scanned, once, and nothing to be left.
func (r *raid) settled(t *testing.T, want *cargo) {
	t.Helper()
	r.book.quiet(t)
	r.book.consistent(t)
	r.book.holds(t, want)
	r.book.scanned(t, len(want.names()), len(want.Layers))
	for name, status := range r.statuses(t) {
		if status != "success" {
			t.Errorf("%s is %s", name, status)
		}
	}
}

// folders lists what is in the folders of all.
func (r *raid) folders(t *testing.T) []string {
	t.Helper()
	var files []string
	for _, dir := range append(slices.Clone(r.data), r.component.State, r.steady.State) {
		err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				files = append(files, path)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
	return files
}

// memoryOf returns what a process holds in memory, and the most that it has held.
func memoryOf(t testing.TB, p *process) (now, most int64) {
	t.Helper()
	text := readFile(t, fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	of := func(field string) int64 {
		_, value, _ := strings.Cut(text, field+":")
		value, _, _ = strings.Cut(value, "kB")
		n, err := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
		if err != nil {
			t.Fatalf("%s: %v", field, err)
		}
		return n << 10
	}
	return of("VmRSS"), of("VmHWM")
}

// deletedFiles are those that a process has open though they have no name.
func deletedFiles(p *process) []string {
	var left []string
	open, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", p.cmd.Process.Pid))
	for _, fd := range open {
		var stat syscall.Stat_t
		if syscall.Stat(fd, &stat) == nil && stat.Mode&syscall.S_IFMT == syscall.S_IFREG && stat.Nlink == 0 {
			name, _ := os.Readlink(fd)
			left = append(left, name)
		}
	}
	return left
}
