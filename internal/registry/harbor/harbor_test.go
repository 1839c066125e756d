package harbor_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/registry"
	"github.com/tidewaiter/tidewaiter/internal/registry/harbor"
	"github.com/tidewaiter/tidewaiter/internal/registry/registrytest"
)

func open(t *testing.T, f *registrytest.Fake, change func(*registry.Config)) *harbor.Connector {
	t.Helper()
	c := f.Config()
	if change != nil {
		change(&c)
	}
	client, err := registry.NewClient(c, registry.Options{Attempts: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return harbor.New(client)
}

// Tags tell digest, size, media type and time.
func TestTags(t *testing.T) {
	for _, version := range []string{"V1", "V2"} {
		f := registrytest.NewHarbor(t, map[string][]string{"team/deep/app": {"v1"}}, version)
		n := 0
		for tag, err := range open(t, f, nil).Tags(t.Context(), registry.Repository{Name: "team/deep/app"}) {
			if n++; err != nil || tag.Digest != f.Digest || tag.Size != 1234 || tag.Pushed != registry.ParseTime(registrytest.Pushed) {
				t.Errorf("%s: %+v, %v", version, tag, err)
			}
			if version == "V2" && tag.MediaType != tidewaiter.MediaTypeDockerManifest {
				t.Errorf("media type %q", tag.MediaType)
			}
		}
		if n != 1 {
			t.Errorf("%s: %d tags", version, n)
		}
	}
}

// The other version's API is not there, and the error says what to change.
func TestWrongVersion(t *testing.T) {
	f := registrytest.NewHarbor(t, map[string][]string{"team/app": {"v1"}}, "V2")
	err := open(t, f, func(c *registry.Config) { c.APIVersion = "V1" }).Ping(t.Context())
	if tidewaiter.KindOf(err) != tidewaiter.NotFound || !strings.Contains(err.Error(), "API version") {
		t.Errorf("Ping: %v", err)
	}
}

// A project that the user may not read, or that went away, does not hide the others.
func TestOneProject(t *testing.T) {
	for status, problems := range map[int]int{403: 1, 404: 0} {
		f := registrytest.NewHarbor(t, map[string][]string{"alpha/app": {"v1"}, "beta/app": {"v1"}}, "V2")
		f.Fault(func(w http.ResponseWriter, r *http.Request) bool {
			if strings.Contains(r.URL.Path, "/projects/alpha/") {
				w.WriteHeader(status)
				return true
			}
			return false
		})
		good, bad := 0, 0
		for r, err := range open(t, f, nil).Repositories(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			if r.Problem == "" {
				good++
			} else {
				bad++
			}
		}
		if good != 1 || bad != problems {
			t.Errorf("status %d: %d repositories and %d problems", status, good, bad)
		}
	}
}
