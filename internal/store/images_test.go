package store_test

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/store"
	"github.com/tidewaiter/tidewaiter/internal/store/storetest"
)

// fleet is registries of several projects and enterprise projects with images
// of all sorts, and where each image stands in the lists of all.
type fleet struct {
	registries []tidewaiter.Registry
	images     []tidewaiter.RegistryImage
}

// newFleet fills a database.
func newFleet(t *testing.T, db *store.DB) fleet {
	t.Helper()
	ctx := context.Background()
	newCluster(t, db, "c")
	var f fleet
	n := 0
	for i := range 8 {
		r := tidewaiter.Registry{
			ID: fmt.Sprintf("r%d", 9-i), ProjectID: fmt.Sprint("p", i%2), EnterpriseProjectID: fmt.Sprint("e", i/2%3), Name: fmt.Sprintf("name-%d", i),
			ClusterID: "c", Type: tidewaiter.RegistryTypes()[i%6], Status: tidewaiter.RegistrySuccess, Address: fmt.Sprint("host-", i),
			Created: epoch(), Updated: epoch(), Settings: tidewaiter.RegistrySettings{SWRInstanceID: fmt.Sprint("id-", i), SWRInstanceName: fmt.Sprint("in-", i)},
		}
		must(t, db.CreateRegistry(ctx, r))
		f.registries = append(f.registries, r)
		for j, name := range []string{"app", "team/app", "team/app/x", "Team/web_1", "team/web11"}[:2+i%4] {
			id, err := db.PutRepository(ctx, tidewaiter.Repository{RegistryID: r.ID, Name: name, Owner: "owner"})
			must(t, err)
			synced := epoch().Add(time.Duration(i+j) * time.Hour)
			for k, tag := range []string{"v1", "v2", "latest", "V1", "v1_0", "v1x0"}[:1+(i+j)%6] {
				n++
				m := tidewaiter.Manifest{Digest: tidewaiter.DigestOf(fmt.Append(nil, r.ID, n)), Kind: "image", Size: int64(n % 7)}
				list := []tidewaiter.Manifest{m}
				if n%4 == 0 {
					list[0].Digest = tidewaiter.DigestOf(fmt.Append(nil, "child", r.ID, n))
					list = append(list, tidewaiter.Manifest{Digest: m.Digest, Kind: "index", Size: m.Size, Children: []tidewaiter.Digest{list[0].Digest}})
				}
				must(t, db.PutManifests(ctx, r.ID, list))
				known, err := db.ManifestsByDigest(ctx, r.ID, []tidewaiter.Digest{m.Digest})
				must(t, err)
				sync := "s"
				if n%9 == 0 {
					sync = "before" // will be gone
				}
				must(t, db.PutImages(ctx, id, sync, []store.ImageTag{{Name: tag, ManifestID: known[m.Digest].ID, Updated: epoch().Add(time.Duration(k*n%5) * time.Hour)}}, epoch()))
			}
			if n%5 != 0 { // else it was not listed to its end yet
				must(t, db.CompleteRepository(ctx, id, "s", "", nil, synced))
			}
		}
		e := tidewaiter.Extent{ProjectID: r.ProjectID, All: true}
		list, _, err := db.Images(ctx, e, store.ImageFilter{RegistryID: r.ID, WithGone: true}, store.Page{Limit: 1000})
		must(t, err)
		for _, image := range list {
			x := int(image.ID) * 7
			s := tidewaiter.ImageScan{Status: []string{"unscan", "waiting_for_scan", "scanning", "success", "failed"}[x%5]}
			if x%3 > 0 {
				s.Scanned, s.Severity = epoch().Add(time.Duration(x%4)*time.Hour), []string{"Security", "Low", "Medium", "High"}[x%4]
				s.Vulnerabilities, s.UnsafeSettings, s.MaliciousFiles, s.FailedCode = x%2, x/2%2*3, x/4%2*9, "code"
			}
			must(t, db.SetScan(ctx, image, s))
		}
		list, _, err = db.Images(ctx, e, store.ImageFilter{RegistryID: r.ID, WithGone: true}, store.Page{Limit: 1000})
		must(t, err)
		f.images = append(f.images, list...)
	}
	must(t, db.CheckCounts(ctx))
	if len(f.images) != n || n < 80 {
		t.Fatalf("%d images of %d", len(f.images), n)
	}
	return f
}

