package adminapi_test

import (
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestUsers(t *testing.T) {
	h := newHouse(t)
	created := h.ask(201, "POST", "/users", object{"name": "alice"})
	password, _ := created.body["password"].(string)
	id, _ := created.body["id"].(string)
	if len(password) != 24 || created.body["authorization"] != "policy" || created.body["root"] != false || created.body["enabled"] != true {
		t.Errorf("got %s", created.text)
	}
	if created.Header.Get("Cache-Control") != "no-store" {
		t.Error("an answer with a password may be stored")
	}
	token := h.signIn("alice", password, "")

	// The generated password is shown this once, and a given one never.
	if a := h.ask(201, "POST", "/users", object{"name": "bob", "password": "correct horse 1", "root": true, "authorization": "identity-policy"}); strings.Contains(a.text, "password") ||
		a.body["root"] != true || a.body["authorization"] != "identity-policy" {
		t.Errorf("got %s", a.text)
	}
	for _, path := range []string{"/users", "/users/alice", "/users/" + id, "/users?name=bob"} {
		if a := h.ask(200, "GET", path, nil); strings.Contains(a.text, "password") || strings.Contains(a.text, password) {
			t.Errorf("%s has a password: %s", path, a.text)
		}
	}
	if diff := cmp.Diff([]string{"admin", "alice", "bob"}, h.ask(200, "GET", "/users", nil).items("name")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"bob"}, h.ask(200, "GET", "/users?name=bob", nil).items("name")); diff != "" {
		t.Error(diff)
	}
	if a := h.ask(200, "GET", "/users?name=nobody", nil); a.text != "{\"items\":[]}\n" {
		t.Errorf("an empty list is %q", a.text)
	}

	// A new password ends the tokens.
	a := h.ask(200, "PATCH", "/users/alice", object{"password": "correct horse 2"})
	if strings.Contains(a.text, "correct horse") {
		t.Errorf("the answer has the password: %s", a.text)
	}
	h.wantError(h.as(token, "GET", "/users", nil), 401, "APIGW.0301", "decrypt token fail")
	h.signIn("alice", "correct horse 2", "")
	if a := h.ask(200, "PATCH", "/users/"+id, object{"enabled": false}); a.body["enabled"] != false {
		t.Errorf("got %s", a.text)
	}
	if a := h.ask(200, "PATCH", "/users/"+id, object{}); a.body["enabled"] != false {
		t.Errorf("a change of nothing changed %s", a.text)
	}
	h.ask(204, "DELETE", "/users/alice", nil)
	h.fail(404, "HSS.0011", "there is no such user", "DELETE", "/users/alice", nil)
}

func TestUsersThatFail(t *testing.T) {
	h := newHouse(t)
	h.ask(201, "POST", "/users", object{"name": "alice"})
	h.fail(409, "HSS.0010", "name: another user has it already", "POST", "/users", object{"name": "alice"})
	h.fail(409, "HSS.0010", "last enabled root user", "DELETE", "/users/admin", nil)
	h.fail(409, "HSS.0010", "last enabled root user", "PATCH", "/users/admin", object{"root": false})
	h.fail(404, "HSS.0011", "no such user", "GET", "/users/nobody", nil)
	h.fail(404, "APIGW.0101", "does not exist", "GET", "/users/", nil)
	h.fail(404, "APIGW.0101", "does not exist", "PUT", "/users/alice", object{})
	for name, body := range map[string]any{
		"no body": nil, "not JSON": "name", "a list": "[]", "no name": object{}, "empty name": object{"name": ""},
		"long name": object{"name": strings.Repeat("x", 65)}, "blank before the name": object{"name": " x"},
		"name of two lines": object{"name": "x\ny"}, "name that turns text around": object{"name": "x\u202ey"},
		"name of a number": object{"name": 1}, "short password": object{"name": "x", "password": "hunter2"},
		"password is the name": object{"name": "longenough1", "password": "longenough1"},
		"unknown model":        object{"name": "x", "authorization": "hunter2"},
		"unknown field":        object{"name": "x", "roots": "hunter2"},
	} {
		t.Run(name, func(t *testing.T) {
			a := h.as(h.token, "POST", "/users", body)
			h.wantError(a, 400, "HSS.0001", "")
			if strings.Contains(a.text, "hunter2") || strings.Contains(a.text, "longenough1") {
				t.Errorf("the answer repeats a value: %s", a.text)
			}
		})
	}
}

