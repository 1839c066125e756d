// Package artifactory lists the docker repositories of a JFrog Artifactory
// (https://jfrog.com/help/r/jfrog-rest-apis/list-docker-repositories), in each
// of the three ways in which docker may reach them
// (https://jfrog.com/help/r/jfrog-artifactory-documentation/docker-registry):
//
//   - repository path, host/KEY/image: one connection lists every docker
//     repository that the user sees; the KEY is the first part of the names;
//   - sub-domain, KEY.host/image, and port, host:PORT/image: the address stands
//     for one repository, and is asked like any registry. A credential never
//     goes to another host or port, so each repository is a connection of its own.
package artifactory

import (
	"context"
	"iter"
	"net/url"
	"slices"
	"strings"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/registry"
	"github.com/tidewaiter/tidewaiter/internal/registry/oci"
)

// Connector lists an Artifactory.
type Connector struct {
	client *registry.Client
}

var _ registry.Connector = (*Connector)(nil)

// New returns a connector.
func New(client *registry.Client) *Connector { return &Connector{client: client} }

// repository is a repository of Artifactory, not one of images.
type repository struct {
	Key         string `json:"key"`
	Type        string `json:"type"` // LOCAL, REMOTE, VIRTUAL, FEDERATED
	PackageType string `json:"packageType"`
}

// Ping asks /v2/, and the API where it is needed.
func (c *Connector) Ping(ctx context.Context) error {
	if err := c.client.Ping(ctx); err != nil {
		return err
	}
	if way := c.client.Config().ArtifactoryWay; way == registry.ArtifactorySubdomain || way == registry.ArtifactoryPort {
		return nil
	}
	_, err := c.keys(ctx)
	if c.client.Config().ArtifactoryWay == registry.ArtifactoryAuto && tidewaiter.KindOf(err) == tidewaiter.NotFound {
		return nil
	}
	return err
}

// keys lists Artifactory's docker repositories.
func (c *Connector) keys(ctx context.Context) ([]repository, error) {
	q := registry.Request{Path: "/artifactory/api/repositories", Query: "packageType=docker", Auth: registry.AuthBasic}
	body, _, err := c.client.Read(ctx, q, registry.MaxAnswer)
	if err != nil {
		return nil, err
	}
	var all []repository
	if err := registry.Decode(body, &all); err != nil {
		return nil, err
	}
	if len(all) > registry.MaxRepositories {
		return nil, registry.Errorf(tidewaiter.TooLarge, registry.ReasonLimit, "Artifactory lists more than %d repositories", registry.MaxRepositories)
	}
	// A virtual repository shows what others hold, under a second name. It
	// counts only where nothing else is to be seen.
	virtual := func(r repository) bool { return strings.EqualFold(r.Type, "VIRTUAL") }
	if slices.ContainsFunc(all, func(r repository) bool { return !virtual(r) }) {
		all = slices.DeleteFunc(all, virtual)
	}
	return slices.DeleteFunc(all, func(r repository) bool {
		return r.PackageType != "" && !strings.EqualFold(r.PackageType, "docker") || r.Key == ""
	}), nil
}

// Repositories lists the images of each docker repository.
func (c *Connector) Repositories(ctx context.Context) iter.Seq2[registry.Repository, error] {
	config := c.client.Config()
	if len(config.Repositories) > 0 {
		return config.Given
	}
	if config.ArtifactoryWay == registry.ArtifactorySubdomain || config.ArtifactoryWay == registry.ArtifactoryPort {
		return oci.New(c.client).Repositories(ctx)
	}
	return func(yield func(registry.Repository, error) bool) {
		keys, err := c.keys(ctx)
		auto := config.ArtifactoryWay == registry.ArtifactoryAuto
		if auto && (tidewaiter.KindOf(err) == tidewaiter.NotFound || c.isSubdomain(keys)) {
			oci.New(c.client).Repositories(ctx)(yield)
			return
		}
		if err != nil {
			yield(registry.Repository{}, err)
			return
		}
		for _, key := range keys {
			if !c.images(ctx, key, yield) {
				return
			}
		}
	}
}

// isSubdomain tells whether the address begins with the key of a repository.
func (c *Connector) isSubdomain(keys []repository) bool {
	label, _, _ := strings.Cut(c.client.Config().Address.Host, ".")
	return slices.ContainsFunc(keys, func(r repository) bool { return strings.EqualFold(r.Key, label) })
}

// images lists one repository of Artifactory. What is wrong with it alone (a
// remote registry that does not answer, a right that lacks) is its problem.
func (c *Connector) images(ctx context.Context, key repository, yield func(registry.Repository, error) bool) (more bool) {
	if problem := registry.CheckRepository(key.Key); problem != "" {
		return yield(registry.Repository{Name: "(unnamed)", Problem: "Artifactory has a repository whose key cannot be used in the path of an image"}, nil)
	}
	q := registry.Request{Path: "/artifactory/api/docker/" + url.PathEscape(key.Key) + "/v2/_catalog", Auth: registry.AuthBasic}
	for r, err := range oci.Catalog(ctx, c.client, q, key.Key+"/") {
		if err != nil && own(err) {
			return yield(registry.Repository{Name: key.Key, Problem: "the images of this repository cannot be listed by this user, or not at all"}, nil)
		}
		if !yield(r, err) || err != nil {
			return false
		}
	}
	return true
}

// own tells an error of one repository from one of the whole Artifactory.
func own(err error) bool {
	kind := tidewaiter.KindOf(err)
	return kind == tidewaiter.Forbidden || kind == tidewaiter.NotFound
}

// Tags lists the tags as any registry does. Digests are not told.
func (c *Connector) Tags(ctx context.Context, r registry.Repository) iter.Seq2[registry.Tag, error] {
	return oci.Tags(ctx, c.client, r)
}