// fits is what * means.
func fits(pattern, text string) bool {
	return pattern == "" || regexp.MustCompile("^"+strings.ReplaceAll(regexp.QuoteMeta(pattern), `\*`, ".*")+"$").MatchString(text)
}

func within(t time.Time, from, to *time.Time) bool {
	return (from == nil || !t.Before(*from)) && (to == nil || !t.After(*to))
}

func is(want *bool, got bool) bool { return want == nil || *want == got }

// lets is what a filter says.
func lets(f store.ImageFilter, i tidewaiter.RegistryImage) bool {
	s := i.Scan
	return (f.ID == 0 || f.ID == i.ID) && fits(f.Namespace, i.Namespace) && fits(f.Name, i.Name) && fits(f.Tag, i.Tag) &&
		fits(f.RegistryName, i.RegistryName) && (f.RegistryID == "" || f.RegistryID == i.RegistryID) &&
		(f.Types == nil || slices.Contains(f.Types, i.RegistryType)) &&
		(f.InstanceID == "" || f.InstanceID == i.InstanceID) && (f.InstanceName == "" || f.InstanceName == i.InstanceName) &&
		(f.WithGone || i.Gone.IsZero()) && (!f.Latest || i.Latest) && is(f.MultiArch, i.MultiArch) && (f.Size == nil || *f.Size == i.Size) &&
		(f.ScanStatuses == nil || slices.Contains(f.ScanStatuses, s.Status)) && (f.Severity == "" || f.Severity == s.Severity) &&
		is(f.HasVulnerability, s.Vulnerabilities > 0) && is(f.HasUnsafeSetting, s.UnsafeSettings > 0) && is(f.HasMaliciousFile, s.MaliciousFiles > 0) &&
		is(f.Risky, s.Vulnerabilities+s.UnsafeSettings+s.MaliciousFiles > 0) &&
		(!f.Judged || s.Status == "success" && s.Severity != "") && within(i.Updated, f.UpdatedFrom, f.UpdatedTo) &&
		(f.ScannedFrom == nil && f.ScannedTo == nil || !s.Scanned.IsZero() && within(s.Scanned, f.ScannedFrom, f.ScannedTo)) &&
		(f.SyncedFrom == nil && f.SyncedTo == nil || !i.Synced.IsZero() && within(i.Synced, f.SyncedFrom, f.SyncedTo))
}

// order is the order of the lists.
func (f fleet) order(filter store.ImageFilter) func(a, b tidewaiter.RegistryImage) int {
	at := make(map[string]int)
	for i, r := range f.registries {
		at[r.ID] = i
	}
	return func(a, b tidewaiter.RegistryImage) int {
		c := cmp.Or(cmp.Compare(at[a.RegistryID], at[b.RegistryID]), cmp.Compare(a.RepositoryID, b.RepositoryID), cmp.Compare(a.ID, b.ID))
		if filter.SortByScanned {
			switch scanned := a.Scan.Scanned.Compare(b.Scan.Scanned); {
			case scanned != 0:
				c = scanned
			case !a.Scan.Scanned.IsZero():
				c = cmp.Or(cmp.Compare(at[a.RegistryID], at[b.RegistryID]), cmp.Compare(a.ID, b.ID))
			}
		}
		if filter.Descending {
			return -c
		}
		return c
	}
}

func (f fleet) want(e tidewaiter.Extent, filter store.ImageFilter) []tidewaiter.RegistryImage {
	var list []tidewaiter.RegistryImage
	for _, i := range f.images {
		if e.Holds(i.ProjectID, i.EnterpriseProjectID) && lets(filter, i) {
			list = append(list, i)
		}
	}
	slices.SortFunc(list, f.order(filter))
	return list
}

