package store

import "time"

// optionalMicros is [micros] for times that may be zero, which is stored as 0.
func optionalMicros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// optionalTime is [fromMicros] for times that may be zero.
func optionalTime(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return fromMicros(n)
}
