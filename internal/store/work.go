package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/uptrace/bun"

	"github.com/tidewaiter/tidewaiter"
)

type workRow struct {
	bun.BaseModel `bun:"work"`

	ID        string
	ClusterID string
	Kind      tidewaiter.WorkKind
	Subject   string
	State     tidewaiter.WorkState
	Attempt   int
	Failures  int
	Lost      int
	Owner     string
	Deadline  int64
	NotBefore int64
	Priority  tidewaiter.ScanPriority
	Stop      bool
	Progress  string // JSON, a progressDocument
	Created   int64
	Finished  int64
	Failure   string
}

type progressDocument struct {
	Repositories     int `json:"repositories"`
	RepositoriesDone int `json:"repositories_done"`
	Images           int `json:"images"`
	Skipped          int `json:"skipped"`
	Requests         int `json:"requests"`
}

func (r workRow) noun() (tidewaiter.Work, error) {
	p, err := decodeProgress(r.Progress)
	if err != nil {
		return tidewaiter.Work{}, fmt.Errorf("read work %q: %w", r.ID, err)
	}
	return tidewaiter.Work{
		ID: r.ID, ClusterID: r.ClusterID, Kind: r.Kind, Subject: r.Subject, State: r.State,
		Attempt: r.Attempt, Failures: r.Failures, Lost: r.Lost, Owner: r.Owner,
		Deadline: optionalTime(r.Deadline), NotBefore: optionalTime(r.NotBefore), Stop: r.Stop,
		Priority: r.Priority, Progress: p,
		Created: fromMicros(r.Created), Finished: optionalTime(r.Finished), Failure: r.Failure,
	}, nil
}

func decodeProgress(s string) (tidewaiter.WorkProgress, error) {
	var p progressDocument
	if err := json.Unmarshal([]byte(s), &p); err != nil {
		return tidewaiter.WorkProgress{}, fmt.Errorf("read progress: %w", err)
	}
	return tidewaiter.WorkProgress(p), nil
}

func encodeProgress(p tidewaiter.WorkProgress) (string, error) {
	b, err := json.Marshal(progressDocument(p))
	if err != nil {
		return "", fmt.Errorf("write progress: %w", err)
	}
	return string(b), nil
}

