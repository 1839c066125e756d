package identity

import (
	"context"

	"github.com/tidewaiter/tidewaiter"
)

// AuthenticateSession returns the caller of a session of the console. The
// session is a token for the domain; its caller may go into every project that
// they may have a token for, and each request names its project, as with an
// access key. The caller is the request's own. Errors are of kind
// [tidewaiter.Unauthenticated], also of a token for one project.
func (s *Service) AuthenticateSession(ctx context.Context, token string) (*tidewaiter.Caller, error) {
	shared, err := s.AuthenticateToken(ctx, token)
	if err != nil {
		return nil, err
	}
	if shared.Scope != tidewaiter.DomainScope {
		return nil, unauthenticated("the token is scoped to a project")
	}
	c := *shared
	c.Scope = tidewaiter.RequestScope
	return &c, nil
}
