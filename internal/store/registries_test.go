package store_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/store"
	"github.com/tidewaiter/tidewaiter/internal/store/storetest"
)

func fullRegistry(id, name string) tidewaiter.Registry {
	now := epoch()
	return tidewaiter.Registry{
		ID: id, ProjectID: "p", EnterpriseProjectID: "e", Name: name, Type: tidewaiter.RegistryHarbor, APIVersion: "V2",
		Protocol: "https", Address: "harbor.example.com:8443", Username: "robot$x?", Namespace: "ns", ClusterID: "c", Channel: "Swr",
		Settings: tidewaiter.RegistrySettings{
			CA: "-----BEGIN?", SkipTLSVerify: true, TokenHosts: []string{"a", "b"}, Include: []string{"i/*"}, Exclude: []string{"e"},
			IncludeTags: []string{"v*"}, ExcludeTags: []string{"x"}, Repositories: []string{"r/s"}, RequestBudget: 7, SyncAt: "02:30",
			SWRAPI: "api", SWRProjectID: "sp", SWRInstanceID: "si", SWRInstanceName: "sn", SWRAccessKey: "ak", ArtifactoryWay: "port",
		},
		Revision: 3, Status: tidewaiter.RegistryFail, FailReason: tidewaiter.FailServer, FailDetail: "why", Checked: now.Add(time.Second),
		Images: 9, Synced: now.Add(2 * time.Second), NextSync: now.Add(3 * time.Second), Created: now, Updated: now.Add(time.Minute),
	}
}

// newRegistry is a registry of which only that matters.
func newRegistry(t *testing.T, db *store.DB, id string) tidewaiter.Registry {
	t.Helper()
	r := tidewaiter.Registry{ID: id, ProjectID: "p", EnterpriseProjectID: "e", Name: id, ClusterID: "c", Type: tidewaiter.RegistryHarbor,
		Status: tidewaiter.RegistryAccessing, Created: epoch(), Updated: epoch()}
	must(t, db.CreateRegistry(context.Background(), r))
	return r
}

func same(t *testing.T, want, got any) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestClustersAndComponents(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := context.Background()
		c := newCluster(t, db, "c")
		every := tidewaiter.Cluster{ID: tidewaiter.LocalClusterID, Name: "c", Kind: tidewaiter.LocalCluster, Created: epoch().Add(-time.Hour)}
		must(t, db.CreateCluster(ctx, every))
		must(t, db.CreateCluster(ctx, tidewaiter.Cluster{ID: "x", ProjectID: "another", Name: "c", Created: epoch()}))
		wantKind(t, db.CreateCluster(ctx, tidewaiter.Cluster{ID: "y", ProjectID: "p", Name: "c"}), tidewaiter.Conflict)
		list, err := db.Clusters(ctx, "p")
		must(t, err)
		same(t, []tidewaiter.Cluster{every, c}, list)

		must(t, db.SetClusterKey(ctx, "c", "", "age1"))
		wantKind(t, db.SetClusterKey(ctx, "c", "", "age2"), tidewaiter.Conflict)
		wantKind(t, db.SetClusterKey(ctx, "none", "", "age2"), tidewaiter.NotFound)
		must(t, db.SetClusterKey(ctx, "c", "age1", ""))
		must(t, db.SetClusterKey(ctx, "c", "", "age3"))
		c.Recipient, c.KeyEpoch = "age3", 1
		got, err := db.Cluster(ctx, "c")
		must(t, err)
		same(t, c, got)

		part := tidewaiter.Component{ID: "k", ClusterID: "c", Name: "host ?'\\", Version: "v1", Platform: "linux/amd64", Protocol: 1,
			SigningKey: []byte{0, 255}, Recipient: "age1k", ClusterRecipient: "age3", SealedClusterKey: []byte{1, 0}, Enrolled: epoch(), Seen: epoch()}
		must(t, db.CreateComponent(ctx, part))
		wantKind(t, db.CreateComponent(ctx, tidewaiter.Component{ID: "l", ClusterID: "none", SigningKey: []byte{1}}), tidewaiter.NotFound)
		older := tidewaiter.Component{ID: "z", ClusterID: "c", SigningKey: []byte{1}, Enrolled: epoch().Add(-time.Hour), Seen: epoch()}
		must(t, db.CreateComponent(ctx, older))
		components, err := db.Components(ctx, "c")
		must(t, err)
		same(t, []tidewaiter.Component{older, part}, components)

		changed := part
		changed.Name, changed.Version, changed.Platform, changed.Protocol = "n", "v2", "linux/arm64", 2
		changed.ClusterRecipient, changed.SealedClusterKey, changed.Seen = "", nil, epoch().Add(time.Minute)
		update := changed
		update.ClusterID, update.SigningKey, update.Recipient, update.Enrolled = "x", []byte{9}, "r", epoch().Add(time.Hour) // stay
		must(t, db.UpdateComponent(ctx, update))
		must(t, db.TouchComponent(ctx, "k", epoch())) // goes back: nothing
		component, err := db.Component(ctx, "k")
		must(t, err)
		same(t, changed, component)
		must(t, db.TouchComponent(ctx, "k", epoch().Add(time.Hour)))
		wantKind(t, db.TouchComponent(ctx, "none", epoch()), tidewaiter.NotFound)

		newWork(t, db, "w", tidewaiter.SyncWork, epoch())
		w, err := db.LeaseWork(ctx, "c", allKinds, "k", epoch(), epoch().Add(time.Hour), 5)
		must(t, err)
		must(t, db.DeleteComponent(ctx, "k"))
		_, err = db.Holds(ctx, leaseOf(w))
		wantKind(t, err, tidewaiter.Conflict)
		wantKind(t, db.DeleteComponent(ctx, "k"), tidewaiter.NotFound)

		newRegistry(t, db, "r")
		wantKind(t, db.DeleteCluster(ctx, "c"), tidewaiter.Conflict)
		must(t, db.DeleteRegistry(ctx, "r"))
		must(t, db.DeleteCluster(ctx, "c"))
		wantKind(t, db.DeleteCluster(ctx, "c"), tidewaiter.NotFound)
		_, err = db.Component(ctx, "z")
		wantKind(t, err, tidewaiter.NotFound)
		_, err = db.Work(ctx, "w")
		wantKind(t, err, tidewaiter.NotFound)
	})
}

