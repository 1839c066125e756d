package store

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/uptrace/bun"

	"github.com/tidewaiter/tidewaiter"
)

// EventCursor is a place in the feed of changes: the last event that a reader
// has seen.
type EventCursor struct{ ChangeID, ManifestID int64 }

// Compare orders cursors as the feed does.
func (c EventCursor) Compare(o EventCursor) int {
	return cmp.Or(cmp.Compare(c.ChangeID, o.ChangeID), cmp.Compare(c.ManifestID, o.ManifestID))
}

// FindingEvent is what a change means for one image of one platform.
type FindingEvent struct {
	EventCursor

	Cause   FindingCause
	Set     tidewaiter.Digest // of [CauseAdvisories]: the set, "" if it is no longer kept
	Created time.Time
	Image   tidewaiter.ScannedImage
	Changes []EventChange
}

// EventChange is what became of a vulnerability in a package of an image.
type EventChange struct {
	VulnerabilityName

	Package PackageVersion
	Before  *FindingState // nil if it came
	After   *FindingState // nil if it went
	Handled *tidewaiter.Exception
}

// FindingEvents returns the events of an extent that come after another, in
// their order. An image that is gone has none. What a first scan of an image
// found, and what people have handled, is as of now. The cache, which may be nil,
// is for whoever reads on from page to page.
func (db *DB) FindingEvents(ctx context.Context, e tidewaiter.Extent, after EventCursor, limit int, cache *ChangeCache) ([]FindingEvent, error) {
	var more bool
	err := db.read.NewRaw("SELECT EXISTS (SELECT 1 FROM finding_change_images WHERE (change_id, manifest_id) > (?, ?))", after.ChangeID, after.ManifestID).Scan(ctx, &more)
	if err != nil || !more {
		return nil, notFound(err, "changes of findings")
	}
	end, err := db.lastChange(ctx)
	if err != nil {
		return nil, err
	}
	var list []FindingEvent
	err = db.snapshot(ctx, func(tx *DB) error {
		var rows []eventRow
		q := tx.read.NewSelect().TableExpr("finding_change_images AS i").Join("JOIN finding_changes AS c ON c.id = i.change_id").
			Join("JOIN manifests AS m ON m.id = i.manifest_id").Join("JOIN registries AS r ON r.number = m.registry_number").
			Join("LEFT JOIN advisory_sets AS s ON s.number = c.set_number").
			ColumnExpr("i.change_id, i.manifest_id, c.cause, c.created, COALESCE(s.digest, '') AS digest").
			Where("(i.change_id, i.manifest_id) > (?, ?) AND i.change_id <= ?", after.ChangeID, after.ManifestID, end).
			OrderExpr("i.change_id, i.manifest_id").Limit(int64(limit))
		if err := extent(q, e).Scan(ctx, &rows); err != nil {
			return notFound(err, "changes of findings")
		}
		list, err = tx.events(ctx, rows, cache)
		return err
	})
	return list, err
}

// ImageEvents returns what happened to images of one platform, the last first.
func (db *DB) ImageEvents(ctx context.Context, manifests []int64, limit int, cache *ChangeCache) (list []FindingEvent, err error) {
	err = db.snapshot(ctx, func(tx *DB) error {
		var rows []eventRow
		// A change of content names its image; the others, which are few, have a list.
		err := tx.read.NewRaw(`SELECT l.*, COALESCE(s.digest, '') AS digest FROM (
			SELECT c.id AS change_id, c.manifest_id, c.cause, c.created, c.set_number FROM finding_changes AS c WHERE c.manifest_id IN (?0)
			UNION ALL SELECT c.id, i.manifest_id, c.cause, c.created, c.set_number FROM finding_changes AS c
				JOIN finding_change_images AS i ON i.change_id = c.id AND i.manifest_id IN (?0) WHERE c.manifest_id = 0
			) AS l LEFT JOIN advisory_sets AS s ON s.number = l.set_number ORDER BY l.change_id DESC, l.manifest_id DESC LIMIT ?1`,
			bun.List(manifests), limit).Scan(ctx, &rows)
		if err != nil {
			return notFound(err, "changes of findings")
		}
		list, err = tx.events(ctx, rows, cache)
		return err
	})
	return list, err
}

