package store

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"github.com/uptrace/bun"

	"github.com/tidewaiter/tidewaiter"
)

// Page says which part of a list is wanted. A Limit of 0 is an empty page: of
// a list that gives the number of all, that alone.
type Page struct{ Offset, Limit int }

// chunkSize is how many values one query holds at most: enough to make the
// cost of a query small beside that of its rows, and the query short.
const chunkSize = 500

// snapshot runs f in a transaction that reads only, and sees the database as
// it is at one moment.
func (db *DB) snapshot(ctx context.Context, f func(tx *DB) error) error {
	if len(db.pools) == 0 {
		return f(db)
	}
	o := &sql.TxOptions{ReadOnly: true}
	if !db.sqlite {
		o.Isolation = sql.LevelRepeatableRead
	}
	return db.read.RunInTx(ctx, o, func(_ context.Context, tx bun.Tx) error {
		return f(&DB{read: tx, write: tx, sqlite: db.sqlite})
	})
}

// forUpdate returns what makes a SELECT lock its rows until the transaction
// ends, against all who want to do the same. It does not keep others from
// adding rows that refer to them. SQLite has one writer at a time as it is.
func (db *DB) forUpdate() bun.Safe {
	if db.sqlite {
		return ""
	}
	return " FOR NO KEY UPDATE"
}

// like appends to a query that a column fits a pattern, in which * stands for
// any run of characters, or is the text itself if it has none. Both compare by
// bytes.
func (db *DB) like(q *bun.SelectQuery, column, pattern string) *bun.SelectQuery {
	if pattern == "" {
		return q
	}
	operator, text := db.pattern(pattern)
	return q.Where("? ? ?", bun.Safe(column), bun.Safe(operator), text)
}

// pattern returns the operator and the text for it that a pattern stands for.
func (db *DB) pattern(pattern string) (operator, text string) {
	switch {
	case !strings.Contains(pattern, "*"):
		return "=", pattern
	case db.sqlite: // its LIKE does not tell A from a
		return "GLOB", strings.NewReplacer("[", "[[]", "?", "[?]").Replace(pattern)
	}
	return "LIKE", strings.NewReplacer(`\`, `\\`, "%", `\%`, "_", `\_`, "*", "%").Replace(pattern)
}

// contains appends to a query that a column has a text in it, whatever the case
// of the letters a to z. The column is of the collation "C".
func (db *DB) contains(q *bun.SelectQuery, column, text string) *bun.SelectQuery {
	if text == "" {
		return q
	}
	condition, args := db.containing(column, text)
	return q.Where(condition, args...)
}

// containing is the condition of [DB.contains]. No text in the database has a
// NUL, or is a match for one that is longer than a name.
func (db *DB) containing(column, text string) (condition string, args []any) {
	if len(text) > maxName || strings.IndexByte(text, 0) >= 0 {
		return "FALSE", nil
	}
	operator := "ILIKE"
	if db.sqlite {
		operator = "LIKE" // it does not tell A from a
	}
	return `? ? ? ESCAPE '\'`, []any{bun.Safe(column), bun.Safe(operator), anywhere(text)}
}

// containsFolded is [DB.contains] for a column of folded texts, which is twice as
// fast on PostgreSQL.
func (db *DB) containsFolded(q *bun.SelectQuery, column, text string) *bun.SelectQuery {
	if len(text) > maxName || strings.IndexByte(text, 0) >= 0 {
		return q.Where("FALSE")
	}
	return q.Where(`? LIKE ? ESCAPE '\'`, bun.Safe(column), anywhere(folded(text)))
}

// anywhere returns a pattern for a text with anything around it.
func anywhere(text string) string {
	return "%" + strings.NewReplacer(`\`, `\\`, "%", `\%`, "_", `\_`).Replace(text) + "%"
}

// folded returns a text with a to z for A to Z.
func folded(text string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, text)
}

// Contains tells whether a text has another in it, as lists that are searched
// for a part of a name understand it: whatever the case of the letters a to z.
func Contains(text, part string) bool { return strings.Contains(folded(text), folded(part)) }

// pairs returns numbers as the rows of a VALUES clause.
func pairs(list [][2]int64) bun.Safe {
	var b []byte
	for i, p := range list {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = fmt.Appendf(b, "(%d, %d)", p[0], p[1])
	}
	return bun.Safe(b)
}

// A pager goes through a list, stretch by stretch, and tells which part of each
// a page shows.
type pager struct {
	Page
	passed int // rows of the stretches so far
}

// next goes on by a stretch of n rows.
func (p *pager) next(n int) (part Page, shown bool) {
	from, to := max(p.Offset-p.passed, 0), min(p.Offset+p.Limit-p.passed, n)
	p.passed += n
	return Page{Offset: from, Limit: to - from}, from < to
}

// in appends to a query that a column is one of some values, nil for any.
func in[T any](q *bun.SelectQuery, column string, values []T) *bun.SelectQuery {
	if values == nil {
		return q
	}
	return q.Where("? IN (?)", bun.Safe(column), bun.List(values))
}

// extent appends to a query that a row is in an extent.
func extent(q *bun.SelectQuery, e tidewaiter.Extent) *bun.SelectQuery {
	q = q.Where("project_id = ?", e.ProjectID)
	if e.All {
		return q
	}
	return q.Where("enterprise_project_id IN (?)", bun.List(e.EnterpriseProjects))
}

// eachChunk calls f with parts of a list, in its order.
func eachChunk[T any](list []T, f func([]T) error) error {
	for chunk := range slices.Chunk(list, chunkSize) {
		if err := f(chunk); err != nil {
			return err
		}
	}
	return nil
}

// paged reads a page of the rows that a query gives into rows, a pointer to a
// slice, and returns how many rows it gives in all.
func paged(ctx context.Context, q *bun.SelectQuery, p Page, what string, order ...string) (int, error) {
	n, err := q.Count(ctx)
	if err != nil {
		return 0, fmt.Errorf("count %s: %w", what, err)
	}
	if int(n) <= p.Offset || p.Limit <= 0 {
		return int(n), nil
	}
	return int(n), notFound(q.Order(order...).Limit(int64(p.Limit)).Offset(int64(p.Offset)).Scan(ctx), what)
}

// wrote reports the failure of a write that may meet no row.
func wrote(_ sql.Result, err error, what string) error {
	if err != nil {
		return fmt.Errorf("write %s: %w", what, err)
	}
	return nil
}

// affected is [wrote] with the number of rows.
func affected(r sql.Result, err error, what string) (int64, error) {
	if err != nil {
		return 0, fmt.Errorf("write %s: %w", what, err)
	}
	return r.RowsAffected()
}

// swapped turns the result of a compare-and-set of one row that met none into
// an error: NotFound if the row is not there, else Conflict with a message.
func (db *DB) swapped(ctx context.Context, r sql.Result, err error, table, what, id, message string) error {
	if err != nil {
		return conflict(err, what)
	}
	n, err := r.RowsAffected()
	if err != nil {
		return fmt.Errorf("change %s: %w", what, err)
	}
	if n > 0 {
		return nil
	}
	var there string
	if err := db.write.NewRaw("SELECT id FROM ? WHERE id = ?", bun.Ident(table), id).Scan(ctx, &there); err != nil {
		return notFound(err, what)
	}
	return tidewaiter.Errorf(tidewaiter.Conflict, "%s", message)
}
