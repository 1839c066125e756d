package iamapi_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/identity"
)

const tokens = "/v3/auth/tokens"

func TestCreateToken(t *testing.T) {
	h := newHouse(t)
	id := h.boot.Project.ID
	for _, tt := range []struct {
		name, scope string
		project     bool
	}{
		{"no scope", "", false},
		{"domain by name", `{"domain":{"name":"tidewaiter"}}`, false},
		{"domain by id", `{"domain":{"id":"` + h.boot.Domain.ID + `"}}`, false},
		{"project by id", `{"project":{"id":"` + id + `"}}`, true},
		{"project by name", `{"project":{"name":"default"}}`, true},
		{"project by name with its domain", `{"project":{"name":"default","domain":{"name":"tidewaiter"}}}`, true},
		{"project wins over domain", `{"domain":{"name":"another"},"project":{"name":"default"}}`, true},
		{"unknown fields", `{"project":{"id":"` + id + `","region":"x"},"OS-TRUST:trust":{"id":"1"}}`, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := h.do("POST", tokens, h.signIn("admin", h.boot.Password, tt.scope))
			if a.StatusCode != http.StatusCreated {
				t.Fatalf("got %d %s", a.StatusCode, a.text)
			}
			token := a.Header.Get("X-Subject-Token")
			if !regexp.MustCompile(`^tw1_[A-Za-z0-9_-]{43}$`).MatchString(token) || strings.Contains(a.text, token) {
				t.Errorf("X-Subject-Token is %q, the body %s", token, a.text)
			}
			if a.Header.Get("Cache-Control") != "no-store" {
				t.Error("the answer may be stored")
			}
			want := map[string]any{
				"token.user.name": "admin", "token.user.id": h.boot.User.ID, "token.user.domain.name": "tidewaiter",
				"token.user.password_expires_at": "", "token.methods.0": "password",
				"token.roles.0.name": "HSS Administrator", "token.roles.1.name": "IAM FullAccess",
				"token.catalog.0.type": "identity", "token.catalog.0.endpoints.0.url": endpoint + "/v3",
				"token.catalog.0.endpoints.0.interface": "public",
				"token.domain.id":                       h.boot.Domain.ID, "token.project": nil, "token.catalog.1": nil,
			}
			if tt.project {
				delete(want, "token.project")
				delete(want, "token.catalog.1")
				for path, v := range map[string]any{
					"token.domain": nil, "token.domain.id": nil,
					"token.project.id": id, "token.project.name": "default", "token.project.domain.id": h.boot.Domain.ID,
					"token.catalog.1.type":            "hss",
					"token.catalog.1.endpoints.0.url": endpoint + "/v5/" + id, "token.catalog.1.endpoints.0.region": "default",
				} {
					want[path] = v
				}
			}
			for path, v := range want {
				if got := a.at(path); got != v {
					t.Errorf("%s is %v, want %v", path, got, v)
				}
			}
			checkTimes(t, a)
		})
	}
}

