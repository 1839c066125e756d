package store

import (
	"context"
	"maps"
	"slices"

	"github.com/uptrace/bun"

	"github.com/tidewaiter/tidewaiter"
)

type manifestRow struct {
	bun.BaseModel `bun:"manifests"`

	ID             int64 `bun:",pk,autoincrement"`
	RegistryNumber int64
	Digest         tidewaiter.Digest
	MediaType      string
	Kind           string
	Reason         string
	ImageID        string
	Size           int64
	OS             string
	Architecture   string
	Variant        string
	OSVersion      string
	Created        int64
	Review         int64
}

func (r manifestRow) platform() tidewaiter.Platform {
	return tidewaiter.Platform{OS: r.OS, Architecture: r.Architecture, Variant: r.Variant, OSVersion: r.OSVersion}
}

type childRow struct {
	bun.BaseModel `bun:"manifest_children"`

	ParentID int64
	Position int
	ChildID  int64
}

// UnknownDigests returns those of the digests, in their order, of which a
// registry has no manifest yet. The manifests of the others stay for now, even
// if nothing refers to them.
func (db *DB) UnknownDigests(ctx context.Context, registryID string, digests []tidewaiter.Digest) ([]tidewaiter.Digest, error) {
	known, err := db.manifestIDs(ctx, registryID, digests)
	if err != nil {
		return nil, err
	}
	err = eachChunk(slices.Sorted(maps.Values(known)), func(ids []int64) error {
		var unused []int64
		err := db.read.NewRaw("SELECT id FROM manifests WHERE id IN (?) AND review > 0", bun.List(ids)).Scan(ctx, &unused)
		if err != nil {
			return notFound(err, "manifests")
		}
		return db.reviewManifests(ctx, unused, Now())
	})
	return slices.DeleteFunc(slices.Clone(digests), func(d tidewaiter.Digest) bool { return known[d] != 0 }), err
}

// manifestIDs returns the ids of those of the digests that are known.
func (db *DB) manifestIDs(ctx context.Context, registryID string, digests []tidewaiter.Digest) (map[tidewaiter.Digest]int64, error) {
	ids := make(map[tidewaiter.Digest]int64, len(digests))
	err := eachChunk(digests, func(chunk []tidewaiter.Digest) error {
		var rows []manifestRow
		err := db.read.NewRaw(`SELECT id, digest FROM manifests
			WHERE registry_number = (SELECT number FROM registries WHERE id = ?) AND digest IN (?)`,
			registryID, bun.List(chunk)).Scan(ctx, &rows)
		for _, row := range rows {
			ids[row.Digest] = row.ID
		}
		return notFound(err, "manifests")
	})
	return ids, err
}

// ManifestsByDigest returns those of the digests that a registry has manifests
// of, with their children.
func (db *DB) ManifestsByDigest(ctx context.Context, registryID string, digests []tidewaiter.Digest) (map[tidewaiter.Digest]tidewaiter.Manifest, error) {
	found := make(map[tidewaiter.Digest]tidewaiter.Manifest, len(digests))
	err := eachChunk(digests, func(chunk []tidewaiter.Digest) error {
		var rows []manifestRow
		err := db.read.NewRaw(`SELECT * FROM manifests
			WHERE registry_number = (SELECT number FROM registries WHERE id = ?) AND digest IN (?)`,
			registryID, bun.List(chunk)).Scan(ctx, &rows)
		if err != nil {
			return notFound(err, "manifests")
		}
		ids := make([]int64, len(rows))
		for i, r := range rows {
			ids[i] = r.ID
		}
		children, err := db.children(ctx, ids)
		if err != nil {
			return err
		}
		for _, r := range rows {
			m := tidewaiter.Manifest{
				ID: r.ID, RegistryID: registryID, Digest: r.Digest, MediaType: r.MediaType, Kind: r.Kind, Reason: r.Reason,
				ImageID: r.ImageID, Size: r.Size, Platform: r.platform(), Created: optionalTime(r.Created),
			}
			for _, c := range children[r.ID] {
				m.Children = append(m.Children, c.Digest)
			}
			found[r.Digest] = m
		}
		return nil
	})
	return found, err
}

