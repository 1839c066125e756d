package identity

import (
	"context"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/store"
)

// BootstrapOptions name what [Service.Bootstrap] makes; "" is the default.
type BootstrapOptions struct {
	Domain  string // "tidewaiter"
	User    string // "admin"
	Project string // "default"
	// Deliver is called with the result before anything is committed, and
	// should put it in a safe place: the password and the secret key cannot be
	// had again. If it fails, or the process dies, nothing has happened, and the
	// next start begins anew. It may be called for a result that comes to
	// nothing; then it is called again later.
	Deliver func(Bootstrap) error
}

// Bootstrap is a new account: a domain with a root user, a project, and an
// access key of the user.
type Bootstrap struct {
	Domain    tidewaiter.Domain
	User      tidewaiter.User
	Password  string // 24 letters and digits
	Project   tidewaiter.Project
	AccessKey string // 20 upper-case letters and digits
	SecretKey string // 40 letters and digits
}

// bootstrapped is the setting with the id of the first domain.
const bootstrapped = "bootstrap_domain"

// Bootstrap makes the first account on a database, and reports whether it did:
// only the very first call ever does, however many replicas start at once.
func (s *Service) Bootstrap(ctx context.Context, o BootstrapOptions) (b Bootstrap, created bool, err error) {
	if _, err := s.db.Setting(ctx, bootstrapped); tidewaiter.KindOf(err) != tidewaiter.NotFound {
		return Bootstrap{}, false, err
	}
	return s.createAccount(ctx, o, func(tx *store.DB, domainID string) (bool, error) {
		_, claimed, err := tx.ClaimSetting(ctx, bootstrapped, domainID)
		return claimed, err
	})
}

// CreateAccount makes one more account, with its own users and projects. The
// domain in the options is required; its name is unique.
func (s *Service) CreateAccount(ctx context.Context, o BootstrapOptions) (Bootstrap, error) {
	if o.Domain == "" {
		return Bootstrap{}, tidewaiter.InvalidField("domain", "it must have a name")
	}
	b, _, err := s.createAccount(ctx, o, func(*store.DB, string) (bool, error) { return true, nil })
	return b, err
}

// createAccount makes an account in one transaction, if claim agrees in it.
func (s *Service) createAccount(ctx context.Context, o BootstrapOptions,
	claim func(tx *store.DB, domainID string) (bool, error)) (b Bootstrap, created bool, err error) {

	now := s.time()
	b.Domain = tidewaiter.Domain{ID: store.NewID(), Name: or(o.Domain, "tidewaiter"), Enabled: true, Created: now}
	b.User = tidewaiter.User{ID: store.NewID(), DomainID: b.Domain.ID, Name: or(o.User, "admin"), Enabled: true, Root: true,
		Authorization: tidewaiter.PolicyAuthorization, Created: now}
	b.Project = tidewaiter.Project{ID: store.NewID(), DomainID: b.Domain.ID, Name: or(o.Project, "default"),
		Description: "The first project.", Enabled: true, Created: now}
	for field, name := range map[string]string{"domain": b.Domain.Name, "user": b.User.Name, "project": b.Project.Name} {
		if err := checkName(field, name); err != nil {
			return Bootstrap{}, false, err
		}
	}
	b.Password = newPassword()
	hash, err := s.passwords.hash(ctx, b.Password)
	if err != nil {
		return Bootstrap{}, false, err
	}
	key, secret := s.newAccessKey(b.User.ID)
	b.AccessKey, b.SecretKey = key.ID, secret

	defer s.changed()
	err = s.db.Tx(ctx, func(tx *store.DB) error {
		if created, err = claim(tx, b.Domain.ID); err != nil || !created {
			return err
		}
		if err := tx.CreateDomain(ctx, b.Domain); err != nil {
			return err
		}
		if err := tx.CreateUser(ctx, store.User{User: b.User, PasswordHash: hash}); err != nil {
			return err
		}
		if err := tx.CreateProject(ctx, store.Project{Project: b.Project}); err != nil {
			return err
		}
		if err := tx.CreateAccessKey(ctx, key); err != nil {
			return err
		}
		if o.Deliver == nil {
			return nil
		}
		return o.Deliver(b)
	})
	if err != nil || !created {
		return Bootstrap{}, false, err
	}
	return b, true, nil
}

// newAccessKey returns a new access key and its secret half.
func (s *Service) newAccessKey(userID string) (key store.AccessKey, secret string) {
	id := randomText(upperAndDigits, 20)
	secret = randomText(lettersAndDigits, 40)
	return store.AccessKey{
		AccessKey:    tidewaiter.AccessKey{ID: id, UserID: userID, Enabled: true, Created: s.time()},
		SealedSecret: s.key.seal(id, secret),
	}, secret
}

func or(value, otherwise string) string {
	if value == "" {
		return otherwise
	}
	return value
}