func TestEnrolments(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := context.Background()
		newCluster(t, db, "c")
		e := store.Enrolment{Hash: []byte{1, 0, 255}, ClusterID: "c", Created: epoch(), Expires: epoch().Add(time.Hour)}
		must(t, db.CreateEnrolment(ctx, e))
		wantKind(t, db.CreateEnrolment(ctx, store.Enrolment{Hash: []byte{2}, ClusterID: "none"}), tidewaiter.NotFound)
		got, err := db.Enrolment(ctx, e.Hash)
		must(t, err)
		same(t, e, got)
		_, err = db.Enrolment(ctx, []byte{9})
		wantKind(t, err, tidewaiter.NotFound)
		for _, id := range []string{"k1", "k2"} {
			must(t, db.CreateComponent(ctx, tidewaiter.Component{ID: id, ClusterID: "c", SigningKey: []byte{1}}))
		}
		must(t, db.UseEnrolment(ctx, e.Hash, "k1"))
		wantKind(t, db.UseEnrolment(ctx, e.Hash, "k2"), tidewaiter.Conflict)
		wantKind(t, db.UseEnrolment(ctx, []byte{9}, "k2"), tidewaiter.NotFound)
		if got, err = db.Enrolment(ctx, e.Hash); err != nil || got.ComponentID != "k1" {
			t.Errorf("got %+v, %v", got, err)
		}
		if n, err := db.PurgeEnrolments(ctx, epoch().Add(time.Hour)); err != nil || n != 0 {
			t.Errorf("purged %d, %v", n, err)
		}
		if n, err := db.PurgeEnrolments(ctx, epoch().Add(2*time.Hour)); err != nil || n != 1 {
			t.Errorf("purged %d, %v", n, err)
		}
	})
}

