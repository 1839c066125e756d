// Package identity says who is calling, and keeps accounts: domains, users,
// projects, enterprise projects, policies, grants, access keys and tokens.
//
// Speed: what a credential stands for is cached in memory for at most a second.
// A change through the same [Service] is in force when its method returns; a
// change by another process (a replica, or the command line on the data
// folder) within a second.
//
// Secrets: passwords are hashed with argon2id, tokens with SHA-256. The secret
// half of an access key cannot be hashed, since the server must compute the
// signature itself; it is sealed with AES-256-GCM under a key that lies outside
// of the database ([LoadOrCreateKey]).
//
// Revocation: a token ends when its user is disabled or deleted or gets another
// password, or when its project is disabled or deleted. Grants are looked up at
// the time of use, so that a change of grants ends no token: the token is
// simply good for less.
//
// Lock-out, counted in the memory of each replica: five wrong signatures in a
// row lock an access key, and five wrong passwords a user, for five minutes,
// even for who has the right one. A date outside of the window counts as no
// failure: it shows a wrong clock, and nothing about the secret.
package identity

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/identity/policy"
	"github.com/tidewaiter/tidewaiter/internal/store"
)

// DefaultTokenTTL is how long a token is good for.
const DefaultTokenTTL = 24 * time.Hour

// Options are the parts of a [Service].
type Options struct {
	Store *store.DB // required
	Key   *Key      // seals secret keys; required
	// TokenTTL is how long a token is good for; 0 for [DefaultTokenTTL].
	TokenTTL time.Duration
	// Now is the clock; nil for time.Now.
	Now func() time.Time
}

// Service keeps identities. All its methods may be called at once.
type Service struct {
	db       *store.DB
	key      *Key
	tokenTTL time.Duration
	now      func() time.Time
	builtIn  map[string]tidewaiter.Policy // by id

	passwords *hasher
	keyLocks  *lockout // by access key
	userLocks *lockout // by user id; unknown names by name

	generation atomic.Uint64 // counts the changes, each of which empties the caches
	tokens     *cache[[32]byte, tokenEntry]
	keys       *cache[string, keyEntry]
	accounts   *cache[string, *tidewaiter.Account] // by domain id
}

// keyFingerprint is the setting with the fingerprint of the sealing key.
const keyFingerprint = "secret_key_fingerprint"

// New returns a Service. The first one on a database ties it to the key; with
// another key New fails with an error of kind [tidewaiter.Conflict].
func New(ctx context.Context, o Options) (*Service, error) {
	if o.TokenTTL == 0 {
		o.TokenTTL = DefaultTokenTTL
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Service{db: o.Store, key: o.Key, tokenTTL: o.TokenTTL, now: o.Now, builtIn: map[string]tidewaiter.Policy{}}
	for _, p := range policy.BuiltIn() {
		s.builtIn[p.ID] = p
	}
	s.passwords = newHasher()
	s.keyLocks = newLockout(o.Now)
	s.userLocks = newLockout(o.Now)
	s.tokens = newCache[[32]byte, tokenEntry](o.Now, &s.generation)
	s.keys = newCache[string, keyEntry](o.Now, &s.generation)
	s.accounts = newCache[string, *tidewaiter.Account](o.Now, &s.generation)

	inForce, _, err := s.db.ClaimSetting(ctx, keyFingerprint, o.Key.fingerprint)
	if err != nil {
		return nil, err
	}
	if inForce != o.Key.fingerprint {
		return nil, tidewaiter.Errorf(tidewaiter.Conflict,
			"this database's secrets were sealed with another key (fingerprint %s) than this one (%s); put the file keys/secret.key of the first server into this data folder",
			inForce, o.Key.fingerprint)
	}
	return s, nil
}

// changed empties the caches, once a change is in the database.
func (s *Service) changed() { s.generation.Add(1) }

// time returns the time with the precision of the store.
func (s *Service) time() time.Time { return s.now().UTC().Truncate(time.Microsecond) }

func unauthenticated(format string, args ...any) error {
	return tidewaiter.Errorf(tidewaiter.Unauthenticated, format, args...)
}
