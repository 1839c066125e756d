package identity

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"time"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/identity/policy"
	"github.com/tidewaiter/tidewaiter/internal/store"
)

// TokenPrefix begins each token, so that people and secret scanners know one
// when they see it. 32 random bytes in base64url follow.
const TokenPrefix = "tw1_"

const tokenSize = len(TokenPrefix) + 43

// expiresFormat is how a message gives the time at which a token expired.
const expiresFormat = "2006-01-02T15:04:05.000000Z"

// keepExpired is how long it is still known that a token has expired.
const keepExpired = 24 * time.Hour

// Messages of the errors, in the words of the vendor's gateway.
const (
	messageUnknown = "decrypt token fail"
	messageExpired = "token expires, expires_at: "
)

// tokenEntry is what is cached of a token. caller is nil where it has expired.
type tokenEntry struct {
	caller *tidewaiter.Caller
	token  tidewaiter.Token
}

// newToken returns a token and its hash.
func newToken() (token string, hash [32]byte) {
	var b [32]byte
	rand.Read(b[:])
	token = TokenPrefix + base64.RawURLEncoding.EncodeToString(b[:])
	return token, sha256.Sum256([]byte(token))
}

// AuthenticateToken returns the caller that a token stands for. The caller is
// shared: it must not be changed. Errors are of kind
// [tidewaiter.Unauthenticated].
func (s *Service) AuthenticateToken(ctx context.Context, token string) (*tidewaiter.Caller, error) {
	e, err := s.token(ctx, token)
	if err != nil {
		return nil, err
	}
	return e.caller, nil
}

func (s *Service) token(ctx context.Context, token string) (tokenEntry, error) {
	if len(token) != tokenSize || !strings.HasPrefix(token, TokenPrefix) {
		return tokenEntry{}, unauthenticated(messageUnknown)
	}
	now := s.now()
	hash := sha256.Sum256([]byte(token))
	e, ok := s.tokens.fresh(hash, now)
	if ok {
		return e.value.current(now)
	}
	v, err := s.tokens.get(ctx, hash, now, func(ctx context.Context) (tokenEntry, error) { return s.loadToken(ctx, hash[:]) })
	if err != nil {
		return tokenEntry{}, err
	}
	return v.current(now)
}

// current returns the entry unless it has expired.
func (e tokenEntry) current(now time.Time) (tokenEntry, error) {
	if e.caller == nil || !now.Before(e.token.Expires) {
		return tokenEntry{}, unauthenticated("%s%s", messageExpired, e.token.Expires.Format(expiresFormat))
	}
	return e, nil
}

// loadToken reads a token with all that it stands for.
func (s *Service) loadToken(ctx context.Context, hash []byte) (e tokenEntry, err error) {
	t, err := s.db.Token(ctx, hash)
	if err != nil {
		return e, orUnknownToken(err)
	}
	e.token.Issued, e.token.Expires = t.Issued, t.Expires
	if !s.now().Before(t.Expires) {
		return e, nil
	}
	u, err := s.db.User(ctx, t.UserID)
	if err != nil {
		return e, orUnknownToken(err)
	}
	d, err := s.db.Domain(ctx, u.DomainID)
	if err != nil {
		return e, orUnknownToken(err)
	}
	if !u.Enabled || !d.Enabled || u.Epoch != t.UserEpoch {
		return e, unauthenticated(messageUnknown)
	}
	scope := tidewaiter.DomainScope
	if t.ProjectID != "" {
		p, err := s.db.Project(ctx, t.ProjectID)
		if err != nil {
			return e, orUnknownToken(err)
		}
		if !p.Enabled || p.Epoch != t.ProjectEpoch {
			return e, unauthenticated(messageUnknown)
		}
		scope, e.token.Project = tidewaiter.ProjectScope, &p.Project
	}
	if e.caller, err = s.principal(ctx, u, d, scope); err != nil {
		return e, err
	}
	e.caller.ProjectID = t.ProjectID
	e.token.User, e.token.Domain, e.token.Roles = u.User, d, s.roles(e.caller)
	return e, nil
}

func orUnknownToken(err error) error {
	if tidewaiter.KindOf(err) == tidewaiter.NotFound {
		return unauthenticated(messageUnknown)
	}
	return err
}

// LookupToken returns what a token stands for, to a caller who owns it, or
// may do iam:tokens:get in its domain. Any other token, and one that is no
// longer good, is of kind [tidewaiter.NotFound].
func (s *Service) LookupToken(ctx context.Context, c *tidewaiter.Caller, token string) (tidewaiter.Token, error) {
	return s.subject(ctx, c, token, "iam:tokens:get")
}

// RevokeToken ends a token, for a caller who owns it, or may do
// iam:tokens:delete in its domain. Errors are as for LookupToken.
func (s *Service) RevokeToken(ctx context.Context, c *tidewaiter.Caller, token string) error {
	if _, err := s.subject(ctx, c, token, "iam:tokens:delete"); err != nil {
		return err
	}
	hash := sha256.Sum256([]byte(token))
	defer s.changed()
	return s.db.DeleteToken(ctx, hash[:])
}

func (s *Service) subject(ctx context.Context, c *tidewaiter.Caller, token, action string) (tidewaiter.Token, error) {
	e, err := s.token(ctx, token)
	switch {
	case tidewaiter.KindOf(err) == tidewaiter.Unauthenticated,
		err == nil && e.caller.UserID != c.UserID && (e.caller.DomainID != c.DomainID || c.AuthorizeDomain(action) != nil):
		return tidewaiter.Token{}, tidewaiter.Errorf(tidewaiter.NotFound, "there is no such token, or it is no longer good")
	case err != nil:
		return tidewaiter.Token{}, err
	}
	return e.token, nil
}

// PurgeTokens removes tokens that expired a day ago and more, and returns how
// many. A server calls it every hour or so.
func (s *Service) PurgeTokens(ctx context.Context) (int64, error) {
	return s.db.PurgeTokens(ctx, s.now().Add(-keepExpired))
}

// mint makes a token for a user and, with a project, for it.
func (s *Service) mint(ctx context.Context, u store.User, p *store.Project) (string, store.Token, error) {
	token, hash := newToken()
	t := store.Token{Hash: hash[:], UserID: u.ID, UserEpoch: u.Epoch, Issued: s.time()}
	t.Expires = t.Issued.Add(s.tokenTTL)
	if p != nil {
		t.ProjectID, t.ProjectEpoch = p.ID, p.Epoch
	}
	// No need to lock user and project: should either change before this is
	// written, then their epoch is another, and the token is dead on arrival.
	return token, t, s.db.CreateToken(ctx, t)
}

// roles returns the names that a token lists as its roles.
func (s *Service) roles(c *tidewaiter.Caller) []string {
	if c.Root {
		return []string{s.builtIn[policy.HSSAdministrator].Name, s.builtIn[policy.IAMFullAccess].Name}
	}
	return c.Roles(c.ProjectID)
}
