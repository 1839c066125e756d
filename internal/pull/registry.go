package pull

import (
	"context"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/registry"
)

// openRegistry finds images in a registry.
func openRegistry(ctx context.Context, target string, o Options) (*Source, error) {
	ref, err := name.ParseReference(target)
	if err != nil || strings.Contains(target, "://") {
		return nil, tidewaiter.InvalidField("image", "is neither a file or folder that exists, nor the name of an image; write host/path:tag or host/path@sha256:…")
	}
	repository := ref.Context().RepositoryStr()
	if problem := registry.CheckRepository(repository); problem != "" {
		return nil, tidewaiter.InvalidField("image", "cannot be in a registry: %s", problem)
	}
	config, err := o.config(ctx, ref.Context())
	if err != nil {
		return nil, err
	}
	client, err := registry.NewClient(config, o.Registry)
	if err != nil {
		return nil, err
	}
	s := &Source{Kind: "registry", close: func() error { client.Close(); return nil }}
	if s.Images, s.Others, err = o.pull(ctx, client, repository, ref.Identifier()); err != nil {
		client.Close()
		return nil, err
	}
	for i := range s.Images {
		s.Images[i].Names = []string{ref.Name()}
	}
	return s, nil
}

// pull finds the images that a tag or a digest stands for.
func (o Options) pull(ctx context.Context, client *registry.Client, repository, reference string) ([]Image, []registry.Child, error) {
	m, err := client.Manifest(ctx, repository, reference)
	if err != nil {
		return nil, nil, err
	}
	d, err := registry.Classify(m.MediaType, m.Bytes)
	if err != nil {
		return nil, nil, err
	}
	switch {
	case !d.Kind.IsImage():
		return nil, nil, invalid("there is no image: %s", d.Reason)
	case m.MediaType == "" && d.Kind == registry.KindIndex:
		m.MediaType = tidewaiter.MediaTypeOCIIndex
	case m.MediaType == "" && d.Kind != registry.KindSchema1:
		m.MediaType = tidewaiter.MediaTypeOCIManifest
	}
	return o.take(ctx, &known{client, m}, repository, []tidewaiter.Descriptor{m.Descriptor})
}

// known spares the request for a manifest that we have already.
type known struct {
	*registry.Client
	manifest registry.Manifest
}

// ManifestOf returns the manifest that is known, or asks for another.
func (k *known) ManifestOf(ctx context.Context, repository string, d tidewaiter.Descriptor) (registry.Manifest, error) {
	if d.Digest == k.manifest.Digest {
		return k.manifest, nil
	}
	return k.Client.ManifestOf(ctx, repository, d)
}

// hubTokens is the token service of Docker Hub, which is on another host.
const hubTokens = "auth.docker.io" //nolint:gosec // a host, no credential

// config returns how the registry of a repository is reached, with the
// credential that docker's configuration has for its very host and port.
func (o Options) config(ctx context.Context, repository name.Repository) (registry.Config, error) {
	address, err := tidewaiter.ParseRegistryAddress(repository.RegistryStr())
	if err != nil {
		return registry.Config{}, tidewaiter.InvalidField("image", "names a registry that cannot be: %s", messageOf(err))
	}
	c := registry.Config{
		Type: registry.Other, Address: address, Protocol: "https", CA: o.CA, SkipTLSVerify: o.SkipVerify, Proxy: o.Proxy, TokenHosts: o.TokenHosts,
	}
	if o.PlainHTTP {
		c.Protocol = "http"
	}
	if repository.RegistryStr() == name.DefaultRegistry {
		c.TokenHosts = append([]string{hubTokens}, c.TokenHosts...)
	}
	keychain := o.Keychain
	if keychain == nil {
		keychain = authn.DefaultKeychain
	}
	// Not wrapped: what a credential helper says may be anything.
	refused := tidewaiter.Errorf(tidewaiter.Unauthenticated, "docker's configuration has a credential for %s that cannot be read; check it and its credential helper, or log in again", address)
	found, err := authn.Resolve(ctx, keychain, repository)
	if err != nil {
		return c, refused
	}
	auth, err := authn.Authorization(ctx, found)
	if err != nil {
		return c, refused
	}
	if auth.IdentityToken != "" || auth.RegistryToken != "" {
		return c, tidewaiter.Errorf(tidewaiter.Unauthenticated, "docker's configuration has a token for %s, and no password; log in with a user name and a password or an access token", address)
	}
	c.Username, c.Password = auth.Username, auth.Password
	return c, nil
}