// TestStrangeNames gives each thing names that are awkward in JSON, in a path or
// in HTML, and finds it again by them.
func TestStrangeNames(t *testing.T) {
	h := newHouse(t)
	names := []string{
		`a"b\c`, "a/b", "..", ".", "%2F", "a%zz", "a?b#c", "a b", "<b>&amp;", "名前", "é", "e\u0301", "🦀", "a;b&c=d", "'", "$(id)",
		strings.Repeat("é", 64),
	}
	for _, path := range []string{"/users", "/projects", "/enterprise-projects"} {
		for _, name := range names {
			a := h.ask(201, "POST", path, object{"name": name})
			if a.body["name"] != name {
				t.Errorf("%s: made %q from %q", path, a.body["name"], name)
			}
			list := h.ask(200, "GET", path+"?name="+url.QueryEscape(name), nil)
			if got := list.items("name"); !slices.Equal(got, []string{name}) {
				t.Errorf("%s: looked for %q, found %q", path, name, got)
			}
			if path == "/enterprise-projects" {
				continue // they are found by id
			}
			a = h.ask(200, "PATCH", path+"/"+url.PathEscape(name), object{"enabled": false})
			if a.body["name"] != name || a.body["enabled"] != false {
				t.Errorf("%s: changed %q: %s", path, name, a.text)
			}
			h.ask(204, "DELETE", path+"/"+url.PathEscape(name), nil)
		}
	}
}

func TestAccessKeys(t *testing.T) {
	h := newHouse(t)
	h.ask(201, "POST", "/users", object{"name": "alice"})
	created := h.ask(201, "POST", "/access-keys", object{"user_id": "alice"})
	ak, _ := created.body["access_key"].(string)
	sk, _ := created.body["secret_key"].(string)
	if len(ak) != 20 || len(sk) != 40 || created.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("got %v %s", created.Header, created.text)
	}
	for _, path := range []string{"/access-keys", "/access-keys?user_id=alice"} {
		a := h.ask(200, "GET", path, nil)
		if !slices.Contains(a.items("access_key"), ak) || strings.Contains(a.text, "secret") || strings.Contains(a.text, sk) {
			t.Errorf("%s: got %s", path, a.text)
		}
	}
	if n := len(h.ask(200, "GET", "/access-keys", nil).items("access_key")); n != 2 {
		t.Errorf("the account has %d access keys, want 2", n)
	}
	h.ask(201, "POST", "/access-keys", object{"user_id": "alice"})
	h.fail(409, "HSS.0010", "2 access keys already", "POST", "/access-keys", object{"user_id": "alice"})
	h.ask(204, "PATCH", "/access-keys/"+ak, object{"enabled": false})
	a := h.ask(200, "GET", "/access-keys?user_id=alice", nil)
	if strings.Count(a.text, `"enabled":false`) != 1 {
		t.Errorf("got %s", a.text)
	}
	h.fail(400, "HSS.0001", "enabled", "PATCH", "/access-keys/"+ak, object{})
	h.ask(204, "DELETE", "/access-keys/"+ak, nil)
	h.fail(404, "HSS.0011", "no such access key", "DELETE", "/access-keys/"+ak, nil)
	h.fail(404, "HSS.0011", "no such user", "POST", "/access-keys", object{"user_id": "nobody"})
	h.fail(404, "HSS.0011", "no such user", "GET", "/access-keys?user_id=nobody", nil)
	h.fail(400, "HSS.0001", "user_id", "POST", "/access-keys", object{})
}

func TestProjects(t *testing.T) {
	h := newHouse(t)
	for path, first := range map[string]string{"/projects": "default", "/enterprise-projects": "default"} {
		created := h.ask(201, "POST", path, object{"name": "one", "description": "the first"})
		id, _ := created.body["id"].(string)
		if created.body["description"] != "the first" || created.body["enabled"] != true {
			t.Errorf("got %s", created.text)
		}
		if diff := cmp.Diff([]string{first, "one"}, h.ask(200, "GET", path, nil).items("name")); diff != "" {
			t.Error(diff)
		}
		a := h.ask(200, "PATCH", path+"/"+id, object{"description": "", "enabled": false})
		if a.body["description"] != "" || a.body["enabled"] != false {
			t.Errorf("got %s", a.text)
		}
		h.fail(409, "HSS.0010", "has it already", "POST", path, object{"name": "one"})
		h.fail(404, "HSS.0011", "there is no such", "PATCH", path+"/nowhere", object{"enabled": true})
		h.fail(400, "HSS.0001", "name", "POST", path, object{"name": ""})
		h.fail(400, "HSS.0001", "description", "POST", path, object{"name": "two", "description": strings.Repeat("x", 256)})
	}
	h.ask(204, "DELETE", "/projects/one", nil)
	h.fail(404, "HSS.0011", "no such project", "DELETE", "/projects/one", nil)
	h.fail(409, "HSS.0010", "default", "POST", "/enterprise-projects", object{"name": "default"})
}

