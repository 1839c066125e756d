//go:build linux

package e2e

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestPackagesThroughTheAPI has a component in a container scan all images of
// real content, and wants the API to list what the engine finds in them, which
// TestPackagesAsToolsListThem compares with what their own tools list; and which
// vulnerabilities they have, as a reference of its own finds them.
func TestPackagesThroughTheAPI(t *testing.T) {
	c := startInContainer(t)
	names := realImageNames(t)
	for _, name := range names {
		c.reg.Push(t, "real/"+name, "1", newRealImage(t, name))
	}
	c.reg.Push(t, "real/multi", "1", twoPlatforms(t))
	c.sync(t, c.id)
	c.scanned(t, c.scanAll(t), 10*time.Minute, len(names)+2) // with the component's own image
	for _, name := range names {
		var want []string
		for _, p := range packagesOf(t, c.reg, "real/"+name, "1") {
			want = append(want, p.Name+" "+p.Version)
		}
		slices.Sort(want)
		got := c.apps(t, c.image(t, "real/"+name+":1"))
		if diff := cmp.Diff(slices.Compact(want), slices.Compact(got)); diff != "" || len(got) == 0 {
			t.Errorf("%s (-found in it +listed):\n%s", name, diff)
		}
	}
	if got := c.apps(t, c.image(t, "real/multi:1")); len(got) == 0 {
		t.Error("the index of two platforms holds nothing")
	}
	c.vulnerabilities(t, c.reg, names)
}
