package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/uptrace/bun"

	"github.com/tidewaiter/tidewaiter"
)

// Files returns a page of the files of an extent that belong to no package, each
// once for each image of one platform that has it, and how many there are in all.
//
// Without a name they stand by registry and image, and there as [DB.ImageFiles]
// has them. name is a part of their names, whatever its letters' case: with it
// they stand by name, then layer by layer and image by image, and are counted
// as far as that takes, at least up to most.
func (db *DB) Files(ctx context.Context, e tidewaiter.Extent, name string, p Page, most int) (list []tidewaiter.FoundFile, total int, err error) {
	err = db.snapshot(ctx, func(tx *DB) error {
		var rows []fileRow
		if name == "" {
			rows, total, err = tx.allFiles(ctx, e, p)
		} else {
			rows, total, err = tx.namedFiles(ctx, e, name, p, most, 2*chunkSize)
		}
		if err != nil {
			return err
		}
		list, err = tx.foundFiles(ctx, rows)
		return err
	})
	return list, total, err
}

// A fileSearch looks for files by their names. Names are many, and so are the
// layers that have files of one name; but a file of a layer is in as many images
// as the layer is, less those that hide it, so that images are not looked at.
type fileSearch struct {
	*DB
	registries []int64
	images     map[int64]int // how many have a layer, as far as it was asked for
}

// A fileGroup is all files of a name in a layer.
type fileGroup struct {
	Name        string // folded
	NameID      int64
	LayerNumber int64
	Files       int
	Hidden      int // how often an image hides one of them
	Images      int // how many have the layer: 0, 1, or 2 for more
}

// namedFiles reads so many groups at first, and then as many as it seems to take.
func (db *DB) namedFiles(ctx context.Context, e tidewaiter.Extent, name string, p Page, most, atOnce int) (rows []fileRow, total int, err error) {
	s := fileSearch{DB: db, images: make(map[int64]int)}
	if s.registries, err = db.registryNumbers(ctx, e, nil); err != nil || len(s.registries) == 0 {
		return nil, 0, err
	}
	all := pager{Page: p}
	var shown []fileGroup
	var part Page
	var last fileGroup
	most = max(most, p.Offset+p.Limit)
	for seen := 0; all.passed < most; {
		groups, err := s.next(ctx, name, last, atOnce)
		if err != nil {
			return nil, 0, err
		}
		for i, g := range groups {
			if all.passed >= most {
				break
			}
			if err := s.countImages(ctx, groups[i:]); err != nil {
				return nil, 0, err
			}
			in, ok := all.next(g.Files*s.images[g.LayerNumber] - g.Hidden)
			if !ok {
				continue
			}
			if len(shown) == 0 {
				part.Offset = in.Offset
			}
			shown, part.Limit = append(shown, g), part.Limit+in.Limit
		}
		if len(groups) < atOnce {
			break
		}
		seen, last = seen+len(groups), groups[len(groups)-1]
		missing := most - all.passed
		atOnce = max(chunkSize/5, min(missing*seen/max(all.passed, 1), missing))
	}
	if len(shown) == 0 {
		return nil, all.passed, nil
	}
	rows, err = s.page(ctx, shown, part)
	return rows, all.passed, err
}

