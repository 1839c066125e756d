package identity

import (
	"context"
	"unicode/utf8"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/store"
)

// TokenRequest is a sign-in with a password.
type TokenRequest struct {
	// UserID, or else UserName with DomainID or DomainName.
	UserID, UserName, DomainID, DomainName string
	Password                               string
	Scope                                  TokenScope
}

// TokenScope says what a token should be good for. A project wins over a
// domain, an id over a name; nothing at all stands for the user's domain.
type TokenScope struct {
	ProjectID, ProjectName string // the name of a project of the user's domain
	DomainID, DomainName   string // must be the user's
}

// longestPassword is how many bytes of a password are looked at; more is wrong.
const longestPassword = 4 * maxPassword

// IssueToken checks a password and returns a new token, with what it stands
// for. Errors are of kind [tidewaiter.Unauthenticated] where user or password
// are wrong (which of the two is not told), locked or disabled;
// [tidewaiter.Forbidden] where the user may not have the scope;
// [tidewaiter.Throttled] where too many sign in at once.
func (s *Service) IssueToken(ctx context.Context, r TokenRequest) (string, tidewaiter.Token, error) {
	var none tidewaiter.Token
	u, d, err := s.signIn(ctx, r)
	if err != nil {
		return "", none, err
	}
	p, err := s.scope(ctx, u, d, r.Scope)
	if err != nil {
		return "", none, err
	}
	token, _, err := s.mint(ctx, u, p)
	if err != nil {
		return "", none, err
	}
	e, err := s.token(ctx, token)
	if err != nil {
		return "", none, err
	}
	return token, e.token, nil
}

// signIn returns the user whose password it is.
func (s *Service) signIn(ctx context.Context, r TokenRequest) (u store.User, d tidewaiter.Domain, err error) {
	name := r.UserID
	if name == "" {
		name = or(r.DomainID, "name "+r.DomainName) + "\x00" + r.UserName
	}
	u, d, err = s.findUser(ctx, r)
	known := err == nil
	if r.UserID == "" && d.ID != "" { // one count, however the domain is named
		name = d.ID + "\x00" + r.UserName
	}
	if err != nil && tidewaiter.KindOf(err) != tidewaiter.NotFound {
		return u, d, err
	}
	locked := func() bool {
		if known {
			return s.userLocks.locked(u.ID)
		}
		return s.userLocks.unknownLocked(name)
	}
	lockedOut := unauthenticated("the user is locked after too many wrong passwords in a row; try again in a few minutes")
	if locked() {
		return u, d, lockedOut
	}
	release, err := s.passwords.acquire(ctx)
	if err != nil {
		return u, d, err
	}
	defer release()
	if locked() { // by those who were before us in the queue
		return u, d, lockedOut
	}
	hash, password := s.passwords.dummy, r.Password
	if known {
		hash = u.PasswordHash
	}
	if len(password) > longestPassword {
		hash, password = s.passwords.dummy, ""
	}
	ok, err := verifyHash(hash, password)
	if err != nil {
		return u, d, err
	}
	switch {
	case !known:
		s.userLocks.unknownFailed(name)
	case !ok:
		s.userLocks.failed(u.ID)
	default:
		s.userLocks.succeeded(u.ID)
		if !u.Enabled || !d.Enabled {
			return u, d, unauthenticated("the user or the account is disabled")
		}
		return u, d, nil
	}
	return u, d, unauthenticated("the user name or the password is wrong")
}

// findUser returns the user that a request names. A name that no user can have
// is not looked up: PostgreSQL would refuse the query.
func (s *Service) findUser(ctx context.Context, r TokenRequest) (u store.User, d tidewaiter.Domain, err error) {
	for _, text := range []string{r.UserID, r.UserName, r.DomainID, r.DomainName} {
		if !searchable(text) {
			return u, d, tidewaiter.Errorf(tidewaiter.NotFound, "there is no such user")
		}
	}
	switch {
	case r.UserID != "":
		if u, err = s.db.User(ctx, r.UserID); err != nil {
			return u, d, err
		}
		d, err = s.db.Domain(ctx, u.DomainID)
		return u, d, err
	case r.DomainID != "":
		d, err = s.db.Domain(ctx, r.DomainID)
	default:
		d, err = s.db.DomainByName(ctx, r.DomainName)
	}
	if err != nil {
		return u, d, err
	}
	u, err = s.db.UserByName(ctx, d.ID, r.UserName)
	return u, d, err
}

// searchable reports whether a text can be in the database.
func searchable(text string) bool {
	if len(text) > 4*maxName || !utf8.ValidString(text) {
		return false
	}
	for i := range len(text) {
		if text[i] == 0 {
			return false
		}
	}
	return true
}

// scope returns the project of a scope, or nil for the domain.
func (s *Service) scope(ctx context.Context, u store.User, d tidewaiter.Domain, scope TokenScope) (*store.Project, error) {
	if scope.ProjectID == "" && scope.ProjectName == "" {
		if scope.DomainID != "" && scope.DomainID != d.ID || scope.DomainID == "" && scope.DomainName != "" && scope.DomainName != d.Name {
			return nil, &tidewaiter.Error{Kind: tidewaiter.Forbidden, Field: "auth.scope.domain", Message: "it is not the domain of the user"}
		}
		return nil, nil
	}
	forbidden := &tidewaiter.Error{Kind: tidewaiter.Forbidden, Field: "auth.scope.project",
		Message: "it does not exist in the domain of the user, or nothing is granted to the user in it"}
	p, err := s.findProject(ctx, d.ID, scope)
	if tidewaiter.KindOf(err) == tidewaiter.NotFound {
		return nil, forbidden
	}
	if err != nil {
		return nil, err
	}
	c, err := s.principal(ctx, u, d, tidewaiter.DomainScope)
	switch {
	case err != nil:
		return nil, err
	case p.DomainID != d.ID || !c.MayEnter(p.ID):
		return nil, forbidden
	case !p.Enabled:
		return nil, &tidewaiter.Error{Kind: tidewaiter.Forbidden, Field: "auth.scope.project", Message: "it is disabled"}
	}
	return &p, nil
}

func (s *Service) findProject(ctx context.Context, domainID string, scope TokenScope) (store.Project, error) {
	switch {
	case !searchable(scope.ProjectID) || !searchable(scope.ProjectName):
		return store.Project{}, tidewaiter.Errorf(tidewaiter.NotFound, "there is no such project")
	case scope.ProjectID != "":
		return s.db.Project(ctx, scope.ProjectID)
	}
	return s.db.ProjectByName(ctx, domainID, scope.ProjectName)
}
