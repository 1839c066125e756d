package registry_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/registry"
)

// store is a registry of one repository, team/app, whose contents a test makes up.
type store struct {
	manifests map[string]stored // by tag or digest
	blobs     map[string][]byte
	served    map[string]int
	referrers map[string]string // answers of that API, by digest
	pages     []string          // of any such answer, if there are some
	failing   int               // status of any such answer, or 0
}

type stored struct{ mediaType, body string }

func newStore(t *testing.T) (*store, *registry.Client) {
	s := &store{manifests: map[string]stored{}, blobs: map[string][]byte{}, served: map[string]int{}, referrers: map[string]string{}}
	b := newBad(t, false, func(w http.ResponseWriter, r *http.Request) {
		kind, ref, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v2/team/app/"), "/")
		s.served[ref]++
		if m, ok := s.manifests[ref]; ok && kind == "manifests" {
			w.Header().Set("Content-Type", m.mediaType)
			w.Header().Set("Content-Length", strconv.Itoa(len(m.body)))
			fmt.Fprint(w, m.body)
		} else if kind == "referrers" && s.failing > 0 {
			w.WriteHeader(s.failing)
		} else if kind == "referrers" && len(s.pages) > 0 {
			page, _ := strconv.Atoi(r.URL.Query().Get("page"))
			if page+1 < len(s.pages) {
				w.Header().Set("Link", fmt.Sprintf(`<%s?page=%d>; rel="next"`, r.URL.Path, page+1))
			}
			fmt.Fprint(w, s.pages[page])
		} else if list, ok := s.referrers[ref]; ok && kind == "referrers" {
			fmt.Fprint(w, list)
		} else if blob, ok := s.blobs[ref]; ok && kind == "blobs" {
			_, _ = w.Write(blob)
		} else {
			http.NotFound(w, r)
		}
	})
	return s, newClient(t, b.config(t), registry.Options{Attempts: 1})
}

type desc map[string]any

func (s *store) blob(mediaType, body string) desc {
	d := tidewaiter.DigestOf([]byte(body))
	s.blobs[string(d)] = []byte(body)
	return desc{"mediaType": mediaType, "digest": d, "size": len(body)}
}

// put stores a document under its digest, and under a tag if there is one.
func (s *store) put(tag, mediaType string, document map[string]any) desc {
	document["schemaVersion"], document["mediaType"] = 2, mediaType
	body, err := json.Marshal(document)
	if err != nil {
		panic(err)
	}
	d := tidewaiter.DigestOf(body)
	s.manifests[string(d)] = stored{mediaType, string(body)}
	if tag != "" {
		s.manifests[tag] = stored{mediaType, string(body)}
	}
	return desc{"mediaType": mediaType, "digest": d, "size": len(body)}
}

const (
	ociLayer = "application/vnd.oci.image.layer.v1.tar+gzip"
	diffID   = "sha256:0000000000000000000000000000000000000000000000000000000000000001"
)

// image stores an image of one layer.
func (s *store) image(tag, layerType, os string, layer map[string]any) desc {
	config := s.blob(tidewaiter.MediaTypeOCIConfig, `{"os":"`+os+`","architecture":"amd64","rootfs":{"diff_ids":["`+diffID+`"]}}`)
	l := s.blob(layerType, "layer of "+tag+os+layerType)
	for k, v := range layer {
		l[k] = v
	}
	return s.put(tag, tidewaiter.MediaTypeOCIManifest, map[string]any{"config": config, "layers": []desc{l}})
}

