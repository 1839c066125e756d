package store

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/uptrace/bun"

	"github.com/tidewaiter/tidewaiter"
)

// ExceptionFilter tells which exceptions are asked for; what is zero is any.
type ExceptionFilter struct {
	ID            string
	Vulnerability string // exactly
	Name          string // a part of the vulnerability's name
	Kind          tidewaiter.VulnerabilityKind
	Actions       []tidewaiter.ExceptionAction
	Scope         tidewaiter.ExceptionScope
	Source        string
}

// inExceptions appends to a query that exceptions are of an extent: those of all
// enterprise projects are of each.
func inExceptions(q *bun.SelectQuery, e tidewaiter.Extent) *bun.SelectQuery {
	q = q.Where("project_id = ?", e.ProjectID)
	if e.All {
		return q
	}
	return q.Where("enterprise_project_id IN (?)", bun.List(append([]string{""}, e.EnterpriseProjects...)))
}

// Exceptions returns a page of the exceptions of an extent, the newest first,
// without the images that they are about, and how many there are.
func (db *DB) Exceptions(ctx context.Context, e tidewaiter.Extent, f ExceptionFilter, p Page) (list []tidewaiter.Exception, total int, err error) {
	var rows []exceptionRow
	q := inExceptions(db.read.NewSelect().Model(&rows), e)
	for _, c := range []struct{ column, value string }{
		{"id", f.ID}, {"vulnerability", f.Vulnerability}, {"kind", string(f.Kind)}, {"scope", string(f.Scope)}, {"source", f.Source},
	} {
		if c.value != "" {
			q = q.Where("? = ?", bun.Ident(c.column), c.value)
		}
	}
	q = in(db.contains(q, "vulnerability", f.Name), "action", f.Actions)
	if total, err = paged(ctx, q, p, "exceptions", "number DESC"); err != nil {
		return nil, 0, err
	}
	for _, r := range rows {
		x, err := r.noun(nil)
		if err != nil {
			return nil, 0, err
		}
		list = append(list, x)
	}
	return list, total, nil
}

// ExceptedImage is an image that an exception is about, with a name that it has.
type ExceptedImage struct {
	ImageID         int64 // of the tag, or 0
	ManifestID      int64
	ID              string // the image's, as lists show it
	Namespace, Name string
	Tag             string
}

// ExceptedImages returns a page of the images that an exception is about, and
// how many there are.
func (db *DB) ExceptedImages(ctx context.Context, id string, p Page) (list []ExceptedImage, total int, err error) {
	const from = ` FROM exception_images AS e JOIN exceptions AS x ON x.number = e.exception_number
		LEFT JOIN manifests AS m ON m.id = e.manifest_id LEFT JOIN images AS i ON i.id = e.image_id LEFT JOIN repositories AS r ON r.id = i.repository_id WHERE x.id = ?`
	if err := db.read.NewRaw("SELECT COUNT(*)"+from, id).Scan(ctx, &total); err != nil {
		return nil, 0, fmt.Errorf("count images of an exception: %w", err)
	}
	var rows []struct {
		ImageID, ManifestID      int64
		ID, Namespace, Name, Tag string
	}
	err = db.read.NewRaw(`SELECT e.image_id, e.manifest_id, COALESCE(m.image_id, '') AS id, COALESCE(r.namespace, '') AS namespace,
		COALESCE(r.image, '') AS name, COALESCE(i.tag, '') AS tag`+from+" ORDER BY e.image_id, e.manifest_id LIMIT ? OFFSET ?", id, p.Limit, p.Offset).Scan(ctx, &rows)
	if err != nil {
		return nil, 0, notFound(err, "images of an exception")
	}
	var unnamed []int64
	for _, r := range rows {
		if r.Name == "" {
			unnamed = append(unnamed, r.ManifestID)
		}
		list = append(list, ExceptedImage(r))
	}
	tags, err := db.tagsOf(ctx, append(unnamed, 0))
	for i := range list {
		if t := tags[list[i].ManifestID]; list[i].Name == "" {
			list[i].Namespace, list[i].Name, list[i].Tag = t.Namespace, t.Name, t.Tag
		}
	}
	return list, total, err
}

// CreateException adds an exception with its images.
func (db *DB) CreateException(ctx context.Context, e tidewaiter.Exception) error {
	types, err := json.Marshal(e.RegistryTypes)
	if err != nil {
		return fmt.Errorf("write exception: %w", err)
	}
	row := exceptionRow{
		ID: e.ID, ProjectID: e.ProjectID, EnterpriseProjectID: e.EnterpriseProjectID, Vulnerability: e.Vulnerability, Kind: e.Kind, Action: e.Action,
		Scope: e.Scope, RegistryTypes: string(types), Package: e.Package, Status: e.Status, Justification: e.Justification, Remark: e.Remark, Source: e.Source,
		Author: e.Author, Created: micros(e.Created), Updated: micros(e.Updated), Expires: optionalMicros(e.Expires),
	}
	if _, err := db.write.NewInsert().Model(&row).Exec(ctx); err != nil {
		return conflict(err, "exception")
	}
	return db.AddExceptionImages(ctx, e.ID, e.Images, e.Updated)
}

// AddExceptionImages has an exception be about more images. Errors: NotFound.
func (db *DB) AddExceptionImages(ctx context.Context, id string, images []tidewaiter.ExceptionImage, now time.Time) error {
	number, err := db.exceptionNumber(ctx, id, now)
	if err != nil {
		return err
	}
	rows := nouns(images, func(i tidewaiter.ExceptionImage) exceptionImageRow {
		return exceptionImageRow{ExceptionNumber: number, ImageID: i.ImageID, ManifestID: i.ManifestID}
	})
	return eachChunk(rows, func(chunk []exceptionImageRow) error {
		r, err := db.write.NewInsert().Model(&chunk).On("CONFLICT DO NOTHING").Returning("NULL").Exec(ctx)
		return wrote(r, err, "images of an exception")
	})
}

