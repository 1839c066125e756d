package store_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/store"
	"github.com/tidewaiter/tidewaiter/internal/store/storetest"
)

// findingModel is a contentModel whose packages have vulnerabilities, to which
// people say something.
type findingModel struct {
	*contentModel

	exceptions []tidewaiter.Exception
	clock      time.Time
}

// matches makes up what is known of a package version.
func (m *findingModel) matches(v store.PackageVersion) store.PackageMatches {
	list := store.PackageMatches{PackageID: v.ID, Subjects: []store.PackageSubject{{Ecosystem: "Debian:12", Name: v.Name}}}
	if rapid.IntRange(0, 3).Draw(m.t, "gap") == 0 {
		list.Gap = tidewaiter.GapVersion
	}
	kind := tidewaiter.SystemVulnerability
	if v.Type != "deb" {
		kind = tidewaiter.ApplicationVulnerability
	}
	for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom(vulnerabilityNames()), 0, 4, rapid.ID).Draw(m.t, "vulnerabilities") {
		list.Findings = append(list.Findings, store.PackageFinding{
			VulnerabilityName: store.VulnerabilityName{Name: name, Kind: kind},
			Severity:          tidewaiter.SeverityRank(rapid.IntRange(0, tidewaiter.Ranks-1).Draw(m.t, "severity")),
			Score:             100 * rapid.IntRange(0, 10).Draw(m.t, "score"), Advisory: "DSA-1", Fixed: rapid.SampledFrom([]string{"", "2"}).Draw(m.t, "fixed"),
		})
	}
	return list
}

func vulnerabilityNames() []string {
	return []string{"CVE-2024-1", "CVE-2024-2", "CVE-2024-3", "GHSA-1", "Äpfel", "%_*"}
}

// match has something be known of the packages of which nothing is.
func (m *findingModel) match() {
	ctx := context.Background()
	ids := make([]int64, len(m.versions))
	for i, v := range m.versions {
		ids[i] = v.ID
	}
	missing, err := m.db.UnmatchedPackages(ctx, ids)
	m.ok(err)
	held := make(map[int64]bool)
	for _, r := range m.results {
		for _, p := range r.Packages {
			held[p.ID] = true
		}
	}
	var fresh, late []store.PackageMatches
	for _, v := range missing {
		if held[v.ID] { // by images that were scanned before
			late = append(late, m.matches(v))
		} else {
			fresh = append(fresh, m.matches(v))
		}
	}
	m.ok(m.db.PutNewMatchesNow(ctx, fresh, m.clock))
	_, _, err = m.db.ReplaceMatchesNow(ctx, late, m.clock)
	m.ok(err)
}

// change has something else be known of some packages.
func (m *findingModel) change() {
	var list []store.PackageMatches
	for _, v := range rapid.SliceOfNDistinct(rapid.SampledFrom(m.versions), 0, 6, func(v store.PackageVersion) int64 { return v.ID }).Draw(m.t, "packages") {
		list = append(list, m.matches(v))
	}
	_, _, err := m.db.ReplaceMatchesNow(context.Background(), list, m.clock)
	m.ok(err)
}

// say adds an exception, or removes one.
func (m *findingModel) say() {
	ctx := context.Background()
	if len(m.exceptions) > 0 && rapid.Bool().Draw(m.t, "drop") {
		i := rapid.IntRange(0, len(m.exceptions)-1).Draw(m.t, "exception")
		m.ok(m.db.DropException(ctx, m.exceptions[i]))
		m.exceptions = slices.Delete(m.exceptions, i, i+1)
		return
	}
	e := tidewaiter.Exception{
		ID: store.NewID(), ProjectID: rapid.SampledFrom(m.registries).Draw(m.t, "project").ProjectID,
		EnterpriseProjectID: rapid.SampledFrom([]string{"", "0", "1"}).Draw(m.t, "enterprise project"),
		Vulnerability:       rapid.SampledFrom(vulnerabilityNames()).Draw(m.t, "vulnerability"),
		Kind:                rapid.SampledFrom([]tidewaiter.VulnerabilityKind{"", tidewaiter.SystemVulnerability, tidewaiter.ApplicationVulnerability}).Draw(m.t, "kind"),
		Action:              tidewaiter.ActionIgnore, Created: m.clock, Updated: m.clock,
		Scope:   rapid.SampledFrom([]tidewaiter.ExceptionScope{tidewaiter.ScopeAllImages, tidewaiter.ScopeImageTypes, tidewaiter.ScopeImages}).Draw(m.t, "scope"),
		Package: rapid.SampledFrom([]string{"", "", "pkg:deb/bash", "pkg:npm/BASH@1:0", "pkg:deb/zlib@1:1"}).Draw(m.t, "package"),
	}
	switch e.Scope {
	case tidewaiter.ScopeImageTypes:
		e.RegistryTypes = rapid.SliceOfDistinct(rapid.SampledFrom(tidewaiter.RegistryTypes()), rapid.ID).Draw(m.t, "types")
	case tidewaiter.ScopeImages:
		for _, id := range slices.Sorted(maps.Keys(m.images)) {
			if rapid.Bool().Draw(m.t, "image") {
				e.Images = append(e.Images, tidewaiter.ExceptionImage{ManifestID: id})
			}
		}
	}
	m.ok(m.db.AddException(ctx, e))
	m.exceptions = append(m.exceptions, e)
}

// end has the last scan of an image end.
func (m *findingModel) end() {
	if ids := slices.Sorted(maps.Keys(m.images)); len(ids) > 0 {
		id := rapid.SampledFrom(ids).Draw(m.t, "manifest")
		m.ok(m.db.SetScanStatus(context.Background(), id, rapid.SampledFrom([]string{tidewaiter.ScanSucceeded, tidewaiter.ScanFailed}).Draw(m.t, "status")))
	}
}

