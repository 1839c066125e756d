package identity

import (
	"context"
	"slices"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/store"
)

// The methods that administer take the caller who asks. They act in that
// caller's domain alone: what belongs to another one is of kind NotFound. That
// the caller may do it at all is for the API to see to
// ([tidewaiter.Caller.AuthorizeDomain]); that nobody rises above themselves is
// seen to here: only a root user may make, change or delete a root user, or
// their keys and grants.

// change runs a change of the caller's domain in a transaction, one at a time
// for each domain, so that no change works on what another is about to undo.
func (s *Service) change(ctx context.Context, c *tidewaiter.Caller, f func(tx *store.DB) error) error {
	defer s.changed()
	return s.db.Tx(ctx, func(tx *store.DB) error {
		if err := tx.LockDomain(ctx, c.DomainID); err != nil {
			return err
		}
		return f(tx)
	})
}

// Domain returns the domain of the caller.
func (s *Service) Domain(ctx context.Context, c *tidewaiter.Caller) (tidewaiter.Domain, error) {
	return s.db.Domain(ctx, c.DomainID)
}

// Users returns the users of the domain, by name.
func (s *Service) Users(ctx context.Context, c *tidewaiter.Caller) ([]tidewaiter.User, error) {
	users, err := s.db.Users(ctx, c.DomainID)
	out := make([]tidewaiter.User, len(users))
	for i, u := range users {
		out[i] = u.User
	}
	return out, err
}

// User returns a user of the domain, found by id or else by name.
func (s *Service) User(ctx context.Context, c *tidewaiter.Caller, idOrName string) (tidewaiter.User, error) {
	u, err := s.user(ctx, s.db, c, idOrName)
	return u.User, err
}

// user returns a user of the caller's domain.
func (s *Service) user(ctx context.Context, db *store.DB, c *tidewaiter.Caller, idOrName string) (store.User, error) {
	if !searchable(idOrName) {
		return store.User{}, tidewaiter.Errorf(tidewaiter.NotFound, "there is no such user")
	}
	u, err := db.User(ctx, idOrName)
	if err == nil && u.DomainID == c.DomainID {
		return u, nil
	}
	if err != nil && tidewaiter.KindOf(err) != tidewaiter.NotFound {
		return u, err
	}
	return db.UserByName(ctx, c.DomainID, idOrName)
}

// subordinate returns a user whom the caller may change.
func (s *Service) subordinate(ctx context.Context, db *store.DB, c *tidewaiter.Caller, idOrName string) (store.User, error) {
	u, err := s.user(ctx, db, c, idOrName)
	if err == nil && u.Root && !c.Root {
		return u, tidewaiter.Errorf(tidewaiter.Forbidden, "only a root user may change a root user")
	}
	return u, err
}

// NewUser is a user to be made.
type NewUser struct {
	Name          string
	Password      string // "" for a generated one
	Root          bool
	Authorization tidewaiter.Authorization // "" for PolicyAuthorization
}

// CreateUser makes a user, and returns the password too. Errors are of kind
// Invalid, Conflict (the name) or Forbidden.
func (s *Service) CreateUser(ctx context.Context, c *tidewaiter.Caller, n NewUser) (tidewaiter.User, string, error) {
	u := store.User{User: tidewaiter.User{
		ID: store.NewID(), DomainID: c.DomainID, Name: n.Name, Enabled: true, Root: n.Root,
		Authorization: n.Authorization, Created: s.time(),
	}}
	if u.Authorization == "" {
		u.Authorization = tidewaiter.PolicyAuthorization
	}
	if n.Password == "" {
		n.Password = newPassword()
	}
	if err := checkName("name", u.Name); err != nil {
		return u.User, "", err
	}
	if err := checkPassword(n.Password, u.Name); err != nil {
		return u.User, "", err
	}
	if err := checkAuthorization(u.Authorization); err != nil {
		return u.User, "", err
	}
	if n.Root && !c.Root {
		return u.User, "", tidewaiter.Errorf(tidewaiter.Forbidden, "only a root user may make a root user")
	}
	hash, err := s.passwords.hash(ctx, n.Password)
	if err != nil {
		return u.User, "", err
	}
	u.PasswordHash = hash
	err = s.change(ctx, c, func(tx *store.DB) error { return tx.CreateUser(ctx, u) })
	return u.User, n.Password, err
}