func drawExtent(t *rapid.T) tidewaiter.Extent {
	return tidewaiter.Extent{
		ProjectID: rapid.SampledFrom([]string{"p0", "p0", "p1", "p2", ""}).Draw(t, "project"), All: rapid.Bool().Draw(t, "all"),
		EnterpriseProjects: rapid.SliceOfN(rapid.SampledFrom([]string{"e0", "e1", "e2", "0", ""}), 0, 3).Draw(t, "enterprise projects"),
	}
}

// drawFilter returns a filter with a few conditions.
func (f fleet) drawFilter(t *rapid.T) store.ImageFilter {
	var filter store.ImageFilter
	text := func(list ...string) string { return rapid.SampledFrom(list).Draw(t, "text") }
	yes := func() *bool { return new(rapid.Bool().Draw(t, "bool")) }
	hour := func() *time.Time {
		return new(epoch().Add(time.Duration(rapid.IntRange(-1, 9).Draw(t, "hour")) * time.Hour))
	}
	for range rapid.IntRange(0, 3).Draw(t, "conditions") {
		switch rapid.IntRange(0, 24).Draw(t, "condition") {
		case 0:
			filter.ID = rapid.SampledFrom(f.images).Draw(t, "image").ID
		case 1:
			filter.Namespace = text("team", "Team", "t*", "*", "none", "*e?m")
		case 2:
			filter.Name = text("app", "app*", "*x", "app/x", "web_1", "web_*", "*", "*p*", "none")
		case 3:
			filter.Tag = text("v1", "V1", "v*", "*1*", "v1_*", "latest", "none", "*")
		case 4:
			filter.RegistryID = rapid.SampledFrom(f.registries).Draw(t, "registry").ID
		case 5:
			filter.RegistryName = text("name-1", "name-*", "*-2", "none")
		case 6:
			filter.Types = rapid.SliceOfN(rapid.SampledFrom(tidewaiter.RegistryTypes()), 0, 4).Draw(t, "types")
		case 7:
			filter.InstanceID = text("id-4", "id-1", "none")
		case 8:
			filter.InstanceName = text("in-4", "in-1", "none")
		case 9:
			filter.WithGone = true
		case 10:
			filter.Latest = true
		case 11:
			filter.MultiArch = yes()
		case 12:
			filter.Size = new(rapid.Int64Range(0, 8).Draw(t, "size"))
		case 13:
			filter.ScanStatuses = rapid.SliceOfN(rapid.SampledFrom([]string{"unscan", "waiting_for_scan", "scanning", "success", "failed", "none"}), 0, 3).Draw(t, "statuses")
		case 14:
			filter.Severity = text("Security", "Low", "Medium", "High", "none")
		case 15:
			filter.HasVulnerability = yes()
		case 16:
			filter.HasUnsafeSetting = yes()
		case 17:
			filter.HasMaliciousFile = yes()
		case 18:
			filter.Risky = yes()
		case 19:
			filter.UpdatedFrom = hour()
		case 20:
			filter.UpdatedTo = hour()
		case 21:
			filter.ScannedFrom = hour()
		case 22:
			filter.ScannedTo = hour()
		case 23:
			filter.SyncedFrom = hour()
		case 24:
			filter.SyncedTo = hour()
		}
	}
	filter.SortByScanned, filter.Descending = rapid.Bool().Draw(t, "by scanned"), rapid.Bool().Draw(t, "descending")
	return filter
}

