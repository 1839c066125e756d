package tidewaiter

import "time"

// Repository is a repository of a registry, as the last synchronisation that
// listed all of it found it.
type Repository struct {
	ID         int64
	RegistryID string
	Name       string // as in /v2/NAME/manifests/TAG
	Owner      string // SWR shared images: the account that shares it
	Problem    string // why it cannot be used, or ""
	Skipped    []Skipped
	Synced     time.Time
	Gone       time.Time // since when it is no longer there, or zero
}

// Skipped counts the tags of a repository that stand for something else than
// an image, by what and why.
type Skipped struct {
	Kind    string // such as "helm chart"
	Reason  string
	Count   int
	Example string // one of the tags
}

// Manifest is what a digest in a registry stands for: an image of one
// platform, or an index of such.
type Manifest struct {
	ID         int64
	RegistryID string
	Digest     Digest
	MediaType  string
	Kind       string // of registry.ArtifactKind
	Reason     string // why it cannot be scanned, or ""
	ImageID    string // the digest of the config, or of an index itself, less its algorithm
	Size       int64  // bytes, compressed; of an index the sum over its images
	Platform   Platform
	Created    time.Time // as the image itself says, or zero
	Children   []Digest  // of an index: its images, in its order
}

// RegistryImage is a tag of a repository that stands for an image or an index
// of images, with what the last synchronisation and the last scan say.
type RegistryImage struct {
	ID                  int64
	ProjectID           string
	EnterpriseProjectID string
	RegistryID          string
	RegistryName        string
	RegistryType        RegistryType
	RepositoryID        int64
	Namespace           string // the first part of the repository's name, or ""
	Name                string // the rest of it
	Owner               string // SWR shared images
	Tag                 string

	ManifestID int64
	Digest     Digest
	ImageID    string
	Kind       string
	Reason     string // why it cannot be scanned, or ""
	Size       int64  // bytes, compressed
	MultiArch  bool
	Scannable  bool
	Latest     bool // the newest tag of its repository

	InstanceID   string // SWR enterprise edition
	InstanceName string
	InstanceURL  string

	Updated time.Time // when the tag was last pushed, as far as is known
	Synced  time.Time
	Gone    time.Time // since when it is no longer in the registry, or zero
	Scan    ImageScan
	// ScanReason is why the last scan failed, in words, or "".
	ScanReason string

	Platforms []PlatformImage // of an index
}

// PlatformImage is one of the images of an index.
type PlatformImage struct {
	ManifestID int64
	Digest     Digest
	ImageID    string
	Platform   Platform
	Size       int64
	Reason     string // why it cannot be scanned, or ""

	ScanStatus string // success, failed if it was not looked into to its end, or unscan
	ScanReason string // why it failed, in words, or ""
}

// ImageScan is what an image's list entry says of its last scan.
type ImageScan struct {
	Status          string // of the contract: unscan, waiting_for_scan, scanning, success, failed
	FailedCode      string // of the contract, or ""
	Scanned         time.Time
	Vulnerabilities int
	UnsafeSettings  int
	MaliciousFiles  int
	Severity        string // of the contract: Security, Low, Medium, High, or "" before the first scan
}

// Extent is the part of a project that a request is about.
type Extent struct {
	ProjectID          string
	All                bool     // every enterprise project of it
	EnterpriseProjects []string // unless All: those
}

// Holds tells whether something is in the extent.
func (e Extent) Holds(projectID, enterpriseProjectID string) bool {
	if projectID != e.ProjectID {
		return false
	}
	for _, id := range e.EnterpriseProjects {
		if id == enterpriseProjectID {
			return true
		}
	}
	return e.All
}
