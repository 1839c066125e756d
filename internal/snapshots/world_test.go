package snapshots_test

import (
	"archive/zip"
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/findings"
	"github.com/tidewaiter/tidewaiter/internal/snapshots"
	"github.com/tidewaiter/tidewaiter/internal/store"
)

// world is a server's sets of advisories.
type world struct {
	*testing.T

	db       *store.DB
	folder   string // the service's
	sets     *snapshots.Service
	findings *findings.Service

	mu     sync.Mutex
	paused []time.Duration
	now    time.Time
}

func newWorld(t *testing.T, db *store.DB) *world {
	w := &world{T: t, db: db, folder: filepath.Join(t.TempDir(), "advisories"), now: store.Now()}
	w.open()
	return w
}

// open has another process look after the same folder.
func (w *world) open() {
	w.sets = snapshots.New(snapshots.Options{Store: w.db, Folder: w.folder, Now: w.clock})
	w.sets.SetPause(func(ctx context.Context, d time.Duration) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.paused = append(w.paused, d)
		return ctx.Err()
	})
	sets := w.sets
	w.Cleanup(func() { w.ok(sets.Close()) })
	w.findings = findings.New(findings.Options{Store: w.db, Sets: w.sets})
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) later(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

// pauses are those that were made since it was asked last.
func (w *world) pauses() []time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.paused
	w.paused = nil
	return p
}

func (w *world) ok(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) wants(err error, kind tidewaiter.Kind, says string) {
	w.Helper()
	if err == nil || tidewaiter.KindOf(err) != kind || !strings.Contains(err.Error(), says) {
		w.Errorf("got %v, want an error of kind %v that says %q", err, kind, says)
	}
}

// advisory is one about a package of npm, as of a day of January.
func advisory(id string, day int) string {
	return fmt.Sprintf(`{"schema_version":"1.7.0","id":%q,"modified":"2026-01-%02dT00:00:00Z","summary":"about left-pad",
		"affected":[{"package":{"ecosystem":"npm","name":"left-pad"},"ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"fixed":"1.3.0"}]}]}]}`, id, day)
}

// archive is a zip file of advisories.
func archive(t testing.TB, advisories ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for i, text := range advisories {
		f, err := z.Create(fmt.Sprintf("%d.json", i))
		if err == nil {
			_, err = f.Write([]byte(text))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func (w *world) file(name string, content []byte) string {
	w.Helper()
	path := filepath.Join(w.TempDir(), name)
	w.ok(os.WriteFile(path, content, 0o600))
	return path
}

// holds wants the set in force to have exactly these advisories.
func (w *world) holds(ids ...string) {
	w.Helper()
	index, _, release, err := w.sets.InForce(context.Background())
	w.ok(err)
	defer release()
	if index == nil {
		if len(ids) > 0 {
			w.Errorf("nothing is in force, want %q", ids)
		}
		return
	}
	if got := index.Meta().Advisories; got != len(ids) {
		w.Errorf("%d advisories are in force, want %q", got, ids)
	}
	for _, id := range ids {
		if _, err := index.Advisory(id); err != nil {
			w.Errorf("%s: %v", id, err)
		}
	}
}

// tidy wants nothing in the folder but sets and their sources.
func (w *world) tidy() {
	w.Helper()
	for _, pattern := range []string{"*", "sources/*"} {
		found, err := filepath.Glob(filepath.Join(w.folder, pattern))
		w.ok(err)
		for _, path := range found {
			name := filepath.Base(path)
			if name != "lock" && name != "sources" && !strings.HasPrefix(name, "sha256-") {
				w.Errorf("left behind: %s", name)
			}
		}
	}
	hidden, err := filepath.Glob(filepath.Join(w.folder, ".*"))
	w.ok(err)
	more, err := filepath.Glob(filepath.Join(w.folder, "sources", ".*"))
	w.ok(err)
	if left := append(hidden, more...); len(left) > 0 {
		w.Errorf("left behind: %q", left)
	}
}
