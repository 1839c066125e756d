package main

import (
	"context"
	"log/slog"
	"time"
)

// purgeEvery is how often a server removes the tokens that expired long ago.
const purgeEvery = time.Hour

// purger is what removes them: an identity.Service.
type purger interface {
	PurgeTokens(context.Context) (int64, error)
}

// startPurging removes expired tokens now and then again at each interval, until
// the context ends or the returned function is called, which waits for the end.
func startPurging(ctx context.Context, tokens purger, interval time.Duration, log *slog.Logger) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(interval)
		defer ticker.Stop()
		for {
			if _, err := tokens.PurgeTokens(ctx); err != nil && ctx.Err() == nil {
				log.WarnContext(ctx, "expired tokens were not removed", "error", err)
			}
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
		}
	}()
	return func() { cancel(); <-done }
}
