package oci_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"testing"

	ggcr "github.com/google/go-containerregistry/pkg/registry"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/registry"
	"github.com/tidewaiter/tidewaiter/internal/registry/oci"
)

func connector(t *testing.T, h http.Handler) *oci.Connector {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	address, err := tidewaiter.ParseRegistryAddress(u.Host)
	if err != nil {
		t.Fatal(err)
	}
	client, err := registry.NewClient(registry.Config{Type: registry.Other, Protocol: "http", Address: address}, registry.Options{Attempts: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return oci.New(client)
}

func tags(t *testing.T, c *oci.Connector) map[string]bool {
	t.Helper()
	seen := make(map[string]bool)
	for tag, err := range c.Tags(t.Context(), registry.Repository{Name: "team/app"}) {
		if err != nil {
			t.Fatal(err)
		}
		if seen[tag.Name] {
			t.Errorf("%s is listed twice", tag.Name)
		}
		seen[tag.Name] = true
	}
	return seen
}

// Registries that cut at n and give no Link, well or badly: no tag is lost.
func TestNoLink(t *testing.T) {
	for name, badly := range map[string]bool{"cut": false, "last is ignored": true} {
		c := connector(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			q := r.URL.Query()
			n, _ := strconv.Atoi(q.Get("n"))
			all := 2500
			if badly {
				all = 1000
			}
			var list []string
			for i := range all {
				tag := fmt.Sprintf("t%05d", i)
				if (badly || tag > q.Get("last")) && len(list) < n {
					list = append(list, tag)
				}
			}
			_ = json.NewEncoder(w).Encode(map[string]any{"tags": list})
		}))
		want := 2500
		if badly {
			want = 1000
		}
		if got := len(tags(t, c)); got != want {
			t.Errorf("%s: %d tags, want %d", name, got, want)
		}
	}
}

// go-containerregistry's registry, as it comes.
func TestAgainstGGCR(t *testing.T) {
	h := ggcr.New()
	for i := range 5 {
		r := httptest.NewRequest(http.MethodPut, fmt.Sprintf("/v2/team/app/manifests/t%d", i), nil)
		r.Header.Set("Content-Type", tidewaiter.MediaTypeOCIManifest)
		h.ServeHTTP(httptest.NewRecorder(), r)
	}
	c := connector(t, h)
	if got := len(tags(t, c)); got != 5 {
		t.Errorf("%d tags", got)
	}
	for r, err := range c.Repositories(t.Context()) {
		if err != nil || r.Name != "team/app" || r.Namespace() != "team" || r.Image() != "app" {
			t.Errorf("%+v, %v", r, err)
		}
	}
}
