package tidewaiter

import (
	"fmt"
	"strings"
	"testing"
)

func document(effect Effect, actions ...string) PolicyDocument {
	return PolicyDocument{Version: "1.1", Statement: []PolicyStatement{{Effect: effect, Action: actions}}}
}

func TestAuthorize(t *testing.T) {
	const action = "hss:images:get"
	account := &Account{Projects: map[string]bool{"a": true, "b": true, "off": false}, EnterpriseProjects: []string{"e1", "e2"}}
	allow, deny := document(Allow, "hss:*:*"), document(Deny, "hss:images:*")
	grants := func(g ...CallerGrant) []CallerGrant { return g }
	everywhere := CallerGrant{Policy: "p", Document: allow}
	inA := CallerGrant{Policy: "p", Document: allow, ProjectID: "a"}
	inE1 := CallerGrant{Policy: "p", Document: allow, EnterpriseProjectID: "e1"}
	inDefault := CallerGrant{Policy: "p", Document: allow, EnterpriseProjectID: "0"}
	denied := CallerGrant{Policy: "q", Document: deny}
	deniedInA := CallerGrant{Policy: "q", Document: deny, ProjectID: "a"}
	deniedInE1 := CallerGrant{Policy: "q", Document: deny, EnterpriseProjectID: "e1"}
	const all = AllGrantedEnterpriseProjects

	for _, c := range []struct {
		name        string
		caller      Caller
		project, ep string
		exempt      bool
		want        string // a part of the error, or ""
	}{
		{"root, key", Caller{Scope: RequestScope, Root: true}, "a", "", false, ""},
		{"root, key, any enterprise project", Caller{Scope: RequestScope, Root: true}, "a", "e9", false, ""},
		{"root, key, unknown project", Caller{Scope: RequestScope, Root: true}, "c", "", false, "does not exist"},
		{"root, key, no project", Caller{Scope: RequestScope, Root: true}, "", "", false, "does not exist"},
		{"root, key, disabled project", Caller{Scope: RequestScope, Root: true}, "off", "", false, "is disabled"},
		{"root, token", Caller{Scope: ProjectScope, ProjectID: "a", Root: true}, "a", all, false, ""},
		{"root, token for a on b", Caller{Scope: ProjectScope, ProjectID: "a", Root: true}, "b", "", false, "another project"},
		{"root, token for the domain", Caller{Root: true}, "a", "", false, "auth.scope.project"},
		{"nothing granted, token", Caller{Scope: ProjectScope, ProjectID: "a"}, "a", "", false, "no policy"},
		{"nothing granted, key", Caller{Scope: RequestScope}, "a", "", false, "nothing is granted"},
		{"granted everywhere", Caller{Scope: RequestScope, Grants: grants(everywhere)}, "b", "e2", false, ""},
		{"granted everywhere, all", Caller{Scope: RequestScope, Grants: grants(everywhere)}, "b", all, false, ""},
		{"granted in a", Caller{Scope: RequestScope, Grants: grants(inA)}, "a", "", false, ""},
		{"granted in a, asks b", Caller{Scope: RequestScope, Grants: grants(inA)}, "b", "", false, "nothing is granted"},
		{"granted in a, token for b", Caller{Scope: ProjectScope, ProjectID: "b", Grants: grants(inA)}, "b", "", false, "no policy"},
		{"granted in e1, does not name it", Caller{Scope: RequestScope, Grants: grants(inE1)}, "a", "", false, "no policy"},
		{"granted in e1, names it", Caller{Scope: RequestScope, Grants: grants(inE1)}, "a", "e1", false, ""},
		{"granted in e1, names e2", Caller{Scope: RequestScope, Grants: grants(inE1)}, "a", "e2", false, "no policy"},
		{"granted in e1, all", Caller{Scope: RequestScope, Grants: grants(inE1)}, "a", all, false, ""},
		{"granted in default", Caller{Scope: RequestScope, Grants: grants(inDefault)}, "a", "", false, ""},
		{"granted in default, names it", Caller{Scope: RequestScope, Grants: grants(inDefault)}, "a", "0", false, ""},
		{"deny wins", Caller{Scope: RequestScope, Grants: grants(everywhere, denied)}, "a", "", false, "denies"},
		{"deny wins, all", Caller{Scope: RequestScope, Grants: grants(denied, inE1)}, "a", all, false, "denies"},
		{"deny in a, asks a", Caller{Scope: RequestScope, Grants: grants(everywhere, deniedInA)}, "a", "", false, "denies"},
		{"deny in a, asks b", Caller{Scope: RequestScope, Grants: grants(everywhere, deniedInA)}, "b", "", false, ""},
		{"deny in e1, asks e1", Caller{Scope: RequestScope, Grants: grants(everywhere, deniedInE1)}, "a", "e1", false, "denies"},
		{"deny in e1, asks default", Caller{Scope: RequestScope, Grants: grants(everywhere, deniedInE1)}, "a", "", false, ""},
		{"deny in e1, all", Caller{Scope: RequestScope, Grants: grants(everywhere, deniedInE1)}, "a", all, false, ""},
		{"deny in e1 and granted only there, all", Caller{Scope: RequestScope, Grants: grants(inE1, deniedInE1)}, "a", all, false, "no policy"},
		{"exempt, policy", Caller{Scope: RequestScope, Grants: grants(CallerGrant{})}, "a", "", true, "no policy"},
		{"exempt, identity policy", Caller{Scope: RequestScope, Authorization: IdentityPolicyAuthorization}, "a", "", true, ""},
		{"exempt, identity policy, all", Caller{Scope: RequestScope, Authorization: IdentityPolicyAuthorization}, "a", all, true, ""},
		{"exempt, identity policy, denied", Caller{Scope: RequestScope, Authorization: IdentityPolicyAuthorization, Grants: grants(denied)}, "a", "", true, "denies"},
		{"exempt, identity policy, denied, all", Caller{Scope: RequestScope, Authorization: IdentityPolicyAuthorization, Grants: grants(denied)}, "a", all, true, "denies"},
		{"exempt, identity policy, another domain", Caller{Scope: RequestScope, Authorization: IdentityPolicyAuthorization}, "c", "", true, "does not exist"},
		{"not exempt, identity policy", Caller{Scope: RequestScope, Authorization: IdentityPolicyAuthorization}, "a", "", false, "no policy"},
	} {
		c.caller.Account = account
		err := c.caller.Authorize(action, c.project, c.ep, c.exempt)
		if c.want == "" && err != nil || c.want != "" && (KindOf(err) != Forbidden || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
}

func TestAuthorizeDomain(t *testing.T) {
	full := document(Allow, "iam:*:*")
	for _, c := range []struct {
		name   string
		caller Caller
		action string
		ok     bool
	}{
		{"root, key", Caller{Scope: RequestScope, Root: true}, "iam:users:create", true},
		{"root, domain token", Caller{Scope: DomainScope, Root: true}, "iam:users:create", true},
		{"root, project token reads", Caller{Scope: ProjectScope, Root: true}, "iam:users:list", true},
		{"root, project token changes", Caller{Scope: ProjectScope, Root: true}, "iam:users:create", false},
		{"granted", Caller{Grants: []CallerGrant{{Document: full}}}, "iam:users:create", true},
		{"granted in a project", Caller{Grants: []CallerGrant{{Document: full, ProjectID: "a"}}}, "iam:users:create", false},
		{"granted in an enterprise project", Caller{Grants: []CallerGrant{{Document: full, EnterpriseProjectID: "0"}}}, "iam:users:create", false},
		{"denied", Caller{Grants: []CallerGrant{{Document: full}, {Document: document(Deny, "iam:users:*")}}}, "iam:users:create", false},
		{"identity policy", Caller{Authorization: IdentityPolicyAuthorization}, "iam:users:list", false},
		{"nobody", Caller{}, "iam:users:list", false},
	} {
		err := c.caller.AuthorizeDomain(c.action)
		if (err == nil) != c.ok || err != nil && KindOf(err) != Forbidden {
			t.Errorf("%s: got %v", c.name, err)
		}
	}
}

func TestEnterpriseProjects(t *testing.T) {
	account := &Account{EnterpriseProjects: []string{"e1", "e2"}}
	allow, deny := document(Allow, "hss:*:get"), document(Deny, "hss:*:get")
	for _, c := range []struct {
		name   string
		caller Caller
		exempt bool
		want   string
	}{
		{"root", Caller{Root: true}, false, "true []"},
		{"nothing", Caller{}, false, "false []"},
		{"everywhere", Caller{Grants: []CallerGrant{{Document: allow}}}, false, "true []"},
		{"one", Caller{Grants: []CallerGrant{{Document: allow, EnterpriseProjectID: "e2"}}}, false, "false [e2]"},
		{"two", Caller{Grants: []CallerGrant{{Document: allow, EnterpriseProjectID: "e2"}, {Document: allow, EnterpriseProjectID: "0"}}}, false, "false [0 e2]"},
		{"all but one", Caller{Grants: []CallerGrant{{Document: allow}, {Document: deny, EnterpriseProjectID: "e1"}}}, false, "false [0 e2]"},
		{"in another project", Caller{Grants: []CallerGrant{{Document: allow, ProjectID: "b"}}}, false, "false []"},
		{"denied", Caller{Grants: []CallerGrant{{Document: deny}, {Document: allow, EnterpriseProjectID: "e1"}}}, false, "false []"},
		{"exempt", Caller{Authorization: IdentityPolicyAuthorization}, true, "true []"},
		{"exempt, one denied", Caller{Authorization: IdentityPolicyAuthorization, Grants: []CallerGrant{{Document: deny, EnterpriseProjectID: "e1"}}}, true, "false [0 e2]"},
		{"not exempt", Caller{Authorization: IdentityPolicyAuthorization}, false, "false []"},
	} {
		c.caller.Account = account
		all, ids := c.caller.EnterpriseProjects("hss:images:get", "a", c.exempt)
		if got := fmt.Sprint(all, ids); got != fmt.Sprint(strings.TrimSpace(c.want)) {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}
}

func TestRolesAndMayEnter(t *testing.T) {
	c := Caller{Grants: []CallerGrant{{Policy: "z"}, {Policy: "a", ProjectID: "p"}, {Policy: "z", EnterpriseProjectID: "e"}, {Policy: "b", ProjectID: "q"}}}
	if got := fmt.Sprint(c.Roles("p"), c.Roles("")); got != "[a z] [z]" {
		t.Errorf("roles are %s", got)
	}
	only := Caller{Grants: []CallerGrant{{Policy: "a", ProjectID: "p"}}}
	if !only.MayEnter("p") || only.MayEnter("q") || (&Caller{}).MayEnter("p") || !(&Caller{Root: true}).MayEnter("p") {
		t.Error("MayEnter is wrong")
	}
}

func BenchmarkAuthorize(b *testing.B) {
	c := Caller{Scope: ProjectScope, ProjectID: "a", Grants: []CallerGrant{
		{Document: document(Allow, "iam:*:*")}, {Document: document(Allow, "hss:*:get", "hss:*:list")}}}
	b.ReportAllocs()
	for b.Loop() {
		if err := c.Authorize("hss:images:get", "a", "", true); err != nil {
			b.Fatal(err)
		}
	}
}
