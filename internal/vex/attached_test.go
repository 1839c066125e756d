package vex_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/vex"
)

// attested is an in-toto statement about an image.
func attested(predicateType, image, predicate string) string {
	return fmt.Sprintf(`{"_type": "https://in-toto.io/Statement/v1", "subject": [{"name": "app", "digest": {"sha256": %q}}], "predicateType": %q, "predicate": %s}`,
		strings.TrimPrefix(image, "sha256:"), predicateType, predicate)
}

func enveloped(statement string) string {
	return `{"payloadType": "application/vnd.in-toto+json", "payload": "` + base64.StdEncoding.EncodeToString([]byte(statement)) + `", "signatures": [{"sig": "x"}]}`
}

func bundled(envelope string) string {
	return `{"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json", "verificationMaterial": {}, "dsseEnvelope": ` + envelope + `}`
}

const openVEXType = "https://openvex.dev/ns/v0.2.0"

func TestReadAttached(t *testing.T) {
	bare := openVEX(`{"vulnerability": "CVE-2026-1000", "products": ["pkg:deb/debian/curl"], "status": "fixed"}`)
	other := "sha256:" + strings.Repeat("b", 64)
	bom := cyclone(`{"id": "CVE-2026-1000", "analysis": {"state": "resolved"}, "affects": [{"ref": "image"}]}`)
	for name, tt := range map[string]struct {
		text  string
		isVEX bool
		says  string // of the error
	}{
		"a document":                      {bare, true, ""},
		"a statement":                     {attested(openVEXType, digest, bare), true, ""},
		"an envelope":                     {enveloped(attested(openVEXType, digest, bare)), true, ""},
		"a bundle":                        {bundled(enveloped(attested(openVEXType, digest, bare))), true, ""},
		"CycloneDX":                       {bom, true, ""},
		"CycloneDX, attested":             {attested("https://cyclonedx.org/bom/v1.5", digest, bom), true, ""},
		"of an older statement":           {strings.Replace(attested(openVEXType, digest, bare), "Statement/v1", "Statement/v0.1", 1), true, ""},
		"provenance":                      {enveloped(attested("https://slsa.dev/provenance/v1", digest, `{}`)), false, ""},
		"provenance of another":           {attested("https://slsa.dev/provenance/v1", other, `{}`), false, ""},
		"a bill of materials":             {cyclone(`{"id": "CVE-2026-1000", "affects": [{"ref": "image"}]}`), false, ""},
		"one without vulnerabilities":     {cyclone(), false, ""},
		"SPDX":                            {`{"spdxVersion": "SPDX-2.3"}`, false, ""},
		"a signature":                     {`{"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json", "messageSignature": {}}`, false, ""},
		"of another image":                {attested(openVEXType, other, bare), false, "none of its subjects"},
		"of nothing":                      {strings.Replace(attested(openVEXType, digest, bare), `"subject": [`, `"subject": [], "x": [`, 1), false, "none of its subjects"},
		"no base64":                       {`{"payloadType": "application/vnd.in-toto+json", "payload": "%"}`, false, "no in-toto statement"},
		"another payload":                 {`{"payloadType": "text/plain", "payload": "aGk="}`, false, ""},
		"no JSON":                         {"hello", false, "no JSON object"},
		"no JSON inside":                  {enveloped("hello"), false, "no JSON object"},
		"a list":                          {"[]", false, "no JSON object"},
		"envelopes around envelopes":      {enveloped(enveloped(enveloped(enveloped(bare)))), false, "one envelope around the other"},
		"a version to come":               {strings.Replace(bare, "v0.2.0", "v9.0.0", 1), false, "not known"},
		"a statement that says nothing":   {openVEX(`{"vulnerability": "CVE-2026-1000", "products": [], "status": "fixed"}`), false, "names no product"},
		"no predicate":                    {strings.Replace(attested(openVEXType, digest, bare), `"predicate": {`, `"x": {`, 1), false, "no JSON object"},
		"vulnerabilities of another kind": {strings.Replace(cyclone(), `"vulnerabilities": []`, `"vulnerabilities": 5`, 1), false, "the form has a list"},
	} {
		d, isVEX, err := vex.ReadAttached([]byte(tt.text), []tidewaiter.Digest{"sha256:" + tidewaiter.Digest(strings.Repeat("c", 64)), tidewaiter.Digest(digest)})
		if isVEX != tt.isVEX || (err == nil) != (tt.says == "") || err != nil && !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: got %v, %v", name, isVEX, err)
		}
		if isVEX != (len(d.Statements) == 1) {
			t.Errorf("%s: got %d statements", name, len(d.Statements))
		}
	}
}

