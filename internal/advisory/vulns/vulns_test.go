package vulns_test

import (
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/advisory/vulns"
)

func TestOf(t *testing.T) {
	high := tidewaiter.Severity{Level: tidewaiter.HighSeverity, Score: 8, Source: "GHSA-a"}
	low := tidewaiter.Severity{Level: tidewaiter.LowSeverity, Score: 2, Source: "GO-1"}
	type v = tidewaiter.Vulnerability
	type match = tidewaiter.Match
	for name, tt := range map[string]struct {
		matches []match
		want    []v
	}{
		"none": {nil, []v{}},
		"a security announcement is several": {
			[]match{{AdvisoryID: "DSA-1-1", Upstream: []string{"CVE-2024-1000", "CVE-2024-2000"}, Status: tidewaiter.MatchFixable, Fixed: []string{"2"}}},
			[]v{
				{Name: "CVE-2024-1000", Advisory: "DSA-1-1", Advisories: []string{"DSA-1-1"}, Aliases: []string{"DSA-1-1"}, Status: tidewaiter.MatchFixable, Fixed: []string{"2"}},
				{Name: "CVE-2024-2000", Advisory: "DSA-1-1", Advisories: []string{"DSA-1-1"}, Aliases: []string{"DSA-1-1"}, Status: tidewaiter.MatchFixable, Fixed: []string{"2"}},
			},
		},
		"the one with a fix has the last word": {
			[]match{
				{AdvisoryID: "DEBIAN-CVE-2024-1000", Upstream: []string{"CVE-2024-1000"}, Status: tidewaiter.MatchAffected},
				{AdvisoryID: "DSA-1-1", Upstream: []string{"CVE-2024-1000"}, Status: tidewaiter.MatchFixable, Fixed: []string{"2"}},
			},
			[]v{{Name: "CVE-2024-1000", Advisory: "DSA-1-1", Advisories: []string{"DEBIAN-CVE-2024-1000", "DSA-1-1"}, Aliases: []string{"DEBIAN-CVE-2024-1000", "DSA-1-1"},
				Status: tidewaiter.MatchFixable, Fixed: []string{"2"}}},
		},
		"two databases, one CVE, severity of the other": {
			[]match{
				{AdvisoryID: "GO-1", Aliases: []string{"CVE-2024-1000", "GHSA-a"}, Status: tidewaiter.MatchFixable, Fixed: []string{"1.2"}},
				{AdvisoryID: "GHSA-a", Aliases: []string{"CVE-2024-1000"}, Status: tidewaiter.MatchAffected, Severity: high},
			},
			[]v{{Name: "CVE-2024-1000", Advisory: "GO-1", Advisories: []string{"GHSA-a", "GO-1"}, Aliases: []string{"GHSA-a", "GO-1"}, Severity: high,
				Status: tidewaiter.MatchFixable, Fixed: []string{"1.2"}}},
		},
		"a known severity stays": {
			[]match{{AdvisoryID: "GO-1", Aliases: []string{"GHSA-a"}, Severity: low, Status: tidewaiter.MatchFixable}, {AdvisoryID: "GHSA-a", Severity: high}},
			[]v{{Name: "GHSA-a", Advisory: "GO-1", Advisories: []string{"GHSA-a", "GO-1"}, Aliases: []string{"GO-1"}, Severity: low, Status: tidewaiter.MatchFixable}},
		},
		"a name within an id": {
			[]match{{AdvisoryID: "ALPINE-CVE-2024-1000"}},
			[]v{{Name: "CVE-2024-1000", Advisory: "ALPINE-CVE-2024-1000", Advisories: []string{"ALPINE-CVE-2024-1000"}, Aliases: []string{"ALPINE-CVE-2024-1000"}}},
		},
		"no other name": {
			[]match{{AdvisoryID: "MAL-2024-1", Kind: "malicious"}, {AdvisoryID: "USN-1", Upstream: []string{"UBUNTU-1"}}, {AdvisoryID: "X-CVE-2024-1"}},
			[]v{
				{Name: "MAL-2024-1", Advisory: "MAL-2024-1", Advisories: []string{"MAL-2024-1"}, Kind: "malicious"},
				{Name: "UBUNTU-1", Advisory: "USN-1", Advisories: []string{"USN-1"}, Aliases: []string{"USN-1"}},
				{Name: "X-CVE-2024-1", Advisory: "X-CVE-2024-1", Advisories: []string{"X-CVE-2024-1"}},
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := vulns.Of(tt.matches)
			if diff := cmp.Diff(tt.want, got, cmp.FilterValues(func(a, b []string) bool { return len(a)+len(b) == 0 }, cmp.Ignore())); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// TestOfAnyOrder says that the order of the matches makes no difference, and
// that no match is lost.
func TestOfAnyOrder(t *testing.T) {
	ids := rapid.SampledFrom([]string{"CVE-2024-1000", "CVE-2024-2000", "GHSA-a", "GHSA-b", "GO-1", "DSA-1", "DEBIAN-CVE-2024-1000", "X", ""})
	list := rapid.SliceOfN(ids, 0, 3)
	levels := rapid.SampledFrom([]tidewaiter.SeverityLevel{"", "none", "low", "high", "critical"})
	matches := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) tidewaiter.Match {
		id := ids.Draw(t, "id")
		return tidewaiter.Match{
			AdvisoryID: id, Aliases: list.Draw(t, "aliases"), Upstream: list.Draw(t, "upstream"), Severity: tidewaiter.Severity{Level: levels.Draw(t, "level"), Source: id},
			Status: rapid.SampledFrom([]tidewaiter.MatchStatus{tidewaiter.MatchFixable, tidewaiter.MatchAffected}).Draw(t, "status"), Name: rapid.StringMatching("[a-z]{9}").Draw(t, "name"),
		}
	}), 0, 8)
	rapid.Check(t, func(t *rapid.T) {
		in := matches.Draw(t, "matches")
		want := vulns.Of(in)
		said := make(map[string]bool)
		for _, v := range want {
			for _, id := range v.Advisories {
				said[id] = true
			}
		}
		for _, m := range in {
			if !said[m.AdvisoryID] {
				t.Fatalf("%q is lost", m.AdvisoryID)
			}
		}
		rand.Shuffle(len(in), func(i, j int) { in[i], in[j] = in[j], in[i] })
		if diff := cmp.Diff(want, vulns.Of(in)); diff != "" {
			t.Fatalf("in another order (-want +got):\n%s", diff)
		}
	})
}
