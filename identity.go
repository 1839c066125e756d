package tidewaiter

import "time"

// Domain is an account: the owner of users, projects and policies.
type Domain struct {
	ID, Name string
	Enabled  bool
	Created  time.Time
}

// User is a person or a program that signs in.
type User struct {
	ID, DomainID, Name string
	Enabled            bool
	// Root users may do everything in their domain, as an account may.
	Root          bool
	Authorization Authorization
	Created       time.Time
}

// Authorization says which of the two models decides what a user may do.
type Authorization string

const (
	// PolicyAuthorization means that each operation needs its action from a granted
	// role or policy.
	PolicyAuthorization Authorization = "policy"
	// IdentityPolicyAuthorization means that the registry operations need no
	// permission; all others need their action, as above.
	IdentityPolicyAuthorization Authorization = "identity-policy"
)

// Project is the tenant of the API: every path names one, and each query is
// bound to it. Clients that look a project up by region use its name.
type Project struct {
	ID, DomainID, Name, Description string
	Enabled                         bool
	Created                         time.Time
}

// DefaultEnterpriseProject is the id of the enterprise project that every
// domain has and that assets belong to unless they name another.
const DefaultEnterpriseProject = "0"

// AllGrantedEnterpriseProjects stands for every enterprise project that the
// caller may see, where an operation takes an enterprise project id.
const AllGrantedEnterpriseProjects = "all_granted_eps"

// EnterpriseProject groups assets across projects of a domain.
type EnterpriseProject struct {
	ID, DomainID, Name, Description string
	Enabled                         bool
	Created, Updated                time.Time
}

// Policy is a named list of permissions. Built-in ones belong to no domain.
type Policy struct {
	ID, DomainID, Name, Description string
	BuiltIn                         bool
	Document                        PolicyDocument
	Created                         time.Time
}

// Grant gives a user a policy, in one project and one enterprise project or
// in all of them. The four ids together identify it.
type Grant struct {
	UserID, PolicyID    string
	ProjectID           string // "" for every project of the domain
	EnterpriseProjectID string // "" for every enterprise project
	Created             time.Time
}

// AccessKey is the public half of a pair (AK, SK) that signs requests.
type AccessKey struct {
	ID      string // the AK
	UserID  string
	Enabled bool
	Created time.Time
}

// Token is what is known of a bearer token; the token itself is kept nowhere.
type Token struct {
	User    User
	Domain  Domain
	Project *Project // nil for a token that is scoped to the domain
	Roles   []string // names of the policies in force within the scope
	Issued  time.Time
	Expires time.Time
}
