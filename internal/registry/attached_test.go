package registry_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/registry"
)

const (
	openVEXMedia = "application/vnd.openvex+json"
	emptyConfig  = "application/vnd.oci.empty.v1+json"
)

// attach stores a manifest that refers to another, with one document.
func (s *store) attach(artifactType, layerType, text string, subject desc) desc {
	config := s.blob(emptyConfig, "{}")
	d := s.put("", tidewaiter.MediaTypeOCIManifest, map[string]any{
		"artifactType": artifactType, "config": config, "layers": []desc{s.blob(layerType, text)}, "subject": subject,
	})
	d["artifactType"] = artifactType
	return d
}

// list stores an index of referrers as the answer of the referrers API, or under
// a tag.
func (s *store) list(api bool, subject desc, referrers ...desc) {
	digest := string(subject["digest"].(tidewaiter.Digest))
	tag := ""
	if !api {
		tag = strings.Replace(digest, ":", "-", 1)
	}
	index := s.put(tag, tidewaiter.MediaTypeOCIIndex, map[string]any{"manifests": referrers})
	if api {
		s.referrers[digest] = s.manifests[string(index["digest"].(tidewaiter.Digest))].body
	}
}

func attachedLimits() registry.AttachedLimits {
	return registry.AttachedLimits{Documents: 5, Bytes: 200, Total: 300}
}

// texts returns what is attached, as text or problem.
func texts(t *testing.T, c *registry.Client, subject desc) (list []string) {
	t.Helper()
	got, err := c.Attached(t.Context(), "team/app", subject["digest"].(tidewaiter.Digest), attachedLimits())
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range got {
		if (a.Problem == "") == (a.Bytes == nil) {
			t.Errorf("%s has %d bytes and the problem %q", a.Digest, len(a.Bytes), a.Problem)
		}
		list = append(list, string(a.Bytes)+a.Problem)
	}
	return list
}

func TestAttached(t *testing.T) {
	s, c := newStore(t)
	image := s.image("v1", ociLayer, "linux", nil)
	if got := texts(t, c, image); got != nil {
		t.Errorf("nothing is attached, got %q", got)
	}
	vex := s.attach(openVEXMedia, openVEXMedia, "vex", image)
	s.list(false, image, vex,
		s.attach("application/spdx+json", "application/spdx+json", "spdx", image),
		s.attach("application/vnd.dev.cosign.simplesigning.v1+json", "application/json", "signature", image))
	want := []string{"vex"}
	if diff := cmp.Diff(want, texts(t, c, image)); diff != "" {
		t.Errorf("by tag (-want +got)\n%s", diff)
	}

	// The API comes first. What names another image is not taken, and what attests
	// something else is not even fetched.
	other := s.image("v2", ociLayer, "linux", nil)
	provenance := s.attach("application/vnd.in-toto+json", "application/vnd.in-toto+json", "provenance", image)
	provenance["annotations"] = map[string]string{"in-toto.io/predicate-type": "https://slsa.dev/provenance/v1"}
	s.list(true, image, s.attach("application/vnd.dev.sigstore.bundle.v0.3+json", "application/vnd.dev.sigstore.bundle.v0.3+json", "bundle", image), provenance,
		s.attach(openVEXMedia, openVEXMedia, "of another", other), vex, vex)
	want = []string{"bundle", "the registry lists it, and its manifest says that it is attached to another image", "vex"}
	if diff := cmp.Diff(want, texts(t, c, image)); diff != "" {
		t.Errorf("by the API (-want +got)\n%s", diff)
	}

	// Under cosign's tag, beside them.
	digest := string(image["digest"].(tidewaiter.Digest))
	predicate := func(of string) map[string]string { return map[string]string{"predicateType": of} }
	sbom, openvex := s.blob("application/vnd.dsse.envelope.v1+json", "sbom"), s.blob("application/vnd.dsse.envelope.v1+json", "envelope")
	sbom["annotations"], openvex["annotations"] = predicate("https://spdx.dev/Document"), predicate("https://openvex.dev/ns")
	s.put(strings.Replace(digest, ":", "-", 1)+".att", tidewaiter.MediaTypeOCIManifest, map[string]any{
		"config": s.blob(tidewaiter.MediaTypeOCIConfig, "{}"), "layers": []desc{sbom, openvex},
	})
	if diff := cmp.Diff(append(want, "envelope"), texts(t, c, image)); diff != "" {
		t.Errorf("with cosign's (-want +got)\n%s", diff)
	}
}