func workNouns(rows []workRow, err error) ([]tidewaiter.Work, error) {
	if err != nil {
		return nil, notFound(err, "work")
	}
	list := make([]tidewaiter.Work, len(rows))
	for i, row := range rows {
		if list[i], err = row.noun(); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// CreateWork adds work. Errors: NotFound if its cluster is not there.
func (db *DB) CreateWork(ctx context.Context, w tidewaiter.Work) error {
	row, err := newWorkRow(w)
	if err != nil {
		return err
	}
	_, err = db.write.NewInsert().Model(&row).Exec(ctx)
	return conflict(err, "work")
}

func newWorkRow(w tidewaiter.Work) (workRow, error) {
	progress, err := encodeProgress(w.Progress)
	return workRow{
		ID: w.ID, ClusterID: w.ClusterID, Kind: w.Kind, Subject: w.Subject, State: w.State,
		Attempt: w.Attempt, Failures: w.Failures, Lost: w.Lost, Owner: w.Owner,
		Deadline: optionalMicros(w.Deadline), NotBefore: optionalMicros(w.NotBefore), Priority: w.Priority,
		Stop: w.Stop, Progress: progress, Created: micros(w.Created), Finished: optionalMicros(w.Finished), Failure: w.Failure,
	}, err
}

// Work returns the work of an id.
func (db *DB) Work(ctx context.Context, id string) (tidewaiter.Work, error) {
	var row workRow
	if err := db.read.NewSelect().Model(&row).Where("id = ?", id).Scan(ctx); err != nil {
		return tidewaiter.Work{}, notFound(err, "work")
	}
	return row.noun()
}

// OpenWork returns the newest work of a kind about a subject that has neither
// ended nor is to stop, or NotFound.
func (db *DB) OpenWork(ctx context.Context, subject string, kind tidewaiter.WorkKind) (tidewaiter.Work, error) {
	var row workRow
	err := db.read.NewSelect().Model(&row).
		Where("subject = ? AND kind = ? AND NOT stop", subject, kind).Where("state IN (?, ?)", tidewaiter.WorkQueued, tidewaiter.WorkLeased).
		Order("created DESC", "id DESC").Limit(1).Scan(ctx)
	if err != nil {
		return tidewaiter.Work{}, notFound(err, "work")
	}
	return row.noun()
}

// StopWork ends all work about a subject: what is queued is stopped, what is
// leased is to stop. The latter is stopped for good when its lease is lost or
// runs out.
func (db *DB) StopWork(ctx context.Context, subject string, now time.Time) error {
	r, err := db.write.NewRaw(stopSQL+" AND subject = ?", micros(now), subject).Exec(ctx)
	return wrote(r, err, "work")
}

// PurgeWork removes the work that ended before a time, and returns how much
// it was.
func (db *DB) PurgeWork(ctx context.Context, before time.Time) (int64, error) {
	r, err := db.write.NewRaw("DELETE FROM work WHERE finished > 0 AND finished < ?", micros(before)).Exec(ctx)
	return affected(r, err, "work")
}

// WaitingWork returns work of a kind that nobody does though it could be done:
// that was created, and might have been leased, before a time; or whose lease
// ran out before it. Oldest first.
func (db *DB) WaitingWork(ctx context.Context, kind tidewaiter.WorkKind, before time.Time, limit int) ([]tidewaiter.Work, error) {
	var rows []workRow
	b := micros(before)
	err := db.read.NewSelect().Model(&rows).Where("kind = ? AND NOT stop", kind).
		Where("(state = 'queued' AND created < ? AND not_before < ?) OR (state = 'leased' AND deadline < ?)", b, b, b).
		Order("created", "id").Limit(int64(limit)).Scan(ctx)
	return workNouns(rows, err)
}

// ExhaustedWork returns work that will not be leased again and is not being
// done: it failed maxAttempts times, or is to stop and its lease has run out.
// Oldest first.
func (db *DB) ExhaustedWork(ctx context.Context, kinds []tidewaiter.WorkKind, now time.Time, maxAttempts, limit int) ([]tidewaiter.Work, error) {
	var rows []workRow
	err := in(db.read.NewSelect().Model(&rows), "kind", kinds).
		Where("(state = 'queued' AND failures > 0 AND failures >= ?) OR (state = 'leased' AND deadline < ? AND (failures + 1 >= ? OR stop))", maxAttempts, micros(now), maxAttempts).
		Order("created", "id").Limit(int64(limit)).Scan(ctx)
	return workNouns(rows, err)
}

// FailWork ends work without a lease, if its attempt is still the one given:
// as failed, or as stopped if it was to stop. Errors: Conflict if the attempt
// has moved on or the work has ended.
func (db *DB) FailWork(ctx context.Context, id string, attempt int, failure string, now time.Time) error {
	r, err := db.write.NewRaw(`UPDATE work SET state = CASE WHEN stop THEN 'stopped' ELSE 'failed' END, failure = ?, finished = ?
		WHERE id = ? AND attempt = ? AND state IN ('queued', 'leased')`, failure, micros(now), id, attempt).Exec(ctx)
	return db.swapped(ctx, r, err, "work", "work", id, "the work went on or ended meanwhile")
}

// errNoWork says that there is nothing to lease.
func errNoWork() error { return tidewaiter.Errorf(tidewaiter.NotFound, "there is no work") }

// errLost says that a lease does not hold.
func errLost() error { return tidewaiter.Errorf(tidewaiter.Conflict, "the lease is lost") }

// LeaseWork gives the next work of a cluster to a component: of the first of
// the kinds that has any, first that whose lease has run out, then the most
// urgent, then what is due for longest. Work that is to stop is not given out,
// nor what failed maxAttempts times: a lease that ran out counts as a failure.
// Of several who ask, each gets other work. Errors: NotFound if there is none.
func (db *DB) LeaseWork(ctx context.Context, clusterID string, kinds []tidewaiter.WorkKind, owner string, now, deadline time.Time, maxAttempts int) (tidewaiter.Work, error) {
	at := micros(now)
	// Each query walks along an index from its beginning: a queue may be long.
	expired := func(kind tidewaiter.WorkKind) func(bun.IDB) *bun.SelectQuery {
		return func(from bun.IDB) *bun.SelectQuery {
			return from.NewSelect().Table("work").Column("id").
				Where("state = 'leased' AND cluster_id = ? AND kind = ? AND deadline < ? AND NOT stop AND failures + 1 < ?", clusterID, kind, at, maxAttempts).
				Order("deadline", "id").Limit(1)
		}
	}
	queued := func(kind tidewaiter.WorkKind, p tidewaiter.ScanPriority) func(bun.IDB) *bun.SelectQuery {
		return func(from bun.IDB) *bun.SelectQuery {
			return from.NewSelect().Table("work").Column("id").
				Where("state = 'queued' AND cluster_id = ? AND kind = ? AND priority = ? AND not_before <= ? AND NOT stop AND failures < ?", clusterID, kind, p, at, maxAttempts).
				Order("not_before", "id").Limit(1)
		}
	}
	for _, kind := range kinds {
		queries := []func(bun.IDB) *bun.SelectQuery{expired(kind), queued(kind, 0)}
		if kind == tidewaiter.ScanWork {
			queries = queries[:1]
			for _, p := range tidewaiter.ScanPriorities() {
				queries = append(queries, queued(kind, p))
			}
		}
		for _, next := range queries {
			w, err := db.leaseNext(ctx, next, owner, deadline)
			if tidewaiter.KindOf(err) != tidewaiter.NotFound {
				return w, err
			}
		}
	}
	return tidewaiter.Work{}, errNoWork()
}

// leaseNext leases the work whose id a query gives.
func (db *DB) leaseNext(ctx context.Context, next func(bun.IDB) *bun.SelectQuery, owner string, deadline time.Time) (tidewaiter.Work, error) {
	// Most who ask get nothing: they do not wait for the writer of SQLite.
	var id string
	if err := next(db.read).Scan(ctx, &id); err != nil {
		return tidewaiter.Work{}, notFound(err, "work")
	}
	q := next(db.write)
	if !db.sqlite {
		q = q.For("UPDATE SKIP LOCKED")
	}
	var row workRow
	// With = and not IN, the query within is made once: else PostgreSQL may make
	// it for each row, and lock another one each time.
	err := db.write.NewRaw(`UPDATE work SET attempt = attempt + 1, owner = ?, deadline = ?,
		failures = failures + CASE state WHEN 'leased' THEN 1 ELSE 0 END,
		lost = lost + CASE state WHEN 'leased' THEN 1 ELSE 0 END, state = 'leased'
		WHERE id = (?) RETURNING *`, owner, micros(deadline), q).Scan(ctx, &row)
	if err != nil {
		return tidewaiter.Work{}, notFound(err, "work") // or others were faster
	}
	return row.noun()
}

// Holds returns the work of a lease, or Conflict if the lease was lost. In a
// transaction it stays held, or lost, until the transaction ends.
func (db *DB) Holds(ctx context.Context, l tidewaiter.Lease) (tidewaiter.Work, error) {
	var row workRow
	err := db.read.NewRaw("SELECT * FROM work WHERE id = ? AND state = 'leased' AND owner = ? AND attempt = ??",
		l.WorkID, l.Owner, l.Attempt, db.forUpdate()).Scan(ctx, &row)
	if errors.Is(err, sql.ErrNoRows) {
		return tidewaiter.Work{}, errLost()
	}
	if err != nil {
		return tidewaiter.Work{}, fmt.Errorf("read work: %w", err)
	}
	return row.noun()
}

// changeHeld changes the row of a lease that holds, and returns it.
func (db *DB) changeHeld(ctx context.Context, l tidewaiter.Lease, set string, args ...any) (tidewaiter.Work, error) {
	var row workRow
	err := db.write.NewRaw("UPDATE work SET "+set+" WHERE id = ? AND state = 'leased' AND owner = ? AND attempt = ? RETURNING *",
		slices.Concat(args, []any{l.WorkID, l.Owner, l.Attempt})...).Scan(ctx, &row)
	if errors.Is(err, sql.ErrNoRows) {
		return tidewaiter.Work{}, errLost()
	}
	if err != nil {
		return tidewaiter.Work{}, fmt.Errorf("write work: %w", err)
	}
	return row.noun()
}

// HeartbeatWork gives a lease a later deadline, and the work its progress.
// Errors: Conflict if the lease was lost.
func (db *DB) HeartbeatWork(ctx context.Context, l tidewaiter.Lease, deadline time.Time, p tidewaiter.WorkProgress) (tidewaiter.Work, error) {
	progress, err := encodeProgress(p)
	if err != nil {
		return tidewaiter.Work{}, err
	}
	return db.changeHeld(ctx, l, "deadline = ?, progress = ?", micros(deadline), progress)
}

// EndWork ends leased work. Errors: Conflict if the lease was lost.
func (db *DB) EndWork(ctx context.Context, l tidewaiter.Lease, state tidewaiter.WorkState, failure string, p tidewaiter.WorkProgress, now time.Time) error {
	progress, err := encodeProgress(p)
	if err != nil {
		return err
	}
	_, err = db.changeHeld(ctx, l, "state = ?, failure = ?, progress = ?, finished = ?", state, failure, progress, micros(now))
	return err
}

// released is what becomes of work whose lease ends before it does.
const released = "state = CASE WHEN stop THEN 'stopped' ELSE 'queued' END, finished = CASE WHEN stop THEN ? ELSE 0 END"

// ReleaseWork gives work back, not to be leased before a time. With counts it
// is a failure. Errors: Conflict if the lease was lost.
func (db *DB) ReleaseWork(ctx context.Context, l tidewaiter.Lease, notBefore time.Time, counts bool) error {
	failures := 0
	if counts {
		failures = 1
	}
	_, err := db.changeHeld(ctx, l, released+", not_before = ?, failures = failures + ?", micros(Now()), optionalMicros(notBefore), failures)
	return err
}

// ReleaseWorkOf ends all leases of a component, as failures, and returns how
// many they were. Scans come back after a while, the later the more often that
// happened: they go behind the others, and not all at once.
func (db *DB) ReleaseWorkOf(ctx context.Context, owner string, now time.Time) (int, error) {
	n := 0
	err := db.Tx(ctx, func(tx *DB) error {
		var rows []workRow
		err := tx.read.NewRaw("SELECT * FROM work WHERE owner = ? AND state = 'leased' ORDER BY id?", owner, tx.forUpdate()).Scan(ctx, &rows)
		if err != nil {
			return notFound(err, "work")
		}
		n = len(rows)
		for _, w := range rows {
			notBefore := w.NotBefore
			if w.Kind == tidewaiter.ScanWork {
				notBefore = micros(now.Add(apart(w.Lost)))
			}
			r, err := tx.write.NewRaw("UPDATE work SET "+released+", failures = failures + 1, lost = lost + 1, not_before = ? WHERE id = ?",
				micros(now), notBefore, w.ID).Exec(ctx)
			if err != nil {
				return wrote(r, err, "work")
			}
		}
		return nil
	})
	return n, err
}

// apart returns how long a scan waits whose component has died with it, after so
// many other times: about 2, 4, 8 … seconds, by chance more or less.
func apart(times int) time.Duration {
	d := 2 * time.Second << min(times, 6)
	return d/2 + rand.N(d) //nolint:gosec // chance, no secret
}

// HoldsSuspect tells whether a component holds the lease of a scan, but for one,
// that another component, or itself, may have died of.
func (db *DB) HoldsSuspect(ctx context.Context, but tidewaiter.Lease, now time.Time) (bool, error) {
	var n int
	err := db.write.NewRaw("SELECT COUNT(*) FROM work WHERE owner = ? AND state = 'leased' AND kind = ? AND lost > 0 AND deadline >= ? AND id <> ?",
		but.Owner, tidewaiter.ScanWork, micros(now), but.WorkID).Scan(ctx, &n)
	return n > 0, notFound(err, "work")
}

// CountLeased returns how much work of a kind is leased.
func (db *DB) CountLeased(ctx context.Context, kind tidewaiter.WorkKind) (int, error) {
	var n int
	err := db.read.NewRaw("SELECT COUNT(*) FROM work WHERE kind = ? AND state = 'leased'", kind).Scan(ctx, &n)
	return n, notFound(err, "work")
}
