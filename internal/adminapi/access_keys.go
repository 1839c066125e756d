package adminapi

import (
	"context"
	"net/http"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/gateway"
)

func (s *server) registerAccessKeys() {
	gateway.Register(s.api, operation("ListAccessKeys", http.MethodGet, "/access-keys", "credentials", "list", "List the access keys of the account, or of a user"), s.listAccessKeys)
	gateway.Register(s.api, operation("CreateAccessKey", http.MethodPost, "/access-keys", "credentials", "create", "Create an access key; its secret is in this answer only"), s.createAccessKey)
	gateway.Register(s.api, operation("UpdateAccessKey", http.MethodPatch, "/access-keys/{id}", "credentials", "update", "Enable or disable an access key"), s.updateAccessKey)
	gateway.Register(s.api, operation("DeleteAccessKey", http.MethodDelete, "/access-keys/{id}", "credentials", "delete", "Delete an access key"), s.deleteAccessKey)
}

// AccessKey is the public half of a pair on the wire.
type AccessKey struct {
	AccessKey string `json:"access_key"`
	UserID    string `json:"user_id"`
	Enabled   bool   `json:"enabled"`
	Created   string `json:"created"`
}

// NewAccessKey says whose key is to be created.
type NewAccessKey struct {
	UserID string `json:"user_id" minLength:"1" maxLength:"64"`
}

// CreatedAccessKey is a new pair.
type CreatedAccessKey struct {
	AccessKey
	SecretKey string `json:"secret_key" doc:"Shown once."`
}

// AccessKeyChange is the new state of a key.
type AccessKeyChange struct {
	Enabled bool `json:"enabled"`
}

func wireAccessKey(k tidewaiter.AccessKey) AccessKey {
	return AccessKey{AccessKey: k.ID, UserID: k.UserID, Enabled: k.Enabled, Created: wireTime(k.Created)}
}

func (s *server) listAccessKeys(ctx context.Context, in *struct {
	UserID string `query:"user_id" maxLength:"64"`
}) (*listOutput[AccessKey], error) {
	caller := gateway.CallerFrom(ctx)
	ids := []string{in.UserID}
	if in.UserID == "" {
		users, err := s.identity.Users(ctx, caller)
		if err != nil {
			return nil, err
		}
		ids = ids[:0]
		for _, u := range users {
			ids = append(ids, u.ID)
		}
	}
	var keys []tidewaiter.AccessKey
	for _, id := range ids {
		k, err := s.identity.AccessKeys(ctx, caller, id)
		if err != nil {
			return nil, err
		}
		keys = append(keys, k...)
	}
	return list(keys, wireAccessKey), nil
}

func (s *server) createAccessKey(ctx context.Context, in *struct{ Body NewAccessKey }) (*output[CreatedAccessKey], error) {
	k, secret, err := s.identity.CreateAccessKey(ctx, gateway.CallerFrom(ctx), in.Body.UserID)
	if err != nil {
		return nil, err
	}
	return one(CreatedAccessKey{AccessKey: wireAccessKey(k), SecretKey: secret}), nil
}

func (s *server) updateAccessKey(ctx context.Context, in *struct {
	ByID
	Body AccessKeyChange
}) (*struct{}, error) {
	return nil, s.identity.EnableAccessKey(ctx, gateway.CallerFrom(ctx), in.ID, in.Body.Enabled)
}

func (s *server) deleteAccessKey(ctx context.Context, in *ByID) (*struct{}, error) {
	return nil, s.identity.DeleteAccessKey(ctx, gateway.CallerFrom(ctx), in.ID)
}
