package store

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/tidewaiter/tidewaiter"
)

// A Bulk writes rows by the million, in the quickest way that a database has,
// into one that nobody else uses. What it makes is what PutLayer and PutResult
// make: a test compares them.
type Bulk struct {
	*DB
	conn    *sql.Conn
	indexes []string
}

// NewBulk begins.
func (db *DB) NewBulk(ctx context.Context) (*Bulk, error) {
	conn, err := db.pools[0].Conn(ctx)
	if err != nil {
		return nil, err
	}
	return &Bulk{DB: db, conn: conn.Conn}, nil
}

// Exec runs a statement.
func (b *Bulk) Exec(ctx context.Context, query string, args ...any) error {
	_, err := b.conn.ExecContext(ctx, query, args...)
	if err != nil {
		return fmt.Errorf("%s: %w", query, err)
	}
	return nil
}

// Lay puts off the safety and the indexes of tables until [Bulk.Close].
func (b *Bulk) Lay(ctx context.Context, tables ...string) error {
	query := "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = $1 AND indexdef NOT LIKE '%UNIQUE%'"
	if b.sqlite {
		for _, p := range []string{"synchronous = OFF", "cache_size = -400000", "foreign_keys = OFF"} {
			if err := b.Exec(ctx, "PRAGMA "+p); err != nil {
				return err
			}
		}
		query = "SELECT name, sql FROM sqlite_master WHERE tbl_name = $1 AND type = 'index' AND sql IS NOT NULL AND sql NOT LIKE '%UNIQUE%'"
	}
	for _, table := range tables {
		names, err := b.indexesOf(ctx, query, table)
		if err != nil {
			return err
		}
		for _, name := range names {
			if err := b.Exec(ctx, "DROP INDEX "+name); err != nil {
				return err
			}
		}
	}
	return nil
}

// indexesOf returns the names of the indexes of a table, and notes how to make
// them again.
func (b *Bulk) indexesOf(ctx context.Context, query, table string) (names []string, err error) {
	rows, err := b.conn.QueryContext(ctx, query, table)
	if err != nil {
		return nil, err
	}
	defer rows.Close() //nolint:errcheck // rows.Err has it
	for rows.Next() {
		var name, text string
		if err := rows.Scan(&name, &text); err != nil {
			return nil, err
		}
		names, b.indexes = append(names, name), append(b.indexes, text)
	}
	return names, rows.Err()
}

// Close makes the indexes.
func (b *Bulk) Close(ctx context.Context) error {
	for _, text := range b.indexes {
		if err := b.Exec(ctx, text); err != nil {
			return err
		}
	}
	after := []string{"VACUUM ANALYZE"}
	if b.sqlite {
		after = []string{"PRAGMA cache_size = -2000", "PRAGMA foreign_keys = ON", "PRAGMA synchronous = FULL", "PRAGMA wal_checkpoint(TRUNCATE)"}
	}
	for _, text := range after {
		if err := b.Exec(ctx, text); err != nil {
			return err
		}
	}
	return b.conn.Close()
}

// Rows writes rows of a table.
func (b *Bulk) Rows(ctx context.Context, table, columns string, rows iter.Seq[[]any]) error {
	names := strings.Split(columns, ", ")
	if !b.sqlite {
		next, stop := iter.Pull(rows)
		defer stop()
		return b.conn.Raw(func(c any) error {
			_, err := c.(*stdlib.Conn).Conn().CopyFrom(ctx, pgx.Identifier{table}, names, pgx.CopyFromFunc(func() ([]any, error) {
				row, _ := next()
				return row, nil
			}))
			return err
		})
	}
	// The log ends each time, or it would be as large as the table.
	const together, atOnce = 50, 100_000
	one := ", (?" + strings.Repeat(", ?", len(names)-1) + ")"
	var args []any
	write := func() error {
		tx, err := b.conn.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer tx.Rollback() //nolint:errcheck // it was committed, or the error is known
		for chunk := range slices.Chunk(args, together*len(names)) {
			_, err := tx.ExecContext(ctx, "INSERT INTO "+table+" ("+columns+") VALUES "+strings.Repeat(one, len(chunk)/len(names))[2:], chunk...)
			if err != nil {
				return err
			}
		}
		args = args[:0]
		return tx.Commit()
	}
	for row := range rows {
		if args = append(args, row...); len(args) >= atOnce*len(names) {
			if err := write(); err != nil {
				return err
			}
		}
	}
	return write()
}