func TestPoliciesAndGrants(t *testing.T) {
	h := newHouse(t)
	h.ask(201, "POST", "/users", object{"name": "alice"})
	document := object{"Version": "1.1", "Statement": []any{object{"Effect": "Allow", "Action": []any{"hss:images:*"}}}}
	created := h.ask(201, "POST", "/policies", object{"name": "images", "description": "d", "document": document})
	if diff := cmp.Diff(document, created.body["document"]); diff != "" || created.body["built_in"] != false {
		t.Errorf("got %s\n%s", created.text, diff)
	}
	builtIn := []string{"HSS Administrator", "HSS FullAccess", "HSS ReadOnlyAccess", "IAM FullAccess"}
	names := h.ask(200, "GET", "/policies", nil).items("name")
	if diff := cmp.Diff(append(builtIn, "images"), names); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"images"}, h.ask(200, "GET", "/policies?name=images", nil).items("name")); diff != "" {
		t.Error(diff)
	}

	grant := object{"user_id": "alice", "policy_id": "images", "project_id": "default"}
	a := h.ask(201, "POST", "/grants", grant)
	if a.body["project_id"] != h.boot.Project.ID || a.body["policy_id"] != created.body["id"] {
		t.Errorf("the grant has no ids: %s", a.text)
	}
	h.ask(201, "POST", "/grants", grant) // it is there already
	h.ask(201, "POST", "/grants", object{"user_id": "alice", "policy_id": "images", "enterprise_project_id": "0"})
	grants := h.ask(200, "GET", "/grants", nil)
	if diff := cmp.Diff([]string{"images", "images"}, grants.items("policy_name")); diff != "" || !slices.Equal(grants.items("user_name"), []string{"alice", "alice"}) {
		t.Errorf("%s\n%s", grants.text, diff)
	}
	h.ask(204, "DELETE", "/grants?user_id=alice&policy_id=images&project_id=default", nil)
	h.fail(404, "HSS.0011", "no such grant", "DELETE", "/grants?user_id=alice&policy_id=images&project_id=default", nil)
	h.fail(400, "HSS.0001", "policy_id", "DELETE", "/grants?user_id=alice", nil)
	h.ask(204, "DELETE", "/policies/images", nil)
	if grants := h.ask(200, "GET", "/grants", nil).items("policy_name"); len(grants) > 0 {
		t.Errorf("grants of a policy that is gone: %v", grants)
	}

	for field, body := range map[string]object{
		"user": {"user_id": "nobody", "policy_id": "HSS FullAccess"}, "policy": {"user_id": "alice", "policy_id": "nothing"},
		"project":            {"user_id": "alice", "policy_id": "HSS FullAccess", "project_id": "nowhere"},
		"enterprise project": {"user_id": "alice", "policy_id": "HSS FullAccess", "enterprise_project_id": "nowhere"},
	} {
		h.fail(404, "HSS.0011", "there is no such "+field, "POST", "/grants", body)
	}
	h.fail(403, "APIGW.0302", "built-in", "DELETE", "/policies/HSS%20FullAccess", nil)
	h.fail(409, "HSS.0010", "choose another name", "POST", "/policies", object{"name": "hss fullaccess", "document": document})
	for path, text := range map[string]string{
		"Statement[0].Action[0]": `{"Version":"1.1","Statement":[{"Effect":"Allow","Action":["all"]}]}`,
		"Statement[0].Condition": `{"Version":"1.1","Statement":[{"Effect":"Allow","Action":["hss:*:*"],"Condition":{}}]}`,
		"Statement[0].Effect":    `{"Version":"1.1","Statement":[{"Effect":"allow","Action":["hss:*:*"]}]}`,
		"Version":                `{"Version":"1.0","Statement":[{"Effect":"Allow","Action":["hss:*:*"]}]}`,
		"document":               `[]`,
	} {
		h.fail(400, "HSS.0001", path, "POST", "/policies", `{"name":"x","document":`+text+`}`)
	}
}
