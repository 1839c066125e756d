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

// readSource reads a file of advisories, or of what is known of the use of
// vulnerabilities. It returns when the newest of it was changed.
func readSource(ctx context.Context, path string, v visitor) (report osv.Report, newest time.Time, err error) {
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
		return report, found.Issued, err
	}
	report, err = osv.Read(ctx, path, osv.Limits{}, func(a tidewaiter.Advisory) error {
		if a.Modified.After(newest) {
			newest = a.Modified
		}
		return v.advisory(a)
	})
	return report, newest, err
}