// exceptionNumber returns the number of an exception that is about to change.
func (db *DB) exceptionNumber(ctx context.Context, id string, now time.Time) (number int64, err error) {
	err = db.write.NewRaw("UPDATE exceptions SET updated = ? WHERE id = ? RETURNING number", micros(now), id).Scan(ctx, &number)
	return number, notFound(err, "exception")
}

// RemoveExceptionImages has exceptions no longer be about the images that some
// manifests are. Exceptions about no image any more are removed.
func (db *DB) RemoveExceptionImages(ctx context.Context, ids []string, manifests []int64, now time.Time) error {
	for _, id := range ids {
		number, err := db.exceptionNumber(ctx, id, now)
		if err != nil {
			return err
		}
		err = eachChunk(manifests, func(chunk []int64) error {
			r, err := db.write.NewRaw("DELETE FROM exception_images WHERE exception_number = ? AND manifest_id IN (?)", number, bun.List(chunk)).Exec(ctx)
			return wrote(r, err, "images of an exception")
		})
		if err != nil {
			return err
		}
		r, err := db.write.NewRaw("DELETE FROM exceptions WHERE number = ? AND NOT EXISTS (SELECT 1 FROM exception_images WHERE exception_number = exceptions.number)", number).Exec(ctx)
		if err := wrote(r, err, "exceptions"); err != nil {
			return err
		}
	}
	return nil
}

// ChangeException writes an exception's scope, types, images and remark.
// Errors: NotFound.
func (db *DB) ChangeException(ctx context.Context, e tidewaiter.Exception) error {
	types, err := json.Marshal(e.RegistryTypes)
	if err != nil {
		return fmt.Errorf("write exception: %w", err)
	}
	number, err := db.exceptionNumber(ctx, e.ID, e.Updated)
	if err != nil {
		return err
	}
	r, err := db.write.NewRaw("UPDATE exceptions SET scope = ?, registry_types = ?, remark = ?, expires = ? WHERE number = ?",
		e.Scope, string(types), e.Remark, optionalMicros(e.Expires), number).Exec(ctx)
	if err := wrote(r, err, "exception"); err != nil {
		return err
	}
	if _, err := db.write.NewRaw("DELETE FROM exception_images WHERE exception_number = ?", number).Exec(ctx); err != nil {
		return fmt.Errorf("write images of an exception: %w", err)
	}
	return db.AddExceptionImages(ctx, e.ID, e.Images, e.Updated)
}

// DeleteExceptions removes exceptions, and returns how many it were.
func (db *DB) DeleteExceptions(ctx context.Context, ids []string) (n int64, err error) {
	for chunk := range slices.Chunk(ids, chunkSize) {
		r, err := db.write.NewRaw("DELETE FROM exceptions WHERE id IN (?)", bun.List(chunk)).Exec(ctx)
		some, err := affected(r, err, "exceptions")
		if err != nil {
			return n, err
		}
		n += some
	}
	return n, nil
}

// MovedExceptions returns the names of the vulnerabilities of exceptions that
// are about what a tag stands for, which is another image by now; and of those
// that have expired.
func (db *DB) MovedExceptions(ctx context.Context, now time.Time) (names []string, err error) {
	err = db.read.NewRaw(`SELECT DISTINCT x.vulnerability FROM exception_images AS e JOIN exceptions AS x ON x.number = e.exception_number
		LEFT JOIN images AS i ON i.id = e.image_id AND i.gone = 0 WHERE e.image_id > 0 AND e.manifest_id <> COALESCE(i.manifest_id, 0)
		UNION SELECT vulnerability FROM exceptions WHERE expires > 0 AND expires <= ?`, micros(now)).Scan(ctx, &names)
	return names, notFound(err, "exceptions")
}

// MoveExceptions has exceptions be about what their tags stand for by now, and
// removes those that have expired.
func (db *DB) MoveExceptions(ctx context.Context, now time.Time) error {
	for _, query := range []string{
		`INSERT INTO exception_images (exception_number, image_id, manifest_id) SELECT DISTINCT e.exception_number, e.image_id, COALESCE(i.manifest_id, 0)
			FROM exception_images AS e LEFT JOIN images AS i ON i.id = e.image_id AND i.gone = 0
			WHERE e.image_id > 0 AND e.manifest_id <> COALESCE(i.manifest_id, 0) ON CONFLICT DO NOTHING`,
		`DELETE FROM exception_images WHERE image_id > 0
			AND manifest_id <> COALESCE((SELECT i.manifest_id FROM images AS i WHERE i.id = exception_images.image_id AND i.gone = 0), 0)`,
	} {
		if _, err := db.write.NewRaw(query).Exec(ctx); err != nil {
			return fmt.Errorf("write images of exceptions: %w", err)
		}
	}
	r, err := db.write.NewRaw("DELETE FROM exceptions WHERE expires > 0 AND expires <= ?", micros(now)).Exec(ctx)
	return wrote(r, err, "exceptions")
}

// SetExceptionRemark writes why there is an exception. Errors: NotFound.
func (db *DB) SetExceptionRemark(ctx context.Context, id, remark string, now time.Time) error {
	r, err := db.write.NewRaw("UPDATE exceptions SET remark = ?, updated = ? WHERE id = ?", remark, micros(now), id).Exec(ctx)
	return changed(r, err, "exception")
}
