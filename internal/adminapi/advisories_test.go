package adminapi_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/tidewaiter/tidewaiter/internal/identity"
)

// TestAdvisoriesOfTheServer are for users of the first account alone, with the
// permission; and a server reads no files for anybody.
func TestAdvisoriesOfTheServer(t *testing.T) {
	h := newHouse(t)
	other, err := h.id.CreateAccount(t.Context(), identity.BootstrapOptions{Domain: "other"})
	h.must(err)
	stranger, _, err := h.id.IssueToken(t.Context(), identity.TokenRequest{UserName: other.User.Name, DomainName: "other", Password: other.Password})
	h.must(err)
	nobody := h.user("nobody", "HSS Administrator")
	urls := object{"urls": []string{"https://example.com/all.zip"}}
	for _, request := range []struct {
		method, path string
		body         any
	}{
		{http.MethodGet, "/advisories", nil},
		{http.MethodPost, "/advisories/import", urls},
		{http.MethodPost, "/advisories/update", nil},
		{http.MethodPost, "/advisories/rollback", object{}},
		{http.MethodPost, "/advisories/forget", object{"location": "https://example.com/all.zip"}},
	} {
		if a := h.as(stranger, request.method, request.path, request.body); a.StatusCode != 403 || !strings.Contains(a.text, "only users of its first account") {
			t.Errorf("%s of another account: %d %s", request.path, a.StatusCode, a.text)
		}
		if a := h.as(nobody, request.method, request.path, request.body); a.StatusCode != 403 || !strings.Contains(a.text, "iam:advisories:") {
			t.Errorf("%s without the permission: %d %s", request.path, a.StatusCode, a.text)
		}
	}
	for _, location := range []string{"/etc/passwd", "file:///etc/passwd", "ftp://example.com/all.zip", "all.zip", "http://", "HTTP:/../etc/passwd", "https://me@example.com/all.zip"} {
		a := h.ask(400, http.MethodPost, "/advisories/import", object{"urls": []string{"https://example.com/all.zip", location}})
		if !strings.Contains(a.text, "urls[1]") {
			t.Errorf("%s: %s", location, a.text)
		}
	}
}
