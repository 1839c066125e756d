package all_test

import (
	"os"
	"strings"
	"testing"

	"github.com/tidewaiter/tidewaiter/internal/registry"
	"github.com/tidewaiter/tidewaiter/internal/registry/all"
	"github.com/tidewaiter/tidewaiter/internal/registry/registrytest"
)

func TestConnectors(t *testing.T) {
	type content = map[string][]string
	for name, start := range map[string]func(testing.TB, content) *registrytest.Fake{
		"OCIBasic":    func(t testing.TB, c content) *registrytest.Fake { return registrytest.NewOCI(t, c, false) },
		"OCIBearer":   func(t testing.TB, c content) *registrytest.Fake { return registrytest.NewOCI(t, c, true) },
		"HarborV2":    func(t testing.TB, c content) *registrytest.Fake { return registrytest.NewHarbor(t, c, "V2") },
		"HarborV1":    func(t testing.TB, c content) *registrytest.Fake { return registrytest.NewHarbor(t, c, "V1") },
		"Artifactory": registrytest.NewArtifactory,
		"SwrPrivate": func(t testing.TB, c content) *registrytest.Fake {
			return registrytest.NewSWR(t, c, registry.SwrPrivate)
		},
		"SwrShared": func(t testing.TB, c content) *registrytest.Fake { return registrytest.NewSWR(t, c, registry.SwrShared) },
		"SwrEnterprise": func(t testing.TB, c content) *registrytest.Fake {
			return registrytest.NewSWR(t, c, registry.SwrEnterprise)
		},
	} {
		t.Run(name, func(t *testing.T) { registrytest.Run(t, all.New, start) })
	}
}

// TestEveryConnectorIsKnown finds a connector that nobody can choose.
func TestEveryConnectorIsKnown(t *testing.T) {
	source, err := os.ReadFile("all.go")
	if err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir("..")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !e.IsDir() || e.Name() == "all" || e.Name() == "registrytest" || e.Name() == "testdata" {
			continue
		}
		if want := `internal/registry/` + e.Name() + `"`; !strings.Contains(string(source), want) {
			t.Errorf("all.go does not import %s", want)
		}
	}
}
