package tidewaiter

import "time"

// Cluster is a place where scan components run, beside the registries that
// they reach. Registry credentials are sealed to the cluster's key, which its
// components share and the server does not have.
type Cluster struct {
	ID        string
	ProjectID string // "" for every project
	Name      string
	Kind      ClusterKind
	Recipient string // the public half of the cluster's key (age X25519), "" before its first component
	KeyEpoch  int64  // how often the key was changed
	Limits    ScanLimits
	Created   time.Time
}

// ClusterKind says who starts the components of a cluster.
type ClusterKind string

// The kinds of cluster.
const (
	LocalCluster    ClusterKind = "local"    // the server process itself
	AttachedCluster ClusterKind = "attached" // the user, with a command that holds a one-time token
)

// LocalClusterID is the id of the cluster inside the server, which is there
// from the first start.
const LocalClusterID = "local"

// Component is a scan component: a running program with an identity of its own.
type Component struct {
	ID        string
	ClusterID string
	Name      string // such as the host's name; hostile text
	Version   string // of the program
	Platform  string // such as linux/amd64
	Protocol  int    // the version of the component protocol that it speaks with us

	SigningKey []byte // Ed25519 public key, 32 bytes: it signs the component's requests
	Recipient  string // age X25519: what others seal for this component alone

	ClusterRecipient string // the cluster key that it holds or offers, "" for none
	SealedClusterKey []byte // the cluster's private key, sealed to Recipient by another component; nil for none

	Enrolled time.Time
	Seen     time.Time // last request
}

// HasKey tells whether the component can open what is sealed to the cluster.
func (c Component) HasKey(cluster Cluster) bool {
	return cluster.Recipient != "" && c.ClusterRecipient == cluster.Recipient
}
