package tidewaiter

import "slices"

// Caller is who sent a request, and judges what they may do. It is made by
// package identity, shared between requests, and never changed afterwards.
type Caller struct {
	UserID, UserName     string
	DomainID, DomainName string

	Scope     Scope
	ProjectID string // the project of the scope; "" unless Scope is ProjectScope

	// Root callers may do everything in their domain.
	Root          bool
	Authorization Authorization
	Grants        []CallerGrant

	// Account is what exists in the caller's domain. It is needed for
	// RequestScope, and to list the enterprise projects of a caller to whom
	// some of them are denied.
	Account *Account
}

// Scope says which projects a credential is good for.
type Scope int

// The scopes.
const (
	// DomainScope is that of a token for the domain: it is good for the
	// identity API, not for a project.
	DomainScope Scope = iota
	// ProjectScope is that of a token for one project.
	ProjectScope
	// RequestScope is that of an access key: each request names its project.
	RequestScope
)

// Account is what callers of one domain share.
type Account struct {
	Projects           map[string]bool // by id: is it enabled
	EnterpriseProjects []string        // ids, beside the default one
}

// CallerGrant is a policy in force for a caller.
type CallerGrant struct {
	Policy              string // its name
	Document            PolicyDocument
	ProjectID           string // "" for every project
	EnterpriseProjectID string // "" for every enterprise project
}

// Authorize says whether the caller may do an action in a project. The
// enterprise project is an id, "" for [DefaultEnterpriseProject], or
// [AllGrantedEnterpriseProjects]. An exempt action needs no permission from
// principals of [IdentityPolicyAuthorization].
//
// In this order: the credential must be good for the project; root may do
// everything; a Deny of any grant in scope refuses, exempt or not; an exempt
// action passes; else a grant in scope must allow it. A grant that is limited
// to an enterprise project counts only where that one is named.
//
// Its errors are of kind [Forbidden].
func (c *Caller) Authorize(action, projectID, enterpriseProjectID string, exempt bool) error {
	if err := c.enter(projectID); err != nil {
		return err
	}
	if c.Root {
		return nil
	}
	var d Decision
	switch enterpriseProjectID {
	case AllGrantedEnterpriseProjects:
		d = c.decide(action, projectID, "")
		if all, ids := c.EnterpriseProjects(action, projectID, exempt); all || len(ids) > 0 {
			return nil
		}
	case "":
		d = c.decide(action, projectID, DefaultEnterpriseProject)
	default:
		d = c.decide(action, projectID, enterpriseProjectID)
	}
	switch c.relax(d, exempt) {
	case Allowed:
		return nil
	case Denied:
		return denied(action)
	}
	return lacking(action)
}

// AuthorizeDomain says whether the caller may do an action of the identity
// API, which belongs to the domain and to no project. Only grants for every
// project and enterprise project count. A token for a project may read (verbs
// get and list) but not change: who holds it should not be able to make
// themselves a key for the next project.
//
// Its errors are of kind [Forbidden].
func (c *Caller) AuthorizeDomain(action string) error {
	if c.Scope == ProjectScope && !MatchAction("*:*:get", action) && !MatchAction("*:*:list", action) {
		return Errorf(Forbidden,
			"the token is scoped to a project, and this changes the account; request a token with auth.scope.domain, or sign with an access key")
	}
	if c.Root {
		return nil
	}
	switch c.decide(action, "", "") {
	case Denied:
		return denied(action)
	case Allowed:
		return nil
	}
	return lacking(action)
}

// MayEnter reports whether the caller may have a token for a project of their
// domain: root, principals of identity policies, and who holds a grant there.
func (c *Caller) MayEnter(projectID string) bool {
	if c.Root || c.Authorization == IdentityPolicyAuthorization {
		return true
	}
	return slices.ContainsFunc(c.Grants, func(g CallerGrant) bool {
		return g.ProjectID == "" || g.ProjectID == projectID
	})
}

// EnterpriseProjects returns the enterprise projects in which the caller may
// do an action, exempt or not as for Authorize: all of them, or those with the
// ids.
func (c *Caller) EnterpriseProjects(action, projectID string, exempt bool) (all bool, ids []string) {
	if c.Root {
		return true, nil
	}
	everywhere := c.relax(c.decide(action, projectID, ""), exempt)
	if everywhere == Denied {
		return false, nil
	}
	all = everywhere == Allowed
	named := []string{DefaultEnterpriseProject}
	if c.Account != nil {
		named = append(named, c.Account.EnterpriseProjects...)
	}
	for _, id := range named {
		switch c.relax(c.decide(action, projectID, id), exempt) {
		case Allowed:
			ids = append(ids, id)
		case Denied:
			all = false
		}
	}
	if all {
		return true, nil
	}
	return false, ids
}

// Roles returns the names of the policies in force in a project, or with ""
// in the domain; each once, sorted.
func (c *Caller) Roles(projectID string) []string {
	var names []string
	for _, g := range c.Grants {
		if g.ProjectID == "" || g.ProjectID == projectID {
			names = append(names, g.Policy)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// enter says whether the credential is good for the project.
func (c *Caller) enter(projectID string) error {
	switch c.Scope {
	case ProjectScope:
		if projectID == "" || projectID != c.ProjectID {
			return Errorf(Forbidden,
				"the token is scoped to another project than the one in the path; request a token for that project")
		}
		return nil
	case RequestScope:
		var enabled, known bool
		if c.Account != nil {
			enabled, known = c.Account.Projects[projectID]
		}
		switch {
		case !known || !c.MayEnter(projectID):
			return Errorf(Forbidden,
				"the project in the path does not exist in the caller's account, or nothing is granted to the caller in it")
		case !enabled:
			return Errorf(Forbidden, "the project in the path is disabled")
		}
		return nil
	}
	return Errorf(Forbidden,
		"the token is scoped to the domain, and this operation belongs to a project; request a token with auth.scope.project")
}

// decide returns what the grants say in one enterprise project; with "", what
// those for every enterprise project say.
func (c *Caller) decide(action, projectID, enterpriseProjectID string) Decision {
	decision := NoMatch
	for i := range c.Grants {
		g := &c.Grants[i]
		if g.ProjectID != "" && g.ProjectID != projectID ||
			g.EnterpriseProjectID != "" && g.EnterpriseProjectID != enterpriseProjectID {
			continue
		}
		decision = max(decision, g.Document.Decide(action))
	}
	return decision
}

// relax turns silence into consent where the action is exempt for the caller.
func (c *Caller) relax(d Decision, exempt bool) Decision {
	if d == NoMatch && exempt && c.Authorization == IdentityPolicyAuthorization {
		return Allowed
	}
	return d
}

func denied(action string) error {
	return Errorf(Forbidden, "a policy of the caller denies %s", action)
}

func lacking(action string) error {
	return Errorf(Forbidden, "no policy of the caller allows %s", action)
}