func TestAttachedBadly(t *testing.T) {
	s, c := newStore(t)
	image := s.image("v1", ociLayer, "linux", nil)
	large := s.attach(openVEXMedia, openVEXMedia, strings.Repeat("a", 201), image)
	first := s.attach(openVEXMedia, openVEXMedia, strings.Repeat("b", 200), image)
	second := s.attach(openVEXMedia, openVEXMedia, strings.Repeat("c", 101), image)
	gone := s.attach(openVEXMedia, openVEXMedia, "gone", image)
	delete(s.blobs, string(tidewaiter.DigestOf([]byte("gone"))))
	lost := desc{"mediaType": tidewaiter.MediaTypeOCIManifest, "digest": diffID, "size": 5, "artifactType": openVEXMedia}
	s.list(true, image, large, first, second, gone, lost)
	got := texts(t, c, image)
	for i, says := range []string{"more than 200", strings.Repeat("b", 200), "together have more than 300", "it cannot be read", "its manifest cannot be read"} {
		if len(got) != 5 || !strings.Contains(got[i], says) {
			t.Fatalf("document %d of %d: got %q, want %q", i, len(got), got, says)
		}
	}

	// Another blob than the one asked for.
	swapped := s.attach(openVEXMedia, openVEXMedia, "honest", image)
	s.blobs[string(tidewaiter.DigestOf([]byte("honest")))] = []byte("liar!!")
	s.list(true, image, swapped)
	if got := texts(t, c, image); len(got) != 1 || !strings.Contains(got[0], "it cannot be read") {
		t.Errorf("another blob: %q", got)
	}

	// Too many.
	var many []desc
	for _, text := range strings.Fields("1 2 3 4 5 6 7 8") {
		many = append(many, s.attach(openVEXMedia, openVEXMedia, text, image))
	}
	s.list(true, image, many...)
	if got := texts(t, c, image); len(got) != 5 || got[3] != "4" || !strings.Contains(got[4], "too many documents") {
		t.Errorf("many: %q", got)
	}

	// Each costs a request, and there is an end to them; the same twice is told once.
	many = nil
	for range 3 {
		many = append(many, lost)
	}
	for i := range 100 {
		many = append(many, s.attach(openVEXMedia, "application/pdf", strings.Repeat("p", i), image))
	}
	s.list(true, image, many...)
	clear(s.served)
	if got := texts(t, c, image); len(got) != 2 || !strings.Contains(got[0], "its manifest cannot be read") || !strings.Contains(got[1], "too many documents") {
		t.Errorf("without end: %q", got)
	}
	if n := len(s.served); n > 2*attachedLimits().Documents+5 {
		t.Errorf("%d things were asked for", n)
	}

	// What all would have is an error: nothing is known.
	digest := image["digest"].(tidewaiter.Digest)
	for body, says := range map[string]string{
		"hello": "no JSON", `{"schemaVersion": 2, "layers": []}`: "an index has layers",
		`{"schemaVersion": 2, "manifests": [{"digest": "sha256:x"}]}`: "a digest that is none",
	} {
		s.referrers[string(digest)] = body
		if _, err := c.Attached(t.Context(), "team/app", digest, attachedLimits()); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: got %v", body, err)
		}
	}
	for _, status := range []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusServiceUnavailable} {
		s.failing = status
		if _, err := c.Attached(t.Context(), "team/app", digest, attachedLimits()); err == nil {
			t.Errorf("status %d is no error", status)
		}
	}
	s.failing = 0
	if _, err := c.Attached(t.Context(), "../app", digest, attachedLimits()); tidewaiter.KindOf(err) != tidewaiter.Invalid {
		t.Errorf("an odd repository: %v", err)
	}
	if _, err := c.Attached(t.Context(), "team/app", "sha256:x", attachedLimits()); tidewaiter.KindOf(err) != tidewaiter.Invalid {
		t.Errorf("an odd digest: %v", err)
	}
}

// TestReferrerPages follows links, and not for ever.
func TestReferrerPages(t *testing.T) {
	s, c := newStore(t)
	image := s.image("v1", ociLayer, "linux", nil)
	digest := image["digest"].(tidewaiter.Digest)
	s.list(true, image, s.attach(openVEXMedia, openVEXMedia, "one", image))
	one := s.referrers[string(digest)]
	s.list(true, image, s.attach(openVEXMedia, openVEXMedia, "two", image))
	s.pages = []string{one, s.referrers[string(digest)]}
	found, err := c.Referrers(t.Context(), "team/app", digest)
	if err != nil || len(found) != 2 {
		t.Errorf("got %d, %v", len(found), err)
	}
	s.pages = append(s.pages, s.pages[1])
	if _, err := c.Referrers(t.Context(), "team/app", digest); tidewaiter.KindOf(err) != tidewaiter.Invalid {
		t.Errorf("the same page twice: %v", err)
	}
}
