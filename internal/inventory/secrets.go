package inventory

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/seal"
	"github.com/tidewaiter/tidewaiter/internal/store"
)

// The fields of requests that carry secrets.
const (
	passwordField = "registry_password"
	proxyField    = "proxy"
	swrKeyField   = "swr_secret_key"
)

// A givenSecret is a secret of a request; the value "" removes it.
type givenSecret struct{ name, value string }

// secretField returns how requests call a secret.
func secretField(name string) string {
	switch name {
	case tidewaiter.SecretProxy:
		return proxyField
	case tidewaiter.SecretSWRKey:
		return swrKeyField
	}
	return passwordField
}

// secrets returns the secrets that a request gives, checked.
func (c RegistryChange) secrets() ([]givenSecret, error) {
	var given []givenSecret
	if c.Password != nil {
		if err := tidewaiter.CheckText(passwordField, *c.Password, maxPassword); err != nil {
			return nil, err
		}
		given = append(given, givenSecret{tidewaiter.SecretPassword, *c.Password})
	}
	if p := c.Settings.Proxy; p != nil {
		if *p != "" {
			if err := checkProxy(*p); err != nil {
				return nil, err
			}
		}
		given = append(given, givenSecret{tidewaiter.SecretProxy, *p})
	}
	if k := c.Settings.SWRSecretKey; k != nil {
		if *k != "" {
			if err := tidewaiter.CheckText(swrKeyField, *k, maxPassword); err != nil {
				return nil, err
			}
		}
		given = append(given, givenSecret{tidewaiter.SecretSWRKey, *k})
	}
	return given, nil
}

// checkBound refuses a change that leaves a secret behind which is bound to
// what the registry was before: where it is, who logs in, which cluster's
// components can open it. They would refuse to use it.
func checkBound(old, r tidewaiter.Registry, kept []tidewaiter.SealedSecret, given []givenSecret) error {
	before, err := seal.Origin(old.Protocol, old.Address)
	if err != nil {
		return fmt.Errorf("read address of registry %s: %w", old.ID, err)
	}
	after, err := seal.Origin(r.Protocol, r.Address)
	if err != nil {
		return err
	}
	var changed []string
	if before != after {
		changed = append(changed, "registry_addr or protocol")
	}
	if old.Username != r.Username {
		changed = append(changed, "registry_username")
	}
	if old.ClusterID != r.ClusterID {
		changed = append(changed, "connect_cluster_id")
	}
	if len(changed) == 0 {
		return nil
	}
	names := []string{tidewaiter.SecretPassword} // which every registry has
	for _, k := range kept {
		if k.Name != tidewaiter.SecretPassword {
			names = append(names, k.Name)
		}
	}
	var missing []string
	for _, name := range names {
		if !slices.ContainsFunc(given, func(g givenSecret) bool { return g.name == name }) {
			missing = append(missing, secretField(name))
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return tidewaiter.InvalidField(missing[0], "is missing: secrets are bound to where they were given for, so a change of %s needs %s in the same request",
		strings.Join(changed, ", "), strings.Join(missing, " and "))
}

// putSecrets seals what was given to the cluster's key, and keeps that alone.
func putSecrets(ctx context.Context, tx *store.DB, r tidewaiter.Registry, recipient string, given []givenSecret) error {
	origin, err := seal.Origin(r.Protocol, r.Address)
	if err != nil {
		return err
	}
	for _, g := range given {
		if g.value == "" {
			if err := tx.DeleteSecret(ctx, r.ID, g.name); err != nil && tidewaiter.KindOf(err) != tidewaiter.NotFound {
				return err
			}
			continue
		}
		sealed, err := seal.Seal(recipient, seal.Binding{RegistryID: r.ID, Name: g.name, Origin: origin, Username: r.Username}, g.value)
		if err != nil {
			return fmt.Errorf("seal %s: %w", secretField(g.name), err)
		}
		if err := tx.PutSecret(ctx, tidewaiter.SealedSecret{RegistryID: r.ID, Name: g.name, Recipient: recipient, Sealed: sealed}); err != nil {
			return err
		}
	}
	return nil
}

// usableCluster returns the cluster of a registry, if its project may use it
// and there is a key to seal to.
func usableCluster(ctx context.Context, tx *store.DB, r tidewaiter.Registry) (tidewaiter.Cluster, error) {
	const field = "connect_cluster_id"
	c, err := tx.Cluster(ctx, r.ClusterID)
	if tidewaiter.KindOf(err) == tidewaiter.NotFound || err == nil && c.ProjectID != "" && c.ProjectID != r.ProjectID {
		return c, tidewaiter.InvalidField(field, "is no cluster that this project can use; list them with ListAgentDaemonsetInfo, or make one with `tidewaiter cluster create NAME`")
	}
	switch {
	case err != nil:
		return c, err
	case c.Recipient != "":
		return c, nil
	case c.Kind == tidewaiter.LocalCluster:
		return c, &tidewaiter.Error{Kind: tidewaiter.Conflict, Field: field,
			Message: "is the cluster inside the server, whose scan component has not started yet; try again in a moment, and look at the server's log if it does not"}
	}
	return c, &tidewaiter.Error{Kind: tidewaiter.Conflict, Field: field,
		Message: "is a cluster without a key to seal the password to: no scan component of it has started yet; start one with the command that `tidewaiter cluster token " + c.Name + "` prints, then try again"}
}
