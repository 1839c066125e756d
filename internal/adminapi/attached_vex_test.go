package adminapi_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/identity"
	"github.com/tidewaiter/tidewaiter/internal/store"
)

func TestAttachedVEX(t *testing.T) {
	h, id, _, _ := connected(t)
	path := "/registries/" + id
	image := tidewaiter.DigestOf([]byte("image"))
	h.must(h.db.PutManifests(t.Context(), id, []tidewaiter.Manifest{{Digest: image, MediaType: "m", Kind: "image", ImageID: "image"}}))
	known, err := h.db.ManifestsByDigest(t.Context(), id, []tidewaiter.Digest{image})
	h.must(err)
	attach := func() {
		t.Helper()
		r, err := h.db.Registry(t.Context(), id)
		h.must(err)
		text := `{"@context": "https://openvex.dev/ns/v0.2.0", "@id": "<b>one</b>", "author": "me", "statements": [{"vulnerability": "CVE-2026-1000", "products": ["pkg:npm/a"], "status": "fixed"}]}`
		h.must(h.findings.AttachVEX(t.Context(), r, known[image], []tidewaiter.AttachedContent{
			{Digest: tidewaiter.DigestOf([]byte(text)), MediaType: "application/vnd.openvex+json", Bytes: []byte(text)},
			{Digest: tidewaiter.DigestOf(nil), MediaType: "application/json", Problem: "it is too large"},
		}, func(*store.DB) error { return nil }))
	}
	attach()
	a := h.ask(200, "GET", path+"/attached-vex", nil)
	items, _ := a.body["items"].([]any)
	if len(items) != 2 {
		t.Fatalf("got %s", a.text)
	}
	for _, i := range items {
		item := i.(object)
		seen, _ := item["seen"].(string)
		want := object{"image": string(image), "document": string(tidewaiter.DigestOf(nil)), "media_type": "application/json", "statements": 0., "exceptions": 0., "problem": "it is too large", "seen": seen}
		if item["problem"] == nil {
			want = object{"image": string(image), "document": item["document"], "media_type": "application/vnd.openvex+json", "id": "<b>one</b>", "author": "me", "statements": 1., "exceptions": 1., "seen": seen}
		}
		if diff := cmp.Diff(want, item); diff != "" || seen == "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	}
	if a := h.ask(200, "GET", path+"/attached-vex?offset=1&limit=1", nil); len(a.body["items"].([]any)) != 1 {
		t.Errorf("a page: %s", a.text)
	}
	h.fail(404, "HSS.0011", "registry", "GET", "/registries/none/attached-vex", nil)
	h.fail(400, "HSS.0001", "limit", "GET", path+"/attached-vex?limit=0", nil)

	// It takes both permissions: to change the registry, and to say which
	// vulnerabilities count.
	for _, allow := range [][]string{{"hss:registries:*"}, {"hss:imageVuls:*"}, {"hss:registries:*", "hss:imageVuls:*"}} {
		name := strings.NewReplacer("hss:", "", ":*", "").Replace(strings.Join(allow, " and "))
		_, err := h.id.CreatePolicy(t.Context(), h.root, tidewaiter.Policy{Name: name, Document: tidewaiter.PolicyDocument{
			Version: "1.1", Statement: []tidewaiter.PolicyStatement{{Effect: tidewaiter.Allow, Action: allow}},
		}})
		h.must(err)
		_, password, err := h.id.CreateUser(t.Context(), h.root, identity.NewUser{Name: strings.ReplaceAll(name, " ", "-")})
		h.must(err)
		_, err = h.id.Grant(t.Context(), h.root, tidewaiter.Grant{UserID: strings.ReplaceAll(name, " ", "-"), PolicyID: name})
		h.must(err)
		token := h.signIn(strings.ReplaceAll(name, " ", "-"), password, "default")
		a := h.as(token, "PATCH", path, object{"trust_attached_vex": true})
		if ok := a.StatusCode == 200; ok != (len(allow) == 2) || !ok && a.StatusCode != 403 {
			t.Errorf("with %q: %d %s", allow, a.StatusCode, a.text)
		}
	}

	h.ask(200, "PATCH", path, object{"include": []string{"team/**"}})
	if a := h.ask(200, "GET", path+"/attached-vex", nil); len(a.body["items"].([]any)) != 2 {
		t.Errorf("another setting was changed, and left is %s", a.text)
	}
	h.ask(200, "PATCH", path, object{"trust_attached_vex": false})
	if a := h.ask(200, "GET", path+"/attached-vex", nil); len(a.body["items"].([]any)) != 0 {
		t.Errorf("distrusted, and left is %s", a.text)
	}
	list, _, err := h.db.Exceptions(t.Context(), tidewaiter.Extent{ProjectID: h.boot.Project.ID, All: true}, store.ExceptionFilter{}, store.Page{Limit: 10})
	h.must(err)
	if len(list) != 0 {
		t.Errorf("distrusted, and left are %+v", list)
	}
}
