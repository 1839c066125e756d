package identity_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/identity"
	"github.com/tidewaiter/tidewaiter/internal/store/storetest"
)

func newHouseOnSQLite(t *testing.T) *house {
	t.Helper()
	return newHouse(t, storetest.Open(t, storetest.SQLite(t)))
}

func TestValidation(t *testing.T) {
	h := newHouseOnSQLite(t)
	ctx := t.Context()
	field := func(err error, kind tidewaiter.Kind, field string) {
		t.Helper()
		if e, ok := errors.AsType[*tidewaiter.Error](err); !ok || e.Kind != kind || e.Field != field {
			t.Errorf("got %v, want %v about %s", err, kind, field)
		}
	}
	const invalid = tidewaiter.Invalid
	for _, name := range []string{"", " a", "a ", strings.Repeat("é", 65), "a\nb", "a\x00", "a\u202eb", "\xff", "a\u200bb"} {
		_, _, err := h.CreateUser(ctx, h.root, identity.NewUser{Name: name})
		field(err, invalid, "name")
		_, err = h.CreateProject(ctx, h.root, name, "")
		field(err, invalid, "name")
		_, err = h.CreateEnterpriseProject(ctx, h.root, name, "")
		field(err, invalid, "name")
		_, err = h.UpdateUser(ctx, h.root, "admin", identity.UserChange{Name: &name})
		field(err, invalid, "name")
	}
	_, err := h.CreateProject(ctx, h.root, "p", strings.Repeat("x", 256))
	field(err, invalid, "description")
	for _, password := range []string{"short", strings.Repeat("x", 129), "Username", "\xff\xff\xff\xff\xff\xff\xff\xff"} {
		_, _, err := h.CreateUser(ctx, h.root, identity.NewUser{Name: "username", Password: password})
		field(err, invalid, "password")
	}
	_, _, err = h.CreateUser(ctx, h.root, identity.NewUser{Name: "u", Authorization: "x"})
	field(err, invalid, "authorization")
	_, _, err = h.CreateUser(ctx, h.root, identity.NewUser{Name: "admin"})
	field(err, tidewaiter.Conflict, "name")
	_, err = h.CreateProject(ctx, h.root, "default", "")
	field(err, tidewaiter.Conflict, "name")
	_, err = h.CreateEnterpriseProject(ctx, h.root, "default", "")
	field(err, tidewaiter.Conflict, "name")
	document := tidewaiter.PolicyDocument{Version: "1.1", Statement: []tidewaiter.PolicyStatement{{Effect: "Allow", Action: []string{"a:b:c"}}}}
	_, err = h.CreatePolicy(ctx, h.root, tidewaiter.Policy{Name: "hss fullaccess", Document: document})
	field(err, tidewaiter.Conflict, "name")
	document.Statement[0].Action[0] = "a"
	_, err = h.CreatePolicy(ctx, h.root, tidewaiter.Policy{Name: "p", Document: document})
	field(err, invalid, "Statement[0].Action[0]")
	_, err = h.CreateAccount(ctx, identity.BootstrapOptions{})
	field(err, invalid, "domain")
	_, err = h.CreateAccount(ctx, identity.BootstrapOptions{Domain: "tidewaiter"})
	field(err, tidewaiter.Conflict, "name")
	name := "x"
	_, err = h.UpdatePolicy(ctx, h.root, "HSS FullAccess", identity.PolicyChange{Name: &name})
	h.want(err, tidewaiter.Forbidden, "built-in")
	h.want(h.DeletePolicy(ctx, h.root, "HSS FullAccess"), tidewaiter.Forbidden, "built-in")
	h.want(h.DeleteEnterpriseProject(ctx, h.root, "0"), tidewaiter.NotFound, "")
}

