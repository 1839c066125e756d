package store

import (
	"cmp"
	"context"
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
			rows, total, err = tx.namedFiles(ctx, e, name, p, most, chunkSize/5)
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
	NameID      int64
	LayerNumber int64
	Files       int
	Hidden      int // how often an image hides one of them
}

// namedFiles reads so many names at first: the more it takes, the more of them
// are read at once.
func (db *DB) namedFiles(ctx context.Context, e tidewaiter.Extent, name string, p Page, most, size int) (rows []fileRow, total int, err error) {
	s := fileSearch{DB: db, images: make(map[int64]int)}
	if s.registries, err = db.registryNumbers(ctx, e, nil); err != nil || len(s.registries) == 0 {
		return nil, 0, err
	}
	all := pager{Page: p}
	var shown []fileGroup
	var part Page
	after := ""
	for ; all.passed < max(most, p.Offset+p.Limit); size *= 2 {
		var names []struct {
			ID   int64
			Name string
		}
		q := db.read.NewSelect().Table("file_names").Column("id", "name").Where("name > ?", after)
		if err := db.contains(q, "name", name).OrderExpr("name").Limit(int64(size)).Scan(ctx, &names); err != nil {
			return nil, 0, notFound(err, "names of files")
		}
		ids := make([]int64, 0, len(names))
		for _, n := range names {
			ids, after = append(ids, n.ID), n.Name
		}
		groups, err := s.groups(ctx, ids)
		if err != nil {
			return nil, 0, err
		}
		for _, g := range groups {
			in, ok := all.next(g.Files*s.images[g.LayerNumber] - g.Hidden)
			if !ok {
				continue
			}
			if len(shown) == 0 {
				part.Offset = in.Offset
			}
			shown, part.Limit = append(shown, g), part.Limit+in.Limit
		}
		if len(names) < size {
			break
		}
	}
	if len(shown) == 0 {
		return nil, all.passed, nil
	}
	rows, err = s.page(ctx, shown, part)
	return rows, all.passed, err
}

// groups returns the files with names, in the order of these, by layer.
func (s *fileSearch) groups(ctx context.Context, names []int64) ([]fileGroup, error) {
	order := make(map[int64]int, len(names))
	for i, id := range names {
		order[id] = i
	}
	var groups []fileGroup
	err := eachChunk(names, func(chunk []int64) error {
		var rows, hidden []fileGroup
		err := s.read.NewRaw("SELECT name_id, layer_number, COUNT(*) AS files FROM layer_files WHERE name_id IN (?) GROUP BY name_id, layer_number",
			bun.List(chunk)).Scan(ctx, &rows)
		if err != nil {
			return notFound(err, "files of layers")
		}
		err = s.read.NewRaw(`SELECT f.name_id, f.layer_number, COUNT(*) AS hidden FROM layer_files AS f CROSS JOIN hidden_files AS h
			WHERE f.name_id IN (?) AND h.layer_number = f.layer_number AND h.entry = f.entry AND +h.registry_number IN (?) GROUP BY f.name_id, f.layer_number`,
			bun.List(chunk), bun.List(s.registries)).Scan(ctx, &hidden)
		if err != nil {
			return notFound(err, "hidden files")
		}
		less := make(map[[2]int64]int, len(hidden))
		for _, h := range hidden {
			less[[2]int64{h.NameID, h.LayerNumber}] = h.Hidden
		}
		for i, r := range rows {
			rows[i].Hidden = less[[2]int64{r.NameID, r.LayerNumber}]
		}
		groups = append(groups, rows...)
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(groups, func(a, b fileGroup) int {
		return cmp.Or(cmp.Compare(order[a.NameID], order[b.NameID]), cmp.Compare(a.LayerNumber, b.LayerNumber))
	})
	return groups, s.countImages(ctx, groups)
}

// countImages finds out how many images have the layers of groups.
func (s *fileSearch) countImages(ctx context.Context, groups []fileGroup) error {
	var unknown []int64
	for _, layer := range distinct(groups, func(g fileGroup) int64 { return g.LayerNumber }) {
		if _, ok := s.images[layer]; !ok {
			s.images[layer] = 0
			unknown = append(unknown, layer)
		}
	}
	return eachChunk(unknown, func(chunk []int64) error {
		var rows []struct {
			LayerNumber int64
			Images      int
		}
		// The plus sign keeps databases from looking for each registry by itself.
		err := s.read.NewRaw("SELECT layer_number, COUNT(*) AS images FROM manifest_layers WHERE layer_number IN (?) AND +registry_number IN (?) GROUP BY layer_number",
			bun.List(chunk), bun.List(s.registries)).Scan(ctx, &rows)
		for _, r := range rows {
			s.images[r.LayerNumber] = r.Images
		}
		return notFound(err, "layers of images")
	})
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
