package jobs

import (
	"context"
	"encoding/json"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/store"
	"github.com/tidewaiter/tidewaiter/internal/store/storetest"
)

// BenchmarkWrites times what a request waits for that writes one row, 200 times
// a second: with nothing beside it for ten seconds, and while 1,000 jobs run that
// write a row each.
func BenchmarkWrites(b *testing.B) {
	for _, url := range []string{"sqlite", "postgres"} {
		b.Run(url, func(b *testing.B) {
			if url == "postgres" && os.Getenv(storetest.PostgresVariable) == "" {
				b.Skip("no PostgreSQL")
			}
			b.Run("alone", func(b *testing.B) { benchWrites(b, url, 0) })
			b.Run("jobs", func(b *testing.B) { benchWrites(b, url, 1000) })
		})
	}
}

func benchWrites(b *testing.B, database string, jobs int) {
	url := storetest.SQLite(b)
	if database == "postgres" {
		url = storetest.Postgres(b)
	}
	db := storetest.Open(b, url)
	r, err := New(b.Context(), Options{Store: db})
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	var ran atomic.Int64
	if err := r.Register(Kind{Name: "k", Run: func(ctx context.Context, args json.RawMessage) error {
		defer ran.Add(1)
		return db.PutSetting(ctx, "job", string(args))
	}}); err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := r.Run(ctx); err != nil {
			b.Error(err)
		}
	})
	time.Sleep(2 * time.Second) // until River leads
	for b.Loop() {
		begun := time.Now()
		ran.Store(0)
		err := db.Tx(ctx, func(tx *store.DB) error {
			for i := range jobs {
				if err := r.Enqueue(ctx, tx, "k", strconv.Itoa(i), i); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(time.Since(begun).Seconds()*1000, "enqueue-ms")
		var took []time.Duration
		tick := time.NewTicker(5 * time.Millisecond)
		for i := 0; jobs > 0 && ran.Load() < int64(jobs) || jobs == 0 && i < 2000; i++ {
			<-tick.C
			one := time.Now()
			if err := db.PutSetting(ctx, "request", strconv.Itoa(i)); err != nil {
				b.Fatal(err)
			}
			took = append(took, time.Since(one))
		}
		tick.Stop()
		if jobs > 0 {
			b.ReportMetric(float64(jobs)/time.Since(begun).Seconds(), "jobs/s")
		}
		slices.Sort(took)
		ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
		b.ReportMetric(ms(took[len(took)/2]), "p50-ms")
		b.ReportMetric(ms(took[len(took)*99/100]), "p99-ms")
		b.ReportMetric(ms(took[len(took)-1]), "max-ms")
	}
	cancel()
	wg.Wait()
}
