package store_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/store"
	"github.com/tidewaiter/tidewaiter/internal/store/storetest"
)

// scanLease queues and leases scan work.
func scanLease(t *testing.T, db *store.DB, id string, now time.Time) tidewaiter.Lease {
	t.Helper()
	newWork(t, db, id, tidewaiter.ScanWork, now)
	w, err := db.LeaseWork(context.Background(), "c", []tidewaiter.WorkKind{tidewaiter.ScanWork}, "component of "+id, now, now.Add(time.Minute), tidewaiter.MaxAttempts)
	must(t, err)
	if w.ID != id {
		t.Fatalf("the work is %s, want %s", w.ID, id)
	}
	return leaseOf(w)
}

func layerKey(n int) tidewaiter.LayerKey {
	return tidewaiter.LayerKey{
		ProjectID: "p", ClusterID: "c", Extractors: "set-1",
		Digest: tidewaiter.DigestOf([]byte(fmt.Sprint("layer ", n))), DiffID: tidewaiter.DigestOf([]byte(fmt.Sprint("content ", n))),
	}
}

func wantClaim(t *testing.T, db *store.DB, k tidewaiter.LayerKey, limits string, l tidewaiter.Lease, now time.Time, want store.LayerState) {
	t.Helper()
	var got store.LayerState
	must(t, db.Tx(context.Background(), func(tx *store.DB) (err error) {
		got, err = tx.ClaimLayer(context.Background(), k, limits, l, now)
		return err
	}))
	if got != want {
		t.Errorf("%s finds the layer %s, want %s", l.WorkID, got, want)
	}
}

func TestClaimLayer(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, now := context.Background(), epoch()
		newCluster(t, db, "c")
		one, two := scanLease(t, db, "one", now), scanLease(t, db, "two", now)
		k := layerKey(1)
		wantClaim(t, db, k, "usual", one, now, store.LayerClaimed)
		wantClaim(t, db, k, "usual", one, now, store.LayerClaimed) // it asks once more
		wantClaim(t, db, k, "usual", two, now, store.LayerBusy)
		wantClaim(t, db, layerKey(2), "usual", two, now, store.LayerClaimed)
		for what, other := range map[string]tidewaiter.LayerKey{
			"project":    {ProjectID: "q", ClusterID: "c", Digest: k.Digest, DiffID: k.DiffID, Extractors: "set-1"},
			"cluster":    {ProjectID: "p", ClusterID: "d", Digest: k.Digest, DiffID: k.DiffID, Extractors: "set-1"},
			"digest":     {ProjectID: "p", ClusterID: "c", Digest: k.DiffID, DiffID: k.DiffID, Extractors: "set-1"},
			"diff ID":    {ProjectID: "p", ClusterID: "c", Digest: k.Digest, DiffID: k.Digest, Extractors: "set-1"},
			"extractors": {ProjectID: "p", ClusterID: "c", Digest: k.Digest, DiffID: k.DiffID, Extractors: "set-2"},
		} {
			t.Log("another ", what)
			wantClaim(t, db, other, "usual", two, now, store.LayerClaimed)
		}

		// The lease runs out, and nobody has taken the work over yet.
		later := now.Add(time.Minute + time.Microsecond)
		_, err := db.HeartbeatWork(ctx, two, later.Add(time.Minute), tidewaiter.WorkProgress{})
		must(t, err)
		wantClaim(t, db, k, "usual", two, later, store.LayerClaimed)

		// Somebody takes it over, so that the attempt of the claim has passed.
		wantClaim(t, db, layerKey(3), "usual", one, later, store.LayerClaimed)
		w, err := db.LeaseWork(ctx, "c", []tidewaiter.WorkKind{tidewaiter.ScanWork}, "third", later, later.Add(time.Minute), tidewaiter.MaxAttempts)
		must(t, err)
		wantClaim(t, db, layerKey(3), "usual", two, later, store.LayerClaimed)
		wantClaim(t, db, layerKey(3), "usual", leaseOf(w), later, store.LayerBusy)

		// Work ends, by itself or given back: what it claimed is free.
		for n, end := range []func() error{
			func() error { return db.ReleaseWork(ctx, two, later, false) },
			func() error {
				return db.EndWork(ctx, leaseOf(w), tidewaiter.WorkFailed, "", tidewaiter.WorkProgress{}, later)
			},
		} {
			holder := []tidewaiter.Lease{two, leaseOf(w)}[n]
			wantClaim(t, db, layerKey(4+n), "usual", holder, later, store.LayerClaimed)
			must(t, end())
			wantClaim(t, db, layerKey(4+n), "usual", scanLease(t, db, fmt.Sprint("next ", n), later.Add(-time.Hour)), later.Add(-time.Hour), store.LayerClaimed)
		}

		four := scanLease(t, db, "four", later.Add(-2*time.Hour))
		wantClaim(t, db, layerKey(9), "usual", four, later.Add(-2*time.Hour), store.LayerClaimed)
		must(t, db.DropClaims(ctx, "four"))
		wantClaim(t, db, layerKey(9), "usual", scanLease(t, db, "five", later.Add(-3*time.Hour)), later.Add(-3*time.Hour), store.LayerClaimed)
	})
}