func TestRegistriesAreKept(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := context.Background()
		newCluster(t, db, "c")
		newCluster(t, db, "c2")
		r := fullRegistry("r", "name")
		must(t, db.CreateRegistry(ctx, r))
		get := func() tidewaiter.Registry {
			t.Helper()
			got, err := db.Registry(ctx, "r")
			must(t, err)
			return got
		}
		same(t, r, get())
		wantKind(t, db.CreateRegistry(ctx, fullRegistry("r2", "name")), tidewaiter.Conflict)
		nowhere := fullRegistry("r2", "name2")
		nowhere.ClusterID = "none"
		wantKind(t, db.CreateRegistry(ctx, nowhere), tidewaiter.NotFound)
		must(t, db.CreateRegistry(ctx, fullRegistry("r2", "name2")))
		_, err := db.Registry(ctx, "none")
		wantKind(t, err, tidewaiter.NotFound)

		u := fullRegistry("r", "renamed")
		u.Type, u.APIVersion, u.Protocol, u.Address, u.Username, u.Namespace = tidewaiter.RegistryOther, "V1", "http", "a", "u", ""
		u.ClusterID, u.Channel, u.Settings, u.Revision = "c2", "Other", tidewaiter.RegistrySettings{}, 4
		u.Status, u.FailReason, u.FailDetail, u.NextSync, u.Updated = tidewaiter.RegistryAccessing, "", "", time.Time{}, epoch().Add(time.Hour)
		update := u
		update.ProjectID, update.Images, update.Synced, update.Checked, update.Created = "q", 0, time.Time{}, time.Time{}, epoch().Add(time.Hour) // stay
		wantKind(t, db.UpdateRegistry(ctx, update, 2), tidewaiter.Conflict)
		same(t, r, get())
		must(t, db.UpdateRegistry(ctx, update, 3))
		same(t, u, get())
		u.Name = "name2"
		wantKind(t, db.UpdateRegistry(ctx, u, 4), tidewaiter.Conflict)
		u.ID = "none"
		wantKind(t, db.UpdateRegistry(ctx, u, 4), tidewaiter.NotFound)
		u.ID, u.Name = "r", "renamed"

		wantKind(t, db.SetRegistryStatus(ctx, "r", 3, tidewaiter.RegistrySuccess, "", "", epoch()), tidewaiter.NotFound)
		same(t, u, get())
		must(t, db.SetRegistryStatus(ctx, "r", 4, tidewaiter.RegistryFail, "X", "d", epoch()))
		must(t, db.SetRegistrySynced(ctx, "r", 77, epoch().Add(time.Minute)))
		wantKind(t, db.SetNextSync(ctx, "r", epoch(), epoch()), tidewaiter.Conflict)
		wantKind(t, db.SetNextSync(ctx, "none", epoch(), epoch()), tidewaiter.NotFound)
		must(t, db.SetNextSync(ctx, "r", time.Time{}, epoch()))
		u.Status, u.FailReason, u.FailDetail, u.Checked = tidewaiter.RegistryFail, "X", "d", epoch()
		u.Images, u.Synced, u.NextSync = 77, epoch().Add(time.Minute), epoch()
		same(t, u, get())
		locked, err := db.LockRegistry(ctx, "r")
		must(t, err)
		same(t, u, locked)

		due, err := db.DueRegistries(ctx, epoch().Add(-1*time.Microsecond), 10)
		if must(t, err); len(due) != 0 {
			t.Errorf("got %+v", due)
		}
		due, err = db.DueRegistries(ctx, epoch(), 10)
		must(t, err)
		same(t, []tidewaiter.Registry{u}, due)
		of, err := db.RegistriesOfCluster(ctx, "c2")
		must(t, err)
		same(t, []tidewaiter.Registry{u}, of)
		after, err := db.RegistriesAfter(ctx, "", 1)
		must(t, err)
		same(t, []tidewaiter.Registry{u}, after)
		after, err = db.RegistriesAfter(ctx, "r", 10)
		if must(t, err); len(after) != 1 || after[0].ID != "r2" {
			t.Errorf("got %+v", after)
		}
		if n, err := db.CountRegistries(ctx, "p"); err != nil || n != 2 {
			t.Errorf("got %d, %v", n, err)
		}
	})
}

