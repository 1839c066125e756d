package snapshots_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/snapshots"
	"github.com/tidewaiter/tidewaiter/internal/store/storetest"
)

// TestFolders: what a folder has is what counts, not when it was written.
func TestFolders(t *testing.T) {
	w := newWorld(t, storetest.Open(t, storetest.SQLite(t)))
	ctx := context.Background()
	folder := t.TempDir()
	write := func(name string, content []byte) {
		t.Helper()
		path := filepath.Join(folder, name)
		w.ok(os.MkdirAll(filepath.Dir(path), 0o700))
		w.ok(os.WriteFile(path, content, 0o600))
	}
	outside := w.file("A-9.json", []byte(advisory("A-9", 1)))
	w.ok(os.Symlink(outside, filepath.Join(folder, "link.json")))
	write("A-1.json", []byte(advisory("A-1", 1)))
	write("2026/deep/A-2.json", []byte(advisory("A-2", 1)))
	write("2026/A-3.JSON", []byte(advisory("A-3", 1)))
	write("list.json", []byte("\n["+advisory("A-4", 1)+",\n"+advisory("A-5", 1)+"]"))
	write("npm/all.zip", archive(t, advisory("A-6", 1), advisory("A-7", 1)))
	write("README.md", []byte("no advisory"))
	write("broken.json", []byte(`{"id": `))
	r, err := w.sets.Import(ctx, []string{folder}, w.findings)
	w.ok(err)
	w.holds("A-1", "A-2", "A-3", "A-4", "A-5", "A-6", "A-7")
	if s := r.Sources[0]; s.Location != folder || s.Read != 7 || s.Refused != 1 || len(s.Refusals) != 1 || s.Refusals[0].Name != "broken.json" {
		t.Errorf("got %+v", s)
	}
	before, err := w.db.AdvisorySources(ctx)
	w.ok(err)
	write("A-1.json", []byte(advisory("A-1", 1)))
	r, err = w.sets.Import(ctx, []string{folder + "/."}, w.findings)
	w.ok(err)
	after, err := w.db.AdvisorySources(ctx)
	w.ok(err)
	if !r.Unchanged || len(after) != 1 || after[0].Digest != before[0].Digest {
		t.Errorf("got %+v, then %+v", before, after)
	}
	// A damaged zip file: nobody knows what it had.
	write("npm/all.zip", archive(t, advisory("A-6", 1), advisory("A-7", 1))[:100])
	_, err = w.sets.Import(ctx, []string{folder}, w.findings)
	w.wants(err, tidewaiter.Invalid, "npm/all.zip")
	w.ok(os.RemoveAll(filepath.Join(folder, "npm")))
	_, err = w.sets.Import(ctx, []string{folder}, w.findings)
	w.ok(err)
	w.holds("A-1", "A-2", "A-3", "A-4", "A-5")
	w.tidy()
}

// TestNoSource has what cannot be imported.
func TestNoSource(t *testing.T) {
	w := newWorld(t, storetest.Open(t, storetest.SQLite(t)))
	ctx := context.Background()
	pipe := filepath.Join(t.TempDir(), "pipe")
	w.ok(unix.Mkfifo(pipe, 0o600))
	for location, is := range map[string]struct {
		kind tidewaiter.Kind
		says string
	}{
		filepath.Join(t.TempDir(), "none"): {tidewaiter.NotFound, "no such file or folder"},
		t.TempDir():                        {tidewaiter.Invalid, "no advisories"},
		pipe:                               {tidewaiter.Invalid, "no file and no folder"},
		"":                                 {tidewaiter.Invalid, "no path and no URL"},
		"a\x00b":                           {tidewaiter.Invalid, "no path and no URL"},
		w.folder:                           {tidewaiter.Invalid, ""}, // its own
	} {
		_, err := w.sets.Import(ctx, []string{location}, w.findings)
		w.wants(err, is.kind, is.says)
	}
	w.holds()
	w.tidy()
}

