package findings

import (
	"cmp"
	"math"
	"slices"
	"strings"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/advisory"
	"github.com/tidewaiter/tidewaiter/internal/advisory/vulns"
	"github.com/tidewaiter/tidewaiter/internal/store"
)

// releaseSeparator stands behind each of the ecosystems of a release, as they
// are kept with a package version.
const releaseSeparator = "|"

// ReleaseOf returns how the release of an operating system is kept with the
// versions of its packages: it says whose advisories are about them.
func (*Service) ReleaseOf(s tidewaiter.System) string {
	var kept strings.Builder
	for _, e := range advisory.ReleaseOf(s).Ecosystems {
		kept.WriteString(e + releaseSeparator)
	}
	return kept.String()
}

// releaseOf is the inverse of [Service.ReleaseOf]. Versions of packages that were kept
// by servers before this one have what stands behind the colon alone.
func releaseOf(v store.PackageVersion) tidewaiter.Release {
	switch {
	case v.Release == "":
		return tidewaiter.Release{}
	case strings.HasSuffix(v.Release, releaseSeparator):
		return tidewaiter.Release{Ecosystems: strings.Split(strings.TrimSuffix(v.Release, releaseSeparator), releaseSeparator)}
	case v.Ecosystem == "Red Hat":
		return tidewaiter.Release{Ecosystems: []string{"Red Hat:enterprise_linux:" + v.Release}}
	}
	return tidewaiter.Release{Ecosystems: []string{v.Ecosystem + ":" + v.Release}}
}

// match finds out what an index, nil for one without advisories, knows of
// package versions. The result is in the order of their ids.
func match(index *advisory.Index, versions []store.PackageVersion) ([]store.PackageMatches, error) {
	versions = slices.SortedFunc(slices.Values(versions), func(a, b store.PackageVersion) int {
		return cmp.Or(cmp.Compare(a.Release, b.Release), cmp.Compare(a.Ecosystem, b.Ecosystem), cmp.Compare(a.ID, b.ID))
	})
	list := make([]store.PackageMatches, 0, len(versions))
	for len(versions) > 0 {
		n := slices.IndexFunc(versions, func(v store.PackageVersion) bool {
			return v.Release != versions[0].Release || v.Ecosystem != versions[0].Ecosystem
		})
		if n < 0 {
			n = len(versions)
		}
		some, err := matchRelease(index, versions[:n])
		if err != nil {
			return nil, err
		}
		list, versions = append(list, some...), versions[n:]
	}
	slices.SortFunc(list, func(a, b store.PackageMatches) int { return cmp.Compare(a.PackageID, b.PackageID) })
	return list, nil
}

// matchRelease is [match] for packages of one release.
func matchRelease(index *advisory.Index, versions []store.PackageVersion) ([]store.PackageMatches, error) {
	release := releaseOf(versions[0])
	packages := make([]tidewaiter.Package, len(versions))
	list := make([]store.PackageMatches, len(versions))
	for i, v := range versions {
		packages[i] = v.Package()
		list[i] = store.PackageMatches{PackageID: v.ID, Gap: tidewaiter.GapEcosystem}
		for _, s := range advisory.Subjects(packages[i], release) {
			list[i].Subjects = append(list[i].Subjects, store.PackageSubject(s))
		}
	}
	if index == nil {
		return list, nil
	}
	exploited, err := index.Exploited()
	if err != nil {
		return nil, err
	}
	return list, index.MatchEach(packages, release, func(i int, r advisory.Result) error {
		list[i].Gap = r.Gap
		kind := tidewaiter.ApplicationVulnerability
		if vulns.IsSystem(packages[i]) {
			kind = tidewaiter.SystemVulnerability
		}
		for _, v := range vulns.Of(r.Matches) {
			f := finding(v, kind)
			f.Exploited = exploited[v.Name]
			list[i].Findings = append(list[i].Findings, f)
		}
		return nil
	})
}

// maxFixed is how many fixed versions of a finding are kept.
const maxFixed = 10

// finding is a vulnerability as it is kept.
func finding(v tidewaiter.Vulnerability, kind tidewaiter.VulnerabilityKind) store.PackageFinding {
	f := store.PackageFinding{
		VulnerabilityName: store.VulnerabilityName{Name: v.Name, Kind: kind},
		Severity:          v.Severity.Level.Rank(), Score: int(math.Round(min(max(v.Severity.Score, 0), 10) * 100)),
		Advisory: v.Advisory, Status: v.Status,
		Document: store.FindingDocument{
			Advisories: v.Advisories, Aliases: v.Aliases, Method: v.Severity.Method, Vector: v.Severity.Vector, Source: v.Severity.Source,
			Fixed: v.Fixed[:min(len(v.Fixed), maxFixed)], Urgency: v.Urgency, Kind: v.Kind, Ecosystem: v.Ecosystem, Name: v.PackageName, Version: v.Version,
			Reason: v.Reason, Range: v.Range,
		},
	}
	if len(v.Fixed) > 0 {
		f.Fixed = v.Fixed[0]
	}
	return f
}
