package vex_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/vex"
)

var digest = "sha256:" + strings.Repeat("a", 64)

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
			`{"id": "CVE-2026-2000", "analysis": {"state": "resolved", "lastUpdated": "2026-03-01T00:00:00Z"}, "affects": [{"ref": "urn:cdx:00000000-395b-41f5-a30f-a58921a69b79/1#pkg:deb/debian/curl"}]}`,
			`{"id": "CVE-2026-3000", "analysis": {"state": "false_positive"}, "affects": [{"ref": "curl-1"}]}`,
			`{"id": "CVE-2026-4000", "affects": [{"ref": "curl-1"}]}`),
			[]vex.Statement{
				{Vulnerability: "CVE-2026-1000", Aliases: []string{"GHSA-x"}, Products: []vex.Product{image, {Image: image.Image, Package: "pkg:npm/@scope/a@1.0.0"}}, Status: vex.NotAffected, Justification: "vulnerable_code_not_in_execute_path", Remark: "no", Issued: at("2026-01-02T03:04:05Z")},
				{Vulnerability: "CVE-2026-2000", Products: []vex.Product{{Package: "pkg:deb/debian/curl"}}, Status: vex.Fixed, Issued: at("2026-03-01T00:00:00Z")},
				{Vulnerability: "CVE-2026-3000", Products: []vex.Product{{Image: image.Image, Package: "pkg:deb/debian/curl@7.88.1-10"}}, Status: vex.NotAffected, Remark: "false positive", Issued: at("2026-01-02T03:04:05Z")},
			}},
	} {
		for _, mark := range []string{"", "\ufeff"} {
			d, err := vex.Read([]byte(mark + tt.text))
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			for i := range tt.want {
				tt.want[i].Document = d.ID
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

// short has a statement in one line.
func short(s vex.Statement) string {
	words := []string{string(s.Status), strings.Join(s.Names(), "=")}
	for _, p := range s.Products {
		image := ""
		if p.Image != "" {
			image = string(p.Image)[:14]
		}
		words = append(words, image+"|"+p.Package)
	}
	for _, word := range []string{s.Justification, s.Remark} {
		if word == "" {
			word = "-"
		}
		words = append(words, word)
	}
	return strings.Join(append(words, s.Issued.UTC().Format(time.RFC3339)), " ")
}

// TestDocuments reads documents as tools and vendors write them.
func TestDocuments(t *testing.T) {
	for file, want := range map[string][]string{
		"openvex-0.0.1.json": {"https://openvex.dev/docs/example/vex-9fb3463de1b57 Wolfi J Inkinson",
			"fixed CVE-2023-12345 |pkg:apk/wolfi/git@2.39.0-r1 |pkg:apk/wolfi/git@2.39.0-r1 - - 2023-01-09T00:02:03Z",
			"not_affected CVE-2023-12346 sha256:124c7d2|pkg:apk/wolfi/bash@1.0.0 component_not_present - 2023-01-10T00:00:00Z"},
		"openvex-0.2.0.json": {"https://openvex.dev/docs/public/vex-d4e9020b The OpenVEX Project <openvex@openssf.org>",
			"fixed CVE-2023-1255 sha256:124c7d2|pkg:apk/alpine/libssl3@3.0.8-r3 sha256:124c7d2|pkg:apk/alpine/libcrypto3@3.0.8-r3 - - 2023-07-18T00:28:47Z",
			"not_affected CVE-2019-17571=GHSA-2qrg-x229-3v8q=openSUSE-SU-2020:0051-1 |pkg:maven/log4j/log4j@1.2.17 vulnerable_code_not_in_execute_path SocketServer is never\nstarted. 2023-07-20T00:00:00Z",
			"affected CVE-2021-44228 |pkg:rpm/redhat/log4j@1:2.14-1.el9 - see the ticket 2023-07-18T00:28:47Z",
			"under_investigation CVE-2023-2975 sha256:124c7d2| - - 2023-07-18T00:28:47Z"},
		// What is said of modules within a program is not said of them elsewhere.
		"openvex-modules.json": {"statements[0]: it names no product that is an image with its digest (pkg:oci/name@sha256:…), a package within one, or a package (pkg:deb/debian/curl); a package within a package cannot be told apart here"},
		"cyclonedx-1.4-link.json": {"urn:uuid:cbb2cd68-2857-43b8-a10b-e8c03d277d18 ",
			"not_affected CVE-2020-25649=SNYK-JAVA-COMFASTERXMLJACKSONCORE-1048302 |pkg:maven/com.fasterxml.jackson.core/jackson-databind@2.10.0 vulnerable_code_not_in_execute_path Not reachable, directly or indirectly. 0001-01-01T00:00:00Z",
			"fixed CVE-2021-45105 |pkg:maven/org.apache.logging.log4j/log4j-core@2.17.0 sha256:124c7d2| - - 0001-01-01T00:00:00Z"},
		"cyclonedx-1.5-versions.json": {"urn:uuid:9d64577b-0376-4ee7-b154-5ec26a1803f4 The Apache Software Foundation",
			"affected CVE-2025-48924=GHSA-j288-q9x7-2f5v |pkg:maven/org.apache.commons/commons-text - Update it. 2025-07-29T12:26:42Z",
			"not_affected CVE-2025-48924 |pkg:maven/org.apache.commons/commons-text@1.4 |pkg:maven/org.apache.commons/commons-text@1.14.1 vulnerable_code_not_present - 2025-07-30T00:00:00Z",
			"fixed CVE-2022-42889 |pkg:maven/org.apache.commons/commons-text@1.10.0 - - 2025-07-29T12:26:42Z"},
		"cyclonedx-1.6-image.json": {"urn:uuid:3e671687-395b-41f5-a30f-a58921a69b79 Harbour Security",
			"not_affected CVE-2026-1000 sha256:124c7d2|pkg:deb/debian/libcurl4@7.88.1-10+deb12u5 requires_configuration - 2026-01-02T03:04:05Z",
			"not_affected CVE-2026-1001 sha256:124c7d2|pkg:maven/org.example/inner@1 inline_mitigations_already_exist - 2026-01-02T03:04:05Z",
			"under_investigation CVE-2026-1002 sha256:124c7d2| sha256:402fa52|pkg:npm/@scope/sidecar@2.0.0 - - 2026-01-02T03:04:05Z"},
	} {
		text, err := os.ReadFile(filepath.Join("testdata", file))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		if d, err := vex.Read(text); err != nil {
			got = []string{err.Error()}
		} else {
			got = []string{d.ID + " " + d.Author}
			for _, s := range d.Statements {
				got = append(got, short(s))
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got)\n%s", file, diff)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(openVEX(`{"vulnerability": {"name": "CVE-2026-1000"}, "products": [{"@id": "pkg:oci/app@` + digest + `", "subcomponents": [{"@id": "pkg:deb/debian/curl"}]}], "status": "fixed"}`)))
	f.Add([]byte(openVEX(`{"vulnerability": "CVE-2026-1000", "products": ["pkg:npm/%40a/b@1"], "status": "affected"}`)))
	f.Add([]byte(cyclone(`{"id": "CVE-2026-1000", "analysis": {"state": "resolved"}, "affects": [{"ref": "image"}]}`)))
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) == 0 {
		f.Fatal(files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		d, err := vex.Read(text)
		if err != nil {
			if k := tidewaiter.KindOf(err); k != tidewaiter.Invalid && k != tidewaiter.TooLarge {
				t.Error(err)
			}
			if wrong, ok := errors.AsType[*tidewaiter.Error](err); !ok || wrong.Message == "" || wrong.Field == "" && wrong.Kind == tidewaiter.Invalid {
				t.Errorf("got %#v", err)
			}
			return
		}
		if d.ID == "" || len(d.Statements) == 0 || len(d.InForce()) == 0 {
			t.Errorf("got %+v", d)
		}
		for _, s := range d.Statements {
			switch {
			case s.Vulnerability == "", len(s.Products) == 0, s.Status == vex.NotAffected && s.Justification == "" && s.Remark == "":
				t.Errorf("got %+v", s)
			case !slices.Contains([]vex.Status{vex.NotAffected, vex.Affected, vex.Fixed, vex.UnderInvestigation}, s.Status):
				t.Errorf("got status %q", s.Status)
			}
			for _, p := range s.Products {
				if p == (vex.Product{}) || p.Package != "" && !strings.HasPrefix(p.Package, "pkg:") {
					t.Errorf("got %+v", p)
				}
				s.Aliases = append(s.Aliases, p.Package)
			}
			for _, text := range append(s.Names(), d.ID, d.Author, strings.NewReplacer("\n", "", "\t", "").Replace(s.Remark)) {
				if !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
					t.Errorf("got text %q", text)
				}
			}
		}
	})
}