// TestDomainsAreApart: whatever a caller of one domain names in another one,
// by id, does not exist.
func TestDomainsAreApart(t *testing.T) {
	eachHouse(t, func(h *house) {
		ctx := h.Context()
		u, _ := h.user("u")
		key, _, err := h.CreateAccessKey(ctx, h.root, u.ID)
		h.must(err)
		p, err := h.CreateProject(ctx, h.root, "p", "")
		h.must(err)
		e, err := h.CreateEnterpriseProject(ctx, h.root, "e", "")
		h.must(err)
		document := tidewaiter.PolicyDocument{Version: "1.1", Statement: []tidewaiter.PolicyStatement{{Effect: "Allow", Action: []string{"a:b:c"}}}}
		y, err := h.CreatePolicy(ctx, h.root, tidewaiter.Policy{Name: "y", Document: document})
		h.must(err)

		_, err = h.CreateAccount(ctx, identity.BootstrapOptions{Domain: "other", User: "them"})
		h.must(err)
		c, err := h.Operator(ctx, "other")
		h.must(err)
		them, err := h.User(ctx, c, "them")
		h.must(err)

		errs := map[string]error{}
		no := false
		_, errs["User"] = h.User(ctx, c, u.ID)
		_, errs["UpdateUser"] = h.UpdateUser(ctx, c, u.ID, identity.UserChange{Enabled: &no})
		errs["DeleteUser"] = h.DeleteUser(ctx, c, u.ID)
		_, errs["AccessKeys"] = h.AccessKeys(ctx, c, u.ID)
		_, _, errs["CreateAccessKey"] = h.CreateAccessKey(ctx, c, u.ID)
		errs["EnableAccessKey"] = h.EnableAccessKey(ctx, c, key.ID, false)
		errs["DeleteAccessKey"] = h.DeleteAccessKey(ctx, c, key.ID)
		_, errs["Project"] = h.Project(ctx, c, p.ID)
		_, errs["UpdateProject"] = h.UpdateProject(ctx, c, p.ID, identity.ProjectChange{Enabled: &no})
		errs["DeleteProject"] = h.DeleteProject(ctx, c, p.ID)
		_, errs["EnterpriseProject"] = h.EnterpriseProject(ctx, c, e.ID)
		_, errs["UpdateEnterpriseProject"] = h.UpdateEnterpriseProject(ctx, c, e.ID, identity.ProjectChange{Enabled: &no})
		errs["DeleteEnterpriseProject"] = h.DeleteEnterpriseProject(ctx, c, e.ID)
		_, errs["Policy"] = h.Policy(ctx, c, y.ID)
		_, errs["UpdatePolicy"] = h.UpdatePolicy(ctx, c, y.ID, identity.PolicyChange{Document: &document})
		errs["DeletePolicy"] = h.DeletePolicy(ctx, c, y.ID)
		_, errs["Grants"] = h.Grants(ctx, c, u.ID)
		_, errs["Grant to them"] = h.Grant(ctx, c, tidewaiter.Grant{UserID: u.ID, PolicyID: "HSS FullAccess"})
		_, errs["Grant of their policy"] = h.Grant(ctx, c, tidewaiter.Grant{UserID: them.ID, PolicyID: y.ID})
		_, errs["Grant in their project"] = h.Grant(ctx, c, tidewaiter.Grant{UserID: them.ID, PolicyID: "HSS FullAccess", ProjectID: p.ID})
		_, errs["Grant in their enterprise project"] = h.Grant(ctx, c, tidewaiter.Grant{UserID: them.ID, PolicyID: "HSS FullAccess", EnterpriseProjectID: e.ID})
		errs["Revoke"] = h.Revoke(ctx, c, tidewaiter.Grant{UserID: u.ID, PolicyID: "HSS FullAccess"})
		for what, err := range errs {
			if e, ok := errors.AsType[*tidewaiter.Error](err); !ok || e.Kind != tidewaiter.NotFound {
				h.Errorf("%s: got %v", what, err)
			}
		}
		users, err := h.Users(ctx, c)
		h.must(err)
		policies, err := h.Policies(ctx, c)
		h.must(err)
		eps, err := h.EnterpriseProjects(ctx, c)
		h.must(err)
		projects, total, err := h.Projects(ctx, c, identity.ProjectFilter{})
		h.must(err)
		if len(users) != 1 || len(policies) != 4 || len(eps) != 1 || eps[0].ID != "0" || len(projects) != 1 || total != 1 {
			h.Errorf("got %v, %v, %v, %v", users, policies, eps, projects)
		}
	})
}

