package inventory

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/protocol"
	"github.com/tidewaiter/tidewaiter/internal/seal"
	"github.com/tidewaiter/tidewaiter/internal/store"
)

// TestLife goes through the whole life of a registry.
func TestLife(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		r := w.add(w.new("harbor"))
		if r.Status != tidewaiter.RegistryAccessing || r.NextSync != time.Date(2026, 3, 4, 1, 0, 0, 0, time.UTC) {
			t.Errorf("added: %+v", r)
		}
		if diff := cmp.Diff(r, w.registry(r.ID)); diff != "" {
			t.Errorf("what AddRegistry returns is not what is stored:\n%s", diff)
		}
		if w.woken[w.cluster.ID] != 1 {
			t.Errorf("nobody was woken for the check: %v", w.woken)
		}

		work, l := w.lease("component-1")
		if work.Kind != tidewaiter.AccessCheckWork || work.Subject != r.ID {
			t.Fatalf("leased %+v", work)
		}
		p, err := w.Describe(ctx, work)
		w.ok(err)
		opened, err := w.key.Open(p.Secrets[tidewaiter.SecretPassword], seal.Binding{
			RegistryID: r.ID, Name: tidewaiter.SecretPassword, Origin: "https://harbor.example.com:443", Username: "robot"})
		if err != nil || opened != password {
			t.Errorf("the component opens the password: %v", err)
		}
		w.pass(time.Second)
		w.ok(w.finish(work, l, protocol.FinishRequest{Outcome: protocol.OutcomeDone, AccessCheck: goodReport()}))
		if r = w.registry(r.ID); r.Status != tidewaiter.RegistrySuccess || r.FailReason != "" || !r.Checked.Equal(w.at()) {
			t.Errorf("checked: %+v", r)
		}

		tasks := w.tasks()
		if len(tasks) != 1 || tasks[0].Kind != tidewaiter.AutoSync || tasks[0].Total != 1 || !tasks[0].Ended.IsZero() {
			t.Fatalf("after the first check: tasks %+v", tasks)
		}
		if w.woken[w.cluster.ID] != 2 {
			t.Errorf("nobody was woken for the synchronisation: %v", w.woken)
		}
		amd, arm := imageOf("app for amd64"), imageOf("app for arm64")
		arm.Architecture = "arm64"
		both := indexOf(amd, arm)
		report := protocol.RepositoryReport{Name: "team/app", Manifests: []protocol.Manifest{amd, arm, both, chartOf("1")}, Complete: true,
			Tags: []protocol.Tag{{Name: "v1", Digest: both.Digest}, {Name: "chart", Digest: chartOf("1").Digest}}}
		w.sync(report, tagged("base", true, "3.20", imageOf("base")))

		if got, want := w.images(), (map[string]tidewaiter.Digest{"team/app:v1": both.Digest, "base:3.20": imageOf("base").Digest}); !cmp.Equal(got, want) {
			t.Errorf("images: %s", cmp.Diff(want, got))
		}
		list, _, err := w.Images(ctx, w.everything(), store.ImageFilter{Name: "app"}, store.Page{Limit: 10})
		w.ok(err)
		if len(list) != 1 || !list[0].MultiArch || len(list[0].Platforms) != 2 || list[0].Size != amd.Size+arm.Size {
			t.Errorf("the index: %+v", list)
		}
		r = w.registry(r.ID)
		if r.Images != 2 || !r.Synced.Equal(w.at()) || r.Status != tidewaiter.RegistrySuccess {
			t.Errorf("synchronised: %+v", r)
		}
		if task := w.tasks()[0]; task.Finished != 1 || task.Failed != 0 || !task.Ended.Equal(w.at()) {
			t.Errorf("task %+v", task)
		}
		d, err := w.Details(ctx, w.everything(), r.ID)
		w.ok(err)
		if want := []tidewaiter.Skipped{{Kind: "helm chart", Reason: "it is a Helm chart", Count: 1, Example: "chart"}}; !cmp.Equal(d.Skipped, want) {
			t.Errorf("skipped: %s", cmp.Diff(want, d.Skipped))
		}
		if d.Check == nil || len(d.Check.Report.Steps) != 6 || d.Sync != nil || len(d.Warnings) != 0 ||
			!cmp.Equal(d.Secrets, []SecretState{{Name: tidewaiter.SecretPassword, Current: true}}) {
			t.Errorf("details: %+v", d)
		}

		counts, err := w.RegistryCounts(ctx, w.everything(), nil)
		w.ok(err)
		if counts[tidewaiter.RegistrySuccess] != 1 {
			t.Errorf("counts %v", counts)
		}
		w.ok(w.DeleteRegistries(ctx, w.everything(), []string{r.ID}))
		if got := w.images(); len(got) != 0 {
			t.Errorf("images of a deleted registry: %v", got)
		}
		_, err = w.Registry(ctx, w.everything(), r.ID)
		w.wants(tidewaiter.NotFound, err)
		_, err = w.Details(ctx, w.everything(), r.ID)
		w.wants(tidewaiter.NotFound, err)
		if rows := w.rows(tasks[0].ID); len(rows) != 1 || rows[0].RegistryName != "harbor" {
			t.Errorf("what the task did is forgotten: %+v", rows)
		}
	})
}

