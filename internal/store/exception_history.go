package store

import (
	"context"
	"time"

	"github.com/uptrace/bun"

	"github.com/tidewaiter/tidewaiter"
)

// HandledEntry is what somebody did about a vulnerability.
type HandledEntry struct {
	ProjectID           string
	EnterpriseProjectID string
	VulnerabilityName
	ImageID    string // "" for all images
	ManifestID int64
	Namespace  string
	Image      string
	Tag        string
	Digest     string
	Action     string // of the contract: ignore, not_ignore, manual_repair, add_to_whitelist
	Remark     string
	Author     string
	Created    time.Time
}

type exceptionHistoryRow struct {
	bun.BaseModel `bun:"exception_history,alias:exception_history"`

	ID                  int64 `bun:",pk,autoincrement"`
	ProjectID           string
	EnterpriseProjectID string
	Vulnerability       string
	Kind                tidewaiter.VulnerabilityKind
	ImageID             string
	ManifestID          int64
	Namespace           string
	Image               string
	Tag                 string
	Digest              string
	PackageName         string
	PackageVersion      string
	PackagePath         string
	Action              string
	Remark              string
	Author              string
	Created             int64
}

func (r exceptionHistoryRow) noun() HandledEntry {
	return HandledEntry{
		ProjectID: r.ProjectID, EnterpriseProjectID: r.EnterpriseProjectID, VulnerabilityName: VulnerabilityName{r.Vulnerability, r.Kind},
		ImageID: r.ImageID, ManifestID: r.ManifestID, Namespace: r.Namespace, Image: r.Image, Tag: r.Tag, Digest: r.Digest,
		Action: r.Action, Remark: r.Remark, Author: r.Author, Created: fromMicros(r.Created),
	}
}

// PutHandled notes what somebody did.
func (db *DB) PutHandled(ctx context.Context, list []HandledEntry) error {
	rows := nouns(list, func(h HandledEntry) exceptionHistoryRow {
		return exceptionHistoryRow{
			ProjectID: h.ProjectID, EnterpriseProjectID: h.EnterpriseProjectID, Vulnerability: h.Name, Kind: h.Kind, ImageID: h.ImageID, ManifestID: h.ManifestID,
			Namespace: h.Namespace, Image: h.Image, Tag: h.Tag, Digest: h.Digest, Action: h.Action, Remark: h.Remark, Author: h.Author, Created: micros(h.Created),
		}
	})
	return eachChunk(rows, func(chunk []exceptionHistoryRow) error {
		r, err := db.write.NewInsert().Model(&chunk).Returning("NULL").Exec(ctx)
		return wrote(r, err, "history")
	})
}

// HandledFilter tells what of the history is asked for; what is zero is any.
type HandledFilter struct {
	Vulnerability          string   // exactly
	ImageID, Image, Author string   // the first exactly, the others a part
	Action, Remark         string   // likewise
	Actions                []string // nil for all
}

// Handled returns a page of what people did about vulnerabilities in an extent,
// the last first, and how much there is.
func (db *DB) Handled(ctx context.Context, e tidewaiter.Extent, f HandledFilter, p Page) ([]HandledEntry, int, error) {
	var rows []exceptionHistoryRow
	q := inExceptions(db.read.NewSelect().Model(&rows), e)
	for _, c := range []struct{ column, value string }{{"vulnerability", f.Vulnerability}, {"image_id", f.ImageID}, {"action", f.Action}} {
		if c.value != "" {
			q = q.Where("? = ?", bun.Ident(c.column), c.value)
		}
	}
	for _, c := range []struct{ column, value string }{{"image", f.Image}, {"author", f.Author}, {"remark", f.Remark}} {
		q = db.contains(q, c.column, c.value)
	}
	q = in(q, "action", f.Actions)
	total, err := paged(ctx, q, p, "history", "id DESC")
	return nouns(rows, exceptionHistoryRow.noun), total, err
}