func TestSecretsAndChecks(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := context.Background()
		newCluster(t, db, "c")
		newRegistry(t, db, "r")
		s := tidewaiter.SealedSecret{RegistryID: "r", Name: "password", Recipient: "k", Sealed: []byte{1, 0, 2}}
		must(t, db.PutSecret(ctx, tidewaiter.SealedSecret{RegistryID: "r", Name: "password", Recipient: "old", Sealed: []byte{9}}))
		must(t, db.PutSecret(ctx, s))
		other := tidewaiter.SealedSecret{RegistryID: "r", Name: "Proxy", Recipient: "k", Sealed: []byte{3}}
		must(t, db.PutSecret(ctx, other))
		wantKind(t, db.PutSecret(ctx, tidewaiter.SealedSecret{RegistryID: "none", Name: "x", Sealed: []byte{1}}), tidewaiter.NotFound)
		list, err := db.Secrets(ctx, "r")
		must(t, err)
		same(t, []tidewaiter.SealedSecret{other, s}, list)
		for recipient, want := range map[string]int{"k": 2, "old": 0} {
			if n, err := db.CountSealedTo(ctx, recipient); err != nil || n != want {
				t.Errorf("%s: %d, %v", recipient, n, err)
			}
		}
		must(t, db.DeleteSecret(ctx, "r", "Proxy"))
		wantKind(t, db.DeleteSecret(ctx, "r", "Proxy"), tidewaiter.NotFound)

		_, err = db.RegistryCheck(ctx, "r")
		wantKind(t, err, tidewaiter.NotFound)
		must(t, db.PutRegistryCheck(ctx, store.RegistryCheck{RegistryID: "r", WorkID: "w1", Report: []byte("{}"), Ended: epoch()}))
		check := store.RegistryCheck{RegistryID: "r", WorkID: "w2", Report: []byte(`{"a":"?'"}`), Ended: epoch().Add(time.Hour)}
		must(t, db.PutRegistryCheck(ctx, check))
		got, err := db.RegistryCheck(ctx, "r")
		must(t, err)
		same(t, check, got)

		must(t, db.DeleteRegistry(ctx, "r"))
		wantKind(t, db.DeleteRegistry(ctx, "r"), tidewaiter.NotFound)
		if list, err := db.Secrets(ctx, "r"); err != nil || len(list) != 0 {
			t.Errorf("got %v, %v", list, err)
		}
	})
}

func TestRegistryFilter(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := context.Background()
		newCluster(t, db, "c")
		for i, name := range []string{"app", "App", "app-2", "a?p", "a[p]", "a%p", `a\p`, "a_p", "*"} {
			r := newRegistry(t, db, fmt.Sprintf("r%d", i))
			r.Name, r.Address, r.Revision = name, name+".example.com", 1
			r.Type, r.Status, r.Updated = tidewaiter.RegistryTypes()[i%6], []tidewaiter.RegistryStatus{"accessing", "success", "fail"}[i%3], epoch()
			must(t, db.UpdateRegistry(ctx, r, 0))
		}
		e := tidewaiter.Extent{ProjectID: "p", EnterpriseProjects: []string{"e"}}
		for _, c := range []struct {
			filter store.RegistryFilter
			want   []string // newest first
		}{
			{store.RegistryFilter{}, []string{"*", "a_p", `a\p`, "a%p", "a[p]", "a?p", "app-2", "App", "app"}},
			{store.RegistryFilter{Name: "app"}, []string{"app"}},
			{store.RegistryFilter{Name: "app*"}, []string{"app-2", "app"}},
			{store.RegistryFilter{Name: "*p"}, []string{"a_p", `a\p`, "a%p", "a?p", "App", "app"}},
			{store.RegistryFilter{Name: "a?*"}, []string{"a?p"}},
			{store.RegistryFilter{Name: "a[*"}, []string{"a[p]"}},
			{store.RegistryFilter{Name: "a%*"}, []string{"a%p"}},
			{store.RegistryFilter{Name: "a_*"}, []string{"a_p"}},
			{store.RegistryFilter{Name: `a\*`}, []string{`a\p`}},
			{store.RegistryFilter{Name: "a_p"}, []string{"a_p"}},
			{store.RegistryFilter{Name: "none"}, nil},
			{store.RegistryFilter{Address: "App.*.com"}, []string{"App"}},
			{store.RegistryFilter{ID: "r3"}, []string{"a?p"}},
			{store.RegistryFilter{Types: []tidewaiter.RegistryType{tidewaiter.RegistryHarbor, tidewaiter.RegistryJfrog}}, []string{"a_p", `a\p`, "App", "app"}},
			{store.RegistryFilter{Status: "fail"}, []string{"*", "a%p", "app-2"}},
		} {
			list, total, err := db.Registries(ctx, e, c.filter, store.Page{Limit: 100})
			must(t, err)
			var got []string
			for _, r := range list {
				got = append(got, r.Name)
			}
			if d := cmp.Diff(c.want, got); d != "" || total != len(c.want) {
				t.Errorf("%+v: %d in all, (-want +got):\n%s", c.filter, total, d)
			}
		}
		list, total, err := db.Registries(ctx, e, store.RegistryFilter{Status: "fail"}, store.Page{Offset: 1, Limit: 1})
		if must(t, err); total != 3 || len(list) != 1 || list[0].Name != "a%p" {
			t.Errorf("got %d %+v", total, list)
		}
		counts, err := db.RegistryCounts(ctx, e, nil)
		must(t, err)
		same(t, map[tidewaiter.RegistryStatus]int{"accessing": 3, "success": 3, "fail": 3}, counts)
		counts, err = db.RegistryCounts(ctx, e, []tidewaiter.RegistryType{tidewaiter.RegistryHarbor})
		must(t, err)
		same(t, map[tidewaiter.RegistryStatus]int{"accessing": 2}, counts)
	})
}

