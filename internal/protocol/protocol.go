// Package protocol is what a scan component and the server say to each other:
// the bodies of the requests under /component/v1, and how requests are signed.
// docs/protocol.md tells the same to people.
//
// Bodies are JSON; what a reader does not know it ignores, so that either side
// may be newer. Every request is a POST that the component makes; the server
// never connects to a component. Times are RFC 3339, bytes are base64, digests
// as in the OCI image specification.
package protocol

import (
	"time"

	"github.com/tidewaiter/tidewaiter"
)

// The versions of the protocol. Both sides name the newest and the oldest that
// they speak, and use the newest that both have.
const (
	Newest = 1
	Oldest = 1
)

// Prefix is where the server answers components.
const Prefix = "/component/v1"

// The paths under [Prefix]. Those of a piece of work are
// /work/{id}/heartbeat and so on.
const (
	PathEnrol      = "/enrol"      // EnrolRequest, EnrolResponse; the only one without a signature
	PathHello      = "/hello"      // HelloRequest, HelloResponse
	PathLease      = "/lease"      // LeaseRequest, Work or 204 if there is none
	PathWork       = "/work/"      // and the id, and one of the following
	PathHeartbeat  = "/heartbeat"  // HeartbeatRequest, HeartbeatResponse
	PathPending    = "/pending"    // PendingRequest, PendingResponse
	PathUnknown    = "/unknown"    // UnknownRequest, UnknownResponse
	PathRepository = "/repository" // RepositoryReport, 204
	PathFinish     = "/finish"     // FinishRequest, 204
)

// Limits of what a component sends in one request.
const (
	MaxNames   = 1_000   // repositories or digests asked for at once
	MaxReport  = 500     // tags, and manifests, in one report
	MaxBody    = 8 << 20 // bytes
	MaxWait    = 30 * time.Second
	MaxMessage = 1_000 // characters of a text for people
)

// Versions says which versions of the protocol the sender speaks.
type Versions struct {
	Newest int `json:"protocol"`
	Oldest int `json:"oldest_protocol"`
}

// Description says what a component is.
type Description struct {
	Name     string `json:"name"` // such as the host's name, up to 128 characters
	Version  string `json:"version"`
	Platform string `json:"platform"`
}

// EnrolRequest asks for an identity. Sent again with the same token and key it
// gets the same answer.
type EnrolRequest struct {
	Versions
	Description
	Token      string `json:"token"`
	SigningKey []byte `json:"signing_key"` // Ed25519 public key
	Recipient  string `json:"recipient"`   // age X25519 recipient
}

// EnrolResponse is the identity.
type EnrolResponse struct {
	ComponentID string `json:"component_id"`
	ClusterID   string `json:"cluster_id"`
	ClusterName string `json:"cluster_name"`
}

// HelloRequest is sent at each start, and again when the server or a change of
// the component's keys asks for it.
type HelloRequest struct {
	Versions
	Description
	// ClusterRecipient belongs to the cluster key that the component holds; a
	// component without one makes a key and offers it.
	ClusterRecipient string `json:"cluster_recipient"`
	// KeyRefused says that the component could not use the SealedClusterKey of
	// the last answer: it does not open, or is not the key in force.
	KeyRefused bool `json:"key_refused,omitempty"`
	// Started says that the program has just started: leases that an earlier run
	// of it holds are free.
	Started bool `json:"started"`
}

// HelloResponse says how things stand.
type HelloResponse struct {
	Protocol    int    `json:"protocol"` // the version to speak
	ClusterID   string `json:"cluster_id"`
	ClusterName string `json:"cluster_name"`
	// ClusterRecipient is the key in force. It is the component's own offer if
	// there was none. It is "" if there is none and the offer cannot become it,
	// since it was in force before the key was changed: make a new key, and say
	// hello again.
	ClusterRecipient string `json:"cluster_recipient"`
	// SealedClusterKey is the private key in force, which another component has
	// sealed to this component's recipient; empty if none has.
	SealedClusterKey []byte `json:"sealed_cluster_key,omitempty"`
	HeartbeatSeconds int    `json:"heartbeat_seconds"` // while there is work
	LeaseSeconds     int    `json:"lease_seconds"`     // how long a lease holds without a heartbeat
	ServerVersion    string `json:"server_version"`
}