// TestClaimLayerAtOnce has many pieces of work ask for the same layers at once.
func TestPurgeClaims(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, now := context.Background(), epoch()
		newCluster(t, db, "c")
		leased, queued, stopped := scanLease(t, db, "leased", now), scanLease(t, db, "queued", now.Add(-time.Hour)), scanLease(t, db, "stopped", now.Add(-2*time.Hour))
		for n, l := range []tidewaiter.Lease{leased, queued, stopped} {
			wantClaim(t, db, layerKey(n), "usual", l, now.Add(-2*time.Hour), store.LayerClaimed)
			if l != leased {
				must(t, db.ReleaseWork(ctx, l, now, false))
			}
		}
		w, err := db.Work(ctx, "stopped")
		must(t, err)
		must(t, db.StopWork(ctx, w.Subject, now))
		if n, err := db.PurgeClaims(ctx); n != 1 || err != nil {
			t.Errorf("%d claims were removed, %v", n, err)
		}
		wantClaim(t, db, layerKey(0), "usual", tidewaiter.Lease{WorkID: "queued", Owner: "x", Attempt: 9}, now, store.LayerBusy)
	})
}

func TestClaimLayerAtOnce(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, now := context.Background(), epoch()
		newCluster(t, db, "c")
		const works, layers = 8, 5
		var mu sync.Mutex
		claimed := make(map[int]int)
		var wg sync.WaitGroup
		for n := range works {
			l := scanLease(t, db, fmt.Sprint("work ", n), now)
			wg.Go(func() {
				mine := make(map[int]int)
				err := db.Tx(ctx, func(tx *store.DB) error {
					clear(mine)
					for i := range layers {
						state, err := tx.ClaimLayer(ctx, layerKey(i), "usual", l, now)
						if err != nil {
							return err
						}
						if state == store.LayerClaimed {
							mine[i]++
						}
					}
					return nil
				})
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				for i := range mine {
					claimed[i]++
				}
			})
		}
		wg.Wait()
		for i := range layers {
			if claimed[i] != 1 {
				t.Errorf("layer %d was claimed %d times", i, claimed[i])
			}
		}
	})
}

// TestLayerLimits wants facts that were cut short to be there only for who has
// the same limits.
func TestLayerLimits(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, now := context.Background(), epoch()
		newCluster(t, db, "c")
		one, two := scanLease(t, db, "one", now), scanLease(t, db, "two", now)
		k := layerKey(1)
		put := func(limits, facts string, files ...string) {
			t.Helper()
			n := store.NewLayer{LayerKey: k, Limits: limits, Size: 7, Facts: []byte(facts)}
			for i, f := range files {
				n.Loose = append(n.Loose, store.LooseFile{Entry: i, Name: f, Path: "x/" + f, Size: 1})
			}
			must(t, db.PutLayer(ctx, n, now))
		}
		want := func(limits, facts string) {
			t.Helper()
			number, err := db.LayerNumber(ctx, k, limits)
			must(t, err)
			got, err := db.Facts(ctx, number)
			must(t, err)
			if string(got) != facts {
				t.Errorf("the facts are %q, want %q", got, facts)
			}
		}
		wantClaim(t, db, k, "narrow", one, now, store.LayerClaimed)
		put("narrow", "cut short", "a")
		if rows, err := db.Rows(ctx, "layer_claims"); err != nil || rows != 0 {
			t.Errorf("%d claims are left of a layer that is there (%v)", rows, err)
		}
		wantClaim(t, db, k, "narrow", two, now, store.LayerKnown)
		want("narrow", "cut short")
		_, err := db.LayerNumber(ctx, k, "usual")
		wantKind(t, err, tidewaiter.NotFound)
		wantClaim(t, db, k, "usual", two, now, store.LayerClaimed)
		wantClaim(t, db, k, "wide", one, now, store.LayerBusy)
		put("usual", "cut later", "a", "b")
		want("usual", "cut later")
		wantClaim(t, db, k, "narrow", one, now, store.LayerClaimed) // those with narrow limits were replaced

		put("", "whole", "a", "b", "c")
		for _, limits := range []string{"narrow", "usual", "whatever"} {
			want(limits, "whole")
			wantClaim(t, db, k, limits, one, now, store.LayerKnown)
		}
		put("narrow", "cut short") // who was slower does not take anything away
		want("narrow", "whole")
		if rows, err := db.Rows(ctx, "layer_files"); err != nil || rows != 3 {
			t.Errorf("%d files, want 3 (%v)", rows, err)
		}

		// A layer that no image has is removed after a while.
		for _, step := range []struct {
			before time.Time
			want   int64
		}{{now, 0}, {now.Add(time.Second), 1}, {now.Add(time.Second), 0}} {
			n, err := db.PurgeLayers(ctx, step.before, 10)
			if must(t, err); n != step.want {
				t.Errorf("%d layers were removed, want %d", n, step.want)
			}
		}
		for _, table := range []string{"layers", "layer_facts", "layer_files"} {
			if rows, err := db.Rows(ctx, table); err != nil || rows != 0 {
				t.Errorf("%s has %d rows (%v)", table, rows, err)
			}
		}
	})
}