// UserChange says what to change; what is nil stays.
type UserChange struct {
	Name          *string
	Password      *string // a new one ends all tokens of the user
	Enabled       *bool   // disabling ends all tokens of the user
	Root          *bool
	Authorization *tidewaiter.Authorization
}

// UpdateUser changes a user. Errors are of kind NotFound, Invalid, Conflict
// (the name, or the last enabled root user) or Forbidden.
func (s *Service) UpdateUser(ctx context.Context, c *tidewaiter.Caller, idOrName string, change UserChange) (tidewaiter.User, error) {
	before, err := s.subordinate(ctx, s.db, c, idOrName)
	if err != nil {
		return before.User, err
	}
	name := before.Name
	if change.Name != nil {
		name = *change.Name
		if err := checkName("name", name); err != nil {
			return before.User, err
		}
	}
	if change.Authorization != nil {
		if err := checkAuthorization(*change.Authorization); err != nil {
			return before.User, err
		}
	}
	if change.Root != nil && *change.Root && !c.Root {
		return before.User, tidewaiter.Errorf(tidewaiter.Forbidden, "only a root user may make a root user")
	}
	var hash string
	if change.Password != nil {
		if err := checkPassword(*change.Password, name); err != nil {
			return before.User, err
		}
		if hash, err = s.passwords.hash(ctx, *change.Password); err != nil {
			return before.User, err
		}
	}
	var u store.User
	err = s.change(ctx, c, func(tx *store.DB) error {
		users, err := tx.Users(ctx, c.DomainID)
		if err != nil {
			return err
		}
		if u, err = s.subordinate(ctx, tx, c, before.ID); err != nil {
			return err
		}
		ends := change.apply(&u, hash)
		if !(u.Enabled && u.Root) && lastRoot(users, u.ID) {
			return lastRootError()
		}
		if ends {
			u.Epoch++
			if err := tx.DeleteTokensOf(ctx, u.ID); err != nil {
				return err
			}
		}
		return tx.UpdateUser(ctx, u)
	})
	if err == nil && hash != "" {
		s.userLocks.succeeded(u.ID)
	}
	return u.User, err
}

// apply makes the change, and reports whether it ends the user's tokens.
func (change UserChange) apply(u *store.User, hash string) (endsTokens bool) {
	if change.Name != nil {
		u.Name = *change.Name
	}
	if change.Root != nil {
		u.Root = *change.Root
	}
	if change.Authorization != nil {
		u.Authorization = *change.Authorization
	}
	if hash != "" {
		u.PasswordHash, endsTokens = hash, true
	}
	if change.Enabled != nil {
		endsTokens = endsTokens || u.Enabled && !*change.Enabled
		u.Enabled = *change.Enabled
	}
	return endsTokens
}

// DeleteUser deletes a user with their grants, access keys and tokens. Errors
// are of kind NotFound, Conflict (the last enabled root user) or Forbidden.
func (s *Service) DeleteUser(ctx context.Context, c *tidewaiter.Caller, idOrName string) error {
	return s.change(ctx, c, func(tx *store.DB) error {
		users, err := tx.Users(ctx, c.DomainID)
		if err != nil {
			return err
		}
		u, err := s.subordinate(ctx, tx, c, idOrName)
		if err != nil {
			return err
		}
		if lastRoot(users, u.ID) {
			return lastRootError()
		}
		return tx.DeleteUser(ctx, u.ID)
	})
}

// lastRoot reports whether a user is the only enabled root user.
func lastRoot(users []store.User, id string) bool {
	is := false
	for _, u := range users {
		if u.Enabled && u.Root {
			if u.ID != id {
				return false
			}
			is = true
		}
	}
	return is
}

func lastRootError() error {
	return tidewaiter.Errorf(tidewaiter.Conflict, "this is the last enabled root user of the account; make another one first")
}

func checkAuthorization(a tidewaiter.Authorization) error {
	models := []tidewaiter.Authorization{tidewaiter.PolicyAuthorization, tidewaiter.IdentityPolicyAuthorization}
	if !slices.Contains(models, a) {
		return tidewaiter.InvalidField("authorization", "it must be %s or %s", models[0], models[1])
	}
	return nil
}
