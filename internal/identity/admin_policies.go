package identity

import (
	"context"
	"slices"
	"strings"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/identity/policy"
	"github.com/tidewaiter/tidewaiter/internal/store"
)

// Policies returns the built-in policies and then those of the domain, by name.
func (s *Service) Policies(ctx context.Context, c *tidewaiter.Caller) ([]tidewaiter.Policy, error) {
	own, err := s.db.Policies(ctx, c.DomainID)
	return append(policy.BuiltIn(), own...), err
}

// Policy returns a built-in policy, or one of the domain, found by id or else
// by name.
func (s *Service) Policy(ctx context.Context, c *tidewaiter.Caller, idOrName string) (tidewaiter.Policy, error) {
	return s.policy(ctx, s.db, c, idOrName)
}

func (s *Service) policy(ctx context.Context, db *store.DB, c *tidewaiter.Caller, idOrName string) (tidewaiter.Policy, error) {
	all, err := db.Policies(ctx, c.DomainID)
	if err != nil {
		return tidewaiter.Policy{}, err
	}
	all = append(policy.BuiltIn(), all...)
	i := slices.IndexFunc(all, func(p tidewaiter.Policy) bool { return p.ID == idOrName })
	if i < 0 {
		i = slices.IndexFunc(all, func(p tidewaiter.Policy) bool { return p.Name == idOrName })
	}
	if i < 0 {
		return tidewaiter.Policy{}, tidewaiter.Errorf(tidewaiter.NotFound, "there is no such policy")
	}
	return all[i], nil
}

// CreatePolicy makes a policy of name, description and document. Errors are of
// kind Invalid or Conflict (the name).
func (s *Service) CreatePolicy(ctx context.Context, c *tidewaiter.Caller, p tidewaiter.Policy) (tidewaiter.Policy, error) {
	p.ID, p.DomainID, p.BuiltIn, p.Created = store.NewID(), c.DomainID, false, s.time()
	if err := s.checkPolicy(p); err != nil {
		return p, err
	}
	return p, s.change(ctx, c, func(tx *store.DB) error { return tx.CreatePolicy(ctx, p) })
}

// PolicyChange says what to change; what is nil stays.
type PolicyChange struct {
	Name, Description *string
	Document          *tidewaiter.PolicyDocument
}

// UpdatePolicy changes a policy. Errors are of kind NotFound, Invalid, Conflict
// (the name) or Forbidden (it is built in).
func (s *Service) UpdatePolicy(ctx context.Context, c *tidewaiter.Caller, idOrName string, change PolicyChange) (tidewaiter.Policy, error) {
	var p tidewaiter.Policy
	err := s.change(ctx, c, func(tx *store.DB) (err error) {
		if p, err = s.ownPolicy(ctx, tx, c, idOrName); err != nil {
			return err
		}
		set(&p.Name, change.Name)
		set(&p.Description, change.Description)
		set(&p.Document, change.Document)
		if err := s.checkPolicy(p); err != nil {
			return err
		}
		return tx.UpdatePolicy(ctx, p)
	})
	return p, err
}

// DeletePolicy deletes a policy with the grants of it. Errors are of kind
// NotFound or Forbidden (it is built in).
func (s *Service) DeletePolicy(ctx context.Context, c *tidewaiter.Caller, idOrName string) error {
	return s.change(ctx, c, func(tx *store.DB) error {
		p, err := s.ownPolicy(ctx, tx, c, idOrName)
		if err != nil {
			return err
		}
		return tx.DeletePolicy(ctx, p.ID)
	})
}

func (s *Service) ownPolicy(ctx context.Context, db *store.DB, c *tidewaiter.Caller, idOrName string) (tidewaiter.Policy, error) {
	p, err := s.policy(ctx, db, c, idOrName)
	if err == nil && p.BuiltIn {
		err = tidewaiter.Errorf(tidewaiter.Forbidden, "a built-in policy cannot be changed; make one of your own")
	}
	return p, err
}

func (s *Service) checkPolicy(p tidewaiter.Policy) error {
	if err := checkNameAndDescription(p.Name, p.Description); err != nil {
		return err
	}
	for _, b := range s.builtIn {
		if strings.EqualFold(b.Name, p.Name) {
			return &tidewaiter.Error{Kind: tidewaiter.Conflict, Field: "name", Message: "a built-in policy has it; choose another name"}
		}
	}
	return policy.Validate(p.Document)
}

// Grants returns the grants of a user, or with "" those of all users of the
// domain, oldest first.
func (s *Service) Grants(ctx context.Context, c *tidewaiter.Caller, user string) ([]tidewaiter.Grant, error) {
	if user == "" {
		return s.db.GrantsIn(ctx, c.DomainID)
	}
	u, err := s.user(ctx, s.db, c, user)
	if err != nil {
		return nil, err
	}
	return s.db.Grants(ctx, u.ID)
}

// Grant gives a user a policy. User, policy and project may be ids or names.
// It returns the grant with ids; a grant that is there already stays. Errors
// are of kind NotFound or Forbidden.
func (s *Service) Grant(ctx context.Context, c *tidewaiter.Caller, g tidewaiter.Grant) (tidewaiter.Grant, error) {
	err := s.change(ctx, c, func(tx *store.DB) error {
		if err := s.resolve(ctx, tx, c, &g); err != nil {
			return err
		}
		g.Created = s.time()
		return tx.CreateGrant(ctx, g)
	})
	return g, err
}

// Revoke takes a grant away. Errors are as for Grant.
func (s *Service) Revoke(ctx context.Context, c *tidewaiter.Caller, g tidewaiter.Grant) error {
	return s.change(ctx, c, func(tx *store.DB) error {
		if err := s.resolve(ctx, tx, c, &g); err != nil {
			return err
		}
		return tx.DeleteGrant(ctx, g)
	})
}

// resolve turns what a grant names into ids of the caller's domain.
func (s *Service) resolve(ctx context.Context, tx *store.DB, c *tidewaiter.Caller, g *tidewaiter.Grant) error {
	u, err := s.subordinate(ctx, tx, c, g.UserID)
	if err != nil {
		return err
	}
	p, err := s.policy(ctx, tx, c, g.PolicyID)
	if err != nil {
		return err
	}
	g.UserID, g.PolicyID = u.ID, p.ID
	if g.ProjectID != "" {
		project, err := s.project(ctx, tx, c, g.ProjectID)
		if err != nil {
			return err
		}
		g.ProjectID = project.ID
	}
	if g.EnterpriseProjectID != "" && g.EnterpriseProjectID != tidewaiter.DefaultEnterpriseProject {
		if _, err := s.enterpriseProject(ctx, tx, c, g.EnterpriseProjectID); err != nil {
			return err
		}
	}
	return nil
}
