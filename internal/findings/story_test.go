package findings_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/snapshots"
	"github.com/tidewaiter/tidewaiter/internal/store"
	"github.com/tidewaiter/tidewaiter/internal/store/storetest"
)

func TestStory(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		w := newWorld(t, db)
		ctx := context.Background()
		w.scan("app", w.deb("openssl", "3.0.1-1"), npm("left-pad", "1.0.0"))
		w.scan("empty")
		want := map[string]tidewaiter.Risk{"app": risk(2), "empty": {}}
		w.want(want) // nobody knows anything about the two

		first := w.write("debian.json", advisory("DEBIAN-CVE-2026-1000", day(1), "Debian:12", "openssl", "3.0.2-1", critical, "CVE-2026-1000"))
		r := w.importFiles(first)
		if r.Set.Advisories != 1 || r.Unchanged {
			t.Errorf("got %+v", r)
		}
		want["app"] = risk(1, tidewaiter.RankCritical)
		w.want(want)

		w.scan("other", w.deb("openssl", "3.0.1-1"), w.deb("openssl", "3.0.2-1"))
		want["other"] = risk(0, tidewaiter.RankCritical)
		w.want(want)

		second := w.write("npm.json", advisory("GHSA-aaaa", day(2), "npm", "left-pad", "", medium), advisory("GHSA-bbbb", day(2), "npm", "left-pad", "0.9.0", critical))
		w.importFiles(second)
		want["app"] = risk(0, tidewaiter.RankCritical, tidewaiter.RankMedium)
		w.want(want)

		if r := w.importFiles(second); !r.Unchanged || len(r.Sources) != 1 {
			t.Errorf("got %+v", r)
		}
		_, err := w.sets.Import(ctx, []string{w.write("debian.json", advisory("DEBIAN-CVE-2026-1000", "2025-01-01T00:00:00Z", "Debian:12", "openssl", "", ""))}, w.findings)
		w.wantKind(err, tidewaiter.Conflict) // older
		w.want(want)

		w.importFiles(w.write("debian.json", advisory("DEBIAN-CVE-2026-1000", day(3), "Debian:12", "openssl", "3.0.2-1", medium, "CVE-2026-1000"),
			advisory("DEBIAN-CVE-2026-2000", day(3), "Debian:12", "openssl", "", "", "CVE-2026-2000")))
		want["app"] = risk(0, tidewaiter.RankMedium, tidewaiter.RankMedium, tidewaiter.RankUnknown)
		want["other"] = risk(0, tidewaiter.RankMedium, tidewaiter.RankUnknown, tidewaiter.RankUnknown)
		w.want(want)

		if _, err := w.sets.Rollback(ctx, "", w.findings); err != nil {
			t.Fatal(err)
		}
		w.want(map[string]tidewaiter.Risk{"app": risk(0, tidewaiter.RankCritical, tidewaiter.RankMedium), "other": risk(0, tidewaiter.RankCritical), "empty": {}})
		if _, err := w.sets.Forget(ctx, second, w.findings); err != nil {
			t.Fatal(err)
		}
		w.want(map[string]tidewaiter.Risk{"app": risk(1, tidewaiter.RankCritical), "other": risk(0, tidewaiter.RankCritical), "empty": {}})

		_, err = w.sets.Forget(ctx, second, w.findings)
		w.wantKind(err, tidewaiter.NotFound)
		_, err = w.sets.Rollback(ctx, "sha256:none", w.findings)
		w.wantKind(err, tidewaiter.NotFound)
		st, err := w.sets.Status(ctx)
		w.ok(err)
		if len(st.Sets) > 4 || len(st.Sources) != 1 || st.Meta.Advisories != 1 || st.State.Generation != 5 {
			t.Errorf("got %+v", st)
		}
	})
}