func TestSyncTasks(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, now := context.Background(), epoch()
		task := func(id string, kind tidewaiter.SyncTaskKind, created time.Time, works ...string) tidewaiter.SyncTask {
			t.Helper()
			s := tidewaiter.SyncTask{ID: id, ProjectID: "p", EnterpriseProjectID: "e", Kind: kind, Created: created}
			var rows []tidewaiter.SyncTaskRegistry
			for i, w := range works {
				rows = append(rows, tidewaiter.SyncTaskRegistry{TaskID: id, RegistryID: fmt.Sprint("r", i), RegistryName: fmt.Sprint("n", i),
					RegistryType: tidewaiter.RegistryTypes()[i], WorkID: w, Status: tidewaiter.SyncRunning})
			}
			must(t, db.CreateSyncTask(ctx, s, rows))
			return s
		}
		task("both", tidewaiter.ManualSync, now, "w0", "w1")
		task("one", tidewaiter.AutoSync, now.Add(time.Second), "w0")
		get := func(id string) tidewaiter.SyncTask {
			t.Helper()
			s, err := db.SyncTask(ctx, id)
			must(t, err)
			return s
		}
		must(t, db.EndSyncOf(ctx, "w0", tidewaiter.SyncFailed, "why", now.Add(time.Minute)))
		must(t, db.EndSyncOf(ctx, "w0", tidewaiter.SyncFinished, "", now.Add(time.Hour))) // too late
		if s := get("both"); s.Total != 2 || s.Failed != 1 || s.Finished != 0 || !s.Ended.IsZero() {
			t.Errorf("got %+v", s)
		}
		if s := get("one"); s.Total != 1 || s.Failed != 1 || !s.Ended.Equal(now.Add(time.Minute)) {
			t.Errorf("got %+v", s)
		}
		n, err := db.MoveSync(ctx, "w1", "w2")
		if must(t, err); n != 1 {
			t.Error(n)
		}
		must(t, db.EndSyncOf(ctx, "w1", tidewaiter.SyncFailed, "", now.Add(time.Hour)))
		rows, total, err := db.SyncTaskRegistries(ctx, "both", store.SyncRegistryFilter{}, store.Page{Limit: 10})
		must(t, err)
		same(t, 2, total)
		same(t, []tidewaiter.SyncTaskRegistry{
			{TaskID: "both", RegistryID: "r0", RegistryName: "n0", RegistryType: "Harbor", WorkID: "w0", Status: "failed", FailedReason: "why", Ended: now.Add(time.Minute)},
			{TaskID: "both", RegistryID: "r1", RegistryName: "n1", RegistryType: "Jfrog", WorkID: "w2", Status: "running"},
		}, rows)
		for _, c := range []struct {
			filter store.SyncRegistryFilter
			want   string
		}{
			{store.SyncRegistryFilter{Name: "n1"}, "r1"}, {store.SyncRegistryFilter{Name: "*0"}, "r0"},
			{store.SyncRegistryFilter{Types: []tidewaiter.RegistryType{"Jfrog"}}, "r1"}, {store.SyncRegistryFilter{Status: "failed"}, "r0"},
		} {
			rows, total, err := db.SyncTaskRegistries(ctx, "both", c.filter, store.Page{Limit: 10})
			if must(t, err); total != 1 || len(rows) != 1 || rows[0].RegistryID != c.want {
				t.Errorf("%+v: got %d %+v", c.filter, total, rows)
			}
		}
		yes, no := true, false
		e := tidewaiter.Extent{ProjectID: "p", All: true}
		for _, c := range []struct {
			filter store.SyncTaskFilter
			want   []string
		}{
			{store.SyncTaskFilter{}, []string{"one", "both"}},
			{store.SyncTaskFilter{ID: "one"}, []string{"one"}},
			{store.SyncTaskFilter{Kind: tidewaiter.ManualSync}, []string{"both"}},
			{store.SyncTaskFilter{Running: &yes}, []string{"both"}},
			{store.SyncTaskFilter{Running: &no}, []string{"one"}},
			{store.SyncTaskFilter{CreatedFrom: now.Add(time.Second)}, []string{"one"}},
			{store.SyncTaskFilter{EndedUntil: now.Add(time.Minute)}, []string{"one"}},
			{store.SyncTaskFilter{EndedUntil: now}, nil},
		} {
			list, total, err := db.SyncTasks(ctx, e, c.filter, store.Page{Limit: 10})
			must(t, err)
			var got []string
			for _, s := range list {
				got = append(got, s.ID)
				same(t, get(s.ID), s)
			}
			same(t, c.want, got)
			same(t, len(c.want), total)
		}
		must(t, db.EndSyncOf(ctx, "w2", tidewaiter.SyncFinished, "", now.Add(time.Hour)))
		if s := get("both"); s.Finished != 1 || !s.Ended.Equal(now.Add(time.Hour)) {
			t.Errorf("got %+v", s)
		}
		if n, err := db.PurgeSyncTasks(ctx, now.Add(time.Hour)); err != nil || n != 1 {
			t.Errorf("purged %d, %v", n, err)
		}
		_, err = db.SyncTask(ctx, "one")
		wantKind(t, err, tidewaiter.NotFound)
	})
}

