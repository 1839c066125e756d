package snapshots_test

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/store"
	"github.com/tidewaiter/tidewaiter/internal/store/storetest"
)

// TestSourcesAreCarried from one server to another, without the queries of URLs:
// the set is the same, and later imports go on from it.
func TestSourcesAreCarried(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		w := newWorld(t, db)
		ctx := context.Background()
		s := newSite(t, archive(t, advisory("A-1", 1)))
		file := w.file("all.zip", archive(t, advisory("B-1", 2)))
		_, err := w.sets.Import(ctx, []string{s.url() + "?token=planted", s.url() + "?token=another", file}, w.findings)
		w.ok(err)
		st, err := w.sets.Status(ctx)
		w.ok(err)
		sources, files, err := w.sets.Sources(ctx)
		w.ok(err)
		var names []string
		for _, src := range sources {
			names = append(names, src.Location)
		}
		if text := strings.Join(names, " "); len(sources) != 3 || strings.Contains(text, "token") || !strings.Contains(text, s.url()+" (2)") {
			t.Errorf("got %q", names)
		}

		there := newWorld(t, storetest.Open(t, storetest.SQLite(t)))
		carry := func(damage bool) error {
			_, err := there.sets.Replace(ctx, func(keep func(io.Reader) (tidewaiter.Digest, error)) ([]store.AdvisorySource, error) {
				for digest, path := range files {
					text, err := os.ReadFile(path)
					if err != nil {
						return nil, err
					}
					if got, err := keep(strings.NewReader(string(text))); err != nil || got != digest {
						t.Errorf("kept %s as %s, %v", digest, got, err)
					}
				}
				if damage {
					return nil, tidewaiter.Errorf(tidewaiter.Invalid, "damaged")
				}
				return sources, nil
			}, there.findings)
			return err
		}
		there.wants(carry(true), tidewaiter.Invalid, "damaged")
		there.holds()
		there.tidy()
		if left, err := filepath.Glob(filepath.Join(there.folder, "sources", "*")); err != nil || len(left) > 0 {
			t.Errorf("left behind: %q, %v", left, err)
		}
		there.ok(carry(false))
		there.holds("A-1", "B-1")
		state, err := there.db.AdvisoryState(ctx)
		there.ok(err)
		if state.Digest != st.State.Digest {
			t.Errorf("the set is %s there, and %s here", state.Digest, st.State.Digest)
		}
		_, err = there.sets.Import(ctx, []string{there.file("more.zip", archive(t, advisory("C-1", 3)))}, there.findings)
		there.ok(err)
		there.holds("A-1", "B-1", "C-1")
		there.tidy()
	})
}