type eventRow struct {
	ChangeID, ManifestID, Created int64
	Cause                         FindingCause
	Digest                        tidewaiter.Digest
}

// lastChange returns up to which change nobody can add one any more: who adds
// one holds the findings, and may end after one that began later.
func (db *DB) lastChange(ctx context.Context) (end int64, err error) {
	last := func(db *DB) error {
		return notFound(db.read.NewRaw("SELECT COALESCE(MAX(id), 0) FROM finding_changes").Scan(ctx, &end), "changes of findings")
	}
	if db.sqlite {
		err = last(db)
		return end, err
	}
	err = db.Tx(ctx, func(tx *DB) error {
		if err := tx.LockFindings(ctx); err != nil {
			return err
		}
		return last(tx)
	})
	return end, err
}

// events fills in what happened.
func (db *DB) events(ctx context.Context, rows []eventRow, cache *ChangeCache) ([]FindingEvent, error) {
	manifests := distinct(rows, func(r eventRow) int64 { return r.ManifestID })
	images, err := db.scannedImages(ctx, manifests)
	if err != nil {
		return nil, err
	}
	documents, err := db.changeDocuments(ctx, distinct(rows, func(r eventRow) int64 { return r.ChangeID }), cache)
	if err != nil {
		return nil, err
	}
	all, _, err := db.findingsOf(ctx, manifests)
	if err != nil {
		return nil, err
	}
	now := make(map[int64][]ImageFinding, len(manifests))
	for _, f := range all {
		now[f.ManifestID] = append(now[f.ManifestID], f)
	}
	held, err := db.packagesHeld(ctx, manifests)
	if err != nil {
		return nil, err
	}
	list := make([]FindingEvent, len(rows))
	packages := make(map[int64]bool)
	for i, r := range rows {
		list[i] = FindingEvent{
			EventCursor: EventCursor{r.ChangeID, r.ManifestID}, Cause: r.Cause, Set: r.Digest, Created: fromMicros(r.Created), Image: images[r.ManifestID],
			Changes: eventChanges(r.Cause, documents[r.ChangeID], now[r.ManifestID], held[r.ManifestID]),
		}
		for _, c := range list[i].Changes {
			packages[c.Package.ID] = true
		}
	}
	versions, err := db.PackageVersions(ctx, slices.Sorted(maps.Keys(packages)))
	for i := range list {
		for k := range list[i].Changes {
			c := &list[i].Changes[k]
			c.Package = versions[c.Package.ID]
		}
	}
	return list, err
}

// eventChanges returns what a change means for an image that has some findings
// now, and holds some packages. Of the packages, the ids alone are filled in.
func eventChanges(cause FindingCause, c change, now []ImageFinding, held map[int64]bool) (list []EventChange) {
	if cause == CauseAdvisories || len(c.packages) > 0 {
		handled := make(map[findingKey]*tidewaiter.Exception)
		for _, f := range now {
			handled[findingKey{f.PackageID, f.VulnerabilityName}] = f.Handled
		}
		for _, p := range slices.Sorted(maps.Keys(held)) {
			for _, d := range c.packages[p] {
				n := VulnerabilityName{d.Name, d.Kind}
				list = append(list, EventChange{VulnerabilityName: n, Package: PackageVersion{ID: p}, Before: d.Before, After: d.After, Handled: handled[findingKey{p, n}]})
			}
		}
		if cause == CauseContent { // of packages that it no longer holds, too
			for _, p := range slices.Sorted(maps.Keys(c.packages)) {
				for _, d := range c.packages[p] {
					if !held[p] {
						list = append(list, EventChange{VulnerabilityName: VulnerabilityName{d.Name, d.Kind}, Package: PackageVersion{ID: p}, Before: d.Before, After: d.After})
					}
				}
			}
		}
		return list
	}
	for _, f := range now {
		state := &FindingState{f.Severity, f.Status, f.Fixed, f.Advisory}
		switch {
		case cause == CauseExceptions && c.names[f.VulnerabilityName]:
			list = append(list, EventChange{VulnerabilityName: f.VulnerabilityName, Package: PackageVersion{ID: f.PackageID}, Before: state, After: state, Handled: f.Handled})
		case cause == CauseContent && f.Cause == CauseContent:
			list = append(list, EventChange{VulnerabilityName: f.VulnerabilityName, Package: PackageVersion{ID: f.PackageID}, After: state, Handled: f.Handled})
		}
	}
	slices.SortFunc(list, func(a, b EventChange) int {
		return cmp.Or(a.compare(b.VulnerabilityName), cmp.Compare(a.Package.ID, b.Package.ID))
	})
	return list
}

