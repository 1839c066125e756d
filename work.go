package tidewaiter

import "time"

// Work is one piece of work for a scan component: a row with a lease. Whoever
// holds the lease proves it with its attempt; a lease that has run out goes to
// the next who asks.
type Work struct {
	ID        string
	ClusterID string
	Kind      WorkKind
	Subject   string // the id of what it is about: a registry, for ShareKeyWork a component, for ScanWork a manifest
	State     WorkState

	Attempt  int    // counts the leases, and never goes back
	Failures int    // leases that came to nothing
	Lost     int    // of these: that ended without a word of the component, which may have died of the work
	Owner    string // the component that holds or held the lease, ""
	Deadline time.Time
	// NotBefore is when it may be leased; later than Created after a failure.
	NotBefore time.Time
	Priority  ScanPriority // of scans; of others 0
	Stop      bool         // the owner is to stop

	Progress WorkProgress
	Created  time.Time
	Finished time.Time // zero until State is done, failed or stopped
	Failure  string    // why it failed, in words, or ""
}

// MaxAttempts is how often work may be begun without coming to an end; then it
// has failed.
const MaxAttempts = 5

// WorkKind says what there is to do.
type WorkKind string

// The kinds of work, in the order in which they are given out.
const (
	ShareKeyWork    WorkKind = "share_key"    // seal the cluster's key for a new component
	AccessCheckWork WorkKind = "access_check" // find out whether a registry can be used
	SyncWork        WorkKind = "sync"         // list the images of a registry
	ScanWork        WorkKind = "scan"         // look into an image, or all images of an index
)

// WorkState is where a piece of work stands.
type WorkState string

// The states of work.
const (
	WorkQueued  WorkState = "queued"
	WorkLeased  WorkState = "leased"
	WorkDone    WorkState = "done"
	WorkFailed  WorkState = "failed"
	WorkStopped WorkState = "stopped" // nobody wants it any more
)

// Ended tells whether nothing more will happen.
func (s WorkState) Ended() bool { return s == WorkDone || s == WorkFailed || s == WorkStopped }

// WorkProgress is how far a synchronisation has come.
type WorkProgress struct {
	Repositories     int // found so far
	RepositoriesDone int
	Images           int // tags that are images, found so far
	Skipped          int // tags that are not
	Requests         int // made to the registry
}

// Percent is how far a synchronisation has come, 0 to 99: how many of the
// repositories found so far are done. More may be found, so that it can go back.
func (p WorkProgress) Percent() int {
	if p.Repositories <= 0 {
		return 0
	}
	return min(99, max(0, p.RepositoriesDone)*100/p.Repositories)
}

// SyncTask is a wish to synchronise registries.
type SyncTask struct {
	ID                  string
	ProjectID           string
	EnterpriseProjectID string
	Kind                SyncTaskKind
	Created             time.Time
	Ended               time.Time // zero while one of its registries is running
	Total, Failed       int       // registries
	Finished            int       // registries that finished well
	Percent             int       // of the registries that are running, how far each has come, added up
}

// SyncTaskKind says who wished.
type SyncTaskKind string

// The kinds of sync task, in the contract's words.
const (
	ManualSync SyncTaskKind = "manualSync"
	AutoSync   SyncTaskKind = "autoSync"
)

// SyncTaskRegistry is one registry of a sync task. It outlives the registry.
type SyncTaskRegistry struct {
	TaskID       string
	RegistryID   string
	RegistryName string
	RegistryType RegistryType
	WorkID       string
	Status       SyncStatus
	FailedReason string // in words, or ""
	Ended        time.Time
}

// SyncStatus is how the synchronisation of one registry stands.
type SyncStatus string

// The statuses of a synchronisation, in the contract's words.
const (
	SyncRunning  SyncStatus = "running"
	SyncFinished SyncStatus = "finished"
	SyncFailed   SyncStatus = "failed"
)

// Lease proves that a component holds a piece of work.
type Lease struct {
	WorkID  string
	Owner   string // the component
	Attempt int
}
