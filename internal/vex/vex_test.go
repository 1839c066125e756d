package vex_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/vex"
)

var (
	digest  = "sha256:" + strings.Repeat("a", 64)
	another = "sha256:" + strings.Repeat("b", 64)
)

func at(text string) time.Time {
	t, _ := time.Parse(time.RFC3339, text)
	return t
}

// openVEX is a document of OpenVEX 0.2.0 with these statements.
func openVEX(statements ...string) string {
	return `{"@context": "https://openvex.dev/ns/v0.2.0", "@id": "https://example.com/vex/1", "author": "Harbour Security", "timestamp": "2026-01-02T03:04:05Z", "version": 1,
		"statements": [` + strings.Join(statements, ",") + `]}`
}

func cyclone(vulnerabilities ...string) string {
	return `{"bomFormat": "CycloneDX", "specVersion": "1.5", "serialNumber": "urn:uuid:3e671687-395b-41f5-a30f-a58921a69b79", "version": 1,
		"metadata": {"timestamp": "2026-01-02T03:04:05Z", "authors": [{"name": "Harbour Security"}],
			"component": {"bom-ref": "image", "type": "container", "name": "app", "purl": "pkg:oci/app@` + strings.Replace(digest, ":", "%3A", 1) + `?repository_url=registry.example.com/app"}},
		"components": [{"bom-ref": "curl-1", "type": "library", "name": "curl", "purl": "pkg:deb/debian/curl@7.88.1-10?arch=amd64",
			"components": [{"bom-ref": "inner", "type": "library", "name": "a", "purl": "pkg:npm/%40scope/a@1.0.0"}]}],
		"vulnerabilities": [` + strings.Join(vulnerabilities, ",") + `]}`
}

