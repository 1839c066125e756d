package osv_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/advisory/osv"
)

func TestParse(t *testing.T) {
	const text = `{
		"schema_version": "1.7.4", "id": "TEST-2026-1", "modified": "2026-01-02T03:04:05.678Z", "published": "2026-01-01T00:00:00+02:00",
		"aliases": ["CVE-2026-1", "GHSA-x", "CVE-2026-1", ""], "upstream": ["CVE-2026-2"], "related": ["CVE-2026-3"],
		"summary": "A summary", "details": "Details", "credits": [{"name": "nobody"}],
		"severity": [
			{"type": "CVSS_V4", "score": "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N"},
			{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"},
			{"type": "CVSS_V3", "score": "nonsense"}, {"type": "Ubuntu", "score": "medium"}
		],
		"references": [{"type": "FIX", "url": "https://example.org/fix"}],
		"affected": [
			{"package": {"ecosystem": "Debian:12", "name": "openssl", "purl": "pkg:deb/debian/openssl"},
			 "ranges": [
				{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "3.0.11-1~deb12u2"}], "database_specific": {"any": [1, {}]}},
				{"type": "GIT", "repo": "https://example.org/r", "events": [{"introduced": "0"}, {"limit": "abc"}]},
				{"type": "SEMVER", "events": [{"introduced": "1.0.0", "fixed": "1.2.0"}, {"last_affected": "2.0.0"}, {"limit": "*"}]}
			 ],
			 "versions": ["1.0", ""], "ecosystem_specific": {"urgency": "unimportant", "imports": [{"path": "a", "symbols": ["b"]}]}},
			{"package": {"ecosystem": "Ubuntu:22.04:LTS", "name": "openssl"}, "database_specific": {"fix_state": "Will not fix"},
			 "severity": [{"type": "CVSS_V2", "score": "AV:N/AC:L/Au:N/C:P/I:P/A:P"}]},
			{"ranges": [{"type": "GIT", "repo": "r", "events": [{"introduced": "0"}]}]}
		],
		"database_specific": {"severity": "HIGH", "cwe_ids": []}, "unknown": {"field": 1}
	}`
	want := tidewaiter.Advisory{
		ID:        "TEST-2026-1",
		Modified:  time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		Published: time.Date(2025, 12, 31, 22, 0, 0, 0, time.UTC),
		Aliases:   []string{"CVE-2026-1", "GHSA-x"}, Upstream: []string{"CVE-2026-2"}, Related: []string{"CVE-2026-3"},
		Summary: "A summary", Details: "Details",
		Severities: []tidewaiter.Severity{
			{Method: "CVSS_V4", Vector: "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N", Score: 9.3, Level: tidewaiter.CriticalSeverity},
			{Method: "CVSS_V3", Vector: "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", Score: 9.8, Level: tidewaiter.CriticalSeverity},
			{Method: "Ubuntu", Vector: "medium", Level: tidewaiter.MediumSeverity},
		},
		References: []tidewaiter.Reference{{Type: "FIX", URL: "https://example.org/fix"}},
		Affected: []tidewaiter.Affected{
			{
				Ecosystem: "Debian:12", Name: "openssl", Versions: []string{"1.0"}, Urgency: "unimportant",
				Severities: []tidewaiter.Severity{{Method: "vendor", Vector: "unimportant", Level: tidewaiter.NoSeverity}},
				Ranges: []tidewaiter.VersionRange{
					{Type: tidewaiter.EcosystemRange, Events: []tidewaiter.VersionEvent{{Kind: tidewaiter.Introduced, Version: "0"}, {Kind: tidewaiter.Fixed, Version: "3.0.11-1~deb12u2"}}},
					{Type: tidewaiter.SemVerRange, Events: []tidewaiter.VersionEvent{
						{Kind: tidewaiter.Introduced, Version: "1.0.0"}, {Kind: tidewaiter.Fixed, Version: "1.2.0"},
						{Kind: tidewaiter.LastAffected, Version: "2.0.0"}, {Kind: tidewaiter.Limit, Version: "*"},
					}},
				},
			},
			{
				Ecosystem: "Ubuntu:22.04:LTS", Name: "openssl", Stand: tidewaiter.WillNotFix,
				Severities: []tidewaiter.Severity{{Method: "CVSS_V2", Vector: "AV:N/AC:L/Au:N/C:P/I:P/A:P", Score: 7.5, Level: tidewaiter.HighSeverity}},
			},
		},
	}
	got, err := osv.Parse([]byte(text))
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
}

