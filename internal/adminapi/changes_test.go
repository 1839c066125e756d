package adminapi_test

import (
	"strings"
	"testing"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/identity"
)

func TestVulnerabilityChanges(t *testing.T) {
	h := newHouse(t)
	h.inProject()
	if a := h.ask(200, "GET", "/vulnerability-changes?limit=100", nil); a.text != `{"items":[]}`+"\n" {
		t.Errorf("got %q", a.text)
	}
	h.fail(400, "HSS.0001", "after", "GET", "/vulnerability-changes?after=yesterday", nil)
	h.fail(400, "HSS.0001", "limit", "GET", "/vulnerability-changes?limit=101", nil)
}

func TestWebhooks(t *testing.T) {
	h := newHouse(t)
	h.inProject()
	a := h.ask(201, "POST", "/webhooks", object{"url": "https://example.com/hook/planted-in-path"})
	id, _ := a.body["id"].(string)
	if secret, _ := a.body["secret"].(string); !strings.HasPrefix(secret, "whsec_") || a.body["origin"] != "https://example.com" || strings.Contains(a.text, "planted") {
		t.Errorf("got %s", a.text)
	}
	a = h.ask(200, "GET", "/webhooks", nil)
	if !strings.Contains(a.text, id) || strings.Contains(a.text, "whsec_") || strings.Contains(a.text, "planted") {
		t.Errorf("got %s", a.text)
	}
	h.fail(400, "HSS.0001", "url", "POST", "/webhooks", object{"url": "example.com"})
	h.fail(400, "HSS.0001", "url", "POST", "/webhooks", object{})
	h.fail(404, "HSS.0011", "there is no such webhook", "DELETE", "/webhooks/none", nil)

	_, password, err := h.id.CreateUser(t.Context(), h.root, identity.NewUser{Name: "reader"})
	h.must(err)
	_, err = h.id.Grant(t.Context(), h.root, tidewaiter.Grant{UserID: "reader", PolicyID: "HSS ReadOnlyAccess"})
	h.must(err)
	reader := h.signIn("reader", password, "default")
	if a := h.as(reader, "GET", "/vulnerability-changes", nil); a.StatusCode != 200 {
		t.Errorf("a reader is told %d %s", a.StatusCode, a.text)
	}
	for _, try := range [][2]string{{"GET", "/webhooks"}, {"POST", "/webhooks"}, {"DELETE", "/webhooks/" + id}} {
		var body any
		if try[0] == "POST" {
			body = object{"url": "https://example.com"}
		}
		h.wantError(h.as(reader, try[0], try[1], body), 403, "APIGW.0302", "no policy of the caller allows hss:imageVuls:operate")
	}
	h.ask(204, "DELETE", "/webhooks/"+id, nil)
	if a := h.ask(200, "GET", "/webhooks", nil); a.text != `{"items":[]}`+"\n" {
		t.Errorf("got %q", a.text)
	}
}