// TestRefusals: each field that is wrong is named, and no error repeats a value.
func TestRefusals(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		const bad = "Bad\x1bValue"
		keyless := w.newCluster("keyless", w.project, "")
		foreign := w.newCluster("foreign", w.project+"-2", w.key.Recipient())
		ptr := func(s string) *string { return &s }
		list := func(s ...string) *[]string { return &s }
		n := func(i int) *int { return &i }
		for _, c := range []struct {
			field  string
			change func(n *NewRegistry)
		}{
			{"registry_name", func(n *NewRegistry) { n.Name = "" }},
			{"registry_name", func(n *NewRegistry) { n.Name = bad }},
			{"registry_name", func(n *NewRegistry) { n.Name = strings.Repeat("é", 129) }},
			{"registry_name", func(n *NewRegistry) { n.Name = " blank" }},
			{"registry_type", func(n *NewRegistry) { n.Type = bad }},
			{"api_version", func(n *NewRegistry) { n.APIVersion = bad }},
			{"protocol", func(n *NewRegistry) { n.Protocol = bad }},
			{"registry_addr", func(n *NewRegistry) { n.Address = bad }},
			{"registry_addr", func(n *NewRegistry) { n.Address = "http://harbor.example.com" }},
			{"registry_username", func(n *NewRegistry) { n.Username = "" }},
			{"registry_username", func(n *NewRegistry) { n.Username = "a:b" }},
			{"registry_username", func(n *NewRegistry) { n.Username = bad }},
			{"registry_password", func(n *NewRegistry) { n.Password = "" }},
			{"registry_password", func(n *NewRegistry) { n.Password = bad }},
			{"registry_password", func(n *NewRegistry) { n.Password = strings.Repeat("x", 129) }},
			{"namespace", func(n *NewRegistry) { n.Channel = "Other" }},
			{"namespace", func(n *NewRegistry) { n.Namespace = "../" + bad }},
			{"get_scan_image_channel", func(n *NewRegistry) { n.Channel = bad }},
			{"connect_cluster_id", func(n *NewRegistry) { n.ClusterID = "" }},
			{"connect_cluster_id", func(n *NewRegistry) { n.ClusterID = "no-such" }},
			{"connect_cluster_id", func(n *NewRegistry) { n.ClusterID = foreign.ID }},
			{"ca", func(n *NewRegistry) { n.Settings.CA = ptr(bad) }},
			{"ca", func(n *NewRegistry) {
				n.Settings.CA = ptr("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
			}},
			{"ca", func(n *NewRegistry) {
				n.Settings.CA = ptr("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
			}},
			{"token_hosts", func(n *NewRegistry) { n.Settings.TokenHosts = list("auth.example.com", "http://"+bad) }},
			{"token_hosts", func(n *NewRegistry) { n.Settings.TokenHosts = list(make([]string, 21)...) }},
			{"include", func(n *NewRegistry) { n.Settings.Include = list("team/**", "[") }},
			{"exclude", func(n *NewRegistry) { n.Settings.Exclude = list(bad) }},
			{"include_tags", func(n *NewRegistry) { n.Settings.IncludeTags = list("") }},
			{"exclude_tags", func(n *NewRegistry) { n.Settings.ExcludeTags = list("[a") }},
			{"repositories", func(n *NewRegistry) { n.Settings.Repositories = list("ok", "NOT/ok") }},
			{"repositories", func(n *NewRegistry) { n.Settings.Repositories = list("ok", "../etc") }},
			{"request_budget", func(r *NewRegistry) { r.Settings.RequestBudget = n(-1) }},
			{"sync_at", func(n *NewRegistry) { n.Settings.SyncAt = ptr("25:00") }},
			{"swr_api", func(n *NewRegistry) { n.Settings.SWRAPI = ptr("https://api") }},
			{"swr_project_id", func(n *NewRegistry) { n.Settings.SWRProjectID = ptr("../" + bad) }},
			{"swr_instance_id", func(n *NewRegistry) { n.Settings.SWRInstanceID = ptr("a/b") }},
			{"swr_instance_name", func(n *NewRegistry) { n.Settings.SWRInstanceName = ptr(bad) }},
			{"swr_access_key", func(n *NewRegistry) { n.Settings.SWRAccessKey = ptr("a b") }},
			{"artifactory_way", func(n *NewRegistry) { n.Settings.ArtifactoryWay = ptr(bad) }},
			{"proxy", func(n *NewRegistry) { n.Settings.Proxy = ptr("socks5://user:" + password + "@proxy:1080") }},
			{"proxy", func(n *NewRegistry) { n.Settings.Proxy = ptr("http://user:%zz" + password + "@proxy:1080") }},
			{"proxy", func(n *NewRegistry) { n.Settings.Proxy = ptr("http://user:" + password + "@:99999") }},
			{"proxy", func(n *NewRegistry) { n.Settings.Proxy = ptr("http://proxy:3128/?" + password) }},
			{"swr_secret_key", func(n *NewRegistry) { n.Settings.SWRSecretKey = ptr(bad) }},
		} {
			n := w.new("harbor")
			c.change(&n)
			_, err := w.AddRegistry(t.Context(), n)
			w.wants(tidewaiter.Invalid, err)
			text := err.Error()
			if !strings.HasPrefix(text, c.field+": ") {
				t.Errorf("%q does not name %s", text, c.field)
			}
			if strings.Contains(text, "Value") || strings.Contains(text, password) || strings.ContainsRune(text, 0x1b) {
				t.Errorf("%q repeats a value", text)
			}
		}
		n2 := w.new("harbor")
		n2.ClusterID = keyless.ID
		_, err := w.AddRegistry(t.Context(), n2)
		w.wants(tidewaiter.Conflict, err)
		if !strings.Contains(err.Error(), "tidewaiter cluster token keyless") {
			t.Errorf("%q does not say what to do", err)
		}
		if list, n, err := w.Registries(t.Context(), w.everything(), store.RegistryFilter{}, store.Page{Limit: 10}); err != nil || n != 0 || len(list) != 0 {
			t.Errorf("something was added: %v %v", list, err)
		}
	})
}

