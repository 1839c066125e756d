package main

import (
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/tidewaiter/tidewaiter"
)

// TestConsoleUsers makes a user who can sign in, with a policy and an access
// key, and takes all of it back; who may not is told which permission it takes.
func TestConsoleUsers(t *testing.T) {
	h := newHouse(t)
	manager := h.user("ann", tidewaiter.PolicyAuthorization, grant{policy: "IAM FullAccess"}, grant{policy: "HSS Administrator"})
	nobody := h.user("bob", tidewaiter.PolicyAuthorization, grant{policy: "HSS Administrator"})
	page := "/p/" + h.project["default"] + "/users"
	v := h.visitor()
	v.signIn("ann", manager)
	status, _, body := v.visit(page)
	if status != 200 || !strings.Contains(body, ">bob<") || !strings.Contains(body, "HSS Administrator") {
		t.Fatalf("users: %d %s", status, body)
	}
	policy := regexp.MustCompile(`<option value="([^"]+)">HSS ReadOnlyAccess</option>`).FindStringSubmatch(body)
	if policy == nil {
		t.Fatalf("no policy to choose: %s", body)
	}
	odd := "<b>" + strings.Repeat("x", 64)
	status, _, body = v.submit(page, url.Values{"name": {odd}, "policy": {policy[1]}})
	if status != 400 || problem(body) == "" || !strings.Contains(body, `value="&lt;b&gt;xxx`) || strings.Contains(body, "<b>xxx") {
		t.Errorf("an odd name: %d %s", status, problem(body))
	}
	status, _, body = v.submit(page, url.Values{"name": {"carol"}, "policy": {policy[1]}})
	password := regexp.MustCompile(`id="new-password">([^<]+)<`).FindStringSubmatch(body)
	if status != 200 || password == nil {
		t.Fatalf("a new user: %d %s", status, body)
	}
	carol := regexp.MustCompile(`<section [^>]*aria-label="carol">[\s\S]*?action="([^"]+)"`).FindStringSubmatch(body)
	if carol == nil {
		t.Fatalf("the new user is not in the list: %s", body)
	}
	if _, _, again := v.visit(page); strings.Contains(again, password[1]) {
		t.Error("the password is shown twice")
	}
	their := h.visitor()
	if status, _, body := their.signIn("carol", password[1]); status != 200 || !strings.Contains(body, "Overview") {
		t.Errorf("the new user signs in: %d", status)
	}

	_, _, body = v.submit(carol[1], url.Values{"do": {"key"}})
	secret := regexp.MustCompile(`id="new-secret">([^<]+)<`).FindStringSubmatch(body)
	key := regexp.MustCompile(`action="([^"]+/access-keys/[^"]+)"`).FindStringSubmatch(body[strings.Index(body, `aria-label="carol"`):])
	if secret == nil || key == nil {
		t.Fatalf("a new access key: %s", body)
	}
	if _, _, again := v.visit(page); strings.Contains(again, secret[1]) {
		t.Error("the secret key is shown twice")
	}
	if _, at, body := v.submit(key[1], url.Values{"do": {"disable"}}); at != page || !strings.Contains(body, "disabled") {
		t.Errorf("the key is disabled: at %s: %s", at, problem(body))
	}
	if _, _, body := v.submit(key[1], url.Values{"do": {"delete"}}); strings.Contains(body, key[1]) {
		t.Error("the key is there still")
	}
	if _, _, body := v.submit(carol[1], url.Values{"do": {"attach"}, "policy": {"none"}}); !strings.Contains(problem(body), "policy") {
		t.Errorf("a policy that is not there: %q", problem(body))
	}
	if status, _, body := v.submit(carol[1], url.Values{"do": {"password"}, "password": {"short"}}); status != 400 || !strings.Contains(body, "password") {
		t.Errorf("a short password: %d", status)
	}
	const changed = "correct horse battery 1"
	_, _, body = v.submit(carol[1], url.Values{"do": {"password"}, "password": {changed}})
	if status, _, _ := h.visitor().signIn("carol", changed); status != 200 {
		t.Errorf("with the new password: %d %s", status, problem(body))
	}
	v.submit(carol[1], url.Values{"do": {"detach"}, "policy": {policy[1]}})
	if status, _, _ := h.visitor().signIn("carol", changed); status != 403 {
		t.Errorf("without a policy: %d", status)
	}
	v.submit(carol[1], url.Values{"do": {"disable"}})
	if status, _, _ := h.visitor().signIn("carol", changed); status != 401 {
		t.Errorf("disabled, and still signed in: %d", status)
	}
	v.submit(carol[1], url.Values{"do": {"enable"}})
	if _, _, body := v.submit(carol[1], url.Values{"do": {"delete"}}); strings.Contains(body, "carol") {
		t.Error("the user is there still")
	}

	other := h.visitor()
	other.signIn("bob", nobody)
	if status, _, body := other.visit(page); status != 403 || !strings.Contains(body, "iam:users:list") {
		t.Errorf("without the permission: %d", status)
	}
	if status, _, body := other.submit(page, url.Values{"name": {"dave"}}); status != 403 || !strings.Contains(body, "iam:users:") {
		t.Errorf("without the permission: %d", status)
	}
}

// problem is what a page says went wrong.
func problem(body string) string {
	found := regexp.MustCompile(`alert alert-danger" role="alert"><div class="name">([^<]*)<`).FindStringSubmatch(body)
	if found == nil {
		return ""
	}
	return found[1]
}