func TestNobodyRisesAboveThemselves(t *testing.T) {
	h := newHouseOnSQLite(t)
	ctx := t.Context()
	_, r := h.user("manager")
	_, err := h.Grant(ctx, h.root, tidewaiter.Grant{UserID: "manager", PolicyID: "IAM FullAccess"})
	h.must(err)
	manager := h.alive(h.issue(r))
	h.must(manager.AuthorizeDomain("iam:users:create"))

	yes, password := true, "a new password"
	errs := map[string]error{}
	_, _, errs["make a root user"] = h.CreateUser(ctx, manager, identity.NewUser{Name: "x", Root: true})
	_, errs["become root"] = h.UpdateUser(ctx, manager, "manager", identity.UserChange{Root: &yes})
	_, errs["root's password"] = h.UpdateUser(ctx, manager, "admin", identity.UserChange{Password: &password})
	errs["delete root"] = h.DeleteUser(ctx, manager, "admin")
	_, _, errs["a key of root"] = h.CreateAccessKey(ctx, manager, "admin")
	errs["root's key"] = h.DeleteAccessKey(ctx, manager, h.boot.AccessKey)
	_, errs["a grant to root"] = h.Grant(ctx, manager, tidewaiter.Grant{UserID: "admin", PolicyID: "HSS FullAccess"})
	for what, err := range errs {
		if tidewaiter.KindOf(err) != tidewaiter.Forbidden {
			t.Errorf("%s: got %v", what, err)
		}
	}
	_, _, err = h.CreateUser(ctx, manager, identity.NewUser{Name: "plain"})
	h.must(err)
}

func TestTheLastRootUserStays(t *testing.T) {
	eachHouse(t, func(h *house) {
		ctx, no := h.Context(), false
		_, err := h.UpdateUser(ctx, h.root, "admin", identity.UserChange{Enabled: &no})
		h.want(err, tidewaiter.Conflict, "last enabled root")
		_, err = h.UpdateUser(ctx, h.root, "admin", identity.UserChange{Root: &no})
		h.want(err, tidewaiter.Conflict, "last enabled root")
		h.want(h.DeleteUser(ctx, h.root, "admin"), tidewaiter.Conflict, "last enabled root")

		// Two root users are disabled at the same time: one stays.
		yes := true
		_, _, err = h.CreateUser(ctx, h.root, identity.NewUser{Name: "second", Root: true})
		h.must(err)
		for range 10 {
			errs := make(chan error, 2)
			start := make(chan struct{})
			for _, name := range []string{"admin", "second"} {
				go func() {
					<-start
					_, err := h.UpdateUser(ctx, h.root, name, identity.UserChange{Enabled: &no})
					errs <- err
				}()
			}
			close(start)
			one, two := <-errs, <-errs
			if (one == nil) == (two == nil) {
				h.Fatalf("got %v and %v", one, two)
			}
			for _, name := range []string{"admin", "second"} {
				_, err := h.UpdateUser(ctx, h.root, name, identity.UserChange{Enabled: &yes})
				h.must(err)
			}
		}
	})
}

func TestTwoAccessKeys(t *testing.T) {
	eachHouse(t, func(h *house) {
		ctx := h.Context()
		h.user("u")
		var mu sync.Mutex
		var made []string
		var wg sync.WaitGroup
		for range 6 {
			wg.Go(func() {
				k, _, err := h.CreateAccessKey(ctx, h.root, "u")
				if err != nil {
					h.want(err, tidewaiter.Conflict, "2 access keys already")
					return
				}
				mu.Lock()
				defer mu.Unlock()
				made = append(made, k.ID)
			})
		}
		wg.Wait()
		keys, err := h.AccessKeys(ctx, h.root, "u")
		h.must(err)
		if len(made) != 2 || len(keys) != 2 {
			h.Fatalf("made %v, have %v", made, keys)
		}
		h.must(h.DeleteAccessKey(ctx, h.root, made[0]))
		_, _, err = h.CreateAccessKey(ctx, h.root, "u")
		h.must(err)
	})
}

