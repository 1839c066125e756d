package tidewaiter

import "time"

// RegistryType says which product a registry is.
type RegistryType string

// The products.
const (
	RegistryHarbor        RegistryType = "Harbor"
	RegistryJfrog         RegistryType = "Jfrog"
	RegistrySwrPrivate    RegistryType = "SwrPrivate"
	RegistrySwrShared     RegistryType = "SwrShared"
	RegistrySwrEnterprise RegistryType = "SwrEnterprise"
	RegistryOther         RegistryType = "Other" // anything that speaks the OCI distribution specification
)

// RegistryTypes are all of them.
func RegistryTypes() []RegistryType {
	return []RegistryType{RegistryHarbor, RegistryJfrog, RegistrySwrPrivate, RegistrySwrShared, RegistrySwrEnterprise, RegistryOther}
}

// ImageType returns how the contract calls images of such a registry.
func (t RegistryType) ImageType() string {
	switch t {
	case RegistryHarbor:
		return "harbor"
	case RegistryJfrog:
		return "jfrog"
	case RegistrySwrPrivate:
		return "private_image"
	case RegistrySwrShared:
		return "shared_image"
	case RegistrySwrEnterprise:
		return "instance_image"
	case RegistryOther:
	}
	return "other" // beyond the contract, which has no such images
}

// Registry is a connection to a container registry.
type Registry struct {
	ID                  string
	ProjectID           string
	EnterpriseProjectID string
	Name                string // unique in its project

	Type       RegistryType
	APIVersion string // "V1" or "V2", of the product's own API
	Protocol   string // "http" or "https"
	Address    string // as the user wrote it: see [ParseRegistryAddress]
	Username   string
	Namespace  string // the project of the registry that holds the scan component, or ""
	ClusterID  string // where the components are that reach it
	Channel    string // "Swr" or "Other": where the cluster has the scan component from
	Settings   RegistrySettings

	// Revision counts the changes of how the registry is reached. What was found
	// out at an older one says nothing about the connection as it is now.
	Revision int64

	Status     RegistryStatus
	FailReason string // a code of the contract, "" unless Status is fail
	FailDetail string // in words: what to mend
	Checked    time.Time

	Images   int // that are in the registry, of the last synchronisation
	Synced   time.Time
	NextSync time.Time // zero where none is scheduled
	Created  time.Time
	Updated  time.Time
}

// RegistryStatus is how a connection is.
type RegistryStatus string

// The statuses of a connection.
const (
	RegistryAccessing RegistryStatus = "accessing" // the access check is under way
	RegistrySuccess   RegistryStatus = "success"
	RegistryFail      RegistryStatus = "fail"
)

// Why a registry cannot be used, in the codes of the contract.
const (
	FailCreateJob  = "CREATE_JOB_FAILED" // no component of the cluster takes the work
	FailRequestAPI = "REQUEST_API_ERROR" // something to mend: address, network, certificate, credential, role
	FailServer     = "SERVER_ERROR"      // the registry fails, or we do: try again later
)

// RegistrySettings are what a connection has beyond the contract. None of them
// is a secret.
type RegistrySettings struct {
	CA            string   // PEM: trusted in addition to the usual authorities
	SkipTLSVerify bool     // accept any certificate
	TokenHosts    []string // host or host:port of token services that may receive the credential

	Include       []string // patterns of repositories, none is all
	Exclude       []string
	IncludeTags   []string // patterns of tags
	ExcludeTags   []string
	Repositories  []string // the repositories, for a registry that cannot list them
	RequestBudget int      // requests per hour, 0 is no limit

	// SyncAt is when the images are synchronised each day: "15:04" in the
	// server's time zone, "off", or "" for the server's default.
	SyncAt string

	SWRAPI          string // host or host:port of SWR's management API, "" is derived from the address
	SWRProjectID    string // enterprise edition
	SWRInstanceID   string // enterprise edition
	SWRInstanceName string // enterprise edition: shown only
	SWRAccessKey    string
	ArtifactoryWay  string // "", "repository-path", "sub-domain" or "port"

	// TrustAttachedVEX takes what VEX documents say that are attached to images:
	// whoever may push to a repository can say which vulnerabilities of its images
	// do not matter.
	TrustAttachedVEX bool
}

// The secrets of a connection, each sealed to the cluster's key by itself.
const (
	SecretPassword = "password"       //nolint:gosec // the name of a secret
	SecretProxy    = "proxy"          // URL of a forward proxy, which may hold a password
	SecretSWRKey   = "swr_secret_key" //nolint:gosec // as above
)

// SealedSecret is a secret of a registry that only the components of a cluster
// can open.
type SealedSecret struct {
	RegistryID string
	Name       string // SecretPassword, …
	Recipient  string // the key that it is sealed to
	Sealed     []byte // an age file
}
