package extract

import (
	"time"

	"github.com/tidewaiter/tidewaiter"
)

// LimitsOf returns the limits that a cluster has for the layers of its images.
func LimitsOf(l tidewaiter.ScanLimits) Limits {
	return Limits{
		LayerBytes: l.LayerBytes, Ratio: l.Ratio, Entries: l.Entries, HeldFile: l.HeldFile, SpoolBytes: l.SpoolBytes,
		NestedDepth: l.NestedDepth, NestedBytes: l.NestedBytes,
		ZstdWindow: uint64(max(l.ZstdWindow, 0)), Time: time.Duration(l.LayerSeconds) * time.Second,
	}
}
