package console

import (
	"fmt"
	"slices"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/adminapi"
)

// historyDays is how many days the chart of risks has.
const historyDays = 30

// The size of the chart, in the units of its picture.
const (
	chartHeight = 100
	columnWidth = 20
	columnGap   = 4
)

// historyDay is a column of the chart of risks.
type historyDay struct {
	Day   string
	Count adminapi.RiskImages
	Parts []chartPart
}

// chartPart is one level's part of a column.
type chartPart struct {
	Level               string
	X, Y, Width, Height int
}

// historyOf makes the columns of the last days, today's as it is now. A day of
// which nothing is known has none.
func historyOf(days []adminapi.RiskDay, now adminapi.RiskDay) []historyDay {
	days = append(slices.DeleteFunc(slices.Clone(days), func(d adminapi.RiskDay) bool { return d.Day >= now.Day }), now)
	today, err := time.Parse(time.DateOnly, now.Day)
	if err != nil {
		return nil
	}
	most := 1
	total := func(i adminapi.RiskImages) int { return i.High + i.Medium + i.Low + i.Secure + i.Unknown }
	for _, d := range days {
		most = max(most, total(d.Images))
	}
	var columns []historyDay
	for _, d := range days {
		at, err := time.Parse(time.DateOnly, d.Day)
		place := historyDays - 1 - int(today.Sub(at).Hours()/24)
		if err != nil || place < 0 {
			continue
		}
		column := historyDay{Day: d.Day, Count: d.Images}
		below := 0
		for _, p := range []struct {
			level string
			n     int
		}{{"unscan", d.Images.Unknown}, {"security", d.Images.Secure}, {"low", d.Images.Low}, {"medium", d.Images.Medium}, {"high", d.Images.High}} {
			// From one edge to the other, so that rounding leaves no gap.
			bottom := below * chartHeight / most
			below += p.n
			if top := below * chartHeight / most; top > bottom {
				column.Parts = append(column.Parts, chartPart{Level: p.level, X: place * columnWidth, Y: chartHeight - top, Width: columnWidth - columnGap, Height: top - bottom})
			}
		}
		columns = append(columns, column)
	}
	return columns
}

// String is what is said of a column to who cannot see it.
func (d historyDay) String() string {
	c := d.Count
	return fmt.Sprintf("%s: High %d, Medium %d, Low %d, Security %d, ? %d", d.Day, c.High, c.Medium, c.Low, c.Secure, c.Unknown)
}