// LeaseRequest asks for work.
type LeaseRequest struct {
	Kinds []tidewaiter.WorkKind `json:"kinds"` // those that the component can do now
	// WaitSeconds is how long the server may wait for work to turn up, up to
	// MaxWait.
	WaitSeconds int `json:"wait_seconds"`
	// ClusterRecipient belongs to the cluster key that the component holds. If it
	// is not the one in force the answer is 409 hello_required.
	ClusterRecipient string `json:"cluster_recipient"`
}

// Work is a lease. One of the pointers is set: that of its kind.
type Work struct {
	ID           string              `json:"id"`
	Attempt      int                 `json:"attempt"`
	Kind         tidewaiter.WorkKind `json:"kind"`
	LeaseSeconds int                 `json:"lease_seconds"`

	AccessCheck *AccessCheck `json:"access_check,omitempty"`
	Sync        *Sync        `json:"sync,omitempty"`
	Scan        *Scan        `json:"scan,omitempty"`
	ShareKey    *ShareKey    `json:"share_key,omitempty"`
}

// AccessCheck is the work of finding out whether a registry can be used.
type AccessCheck struct {
	Registry Registry `json:"registry"`
}

// Sync is the work of listing the images of a registry.
type Sync struct {
	Registry Registry `json:"registry"`
}

// ShareKey is the work of sealing the cluster's key for another component.
type ShareKey struct {
	ComponentID string `json:"component_id"`
	Recipient   string `json:"recipient"`
}

// Registry says how a registry is reached. The secrets are sealed to the
// cluster's key (package seal) and bound to the registry's id and origin.
type Registry struct {
	ID         string                  `json:"id"`
	Type       tidewaiter.RegistryType `json:"type"`
	APIVersion string                  `json:"api_version"`
	Protocol   string                  `json:"protocol"`
	Address    string                  `json:"address"`
	Username   string                  `json:"username"`
	Namespace  string                  `json:"namespace,omitempty"`

	CA             string   `json:"ca,omitempty"`
	SkipTLSVerify  bool     `json:"tls_skip_verify,omitempty"`
	TokenHosts     []string `json:"token_hosts,omitempty"`
	Include        []string `json:"include,omitempty"`
	Exclude        []string `json:"exclude,omitempty"`
	IncludeTags    []string `json:"include_tags,omitempty"`
	ExcludeTags    []string `json:"exclude_tags,omitempty"`
	Repositories   []string `json:"repositories,omitempty"`
	RequestBudget  int      `json:"request_budget,omitempty"`
	SWRAPI         string   `json:"swr_api,omitempty"`
	SWRProjectID   string   `json:"swr_project_id,omitempty"`
	SWRInstanceID  string   `json:"swr_instance_id,omitempty"`
	SWRAccessKey   string   `json:"swr_access_key,omitempty"`
	ArtifactoryWay string   `json:"artifactory_way,omitempty"`

	Secrets map[string][]byte `json:"secrets"` // sealed, by name: tidewaiter.SecretPassword, …
}

// HeartbeatRequest keeps a lease and says how far the work is.
type HeartbeatRequest struct {
	Attempt  int      `json:"attempt"`
	Progress Progress `json:"progress"`
}

// Progress is how far a synchronisation has come.
type Progress struct {
	Repositories     int `json:"repositories"`
	RepositoriesDone int `json:"repositories_done"`
	Images           int `json:"images"`
	Skipped          int `json:"skipped"`
	Requests         int `json:"requests"`
}

// HeartbeatResponse says whether to go on.
type HeartbeatResponse struct {
	Stop bool `json:"stop"` // nobody wants the work any more: stop, and finish it as released
}

// PendingRequest asks which repositories of a synchronisation are still to be
// listed: an earlier attempt may have done some.
type PendingRequest struct {
	Attempt      int      `json:"attempt"`
	Repositories []string `json:"repositories"` // up to MaxNames
}

// PendingResponse names them.
type PendingResponse struct {
	Repositories []string `json:"repositories"`
}

// UnknownRequest asks of which manifests the server knows nothing yet.
type UnknownRequest struct {
	Attempt int                 `json:"attempt"`
	Digests []tidewaiter.Digest `json:"digests"` // up to MaxNames
}