// Layers is PutLayer for many, which are all new, and returns their numbers.
// What is said of each is forgotten once it was written.
func (b *Bulk) Layers(ctx context.Context, created int64, layers iter.Seq[NewLayer]) ([]int64, error) {
	var numbers []int64
	names := make(map[string]int64)
	type file struct {
		number, name, size int64
		entry              int
		path               string
	}
	var files []file
	err := b.Rows(ctx, "layers", "number, project_id, cluster_id, digest, diff_id, extractors, limits, ready, size, created", func(yield func([]any) bool) {
		for l := range layers {
			number := int64(len(numbers) + 1)
			numbers = append(numbers, number)
			for _, f := range l.Loose {
				id, ok := names[f.key()]
				if !ok {
					id = int64(len(names) + 1)
					names[f.key()] = id
				}
				files = append(files, file{number, id, f.Size, f.Entry, f.Path})
			}
			if !yield([]any{number, l.ProjectID, l.ClusterID, string(l.Digest), string(l.DiffID), l.Extractors, l.Limits, true, l.Size, created}) {
				return
			}
		}
	})
	if err != nil {
		return nil, err
	}
	err = b.Rows(ctx, "layer_facts", "layer_number, facts", func(yield func([]any) bool) {
		for _, n := range numbers {
			if !yield([]any{n, []byte{}}) {
				return
			}
		}
	})
	if err != nil {
		return nil, err
	}
	err = b.Rows(ctx, "file_names", "id, name", func(yield func([]any) bool) {
		for name, id := range names {
			if !yield([]any{id, name}) {
				return
			}
		}
	})
	if err != nil {
		return nil, err
	}
	return numbers, b.Rows(ctx, "layer_files", "layer_number, entry, name_id, path, size", func(yield func([]any) bool) {
		for _, f := range files {
			if !yield([]any{f.number, f.entry, f.name, f.path, f.size}) {
				return
			}
		}
	})
}

// bulkPackage is a row of image_packages, small: there are 30 million.
type bulkPackage struct {
	manifest             int64
	id, registry, origin int32
	path                 int32
}

// Results is PutResult for many, of images that have no result yet, in the order
// of their ids. What is said of each is forgotten once it was written.
func (b *Bulk) Results(ctx context.Context, registryOf map[int64]int64, results iter.Seq[NewResult]) error {
	var packages []bulkPackage
	var layers []imageLayerRow
	var hidden []hiddenFileRow
	paths := make(map[string]int32)
	counts := make(map[[2]int64]int)
	var failed error
	z, err := newDocumentWriter()
	if err != nil {
		return err
	}
	defer z.Close() //nolint:errcheck // EncodeAll leaves nothing behind
	err = b.Rows(ctx, "scan_results", "manifest_id, registry_number, complete, failed_code, reason, extractors, scanned, chain_id, os_id, os_version, os_name, "+
		"end_of_life, packages, files, file_bytes, loose_files, document", func(yield func([]any) bool) {
		for r := range results {
			number := registryOf[r.ManifestID]
			text, err := marshalDocument(r.ImageResult)
			if err != nil {
				failed = err
				return
			}
			row := r.row(number, z.EncodeAll(text, nil))
			l, h := r.layerRows(number)
			layers, hidden = append(layers, l...), append(hidden, h...)
			seen := make(map[int64]bool, len(r.Packages))
			for _, p := range r.Packages {
				if seen[p.ID] {
					continue
				}
				seen[p.ID] = true
				path := packagePath(p.Package)
				id, ok := paths[path]
				if !ok {
					id = int32(len(paths) + 1)
					paths[path] = id
				}
				packages = append(packages, bulkPackage{r.ManifestID, int32(p.ID), int32(number), int32(p.Origin), id})
				counts[[2]int64{p.ID, number}]++
			}
			if !yield([]any{row.ManifestID, row.RegistryNumber, row.Complete, row.FailedCode, row.Reason, row.Extractors, row.Scanned, string(row.ChainID), row.OSID,
				row.OSVersion, row.OSName, row.EndOfLife, row.Packages, row.Files, row.FileBytes, row.LooseFiles, row.Document}) {
				return
			}
		}
	})
	if err = cmp.Or(failed, err); err != nil {
		return err
	}
	slices.SortFunc(packages, func(a, b bulkPackage) int {
		return cmp.Or(cmp.Compare(a.id, b.id), cmp.Compare(a.registry, b.registry), cmp.Compare(a.manifest, b.manifest))
	})
	for _, t := range []struct {
		table, columns string
		rows           iter.Seq[[]any]
	}{
		{"manifest_layers", "manifest_id, position, layer_number, registry_number", rowsOf(layers, func(r imageLayerRow) []any {
			return []any{r.ManifestID, r.Position, r.LayerNumber, r.RegistryNumber}
		})},
		{"hidden_files", "manifest_id, position, entry, layer_number, registry_number", rowsOf(hidden, func(r hiddenFileRow) []any {
			return []any{r.ManifestID, r.Position, r.Entry, r.LayerNumber, r.RegistryNumber}
		})},
		{"package_paths", "id, path", rowsOf(slices.Collect(maps.Keys(paths)), func(path string) []any { return []any{paths[path], path} })},
		{"image_packages", "package_id, registry_number, manifest_id, path_id, origin", rowsOf(packages, func(p bulkPackage) []any {
			return []any{p.id, p.registry, p.manifest, p.path, p.origin}
		})},
		{"package_counts", "package_id, registry_number, images", rowsOf(slices.SortedFunc(maps.Keys(counts), func(a, b [2]int64) int { return slices.Compare(a[:], b[:]) }),
			func(k [2]int64) []any { return []any{k[0], k[1], counts[k]} })},
	} {
		if err := b.Rows(ctx, t.table, t.columns, t.rows); err != nil {
			return fmt.Errorf("%s: %w", t.table, err)
		}
	}
	return b.Exec(ctx, `INSERT INTO software_counts (project_id, name, enterprise_project_id, images)
		SELECT g.project_id, p.name, g.enterprise_project_id, SUM(c.images) FROM package_counts AS c JOIN packages AS p ON p.id = c.package_id
		JOIN registries AS g ON g.number = c.registry_number GROUP BY g.project_id, p.name, g.enterprise_project_id`)
}

