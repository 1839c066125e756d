package snapshots_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/store"
	"github.com/tidewaiter/tidewaiter/internal/store/storetest"
)

// elsewhere is another server with the same database, and a folder of its own.
func (w *world) elsewhere() *world {
	o := &world{T: w.T, db: w.db, folder: filepath.Join(w.TempDir(), "advisories"), now: w.now}
	o.open()
	return o
}

// TestUpdateBesideAnotherServer: one that finds nothing new does not undo what
// another server, with a folder of its own, brought into force meanwhile.
func TestUpdateBesideAnotherServer(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		w := newWorld(t, db)
		other := w.elsewhere()
		ctx := context.Background()
		s := newSite(t, archive(t, advisory("A-1", 1)))
		_, err := w.sets.Import(ctx, []string{s.url()}, w.findings)
		w.ok(err)
		// While it waits for the site, the other one imports.
		path := w.file("more.zip", archive(t, advisory("B-1", 2)))
		s.set(func() { s.refuses = []int{503} })
		w.sets.SetPause(func(context.Context, time.Duration) error {
			if db.Dialect() == "sqlite" { // where files are not shared
				w.ok(os.CopyFS(other.folder, os.DirFS(w.folder)))
			}
			_, err := other.sets.Import(ctx, []string{path}, other.findings)
			return err
		})
		_, err = w.sets.Update(ctx, nil, w.findings)
		w.wants(err, tidewaiter.Conflict, "meanwhile")
		if got := w.sources(); !slices.Contains(got, path) || len(got) != 2 {
			t.Errorf("the sources are %q", got)
		}
		other.holds("A-1", "B-1")
	})
}

// bulky is an archive of so many advisories with long texts that do not compress.
func bulky(t *testing.T, n int) ([]byte, []string) {
	t.Helper()
	noise := rand.NewChaCha8([32]byte{})
	var list, ids []string
	for i := range n {
		text := make([]byte, 20<<10)
		if _, err := noise.Read(text); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, fmt.Sprintf("A-%d", i))
		list = append(list, strings.Replace(advisory(ids[i], 1), `"summary"`, fmt.Sprintf(`"details":"%x","summary"`, text), 1))
	}
	return archive(t, list...), ids
}

// TestServersShareSets: on PostgreSQL the files of sets and sources go through
// the database.
func TestServersShareSets(t *testing.T) {
	w := newWorld(t, storetest.Open(t, storetest.Postgres(t)))
	ctx := context.Background()
	large, ids := bulky(t, 120)
	one := w.file("one.zip", large)
	first, err := w.sets.Import(ctx, []string{one}, w.findings)
	w.ok(err)
	if first.Set.Size <= 1<<20 || len(large) <= 1<<20 {
		t.Fatalf("the set has %d bytes and the source %d: too few", first.Set.Size, len(large))
	}
	other := w.elsewhere()
	other.holds(ids...)
	// The other one builds on sources that it never saw.
	two := w.file("two.zip", archive(t, advisory("B-1", 2)))
	_, err = other.sets.Import(ctx, []string{two}, other.findings)
	w.ok(err)
	w.holds(append(slices.Clone(ids), "B-1")...)
	third := w.elsewhere()
	_, err = third.sets.Rollback(ctx, "", third.findings)
	w.ok(err)
	w.holds(ids...)
	other.holds(ids...)

	// What is damaged in the database is not taken.
	digest := first.Set.Digest
	w.ok(w.db.PutPiece(ctx, digest, 1, []byte("planted")))
	fourth := w.elsewhere()
	_, _, _, err = fourth.sets.InForce(ctx)
	w.wants(err, tidewaiter.Conflict, "damaged")
	fourth.tidy()
	if sets, _ := fourth.files(); sets != 0 {
		t.Errorf("kept are %d sets", sets)
	}
	w.ok(w.db.DeleteFile(ctx, digest))
	_, _, _, err = fourth.sets.InForce(ctx)
	w.wants(err, tidewaiter.NotFound, "")
	fourth.tidy()
	w.holds(ids...) // who has it keeps it

	// What no set needs any more leaves the database.
	for day := 3; day <= 6; day++ {
		w.ok(os.WriteFile(one, archive(t, advisory(fmt.Sprintf("A-%d", day), day)), 0o600))
		_, err := w.sets.Import(ctx, []string{one}, w.findings)
		w.ok(err)
	}
	shared, err := w.db.SharedFiles(ctx)
	w.ok(err)
	if len(shared) != 6 || slices.Contains(shared, digest) { // three sets, of a source each
		t.Errorf("%d files are in the database", len(shared))
	}
}

// TestServersCollide: two import at once into one database, from folders of
// their own. One is in force, and the other said so.
func TestServersCollide(t *testing.T) {
	w := newWorld(t, storetest.Open(t, storetest.Postgres(t)))
	ctx := context.Background()
	other := w.elsewhere()
	one, two := w.file("one.zip", archive(t, advisory("A-1", 1))), w.file("two.zip", archive(t, advisory("B-1", 1)))
	begun, finish, done := make(chan struct{}), make(chan struct{}), make(chan error)
	go func() {
		_, err := w.sets.Import(ctx, []string{one}, holding{w.findings, begun, finish})
		done <- err
	}()
	<-begun
	_, err := other.sets.Import(ctx, []string{two}, other.findings)
	w.ok(err)
	close(finish)
	w.wants(<-done, tidewaiter.Conflict, "meanwhile")
	w.holds("B-1")
	_, err = w.sets.Import(ctx, []string{one}, w.findings)
	w.ok(err)
	other.holds("A-1", "B-1")
}