// checkTimes wants IAM's form of a time, and 24 hours between the two.
func checkTimes(t *testing.T, a answer) {
	t.Helper()
	form := regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$`)
	var times [2]time.Time
	for i, path := range []string{"token.issued_at", "token.expires_at"} {
		text, _ := a.at(path).(string)
		if !form.MatchString(text) {
			t.Errorf("%s is %q", path, text)
		}
		times[i], _ = time.Parse("2006-01-02T15:04:05.000000Z", text)
	}
	if d := times[1].Sub(times[0]); d != 24*time.Hour {
		t.Errorf("the token is good for %v", d)
	}
}

func TestCreateTokenWithUserIDAndWithoutCatalog(t *testing.T) {
	h := newHouse(t)
	body := `{"auth":{"identity":{"methods":["password"],"password":{"user":{"id":"` + h.boot.User.ID + `","password":"` + h.boot.Password +
		`","extra":1},"extra":[]},"extra":{}},"extra":null},"extra":"x"}`
	a := h.do("POST", tokens+"?nocatalog=true", body)
	if a.StatusCode != http.StatusCreated || strings.Contains(a.text, endpoint) {
		t.Errorf("got %d %s", a.StatusCode, a.text)
	}
	if catalog, ok := a.at("token.catalog").([]any); !ok || len(catalog) > 0 {
		t.Errorf("the catalog is %v, want an empty list", a.at("token.catalog"))
	}
}

func TestSignInThatFails(t *testing.T) {
	h := newHouse(t)
	_, _, err := h.id.CreateUser(t.Context(), h.root, identity.NewUser{Name: "off", Password: "correct horse 1"})
	h.must(err)
	disabled := false
	_, err = h.id.UpdateUser(t.Context(), h.root, "off", identity.UserChange{Enabled: &disabled})
	h.must(err)
	h.wantError(h.do("POST", tokens, h.signIn("off", "correct horse 1", "")), 401, "IAM.0001", "disabled")

	other := strings.Replace(h.signIn("admin", "x", ""), `"name":"tidewaiter"`, `"name":"another"`, 1)
	var texts []string
	for _, body := range []string{h.signIn("admin", "hunter2", ""), h.signIn("nobody", "hunter2", ""), other} {
		a := h.do("POST", tokens, body)
		h.wantError(a, 401, "IAM.0001", "the user name or the password is wrong")
		if a.Header.Get("X-Subject-Token") != "" || strings.Contains(a.text, "hunter2") {
			t.Errorf("the answer has too much: %v %s", a.Header, a.text)
		}
		texts = append(texts, strings.ReplaceAll(a.text, a.Header.Get("X-Request-Id"), ""))
	}
	if texts[0] != texts[1] || texts[0] != texts[2] {
		t.Errorf("the answers tell who exists: %q", texts)
	}
	for name, tt := range map[string]struct{ scope, field string }{
		"unknown project":      {`{"project":{"name":"nowhere"}}`, "auth.scope.project"},
		"unknown project's id": {`{"project":{"id":"0123"}}`, "auth.scope.project"},
		"unknown domain":       {`{"domain":{"name":"another"}}`, "auth.scope.domain"},
	} {
		t.Run(name, func(*testing.T) {
			h.wantError(h.do("POST", tokens, h.signIn("admin", h.boot.Password, tt.scope)), 403, "IAM.0003", tt.field)
		})
	}
}

func TestLockedAfterFiveWrongPasswords(t *testing.T) {
	h := newHouse(t)
	for range 5 {
		h.wantError(h.do("POST", tokens, h.signIn("admin", "wrong", "")), 401, "IAM.0001", "is wrong")
	}
	h.wantError(h.do("POST", tokens, h.signIn("admin", h.boot.Password, "")), 401, "IAM.0001", "locked")
}

func TestMalformedSignIn(t *testing.T) {
	h := newHouse(t)
	user := func(u string) string {
		return `{"auth":{"identity":{"methods":["password"],"password":{"user":` + u + `}}}}`
	}
	for name, tt := range map[string]struct{ body, message string }{
		"empty":               {"", "body"},
		"not JSON":            {"hunter2", ""},
		"cut off":             {`{"auth":{"identity":{"password":"hunter2"`, ""},
		"null":                {"null", ""},
		"a list":              {`["hunter2"]`, "object"},
		"no auth":             {"{}", "auth"},
		"no methods":          {`{"auth":{"identity":{}}}`, "methods"},
		"no method":           {`{"auth":{"identity":{"methods":[]}}}`, "methods"},
		"another method":      {`{"auth":{"identity":{"methods":["token"],"token":{"id":"hunter2"}}}}`, `only ["password"] is supported`},
		"two methods":         {`{"auth":{"identity":{"methods":["password","totp"]}}}`, `only ["password"]`},
		"no password":         {`{"auth":{"identity":{"methods":["password"]}}}`, "auth.identity.password: it is missing"},
		"no user":             {`{"auth":{"identity":{"methods":["password"],"password":{}}}}`, "user"},
		"user without domain": {user(`{"name":"admin","password":"hunter2"}`), "give name and domain, or id"},
		"user without name":   {user(`{"password":"hunter2","domain":{"name":"tidewaiter"}}`), "give name and domain, or id"},
		"user without word":   {user(`{"name":"admin","domain":{"name":"tidewaiter"}}`), "password"},
		"empty word":          {user(`{"name":"admin","password":"","domain":{"name":"tidewaiter"}}`), "password"},
		"word of a number":    {user(`{"id":"a","password":424242}`), "password"},
		"word too long":       {user(`{"id":"a","password":"` + strings.Repeat("hunter2", 100) + `"}`), "password"},
		"word in a list":      {user(`{"id":"a","password":["hunter2"]}`), "password"},
	} {
		t.Run(name, func(t *testing.T) {
			a := h.do("POST", tokens, tt.body)
			h.wantError(a, 400, "IAM.0011", tt.message)
			if strings.Contains(a.text, "hunter2") || strings.Contains(a.text, "424242") {
				t.Errorf("the answer repeats a secret: %s", a.text)
			}
		})
	}
}

func TestShowCheckAndRevokeToken(t *testing.T) {
	h := newHouse(t)
	project, domain := h.token(`{"project":{"name":"default"}}`), h.token("")
	both := []string{"X-Auth-Token", domain, "X-Subject-Token", project}

	a := h.do("GET", tokens, "", both...)
	if a.StatusCode != 200 || a.Header.Get("X-Subject-Token") != project || a.at("token.project.name") != "default" {
		t.Errorf("GET: %d %v %s", a.StatusCode, a.Header, a.text)
	}
	checkTimes(t, a)
	if a = h.do("GET", tokens+"?nocatalog=1", "", both...); a.at("token.catalog.0") != nil {
		t.Errorf("the catalog is there: %s", a.text)
	}
	a = h.do("HEAD", tokens, "", both...)
	if a.StatusCode != 200 || a.Header.Get("X-Subject-Token") != project || a.text != "" {
		t.Errorf("HEAD: %d %v %q", a.StatusCode, a.Header, a.text)
	}
	h.wantError(h.do("GET", tokens, "", "X-Auth-Token", domain), 400, "IAM.0011", "X-Subject-Token")
	h.wantError(h.do("GET", tokens, "", "X-Subject-Token", project), 401, "IAM.0001", "x-auth-token not found")
	h.wantError(h.do("GET", tokens, "", "X-Auth-Token", domain, "X-Subject-Token", "tw1_none"), 404, "IAM.0004", "no such token")

	if a = h.do("DELETE", tokens, "", both...); a.StatusCode != 204 || a.text != "" {
		t.Errorf("DELETE: %d %q", a.StatusCode, a.text)
	}
	h.wantError(h.do("DELETE", tokens, "", both...), 404, "IAM.0004", "no such token")
	h.wantError(h.do("GET", tokens, "", both...), 404, "IAM.0004", "no such token")
	if a = h.do("HEAD", tokens, "", both...); a.StatusCode != 404 || a.text != "" {
		t.Errorf("HEAD of a token that is gone: %d %q", a.StatusCode, a.text)
	}
	h.wantError(h.do("GET", "/v3/projects", "", "X-Auth-Token", project), 401, "IAM.0001", "decrypt token fail")

	// A token may end itself; then it is good for nothing, not even for that.
	if a = h.do("DELETE", tokens, "", "X-Auth-Token", domain, "X-Subject-Token", domain); a.StatusCode != 204 {
		t.Errorf("DELETE of itself: %d %s", a.StatusCode, a.text)
	}
	h.wantError(h.do("DELETE", tokens, "", "X-Auth-Token", domain, "X-Subject-Token", domain), 401, "IAM.0001", "decrypt token fail")
}

func TestTokensOfOthers(t *testing.T) {
	h := newHouse(t)
	_, password, err := h.id.CreateUser(t.Context(), h.root, identity.NewUser{Name: "alice"})
	h.must(err)
	root := h.token("")
	alice := h.do("POST", tokens, h.signIn("alice", password, "")).Header.Get("X-Subject-Token")
	for _, method := range []string{"GET", "DELETE"} {
		h.wantError(h.do(method, tokens, "", "X-Auth-Token", alice, "X-Subject-Token", root), 404, "IAM.0004", "no such token")
	}
	if a := h.do("GET", tokens, "", "X-Auth-Token", root, "X-Subject-Token", alice); a.StatusCode != 200 || a.at("token.user.name") != "alice" {
		t.Errorf("root asks about alice: %d %s", a.StatusCode, a.text)
	}
}
