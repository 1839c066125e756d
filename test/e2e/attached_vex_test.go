//go:build linux

package e2e

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// attachTo makes an artifact with one document that refers to an image, as oras
// attach does.
func attachTo(t testing.TB, subject v1.Image, mediaType types.MediaType, text string) v1.Image {
	t.Helper()
	digest, err := subject.Digest()
	if err != nil {
		t.Fatal(err)
	}
	size, err := subject.Size()
	if err != nil {
		t.Fatal(err)
	}
	kind, err := subject.MediaType()
	if err != nil {
		t.Fatal(err)
	}
	artifact, err := mutate.Append(mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), mediaType),
		mutate.Addendum{Layer: static.NewLayer([]byte(text), mediaType)})
	if err != nil {
		t.Fatal(err)
	}
	return mutate.Subject(artifact, v1.Descriptor{MediaType: kind, Digest: digest, Size: size}).(v1.Image)
}

// openVEXDocument says that bash is in order.
func openVEXDocument(id string) string {
	return fmt.Sprintf(`{"@context": "https://openvex.dev/ns/v0.2.0", "@id": %q, "author": "Harbour Security", "timestamp": "2026-01-01T00:00:00Z",
		"statements": [{"vulnerability": {"name": "CVE-2026-1000"}, "status": "not_affected", "justification": "vulnerable_code_not_in_execute_path", "products": ["pkg:deb/debian/bash"]}]}`, id)
}

// VEX documents that are attached to images, in registries with referrers and
// without, as they are and in an attestation.
func TestAttachedVEX(t *testing.T) {
	s := startTidewaiter(t, "--sync-at", "off")
	tidewaiter := func(args ...string) string {
		t.Helper()
		return output(t, command(nil, tidewaiterProgram(t), append(args, "--data", s.Data)...), "")
	}
	advisory := filepath.Join(t.TempDir(), "bash.json")
	if err := os.WriteFile(advisory, []byte(`{"schema_version": "1.7.0", "id": "DEBIAN-CVE-2026-1000", "modified": "2026-01-01T00:00:00Z", "aliases": ["CVE-2026-1000"],
		"affected": [{"package": {"ecosystem": "Debian:12", "name": "bash"}, "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}]}]}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	tidewaiter("advisories", "import", advisory)
	for _, product := range []string{dockerRegistry, distribution, olareg} {
		t.Run(filepath.Base(product), func(t *testing.T) {
			o := registryOptions{Product: product}
			if product != olareg {
				o.User, o.Password = "alice", "Pl4nted-Pa55word"
			}
			r := startRegistry(t, o)
			name := "vex " + strings.Split(filepath.Base(product), "-v")[0]
			namespace := strings.ReplaceAll(strings.ReplaceAll(name, " ", "-"), ".", "-")
			repository := func(s string) string { return namespace + "/" + s }
			images := make(map[string]v1.Image)
			for _, word := range []string{"plain", "attested", "bare"} {
				images[word] = imageOf(t, "amd64", baseLayer(t, name+word, 100))
				r.Push(t, repository(word), "1", images[word])
			}
			r.Push(t, repository("plain"), "vex", attachTo(t, images["plain"], "application/vnd.openvex+json", openVEXDocument("one")))
			digest, err := images["attested"].Digest()
			if err != nil {
				t.Fatal(err)
			}
			statement := fmt.Sprintf(`{"_type": "https://in-toto.io/Statement/v0.1", "subject": [{"name": "x", "digest": {"sha256": %q}}], "predicateType": "https://openvex.dev/ns", "predicate": %s}`,
				digest.Hex, openVEXDocument("two"))
			envelope := fmt.Sprintf(`{"payloadType": "application/vnd.in-toto+json", "payload": %q, "signatures": []}`, base64.StdEncoding.EncodeToString([]byte(statement)))
			attestation, err := mutate.Append(mutate.MediaType(empty.Image, types.OCIManifestSchema1),
				mutate.Addendum{Layer: static.NewLayer([]byte(envelope), "application/vnd.dsse.envelope.v1+json"), Annotations: map[string]string{"predicateType": "https://openvex.dev/ns"}})
			if err != nil {
				t.Fatal(err)
			}
			r.Push(t, repository("attested"), strings.Replace(digest.String(), ":", "-", 1)+".att", attestation)

			id := s.addRegistry(t, r.connection(name, "local"))
			if product == olareg {
				s.set(t, id, settings{"repositories": []string{repository("plain"), repository("attested"), repository("bare")}})
			}
			s.awaitRegistry(t, id, "success")
			s.sync(t, id)
			want := func(when string, numbers ...int32) {
				t.Helper()
				s.scanned(t, s.scanAll(t), scanPatience, len(s.statuses(t)))
				for i, word := range []string{"plain", "attested", "bare"} {
					if got := *s.image(t, repository(word)+":1").VulNum; got != numbers[i] {
						t.Errorf("%s, %s has %d vulnerabilities, want %d", when, word, got, numbers[i])
					}
				}
			}
			want("without trust", 1, 1, 1)
			tidewaiter("vex", "trust", name)
			want("with trust", 0, 0, 1)
			list := tidewaiter("vex", "attached", name)
			for _, words := range []string{"one", "two", "Harbour Security"} {
				if !strings.Contains(list, words) {
					t.Errorf("%q is not in the list:\n%s", words, list)
				}
			}
			tidewaiter("vex", "distrust", name)
			want("without trust again", 1, 1, 1)
		})
	}
}
