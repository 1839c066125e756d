package component

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

const repositoryPath = "/v2/" + Repository

// A client that knows nothing of us pulls everything, by tag and by digest.
func TestPull(t *testing.T) {
	server, b := fakeServer(t)
	repo, err := name.NewRepository(strings.TrimPrefix(server.URL, "http://") + "/" + Repository)
	check(t, err)

	for _, ref := range []name.Reference{repo.Tag(fakeVersion), repo.Digest(b.IndexDigest().String())} {
		head, err := remote.Head(ref)
		check(t, err)
		got, err := remote.Get(ref)
		check(t, err)
		if head.Digest != b.IndexDigest() || got.Digest != b.IndexDigest() || got.MediaType != types.DockerManifestList {
			t.Errorf("%s is %s, %s, of type %s", ref, head.Digest, got.Digest, got.MediaType)
		}
		index, err := remote.Index(ref)
		check(t, err)
		check(t, validate.Index(index))
	}
	for _, p := range b.Platforms() {
		for _, ref := range []name.Reference{repo.Tag(fakeVersion + "-" + p.Architecture), repo.Digest(p.Manifest.String())} {
			img, err := remote.Image(ref)
			check(t, err)
			check(t, validate.Image(img))
			config, err := img.ConfigName()
			check(t, err)
			if config != p.Config {
				t.Errorf("%s has the configuration %s, want %s", ref, config, p.Config)
			}
		}
	}
	referrers, err := remote.Referrers(repo.Digest(b.IndexDigest().String()))
	check(t, err)
	list, err := referrers.IndexManifest()
	check(t, err)
	if len(list.Manifests) != 0 {
		t.Errorf("referrers %v, want none", list.Manifests)
	}
	tags, err := remote.List(repo, remote.WithPageSize(2))
	check(t, err)
	if len(tags) != 6 {
		t.Errorf("tags %v, want 6", tags)
	}
}

// Every signature is where cosign looks for it, says what was signed, and
// verifies with the public key.
func TestSignatures(t *testing.T) {
	server, b := fakeServer(t)
	key := fakeKey(t)
	repo, err := name.NewRepository(strings.TrimPrefix(server.URL, "http://") + "/" + Repository)
	check(t, err)
	signed := []v1.Hash{b.IndexDigest()}
	for _, p := range b.Platforms() {
		signed = append(signed, p.Manifest)
	}
	for _, digest := range signed {
		img, err := remote.Image(repo.Tag("sha256-" + digest.Hex + ".sig"))
		check(t, err)
		manifest, err := img.Manifest()
		check(t, err)
		if manifest.MediaType != types.OCIManifestSchema1 || manifest.Config.MediaType != types.OCIConfigJSON || len(manifest.Layers) != 1 {
			t.Fatalf("signature manifest %+v", manifest)
		}
		layer := manifest.Layers[0]
		if layer.MediaType != "application/vnd.dev.cosign.simplesigning.v1+json" {
			t.Errorf("payload of type %s", layer.MediaType)
		}
		layers, err := img.Layers()
		check(t, err)
		r, err := layers[0].Compressed()
		check(t, err)
		text, err := io.ReadAll(r)
		check(t, err)
		want := `{"critical":{"identity":{"docker-reference":"tidewaiter/scan-component"},"image":{"docker-manifest-digest":"` +
			digest.String() + `"},"type":"cosign container image signature"},"optional":null}`
		if diff := cmp.Diff(want, string(text)); diff != "" {
			t.Errorf("payload (-want +got):\n%s", diff)
		}
		signature, err := base64.StdEncoding.DecodeString(layer.Annotations["dev.cosignproject.cosign/signature"])
		check(t, err)
		sum := sha256.Sum256(text)
		if !ecdsa.VerifyASN1(&key.private.PublicKey, sum[:], signature) {
			t.Errorf("the signature over %s does not verify", digest)
		}
	}
}

