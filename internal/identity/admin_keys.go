package identity

import (
	"context"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/store"
)

// maxAccessKeys is how many access keys a user may have, as at the vendor.
const maxAccessKeys = 2

// AccessKeys returns the access keys of a user, oldest first.
func (s *Service) AccessKeys(ctx context.Context, c *tidewaiter.Caller, user string) ([]tidewaiter.AccessKey, error) {
	u, err := s.user(ctx, s.db, c, user)
	if err != nil {
		return nil, err
	}
	keys, err := s.db.AccessKeys(ctx, u.ID)
	out := make([]tidewaiter.AccessKey, len(keys))
	for i, k := range keys {
		out[i] = k.AccessKey
	}
	return out, err
}

// CreateAccessKey makes an access key, and returns its secret half, which
// cannot be had again. Errors are of kind NotFound, Conflict (there are two
// already) or Forbidden.
func (s *Service) CreateAccessKey(ctx context.Context, c *tidewaiter.Caller, user string) (key tidewaiter.AccessKey, secret string, err error) {
	err = s.change(ctx, c, func(tx *store.DB) error {
		u, err := s.subordinate(ctx, tx, c, user)
		if err != nil {
			return err
		}
		keys, err := tx.AccessKeys(ctx, u.ID)
		if err != nil {
			return err
		}
		if len(keys) >= maxAccessKeys {
			return tidewaiter.Errorf(tidewaiter.Conflict, "the user has %d access keys already; delete one first", len(keys))
		}
		var k store.AccessKey
		k, secret = s.newAccessKey(u.ID)
		key = k.AccessKey
		return tx.CreateAccessKey(ctx, k)
	})
	if err != nil {
		return tidewaiter.AccessKey{}, "", err
	}
	return key, secret, nil
}

// EnableAccessKey enables or disables an access key. Errors are of kind
// NotFound or Forbidden.
func (s *Service) EnableAccessKey(ctx context.Context, c *tidewaiter.Caller, id string, enabled bool) error {
	return s.changeAccessKey(ctx, c, id, func(tx *store.DB) error { return tx.EnableAccessKey(ctx, id, enabled) })
}

// DeleteAccessKey deletes an access key. Errors are of kind NotFound or
// Forbidden.
func (s *Service) DeleteAccessKey(ctx context.Context, c *tidewaiter.Caller, id string) error {
	return s.changeAccessKey(ctx, c, id, func(tx *store.DB) error { return tx.DeleteAccessKey(ctx, id) })
}

func (s *Service) changeAccessKey(ctx context.Context, c *tidewaiter.Caller, id string, change func(tx *store.DB) error) error {
	absent := tidewaiter.Errorf(tidewaiter.NotFound, "there is no such access key")
	if !searchable(id) {
		return absent
	}
	return s.change(ctx, c, func(tx *store.DB) error {
		k, err := tx.AccessKey(ctx, id)
		if err != nil {
			return err
		}
		if _, err := s.subordinate(ctx, tx, c, k.UserID); err != nil {
			if tidewaiter.KindOf(err) == tidewaiter.NotFound {
				return absent // it is a key of another domain
			}
			return err
		}
		return change(tx)
	})
}
