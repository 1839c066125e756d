package adminapi_test

import (
	"strings"
	"testing"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/identity"
)

// operations are all requests of this API, as method, path and body. Those that
// change something name what is not there.
func operations() [][3]string {
	return [][3]string{
		{"GET", "/users", ""}, {"POST", "/users", `{"name":" "}`}, {"GET", "/users/nobody", ""},
		{"PATCH", "/users/nobody", `{}`}, {"DELETE", "/users/nobody", ""},
		{"GET", "/access-keys", ""}, {"POST", "/access-keys", `{"user_id":"nobody"}`},
		{"PATCH", "/access-keys/none", `{"enabled":true}`}, {"DELETE", "/access-keys/none", ""},
		{"GET", "/projects", ""}, {"POST", "/projects", `{"name":" "}`},
		{"PATCH", "/projects/none", `{}`}, {"DELETE", "/projects/none", ""},
		{"GET", "/enterprise-projects", ""}, {"POST", "/enterprise-projects", `{"name":" "}`}, {"PATCH", "/enterprise-projects/none", `{}`},
		{"GET", "/policies", ""}, {"POST", "/policies", `{"name":"x","document":{}}`}, {"DELETE", "/policies/none", ""},
		{"GET", "/grants", ""}, {"POST", "/grants", `{"user_id":"nobody","policy_id":"none"}`},
		{"DELETE", "/grants?user_id=nobody&policy_id=none", ""},
	}
}

func TestWhoMayAdminister(t *testing.T) {
	h := newHouse(t)
	_, err := h.id.CreatePolicy(t.Context(), h.root, tidewaiter.Policy{Name: "no reading", Document: tidewaiter.PolicyDocument{
		Version: "1.1", Statement: []tidewaiter.PolicyStatement{{Effect: tidewaiter.Deny, Action: []string{"iam:*:get", "iam:*:list"}}},
	}})
	h.must(err)
	_, password, err := h.id.CreateUser(t.Context(), h.root, identity.NewUser{Name: "local"})
	h.must(err)
	_, err = h.id.Grant(t.Context(), h.root, tidewaiter.Grant{UserID: "local", PolicyID: "IAM FullAccess", ProjectID: "default"})
	h.must(err)

	nobody := h.user("hss", "HSS FullAccess", "HSS Administrator", "HSS ReadOnlyAccess")
	manager := h.user("iam", "IAM FullAccess")
	denied := h.user("denied", "IAM FullAccess", "no reading")
	projectOnly := h.signIn("local", password, "")
	rootOfProject := h.signIn("admin", h.boot.Password, "default")

	for _, op := range operations() {
		method, path, body := op[0], op[1], op[2]
		reads := method == "GET"
		for name, tt := range map[string]struct {
			token   string
			allowed bool
			message string
		}{
			"root":                         {h.token, true, ""},
			"IAM FullAccess":               {manager, true, ""},
			"only HSS":                     {nobody, false, "no policy of the caller allows iam:"},
			"IAM FullAccess in a project":  {projectOnly, false, "no policy of the caller allows iam:"},
			"a token of a project":         {rootOfProject, reads, "the token is scoped to a project"},
			"Deny of reading wins":         {denied, !reads, "a policy of the caller denies iam:"},
			"nobody, without a credential": {"", false, "x-auth-token not found"},
		} {
			a := h.as(tt.token, method, path, body)
			forbidden := a.StatusCode == 403 || a.StatusCode == 401
			if forbidden == tt.allowed {
				t.Errorf("%s, %s %s: got %d %s", name, method, path, a.StatusCode, a.text)
			}
			if forbidden && !strings.Contains(a.text, tt.message) {
				t.Errorf("%s, %s %s: %s does not say %q", name, method, path, a.text, tt.message)
			}
		}
	}
}

// TestNobodyRisesAboveThemselves lets someone with IAM FullAccess, who is not
// root, try to become root or to act as one.
func TestNobodyRisesAboveThemselves(t *testing.T) {
	h := newHouse(t)
	manager := h.user("iam", "IAM FullAccess")
	for _, try := range [][3]string{
		{"POST", "/users", `{"name":"x","root":true}`},
		{"PATCH", "/users/iam", `{"root":true}`},
		{"PATCH", "/users/admin", `{"password":"correct horse 1"}`},
		{"PATCH", "/users/admin", `{"enabled":false}`},
		{"DELETE", "/users/admin", ""},
		{"POST", "/access-keys", `{"user_id":"admin"}`},
		{"PATCH", "/access-keys/" + h.boot.AccessKey, `{"enabled":false}`},
		{"DELETE", "/access-keys/" + h.boot.AccessKey, ""},
		{"POST", "/grants", `{"user_id":"admin","policy_id":"HSS FullAccess"}`},
	} {
		h.wantError(h.as(manager, try[0], try[1], try[2]), 403, "APIGW.0302", "only a root user")
	}
}

// TestOtherAccounts makes a second account, whose root user sees nothing of the
// first.
func TestOtherAccounts(t *testing.T) {
	h := newHouse(t)
	other, err := h.id.CreateAccount(t.Context(), identity.BootstrapOptions{Domain: "another", User: "root"})
	h.must(err)
	token, _, err := h.id.IssueToken(t.Context(), identity.TokenRequest{UserID: other.User.ID, Password: other.Password})
	h.must(err)
	h.user("alice")
	for _, path := range []string{"/users", "/projects", "/access-keys", "/grants"} {
		a := h.as(token, "GET", path, nil)
		for _, ours := range []string{h.boot.User.ID, h.boot.Project.ID, h.boot.AccessKey, "alice"} {
			if a.StatusCode != 200 || strings.Contains(a.text, ours) {
				t.Errorf("%s: %d %s", path, a.StatusCode, a.text)
			}
		}
	}
	for _, try := range [][3]string{
		{"GET", "/users/" + h.boot.User.ID, ""}, {"DELETE", "/users/alice", ""}, {"PATCH", "/users/" + h.boot.User.ID, `{"enabled":false}`},
		{"DELETE", "/projects/" + h.boot.Project.ID, ""}, {"DELETE", "/access-keys/" + h.boot.AccessKey, ""},
		{"POST", "/grants", `{"user_id":"` + h.boot.User.ID + `","policy_id":"HSS FullAccess"}`},
	} {
		h.wantError(h.as(token, try[0], try[1], try[2]), 404, "HSS.0011", "there is no such")
	}
}