func TestNamesAndNumbers(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		for i := range MaxRegistries {
			w.add(w.new(fmt.Sprintf("harbor %d", i)))
		}
		_, err := w.AddRegistry(t.Context(), w.new("one more"))
		w.wants(tidewaiter.Conflict, err)
		list, _, err := w.Registries(t.Context(), w.everything(), store.RegistryFilter{}, store.Page{Limit: 1})
		w.ok(err)
		w.ok(w.DeleteRegistries(t.Context(), w.everything(), []string{list[0].ID}))
		_, err = w.AddRegistry(t.Context(), w.new("harbor 7"))
		w.wants(tidewaiter.Conflict, err)
		if !strings.HasPrefix(err.Error(), "registry_name: ") {
			t.Errorf("%q does not name the field", err)
		}
		n := w.new("harbor 7")
		n.ProjectID = w.project + "-2"
		n.ClusterID = w.newCluster("everywhere", "", w.key.Recipient()).ID
		w.add(n)
	})
}

// TestBound: secrets are bound to where they were given for.
func TestBound(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		ptr := func(s string) *string { return &s }
		n := w.new("harbor")
		n.Settings.Proxy = ptr("http://user:Pr0xy@proxy.example.com:3128")
		r := w.add(n)
		other := w.newCluster("other", w.project, w.key.Recipient())
		for name, c := range map[string]RegistryChange{
			"registry_addr":      {Address: ptr("harbor.example.net")},
			"protocol":           {Protocol: ptr("http")},
			"registry_username":  {Username: ptr("mallory")},
			"connect_cluster_id": {ClusterID: &other.ID},
		} {
			_, err := w.UpdateRegistry(ctx, w.everything(), r.ID, c)
			w.wants(tidewaiter.Invalid, err)
			if !strings.HasPrefix(err.Error(), "registry_password: ") || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "and proxy") {
				t.Errorf("%q does not say what is needed for a change of %s", err, name)
			}
			c.Password = ptr("new " + password)
			_, err = w.UpdateRegistry(ctx, w.everything(), r.ID, c)
			w.wants(tidewaiter.Invalid, err)
			if !strings.HasPrefix(err.Error(), "proxy: ") {
				t.Errorf("%q does not ask for the proxy", err)
			}
		}
		if diff := cmp.Diff(r, w.registry(r.ID)); diff != "" {
			t.Errorf("a refused change changed something:\n%s", diff)
		}
		_, err := w.UpdateRegistry(ctx, w.everything(), r.ID, RegistryChange{Address: ptr("HARBOR.example.com:443")})
		w.ok(err) // the same place in other words
		changed, err := w.UpdateRegistry(ctx, w.everything(), r.ID, RegistryChange{
			Address: ptr("harbor.example.net"), Password: ptr("new " + password), Settings: SettingsChange{Proxy: ptr("")}})
		w.ok(err)
		secrets, err := w.db.Secrets(ctx, r.ID)
		w.ok(err)
		if len(secrets) != 1 || changed.Address != "harbor.example.net" || changed.Revision != 3 {
			t.Errorf("%d secrets, %+v", len(secrets), changed)
		}
		opened, err := w.key.Open(secrets[0].Sealed, seal.Binding{
			RegistryID: r.ID, Name: tidewaiter.SecretPassword, Origin: "https://harbor.example.net:443", Username: "robot"})
		if err != nil || opened != "new "+password {
			t.Errorf("the component opens the new password: %v", err)
		}
	})
}