// TestPutLayerAtOnce has several who looked into the same layer report it.
func TestPutLayerAtOnce(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, now := context.Background(), epoch()
		n := store.NewLayer{LayerKey: layerKey(1), Size: 7, Facts: []byte("facts")}
		for i := range 1200 {
			n.Loose = append(n.Loose, store.LooseFile{Entry: i, Name: fmt.Sprint("f", i%700), Path: fmt.Sprint("x/f", i), Size: 1})
		}
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				if err := db.PutLayer(ctx, n, now); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if _, err := db.LayerNumber(ctx, n.LayerKey, "usual"); err != nil {
			t.Error(err)
		}
		for table, want := range map[string]int{"layers": 1, "layer_files": 1200, "file_names": 700} {
			if rows, err := db.Rows(ctx, table); err != nil || rows != want {
				t.Errorf("%s has %d rows, want %d (%v)", table, rows, want, err)
			}
		}
	})
}

// TestLookUpImages finds images by what is given of them.
func TestLookUpImages(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := context.Background()
		newCluster(t, db, "c")
		ids := make(map[string]int64)
		for _, name := range []string{"r1", "r2"} {
			r := newRegistry(t, db, name)
			m := tidewaiter.Manifest{Digest: tidewaiter.DigestOf([]byte("m")), MediaType: "m", Kind: "image", ImageID: "abc", Size: 1}
			must(t, db.PutManifests(ctx, r.ID, []tidewaiter.Manifest{m}))
			known, err := db.ManifestsByDigest(ctx, r.ID, []tidewaiter.Digest{m.Digest})
			must(t, err)
			for _, repository := range []string{"app", "team/app"} {
				id, err := db.PutRepository(ctx, tidewaiter.Repository{RegistryID: r.ID, Name: repository})
				must(t, err)
				must(t, db.PutImages(ctx, id, "s", []store.ImageTag{{Name: "1", ManifestID: known[m.Digest].ID}, {Name: "2", ManifestID: known[m.Digest].ID}}, epoch()))
			}
			list, _, err := db.Images(ctx, tidewaiter.Extent{ProjectID: "p", All: true}, store.ImageFilter{RegistryID: r.ID}, store.Page{Limit: 100})
			must(t, err)
			for _, i := range list {
				ids[fmt.Sprint(name, " ", i.Namespace, "/", i.Name, ":", i.Tag)] = i.ID
			}
		}
		none, team := "", "team"
		refs := []store.ImageRef{
			{ID: ids["r1 /app:1"]},
			{Digest: string(tidewaiter.DigestOf([]byte("m"))), Tag: "2", RegistryName: "r2"},
			{ImageID: "abc", Namespace: &team, RegistryID: "r1"},
			{Name: "app", Tag: "1"},
			{Name: "app", Tag: "1", Namespace: &none},
			{Name: "app", Tag: "3"}, {Name: "1", Tag: "app"}, {ID: 1 << 40}, {ID: ids["r1 /app:1"], Tag: "2"}, {ImageID: "ab"}, {Name: "app", Tag: "1", RegistryType: tidewaiter.RegistrySwrPrivate},
		}
		want := [][]string{
			{"r1 /app:1"}, {"r2 /app:2", "r2 team/app:2"}, {"r1 team/app:1", "r1 team/app:2"},
			{"r1 /app:1", "r1 team/app:1", "r2 /app:1", "r2 team/app:1"}, {"r1 /app:1", "r2 /app:1"}, nil, nil, nil, nil, nil, nil,
		}
		got, err := db.LookUpImages(ctx, tidewaiter.Extent{ProjectID: "p", All: true}, refs, 100)
		must(t, err)
		for i := range refs {
			var expected []int64
			for _, name := range want[i] {
				expected = append(expected, ids[name])
			}
			slices.Sort(expected)
			if !slices.Equal(got[i], expected) {
				t.Errorf("%d: got %v, want %v (%v)", i, got[i], expected, want[i])
			}
		}
		_, err = db.LookUpImages(ctx, tidewaiter.Extent{ProjectID: "p", All: true}, refs, 10)
		wantKind(t, err, tidewaiter.TooLarge)
		_, err = db.LookUpImages(ctx, tidewaiter.Extent{ProjectID: "p", All: true}, refs[3:4], 3)
		wantKind(t, err, tidewaiter.TooLarge)
		got, err = db.LookUpImages(ctx, tidewaiter.Extent{ProjectID: "another", All: true}, refs[:4], 100)
		must(t, err)
		for i := range got {
			if len(got[i]) > 0 {
				t.Errorf("another project finds %v", got[i])
			}
		}
	})
}