// TestDamagedAdvisories: what is damaged in a zip file that is whole is left
// out, and said.
func TestDamagedAdvisories(t *testing.T) {
	w := newWorld(t, storetest.Open(t, storetest.SQLite(t)))
	deep := `{"id":"A-5","database_specific":` + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000) + `}`
	wide := `{"id":"A-6","aliases":[` + strings.Repeat(`"x",`, 500_000) + `"y"]}`
	r, err := w.sets.Import(context.Background(), []string{w.file("all.zip", archive(t,
		advisory("A-1", 1), `{"id": "A-2", "affected": [`, "\xff\xfe", `{"id":"A-3"} and more`, `{"id":"A-4\u0000"}`, deep, wide,
		strings.Replace(advisory("A-7", 1), `"modified"`, `"withdrawn":"yesterday","modified"`, 1), advisory("A-8", 2)))}, w.findings)
	w.ok(err)
	w.holds("A-1", "A-8")
	var names []string
	for _, refusal := range r.Sources[0].Refusals {
		if tidewaiter.KindOf(refusal.Err) != tidewaiter.Invalid && tidewaiter.KindOf(refusal.Err) != tidewaiter.TooLarge {
			t.Errorf("got %v", refusal.Err)
		}
		names = append(names, refusal.Name)
	}
	if want := []string{"1.json", "2.json", "3.json", "4.json", "5.json", "6.json", "7.json"}; !slices.Equal(names, want) || r.Sources[0].Refused != len(want) {
		t.Errorf("got %q", names)
	}
	w.tidy()
}

// TestImportURLsReadsNoFile takes no file for a URL, however its scheme is
// written: those who may name URLs to a server may not read its disk.
func TestImportURLsReadsNoFile(t *testing.T) {
	w := newWorld(t, storetest.Open(t, storetest.SQLite(t)))
	file := filepath.Join(t.TempDir(), "planted.json")
	if err := os.WriteFile(file, []byte(`{"schema_version": "1.7.0", "id": "GHSA-aaaa", "modified": "2026-01-01T00:00:00Z", "affected": [{"package": {"ecosystem": "npm", "name": "a"}, "versions": ["1.0.0"]}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	up := strings.Repeat("/..", 30)
	for _, location := range []string{
		file, "HTTP://127.0.0.1:1" + up + file, "hTTps://127.0.0.1:1" + up + file, "http:/" + file, "HTTP:" + file, "file://" + file, "FILE://" + file, "http:" + up + file, "",
	} {
		r, err := w.sets.ImportURLs(t.Context(), []string{location}, w.findings)
		if err == nil || len(r.Sources) > 0 {
			t.Errorf("%q was read: %+v", location, r)
		}
	}
}

// TestLinkLocalIsNotDialled: a URL, or what it leads on to, is not one of a
// cloud's metadata service. Nothing leaves this machine even without the guard: a
// link-local address of IPv6 without a zone cannot be dialled.
func TestLinkLocalIsNotDialled(t *testing.T) {
	for address, refused := range map[string]bool{
		"169.254.169.254:80": true, "[fe80::1]:80": true, "[::ffff:169.254.169.254]:80": true, "100.100.100.200:80": true, "[fd00:ec2::254]:80": true, "name:80": true,
		"127.0.0.1:80": false, "10.1.2.3:443": false, "[fd00::1]:443": false, "192.0.2.1:443": false,
	} {
		if err := snapshots.RefuseLinkLocal("tcp", address, nil); (err != nil) != refused {
			t.Errorf("%s: %v", address, err)
		}
	}
	w := newWorld(t, storetest.Open(t, storetest.SQLite(t)))
	on := httptest.NewServer(http.RedirectHandler("http://[fe80::1]/all.zip", http.StatusFound))
	t.Cleanup(on.Close)
	for _, location := range []string{"http://[fe80::1]/all.zip", on.URL} {
		_, err := w.sets.Import(t.Context(), []string{location}, w.findings)
		if err == nil || !strings.Contains(err.Error(), "an address of a metadata service") {
			t.Errorf("%s: %v", location, err)
		}
	}
}