func TestRegistryErrors(t *testing.T) {
	server, b := fakeServer(t)
	layer := func() string {
		for digest, blob := range b.blobs {
			if blob.mediaType == types.DockerLayer {
				return digest.String()
			}
		}
		return ""
	}()
	unknown := "sha256:" + strings.Repeat("0", 64)
	for _, tt := range []struct {
		method, path string
		status       int
		code         string
	}{
		{"GET", "/v2/", 200, ""},
		{"HEAD", "/v2", 200, ""},
		{"GET", "/v2/_catalog", 200, ""},
		{"GET", "/v2x", 404, "plain"},
		{"GET", "/v2/nothing", 404, "NAME_UNKNOWN"},
		{"GET", "/v2//manifests/" + fakeVersion, 404, "NAME_UNKNOWN"},
		{"GET", "/v2/other/repo/manifests/" + fakeVersion, 404, "NAME_UNKNOWN"},
		{"GET", "/v2/other/repo/tags/list", 404, "NAME_UNKNOWN"},
		{"GET", repositoryPath, 404, "NAME_UNKNOWN"},
		{"GET", repositoryPath + "/manifests/", 404, "NAME_UNKNOWN"},
		{"GET", repositoryPath + "/manifests/latest", 404, "MANIFEST_UNKNOWN"},
		{"GET", repositoryPath + "/manifests/.INVALID", 404, "MANIFEST_UNKNOWN"},
		{"GET", repositoryPath + "/manifests/" + unknown, 404, "MANIFEST_UNKNOWN"},
		{"GET", repositoryPath + "/manifests/sha256:short", 400, "DIGEST_INVALID"},
		{"GET", repositoryPath + "/manifests/" + layer, 404, "MANIFEST_UNKNOWN"},
		{"GET", repositoryPath + "/blobs/" + layer, 200, ""},
		{"HEAD", repositoryPath + "/blobs/" + layer, 200, ""},
		{"GET", repositoryPath + "/blobs/" + unknown, 404, "BLOB_UNKNOWN"},
		{"GET", repositoryPath + "/blobs/" + strings.ToUpper(layer), 400, "DIGEST_INVALID"},
		{"GET", repositoryPath + "/blobs/" + fakeVersion, 400, "DIGEST_INVALID"},
		{"GET", repositoryPath + "/blobs/sha512:" + strings.Repeat("0", 128), 400, "DIGEST_INVALID"},
		{"GET", repositoryPath + "/blobs/sha256:..%2F..%2Fx", 404, "NAME_UNKNOWN"},
		{"GET", repositoryPath + "/blobs/sha256:../../x", 404, "NAME_UNKNOWN"},
		{"GET", repositoryPath + "/referrers/" + unknown, 200, ""},
		{"GET", repositoryPath + "/referrers/" + fakeVersion, 400, "DIGEST_INVALID"},
		{"GET", repositoryPath + "/tags/list?n=-1", 400, "PAGINATION_NUMBER_INVALID"},
		{"GET", repositoryPath + "/tags/list?n=x", 400, "PAGINATION_NUMBER_INVALID"},
		{"POST", repositoryPath + "/blobs/uploads/", 405, "UNSUPPORTED"},
		{"PUT", repositoryPath + "/manifests/x", 405, "UNSUPPORTED"},
		{"PATCH", repositoryPath + "/blobs/uploads/1", 405, "UNSUPPORTED"},
		{"DELETE", repositoryPath + "/manifests/" + b.IndexDigest().String(), 405, "UNSUPPORTED"},
	} {
		t.Run(tt.method+" "+tt.path, func(t *testing.T) {
			resp, body := fetch(t, tt.method, server.URL+tt.path)
			if resp.StatusCode != tt.status {
				t.Errorf("status %d, want %d", resp.StatusCode, tt.status)
			}
			if tt.code == "plain" {
				return
			}
			if got := resp.Header.Get("Docker-Distribution-API-Version"); got != "registry/2.0" {
				t.Errorf("Docker-Distribution-API-Version %q", got)
			}
			if tt.status == 405 && resp.Header.Get("Allow") != "GET, HEAD" {
				t.Errorf("Allow %q", resp.Header.Get("Allow"))
			}
			if tt.code == "" {
				return
			}
			var got struct {
				Errors []struct{ Code, Message string }
			}
			check(t, json.Unmarshal(body, &got))
			if len(got.Errors) != 1 || got.Errors[0].Code != tt.code || got.Errors[0].Message == "" {
				t.Errorf("body %s, want the code %s", body, tt.code)
			}
		})
	}
}