// TestImagesAreThoseAskedFor compares pages of lists with what a filter, an
// extent and an order are to mean.
func TestImagesAreThoseAskedFor(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		f := newFleet(t, db)
		rapid.Check(t, func(rt *rapid.T) {
			for range 10 {
				e, filter := drawExtent(rt), f.drawFilter(rt)
				page := store.Page{Offset: rapid.IntRange(0, 40).Draw(rt, "offset"), Limit: rapid.IntRange(0, 60).Draw(rt, "limit")}
				want := f.want(e, filter)
				few, many := rapid.SampledFrom([]int{0, 3, 2000}).Draw(rt, "few"), rapid.SampledFrom([]int{0, 10, 20_000}).Draw(rt, "many")
				got, total, err := db.ListImages(context.Background(), e, filter, page, few, many)
				if err != nil {
					rt.Fatal(err)
				}
				part := want[min(page.Offset, len(want)):min(page.Offset+page.Limit, len(want))]
				if d := gocmp.Diff(slices.Clone(part), slices.Clone(got)); total != len(want) || d != "" && len(part)+len(got) > 0 {
					rt.Fatalf("%d images in all, want %d; (-want +got):\n%s", total, len(want), d)
				}
			}
		})
	})
}

// TestFiltersOfImages has for each condition an image that fits and one that
// does not.
func TestFiltersOfImages(t *testing.T) {
	yes, no, one, hour := true, false, int64(1), epoch().Add(time.Hour)
	filters := map[string]store.ImageFilter{
		"namespace": {Namespace: "team"}, "namespace *": {Namespace: "t*"}, "name": {Name: "app"}, "name *": {Name: "*x"}, "tag": {Tag: "v1"}, "tag *": {Tag: "v*"},
		"registry": {RegistryID: "r9"}, "registry name": {RegistryName: "name-0"}, "registry name *": {RegistryName: "*-0"},
		"type": {Types: []tidewaiter.RegistryType{tidewaiter.RegistryHarbor}}, "instance": {InstanceID: "id-4"}, "instance name": {InstanceName: "in-4"},
		"latest": {Latest: true}, "multi arch": {MultiArch: &yes}, "no multi arch": {MultiArch: &no}, "size": {Size: &one},
		"status": {ScanStatuses: []string{"success", "failed"}}, "severity": {Severity: "High"},
		"vulnerability": {HasVulnerability: &yes}, "no vulnerability": {HasVulnerability: &no}, "unsafe": {HasUnsafeSetting: &yes}, "not unsafe": {HasUnsafeSetting: &no},
		"malicious": {HasMaliciousFile: &yes}, "not malicious": {HasMaliciousFile: &no}, "risky": {Risky: &yes}, "not risky": {Risky: &no}, "judged": {Judged: true},
		"updated from": {UpdatedFrom: &hour}, "updated to": {UpdatedTo: &hour}, "scanned from": {ScannedFrom: &hour}, "scanned to": {ScannedTo: &hour},
		"synced from": {SyncedFrom: &hour}, "synced to": {SyncedTo: &hour}, "gone": {},
	}
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		f := newFleet(t, db)
		e := tidewaiter.Extent{ProjectID: "p0", All: true}
		all := len(f.want(e, store.ImageFilter{WithGone: true}))
		for name, filter := range filters {
			want := len(f.want(e, filter))
			if want == 0 || want == all {
				t.Errorf("%s: fits %d of %d images", name, want, all)
			}
			list, total, err := db.Images(context.Background(), e, filter, store.Page{Limit: 1000})
			if must(t, err); total != want || len(list) != want {
				t.Errorf("%s: listed %d, %d in all, want %d", name, len(list), total, want)
			}
		}
		list, _, err := db.Images(context.Background(), e, store.ImageFilter{InstanceID: "id-4"}, store.Page{Limit: 1})
		if must(t, err); len(list) != 1 || list[0].InstanceName != "in-4" || list[0].InstanceURL != "host-4" {
			t.Errorf("got %+v", list)
		}
	})
}