func TestRead(t *testing.T) {
	image := vex.Product{Image: tidewaiter.Digest(digest)}
	for name, tt := range map[string]struct {
		text string
		want []vex.Statement
	}{
		"an image by package URL": {openVEX(`{"vulnerability": {"name": "CVE-2026-1000", "aliases": ["GHSA-x"]}, "products": [{"@id": "pkg:oci/app@` + digest + `?tag=1"}],
			"status": "not_affected", "justification": "component_not_present", "impact_statement": "it is not there"}`),
			[]vex.Statement{{Vulnerability: "CVE-2026-1000", Aliases: []string{"GHSA-x"}, Products: []vex.Product{image}, Status: vex.NotAffected, Justification: "component_not_present", Remark: "it is not there", Issued: at("2026-01-02T03:04:05Z")}}},
		"packages within an image": {openVEX(`{"vulnerability": {"@id": "CVE-2026-1000"}, "timestamp": "2026-02-02T00:00:00Z", "products": [{"@id": "app", "hashes": {"sha-256": "` + strings.Repeat("a", 64) + `"},
			"subcomponents": [{"@id": "pkg:deb/debian/curl@7.88.1-10?arch=amd64"}, {"identifiers": {"purl": "pkg:npm/%40scope/a"}}]}], "status": "fixed"}`),
			[]vex.Statement{{Vulnerability: "CVE-2026-1000", Products: []vex.Product{{Image: image.Image, Package: "pkg:deb/debian/curl@7.88.1-10"}, {Image: image.Image, Package: "pkg:npm/@scope/a"}}, Status: vex.Fixed, Issued: at("2026-02-02T00:00:00Z")}}},
		"0.0.1": {`{"@context": "https://openvex.dev/ns", "@id": "x", "author": "a", "timestamp": "2026-01-02T03:04:05Z", "statements": [
			{"vulnerability": "CVE-2026-1000", "products": ["pkg:oci/app@` + digest + `"], "subcomponents": ["pkg:golang/example.org/m@v1.0.0"], "status": "under_investigation"}]}`,
			[]vex.Statement{{Vulnerability: "CVE-2026-1000", Products: []vex.Product{{Image: image.Image, Package: "pkg:golang/example.org/m@v1.0.0"}}, Status: vex.UnderInvestigation, Issued: at("2026-01-02T03:04:05Z")}}},
		"a package anywhere": {openVEX(`{"vulnerability": {"name": "CVE-2026-1000"}, "products": [{"@id": "pkg:Maven/org.example/a"}], "status": "affected", "status_notes": "soon"}`),
			[]vex.Statement{{Vulnerability: "CVE-2026-1000", Products: []vex.Product{{Package: "pkg:maven/org.example/a"}}, Status: vex.Affected, Remark: "soon", Issued: at("2026-01-02T03:04:05Z")}}},
		"CycloneDX": {cyclone(
			`{"id": "CVE-2026-1000", "references": [{"id": "GHSA-x", "source": {}}], "analysis": {"state": "not_affected", "justification": "code_not_reachable", "detail": "no"}, "affects": [{"ref": "image"}, {"ref": "inner"}]}`,
			`{"id": "CVE-2026-2000", "analysis": {"state": "resolved", "lastUpdated": "2026-03-01T00:00:00Z"}, "affects": [{"ref": "urn:cdx:3e671687-395b-41f5-a30f-a58921a69b79/1#pkg:deb/debian/curl"}]}`,
			`{"id": "CVE-2026-3000", "analysis": {"state": "false_positive"}, "affects": [{"ref": "curl-1"}]}`,
			`{"id": "CVE-2026-4000", "affects": [{"ref": "curl-1"}]}`),
			[]vex.Statement{
				{Vulnerability: "CVE-2026-1000", Aliases: []string{"GHSA-x"}, Products: []vex.Product{image, {Package: "pkg:npm/@scope/a@1.0.0"}}, Status: vex.NotAffected, Justification: "vulnerable_code_not_in_execute_path", Remark: "no", Issued: at("2026-01-02T03:04:05Z")},
				{Vulnerability: "CVE-2026-2000", Products: []vex.Product{{Package: "pkg:deb/debian/curl"}}, Status: vex.Fixed, Issued: at("2026-03-01T00:00:00Z")},
				{Vulnerability: "CVE-2026-3000", Products: []vex.Product{{Package: "pkg:deb/debian/curl@7.88.1-10"}}, Status: vex.NotAffected, Remark: "false positive", Issued: at("2026-01-02T03:04:05Z")},
			}},
	} {
		for _, mark := range []string{"", "\ufeff"} {
			d, err := vex.Read([]byte(mark + tt.text))
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			if diff := cmp.Diff(tt.want, d.Statements); diff != "" {
				t.Errorf("%s (-want +got)\n%s", name, diff)
			}
			if d.ID == "" || d.Issued != at("2026-01-02T03:04:05Z") {
				t.Errorf("%s: got %+v", name, d)
			}
		}
	}
}

