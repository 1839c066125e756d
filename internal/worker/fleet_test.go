package worker_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/componentapi"
	"github.com/tidewaiter/tidewaiter/internal/fleet"
	"github.com/tidewaiter/tidewaiter/internal/gateway"
	"github.com/tidewaiter/tidewaiter/internal/inventory"
	"github.com/tidewaiter/tidewaiter/internal/registry/all"
	"github.com/tidewaiter/tidewaiter/internal/registry/registrytest"
	"github.com/tidewaiter/tidewaiter/internal/store"
	"github.com/tidewaiter/tidewaiter/internal/store/storetest"
	"github.com/tidewaiter/tidewaiter/internal/worker"
)

// TestWithTheServer has a worker and the true server do all of it, over http
// and a database: two components that come to share a key, an access check, a
// synchronisation, a changed key, a removal.
func TestWithTheServer(t *testing.T) {
	db := storetest.Open(t, storetest.SQLite(t))
	var text logged
	log := slog.New(slog.NewTextHandler(&text, &slog.HandlerOptions{Level: slog.LevelDebug}))
	f := fleet.New(fleet.Options{Store: db, Logger: log})
	defer f.Close()
	inv, err := inventory.New(inventory.Options{Store: db, Wake: f.Wake, Logger: log})
	check(t, err)
	g, err := gateway.New(gateway.Options{Logger: log})
	check(t, err)
	h := httptest.NewServer(g.Wrap(componentapi.New(componentapi.Options{Fleet: f, Inventory: inv})))
	defer h.Close()
	defer f.Close() // ends the long polls, so that h can close

	cluster, err := f.CreateCluster(t.Context(), "project-1", "edge")
	check(t, err)
	component := func() (*worker.Worker, func() error) {
		w := start(t, worker.Options{
			Folder: t.TempDir(), Server: h.URL, Connect: all.New, Logger: log, Name: "test",
			Token: func(ctx context.Context) (string, error) {
				token, err := f.NewToken(ctx, cluster.ID, time.Hour)
				return token.Text, err
			},
		})
		check(t, w.Start(t.Context()))
		return w, run(t, w)
	}
	first, endFirst := component()
	component()
	until(t, "both components have the key", func() bool {
		state, err := f.Cluster(t.Context(), cluster.ID)
		check(t, err)
		return state.Online == 2
	})

	fake := registrytest.NewHarbor(t, map[string][]string{"team/app": {"v1", "v2"}, "team/tool": {"latest"}}, "V2")
	c := fake.Config()
	ca := string(c.CA)
	project := tidewaiter.Extent{ProjectID: "project-1", All: true}
	r, err := inv.AddRegistry(t.Context(), inventory.NewRegistry{
		ProjectID: "project-1", EnterpriseProjectID: "0", Name: "harbor", Type: c.Type, APIVersion: c.APIVersion, Protocol: c.Protocol,
		Address: c.Address.String(), Username: c.Username, Password: c.Password, ClusterID: cluster.ID, Channel: "Swr",
		Settings: inventory.SettingsChange{CA: &ca},
	})
	check(t, err)
	until(t, "the access check is done", func() bool {
		r, err = inv.Registry(t.Context(), project, r.ID)
		check(t, err)
		return r.Status != tidewaiter.RegistryAccessing
	})
	if r.Status != tidewaiter.RegistrySuccess {
		t.Fatalf("status %s: %s", r.Status, r.FailDetail)
	}
	images := func(want ...string) {
		t.Helper()
		task, err := inv.Synchronize(t.Context(), project, inventory.Wish{EnterpriseProjectID: "0", Kind: tidewaiter.ManualSync})
		check(t, err)
		until(t, "the synchronisation has ended", func() bool {
			task, err = inv.SyncTask(t.Context(), project, task.ID)
			check(t, err)
			return !task.Ended.IsZero()
		})
		list, _, err := inv.Images(t.Context(), project, store.ImageFilter{}, store.Page{Limit: 100})
		check(t, err)
		var got []string
		for _, i := range list {
			got = append(got, fmt.Sprintf("%s/%s:%s", i.Namespace, i.Name, i.Tag))
			if i.Digest != fake.Digest || !i.Scannable {
				t.Errorf("image %+v", i)
			}
		}
		slices.Sort(got)
		if strings.Join(got, " ") != strings.Join(want, " ") || task.Finished != 1 {
			t.Errorf("images %q, want %q; task %+v", got, want, task)
		}
	}
	images("team/app:v1", "team/app:v2", "team/tool:latest")

	// The other component can do the same; what has vanished is gone.
	check(t, endFirst())
	check(t, first.Close())
	delete(fake.Content, "team/tool")
	fake.Content["team/app"] = []string{"v2"}
	images("team/app:v2")

	check(t, f.RotateKey(t.Context(), cluster.ID))
	until(t, "the component has made another key", func() bool {
		state, err := f.Cluster(t.Context(), cluster.ID)
		check(t, err)
		return state.Online == 1
	})
	if r, err = inv.Registry(t.Context(), project, r.ID); err != nil || r.Status != tidewaiter.RegistryFail || !strings.Contains(r.FailDetail, "password") {
		t.Errorf("after the change of the key: %+v, %v", r, err)
	}

	done := make(chan error, 1)
	third := start(t, worker.Options{Folder: t.TempDir(), Server: h.URL, Connect: all.New, Token: func(ctx context.Context) (string, error) {
		token, err := f.NewToken(ctx, cluster.ID, time.Hour)
		return token.Text, err
	}})
	check(t, third.Start(t.Context()))
	go func() { done <- third.Run(t.Context()) }()
	check(t, f.RemoveComponent(t.Context(), cluster.ID, third.ComponentID()))
	f.Wake(cluster.ID)
	select {
	case err := <-done:
		if err == nil || !strings.Contains(err.Error(), worker.ErrRemoved.Error()) {
			t.Errorf("the removed component ends with %v", err)
		}
	case <-time.After(time.Minute):
		t.Error("the removed component goes on")
	}
	if strings.Contains(text.String(), registrytest.Password) || strings.Contains(text.String(), "twe_") || strings.Contains(text.String(), "AGE-SECRET") {
		t.Error("a secret is in the log")
	}
}

// until waits for something that the server's database will say.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(3 * time.Minute); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not after three minutes", what)
		}
	}
}