// UnknownResponse names them.
type UnknownResponse struct {
	Digests []tidewaiter.Digest `json:"digests"`
}

// RepositoryReport says what is in a repository: in one report, or in several
// of which the last is Complete. The same report may come more than once.
type RepositoryReport struct {
	Attempt   int        `json:"attempt"`
	Name      string     `json:"name"`
	Owner     string     `json:"owner,omitempty"`
	Problem   string     `json:"problem,omitempty"`
	Manifests []Manifest `json:"manifests,omitempty"` // new ones; the children of an index before it
	Tags      []Tag      `json:"tags,omitempty"`      // each names a manifest that the server knows by now
	// Complete says that the repository has no tags but those of this
	// synchronisation's reports; then Skipped is set too.
	Complete bool      `json:"complete"`
	Skipped  []Skipped `json:"skipped,omitempty"`
}

// Manifest is what a digest stands for, once for each registry. What is not an
// image has a Kind and a Reason only: it is remembered, so that it is not
// looked into again.
type Manifest struct {
	Digest       tidewaiter.Digest   `json:"digest"`
	MediaType    string              `json:"media_type"`
	Kind         string              `json:"kind"` // of registry.ArtifactKind
	Reason       string              `json:"reason,omitempty"`
	ConfigDigest tidewaiter.Digest   `json:"config_digest,omitempty"`
	Size         int64               `json:"size"`
	OS           string              `json:"os,omitempty"`
	Architecture string              `json:"architecture,omitempty"`
	Variant      string              `json:"variant,omitempty"`
	OSVersion    string              `json:"os_version,omitempty"`
	Created      time.Time           `json:"created,omitzero"`
	Children     []tidewaiter.Digest `json:"children,omitempty"` // of an index: its images
}

// Tag is a tag. Whether it is listed as an image or counted as skipped follows
// from its manifest.
type Tag struct {
	Name   string            `json:"name"`
	Digest tidewaiter.Digest `json:"digest"`
	Pushed time.Time         `json:"pushed,omitzero"`
}

// Skipped counts tags that could not be listed as images for another reason
// than what their manifest is: a name that no tag may have, a manifest that
// cannot be read.
type Skipped struct {
	Kind    string `json:"kind"`
	Reason  string `json:"reason"`
	Count   int    `json:"count"`
	Example string `json:"example"`
}

// The outcomes of work.
const (
	OutcomeDone     = "done"
	OutcomeFailed   = "failed"   // for good, or for now: see Failure
	OutcomeReleased = "released" // given back, as the component stops
)

// FinishRequest ends a lease. Of its results the one of the work's kind is set
// if the outcome is done.
type FinishRequest struct {
	Attempt  int      `json:"attempt"`
	Outcome  string   `json:"outcome"`
	Failure  *Failure `json:"failure,omitempty"`
	Progress Progress `json:"progress"`

	AccessCheck      *AccessReport `json:"access_check,omitempty"`
	SealedClusterKey []byte        `json:"sealed_cluster_key,omitempty"` // of share_key
}

// Failure is why work failed.
type Failure struct {
	Code    string `json:"code"`    // tidewaiter.FailRequestAPI or FailServer; of a scan the contract's scan_failed_code
	Message string `json:"message"` // for people: what to mend; up to MaxMessage characters
	// Credential says that the cluster's key does not open what was sealed, or
	// that it is bound to another registry: the password has to be given again.
	Credential bool `json:"credential,omitempty"`
	// RetrySeconds is when to try again; 0 is not.
	RetrySeconds int `json:"retry_seconds,omitempty"`
}

// AccessReport is the outcome of an access check.
type AccessReport struct {
	Steps      []Step   `json:"steps"`
	FailReason string   `json:"fail_reason,omitempty"` // code of the contract, "" if the registry can be used
	Warnings   []string `json:"warnings,omitempty"`
}

// Step is one step of an access check.
type Step struct {
	Name         string `json:"name"`   // dns, tcp, tls, auth, list, pull
	Status       string `json:"status"` // ok, failed, skipped
	Microseconds int64  `json:"microseconds"`
	Message      string `json:"message"`
}