// TestSyncTaskPercent: what a task says of the work under way is what the
// heartbeat said.
func TestSyncTaskPercent(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, now := context.Background(), epoch()
		must(t, db.CreateCluster(ctx, tidewaiter.Cluster{ID: "c", Name: "c", Kind: tidewaiter.AttachedCluster, Created: now}))
		must(t, db.CreateWork(ctx, tidewaiter.Work{ID: "w", ClusterID: "c", Kind: tidewaiter.SyncWork, Subject: "r", State: tidewaiter.WorkQueued, NotBefore: now, Created: now}))
		must(t, db.CreateSyncTask(ctx, tidewaiter.SyncTask{ID: "t", ProjectID: "p", EnterpriseProjectID: "e", Kind: tidewaiter.ManualSync, Created: now},
			[]tidewaiter.SyncTaskRegistry{{TaskID: "t", RegistryID: "r", RegistryName: "n", RegistryType: "Other", WorkID: "w", Status: tidewaiter.SyncRunning}}))
		percent := func() int {
			t.Helper()
			task, err := db.SyncTask(ctx, "t")
			must(t, err)
			return task.Percent
		}
		same(t, 0, percent())
		w, err := db.LeaseWork(ctx, "c", []tidewaiter.WorkKind{tidewaiter.SyncWork}, "me", now, now.Add(time.Minute), 5)
		must(t, err)
		_, err = db.HeartbeatWork(ctx, tidewaiter.Lease{WorkID: "w", Owner: "me", Attempt: w.Attempt}, now.Add(time.Hour), tidewaiter.WorkProgress{Repositories: 8, RepositoriesDone: 6})
		must(t, err)
		same(t, 75, percent())
		must(t, db.EndSyncOf(ctx, "w", tidewaiter.SyncFinished, "", now))
		same(t, 0, percent())
	})
}
