package worker_test

import (
	"net/http"
	"strings"
	"testing"
)

// What the user may not read has a problem, which is told; all else is listed,
// and the synchronisation is done.
func TestSyncForbiddenPart(t *testing.T) {
	for _, tt := range []struct{ name, at, repository, kind, tags string }{
		{"repository", "/v2/team/secret", "team/secret", "unreadable repository", "team/app:v1 team/app:v2"},
		{"tag", "/v2/team/app/manifests/v1", "team/app", "unreadable tag", "team/app:v2 team/secret:v1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHub(t)
			for _, ref := range []string{"team/app:v1", "team/app:v2", "team/secret:v1"} {
				h.push(ref, image(t, "linux", "amd64"))
			}
			h.setFault(func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.HasPrefix(r.URL.Path, tt.at) {
					return false
				}
				w.WriteHeader(http.StatusForbidden)
				return true
			})
			s := syncing(t, nil)
			s.good(h.registry(), "sync-1")
			if got := strings.Join(s.tags(), " "); got != tt.tags {
				t.Errorf("reported %q, want %q", got, tt.tags)
			}
			for name, r := range s.repositories {
				if r.complete != "sync-1" || (r.problem != "") != (name == tt.repository) || strings.Contains(r.problem, "role") != (name == tt.repository) {
					t.Errorf("%s: complete %q, problem %q", name, r.complete, r.problem)
				}
			}
			if skipped := s.repositories[tt.repository].skipped; len(skipped) != 1 || skipped[0].Kind != tt.kind || skipped[0].Count != 1 {
				t.Errorf("skipped %+v", skipped)
			}
		})
	}
}
