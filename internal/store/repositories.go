package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"github.com/tidewaiter/tidewaiter"
)

type repositoryRow struct {
	bun.BaseModel `bun:"repositories"`

	ID             int64 `bun:",pk,autoincrement"`
	RegistryNumber int64
	Name           string
	Namespace      string
	Image          string
	Owner          string
	Problem        string
	Skipped        string // JSON, a list of skippedDocument
	Images         int
	SyncID         string
	Synced         int64
	Gone           int64
}

type skippedDocument struct {
	Kind    string `json:"kind"`
	Reason  string `json:"reason"`
	Count   int    `json:"count"`
	Example string `json:"example"`
}

func encodeSkipped(list []tidewaiter.Skipped) (string, error) {
	b, err := json.Marshal(nouns(list, func(s tidewaiter.Skipped) skippedDocument { return skippedDocument(s) }))
	if err != nil {
		return "", fmt.Errorf("write what was skipped: %w", err)
	}
	return string(b), nil
}

func decodeSkipped(text string) ([]tidewaiter.Skipped, error) {
	var list []skippedDocument
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		return nil, fmt.Errorf("read what was skipped: %w", err)
	}
	return nouns(list, func(d skippedDocument) tidewaiter.Skipped { return tidewaiter.Skipped(d) }), nil
}

func (r repositoryRow) noun(registryID string) (tidewaiter.Repository, error) {
	skipped, err := decodeSkipped(r.Skipped)
	return tidewaiter.Repository{
		ID: r.ID, RegistryID: registryID, Name: r.Name, Owner: r.Owner, Problem: r.Problem,
		Skipped: skipped, Synced: optionalTime(r.Synced), Gone: optionalTime(r.Gone),
	}, err
}

// UnlistedRepositories returns those of the names, in their order, which a
// synchronisation has not completed: see [DB.CompleteRepository].
func (db *DB) UnlistedRepositories(ctx context.Context, registryID, syncID string, names []string) ([]string, error) {
	listed := make(map[string]bool, len(names))
	err := eachChunk(names, func(chunk []string) error {
		var found []string
		err := db.read.NewRaw(`SELECT name FROM repositories
			WHERE registry_number = (SELECT number FROM registries WHERE id = ?) AND name IN (?) AND sync_id = ?`,
			registryID, bun.List(chunk), syncID).Scan(ctx, &found)
		for _, name := range found {
			listed[name] = true
		}
		return notFound(err, "repositories")
	})
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return listed[name] }), err
}

// PutRepository adds a repository to a registry, or writes owner and problem
// of the one of that name; either way it is there (again), and its id is
// returned. Errors: NotFound if the registry is not there.
func (db *DB) PutRepository(ctx context.Context, r tidewaiter.Repository) (id int64, err error) {
	namespace, image, ok := strings.Cut(r.Name, "/")
	if !ok {
		namespace, image = "", r.Name
	}
	err = db.write.NewRaw(`INSERT INTO repositories
			(registry_number, name, namespace, image, owner, problem, skipped, images, sync_id, synced, gone)
		SELECT number, ?, ?, ?, ?, ?, '[]', 0, '', 0, 0 FROM registries WHERE id = ?
		ON CONFLICT (registry_number, name) DO UPDATE SET owner = excluded.owner, problem = excluded.problem, gone = 0
		RETURNING id`, r.Name, namespace, image, r.Owner, r.Problem, r.RegistryID).Scan(ctx, &id)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, notFound(err, "registry")
	}
	return id, conflict(err, "repository")
}

// lockRepository keeps others who lock the repository from going on until the
// transaction ends: whoever changes its images does. It returns the number of
// its registry.
func (db *DB) lockRepository(ctx context.Context, id int64) (registryNumber int64, err error) {
	err = db.read.NewRaw("SELECT registry_number FROM repositories WHERE id = ??", id, db.forUpdate()).Scan(ctx, &registryNumber)
	return registryNumber, notFound(err, "repository")
}

// CompleteRepository notes that a synchronisation has seen all of a
// repository. With a problem, because of which it could not be listed, nothing
// else changes. Without one, the images that the synchronisation has not put
// are gone, its newest image is the latest (of several with the same time, the
// tag "latest", else the greatest tag), and what was skipped is as given, with
// the skipped tags of this synchronisation. Errors: NotFound.
func (db *DB) CompleteRepository(ctx context.Context, id int64, syncID, problem string, skipped []tidewaiter.Skipped, now time.Time) error {
	return db.Tx(ctx, func(tx *DB) error {
		if problem != "" {
			r, err := tx.write.NewRaw("UPDATE repositories SET sync_id = ?, problem = ? WHERE id = ?", syncID, problem, id).Exec(ctx)
			return changed(r, err, "repository")
		}
		if err := tx.countImages(ctx, id, func() error { return tx.settleImages(ctx, id, syncID, now) }); err != nil {
			return err
		}
		tags, err := tx.settleSkippedTags(ctx, id, syncID, now)
		if err != nil {
			return err
		}
		text, err := encodeSkipped(slices.Concat(skipped, tags))
		if err != nil {
			return err
		}
		r, err := tx.write.NewRaw("UPDATE repositories SET sync_id = ?, problem = '', skipped = ?, synced = ? WHERE id = ?",
			syncID, text, micros(now), id).Exec(ctx)
		return changed(r, err, "repository")
	})
}

