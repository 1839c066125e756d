package iamapi_test

import (
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/identity"
)

func TestListProjects(t *testing.T) {
	h := newHouse(t)
	for _, name := range []string{"region-1", "region-2", "region-10"} {
		_, err := h.id.CreateProject(t.Context(), h.root, name, "")
		h.must(err)
	}
	disabled := false
	_, err := h.id.UpdateProject(t.Context(), h.root, "region-2", identity.ProjectChange{Enabled: &disabled})
	h.must(err)
	token := h.token("")
	domain := h.boot.Domain.ID
	all := []string{"default", "region-1", "region-10", "region-2"}
	for query, want := range map[string][]string{
		"":                            all,
		"?name=region-1":              {"region-1"}, // one, though another begins so
		"?name=Region-1":              {},
		"?name=nowhere":               {},
		"?domain_id=" + domain:        all,
		"?domain_id=another":          {},
		"?parent_id=" + domain:        all,
		"?parent_id=another":          {},
		"?enabled=true":               {"default", "region-1", "region-10"},
		"?enabled=false":              {"region-2"},
		"?is_domain=true":             {},
		"?is_domain=false":            all,
		"?page=1&per_page=3":          all[:3],
		"?page=2&per_page=3":          all[3:],
		"?page=3&per_page=3":          {},
		"?page=9223372036854775807":   {},
		"?per_page=5000":              all,
		"?enabled=false&name=default": {},
	} {
		a := h.do("GET", "/v3/projects"+query, "", "X-Auth-Token", token)
		if diff := cmp.Diff(want, a.names("projects")); a.StatusCode != 200 || diff != "" {
			t.Errorf("%s: %d %s\n%s", query, a.StatusCode, a.text, diff)
		}
	}
	for query, message := range map[string]string{
		"?per_page=0": "per_page", "?per_page=5001": "per_page", "?page=0": "page", "?enabled=yes": "enabled",
		"?name=a&name=b": "more than once", "?domain-id=a": "did you mean domain_id", "?per_page=ten": "per_page",
	} {
		h.wantError(h.do("GET", "/v3/projects"+query, "", "X-Auth-Token", token), 400, "IAM.0011", message)
	}

	a := h.do("GET", "/v3/projects?name=default", "", "X-Auth-Token", token)
	id := h.boot.Project.ID
	want := map[string]any{
		"links": map[string]any{"self": endpoint + "/v3/projects", "previous": nil, "next": nil},
		"projects": []any{map[string]any{
			"id": id, "name": "default", "domain_id": domain, "parent_id": domain, "description": "The first project.",
			"enabled": true, "is_domain": false, "links": map[string]any{"self": endpoint + "/v3/projects/" + id},
		}},
	}
	if diff := cmp.Diff(want, a.body); diff != "" {
		t.Errorf("the form differs:\n%s", diff)
	}
}

func TestListAuthProjects(t *testing.T) {
	h := newHouse(t)
	for _, name := range []string{"granted", "other", "off"} {
		_, err := h.id.CreateProject(t.Context(), h.root, name, "")
		h.must(err)
	}
	_, password, err := h.id.CreateUser(t.Context(), h.root, identity.NewUser{Name: "alice"})
	h.must(err)
	for _, project := range []string{"granted", "off"} {
		_, err = h.id.Grant(t.Context(), h.root, tidewaiter.Grant{UserID: "alice", PolicyID: "HSS ReadOnlyAccess", ProjectID: project})
		h.must(err)
	}
	disabled := false
	_, err = h.id.UpdateProject(t.Context(), h.root, "off", identity.ProjectChange{Enabled: &disabled})
	h.must(err)
	alice := h.do("POST", tokens, h.signIn("alice", password, "")).Header.Get("X-Subject-Token")

	a := h.do("GET", "/v3/auth/projects", "", "X-Auth-Token", alice)
	if diff := cmp.Diff([]string{"granted"}, a.names("projects")); diff != "" {
		t.Errorf("alice may enter:\n%s", diff)
	}
	// Without iam:projects:list the other list shows no more than what she may enter.
	a = h.do("GET", "/v3/projects", "", "X-Auth-Token", alice)
	if diff := cmp.Diff([]string{"granted", "off"}, a.names("projects")); diff != "" {
		t.Errorf("alice sees:\n%s", diff)
	}
	a = h.do("GET", "/v3/auth/projects", "", "X-Auth-Token", h.token(""))
	if diff := cmp.Diff([]string{"default", "granted", "other"}, a.names("projects")); diff != "" {
		t.Errorf("root may enter:\n%s", diff)
	}
}