func TestBadDocuments(t *testing.T) {
	statement := func(more string) string {
		return openVEX(`{"vulnerability": {"name": "CVE-2026-1000"}, "products": [{"@id": "pkg:deb/debian/curl"}]` + more + `}`)
	}
	for name, tt := range map[string]struct{ text, says string }{
		"empty":               {"", "no JSON object"},
		"a list":              {"[]", "no JSON object"},
		"something else":      {`{"bomFormat": "SPDX"}`, "neither OpenVEX"},
		"cut off":             {openVEX()[:80], "no JSON object"},
		"no statements":       {openVEX(), "says nothing"},
		"no id":               {strings.Replace(statement(`, "status": "fixed"`), "https://example.com/vex/1", "", 1), "has no id"},
		"no status":           {statement(``), "none of not_affected"},
		"odd status":          {statement(`, "status": "fine"`), `"fine" is none of`},
		"no reason":           {statement(`, "status": "not_affected"`), "needs a justification"},
		"no vulnerability":    {strings.Replace(statement(`, "status": "fixed"`), "CVE-2026-1000", "", 1), "names no vulnerability"},
		"no products":         {openVEX(`{"vulnerability": "CVE-2026-1000", "status": "fixed"}`), "names no product"},
		"an image by name":    {openVEX(`{"vulnerability": "CVE-2026-1000", "products": ["pkg:oci/app?tag=1"], "status": "fixed"}`), "names no product"},
		"odd subcomponent":    {openVEX(`{"vulnerability": "CVE-2026-1000", "products": [{"@id": "` + digest + `", "subcomponents": [{"@id": "curl"}]}], "status": "fixed"}`), `"curl" is no package URL`},
		"control character":   {statement(`, "status": "fixed", "status_notes": "a\u001b[31m"`), "control character"},
		"long":                {statement(`, "status": "fixed", "status_notes": "` + strings.Repeat("x", 5000) + `"`), "longer than"},
		"too large":           {statement(strings.Repeat(" ", vex.MaxBytes)), "more than"},
		"unknown reference":   {cyclone(`{"id": "CVE-2026-1000", "analysis": {"state": "resolved"}, "affects": [{"ref": "none"}]}`), "no component of the document"},
		"odd state":           {cyclone(`{"id": "CVE-2026-1000", "analysis": {"state": "odd"}, "affects": [{"ref": "image"}]}`), `"odd" is none of`},
		"CycloneDX of no use": {cyclone(), "says nothing"},
		"numbers":             {`{"@context": "https://openvex.dev/ns/v0.2.0", "@id": 5}`, "no OpenVEX"},
	} {
		_, err := vex.Read([]byte(tt.text))
		if k := tidewaiter.KindOf(err); err == nil || k != tidewaiter.Invalid && k != tidewaiter.TooLarge || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: got %v, want %q", name, err, tt.says)
		}
	}
}

func TestInForce(t *testing.T) {
	one := func(day int, status, products string) string {
		return fmt.Sprintf(`{"vulnerability": "CVE-2026-1000", "timestamp": "2026-01-%02dT00:00:00Z", "products": [%s], "status": %q, "impact_statement": "day %d"}`, day, products, status, day)
	}
	a, b := `"`+digest+`"`, `"`+another+`"`
	d, err := vex.Read([]byte(openVEX(one(3, "affected", a), one(1, "not_affected", a+","+b+","+b), one(2, "fixed", b), one(2, "under_investigation", b))))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range d.InForce() {
		for _, p := range s.Products {
			got = append(got, fmt.Sprint(s.Status, " ", string(p.Image[7:8]), " ", s.Handles()))
		}
	}
	if diff := cmp.Diff([]string{"affected a false", "under_investigation b false"}, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(openVEX(`{"vulnerability": {"name": "CVE-2026-1000"}, "products": [{"@id": "pkg:oci/app@` + digest + `", "subcomponents": [{"@id": "pkg:deb/debian/curl"}]}], "status": "fixed"}`)))
	f.Add([]byte(openVEX(`{"vulnerability": "CVE-2026-1000", "products": ["pkg:npm/%40a/b@1"], "status": "affected"}`)))
	f.Add([]byte(cyclone(`{"id": "CVE-2026-1000", "analysis": {"state": "resolved"}, "affects": [{"ref": "image"}]}`)))
	f.Fuzz(func(t *testing.T, text []byte) {
		d, err := vex.Read(text)
		if err != nil {
			if k := tidewaiter.KindOf(err); k != tidewaiter.Invalid && k != tidewaiter.TooLarge {
				t.Error(err)
			}
			return
		}
		if d.ID == "" || len(d.Statements) == 0 || len(d.InForce()) == 0 {
			t.Errorf("got %+v", d)
		}
		for _, s := range d.Statements {
			for _, p := range s.Products {
				if p == (vex.Product{}) || p.Package != "" && !strings.HasPrefix(p.Package, "pkg:") {
					t.Errorf("got %+v", p)
				}
			}
		}
	})
}
