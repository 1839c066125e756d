package artifactory_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/registry"
	"github.com/tidewaiter/tidewaiter/internal/registry/artifactory"
	"github.com/tidewaiter/tidewaiter/internal/registry/registrytest"
)

func list(t *testing.T, c registry.Config) (names, problems []string, err error) {
	t.Helper()
	client, err := registry.NewClient(c, registry.Options{Attempts: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for r, err := range artifactory.New(client).Repositories(t.Context()) {
		if err != nil {
			return names, problems, err
		}
		if r.Problem != "" {
			problems = append(problems, r.Name)
		} else {
			names = append(names, r.Name)
		}
	}
	slices.Sort(names)
	return names, problems, nil
}

// With sub-domains and ports, the address is one repository, and its names
// have no key before them.
func TestWays(t *testing.T) {
	f := registrytest.NewArtifactory(t, map[string][]string{"team/app": {"v1"}, "other/app": {"v1"}})
	for _, way := range []registry.ArtifactoryWay{registry.ArtifactoryAuto, registry.ArtifactoryPath, registry.ArtifactorySubdomain, registry.ArtifactoryPort} {
		c := f.Config()
		c.ArtifactoryWay = way
		before := len(f.Requests())
		names, _, err := list(t, c)
		if diff := cmp.Diff([]string{"other/app", "team/app"}, names); diff != "" || err != nil {
			t.Errorf("%q (-want +got):\n%s%v", way, diff, err)
		}
		asked := strings.Contains(strings.Join(f.Requests()[before:], " "), "/artifactory/api/")
		if want := way == registry.ArtifactoryAuto || way == registry.ArtifactoryPath; asked != want {
			t.Errorf("%q: Artifactory's own API asked: %v, want %v", way, asked, want)
		}
	}
}

// A repository that this user may not read does not hide the others.
func TestOneForbidden(t *testing.T) {
	f := registrytest.NewArtifactory(t, map[string][]string{"team/app": {"v1"}, "other/app": {"v1"}})
	f.Fault(func(w http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.URL.Path, "/docker/other/") {
			w.WriteHeader(http.StatusForbidden)
			return true
		}
		return false
	})
	names, problems, err := list(t, f.Config())
	if diff := cmp.Diff([][]string{{"team/app"}, {"other"}}, [][]string{names, problems}); diff != "" || err != nil {
		t.Errorf("(-want +got):\n%s%v", diff, err)
	}
}

func FuzzRepositories(f *testing.F) {
	f.Add([]byte(`[{"key":"docker-local","type":"LOCAL","packageType":"Docker"},{"key":"../x"}]`))
	f.Add([]byte(`{"repositories":["a","b/c"]}`))
	var body []byte
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(body) }))
	f.Cleanup(s.Close)
	u, err := url.Parse(s.URL)
	if err != nil {
		f.Fatal(err)
	}
	address, err := tidewaiter.ParseRegistryAddress(u.Host)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		body = b
		names, _, err := list(t, registry.Config{Type: registry.Jfrog, Protocol: "http", Address: address})
		if err != nil && tidewaiter.KindOf(err) != tidewaiter.Invalid {
			t.Errorf("%v", err)
		}
		for _, name := range names {
			if registry.CheckRepository(name) != "" {
				t.Errorf("name %q", name)
			}
		}
	})
}