func TestBadImports(t *testing.T) {
	w := newWorld(t, storetest.Open(t, "sqlite:"+filepath.Join(t.TempDir(), "db")))
	ctx := context.Background()
	w.scan("app", w.deb("openssl", "3.0.1-1"))
	w.importFiles(w.write("debian.json", advisory("DEBIAN-CVE-2026-1000", day(1), "Debian:12", "openssl", "3.0.2-1", critical)))
	want := map[string]tidewaiter.Risk{"app": risk(0, tidewaiter.RankCritical)}
	put := func(name, text string) string {
		path := filepath.Join(w.folder, name)
		w.ok(os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	w.ok(os.MkdirAll(filepath.Join(w.folder, "folder"), 0o700))
	for _, location := range []string{
		filepath.Join(w.folder, "none"), put("empty.json", "[]"), put("text.json", "hello"), put("half.zip", "PK\x03\x04xxxx"), filepath.Join(w.folder, "folder"),
		put("other.json", `{"dates": []}`), "", "/dev/null", "https://", "https://user:planted@example.com/all.zip", "a\x00b",
	} {
		_, err := w.sets.Import(ctx, []string{location}, w.findings)
		if k := tidewaiter.KindOf(err); err == nil || k != tidewaiter.Invalid && k != tidewaiter.NotFound {
			t.Errorf("%q: got %v", location, err)
		}
		w.want(want)
	}
	left, err := filepath.Glob(filepath.Join(w.folder, ".*tmp"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
	// What was there, and has come to harm.
	st, err := w.sets.Status(ctx)
	w.ok(err)
	_, err = w.sets.Import(ctx, []string{w.write("more.json", advisory("X-1", day(1), "npm", "x", "", ""))}, refusing{})
	w.wantKind(err, tidewaiter.Unavailable)
	after, err := w.sets.Status(ctx)
	w.ok(err)
	if after.State != st.State || !slices.Equal(after.Sources, st.Sources) {
		t.Errorf("got %+v, want %+v", after, st)
	}
	w.want(want)
}

// refusing brings nothing into force.
type refusing struct{}

func (refusing) Activate(context.Context, snapshots.Activation) error {
	return tidewaiter.Errorf(tidewaiter.Unavailable, "no")
}

// TestReadersSeeWholeSets reads all the time while sets change: what images come
// to is that of one set, and those who read an index keep it.
func TestReadersSeeWholeSets(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		w := newWorld(t, db)
		ctx := context.Background()
		var ids []int64
		for _, name := range []string{"a", "b", "c", "d"} {
			w.scan(name, w.deb("openssl", "3.0.1-1"), w.deb("zlib", "1.0-1"))
			ids = append(ids, w.images[name])
		}
		levels := []string{critical, medium}
		path := func(i int) string {
			return w.write("debian.json", advisory("DEBIAN-CVE-2026-1000", day(i+1), "Debian:12", "openssl", "", levels[i%2], "CVE-2026-1000"),
				advisory("DEBIAN-CVE-2026-2000", day(i+1), "Debian:12", "zlib", "", levels[i%2], "CVE-2026-2000"))
		}
		w.importFiles(path(0))
		var stop atomic.Bool
		var readers sync.WaitGroup
		reads := 0
		readers.Go(func() {
			for !stop.Load() {
				risks, err := db.Risks(ctx, ids)
				if err != nil {
					t.Error(err)
					return
				}
				for _, id := range ids[1:] {
					if risks[id] != risks[ids[0]] || risks[id] != risk(0, tidewaiter.RankCritical, tidewaiter.RankCritical) && risks[id] != risk(0, tidewaiter.RankMedium, tidewaiter.RankMedium) {
						t.Errorf("half a set: %+v", risks)
						return
					}
				}
				reads++
			}
		})
		readers.Go(func() {
			for !stop.Load() {
				index, _, release, err := w.sets.InForce(ctx)
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := index.Advisory("DEBIAN-CVE-2026-1000"); err != nil {
					t.Error(err)
				}
				release()
			}
		})
		for i := 1; i < 12; i++ {
			w.importFiles(path(i))
		}
		stop.Store(true)
		readers.Wait()
		if reads < 10 {
			t.Errorf("only %d reads", reads)
		}
	})
}
