package identity

import (
	"context"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/store"
)

// principal returns a user as a caller, with all that decides what they may
// do, and without a project.
func (s *Service) principal(ctx context.Context, u store.User, d tidewaiter.Domain, scope tidewaiter.Scope) (*tidewaiter.Caller, error) {
	c := &tidewaiter.Caller{
		UserID: u.ID, UserName: u.Name, DomainID: d.ID, DomainName: d.Name,
		Scope: scope, Root: u.Root, Authorization: u.Authorization,
	}
	var err error
	if c.Account, err = s.account(ctx, d.ID); err != nil {
		return nil, err
	}
	if c.Grants, err = s.grantsOf(ctx, u.ID); err != nil {
		return nil, err
	}
	return c, nil
}

// grantsOf returns the grants of a user with the documents of their policies.
func (s *Service) grantsOf(ctx context.Context, userID string) ([]tidewaiter.CallerGrant, error) {
	grants, err := s.db.Grants(ctx, userID)
	if err != nil || len(grants) == 0 {
		return nil, err
	}
	policies, err := s.db.PoliciesOf(ctx, userID)
	if err != nil {
		return nil, err
	}
	byID := make(map[string]tidewaiter.Policy, len(policies))
	for _, p := range policies {
		byID[p.ID] = p
	}
	out := make([]tidewaiter.CallerGrant, 0, len(grants))
	for _, g := range grants {
		p, ok := byID[g.PolicyID]
		if !ok {
			if p, ok = s.builtIn[g.PolicyID]; !ok {
				continue // deleted since
			}
		}
		out = append(out, tidewaiter.CallerGrant{
			Policy: p.Name, Document: p.Document,
			ProjectID: g.ProjectID, EnterpriseProjectID: g.EnterpriseProjectID,
		})
	}
	return out, nil
}

// account returns what exists in a domain.
func (s *Service) account(ctx context.Context, domainID string) (*tidewaiter.Account, error) {
	return s.accounts.get(ctx, domainID, s.now(), func(ctx context.Context) (*tidewaiter.Account, error) {
		projects, err := s.db.Projects(ctx, domainID)
		if err != nil {
			return nil, err
		}
		enterpriseProjects, err := s.db.EnterpriseProjects(ctx, domainID)
		if err != nil {
			return nil, err
		}
		a := &tidewaiter.Account{Projects: make(map[string]bool, len(projects))}
		for _, p := range projects {
			a.Projects[p.ID] = p.Enabled
		}
		for _, p := range enterpriseProjects {
			a.EnterpriseProjects = append(a.EnterpriseProjects, p.ID)
		}
		return a, nil
	})
}

// Operator returns a caller for who administers a domain on the machine of the
// server, and may do everything in it. With "" it is the domain of Bootstrap.
// The error is of kind [tidewaiter.NotFound] where there is no such domain.
func (s *Service) Operator(ctx context.Context, domainName string) (*tidewaiter.Caller, error) {
	var d tidewaiter.Domain
	var err error
	if domainName == "" {
		var id string
		if id, err = s.db.Setting(ctx, bootstrapped); tidewaiter.KindOf(err) == tidewaiter.NotFound {
			return nil, tidewaiter.Errorf(tidewaiter.NotFound, "there is no account yet; start the server once")
		} else if err == nil {
			d, err = s.db.Domain(ctx, id)
		}
	} else {
		d, err = s.db.DomainByName(ctx, domainName)
	}
	if err != nil {
		return nil, err
	}
	a, err := s.account(ctx, d.ID)
	if err != nil {
		return nil, err
	}
	return &tidewaiter.Caller{
		UserName: "operator", DomainID: d.ID, DomainName: d.Name,
		Scope: tidewaiter.RequestScope, Root: true, Authorization: tidewaiter.PolicyAuthorization, Account: a,
	}, nil
}