// TestExtents asks all lists for any part of any project.
func TestExtents(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := context.Background()
		f := newFleet(t, db)
		var tasks []tidewaiter.SyncTask
		for i, r := range f.registries {
			task := tidewaiter.SyncTask{ID: fmt.Sprint("t", i), ProjectID: r.ProjectID, EnterpriseProjectID: r.EnterpriseProjectID, Kind: "manualSync", Created: epoch()}
			must(t, db.CreateSyncTask(ctx, task, nil))
			tasks = append(tasks, task)
		}
		rapid.Check(t, func(rt *rapid.T) {
			e := drawExtent(rt)
			var registries, images, syncs int
			for i, r := range f.registries {
				if e.Holds(r.ProjectID, r.EnterpriseProjectID) {
					registries++
				}
				if e.Holds(tasks[i].ProjectID, tasks[i].EnterpriseProjectID) {
					syncs++
				}
			}
			for _, i := range f.images {
				if i.Gone.IsZero() && e.Holds(i.ProjectID, i.EnterpriseProjectID) {
					images++
				}
			}
			check := func(what string, got int, err error, want int) {
				if err != nil || got != want {
					rt.Fatalf("%s: %d, want %d (%v)", what, got, want, err)
				}
			}
			list, n, err := db.Registries(ctx, e, store.RegistryFilter{}, store.Page{Limit: 100})
			check("registries", n, err, registries)
			for _, r := range list {
				if !e.Holds(r.ProjectID, r.EnterpriseProjectID) {
					rt.Fatalf("%+v", r)
				}
			}
			counts, err := db.RegistryCounts(ctx, e, nil)
			check("counts of registries", counts[tidewaiter.RegistrySuccess], err, registries)
			n, err = db.CountImages(ctx, e)
			check("count of images", n, err, images)
			_, n, err = db.Images(ctx, e, store.ImageFilter{}, store.Page{})
			check("images", n, err, images)
			found, n, err := db.SyncTasks(ctx, e, store.SyncTaskFilter{}, store.Page{Limit: 100})
			check("tasks", n, err, syncs)
			for _, s := range found {
				if !e.Holds(s.ProjectID, s.EnterpriseProjectID) {
					rt.Fatalf("%+v", s)
				}
			}
		})
	})
}

// TestManifestsStay while something refers to them.
func TestManifestsStay(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, now := context.Background(), store.Now()
		newCluster(t, db, "c")
		newRegistry(t, db, "r")
		id, err := db.PutRepository(ctx, tidewaiter.Repository{RegistryID: "r", Name: "a"})
		must(t, err)
		for _, x := range []thing{6, 3, -1, 4} {
			must(t, db.PutManifests(ctx, "r", x.manifests()))
		}
		unknown := tidewaiter.Manifest{Digest: thing(50).digest(), Children: []tidewaiter.Digest{thing(51).digest()}}
		wantKind(t, db.PutManifests(ctx, "r", []tidewaiter.Manifest{unknown}), tidewaiter.Invalid)
		wantKind(t, db.PutManifests(ctx, "none", []tidewaiter.Manifest{unknown}), tidewaiter.NotFound)
		digests := []tidewaiter.Digest{thing(6).digest(), thing(1).digest(), thing(2).digest(), thing(3).digest(), thing(-1).digest(), thing(4).digest()}
		known, err := db.ManifestsByDigest(ctx, "r", digests)
		if must(t, err); len(known) != 6 {
			t.Fatalf("got %v", known)
		}
		put := func(tag string, x thing) {
			t.Helper()
			must(t, db.PutImages(ctx, id, "s", []store.ImageTag{{Name: tag, ManifestID: known[x.digest()].ID}}, now))
		}
		put("index", 6) // with 1 and 2; 3 was in use; 4 never was
		put("moved", 3)
		put("moved", 2)
		must(t, db.PutSkippedTags(ctx, id, "s", []store.SkippedTag{{Name: "chart", ManifestID: known[thing(-1).digest()].ID}}))
		wantKind(t, db.PutImages(ctx, id, "s", []store.ImageTag{{Name: "x", ManifestID: 1 << 40}}, now), tidewaiter.NotFound)
		wantKind(t, db.PutImages(ctx, 1<<40, "s", []store.ImageTag{{Name: "x", ManifestID: 1}}, now), tidewaiter.NotFound)
		purge := func(before time.Time, want ...thing) {
			t.Helper()
			for {
				n, err := db.PurgeGone(ctx, before, 2)
				if must(t, err); n == 0 {
					break
				}
			}
			left, err := db.ManifestsByDigest(ctx, "r", digests)
			must(t, err)
			for _, x := range want {
				if _, ok := left[x.digest()]; !ok {
					t.Errorf("%d is purged", x)
				}
			}
			if len(left) != len(want) {
				t.Errorf("%d manifests are left, want %d", len(left), len(want))
			}
		}
		purge(now.Add(-time.Hour), 6, 1, 2, 3, 4, -1)
		// A component that asked about a manifest may count on it for a while.
		_, err = db.UnknownDigests(ctx, "r", []tidewaiter.Digest{thing(4).digest()})
		must(t, err)
		purge(now, 6, 1, 2, 3, 4, -1)
		purge(store.Now().Add(time.Second), 6, 1, 2, -1)
		must(t, db.CompleteRepository(ctx, id, "s2", "", nil, now)) // all tags are gone
		purge(store.Now().Add(time.Second), nil...)
	})
}