func TestListAuthDomains(t *testing.T) {
	h := newHouse(t)
	a := h.do("GET", "/v3/auth/domains", "", "X-Auth-Token", h.token(""))
	want := map[string]any{
		"links": map[string]any{"self": endpoint + "/v3/auth/domains", "previous": nil, "next": nil},
		"domains": []any{map[string]any{
			"id": h.boot.Domain.ID, "name": "tidewaiter", "description": "", "enabled": true,
			"links": map[string]any{"self": endpoint + "/v3/domains/" + h.boot.Domain.ID},
		}},
	}
	if diff := cmp.Diff(want, a.body); diff != "" {
		t.Errorf("the form differs:\n%s", diff)
	}
	h.wantError(h.do("GET", "/v3/auth/domains", ""), 401, "IAM.0001", "x-auth-token not found")
	h.wantError(h.do("GET", "/v3/nowhere", ""), 404, "APIGW.0101", "does not exist")
}

func TestListEnterpriseProjects(t *testing.T) {
	h := newHouse(t)
	for _, name := range []string{"shop", "web"} {
		_, err := h.id.CreateEnterpriseProject(t.Context(), h.root, name, "the "+name)
		h.must(err)
	}
	all, err := h.id.EnterpriseProjects(t.Context(), h.root)
	h.must(err)
	shop := all[1].ID
	disabled := false
	_, err = h.id.UpdateEnterpriseProject(t.Context(), h.root, shop, identity.ProjectChange{Enabled: &disabled})
	h.must(err)
	token := h.token("")
	for query, want := range map[string]struct {
		names []string
		total float64
	}{
		"":                  {[]string{"default", "shop", "web"}, 3},
		"?name=shop":        {[]string{"shop"}, 1},
		"?id=0":             {[]string{"default"}, 1},
		"?id=" + shop:       {[]string{"shop"}, 1},
		"?status=1":         {[]string{"default", "web"}, 2},
		"?status=2":         {[]string{"shop"}, 1},
		"?limit=1&offset=1": {[]string{"shop"}, 3},
		"?limit=2":          {[]string{"default", "shop"}, 3},
		"?offset=3":         {[]string{}, 3},
	} {
		a := h.do("GET", "/v1.0/enterprise-projects"+query, "", "X-Auth-Token", token)
		if diff := cmp.Diff(want.names, a.names("enterprise_projects")); diff != "" || a.at("total_count") != want.total {
			t.Errorf("%s: %s\n%s", query, a.text, diff)
		}
	}
	for _, query := range []string{"?limit=0", "?limit=1001", "?offset=-1", "?status=3"} {
		h.wantError(h.do("GET", "/v1.0/enterprise-projects"+query, "", "X-Auth-Token", token), 400, "IAM.0011", "")
	}
	a := h.do("GET", "/v1.0/enterprise-projects?name=shop", "", "X-Auth-Token", token)
	if a.at("enterprise_projects.0.status") != 2.0 || a.at("enterprise_projects.0.description") != "the shop" {
		t.Errorf("got %s", a.text)
	}
	for _, field := range []string{"created_at", "updated_at"} {
		text, _ := a.at("enterprise_projects.0." + field).(string)
		if !regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$`).MatchString(text) {
			t.Errorf("%s is %q", field, text)
		}
	}
}
