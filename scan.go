package tidewaiter

import "time"

// ScanTask is a wish to scan images.
type ScanTask struct {
	ID                  string
	ProjectID           string
	EnterpriseProjectID string
	Kind                ScanTaskKind
	PolicyID            string // of a cycle scan
	State               ScanTaskState
	Scope               int // mask of the contract: what to look for
	RateLimit           int // images per hour, 0 for no limit
	All                 bool
	Priority            ScanPriority
	Created             time.Time
	Ended               time.Time // zero while images are waiting

	Total, Succeeded, Failed int // images
	Risky                    int // of those that succeeded
	// Complete says that all images are among Total: a large task finds them
	// little by little.
	Complete bool
	NextDue  time.Time // with a rate limit: when the next image would be due
	Pace     ScanPace
	Failures []ScanFailure // the first of them
}

// ScanPace is how many images of a task were looked into since some minutes
// ago. Those that needed no look do not count.
type ScanPace struct {
	Since  time.Time
	Images int
}

// Remaining estimates how long a task will take from now on, at its pace, and
// no less than its rate limit allows. It is 0 if that is not known.
func (t ScanTask) Remaining(now time.Time) time.Duration {
	left := t.Total - t.Succeeded - t.Failed
	if t.State != ScanRunning || left <= 0 {
		return 0
	}
	var estimate time.Duration
	if elapsed := now.Sub(t.Pace.Since); t.Pace.Images > 0 && elapsed > 0 {
		estimate = time.Duration(float64(elapsed) * float64(left) / float64(t.Pace.Images))
	}
	if t.RateLimit > 0 {
		estimate = max(estimate, time.Duration(left)*time.Hour/time.Duration(t.RateLimit))
	}
	return estimate
}

// What a scan looks for, as the contract's mask.
const (
	ScopeCompliance      = 0x0000000f
	ScopeSecrets         = 0x000000f0
	ScopeMalware         = 0x00000f00
	ScopeBaseline        = 0x0000f000
	ScopeVulnerabilities = 0x000f0000
	ScopeAll             = 0x7fffffff
)

// ScanTaskKind says who wished.
type ScanTaskKind string

// The kinds of scan task, in the contract's words.
const (
	ManualScan ScanTaskKind = "manual"
	CycleScan  ScanTaskKind = "cycle"
)

// ScanTaskState is where a task stands.
type ScanTaskState string

// The states of a scan task.
const (
	ScanRunning  ScanTaskState = "running"
	ScanStopping ScanTaskState = "stopping" // nothing new begins; what waits is being taken back
	ScanStopped  ScanTaskState = "stopped"
	ScanFinished ScanTaskState = "finished"
)

// ScanPriority orders scans: lower ones go first.
type ScanPriority int

// The priorities of scans.
const (
	PersonPriority ScanPriority = iota // somebody waits for these few images
	SweepPriority                      // somebody has asked for many
	CyclePriority                      // a policy has
)

// ScanPriorities returns all priorities, the most urgent first.
func ScanPriorities() []ScanPriority {
	return []ScanPriority{PersonPriority, SweepPriority, CyclePriority}
}

// ScanFailure is an image that a task could not scan, or not all of it.
type ScanFailure struct {
	ImageID      int64
	RegistryID   string
	RegistryName string
	RegistryType RegistryType
	Namespace    string
	Name         string
	Tag          string
	Code         string // of the contract
	Reason       string // in words
}

// ScanOutcome is what the scan of an image or index has come to.
type ScanOutcome struct {
	Failed     bool
	Code       string // of the contract; "" unless failed
	Reason     string // in words
	Extractors string // version of the set that looked into it
}

// The statuses of images, in the contract's words.
const (
	Unscanned      = "unscan"
	WaitingForScan = "waiting_for_scan"
	Scanning       = "scanning"
	ScanSucceeded  = "success"
	ScanFailed     = "failed"
)

// The contract's codes of scans that failed.
const (
	FailUnknown        = "unknown_error"
	FailAuthentication = "authentication_failed"
	FailDownload       = "download_failed"
	FailImageSize      = "image_over_sized"
	FailLayers         = "image_layer_over_sized" // too many of them
	FailNotFound       = "get_detail_info_not_found"
	FailSchema1        = "schema_v1_not_support"
	FailFiles          = "failed_to_scan_file"
	FailSoftware       = "failed_to_scan_software"
	FailTimeout        = "response_timed_out"
	FailDatabase       = "database_error"
	FailNotSent        = "failed_to_send_the_scan_request"
)

// LayerKey is what facts of a layer are kept under: the bytes that were read,
// what the image says they are, and who looked into them. Facts are a function
// of it, so that a layer is looked into once whatever images it is in. That an
// image merely claims a layer is not enough to see its facts.
type LayerKey struct {
	ProjectID  string
	ClusterID  string // a component that lies harms the images of its own cluster alone
	Digest     Digest // as in the registry
	DiffID     Digest
	Extractors string // version of the set
}

// ImageResult is what is known of an image of one platform.
type ImageResult struct {
	ManifestID int64
	Complete   bool
	Code       string // of the contract, why it is not complete, or ""
	Reason     string // in words
	Extractors string
	Scanned    time.Time
	System     System
	Base       System    // what the lowest layer alone would be
	EndOfLife  time.Time // of the operating system, zero if it is not known
	Files      int       // regular files
	FileBytes  int64
	LooseFiles int // that belong to no package
	Config     ImageConfig
	Layers     []ImageLayer
	Packages   []ImagePackage
	Cuts       []ImageCut // of these at most 1,000
}

// ImageLayer is a layer of an image, the lowest first.
type ImageLayer struct {
	Digest Digest
	DiffID Digest
	Size   int64 // bytes, compressed
	Step   int   // the build step that made it: index into Config.Steps, or -1
}

// ImagePackage is a package of an image.
type ImagePackage struct {
	Package
	ID     int64 // of the package version, whatever image it is in
	Layer  int   // whose file says so
	Origin int   // the first layer from which on it is there
}

// ImageCut is something in an image that was not looked into.
type ImageCut struct {
	Cut
	Layer int
}

// ScanPolicy says which registries are scanned again and again.
type ScanPolicy struct {
	ID                  string
	ProjectID           string
	EnterpriseProjectID string
	Enabled             bool
	CycleDays           int // 3, 7 or 14
	Scope               int // mask of the contract
	RateLimit           int // images per hour, 0 for no limit
	TimeScope           int // only images of the last so many days, 0 for all
	RegistryIDs         []string
	NextRun             time.Time // zero unless enabled
	Updated             time.Time
}