// TestGoneImagesComeBack with what was known of them, unless their tag stands
// for something else now.
func TestGoneImagesComeBack(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, now := context.Background(), epoch()
		newCluster(t, db, "c")
		newRegistry(t, db, "r")
		must(t, db.PutManifests(ctx, "r", slices.Concat(thing(1).manifests(), thing(2).manifests())))
		known, err := db.ManifestsByDigest(ctx, "r", []tidewaiter.Digest{thing(1).digest(), thing(2).digest()})
		must(t, err)
		image := func(f store.ImageFilter) tidewaiter.RegistryImage {
			t.Helper()
			list, total, err := db.Images(ctx, tidewaiter.Extent{ProjectID: "p", All: true}, f, store.Page{Limit: 10})
			must(t, err)
			if total != 1 || len(list) != 1 {
				t.Fatalf("got %d %+v", total, list)
			}
			return list[0]
		}
		sync := func(x thing, pushed time.Time) {
			t.Helper()
			now = now.Add(time.Hour)
			id, err := db.PutRepository(ctx, tidewaiter.Repository{RegistryID: "r", Name: "a"})
			must(t, err)
			must(t, db.PutImages(ctx, id, now.String(), []store.ImageTag{{Name: "v1", ManifestID: known[x.digest()].ID, Updated: pushed}}, now))
			must(t, db.CompleteRepository(ctx, id, now.String(), "", nil, now))
			n, err := db.FinishSync(ctx, "r", now.String(), now)
			if must(t, err); n != 1 {
				t.Fatalf("%d images", n)
			}
		}
		sync(1, epoch())
		scan := tidewaiter.ImageScan{Status: "success", Scanned: now, Vulnerabilities: 1, Severity: "High"}
		must(t, db.SetScan(ctx, image(store.ImageFilter{}), scan))
		first := image(store.ImageFilter{})
		for _, pushed := range []time.Time{epoch(), {}} {
			now = now.Add(time.Hour)
			n, err := db.FinishSync(ctx, "r", "found nothing "+now.String(), now)
			if must(t, err); n != 0 {
				t.Fatalf("%d images", n)
			}
			if i := image(store.ImageFilter{WithGone: true}); !i.Gone.Equal(now) {
				t.Errorf("got %+v", i)
			}
			sync(1, pushed)
			back := image(store.ImageFilter{})
			back.Synced = first.Synced
			same(t, first, back)
		}
		sync(2, time.Time{})
		if i := image(store.ImageFilter{}); i.ID != first.ID || i.Digest != thing(2).digest() || !i.Updated.Equal(now) || i.Scan != (tidewaiter.ImageScan{Status: tidewaiter.Unscanned}) {
			t.Errorf("got %+v", i)
		}
		sync(2, epoch())
		if i := image(store.ImageFilter{}); !i.Updated.Equal(epoch()) {
			t.Errorf("got %+v", i)
		}
		must(t, db.CheckCounts(ctx))
	})
}
