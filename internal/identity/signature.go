package identity

import (
	"context"
	"errors"
	"net/http"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/identity/aksk"
)

// keyEntry is what is cached of an access key.
type keyEntry struct {
	caller  *tidewaiter.Caller
	key     *aksk.Key
	enabled bool // the key, its user and its domain
}

// AuthenticateSignature returns the caller who signed a request with an access
// key, in the manner of package aksk. bodySHA256 is the sum of the body in
// lower-case hex. The caller is shared: it must not be changed. Errors are of
// kind [tidewaiter.Unauthenticated], with the messages of the vendor's gateway.
func (s *Service) AuthenticateSignature(ctx context.Context, r *http.Request, bodySHA256 string) (*tidewaiter.Caller, error) {
	sig, err := aksk.Parse(r)
	if err != nil {
		return nil, err
	}
	if s.keyLocks.locked(sig.AccessKey) {
		return nil, unauthenticated("AK access failed to reach the limit,forbidden")
	}
	now := s.now()
	if err := sig.InWindow(now); err != nil {
		return nil, err
	}
	var key keyEntry
	if e, ok := s.keys.fresh(sig.AccessKey, now); ok {
		key = e.value
	} else if key, err = s.loadKey(ctx, sig.AccessKey); err != nil {
		return nil, err
	}
	if err := sig.Verify(r, bodySHA256, key.key, now); err != nil {
		if errors.Is(err, aksk.ErrMismatch) {
			s.keyLocks.failed(sig.AccessKey)
		}
		return nil, err
	}
	s.keyLocks.succeeded(sig.AccessKey)
	if !key.enabled { // said only to who has the secret
		return nil, unauthenticated("verify aksk signature fail, the access key, its user or its account is disabled")
	}
	return key.caller, nil
}

// loadKey reads an access key with all that it stands for.
func (s *Service) loadKey(ctx context.Context, id string) (keyEntry, error) {
	return s.keys.get(ctx, id, s.now(), func(ctx context.Context) (e keyEntry, err error) {
		k, err := s.db.AccessKey(ctx, id)
		if err != nil {
			return e, orUnknownKey(err, id)
		}
		u, err := s.db.User(ctx, k.UserID)
		if err != nil {
			return e, orUnknownKey(err, id)
		}
		d, err := s.db.Domain(ctx, u.DomainID)
		if err != nil {
			return e, orUnknownKey(err, id)
		}
		e.enabled = k.Enabled && u.Enabled && d.Enabled
		secret, err := s.key.open(k.ID, k.SealedSecret)
		if err != nil {
			return e, err
		}
		e.key = aksk.NewKey(secret)
		e.caller, err = s.principal(ctx, u, d, tidewaiter.RequestScope)
		return e, err
	})
}

// orUnknownKey names the access key, as the vendor does: it is no secret, and
// package aksk has made sure that it is letters and digits.
func orUnknownKey(err error, id string) error {
	if tidewaiter.KindOf(err) == tidewaiter.NotFound {
		return unauthenticated("Get secretKey failed,ak:%s,err:ak not exist", id)
	}
	return err
}
