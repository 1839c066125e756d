package store

import (
	"context"
	"slices"
	"strings"

	"github.com/uptrace/bun"

	"github.com/tidewaiter/tidewaiter"
)

// FoundImage is what a reference means: a tag, one of those that stand for it,
// and images of one platform.
type FoundImage struct {
	ID        int64 // of the tag
	Manifests []int64
}

// FindImages returns what a reference means within an extent. Of an index these
// are the images that it is made of. Registries that have the same have it each.
func (db *DB) FindImages(ctx context.Context, e tidewaiter.Extent, ref tidewaiter.ImageReference) ([]FoundImage, error) {
	if ref.ImageID == "" || strings.ContainsRune(ref.Namespace+ref.Name+ref.Tag+ref.ImageID, 0) {
		return nil, nil
	}
	numbers, err := db.registryNumbers(ctx, e, ref.Types)
	if err != nil {
		return nil, err
	}
	var ids []int64
	// The plus sign keeps databases from going through whole registries.
	err = db.read.NewRaw("SELECT id FROM manifests WHERE image_id = ? AND +registry_number IN (?)", ref.ImageID, bun.List(numbers)).Scan(ctx, &ids)
	if err != nil || len(ids) == 0 {
		return nil, notFound(err, "manifests")
	}
	var indexes, parts []childRow // those that have the images, and those that are them
	err = db.read.NewRaw("SELECT parent_id, child_id FROM manifest_children WHERE child_id IN (?) ORDER BY parent_id, position", bun.List(ids)).Scan(ctx, &indexes)
	if err == nil {
		err = db.read.NewRaw("SELECT parent_id, child_id FROM manifest_children WHERE parent_id IN (?) ORDER BY parent_id, position", bun.List(ids)).Scan(ctx, &parts)
	}
	if err != nil {
		return nil, notFound(err, "children of manifests")
	}
	meant := make(map[int64][]int64) // by what a tag stands for
	for _, id := range ids {
		meant[id] = []int64{id}
	}
	for _, c := range parts {
		meant[c.ParentID] = slices.DeleteFunc(meant[c.ParentID], func(id int64) bool { return id == c.ParentID })
		meant[c.ParentID] = append(meant[c.ParentID], c.ChildID)
	}
	tagged := ids
	for _, c := range indexes {
		if _, ok := meant[c.ParentID]; !ok {
			tagged = append(tagged, c.ParentID)
		}
		meant[c.ParentID] = append(meant[c.ParentID], c.ChildID)
	}
	return db.findTags(ctx, tagged, meant, ref)
}

// findTags returns of the manifests those that a tag of the reference stands for.
func (db *DB) findTags(ctx context.Context, tagged []int64, meant map[int64][]int64, ref tidewaiter.ImageReference) ([]FoundImage, error) {
	var found []FoundImage
	err := eachChunk(tagged, func(chunk []int64) error {
		var rows []struct{ ManifestID, ID int64 }
		q := db.read.NewSelect().TableExpr("images AS i").Join("JOIN repositories AS r ON r.id = i.repository_id").
			ColumnExpr("i.manifest_id, MIN(i.id) AS id").Where("i.manifest_id IN (?)", bun.List(chunk))
		for _, c := range []struct{ column, text string }{{"r.namespace", ref.Namespace}, {"r.image", ref.Name}, {"i.tag", ref.Tag}} {
			if c.text != "" {
				q = q.Where("? = ?", bun.Safe(c.column), c.text)
			}
		}
		err := q.GroupExpr("i.manifest_id").OrderExpr("i.manifest_id").Scan(ctx, &rows)
		for _, r := range rows {
			found = append(found, FoundImage{ID: r.ID, Manifests: meant[r.ManifestID]})
		}
		return notFound(err, "images")
	})
	return found, err
}

// WithResults returns those of the images of one platform of which it is known
// what they hold.
func (db *DB) WithResults(ctx context.Context, manifests []int64) ([]int64, error) {
	var known []int64
	err := eachChunk(manifests, func(chunk []int64) error {
		var part []int64
		err := db.read.NewRaw("SELECT manifest_id FROM scan_results WHERE manifest_id IN (?) ORDER BY manifest_id", bun.List(chunk)).Scan(ctx, &part)
		known = append(known, part...)
		return notFound(err, "results of scans")
	})
	return known, err
}