type findingKey struct {
	packageID int64
	name      VulnerabilityName
}

// change is what a change consists of.
type change struct {
	packages map[int64][]changeDocument
	names    map[VulnerabilityName]bool // of those that are about all packages
}

// ChangeCache holds the last change that was read: that of a set of advisories is
// about many images, and takes a while to decode. A change never becomes another.
type ChangeCache struct {
	mu     sync.Mutex
	id     int64
	change change
}

func (c *ChangeCache) get(id int64) (change, bool) {
	if c == nil {
		return change{}, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.change, c.id == id
}

func (c *ChangeCache) put(id int64, x change) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.id, c.change = id, x
}

// maxChange bounds what is read back of a change, in bytes.
const maxChange = 1 << 30

func (db *DB) changeDocuments(ctx context.Context, ids []int64, cache *ChangeCache) (map[int64]change, error) {
	found := make(map[int64]change, len(ids))
	ids = slices.DeleteFunc(ids, func(id int64) bool {
		x, ok := cache.get(id)
		if ok {
			found[id] = x
		}
		return ok
	})
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxChange), zstd.WithDecoderLowmem(true))
	if err != nil {
		return nil, fmt.Errorf("read change of findings: %w", err)
	}
	defer z.Close()
	return found, eachChunk(ids, func(chunk []int64) error {
		var rows []findingChangeRow
		if err := db.read.NewRaw("SELECT id, document FROM finding_changes WHERE id IN (?)", bun.List(chunk)).Scan(ctx, &rows); err != nil {
			return notFound(err, "changes of findings")
		}
		for _, r := range rows {
			text, err := z.DecodeAll(r.Document, nil)
			if err != nil {
				return fmt.Errorf("read change of findings: %w", err)
			}
			var documents []changeDocument
			if err := json.Unmarshal(text, &documents); err != nil {
				return fmt.Errorf("read change of findings: %w", err)
			}
			c := change{make(map[int64][]changeDocument), make(map[VulnerabilityName]bool)}
			for _, d := range documents {
				if d.Package == 0 {
					c.names[VulnerabilityName{d.Name, d.Kind}] = true
				} else {
					c.packages[d.Package] = append(c.packages[d.Package], d)
				}
			}
			found[r.ID] = c
			cache.put(r.ID, c)
		}
		return nil
	})
}

// packagesHeld returns the ids of the versions of packages that images hold.
func (db *DB) packagesHeld(ctx context.Context, manifests []int64) (map[int64]map[int64]bool, error) {
	held := make(map[int64]map[int64]bool, len(manifests))
	return held, eachChunk(manifests, func(chunk []int64) error {
		var rows []imagePackageRow
		if err := db.read.NewRaw("SELECT manifest_id, package_id FROM image_packages WHERE manifest_id IN (?)", bun.List(chunk)).Scan(ctx, &rows); err != nil {
			return notFound(err, "packages of images")
		}
		for _, r := range rows {
			if held[r.ManifestID] == nil {
				held[r.ManifestID] = make(map[int64]bool)
			}
			held[r.ManifestID][r.PackageID] = true
		}
		return nil
	})
}

// LastEvent returns where the feed is now, for one who wants to be told of what
// comes.
func (db *DB) LastEvent(ctx context.Context) (EventCursor, error) {
	end, err := db.lastChange(ctx)
	return EventCursor{end, 1<<63 - 1}, err
}

// ForgetChanges removes changes from before a time.
func (db *DB) ForgetChanges(ctx context.Context, before time.Time) error {
	r, err := db.write.NewRaw("DELETE FROM finding_changes WHERE created < ?", micros(before)).Exec(ctx)
	return wrote(r, err, "changes of findings")
}
