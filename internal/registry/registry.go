// Package registry is how the scan component speaks to a container registry:
// the contract of the connectors that list what a product holds, and the one
// client through which everything goes, with the rules for credentials,
// addresses, limits and retries.
//
// Listing differs from product to product, so each has a connector in a
// package of its own. Pulling manifests and blobs is the same everywhere
// (https://github.com/opencontainers/distribution-spec/blob/main/spec.md) and
// is done by [Client].
//
// Everything that a registry answers is hostile until checked: names, digests,
// sizes, links, realms, redirects, times.
package registry

import (
	"context"
	"iter"
	"log/slog"
	"strings"
	"time"

	"github.com/tidewaiter/tidewaiter"
)

// Type says which product a registry is.
type Type = tidewaiter.RegistryType

// The products.
const (
	Harbor        = tidewaiter.RegistryHarbor
	Jfrog         = tidewaiter.RegistryJfrog
	SwrPrivate    = tidewaiter.RegistrySwrPrivate
	SwrShared     = tidewaiter.RegistrySwrShared
	SwrEnterprise = tidewaiter.RegistrySwrEnterprise
	Other         = tidewaiter.RegistryOther
)

// Config is what the scan component is told about a registry. It holds secrets:
// printed or logged, it shows the type and the address only.
type Config struct {
	Type       Type
	APIVersion string // "V1" or "V2", of the product's own API; "" is V2
	Protocol   string // "http" or "https"; "" is the scheme of Address, else https
	Address    tidewaiter.RegistryAddress
	Username   string // "" is anonymous
	Password   string

	// Namespace is the project that holds the scan component's image. It does
	// not narrow down what is listed: Include does.
	Namespace tidewaiter.Namespace

	CA            []byte   // PEM: trusted in addition to the usual authorities
	SkipTLSVerify bool     // accept any certificate; shown to the user as a warning
	Proxy         string   // URL of a forward proxy, http or https, or "" for none
	TokenHosts    []string // host or host:port of token services that may receive the credential

	Include        []string // patterns of repositories, "" is all: see [Match]
	Exclude        []string // patterns of repositories, stronger than Include
	IncludeTags    []string // patterns of tags
	ExcludeTags    []string
	Repositories   []string // the repositories, for a registry that cannot list them
	RequestBudget  int      // requests per hour, 0 is no limit
	SWR            SWR
	ArtifactoryWay ArtifactoryWay
}

// SWR is what only SWR needs.
type SWR struct {
	API        string // host or host:port of the management API; "" is derived from the address
	ProjectID  string // enterprise edition: the project that holds the instance
	InstanceID string // enterprise edition

	// AccessKey and SecretKey sign requests to the management API. If they are
	// empty, shared and private editions take Username and Password for them,
	// and derive the login for docker: see [Config.AccessKey].
	AccessKey, SecretKey string
}

// ArtifactoryWay is how docker reaches a repository of Artifactory.
type ArtifactoryWay string

// The ways to reach a repository of Artifactory.
const (
	ArtifactoryAuto      ArtifactoryWay = ""                // by looking
	ArtifactoryPath      ArtifactoryWay = "repository-path" // host/KEY/image
	ArtifactorySubdomain ArtifactoryWay = "sub-domain"      // KEY.host/image
	ArtifactoryPort      ArtifactoryWay = "port"            // host:PORT/image
)

// Connector lists what one registry holds. Each method may be called again
// and from several goroutines; none keeps what it has listed.
//
// A sequence ends at its first error, which is of a [tidewaiter.Kind]:
// Unauthenticated (401), Forbidden (403), NotFound (404), Throttled (429 that
// did not go away), Unavailable (no answer, 5xx), TooLarge (a limit of ours),
// Invalid (an answer that breaks the product's own rules). What is unusable by
// itself, such as a name that no registry may have, is listed with a Problem
// and does not end the sequence.
type Connector interface {
	// Ping proves that the registry answers and takes the credential.
	Ping(ctx context.Context) error
	// Repositories lists what the credential may see and the patterns admit.
	Repositories(ctx context.Context) iter.Seq2[Repository, error]
	// Tags lists the tags of one repository that the patterns admit. NotFound
	// is a repository that is gone, not one without tags.
	Tags(ctx context.Context, repository Repository) iter.Seq2[Tag, error]
}

// Repository is a repository in a registry.
type Repository struct {
	Name    string // as in /v2/NAME/manifests/TAG
	Owner   string // SWR shared images: the account that shares it
	Problem string // why it cannot be used, or ""
}

// Namespace returns the first part of the name of a repository, or "".
func (r Repository) Namespace() string {
	namespace, _, ok := strings.Cut(r.Name, "/")
	if !ok {
		return ""
	}
	return namespace
}

// Image returns the name less its namespace.
func (r Repository) Image() string {
	_, image, ok := strings.Cut(r.Name, "/")
	if !ok {
		return r.Name
	}
	return image
}

// Tag is a tag in a repository, as far as the listing tells.
type Tag struct {
	Name      string
	Digest    tidewaiter.Digest // of the manifest, "" if the listing has none: see [Client.Head]
	MediaType string            // of the manifest, or ""
	Size      int64             // bytes, 0 if the listing has none
	Pushed    time.Time         // zero if the listing has none
	Problem   string            // why it cannot be used, or ""
}

// protocol returns the scheme to use.
func (c Config) protocol() string {
	switch {
	case c.Protocol != "":
		return c.Protocol
	case c.Address.Scheme != "":
		return c.Address.Scheme
	}
	return "https"
}

// Origin returns where the registry is.
func (c Config) Origin() Origin { return addressOrigin(c.protocol(), c.Address) }

// String returns the type and the address: see [Config].
func (c Config) String() string { return string(c.Type) + " at " + c.Origin().String() }

// GoString is String, for %#v.
func (c Config) GoString() string { return c.String() }

// LogValue is String, for slog.
func (c Config) LogValue() slog.Value { return slog.StringValue(c.String()) }
