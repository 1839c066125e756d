package findings_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/findings"
	"github.com/tidewaiter/tidewaiter/internal/store"
	"github.com/tidewaiter/tidewaiter/internal/store/storetest"
)

// follow reads the feed from a place on, in pages of two, and returns what it
// says: "app advisories +CVE-2026-1 openssl@1 critical".
func (w *world) follow(after store.EventCursor) ([]string, store.EventCursor) {
	w.Helper()
	names := make(map[int64]string)
	for name, id := range w.images {
		names[id] = name
	}
	var said []string
	for {
		list, err := w.db.FindingEvents(context.Background(), tidewaiter.Extent{ProjectID: w.registry, All: true}, after, 2, nil)
		w.ok(err)
		for _, e := range list {
			if e.Compare(after) <= 0 {
				w.Errorf("%v comes after %v", e.EventCursor, after)
			}
			after = e.EventCursor
			if len(e.Changes) == 0 {
				said = append(said, fmt.Sprint(names[e.ManifestID], " ", e.Cause))
			}
			if (e.Cause == store.CauseAdvisories) != strings.HasPrefix(string(e.Set), "sha256:") {
				w.Errorf("the set of %s is %q", e.Cause, e.Set)
			}
			for _, c := range e.Changes {
				sign, state := "±", c.After
				switch {
				case c.Before == nil:
					sign = "+"
				case c.After == nil:
					sign, state = "-", c.Before
				}
				line := fmt.Sprintf("%s %s %s%s %s@%s %s", names[e.ManifestID], e.Cause, sign, c.Name, c.Package.Name, c.Package.Version, state.Severity.Level())
				if c.Handled != nil {
					line += " handled"
				}
				said = append(said, line)
			}
		}
		if len(list) == 0 {
			slices.Sort(said)
			return said, after
		}
	}
}

func TestFeed(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		w := newWorld(t, db)
		ctx := context.Background()
		var at store.EventCursor
		want := func(lines ...string) {
			t.Helper()
			var said []string
			said, at = w.follow(at)
			slices.Sort(lines)
			if diff := cmp.Diff(lines, said, cmp.Transformer("nil", func(s []string) []string { return append([]string{}, s...) })); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		}
		w.scan("app", w.deb("openssl", "3.0.1-1"), npm("left-pad", "1.0.0"))
		w.scan("empty")
		want()

		debian := func(n int, fixed, vector string) string {
			return w.write("debian.json", advisory("DEBIAN-CVE-2026-1000", day(n), "Debian:12", "openssl", fixed, vector, "CVE-2026-1000"))
		}
		w.importFiles(debian(1, "3.0.2-1", critical))
		want("app advisories +CVE-2026-1000 openssl@3.0.1-1 critical")

		w.scan("other", w.deb("openssl", "3.0.1-1"), w.deb("zlib", "1.0-1"))
		want("other content +CVE-2026-1000 openssl@3.0.1-1 critical")
		w.scan("other", w.deb("openssl", "3.0.1-1"), w.deb("zlib", "1.0-1"))
		want() // nothing has changed

		w.importFiles(debian(2, "3.0.2-1", medium))
		want("app advisories ±CVE-2026-1000 openssl@3.0.1-1 medium", "other advisories ±CVE-2026-1000 openssl@3.0.1-1 medium")

		e := tidewaiter.Extent{ProjectID: w.registry, All: true}
		sel := findings.Selection{Kind: tidewaiter.SystemVulnerability, Vulnerabilities: []string{"CVE-2026-1000"}}
		w.ok(w.findings.Handle(ctx, e, sel, findings.Ignore, "me", "not reachable"))
		want("app exceptions ±CVE-2026-1000 openssl@3.0.1-1 medium handled", "other exceptions ±CVE-2026-1000 openssl@3.0.1-1 medium handled")

		// One goes and one comes: the numbers of the images stay.
		w.importFiles(w.write("debian.json", advisory("DEBIAN-CVE-2026-2000", day(3), "Debian:12", "openssl", "", medium, "CVE-2026-2000")))
		want("app advisories +CVE-2026-2000 openssl@3.0.1-1 medium", "app advisories -CVE-2026-1000 openssl@3.0.1-1 medium",
			"other advisories +CVE-2026-2000 openssl@3.0.1-1 medium", "other advisories -CVE-2026-1000 openssl@3.0.1-1 medium")

		w.scan("other", w.deb("zlib", "1.0-1"))
		want("other content -CVE-2026-2000 openssl@3.0.1-1 medium")

		if list, err := db.FindingEvents(ctx, tidewaiter.Extent{ProjectID: "another", All: true}, store.EventCursor{}, 100, nil); err != nil || len(list) > 0 {
			t.Errorf("another project sees %v, %v", list, err)
		}
		if list, err := db.FindingEvents(ctx, tidewaiter.Extent{ProjectID: w.registry, EnterpriseProjects: []string{"another"}}, store.EventCursor{}, 100, nil); err != nil || len(list) > 0 {
			t.Errorf("another enterprise project sees %v, %v", list, err)
		}
		w.ok(db.ForgetChanges(ctx, store.Now().Add(time.Hour)))
		if said, _ := w.follow(store.EventCursor{}); len(said) > 0 {
			t.Errorf("of what is forgotten it says %q", said)
		}
	})
}