// settleImages marks the images of a repository that are gone and the one that
// is the latest.
func (db *DB) settleImages(ctx context.Context, id int64, syncID string, now time.Time) error {
	r, err := db.write.NewRaw("UPDATE images SET gone = ?, latest = FALSE WHERE repository_id = ? AND sync_id <> ? AND gone = 0",
		micros(now), id, syncID).Exec(ctx)
	if err != nil {
		return wrote(r, err, "images")
	}
	var latest int64
	err = db.read.NewRaw(`SELECT id FROM images WHERE repository_id = ? AND gone = 0
		ORDER BY updated DESC, CASE tag WHEN 'latest' THEN 0 ELSE 1 END, tag DESC LIMIT 1`, id).Scan(ctx, &latest)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("find latest image: %w", err)
	}
	r, err = db.write.NewRaw("UPDATE images SET latest = (id = ?) WHERE repository_id = ? AND latest <> (id = ?)", latest, id, latest).Exec(ctx)
	return wrote(r, err, "images")
}

// Repositories returns a page of the repositories of a registry, by name, and
// how many there are in all.
func (db *DB) Repositories(ctx context.Context, registryID string, p Page) ([]tidewaiter.Repository, int, error) {
	var list []tidewaiter.Repository
	total := 0
	err := db.snapshot(ctx, func(tx *DB) error {
		var rows []repositoryRow
		q := tx.read.NewSelect().Model(&rows).Where("registry_number = (SELECT number FROM registries WHERE id = ?)", registryID)
		var err error
		if total, err = paged(ctx, q, p, "repositories", "name"); err != nil {
			return err
		}
		list = make([]tidewaiter.Repository, len(rows))
		for i, row := range rows {
			if list[i], err = row.noun(registryID); err != nil {
				return err
			}
		}
		return nil
	})
	return list, total, err
}

// FinishSync ends a synchronisation that listed all of a registry: the
// repositories that it has not completed are gone with their images. It
// returns how many images there are. Errors: NotFound.
func (db *DB) FinishSync(ctx context.Context, registryID, syncID string, now time.Time) (images int, err error) {
	err = db.Tx(ctx, func(tx *DB) error {
		number, err := tx.number(ctx, registryID)
		if err != nil {
			return err
		}
		var gone []int64
		err = tx.read.NewRaw("SELECT id FROM repositories WHERE registry_number = ? AND sync_id <> ? AND gone = 0 ORDER BY id?",
			number, syncID, tx.forUpdate()).Scan(ctx, &gone)
		if err != nil {
			return fmt.Errorf("read repositories: %w", err)
		}
		err = eachChunk(gone, func(ids []int64) error {
			r, err := tx.write.NewRaw("UPDATE repositories SET gone = ?, images = 0 WHERE id IN (?)", micros(now), bun.List(ids)).Exec(ctx)
			if err != nil {
				return wrote(r, err, "repositories")
			}
			return tx.markGone(ctx, number, ids, now)
		})
		if err != nil {
			return err
		}
		images, err = tx.presentImages(ctx, []int64{number})
		return err
	})
	return images, err
}

// SkippedOf returns what was skipped in the repositories of a registry that
// are there, summed up by kind and reason, the most first.
func (db *DB) SkippedOf(ctx context.Context, registryID string) ([]tidewaiter.Skipped, error) {
	var texts []string
	err := db.read.NewRaw(`SELECT skipped FROM repositories
		WHERE registry_number = (SELECT number FROM registries WHERE id = ?) AND gone = 0 AND skipped <> '[]' ORDER BY name`,
		registryID).Scan(ctx, &texts)
	if err != nil {
		return nil, notFound(err, "repositories")
	}
	var sums []tidewaiter.Skipped
	type key struct{ kind, reason string }
	at := make(map[key]int)
	for _, text := range texts {
		list, err := decodeSkipped(text)
		if err != nil {
			return nil, err
		}
		for _, s := range list {
			k := key{s.Kind, s.Reason}
			if i, ok := at[k]; ok {
				sums[i].Count += s.Count
				continue
			}
			at[k] = len(sums)
			sums = append(sums, s)
		}
	}
	slices.SortStableFunc(sums, func(a, b tidewaiter.Skipped) int { return b.Count - a.Count })
	return sums, nil
}
