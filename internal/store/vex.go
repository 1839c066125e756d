package store

import (
	"context"
	"time"

	"github.com/uptrace/bun"

	"github.com/tidewaiter/tidewaiter"
)

// ManifestsOf returns the images of an extent by the digests of their
// manifests: the same may be in several registries.
func (db *DB) ManifestsOf(ctx context.Context, e tidewaiter.Extent, digests []tidewaiter.Digest) (map[tidewaiter.Digest][]int64, error) {
	found := make(map[tidewaiter.Digest][]int64, len(digests))
	return found, eachChunk(digests, func(chunk []tidewaiter.Digest) error {
		var rows []struct {
			ID     int64
			Digest tidewaiter.Digest
		}
		q := db.read.NewSelect().TableExpr("manifests AS m").Join("JOIN registries AS r ON r.number = m.registry_number").
			ColumnExpr("m.id, m.digest").Where("m.digest IN (?)", bun.List(chunk)).OrderExpr("m.id")
		if err := extent(q, e).Scan(ctx, &rows); err != nil {
			return notFound(err, "images")
		}
		for _, r := range rows {
			found[r.Digest] = append(found[r.Digest], r.ID)
		}
		return nil
	})
}

// ExceptionSource is a document from which exceptions were taken.
type ExceptionSource struct {
	Source          string
	Author          string // of the document
	Exceptions      int
	Vulnerabilities int
	Created         time.Time
	Expires         time.Time // or zero
}

// AttachedSource is what the sources of exceptions begin with that come from
// documents attached to images.
const AttachedSource = "attached:"

// ExceptionSources returns the documents of an extent, by name, less those that
// are attached to images.
func (db *DB) ExceptionSources(ctx context.Context, e tidewaiter.Extent) ([]ExceptionSource, error) {
	var rows []struct {
		Source, Author              string
		Exceptions, Vulnerabilities int
		Created, Expires            int64
	}
	q := db.read.NewSelect().TableExpr("exceptions").
		ColumnExpr("source, MAX(author) AS author, COUNT(*) AS exceptions, COUNT(DISTINCT vulnerability) AS vulnerabilities, MAX(created) AS created, MAX(expires) AS expires").
		Where("source <> '' AND source NOT LIKE ?", AttachedSource+"%").GroupExpr("source").OrderExpr("source")
	if err := inExceptions(q, e).Scan(ctx, &rows); err != nil {
		return nil, notFound(err, "documents")
	}
	list := make([]ExceptionSource, 0, len(rows))
	for _, r := range rows {
		list = append(list, ExceptionSource{r.Source, r.Author, r.Exceptions, r.Vulnerabilities, fromMicros(r.Created), optionalTime(r.Expires)})
	}
	return list, nil
}