// next returns groups in their order, by name and layer, that come after one.
func (s *fileSearch) next(ctx context.Context, name string, after fileGroup, limit int) (groups []fileGroup, err error) {
	registries := bun.List(s.registries)
	// SQLite takes the tables of a cross join in their order, and from their
	// indexes the order of the list. The plus signs keep databases from looking
	// for each registry by itself.
	q := s.read.NewSelect().TableExpr("file_names AS n CROSS JOIN layer_files AS f").
		ColumnExpr("n.name, MIN(f.name_id), f.layer_number, COUNT(*)").
		ColumnExpr(`SUM((SELECT COUNT(*) FROM hidden_files AS h
			WHERE h.layer_number = f.layer_number AND h.entry = f.entry AND +h.registry_number IN (?)))`, registries).
		ColumnExpr(`(SELECT COUNT(*) FROM (SELECT 1 FROM manifest_layers AS l
			WHERE l.layer_number = f.layer_number AND +l.registry_number IN (?) LIMIT 2) AS two)`, registries).
		Where("n.name >= ? AND f.name_id = n.id AND (n.name > ? OR f.layer_number > ?)", after.Name, after.Name, after.LayerNumber).
		GroupExpr("n.name, f.layer_number").OrderExpr("n.name, f.layer_number").Limit(int64(limit))
	rows, err := s.containsFolded(q, "n.name", name).Rows(ctx)
	if err != nil {
		return nil, fmt.Errorf("read files of layers: %w", err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err has it
	for rows.Next() {
		var g fileGroup
		if err := rows.Scan(&g.Name, &g.NameID, &g.LayerNumber, &g.Files, &g.Hidden, &g.Images); err != nil {
			return nil, fmt.Errorf("read files of layers: %w", err)
		}
		groups = append(groups, g)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read files of layers: %w", err)
	}
	if err := rows.Close(); err != nil { // a transaction does one thing at a time
		return nil, fmt.Errorf("read files of layers: %w", err)
	}
	return groups, nil
}

// layersAtOnce is how many layers are counted together that many images have.
// It is small, as a few of them may be enough.
const layersAtOnce = 32

// countImages finds out how many images have the layer of the first of some
// groups, and while at it of some more.
func (s *fileSearch) countImages(ctx context.Context, groups []fileGroup) error {
	if _, ok := s.images[groups[0].LayerNumber]; ok {
		return nil
	}
	if groups[0].Images < 2 {
		s.images[groups[0].LayerNumber] = groups[0].Images
		return nil
	}
	var layers []int64
	for _, g := range groups {
		if _, ok := s.images[g.LayerNumber]; !ok && g.Images > 1 {
			s.images[g.LayerNumber] = 0
			layers = append(layers, g.LayerNumber)
		}
		if len(layers) == layersAtOnce {
			break
		}
	}
	var rows []struct {
		LayerNumber int64
		Images      int
	}
	err := s.read.NewRaw("SELECT layer_number, COUNT(*) AS images FROM manifest_layers WHERE layer_number IN (?) AND +registry_number IN (?) GROUP BY layer_number",
		bun.List(layers), bun.List(s.registries)).Scan(ctx, &rows)
	for _, r := range rows {
		s.images[r.LayerNumber] = r.Images
	}
	return notFound(err, "layers of images")
}

// A layerFile is a file of a layer.
type layerFile struct {
	NameID      int64
	LayerNumber int64
	Entry       int
	Hidden      int // how many images hide it
}

func (f layerFile) group() [2]int64 { return [2]int64{f.NameID, f.LayerNumber} }
func (f layerFile) key() [2]int64   { return [2]int64{f.LayerNumber, int64(f.Entry)} }

// page returns a page of the files of groups.
func (s *fileSearch) page(ctx context.Context, groups []fileGroup, p Page) ([]fileRow, error) {
	files, err := s.layerFiles(ctx, groups)
	if err != nil {
		return nil, err
	}
	var list []fileRow
	var whole [][2]int64 // those of which the page shows all images
	order := make(map[[2]int64]int, len(files))
	all := pager{Page: p}
	for i, f := range files {
		order[f.key()] = i
		n := s.images[f.LayerNumber] - f.Hidden
		part, shown := all.next(n)
		switch {
		case !shown:
		case part.Limit == n:
			whole = append(whole, f.key())
		default:
			rows, err := s.imagesWith(ctx, [][2]int64{f.key()}, f.Hidden > 0, part)
			if err != nil {
				return nil, err
			}
			list = append(list, rows...)
		}
	}
	if len(whole) > 0 {
		rows, err := s.imagesWith(ctx, whole, true, Page{Limit: p.Limit})
		if err != nil {
			return nil, err
		}
		list = append(list, rows...)
	}
	// What stands for one file is in order already.
	slices.SortStableFunc(list, func(a, b fileRow) int {
		return cmp.Compare(order[[2]int64{a.LayerNumber, int64(a.Entry)}], order[[2]int64{b.LayerNumber, int64(b.Entry)}])
	})
	return list, nil
}

// layerFiles returns the files of groups, in their order.
func (s *fileSearch) layerFiles(ctx context.Context, groups []fileGroup) ([]layerFile, error) {
	order := make(map[[2]int64]int, len(groups))
	keys := make([][2]int64, 0, len(groups))
	for i, g := range groups {
		key := [2]int64{g.NameID, g.LayerNumber}
		order[key], keys = i, append(keys, key)
	}
	var files []layerFile
	err := eachChunk(keys, func(chunk [][2]int64) error {
		var rows []layerFile
		err := s.read.NewRaw(`WITH k(name_id, layer_number) AS (VALUES ?) SELECT f.name_id, f.layer_number, f.entry,
			(SELECT COUNT(*) FROM hidden_files AS h WHERE h.layer_number = f.layer_number AND h.entry = f.entry AND +h.registry_number IN (?)) AS hidden
			FROM k CROSS JOIN layer_files AS f WHERE f.name_id = k.name_id AND f.layer_number = k.layer_number`,
			pairs(chunk), bun.List(s.registries)).Scan(ctx, &rows)
		files = append(files, rows...)
		return notFound(err, "files of layers")
	})
	slices.SortFunc(files, func(a, b layerFile) int {
		return cmp.Or(cmp.Compare(order[a.group()], order[b.group()]), cmp.Compare(a.Entry, b.Entry))
	})
	return files, err
}

// imagesWith returns a page of the images that have files of layers, by pairs of
// a layer and an entry.
func (s *fileSearch) imagesWith(ctx context.Context, files [][2]int64, someHide bool, p Page) (rows []fileRow, err error) {
	const order = " ORDER BY l.registry_number, l.manifest_id, l.position LIMIT ? OFFSET ?"
	q := "SELECT " + fileColumns + " FROM layer_files AS f CROSS JOIN manifest_layers AS l WHERE f.layer_number = ? AND f.entry = ?"
	args := []any{files[0][0], files[0][1]}
	if len(files) > 1 {
		q = "WITH k(layer_number, entry) AS (VALUES ?) SELECT " + fileColumns + ` FROM k CROSS JOIN layer_files AS f CROSS JOIN manifest_layers AS l
			WHERE f.layer_number = k.layer_number AND f.entry = k.entry`
		args = []any{pairs(files)}
	}
	q += " AND l.layer_number = f.layer_number AND +l.registry_number IN (?)"
	if someHide {
		q += " AND " + notHidden
	}
	err = s.read.NewRaw(q+order, append(args, bun.List(s.registries), p.Limit, p.Offset)...).Scan(ctx, &rows)
	return rows, notFound(err, "files")
}
