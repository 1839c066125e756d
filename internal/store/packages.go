package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/uptrace/bun"

	"github.com/tidewaiter/tidewaiter"
)

// PackageVersion is a version of a package, whatever image it is in.
type PackageVersion struct {
	ID            int64
	Ecosystem     string // as in OSV, without the suffix of a release
	Release       string // of the distribution, as package findings keeps it, or ""
	Name          string
	Version       string
	SourceName    string
	SourceVersion string
	Architecture  string
	Type          string
	Namespace     string
}

// Package returns the package, without where it is.
func (v PackageVersion) Package() tidewaiter.Package {
	return tidewaiter.Package{
		Ecosystem: v.Ecosystem, Name: v.Name, Version: v.Version, SourceName: v.SourceName, SourceVersion: v.SourceVersion,
		Architecture: v.Architecture, Type: v.Type, Namespace: v.Namespace,
	}
}

type packageRow struct {
	bun.BaseModel `bun:"packages"`

	ID            int64 `bun:",pk,autoincrement"`
	Fingerprint   string
	Ecosystem     string
	Release       string
	Name          string
	Version       string
	SourceName    string
	SourceVersion string
	Architecture  string
	Type          string
	Namespace     string
}

// maxName bounds the texts by which packages are looked up, in bytes: PostgreSQL
// indexes none that is much longer.
const maxName = 1024

func (p PackageVersion) row() packageRow {
	for _, text := range []*string{&p.Name, &p.Version, &p.SourceName, &p.SourceVersion} {
		*text = shortened(*text)
	}
	h := sha256.New()
	for _, s := range []string{p.Ecosystem, p.Release, p.Name, p.Version, p.SourceName, p.SourceVersion, p.Architecture, p.Type, p.Namespace} {
		fmt.Fprintf(h, "%d:", len(s)) //nolint:errcheck // a hash takes everything
		io.WriteString(h, s)          //nolint:errcheck // likewise
	}
	return packageRow{
		Fingerprint: hex.EncodeToString(h.Sum(nil)), Ecosystem: p.Ecosystem, Release: p.Release, Name: p.Name, Version: p.Version,
		SourceName: p.SourceName, SourceVersion: p.SourceVersion, Architecture: p.Architecture, Type: p.Type, Namespace: p.Namespace,
	}
}

func (r packageRow) noun() PackageVersion {
	return PackageVersion{
		ID: r.ID, Ecosystem: r.Ecosystem, Release: r.Release, Name: r.Name, Version: r.Version,
		SourceName: r.SourceName, SourceVersion: r.SourceVersion, Architecture: r.Architecture, Type: r.Type, Namespace: r.Namespace,
	}
}

// shortened returns as much of a text as a name may have.
func shortened(text string) string {
	if len(text) <= maxName {
		return text
	}
	return strings.ToValidUTF8(text[:maxName], "")
}

// PutPackages adds package versions that are new, and returns the ids of all in
// their order.
func (db *DB) PutPackages(ctx context.Context, list []PackageVersion) ([]int64, error) {
	ids := make([]int64, 0, len(list))
	err := eachChunk(list, func(chunk []PackageVersion) error {
		rows := nouns(chunk, PackageVersion.row)
		known, err := db.packageIDs(ctx, db.read, rows)
		if err != nil {
			return err
		}
		missing := make(map[string]packageRow)
		for _, r := range rows {
			if known[r.Fingerprint] == 0 {
				missing[r.Fingerprint] = r
			}
		}
		if len(missing) > 0 {
			fresh := make([]packageRow, 0, len(missing))
			for _, fingerprint := range slices.Sorted(maps.Keys(missing)) { // the order of locking
				fresh = append(fresh, missing[fingerprint])
			}
			if _, err := db.write.NewInsert().Model(&fresh).On("CONFLICT (fingerprint) DO NOTHING").Returning("NULL").Exec(ctx); err != nil {
				return fmt.Errorf("write packages: %w", err)
			}
			if known, err = db.packageIDs(ctx, db.write, rows); err != nil {
				return err
			}
		}
		for _, r := range rows {
			ids = append(ids, known[r.Fingerprint])
		}
		return nil
	})
	return ids, err
}

func (db *DB) packageIDs(ctx context.Context, from bun.IDB, rows []packageRow) (map[string]int64, error) {
	var found []packageRow
	err := from.NewRaw("SELECT id, fingerprint FROM packages WHERE fingerprint IN (?)",
		bun.List(nouns(rows, func(r packageRow) string { return r.Fingerprint }))).Scan(ctx, &found)
	ids := make(map[string]int64, len(found))
	for _, r := range found {
		ids[r.Fingerprint] = r.ID
	}
	return ids, notFound(err, "packages")
}

// PackageVersions returns those of the ids that there are.
func (db *DB) PackageVersions(ctx context.Context, ids []int64) (map[int64]PackageVersion, error) {
	found := make(map[int64]PackageVersion, len(ids))
	err := eachChunk(ids, func(chunk []int64) error {
		var rows []packageRow
		err := db.read.NewRaw("SELECT * FROM packages WHERE id IN (?)", bun.List(chunk)).Scan(ctx, &rows)
		for _, r := range rows {
			found[r.ID] = r.noun()
		}
		return notFound(err, "packages")
	})
	return found, err
}
