package adminapi

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/gateway"
	"github.com/tidewaiter/tidewaiter/internal/identity/policy"
)

func (s *server) registerPolicies() {
	gateway.Register(s.api, operation("ListPolicies", http.MethodGet, "/policies", "policies", "list", "List the policies, built in or of the account"), s.listPolicies)
	gateway.Register(s.api, operation("CreatePolicy", http.MethodPost, "/policies", "policies", "create", "Create a policy from a document of Version 1.1"), s.createPolicy)
	gateway.Register(s.api, operation("DeletePolicy", http.MethodDelete, "/policies/{id}", "policies", "delete", "Delete a policy, and take it from who has it"), s.deletePolicy)
}

func (s *server) registerGrants() {
	gateway.Register(s.api, operation("ListGrants", http.MethodGet, "/grants", "grants", "list", "List who has which policy"), s.listGrants)
	gateway.Register(s.api, operation("CreateGrant", http.MethodPost, "/grants", "grants", "create", "Give a user a policy"), s.createGrant)
	gateway.Register(s.api, operation("DeleteGrant", http.MethodDelete, "/grants", "grants", "delete", "Take a policy from a user, where it was given"), s.deleteGrant)
}

// Policy is a policy on the wire.
type Policy struct {
	ID          string   `json:"id"`
	Name        string   `json:"name"`
	Description string   `json:"description"`
	BuiltIn     bool     `json:"built_in"`
	Document    Document `json:"document"`
}

// Document is a policy document of Version 1.1.
type Document struct {
	Version   string
	Statement []Statement
}

// Statement allows or denies actions.
type Statement struct {
	Effect string `enum:"Allow,Deny"`
	Action []string
}

// NewPolicy is what a policy is created from.
type NewPolicy struct {
	Name        string          `json:"name" minLength:"1" maxLength:"64"`
	Description string          `json:"description,omitempty" maxLength:"255"`
	Document    json.RawMessage `json:"document" doc:"A policy document of Version 1.1."`
}

// NewGrant says who gets which policy, and where: without a project, or an
// enterprise project, in all of them.
type NewGrant struct {
	UserID              string `json:"user_id" query:"user_id" required:"true" minLength:"1" maxLength:"64" doc:"Id or name."`
	PolicyID            string `json:"policy_id" query:"policy_id" required:"true" minLength:"1" maxLength:"64" doc:"Id or name."`
	ProjectID           string `json:"project_id,omitempty" query:"project_id" maxLength:"64" doc:"Id or name; none for every project."`
	EnterpriseProjectID string `json:"enterprise_project_id,omitempty" query:"enterprise_project_id" maxLength:"64" doc:"Id; none for every enterprise project."`
}

// Grant is a grant on the wire.
type Grant struct {
	NewGrant
	UserName   string `json:"user_name"`
	PolicyName string `json:"policy_name"`
}

func wirePolicy(p tidewaiter.Policy) Policy {
	w := Policy{ID: p.ID, Name: p.Name, Description: p.Description, BuiltIn: p.BuiltIn}
	w.Document.Version = p.Document.Version
	for _, s := range p.Document.Statement {
		w.Document.Statement = append(w.Document.Statement, Statement{Effect: string(s.Effect), Action: s.Action})
	}
	return w
}

func (s *server) listPolicies(ctx context.Context, in *byName) (*listOutput[Policy], error) {
	policies, err := s.identity.Policies(ctx, gateway.CallerFrom(ctx))
	if err != nil {
		return nil, err
	}
	return list(named(policies, in.Name, func(p tidewaiter.Policy) string { return p.Name }), wirePolicy), nil
}

func (s *server) createPolicy(ctx context.Context, in *struct{ Body NewPolicy }) (*output[Policy], error) {
	document, err := policy.Parse(in.Body.Document)
	if err != nil {
		return nil, err
	}
	p, err := s.identity.CreatePolicy(ctx, gateway.CallerFrom(ctx), tidewaiter.Policy{
		Name: in.Body.Name, Description: in.Body.Description, Document: document,
	})
	if err != nil {
		return nil, err
	}
	return one(wirePolicy(p)), nil
}

func (s *server) deletePolicy(ctx context.Context, in *ByID) (*struct{}, error) {
	return nil, s.identity.DeletePolicy(ctx, gateway.CallerFrom(ctx), in.ID)
}

func (s *server) listGrants(ctx context.Context, _ *struct{}) (*listOutput[Grant], error) {
	caller := gateway.CallerFrom(ctx)
	grants, err := s.identity.Grants(ctx, caller, "")
	if err != nil {
		return nil, err
	}
	users, err := s.identity.Users(ctx, caller)
	if err != nil {
		return nil, err
	}
	policies, err := s.identity.Policies(ctx, caller)
	if err != nil {
		return nil, err
	}
	names := map[string]string{}
	for _, u := range users {
		names[u.ID] = u.Name
	}
	for _, p := range policies {
		names[p.ID] = p.Name
	}
	return list(grants, func(g tidewaiter.Grant) Grant {
		return Grant{
			NewGrant: NewGrant{UserID: g.UserID, PolicyID: g.PolicyID, ProjectID: g.ProjectID, EnterpriseProjectID: g.EnterpriseProjectID},
			UserName: names[g.UserID], PolicyName: names[g.PolicyID],
		}
	}), nil
}

func (g NewGrant) grant() tidewaiter.Grant {
	return tidewaiter.Grant{UserID: g.UserID, PolicyID: g.PolicyID, ProjectID: g.ProjectID, EnterpriseProjectID: g.EnterpriseProjectID}
}

func (s *server) createGrant(ctx context.Context, in *struct{ Body NewGrant }) (*output[NewGrant], error) {
	g, err := s.identity.Grant(ctx, gateway.CallerFrom(ctx), in.Body.grant())
	if err != nil {
		return nil, err
	}
	return one(NewGrant{UserID: g.UserID, PolicyID: g.PolicyID, ProjectID: g.ProjectID, EnterpriseProjectID: g.EnterpriseProjectID}), nil
}

func (s *server) deleteGrant(ctx context.Context, in *NewGrant) (*struct{}, error) {
	return nil, s.identity.Revoke(ctx, gateway.CallerFrom(ctx), in.grant())
}