// TestChangeOfWhatIsListed leaves the status and the work alone.
func TestChangeOfWhatIsListed(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		r := w.ready("harbor")
		_, l := w.lease("component-1", tidewaiter.SyncWork)
		at, budget := "06:00", 500
		changed, err := w.UpdateRegistry(t.Context(), w.everything(), r.ID, RegistryChange{Settings: SettingsChange{
			Include: &[]string{"team/**"}, SyncAt: &at, RequestBudget: &budget}})
		w.ok(err)
		if changed.Status != tidewaiter.RegistrySuccess || changed.Revision != r.Revision || changed.NextSync.Hour() != 6 {
			t.Errorf("changed: %+v", changed)
		}
		w.ok(w.Report(t.Context(), l, tagged("team/app", true, "v1", imageOf("1"))))
	})
}

// TestDeleteAllOrNone names an id that is unknown by its position.
func TestDeleteAllOrNone(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		a, b := w.add(w.new("a")), w.add(w.new("b"))
		n := w.new("c")
		n.EnterpriseProjectID = "eps"
		hidden := w.add(n)
		narrow := tidewaiter.Extent{ProjectID: w.project, EnterpriseProjects: []string{"0"}}
		for _, third := range []string{"no-such", hidden.ID} {
			err := w.DeleteRegistries(ctx, narrow, []string{a.ID, b.ID, third})
			w.wants(tidewaiter.NotFound, err)
			if !strings.Contains(err.Error(), "position 3") || strings.Contains(err.Error(), third) {
				t.Errorf("%q", err)
			}
		}
		w.registry(a.ID)
		w.wants(tidewaiter.Invalid, w.DeleteRegistries(ctx, narrow, nil))
		w.wants(tidewaiter.NotFound, w.DeleteRegistries(ctx, narrow, []string{hidden.ID}))
		w.ok(w.DeleteRegistries(ctx, narrow, []string{a.ID, b.ID, a.ID}))
		if _, n, err := w.Registries(ctx, w.everything(), store.RegistryFilter{}, store.Page{Limit: 10}); err != nil || n != 1 {
			t.Errorf("%d are left, %v", n, err)
		}
	})
}