func TestRegistryHeaders(t *testing.T) {
	server, b := fakeServer(t)
	index := b.IndexDigest().String()
	const forever, asking = "public, max-age=31536000, immutable", "public, no-cache"
	var layer blob
	for _, b := range b.blobs {
		if b.mediaType == types.DockerLayer {
			layer = b
		}
	}
	for _, tt := range []struct{ path, mediaType, digest, cache string }{
		{"/manifests/" + index, "application/vnd.docker.distribution.manifest.list.v2+json", index, forever},
		{"/manifests/" + fakeVersion, "application/vnd.docker.distribution.manifest.list.v2+json", index, asking},
		{"/blobs/" + layer.digest.String(), "application/octet-stream", layer.digest.String(), forever},
	} {
		for _, method := range []string{"GET", "HEAD"} {
			resp, body := fetch(t, method, server.URL+repositoryPath+tt.path)
			got := []string{
				resp.Header.Get("Content-Type"), resp.Header.Get("Docker-Content-Digest"),
				resp.Header.Get("Cache-Control"), resp.Header.Get("ETag"),
			}
			if diff := cmp.Diff([]string{tt.mediaType, tt.digest, tt.cache, `"` + tt.digest + `"`}, got); diff != "" {
				t.Errorf("%s %s (-want +got):\n%s", method, tt.path, diff)
			}
			if method == "GET" && resp.ContentLength != int64(len(body)) || resp.ContentLength <= 0 {
				t.Errorf("%s %s: Content-Length %d, body %d", method, tt.path, resp.ContentLength, len(body))
			}
		}
	}
	whole, err := layer.bytes()
	check(t, err)
	resp, body := fetch(t, "GET", server.URL+repositoryPath+"/blobs/"+layer.digest.String(), "Range: bytes=7-")
	if resp.StatusCode != 206 || string(body) != string(whole[7:]) {
		t.Errorf("status %d, %d bytes, want 206 and %d", resp.StatusCode, len(body), len(whole)-7)
	}
}

func TestPages(t *testing.T) {
	server, b := fakeServer(t)
	repository, err := newRepository(b, fakeKey(t))
	check(t, err)
	all := repository.tagNames()

	read := func(path string) (tags []string, next string) {
		resp, body := fetch(t, "GET", server.URL+path)
		var got struct {
			Name string
			Tags []string
		}
		check(t, json.Unmarshal(body, &got))
		if got.Name != Repository || got.Tags == nil {
			t.Errorf("%s answers %s", path, body)
		}
		next, _, _ = strings.Cut(strings.TrimPrefix(resp.Header.Get("Link"), "<"), ">")
		return got.Tags, next
	}
	for n := 1; n <= len(all)+1; n++ {
		var got []string
		for path := fmt.Sprintf("%s/tags/list?n=%d", repositoryPath, n); path != ""; {
			tags, next := read(path)
			got = append(got, tags...)
			path = next
		}
		if diff := cmp.Diff(all, got); diff != "" {
			t.Errorf("pages of %d (-want +got):\n%s", n, diff)
		}
	}
	if tags, next := read(repositoryPath + "/tags/list?n=0"); len(tags) > 0 || next != "" {
		t.Errorf("n=0 answers %v and %q", tags, next)
	}
	if tags, _ := read(repositoryPath + "/tags/list?last=zzz"); len(tags) > 0 {
		t.Errorf("after the last tag comes %v", tags)
	}
	if tags, _ := read(repositoryPath + "/tags/list?last=1.2.3-b"); !slices.Equal(tags, all[3:]) {
		t.Errorf("a tag that is not there is followed by %v", tags)
	}
}

// Whatever is asked for: no panic, no 5xx, and what is served under a digest
// has that digest.
func FuzzRegistry(f *testing.F) {
	b := fakeBundle(f)
	handler, err := NewHandler(b, fakeKey(f), slog.New(slog.DiscardHandler))
	check(f, err)
	for _, path := range []string{
		"/v2", "/v2/", "/v2/_catalog", repositoryPath + "/tags/list", repositoryPath + "/manifests/" + fakeVersion,
		repositoryPath + "/manifests/" + b.IndexDigest().String(), repositoryPath + "/blobs/" + b.platforms[0].Config.String(),
		repositoryPath + "/referrers/" + b.IndexDigest().String(), repositoryPath + "/blobs/sha256:../../x", "/v2//blobs//", "/v2/blobs/blobs/blobs/x",
	} {
		f.Add(path, "")
	}
	f.Add(repositoryPath+"/tags/list", "n=1&last=1.2.3")
	f.Fuzz(func(t *testing.T, path, query string) {
		if !strings.HasPrefix(path, "/") {
			t.Skip()
		}
		r := &http.Request{Method: http.MethodGet, URL: &url.URL{Path: path, RawQuery: query}, Header: http.Header{}}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if w.Code >= 500 {
			t.Fatalf("status %d", w.Code)
		}
		to := parseRoute(path)
		if (to.kind == manifestRoute || to.kind == blobRoute || to.kind == referrersRoute) && (to.name == "" || to.reference == "" || strings.Contains(to.reference, "/")) {
			t.Fatalf("route %+v", to)
		}
		if want := w.Header().Get("Docker-Content-Digest"); want != "" {
			if got := fmt.Sprintf("sha256:%x", sha256.Sum256(w.Body.Bytes())); got != want {
				t.Fatalf("content of %s under the digest %s", got, want)
			}
		}
	})
}
