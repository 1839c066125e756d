//go:build linux

package e2e

import (
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/huaweicloud/huaweicloud-sdk-go-v3/services/hss/v5/model"
)

// Scans on PostgreSQL, which can be away by itself, and which several servers
// share.

// Kill ends the database as its crash would.
func (p *postgres) Kill(t testing.TB) {
	t.Helper()
	first, _, _ := strings.Cut(readFile(t, filepath.Join(p.Data, "postmaster.pid")), "\n")
	pid, err := strconv.Atoi(first)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGQUIT); err != nil { // what it calls immediate
		t.Fatal(err)
	}
	if err := p.until("down", func() bool { return syscall.Kill(pid, 0) != nil }); err != nil {
		t.Fatal(err)
	}
}

// Start starts the database after its end, and waits until it answers.
func (p *postgres) Start(t testing.TB) {
	t.Helper()
	programs, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if len(programs) == 0 {
		t.Fatal("there is no PostgreSQL")
	}
	cmd := command(nil, "/usr/bin/setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "--inh-caps=-all", programs[len(programs)-1], "-D", p.Data)
	cmd.Dir = filepath.Dir(p.Data)
	again, err := launch(cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = again.stop(syscall.SIGINT) })
	socket := filepath.Join(filepath.Dir(p.Data), ".s.PGSQL.5432")
	ready := filepath.Join(filepath.Dir(programs[len(programs)-1]), "pg_isready")
	if err := again.until("ready", func() bool {
		return exec.Command(ready, "-q", "-h", filepath.Dir(socket), "-U", "tidewaiter", "-d", "postgres").Run() == nil
	}); err != nil {
		t.Fatal(err)
	}
}

func TestPostgresRestartedInMidScan(t *testing.T) {
	t.Parallel()
	db := startPostgres(t)
	a, want := startScanning(t, 6, "--database", db.URL)
	task, g := a.holdScan(t, 3, isBlob)
	db.Kill(t)
	g.Open()
	refused := func() bool {
		for _, e := range a.way.Seen("/component/v1/work/") {
			if e.Status >= 500 {
				return true
			}
		}
		return false
	}
	if err := a.until("without its database", refused); err != nil {
		t.Error(err)
	}
	db.Start(t)
	// Who asks on a connection that has died meanwhile gets an error, once.
	if err := a.within(scanPatience, "done with the scan", func() bool {
		resp, err := a.sdk(t).ListImageScanTask(&model.ListImageScanTaskRequest{Type: "image_scan", TaskId: &task})
		return err == nil && *(*resp.DataList)[0].TaskStatus == 100
	}); err != nil {
		t.Fatal(err)
	}
	book := ledger(db.query)
	book.quiet(t)
	book.consistent(t)
	book.holds(t, want)
	book.scanned(t, 6, len(want.Layers))
}

// A policy that is due runs once, however many servers there are, and not
// while its last scan is under way.
func TestPolicyRunsOnce(t *testing.T) {
	t.Parallel()
	db := startPostgres(t)
	r := startRaid(t, 2, "--database", db.URL, "--keys", filepath.Join(t.TempDir(), "keys"))
	r.reg.fillBase(t, 3, 1000, 1000)
	r.sync(t, r.id)
	g := r.front.Hold(0, isBlob)
	t.Cleanup(g.Open)
	_, err := r.sdk(t).ModifyImageScanPolicy(&model.ModifyImageScanPolicyRequest{Body: &model.CycleImageScanPolicyReqInfo{
		Enabled: true, ScanCycle: 3, ScanScope: 0x7fffffff,
		RegistryInfo: []model.CycleImageScanPolicyReqInfoRegistryInfo{{RegistryId: r.id, RegistryName: r.name, RegistryType: "Other"}},
	}})
	if err != nil {
		t.Fatalf("ModifyImageScanPolicy: %v", err)
	}
	g.await(t)
	due := func() {
		t.Helper()
		db.query(t, "UPDATE scan_policies SET next_run = 1")
		if err := r.until("done with the policy", func() bool { return db.query(t, "SELECT next_run > 1 FROM scan_policies")[0] == "t" }); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second) // in which each server looks twice
	}
	tasks := func(want int) {
		t.Helper()
		found := r.scanTasks(t)
		if len(found) != want {
			t.Errorf("there are %d scan tasks, want %d", len(found), want)
		}
		for _, task := range found {
			if *task.TaskType != "cycle" || *task.TotalNum != 3 {
				t.Errorf("a %s task has come to %s", *task.TaskType, progressOf(task))
			}
		}
	}
	due() // the first is under way
	tasks(1)
	g.Open()
	r.awaitScan(t, *r.scanTasks(t)[0].TaskId, scanPatience)
	due()
	tasks(2)
	due()
	tasks(3)
	ledger(db.query).consistent(t)
}
