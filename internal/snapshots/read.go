package snapshots

import (
	"context"
	"time"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/advisory/osv"
	"github.com/tidewaiter/tidewaiter/internal/advisory/threat"
)

// visitor takes what a source says.
type visitor struct {
	advisory func(tidewaiter.Advisory) error
	threat   func(cve string, t tidewaiter.Threat) error
}

// clockSkew is how far in the future a change may seem to be.
const clockSkew = 24 * time.Hour

// readSource reads a file of advisories, or of what is known of the use of
// vulnerabilities. It returns when the newest of it was changed: a change in the
// future does not count, as all that comes later would be refused as older.
func readSource(ctx context.Context, path string, future time.Time, v visitor) (report osv.Report, newest time.Time, err error) {
	other, err := threat.Is(path)
	if err != nil {
		return report, newest, err
	}
	if other {
		found, err := threat.Read(ctx, path, v.threat)
		report.Read, report.Refused = found.Read, found.Refused
		for _, refused := range found.Refusals {
			report.Refusals = append(report.Refusals, osv.Refusal{Name: "entry", Err: refused})
		}
		if !found.Issued.After(future) {
			newest = found.Issued
		}
		return report, newest, err
	}
	report, err = osv.Read(ctx, path, osv.Limits{}, func(a tidewaiter.Advisory) error {
		if a.Modified.After(newest) && !a.Modified.After(future) {
			newest = a.Modified
		}
		return v.advisory(a)
	})
	return report, newest, err
}
