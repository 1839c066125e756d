package store_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/store"
	"github.com/tidewaiter/tidewaiter/internal/store/storetest"
)

func TestProbe(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, now := context.Background(), store.Now()
		must(t, db.CreateCluster(ctx, tidewaiter.Cluster{ID: "c", Name: "c", Created: now}))
		must(t, db.CreateRegistry(ctx, tidewaiter.Registry{ID: "r", ProjectID: "p", EnterpriseProjectID: "0", Name: "r", ClusterID: "c", Created: now, Updated: now}))
		id, err := db.PutRepository(ctx, tidewaiter.Repository{RegistryID: "r", Name: "lib/app"})
		must(t, err)
		var ms []tidewaiter.Manifest
		for i := range 3 {
			ms = append(ms, tidewaiter.Manifest{Digest: tidewaiter.DigestOf([]byte{byte(i)}), Kind: "image", Size: 5})
		}
		ms = append(ms, tidewaiter.Manifest{Digest: tidewaiter.DigestOf([]byte{9}), Kind: "index", Size: 5, Children: []tidewaiter.Digest{ms[1].Digest, ms[0].Digest}})
		must(t, db.PutManifests(ctx, "r", ms))
		must(t, db.PutManifests(ctx, "r", ms))
		known, err := db.ManifestsByDigest(ctx, "r", []tidewaiter.Digest{ms[0].Digest, ms[3].Digest})
		must(t, err)
		fmt.Println(known)
		must(t, db.PutImages(ctx, id, "s1", []store.ImageTag{{Name: "a", ManifestID: known[ms[0].Digest].ID}, {Name: "b", ManifestID: known[ms[3].Digest].ID, Updated: now.Add(-time.Hour)}}, now))
		must(t, db.PutSkippedTags(ctx, id, "s1", []store.SkippedTag{{Name: "x", ManifestID: known[ms[0].Digest].ID}}))
		must(t, db.CompleteRepository(ctx, id, "s1", "", nil, now))
		n, err := db.FinishSync(ctx, "r", "s1", now)
		must(t, err)
		fmt.Println(n)
		list, total, err := db.Images(ctx, tidewaiter.Extent{ProjectID: "p", All: true}, store.ImageFilter{Name: "ap*"}, store.Page{Limit: 10})
		must(t, err)
		fmt.Printf("%+v %d\n", list, total)
		n, err = db.FinishSync(ctx, "r", "s2", now)
		must(t, err)
		fmt.Println(n)
		for {
			n, err := db.PurgeGone(ctx, now.Add(time.Hour), 10)
			must(t, err)
			fmt.Println("purged", n)
			if n == 0 {
				break
			}
		}
	})
}
