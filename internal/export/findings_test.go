package export_test

import (
	"bytes"
	"context"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/owenrumney/go-sarif/v3/pkg/report/v210/sarif"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/advisory"
	"github.com/tidewaiter/tidewaiter/internal/export"
)

// judged is newImage, judged by advisories about libc6 and org.example:b, some
// of them hostile; of npm there are none.
func judged(t *testing.T, partial bool) export.Image {
	t.Helper()
	image := newImage(partial)
	folder := t.TempDir()
	b := advisory.NewBuilder(folder)
	about := func(id, ecosystem, name, fixed string, level tidewaiter.SeverityLevel, score float64, url string) {
		events := []tidewaiter.VersionEvent{{Kind: tidewaiter.Introduced, Version: "0"}}
		if fixed != "" {
			events = append(events, tidewaiter.VersionEvent{Kind: tidewaiter.Fixed, Version: fixed})
		}
		err := b.Add(tidewaiter.Advisory{
			ID: id, Summary: "about \x1b[31m " + id, Severities: []tidewaiter.Severity{{Method: "CVSS_V3", Score: score, Level: level}}, References: []tidewaiter.Reference{{Type: "ADVISORY", URL: url}},
			Affected: []tidewaiter.Affected{{Ecosystem: ecosystem, Name: name, Ranges: []tidewaiter.VersionRange{{Type: tidewaiter.EcosystemRange, Events: events}}}},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	about("CVE-2026-1000", "Debian:12", "glibc", "2.36-10", tidewaiter.CriticalSeverity, 9.8, "https://example.com/a")
	about("CVE-2026-2000", "Debian:12", "glibc", "", tidewaiter.LowSeverity, 3.1, "javascript:alert(1)")
	about("GHSA-aaaa", "Maven", "org.example:b", "", tidewaiter.UnknownSeverity, 0, "not a URL \x00")
	about("CVE-2026-3000", "Debian:12", "glibc", "2.36-8", tidewaiter.HighSeverity, 8, "https://example.com/b")
	built, err := b.Finish(context.Background())
	if err == nil {
		err = b.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	index, err := advisory.Open(filepath.Join(folder, advisory.FileName(built.Digest)), built.Digest)
	if err != nil {
		t.Fatal(err)
	}
	defer index.Close()
	if err := image.Judge(index); err != nil {
		t.Fatal(err)
	}
	return image
}

// TestSARIF wants a valid log, by the schema of the standard, that says what is
// known, and that is not successful where something is not.
func TestSARIF(t *testing.T) {
	for _, partial := range []bool{false, true} {
		image := judged(t, partial)
		if image.Judged() || len(image.Unjudged()) != 1 {
			t.Fatalf("got %q", image.Unjudged())
		}
		var b bytes.Buffer
		if err := export.SARIF(&b, "registry.example.com/app:1", []export.Image{image}); err != nil {
			t.Fatal(err)
		}
		if strings.ContainsAny(b.String(), "\x1b\u202e\u009b") || strings.Contains(b.String(), "javascript:") {
			t.Errorf("it has what acts on a terminal, or in a page:\n%s", b.String())
		}
		log, err := sarif.FromBytes(b.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		if err := log.Validate(); err != nil {
			t.Errorf("it is not valid: %v", err)
		}
		run := log.Runs[0]
		var got []string
		for _, r := range run.Results {
			got = append(got, *r.RuleID+" "+r.Level+" "+*r.Locations[0].PhysicalLocation.ArtifactLocation.URI)
		}
		want := "CVE-2026-1000 error var/lib/dpkg/status, CVE-2026-2000 note var/lib/dpkg/status, GHSA-aaaa warning srv/a.war"
		if len(run.Tool.Driver.Rules) != 3 || len(got) != 3 || !containsAll(strings.Join(got, ", "), strings.Split(want, ", ")) {
			t.Errorf("got %d rules, %q", len(run.Tool.Driver.Rules), got)
		}
		invocation := run.Invocations[0]
		notes := map[bool]int{false: 1, true: 2}[partial]
		if *invocation.ExecutionSuccessful || len(invocation.ToolExecutionNotifications) != notes {
			t.Errorf("partial %t: successful %t, %d notifications", partial, *invocation.ExecutionSuccessful, len(invocation.ToolExecutionNotifications))
		}
	}
}

func containsAll(text string, parts []string) bool {
	for _, p := range parts {
		if !strings.Contains(text, p) {
			return false
		}
	}
	return true
}

// TestJudgedJSON wants the JSON to say which advisories judged, what was found
// and what could not be judged; and to say nothing of it where nobody asked.
func TestJudgedJSON(t *testing.T) {
	type out struct {
		Images []struct {
			Advisories      *struct{ Digest string }
			Vulnerabilities *[]struct {
				ID, Severity, Status, Step string
				Layer                      int
			}
			Unjudged []struct{ Package, Reason string }
		}
	}
	read := func(image export.Image) out {
		t.Helper()
		var b bytes.Buffer
		if err := export.JSON(&b, "x", "registry", []export.Image{image}); err != nil {
			t.Fatal(err)
		}
		var o out
		if err := json.Unmarshal(b.Bytes(), &o); err != nil {
			t.Fatal(err)
		}
		return o
	}
	asked := read(judged(t, false)).Images[0]
	if asked.Advisories == nil || !strings.HasPrefix(asked.Advisories.Digest, "sha256:") || len(*asked.Vulnerabilities) != 3 || len(asked.Unjudged) != 2 {
		t.Fatalf("got %+v", asked)
	}
	if v := (*asked.Vulnerabilities)[0]; v.ID != "CVE-2026-1000" || v.Severity != "critical" || v.Status != "fixed" || v.Layer != 0 {
		t.Errorf("got %+v", v)
	}
	if v := (*asked.Vulnerabilities)[1]; v.ID != "GHSA-aaaa" && v.Severity != "low" {
		t.Errorf("got %+v", v)
	}
	if plain := read(newImage(false)).Images[0]; plain.Advisories != nil || plain.Vulnerabilities != nil {
		t.Errorf("got %+v", plain)
	}
}