// TestFindingCounts compares what is counted with what is there, through
// synchronisations, scans, other advisories, exceptions and deletions.
func TestFindingCounts(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		rapid.Check(t, func(t *rapid.T) {
			m := &findingModel{contentModel: newContentModel(t, db), clock: epoch()}
			for range rapid.IntRange(1, 40).Draw(t, "steps") {
				m.clock = m.clock.Add(time.Second)
				switch rapid.IntRange(0, 18).Draw(t, "step") {
				case 0, 1, 2:
					m.sync()
				case 3:
					m.delete()
				case 4:
					m.match()
				case 5, 6, 7:
					m.change()
				case 8, 9, 10:
					m.say()
				case 11, 12, 13:
					m.end()
				default:
					m.put()
				}
			}
			m.ok(db.CheckSoftwareCounts(context.Background()))
			m.ok(db.CheckCounts(context.Background()))
			checkFindings(t, db)
		})
	})
}

// checkFindings counts all anew.
func checkFindings(t interface {
	Helper()
	Errorf(format string, args ...any)
}, db *store.DB) {
	t.Helper()
	d, err := db.DumpFindings(context.Background())
	if err != nil {
		t.Errorf("dump: %v", err)
		return
	}
	if len(d.Wrong) > 0 {
		t.Errorf("wrong: %v", d.Wrong)
	}
	found := make(map[int64]map[int64]tidewaiter.SeverityRank)
	worst := make(map[int64]tidewaiter.SeverityRank)
	for _, f := range d.Findings {
		if found[f.PackageID] == nil {
			found[f.PackageID] = make(map[int64]tidewaiter.SeverityRank)
		}
		found[f.PackageID][f.VulnerabilityID] = f.Severity
		worst[f.VulnerabilityID] = max(worst[f.VulnerabilityID], f.Severity)
	}
	for id, v := range d.Vulnerabilities {
		if v.Severity != worst[id] {
			t.Errorf("vulnerability %s has severity %d, want %d", v.Name, v.Severity, worst[id])
		}
	}
	versions, err := db.PackageVersions(context.Background(), slices.Collect(maps.Keys(d.Gaps)))
	if err != nil {
		t.Errorf("packages: %v", err)
	}
	risks := make(map[int64]tidewaiter.Risk)
	for id := range d.Risks { // an image may hold nothing
		risks[id] = tidewaiter.Risk{}
	}
	type pair struct{ image, vulnerability int64 }
	open := make(map[pair]bool)
	at := make(map[int64]store.DumpedRegistry)
	for _, h := range d.Holdings {
		risk := risks[h.ManifestID]
		at[h.ManifestID] = d.Registries[h.RegistryNumber]
		if gap, matched := d.Gaps[h.PackageID]; gap || !matched {
			risk.Gaps++
		}
		for v, severity := range found[h.PackageID] {
			handled := false
			for _, e := range d.Exceptions {
				handled = handled || covers(d, e, h.ManifestID, d.Registries[h.RegistryNumber], d.Vulnerabilities[v], versions[h.PackageID])
			}
			if handled {
				risk.Handled++
			} else {
				risk.Found[severity]++
			}
			open[pair{h.ManifestID, v}] = open[pair{h.ManifestID, v}] || !handled
		}
		risks[h.ManifestID] = risk
	}
	counts := make(map[store.DumpedCount][2]int)
	for p, unhandled := range open {
		key := store.DumpedCount{Vulnerability: p.vulnerability, Project: at[p.image].Project, EnterpriseProject: at[p.image].EnterpriseProject}
		n := counts[key]
		if unhandled {
			n[0]++
		} else {
			n[1]++
		}
		counts[key] = n
	}
	if diff := cmp.Diff(risks, d.Risks); diff != "" {
		t.Errorf("risks of images (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(counts, d.Counts); diff != "" {
		t.Errorf("counts of vulnerabilities (-want +got):\n%s", diff)
	}
	for root, listed := range d.Listed {
		want := [2]string{"", "0"}
		order := []string{"Security", "", "Low", "Medium", "High"}
		level := -1
		for _, id := range append([]int64{root}, d.Children[root]...) {
			r, ok := risks[id]
			if !ok {
				continue
			}
			level = max(level, slices.Index(order, r.Level()))
			if r.Vulnerabilities() > 0 {
				want[1] = "1"
			}
		}
		if level > 0 || level == 0 && d.Statuses[root] == tidewaiter.ScanSucceeded {
			want[0] = order[level]
		}
		if listed != want {
			t.Errorf("manifest %d is listed as %q, want %q", root, listed, want)
		}
	}
}

// covers tells whether an exception is about a finding, from what the words mean.
func covers(d store.FindingsDump, e store.DumpedException, manifest int64, r store.DumpedRegistry, v store.DumpedVulnerability, p store.PackageVersion) bool {
	within := slices.Contains(e.Manifests, manifest)
	for _, parent := range e.Manifests {
		within = within || slices.Contains(d.Children[parent], manifest)
	}
	switch e.Scope {
	case tidewaiter.ScopeImageTypes:
		within = slices.Contains(e.RegistryTypes, r.Type)
	case tidewaiter.ScopeAllImages:
		within = true
	}
	packages := e.Package == "" || e.Package == fmt.Sprintf("pkg:%s/%s", p.Type, p.Name) || e.Package == fmt.Sprintf("pkg:%s/%s@%s", p.Type, p.Name, p.Version)
	return within && packages && e.ProjectID == r.Project && (e.EnterpriseProjectID == "" || e.EnterpriseProjectID == r.EnterpriseProject) &&
		e.Vulnerability == v.Name && (e.Kind == "" || e.Kind == v.Kind)
}