func rowsOf[T any](list []T, row func(T) []any) iter.Seq[[]any] {
	return func(yield func([]any) bool) {
		for _, v := range list {
			if !yield(row(v)) {
				return
			}
		}
	}
}

// CheckSoftwareCounts compares what is counted of packages with what is there.
func (db *DB) CheckSoftwareCounts(ctx context.Context) error {
	var wrong int
	err := db.read.NewRaw(`SELECT COUNT(*) FROM
		(SELECT package_id, registry_number, COUNT(*) AS n FROM image_packages
			WHERE manifest_id NOT IN (SELECT manifest_id FROM dead_manifests) GROUP BY package_id, registry_number) AS i
		FULL JOIN package_counts AS c ON c.registry_number = i.registry_number AND c.package_id = i.package_id
		WHERE COALESCE(i.n, 0) <> COALESCE(c.images, 0) OR c.images = 0`).Scan(ctx, &wrong)
	if err != nil || wrong > 0 {
		return fmt.Errorf("%d counts of packages are wrong: %w", wrong, err)
	}
	err = db.read.NewRaw(`SELECT COUNT(*) FROM
		(SELECT g.project_id, g.enterprise_project_id, p.name, SUM(c.images) AS n FROM package_counts AS c JOIN packages AS p ON p.id = c.package_id
			JOIN registries AS g ON g.number = c.registry_number GROUP BY g.project_id, g.enterprise_project_id, p.name) AS i
		FULL JOIN software_counts AS s ON s.project_id = i.project_id AND s.enterprise_project_id = i.enterprise_project_id AND s.name = i.name
		WHERE COALESCE(i.n, 0) <> COALESCE(s.images, 0) OR s.images = 0`).Scan(ctx, &wrong)
	if err != nil || wrong > 0 {
		return fmt.Errorf("%d counts of software are wrong: %w", wrong, err)
	}
	return nil
}

// ManifestIDs returns the manifests that are in the database.
func (db *DB) ManifestIDs(ctx context.Context) (ids []int64, err error) {
	err = db.read.NewRaw("SELECT id FROM manifests ORDER BY id").Scan(ctx, &ids)
	return ids, err
}

// RegistryNumbers returns the number of the registry of each manifest.
func (db *DB) RegistryNumbers(ctx context.Context) (map[int64]int64, error) {
	var rows []manifestRow
	err := db.read.NewRaw("SELECT id, registry_number FROM manifests").Scan(ctx, &rows)
	numbers := make(map[int64]int64, len(rows))
	for _, r := range rows {
		numbers[r.ID] = r.RegistryNumber
	}
	return numbers, err
}

// FindFiles is Files, which reads so many names at first.
func (db *DB) FindFiles(ctx context.Context, e tidewaiter.Extent, name string, p Page, most, size int) (list []tidewaiter.FoundFile, total int, err error) {
	rows, total, err := db.namedFiles(ctx, e, name, p, most, size)
	if err != nil {
		return nil, 0, err
	}
	list, err = db.foundFiles(ctx, rows)
	return list, total, err
}
