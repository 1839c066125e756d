package store_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/store"
	"github.com/tidewaiter/tidewaiter/internal/store/storetest"
)

// TestResultsOfWhatIsPurged keeps results of images while they are removed, and
// wants everything counted that is there, and nothing else.
func TestResultsOfWhatIsPurged(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := context.Background()
		newCluster(t, db, "c")
		must(t, db.CreateRegistry(ctx, tidewaiter.Registry{ID: "r", ProjectID: "p", EnterpriseProjectID: "0", Name: "r", ClusterID: "c", Created: epoch(), Updated: epoch()}))
		ids, err := db.PutPackages(ctx, []store.PackageVersion{{Name: "a", Version: "1"}, {Name: "a", Version: "2"}, {Name: "b"}})
		must(t, err)
		var wg sync.WaitGroup
		for round := range 15 {
			var manifests []int64
			for i := range 4 {
				m := tidewaiter.Manifest{Digest: tidewaiter.DigestOf(fmt.Append(nil, round, i)), Kind: "image"}
				must(t, db.PutManifests(ctx, "r", []tidewaiter.Manifest{m}))
				known, err := db.ManifestsByDigest(ctx, "r", []tidewaiter.Digest{m.Digest})
				must(t, err)
				manifests = append(manifests, known[m.Digest].ID)
			}
			for _, m := range manifests {
				wg.Go(func() {
					r := store.NewResult{ImageResult: tidewaiter.ImageResult{ManifestID: m, Scanned: epoch()}}
					for _, id := range ids {
						r.Packages = append(r.Packages, tidewaiter.ImagePackage{ID: id, Package: tidewaiter.Package{Path: "x"}})
					}
					if err := db.PutResult(ctx, r); err != nil && tidewaiter.KindOf(err) != tidewaiter.NotFound {
						t.Error(err)
					}
				})
			}
			wg.Go(func() {
				if _, err := db.PurgeGone(ctx, time.Now().AddDate(1, 0, 0), 10); err != nil {
					t.Error(err)
				}
			})
			wg.Wait()
			must(t, db.CheckSoftwareCounts(ctx))
		}
	})
}