// Bad inputs 23, 25, 27: what is no image is none, and says why; nothing fails.
func TestInspectKinds(t *testing.T) {
	s, client := newStore(t)
	s.image("image", ociLayer, "linux", nil)
	s.image("windows", ociLayer, "windows", nil)
	s.image("foreign-type", "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "linux", nil)
	s.image("foreign-urls", ociLayer, "linux", map[string]any{"urls": []string{"http://169.254.169.254/layer"}})
	s.image("encrypted", ociLayer+"+encrypted", "linux", nil)
	s.image("new-layer", "application/vnd.example.layer.v9", "linux", nil)
	s.image("cosign", "application/vnd.dev.cosign.simplesigning.v1+json", "linux", nil)
	s.image("attestation", "application/vnd.in-toto+json", "unknown", nil)
	s.put("helm", tidewaiter.MediaTypeOCIManifest, map[string]any{"config": s.blob("application/vnd.cncf.helm.config.v1+json", "{}"), "layers": []desc{s.blob("application/vnd.cncf.helm.chart.content.v1.tar+gzip", "x")}})
	s.put("wasm", tidewaiter.MediaTypeOCIManifest, map[string]any{"artifactType": "application/wasm", "config": s.blob("application/vnd.oci.empty.v1+json", "{}"), "layers": []desc{}})
	s.put("no-config", tidewaiter.MediaTypeOCIManifest, map[string]any{"layers": []desc{}})
	s.put("artifact-manifest", "application/vnd.oci.artifact.manifest.v1+json", map[string]any{"blobs": []desc{}})
	s.put("empty-index", tidewaiter.MediaTypeOCIIndex, map[string]any{"manifests": []desc{}})
	s.put("cache", tidewaiter.MediaTypeOCIIndex, map[string]any{"manifests": []desc{s.blob(ociLayer, "y")}})
	s.manifests["v1"] = stored{tidewaiter.MediaTypeSchema1Signed, `{"schemaVersion":1,"fsLayers":[{"blobSum":"sha256:x"}]}`}
	for tag, want := range map[string]registry.ArtifactKind{
		"image": registry.KindImage, "windows": registry.KindWindows, "foreign-type": registry.KindForeign, "foreign-urls": registry.KindForeign,
		"encrypted": registry.KindEncrypted, "new-layer": registry.KindArtifact, "cosign": registry.KindSignature, "attestation": registry.KindAttestation,
		"helm": registry.KindHelmChart, "wasm": registry.KindArtifact, "no-config": registry.KindArtifact, "artifact-manifest": registry.KindArtifact,
		"empty-index": registry.KindArtifact, "cache": registry.KindArtifact, "v1": registry.KindSchema1,
	} {
		a, err := client.Inspect(t.Context(), "team/app", tag)
		if err != nil || a.Kind != want || (a.Reason == "") != want.Scannable() || (len(a.Images) > 0) != want.IsImage() {
			t.Errorf("%s: %+v, %v, want %s", tag, a, err, want)
		}
	}
}

func TestInspectIndex(t *testing.T) {
	s, client := newStore(t)
	linux, windows := s.image("", ociLayer, "linux", nil), s.image("", ociLayer, "windows", nil)
	linux["platform"] = map[string]any{"os": "linux", "architecture": "arm", "variant": "v7"}
	attestation := s.image("", "application/vnd.in-toto+json", "unknown", nil)
	attestation["platform"] = map[string]any{"os": "unknown", "architecture": "unknown"}
	attestation["annotations"] = map[string]any{"vnd.docker.reference.type": "attestation-manifest"}
	gone := desc{"mediaType": tidewaiter.MediaTypeOCIManifest, "digest": diffID, "size": 7}
	wrongSize := desc{"mediaType": tidewaiter.MediaTypeOCIManifest, "digest": s.image("", ociLayer+"", "plan9", nil)["digest"], "size": 7}
	helm := desc{"mediaType": "application/vnd.cncf.helm.config.v1+json", "digest": diffID[:70] + "2", "size": 7}
	s.put("index", tidewaiter.MediaTypeOCIIndex, map[string]any{"manifests": []desc{linux, linux, windows, attestation, gone, wrongSize, helm}})
	a, err := client.Inspect(t.Context(), "team/app", "index")
	if err != nil {
		t.Fatal(err)
	}
	got := ""
	for _, c := range append(a.Images, a.Others...) {
		got += fmt.Sprintf("%s %s %v; ", c.Kind, c.Platform, tidewaiter.KindOf(c.Err))
	}
	const want = "image linux/arm/v7 internal; windows image windows/amd64 internal; image / not found; image / invalid; attestation unknown/unknown internal; other artifact / internal; "
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if a.Images[0].ID == "" || a.Images[0].Size == 0 || len(a.Images[0].DiffIDs) != 1 || a.Images[0].Config == nil || a.Images[0].Config.Platform.OS != "linux" {
		t.Errorf("image %+v", a.Images[0])
	}
}

// Bad input 20.
func TestNestedIndexes(t *testing.T) {
	s, client := newStore(t)
	inner := s.image("", ociLayer, "linux", nil)
	for depth := range 6 {
		inner = s.put(fmt.Sprintf("depth-%d", depth), tidewaiter.MediaTypeOCIIndex, map[string]any{"manifests": []desc{inner}})
	}
	if a, err := client.Inspect(t.Context(), "team/app", "depth-2"); err != nil || len(a.Images) != 1 {
		t.Errorf("an index within an index: %+v, %v", a, err)
	}
	if a, err := client.Inspect(t.Context(), "team/app", "depth-5"); err != nil || len(a.Images) != 0 || len(a.Others) != 1 || a.Kind != registry.KindArtifact {
		t.Errorf("too deep: %+v, %v", a, err)
	}
	// An index that is served as its own child: its digest cannot be right.
	self := desc{"mediaType": tidewaiter.MediaTypeOCIIndex, "digest": diffID, "size": 0}
	d := s.put("self", tidewaiter.MediaTypeOCIIndex, map[string]any{"manifests": []desc{self}})
	s.manifests[diffID] = s.manifests["self"]
	if a, err := client.Inspect(t.Context(), "team/app", "self"); err != nil || len(a.Images) != 1 || registry.ReasonOf(a.Images[0].Err) != registry.ReasonDigest {
		t.Errorf("an index within itself (%v): %+v, %v", d, a, err)
	}
	// 40 indexes with 40 children each, all different.
	var outer []desc
	for i := range 40 {
		var children []desc
		for j := range 40 {
			children = append(children, desc{"mediaType": tidewaiter.MediaTypeOCIManifest, "digest": fmt.Sprintf("sha256:%064x", i*40+j), "size": 1, "platform": map[string]any{"os": "unknown"}})
		}
		outer = append(outer, s.put("", tidewaiter.MediaTypeOCIIndex, map[string]any{"manifests": children}))
	}
	s.put("wide", tidewaiter.MediaTypeOCIIndex, map[string]any{"manifests": outer})
	_, err := client.Inspect(t.Context(), "team/app", "wide")
	wantError(t, err, tidewaiter.TooLarge, registry.ReasonLimit)
}

// Bad inputs 19, 21, 22, 24.
func TestBadManifests(t *testing.T) {
	s, client := newStore(t)
	config := s.blob(tidewaiter.MediaTypeOCIConfig, `{"os":"linux","rootfs":{"diff_ids":[]}}`)
	badConfig := s.blob(tidewaiter.MediaTypeOCIConfig, `{"rootfs":{"diff_ids":["md5:abc"]}}`)
	layer := s.blob(ociLayer, "z")
	document := func(tag string, d map[string]any) { s.put(tag, tidewaiter.MediaTypeOCIManifest, d) }
	for tag, digest := range map[string]string{
		"d-path": "sha256:../../x", "d-md5": "md5:d41d8cd98f00b204e9800998ecf8427e", "d-upper": "sha256:" + strings.Repeat("A", 64),
		"d-short": "sha256:abc", "d-none": "", "d-sha512": "sha512:" + strings.Repeat("a", 64),
	} {
		document(tag, map[string]any{"config": config, "layers": []desc{{"mediaType": ociLayer, "digest": digest, "size": 1}}})
	}
	document("both", map[string]any{"config": config, "layers": []desc{layer}, "manifests": []desc{layer}})
	document("negative", map[string]any{"config": config, "layers": []desc{{"mediaType": ociLayer, "digest": diffID, "size": -1}}})
	document("sum", map[string]any{"config": config, "layers": []desc{{"mediaType": ociLayer, "digest": diffID, "size": int64(1) << 62}, {"mediaType": ociLayer, "digest": diffID, "size": int64(1) << 62}}})
	document("mismatch", map[string]any{"config": config, "layers": []desc{layer}})
	document("bad-config", map[string]any{"config": badConfig, "layers": []desc{layer}})
	document("huge-config", map[string]any{"config": desc{"mediaType": tidewaiter.MediaTypeOCIConfig, "digest": diffID, "size": 1 << 30}, "layers": []desc{layer}})
	many := make([]desc, registry.MaxDescriptors+1)
	for i := range many {
		many[i] = layer
	}
	document("many", map[string]any{"config": config, "layers": many})
	s.manifests["huge"] = stored{tidewaiter.MediaTypeOCIManifest, "{" + strings.Repeat(" ", registry.MaxManifest) + "}"}
	s.manifests["type"] = stored{tidewaiter.MediaTypeOCIManifest, `{"schemaVersion":2,"mediaType":"` + tidewaiter.MediaTypeOCIIndex + `","manifests":[]}`}
	s.manifests["text"] = stored{"text/html", "<html>"}
	s.manifests[diffID] = s.manifests["mismatch"] // other bytes than asked for
	for tag, want := range map[string]registry.Reason{
		"d-path": registry.ReasonDigest, "d-md5": registry.ReasonDigest, "d-upper": registry.ReasonDigest, "d-short": registry.ReasonDigest, "d-none": registry.ReasonDigest, "d-sha512": registry.ReasonDigest,
		"both": registry.ReasonAnswer, "negative": registry.ReasonAnswer, "sum": registry.ReasonAnswer, "mismatch": registry.ReasonAnswer, "bad-config": registry.ReasonDigest,
		"huge-config": registry.ReasonLimit, "many": registry.ReasonLimit, "huge": registry.ReasonLimit, "type": registry.ReasonAnswer, "text": registry.ReasonAnswer,
		diffID: registry.ReasonDigest, "sha256:../../x": registry.ReasonDigest, "../x": registry.ReasonAnswer,
	} {
		kind := tidewaiter.Invalid
		if want == registry.ReasonLimit {
			kind = tidewaiter.TooLarge
		}
		t.Run(strings.ReplaceAll(tag, "/", "_"), func(t *testing.T) {
			_, err := client.Inspect(t.Context(), "team/app", tag)
			wantError(t, err, kind, want)
		})
	}
	if s.served["x"] > 0 {
		t.Error("a digest became a path")
	}
}

// Bad input 26.
func TestBadBlobs(t *testing.T) {
	const body = "0123456789"
	d := tidewaiter.Descriptor{Digest: tidewaiter.DigestOf([]byte(body)), Size: int64(len(body))}
	read := func(h http.HandlerFunc) error {
		client := newClient(t, newBad(t, false, h).config(t), registry.Options{Attempts: 1, IdleTimeout: 50 * time.Millisecond, MinBytes: 1 << 20})
		r, err := client.Blob(t.Context(), "team/app", d)
		if err != nil {
			return err
		}
		defer r.Close()
		_, err = io.Copy(io.Discard, r)
		return err
	}
	stream := func(w http.ResponseWriter, s string) {
		w.(http.Flusher).Flush() // so that there is no Content-Length
		fmt.Fprint(w, s)
	}
	if err := read(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) }); err != nil {
		t.Errorf("a good blob: %v", err)
	}
	wantError(t, read(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "9876543210") }), tidewaiter.Invalid, registry.ReasonDigest)
	wantError(t, read(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "short") }), tidewaiter.Invalid, registry.ReasonDigest)
	wantError(t, read(func(w http.ResponseWriter, _ *http.Request) { stream(w, "short") }), tidewaiter.Unavailable, registry.ReasonNetwork)
	wantError(t, read(func(w http.ResponseWriter, _ *http.Request) { stream(w, body+body) }), tidewaiter.Invalid, registry.ReasonDigest)
	wantError(t, read(func(w http.ResponseWriter, r *http.Request) { // endless
		for r.Context().Err() == nil {
			stream(w, body)
		}
	}), tidewaiter.Invalid, registry.ReasonDigest)
	wantError(t, read(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "10")
		fmt.Fprint(w, "01234")
		panic(http.ErrAbortHandler)
	}), tidewaiter.Unavailable, registry.ReasonNetwork)
	wantError(t, read(func(w http.ResponseWriter, r *http.Request) { // drip
		w.Header().Set("Content-Length", "10")
		for i := range body {
			_, _ = w.Write([]byte{body[i]})
			w.(http.Flusher).Flush()
			select {
			case <-r.Context().Done():
				return
			case <-time.After(time.Second):
			}
		}
	}), tidewaiter.Unavailable, registry.ReasonTimeout)
}

// TestManyConfigs has an index whose configs together are too much to keep.
func TestManyConfigs(t *testing.T) {
	s, client := newStore(t)
	var images []desc
	for i := range 10 {
		config := s.blob(tidewaiter.MediaTypeOCIConfig, fmt.Sprintf(`{"os":"linux","n":%d,"x":"%s"}`, i, strings.Repeat("x", registry.MaxConfig-100)))
		images = append(images, s.put("", tidewaiter.MediaTypeOCIManifest, map[string]any{"config": config, "layers": []desc{}}))
	}
	s.put("index", tidewaiter.MediaTypeOCIIndex, map[string]any{"manifests": images})
	a, err := client.Inspect(t.Context(), "team/app", "index")
	if err != nil || len(a.Images) != len(images) {
		t.Fatalf("%d images, %v", len(a.Images), err)
	}
	for i, child := range a.Images {
		if kept := i < registry.MaxConfigs/registry.MaxConfig; child.Err != nil || (child.Config != nil) != kept {
			t.Errorf("image %d: config %v, %v", i, child.Config != nil, child.Err)
		}
	}
}