// TestExtent: what is outside is not there, for any method.
func TestExtent(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		r := w.ready("harbor")
		w.sync(tagged("team/app", true, "v1", imageOf("1")))
		task := w.tasks()[0]
		for _, e := range []tidewaiter.Extent{
			{ProjectID: w.project + "-2", All: true},
			{ProjectID: w.project},
			{ProjectID: w.project, EnterpriseProjects: []string{"eps"}},
			{},
		} {
			_, err := w.Registry(ctx, e, r.ID)
			w.wants(tidewaiter.NotFound, err)
			_, err = w.Details(ctx, e, r.ID)
			w.wants(tidewaiter.NotFound, err)
			_, err = w.Test(ctx, e, r.ID)
			w.wants(tidewaiter.NotFound, err)
			name := "mallory"
			_, err = w.UpdateRegistry(ctx, e, r.ID, RegistryChange{Namespace: &name})
			w.wants(tidewaiter.NotFound, err)
			w.wants(tidewaiter.NotFound, w.DeleteRegistries(ctx, e, []string{r.ID}))
			_, err = w.Synchronize(ctx, e, Wish{Kind: tidewaiter.ManualSync})
			w.wants(tidewaiter.NotFound, err)
			_, err = w.Synchronize(ctx, e, Wish{Kind: tidewaiter.ManualSync, IDs: []string{r.ID}})
			w.wants(tidewaiter.NotFound, err)
			_, err = w.SyncTask(ctx, e, task.ID)
			w.wants(tidewaiter.NotFound, err)
			_, _, err = w.SyncTaskRegistries(ctx, e, task.ID, store.SyncRegistryFilter{}, store.Page{Limit: 10})
			w.wants(tidewaiter.NotFound, err)
			page := store.Page{Limit: 10}
			if list, n, err := w.Registries(ctx, e, store.RegistryFilter{}, page); err != nil || n != 0 || len(list) != 0 {
				t.Errorf("%+v sees registries %v, %v", e, list, err)
			}
			if counts, err := w.RegistryCounts(ctx, e, nil); err != nil || counts[tidewaiter.RegistrySuccess] != 0 {
				t.Errorf("%+v counts %v, %v", e, counts, err)
			}
			if list, n, err := w.SyncTasks(ctx, e, store.SyncTaskFilter{}, page); err != nil || n != 0 || len(list) != 0 {
				t.Errorf("%+v sees tasks %v, %v", e, list, err)
			}
			if list, n, err := w.Images(ctx, e, store.ImageFilter{}, page); err != nil || n != 0 || len(list) != 0 {
				t.Errorf("%+v sees images %v, %v", e, list, err)
			}
			if n, err := w.CountImages(ctx, e); err != nil || n != 0 {
				t.Errorf("%+v counts %d images, %v", e, n, err)
			}
		}
		if n, err := w.CountImages(ctx, w.everything()); err != nil || n != 1 {
			t.Errorf("%d images in all, %v", n, err)
		}
		if got := w.registry(r.ID); got.Namespace != "" {
			t.Errorf("changed from outside: %+v", got)
		}
	})
}