// children returns the children of manifests that have any, in their order.
func (db *DB) children(ctx context.Context, parents []int64) (map[int64][]manifestRow, error) {
	children := make(map[int64][]manifestRow)
	err := eachChunk(parents, func(chunk []int64) error {
		var rows []struct {
			ParentID int64
			manifestRow
		}
		err := db.read.NewRaw(`SELECT c.parent_id, m.* FROM manifest_children c JOIN manifests m ON m.id = c.child_id
			WHERE c.parent_id IN (?) ORDER BY c.parent_id, c.position`, bun.List(chunk)).Scan(ctx, &rows)
		for _, r := range rows {
			children[r.ParentID] = append(children[r.ParentID], r.manifestRow)
		}
		return notFound(err, "children of manifests")
	})
	return children, err
}

// PutManifests adds manifests to a registry. What is there already stays as it
// is. The children of an index are there, or come before it. Errors: NotFound
// if the registry is not there; Invalid for a child that is unknown.
func (db *DB) PutManifests(ctx context.Context, registryID string, list []tidewaiter.Manifest) error {
	if len(list) == 0 {
		return nil
	}
	return db.Tx(ctx, func(tx *DB) error {
		number, err := tx.number(ctx, registryID)
		if err != nil {
			return err
		}
		var digests []tidewaiter.Digest
		for _, m := range list {
			digests = append(append(digests, m.Digest), m.Children...)
		}
		slices.Sort(digests)
		ids, err := tx.manifestIDs(ctx, registryID, slices.Compact(digests))
		if err != nil {
			return err
		}
		var rows []manifestRow
		var indexes []tidewaiter.Manifest
		fresh := make(map[tidewaiter.Digest]bool)
		for _, m := range list {
			if ids[m.Digest] != 0 || fresh[m.Digest] {
				continue
			}
			for _, c := range m.Children {
				if ids[c] == 0 && !fresh[c] {
					return tidewaiter.InvalidField("children", "of an index name a manifest that is unknown; put the images before the index")
				}
			}
			fresh[m.Digest] = true
			rows = append(rows, newManifestRow(number, m))
			if len(m.Children) > 0 {
				indexes = append(indexes, m)
			}
		}
		if err := tx.insertManifests(ctx, rows, ids); err != nil {
			return err
		}
		return tx.insertChildren(ctx, indexes, ids)
	})
}

func newManifestRow(registryNumber int64, m tidewaiter.Manifest) manifestRow {
	return manifestRow{
		RegistryNumber: registryNumber, Digest: m.Digest, MediaType: m.MediaType, Kind: m.Kind, Reason: m.Reason,
		ImageID: m.ImageID, Size: m.Size, OS: m.Platform.OS, Architecture: m.Platform.Architecture,
		Variant: m.Platform.Variant, OSVersion: m.Platform.OSVersion, Created: optionalMicros(m.Created),
		Review: micros(Now()),
	}
}

// insertManifests adds rows, and their ids to the map.
func (db *DB) insertManifests(ctx context.Context, rows []manifestRow, ids map[tidewaiter.Digest]int64) error {
	return eachChunk(rows, func(chunk []manifestRow) error {
		// Of two who add the same manifest at once both get its id; it is the same
		// thing, since a digest has one meaning.
		_, err := db.write.NewInsert().Model(&chunk).
			On("CONFLICT (registry_number, digest) DO UPDATE SET review = excluded.review").Returning("id, digest").Exec(ctx)
		for _, row := range chunk {
			ids[row.Digest] = row.ID
		}
		return conflict(err, "manifest")
	})
}

func (db *DB) insertChildren(ctx context.Context, indexes []tidewaiter.Manifest, ids map[tidewaiter.Digest]int64) error {
	var rows []childRow
	for _, m := range indexes {
		for i, c := range m.Children {
			rows = append(rows, childRow{ParentID: ids[m.Digest], Position: i, ChildID: ids[c]})
		}
	}
	return eachChunk(rows, func(chunk []childRow) error {
		_, err := db.write.NewInsert().Model(&chunk).On("CONFLICT DO NOTHING").Exec(ctx)
		return conflict(err, "child of a manifest")
	})
}
