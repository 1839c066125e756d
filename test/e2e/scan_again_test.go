//go:build linux

package e2e

import (
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Images that were scanned well, and are scanned again: until that has come to
// its end as well, the last good result is what everybody sees.

// outdated has all that is known come from an older release, so that it is
// looked into again.
func (l ledger) outdated(t testing.TB) {
	t.Helper()
	for _, table := range []string{"scans", "scan_results", "layers"} {
		l(t, "UPDATE "+table+" SET extractors = 'older'")
	}
}

func TestLastGoodResultStays(t *testing.T) {
	t.Parallel()
	a := startAttached(t)
	want := a.reg.fillBase(t, 2, 2<<20, 1000)
	a.sync(t, a.id)
	a.done(t, a.scanAll(t), want)
	book := ledgerOf(t, a.server)
	stays := func(when, status string) {
		t.Helper()
		if diff := cmp.Diff(want.Images, book.packages(t)); diff != "" {
			t.Errorf("%s the images hold (-before +then):\n%s", when, diff)
		}
		a.lists(t, want)
		if got := book.one(t, "SELECT COUNT(*) FROM scan_results WHERE complete AND extractors = 'older'"); got != "2" {
			t.Errorf("%s %s results are the last good ones, want 2", when, got)
		}
		for name, got := range a.statuses(t) {
			if got != status {
				t.Errorf("%s %s is %s, want %s", when, name, got, status)
			}
		}
	}
	fails := func(why, status string) {
		t.Helper()
		ended := a.awaitScan(t, a.scanAll(t), scanPatience)
		if *ended.FailedNum != 2 || *ended.TaskStatus != -3 {
			t.Errorf("%s the scan has come to %s", why, progressOf(ended))
		}
		stays(why, status)
		book.quiet(t)
		book.consistent(t)
	}

	book.outdated(t)
	task, g := a.holdScan(t, 0, ofLayer(layerDigest(t, baseLayer(t, "base", 2<<20))))
	leased := func(n string) {
		t.Helper()
		if err := a.until("at "+n+" images", func() bool { return book.one(t, "SELECT COUNT(*) FROM work WHERE state = 'leased'") == n }); err != nil {
			t.Error(err)
		}
	}
	leased("2")
	stays("during the scan", "scanning")
	a.stopScan(t, task)
	leased("0")
	g.Open()
	stays("after a scan that was stopped", "success")

	limit := func(bytes int) {
		t.Helper()
		a.must(t, http.MethodPatch, "/clusters/office", settings{"limits": settings{"layer_bytes": bytes}}, nil)
	}
	limit(1 << 20)
	fails("with a layer that is too large by now", "failed: image_over_sized")
	limit(0)
	a.reg.SetPassword(t, "an0ther-Pa55word")
	fails("with a password that is wrong by now", "failed: authentication_failed")
	a.reg.SetPassword(t, attachedPassword)
	a.done(t, a.scanAll(t), want)
	if got := book.one(t, "SELECT COUNT(*) FROM scan_results WHERE extractors = 'older'"); got != "0" {
		t.Errorf("%s results are the old ones", got)
	}
}
