package console

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/adminapi"
)

func TestHistory(t *testing.T) {
	now := adminapi.RiskDay{Day: "2026-03-10", Images: adminapi.RiskImages{High: 1, Unknown: 3}}
	days := []adminapi.RiskDay{
		{Day: "2026-01-01", Images: adminapi.RiskImages{High: 1}}, // too long ago
		{Day: "2026-02-09", Images: adminapi.RiskImages{Secure: 2}},
		{Day: "2026-03-08", Images: adminapi.RiskImages{High: 2, Medium: 1, Low: 1}},
		{Day: "2026-03-10", Images: adminapi.RiskImages{High: 9}}, // as of an hour ago
		{Day: "nonsense"},
	}
	var got []string
	for _, c := range historyOf(days, now) {
		line := c.Day
		for _, p := range c.Parts {
			line += fmt.Sprintf(" %s %d+%d at %d", p.Level, p.Y, p.Height, p.X)
		}
		got = append(got, line)
	}
	want := []string{"2026-02-09 security 50+50 at 0", "2026-03-08 low 75+25 at 540 medium 50+25 at 540 high 0+50 at 540", "2026-03-10 unscan 25+75 at 580 high 0+25 at 580"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if columns := historyOf(nil, adminapi.RiskDay{Day: "2026-03-10"}); len(columns) != 1 || columns[0].Parts != nil || !strings.HasPrefix(columns[0].String(), "2026-03-10: High 0") {
		t.Errorf("of nothing: %v", columns)
	}
	// Of a million images, one is not seen; a gap is not, either.
	columns := historyOf(nil, adminapi.RiskDay{Day: "2026-03-10", Images: adminapi.RiskImages{High: 1, Low: 333_333, Secure: 666_667}})
	height := 0
	for _, p := range columns[0].Parts {
		height += p.Height
	}
	if height != chartHeight {
		t.Errorf("the column is %d high: %v", height, columns[0].Parts)
	}
}