func TestProjects(t *testing.T) {
	eachHouse(t, func(h *house) {
		ctx, no, yes := h.Context(), false, true
		for _, name := range []string{"a", "b", "c"} {
			_, err := h.CreateProject(ctx, h.root, name, "")
			h.must(err)
		}
		_, err := h.UpdateProject(ctx, h.root, "b", identity.ProjectChange{Enabled: &no})
		h.must(err)
		_, r := h.user("u")
		for _, p := range []string{"b", "c"} {
			_, err = h.Grant(ctx, h.root, tidewaiter.Grant{UserID: "u", PolicyID: "HSS FullAccess", ProjectID: p})
			h.must(err)
		}
		u := h.alive(h.issue(r))
		root := h.alive(h.issue(h.request()))
		for _, c := range []struct {
			caller *tidewaiter.Caller
			filter identity.ProjectFilter
			want   string
		}{
			{root, identity.ProjectFilter{}, "a b c default of 4"},
			{root, identity.ProjectFilter{Name: "b"}, "b of 1"},
			{root, identity.ProjectFilter{Name: "x"}, "of 0"},
			{root, identity.ProjectFilter{Enabled: &no}, "b of 1"},
			{root, identity.ProjectFilter{Enabled: &yes, PerPage: 2}, "a c of 3"},
			{root, identity.ProjectFilter{Enabled: &yes, PerPage: 2, Page: 2}, "default of 3"},
			{root, identity.ProjectFilter{PerPage: 2, Page: 3}, "of 4"},
			{root, identity.ProjectFilter{PerPage: 5000, Page: 1 << 62}, "of 4"},
			{root, identity.ProjectFilter{DomainID: h.boot.Domain.ID, ParentID: h.boot.Domain.ID}, "a b c default of 4"},
			{root, identity.ProjectFilter{DomainID: "x"}, "of 0"},
			{root, identity.ProjectFilter{ParentID: "x"}, "of 0"},
			{u, identity.ProjectFilter{}, "b c of 2"},
			{u, identity.ProjectFilter{Name: "default"}, "of 0"},
		} {
			page, total, err := h.Projects(ctx, c.caller, c.filter)
			h.must(err)
			if got := strings.TrimSpace(names(page) + fmt.Sprintf(" of %d", total)); got != c.want {
				h.Errorf("%+v: got %q, want %q", c.filter, got, c.want)
			}
		}
		page, err := h.EnterableProjects(ctx, u)
		h.must(err)
		if names(page) != "c" {
			h.Errorf("enterable are %v", names(page))
		}
	})
}

func names(projects []tidewaiter.Project) string {
	var out []string
	for _, p := range projects {
		out = append(out, p.Name)
	}
	return strings.Join(out, " ")
}

func TestEnterpriseProjectGrants(t *testing.T) {
	eachHouse(t, func(h *house) {
		ctx := h.Context()
		e, err := h.CreateEnterpriseProject(ctx, h.root, "e", "d")
		h.must(err)
		_, r := h.user("u")
		grant := tidewaiter.Grant{UserID: "u", PolicyID: "HSS FullAccess", ProjectID: "default", EnterpriseProjectID: e.ID}
		_, err = h.Grant(ctx, h.root, grant)
		h.must(err)
		r.Scope.ProjectName = "default"
		c := h.alive(h.issue(r))
		h.must(c.Authorize("hss:images:get", h.boot.Project.ID, e.ID, false))
		h.must(c.Authorize("hss:images:get", h.boot.Project.ID, tidewaiter.AllGrantedEnterpriseProjects, false))
		h.want(c.Authorize("hss:images:get", h.boot.Project.ID, "", false), tidewaiter.Forbidden, "no policy")
		if all, ids := c.EnterpriseProjects("hss:images:get", h.boot.Project.ID, false); all || len(ids) != 1 || ids[0] != e.ID {
			h.Errorf("got %v %v", all, ids)
		}
		name := "renamed"
		e, err = h.UpdateEnterpriseProject(ctx, h.root, e.ID, identity.ProjectChange{Name: &name})
		h.must(err)
		list, err := h.EnterpriseProjects(ctx, h.root)
		h.must(err)
		if len(list) != 2 || list[0].ID != "0" || list[1] != e || e.Name != name {
			h.Errorf("got %+v", list)
		}
		h.must(h.DeleteEnterpriseProject(ctx, h.root, e.ID))
		grants, err := h.Grants(ctx, h.root, "")
		h.must(err)
		if len(grants) != 0 {
			h.Errorf("grants left: %+v", grants)
		}
	})
}