func TestOfImage(t *testing.T) {
	image, child, other := tidewaiter.Digest(digest), tidewaiter.Digest("sha256:"+strings.Repeat("c", 64)), "sha256:"+strings.Repeat("b", 64)
	read := func(id, timestamp string, statements ...string) vex.Document {
		t.Helper()
		text := strings.NewReplacer("https://example.com/vex/1", id, "2026-01-02T03:04:05Z", timestamp).Replace(openVEX(statements...))
		d, err := vex.Read([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	say := func(vulnerability, status string, products ...string) string {
		return fmt.Sprintf(`{"vulnerability": %q, "status": %q, "justification": "component_not_present", "products": ["%s"]}`, vulnerability, status, strings.Join(products, `","`))
	}
	old := read("one", "2026-01-01T00:00:00Z", say("CVE-2026-1000", "not_affected", digest), say("CVE-2026-2000", "fixed", "pkg:npm/a", other))
	second := read("two", "2026-01-03T00:00:00Z", say("CVE-2026-1000", "affected", digest), say("CVE-2026-3000", "fixed", other), say("CVE-2026-4000", "fixed", string(child)))
	later := read("one", "2026-01-02T00:00:00Z", say("CVE-2026-5000", "fixed", digest))

	show := func(documents ...vex.Document) (list []string) {
		for _, s := range vex.OfImage(documents, image, []tidewaiter.Digest{child}) {
			for _, p := range s.Products {
				list = append(list, fmt.Sprint(s.Document, " ", s.Vulnerability, " ", s.Status, " ", p.Image[7:9], " ", p.Package))
			}
		}
		return list
	}
	// What another document says later of the same counts; what is said of other
	// images does not, and a package is one in this image.
	want := []string{"one CVE-2026-2000 fixed aa pkg:npm/a", "two CVE-2026-1000 affected aa ", "two CVE-2026-4000 fixed cc "}
	if diff := cmp.Diff(want, show(old, second)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	for _, order := range [][]vex.Document{{old, second, later}, {later, old, second}} {
		var latest []vex.Document
		for _, i := range vex.Latest(order) {
			latest = append(latest, order[i])
		}
		got := show(latest...)
		if len(latest) != 2 || len(got) != 3 || !strings.Contains(strings.Join(got, "\n"), "one CVE-2026-5000 fixed aa") {
			t.Errorf("got %d documents, %q", len(latest), got)
		}
	}
	if got := show(); got != nil {
		t.Errorf("of no document: %q", got)
	}
}

func FuzzReadAttached(f *testing.F) {
	bare := openVEX(`{"vulnerability": "CVE-2026-1000", "products": ["pkg:npm/%40a/b@1"], "status": "affected"}`)
	f.Add([]byte(bare))
	f.Add([]byte(attested(openVEXType, digest, bare)))
	f.Add([]byte(bundled(enveloped(attested(openVEXType, digest, bare)))))
	f.Add([]byte(cyclone(`{"id": "CVE-2026-1000", "analysis": {"state": "resolved"}, "affects": [{"ref": "image"}]}`)))
	image := []tidewaiter.Digest{tidewaiter.Digest(digest)}
	f.Fuzz(func(t *testing.T, text []byte) {
		d, isVEX, err := vex.ReadAttached(text, image)
		if err != nil {
			if k := tidewaiter.KindOf(err); k != tidewaiter.Invalid && k != tidewaiter.TooLarge {
				t.Error(err)
			}
			if isVEX || len(d.Statements) > 0 {
				t.Error("there is something beside the error")
			}
			return
		}
		if isVEX == (len(d.Statements) == 0) {
			t.Errorf("VEX: %v, with %d statements", isVEX, len(d.Statements))
		}
		for _, s := range vex.OfImage([]vex.Document{d}, image[0], nil) {
			for _, p := range s.Products {
				if p.Image != image[0] {
					t.Errorf("it is about %q", p.Image)
				}
			}
		}
	})
}
