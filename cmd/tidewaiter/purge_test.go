package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// purges is a purger that fails, and tells of each call.
type purges chan struct{}

func (p purges) PurgeTokens(ctx context.Context) (int64, error) {
	select {
	case p <- struct{}{}:
	case <-ctx.Done():
	}
	return 0, errors.New("disk full")
}

func TestPurging(t *testing.T) {
	var log bytes.Buffer
	calls := make(purges)
	stop := startPurging(t.Context(), calls, time.Millisecond, slog.New(slog.NewTextHandler(&log, nil)))
	for range 3 { // a failure does not end it
		<-calls
	}
	stop()
	if got := log.String(); strings.Count(got, "\n") < 2 || !strings.Contains(got, `level=WARN msg="expired tokens were not removed" error="disk full"`) {
		t.Errorf("the log has %q", got)
	}
	select {
	case <-calls:
		t.Error("it goes on after its end")
	default:
	}
}

func TestPurgingEndsWithTheServer(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	calls := make(purges)
	stop := startPurging(ctx, calls, time.Hour, slog.New(slog.DiscardHandler))
	<-calls // at once, not after an hour
	cancel()
	stop()
}
