package store

import (
	"time"

	"github.com/uptrace/bun"

	"github.com/tidewaiter/tidewaiter"
)

// ImageFilter says which images to list, and in what order. What is empty lets
// all through. Namespace, Name, Tag and RegistryName are exact, but * stands
// for any run of characters. Ranges of time include both ends.
type ImageFilter struct {
	ID                       int64
	Namespace, Name, Tag     string
	RegistryID, RegistryName string
	RegistryIDs              []string // nil for all
	Types                    []tidewaiter.RegistryType
	InstanceID, InstanceName string // of SWR enterprise edition

	WithGone     bool // also those that are gone from their registry
	Latest       bool // only the newest tag of each repository
	MultiArch    *bool
	Size         *int64
	ScanStatuses []string // of the contract
	FailedCodes  []string // of the contract: only those whose last scan failed so
	Software     string   // only those that hold a package of the name, which may have *
	Severity     string   // of the contract

	HasVulnerability, HasUnsafeSetting, HasMaliciousFile *bool
	Judged                                               bool  // scanned to the end, and all that it holds was judged
	Risky                                                *bool // any of these three

	UpdatedFrom, UpdatedTo *time.Time
	ScannedFrom, ScannedTo *time.Time // only those that were scanned
	SyncedFrom, SyncedTo   *time.Time // when all of the repository was listed

	// Images stand registry by registry, oldest first, and there repository by
	// repository, in the order in which they were found. SortByScanned is by the
	// time of the last scan instead: before all others those that had none.
	SortByScanned bool
	Descending    bool // the other way around
}

// ofInstance tells whether the filter lets an instance through.
func (f ImageFilter) ofInstance(id, name string) bool {
	return (f.InstanceID == "" || f.InstanceID == id) && (f.InstanceName == "" || f.InstanceName == name)
}

// ofRepository tells whether the filter asks for something that repositories
// have.
func (f ImageFilter) ofRepository() bool {
	return f.Namespace != "" || f.Name != "" || f.SyncedFrom != nil || f.SyncedTo != nil
}

// ofImage tells whether the filter asks for something that images have, but
// for facets.
func (f ImageFilter) ofImage() bool {
	return f.ID != 0 || f.Tag != "" || f.Size != nil || f.FailedCodes != nil || f.Software != "" || f.UpdatedFrom != nil || f.UpdatedTo != nil || f.ofScanTime()
}

func (f ImageFilter) ofScanTime() bool { return f.ScannedFrom != nil || f.ScannedTo != nil }

// whereRepository appends what the filter asks of repositories.
func (db *DB) whereRepository(q *bun.SelectQuery, f ImageFilter) *bun.SelectQuery {
	q = db.like(db.like(q, "r.image", f.Name), "r.namespace", f.Namespace)
	if f.SyncedFrom != nil || f.SyncedTo != nil {
		q = between(q.Where("r.synced > 0"), "r.synced", f.SyncedFrom, f.SyncedTo)
	}
	return q
}

// whereImage appends what the filter asks of images.
func (db *DB) whereImage(q *bun.SelectQuery, f ImageFilter) *bun.SelectQuery {
	q = db.like(q, "i.tag", f.Tag)
	if f.ID != 0 {
		q = q.Where("i.id = ?", f.ID)
	}
	q = in(q, "i.scan_failed_code", f.FailedCodes)
	if f.Software != "" {
		operator, text := db.pattern(f.Software)
		// An index holds what its images do.
		q = q.Where(`i.manifest_id IN (SELECT p.manifest_id FROM packages AS k JOIN image_packages AS p ON p.package_id = k.id WHERE k.name ?0 ?1
			UNION SELECT c.parent_id FROM packages AS k JOIN image_packages AS p ON p.package_id = k.id
			JOIN manifest_children AS c ON c.child_id = p.manifest_id WHERE k.name ?0 ?1)`, bun.Safe(operator), text)
	}
	if f.Size != nil {
		q = q.Where("i.size = ?", *f.Size)
	}
	q = between(q, "i.updated", f.UpdatedFrom, f.UpdatedTo)
	if f.ofScanTime() {
		q = between(q.Where("i.scanned > 0"), "i.scanned", f.ScannedFrom, f.ScannedTo)
	}
	return q
}

func between(q *bun.SelectQuery, column string, from, to *time.Time) *bun.SelectQuery {
	if from != nil {
		q = q.Where("? >= ?", bun.Safe(column), micros(*from))
	}
	if to != nil {
		q = q.Where("? <= ?", bun.Safe(column), micros(*to))
	}
	return q
}
