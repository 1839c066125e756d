package main

import (
	"context"
	"slices"
	"strings"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/gateway"
	"github.com/tidewaiter/tidewaiter/internal/identity"
	"github.com/tidewaiter/tidewaiter/internal/identity/keystone"
)

// newAuthenticator returns what answers "who is calling": the embedded
// identity, and behind it an external Keystone for tokens that are not ours.
func newAuthenticator(c *Config, embedded *identity.Service) (gateway.Authenticator, error) {
	if c.KeystoneURL == "" {
		return embedded, nil
	}
	client, err := newKeystone(c)
	if err != nil {
		return nil, err
	}
	return &withKeystone{Service: embedded, external: client}, nil
}

func newKeystone(c *Config) (*keystone.Client, error) {
	return keystone.New(keystone.Options{
		URL: c.KeystoneURL, CAFile: c.KeystoneCA, AllowHTTP: c.InsecureHTTP,
		// The roles that every Keystone has by default.
		RoleMap: map[string]string{
			"admin": "HSS Administrator", "member": "HSS FullAccess", "reader": "HSS ReadOnlyAccess",
		},
	})
}

// withKeystone asks the embedded identity about its own tokens and about
// signatures, and Keystone about all other tokens.
type withKeystone struct {
	*identity.Service
	external *keystone.Client
}

// AuthenticateToken implements [gateway.Authenticator].
func (w *withKeystone) AuthenticateToken(ctx context.Context, token string) (*tidewaiter.Caller, error) {
	if strings.HasPrefix(token, identity.TokenPrefix) {
		return w.Service.AuthenticateToken(ctx, token)
	}
	v, err := w.external.AuthenticateToken(ctx, token)
	if err != nil {
		return nil, err
	}
	caller := &tidewaiter.Caller{
		UserID: v.UserID, UserName: v.UserName, DomainID: v.DomainID, DomainName: v.DomainName,
		Authorization: tidewaiter.PolicyAuthorization,
	}
	if v.ProjectID != "" {
		caller.Scope, caller.ProjectID = tidewaiter.ProjectScope, v.ProjectID
	}
	operator, err := w.Operator(ctx, "")
	if err != nil {
		return nil, err
	}
	policies, err := w.Policies(ctx, operator)
	if err != nil {
		return nil, err
	}
	for _, p := range policies {
		if slices.Contains(v.Roles, p.Name) {
			caller.Grants = append(caller.Grants, tidewaiter.CallerGrant{
				Policy: p.Name, Document: p.Document, ProjectID: v.ProjectID,
			})
		}
	}
	return caller, nil
}
