package main

import (
	"net/url"
	"strings"
	"testing"

	"github.com/tidewaiter/tidewaiter"
)

// TestConsoleEnterpriseProject chooses the enterprise project whose images are
// shown; what the caller may not see of it is refused by the API.
func TestConsoleEnterpriseProject(t *testing.T) {
	h := newHouse(t)
	all := h.user("ann", tidewaiter.PolicyAuthorization, grant{policy: "HSS Administrator"})
	some := h.user("bob", tidewaiter.PolicyAuthorization, grant{policy: "HSS ReadOnlyAccess", project: "default", enterpriseProject: h.shop})
	page := "/p/" + h.project["default"] + "/"
	choose := func(v *visitor, id string) (int, string) {
		t.Helper()
		status, at, body := v.submit("/preferences", url.Values{"enterprise_project": {id}, "next": {page}})
		if at != page {
			t.Errorf("the choice leads to %s", at)
		}
		return status, body
	}
	ann := h.visitor()
	_, _, body := ann.signIn("ann", all)
	if !strings.Contains(body, `id="enterprise"`) || strings.Contains(body, `value="`+h.shop+`" selected`) {
		t.Errorf("no choice: %s", body)
	}
	if status, body := choose(ann, h.shop); status != 200 || !strings.Contains(body, `value="`+h.shop+`" selected`) {
		t.Errorf("chosen: %d", status)
	}
	if status, body := choose(ann, "a b<c>"); status != 200 || !strings.Contains(body, `value="`+h.shop+`" selected`) {
		t.Errorf("what is no id changes the choice: %d", status)
	}
	if status, body := choose(ann, "all_granted_eps"); status != 200 || strings.Contains(body, `value="`+h.shop+`" selected`) {
		t.Errorf("all again: %d", status)
	}

	bob := h.visitor()
	bob.signIn("bob", some)
	if status, _ := choose(bob, h.shop); status != 200 {
		t.Errorf("bob in his own: %d", status)
	}
	if status, body := choose(bob, "0"); status != 403 || problem(body) == "" || !strings.Contains(body, `id="enterprise"`) {
		t.Errorf("bob in the default one: %d", status)
	}
	if status, _ := choose(bob, "all_granted_eps"); status != 200 {
		t.Errorf("bob in all that he may see: %d", status)
	}
}
