package store_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/store"
	"github.com/tidewaiter/tidewaiter/internal/store/storetest"
)

// syncOnce takes in reports of so many tags for each repository, as package
// inventory does.
func syncOnce(b *testing.B, db *store.DB, registryID, syncID string, repositories, tags int) {
	b.Helper()
	ctx, now := context.Background(), store.Now()
	for r := range repositories {
		manifests := make([]tidewaiter.Manifest, tags)
		digests := make([]tidewaiter.Digest, tags)
		for i := range tags {
			digests[i] = tidewaiter.DigestOf(fmt.Appendf(nil, "%d/%d", r, i))
			manifests[i] = tidewaiter.Manifest{Digest: digests[i], MediaType: tidewaiter.MediaTypeOCIManifest, Kind: "image", ImageID: string(digests[i][7:]),
				Size: 1_000_000 + int64(i), Platform: tidewaiter.Platform{OS: "linux", Architecture: "amd64"}, Created: now}
		}
		err := db.Tx(ctx, func(tx *store.DB) error {
			unknown, err := tx.UnknownDigests(ctx, registryID, digests)
			if err != nil {
				return err
			}
			id, err := tx.PutRepository(ctx, tidewaiter.Repository{RegistryID: registryID, Name: fmt.Sprintf("team/app-%d", r)})
			if err != nil {
				return err
			}
			if len(unknown) > 0 {
				if err := tx.PutManifests(ctx, registryID, manifests); err != nil {
					return err
				}
			}
			known, err := tx.ManifestsByDigest(ctx, registryID, digests)
			if err != nil {
				return err
			}
			list := make([]store.ImageTag, tags)
			for i, d := range digests {
				list[i] = store.ImageTag{Name: fmt.Sprintf("v1.%d", i), ManifestID: known[d].ID, Updated: now}
			}
			if err := tx.PutImages(ctx, id, syncID, list, now); err != nil {
				return err
			}
			return tx.CompleteRepository(ctx, id, syncID, "", nil, now)
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	if n, err := db.FinishSync(ctx, registryID, syncID, now); err != nil || n != repositories*tags {
		b.Fatal(n, err)
	}
}

// BenchmarkSync writes a registry of 20,000 images, writes it again as it is,
// and deletes it.
func BenchmarkSync(b *testing.B) {
	for _, shape := range []struct{ repositories, tags int }{{1000, 20}, {40, 500}} {
		b.Run(fmt.Sprintf("%dx%d", shape.repositories, shape.tags), func(b *testing.B) {
			db := storetest.Open(b, storetest.SQLite(b))
			ctx := context.Background()
			if err := db.CreateCluster(ctx, tidewaiter.Cluster{ID: "c", Name: "c", Created: store.Now()}); err != nil {
				b.Fatal(err)
			}
			images := float64(shape.repositories * shape.tags)
			n := 0
			create := func() string {
				n++
				id := fmt.Sprint("r", n)
				if err := db.CreateRegistry(ctx, tidewaiter.Registry{ID: id, ProjectID: "p", Name: id, ClusterID: "c", Created: store.Now(), Updated: store.Now()}); err != nil {
					b.Fatal(err)
				}
				return id
			}
			rate := func(b *testing.B) { b.ReportMetric(images*float64(b.N)/b.Elapsed().Seconds(), "images/s") }
			b.Run("first", func(b *testing.B) {
				for b.Loop() {
					syncOnce(b, db, create(), "s", shape.repositories, shape.tags)
				}
				rate(b)
			})
			b.Run("again", func(b *testing.B) {
				id, round := fmt.Sprint("r", n), 0
				for b.Loop() {
					round++
					syncOnce(b, db, id, fmt.Sprint("again ", round), shape.repositories, shape.tags)
				}
				rate(b)
			})
			b.Run("delete", func(b *testing.B) {
				for b.Loop() {
					b.StopTimer()
					id := create()
					syncOnce(b, db, id, "s", shape.repositories, shape.tags)
					b.StartTimer()
					if err := db.DeleteRegistry(ctx, id); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}
