package store_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/store"
	"github.com/tidewaiter/tidewaiter/internal/store/storetest"
)

// TestRiskDays counts images by what lists show of them.
func TestRiskDays(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := context.Background()
		check := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		check(db.CreateCluster(ctx, tidewaiter.Cluster{ID: "c", Name: "c", Created: epoch()}))
		for id, eps := range map[string]string{"r1": "0", "r2": "ep", "r3": "0"} {
			project := "p"
			if id == "r3" {
				project = "another"
			}
			check(db.CreateRegistry(ctx, tidewaiter.Registry{ID: id, ProjectID: project, EnterpriseProjectID: eps, Name: id, Type: tidewaiter.RegistryHarbor, ClusterID: "c", Created: epoch(), Updated: epoch()}))
		}
		for _, c := range []struct {
			registry, status, severity string
			gone                       bool
			images                     int
		}{
			{"r1", "success", "High", false, 1}, {"r1", "success", "Medium", false, 2}, {"r1", "success", "Low", false, 4}, {"r1", "success", "Security", false, 8},
			{"r1", "success", "", false, 16}, {"r1", "unscan", "", false, 32}, {"r1", "failed", "High", false, 64}, {"r1", "success", "High", true, 128},
			{"r2", "success", "High", false, 256}, {"r3", "success", "High", false, 512},
		} {
			check(db.CountFacet(ctx, c.registry, c.status, c.severity, c.gone, c.images))
		}
		now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
		check(db.RecordRisks(ctx, now))
		for _, tt := range []struct {
			of   tidewaiter.Extent
			want tidewaiter.RiskImages
		}{
			{tidewaiter.Extent{ProjectID: "p", EnterpriseProjects: []string{"0"}}, tidewaiter.RiskImages{High: 1, Medium: 2, Low: 4, Secure: 8, Unknown: 16 + 32 + 64}},
			{tidewaiter.Extent{ProjectID: "p", All: true}, tidewaiter.RiskImages{High: 257, Medium: 2, Low: 4, Secure: 8, Unknown: 16 + 32 + 64}},
		} {
			got, err := db.RiskDays(ctx, tt.of, now)
			check(err)
			if diff := cmp.Diff([]tidewaiter.RiskDay{{Day: now.Truncate(24 * time.Hour), Images: tt.want}}, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		}
	})
}