// TestParseRefuses has what cannot be used, and the field that the error names.
func TestParseRefuses(t *testing.T) {
	head := func(rest string) string { return `{"id":"A","modified":"2026-01-01T00:00:00Z"` + rest + `}` }
	pkg := func(rest string) string {
		return head(`,"affected":[{"package":{"ecosystem":"npm","name":"a"}` + rest + `}]`)
	}
	for _, tt := range []struct{ name, text, want string }{
		{"no JSON", "hello", "OSV"},
		{"a list", "[]", "OSV"},
		{"two", minimal + minimal, "OSV"},
		{"no id", `{"modified":"2026-01-01T00:00:00Z"}`, "id:"},
		{"an id of two lines", `{"id":"a\nb"}`, "id:"},
		{"a long id", `{"id":"` + strings.Repeat("a", 257) + `"}`, "id:"},
		{"withdrawn at no time", head(`,"withdrawn":"yes"`), "withdrawn:"},
		{"a package without a name", head(`,"affected":[{"package":{"ecosystem":"npm"}}]`), "affected[0].package:"},
		{"an unknown range", pkg(`,"ranges":[{"type":"MAGIC","events":[]}]`), "affected[0].ranges[0].type:"},
		{"an empty boundary", pkg(`,"ranges":[{"type":"SEMVER","events":[{"introduced":""}]}]`), "affected[0].ranges[0].events:"},
		{"a long boundary", pkg(`,"ranges":[{"type":"SEMVER","events":[{"fixed":"` + strings.Repeat("1", 513) + `"}]}]`), "affected[0].ranges[0].events:"},
		{"a number for a text", head(`,"summary":1`), "OSV"},
		{"too many elements", head(`,"affected":[` + strings.Repeat("{},", 400_000) + `{}]`), "elements"},
		{"deep", strings.Repeat(`{"database_specific":`, 20_000) + "1" + strings.Repeat("}", 20_000), "OSV"},
	} {
		_, err := osv.Parse([]byte(tt.text))
		if kind := tidewaiter.KindOf(err); err == nil || kind != tidewaiter.Invalid && kind != tidewaiter.TooLarge || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

// TestParseReadsOn has what is odd and still says enough.
func TestParseReadsOn(t *testing.T) {
	a, err := osv.Parse([]byte(`{"id":"MAL-1","modified":"1-01-01T00:00:00Z","details":"` + strings.Repeat("ä", 20_000) + `",
		"database_specific":["a"],"severity":null,"affected":[{"package":{"ecosystem":"npm","name":"a"},"ecosystem_specific":"x","database_specific":{"urgency":7,"severity":{"a":1}}}]}`))
	if err != nil || !a.Modified.IsZero() || a.Kind != "malicious" || len(a.Details) > 33_000 || !strings.HasSuffix(a.Details, "ä…") || len(a.Affected) != 1 {
		t.Errorf("%v: %.100v", err, a)
	}
}

func TestScore(t *testing.T) {
	for _, tt := range []struct {
		vector string
		score  float64
		level  tidewaiter.SeverityLevel
	}{
		// From the examples of the specifications: first.org/cvss/v2/guide (CVE-2002-0392),
		// first.org/cvss/v3.1/examples and first.org/cvss/v4.0/examples.
		{"AV:N/AC:L/Au:N/C:N/I:N/A:C", 7.8, tidewaiter.HighSeverity},
		{"(AV:N/AC:L/Au:N/C:N/I:N/A:C)", 7.8, tidewaiter.HighSeverity},
		{"CVSS:3.0/AV:N/AC:L/PR:N/UI:R/S:C/C:L/I:L/A:N", 6.1, tidewaiter.MediumSeverity},
		{"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N", 7.5, tidewaiter.HighSeverity},
		{"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", 9.8, tidewaiter.CriticalSeverity},
		{"CVSS:3.1/AV:L/AC:H/PR:H/UI:R/S:U/C:N/I:N/A:L", 1.8, tidewaiter.LowSeverity},
		{"CVSS:3.1/AV:L/AC:H/PR:H/UI:R/S:U/C:N/I:N/A:N", 0, tidewaiter.NoSeverity},
		{"CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N", 9.3, tidewaiter.CriticalSeverity},
		{"CVSS:4.0/AV:L/AC:L/AT:P/PR:L/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N", 7.3, tidewaiter.HighSeverity},
	} {
		score, ok := osv.Score(tt.vector)
		if !ok || score != tt.score || osv.LevelOf(score) != tt.level {
			t.Errorf("%s: %v, %v, %s; want %v, %s", tt.vector, score, ok, osv.LevelOf(score), tt.score, tt.level)
		}
	}
	for _, vector := range []string{"", "7.5", "CVSS:3.1", "CVSS:3.1/AV:N", "CVSS:5.0/AV:N", "CVSS:4.0/AV:N/AC:L", "AV:N"} {
		if score, ok := osv.Score(vector); ok {
			t.Errorf("%q has the score %v", vector, score)
		}
	}
}

// FuzzParse looks for panics, and for advisories beyond their bounds.
func FuzzParse(f *testing.F) {
	f.Add([]byte(minimal))
	for _, name := range []string{"testdata/DEBIAN-CVE-2023-0464.json", "testdata/GO-2021-0113.json"} {
		if content, err := os.ReadFile(name); err == nil {
			f.Add(content)
		}
	}
	f.Add([]byte(`{"id":"A","affected":[{"package":{"ecosystem":"npm","name":"a"},"ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"limit":"*"}]}],"versions":["1"],"database_specific":{"status":"ignored"}}],"severity":[{"type":"CVSS_V4","score":"CVSS:4.0/AV:N"}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		a, err := osv.Parse(text)
		if err != nil {
			if tidewaiter.KindOf(err) == tidewaiter.Internal {
				t.Errorf("of no kind: %v", err)
			}
			return
		}
		if a.ID == "" || strings.ContainsAny(a.ID, "\x00\n") {
			t.Errorf("id %q", a.ID)
		}
		for _, p := range a.Affected {
			if p.Ecosystem == "" || p.Name == "" || strings.ContainsRune(p.Ecosystem+p.Name, 0) {
				t.Errorf("package %q %q", p.Ecosystem, p.Name)
			}
		}
		for _, s := range a.Severities {
			if s.Score < 0 || s.Score > 10 || s.Level == tidewaiter.UnknownSeverity {
				t.Errorf("severity %+v", s)
			}
		}
	})
}
