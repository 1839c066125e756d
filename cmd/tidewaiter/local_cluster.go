package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/client"
	extractors "github.com/tidewaiter/tidewaiter/internal/extract/all"
	"github.com/tidewaiter/tidewaiter/internal/fleet"
	"github.com/tidewaiter/tidewaiter/internal/registry/all"
	"github.com/tidewaiter/tidewaiter/internal/worker"
)

// localServer is how the component inside the server calls it. Nothing is
// dialled: see [client.InProcess].
const localServer = "http://localhost"

// localTokenLife is how long the token is good for with which the component
// inside the server enrols, at once.
const localTokenLife = time.Minute

// startParts starts what runs beside the requests: schedules, the server's own
// jobs, and the local cluster. The returned function stops it all, and ends the
// requests of components that wait for work.
func startParts(ctx context.Context, c *Config, s *state, handler http.Handler, log *slog.Logger) (stop func() error, err error) {
	stopLocal := func() error { return nil }
	if c.LocalCluster {
		if stopLocal, err = startLocalCluster(ctx, c, s.fleet, handler, log); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	var done sync.WaitGroup
	for _, run := range []func(context.Context) error{s.inventory.Run, s.scans.Run, s.jobs.Run} {
		done.Go(func() {
			if err := run(ctx); err != nil && ctx.Err() == nil {
				log.ErrorContext(ctx, "what runs beside the requests has stopped", "error", err)
			}
		})
	}
	return func() error {
		err := stopLocal()
		s.fleet.Close()
		cancel()
		done.Wait()
		return err
	}, nil
}

// startLocalCluster runs a scan component in this process, over the same
// protocol as any other and with keys of its own in DATA/component. When it
// returns, the component has enrolled. The returned function stops it and gives
// its work back; the handler must still answer then.
func startLocalCluster(ctx context.Context, c *Config, f *fleet.Service, handler http.Handler, log *slog.Logger) (stop func() error, err error) {
	if err := f.EnsureLocal(ctx); err != nil {
		return nil, fmt.Errorf("local cluster: %w", err)
	}
	w, err := worker.New(worker.Options{
		Folder: filepath.Join(c.Data, "component"),
		Server: localServer,
		Token: func(ctx context.Context) (string, error) {
			token, err := f.NewToken(ctx, tidewaiter.LocalClusterID, localTokenLife)
			return token.Text, err
		},
		HTTP:    &http.Client{Transport: client.InProcess(handler)},
		Connect: all.New, Extractors: extractors.Extractors(),
		Logger: log,
	})
	if err != nil {
		return nil, fmt.Errorf("local cluster: %w", err)
	}
	if err := w.Start(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("local cluster: %w", err), w.Close())
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := w.Run(ctx); err != nil {
			log.ErrorContext(ctx, "the local cluster has stopped", "error", err)
		}
	}()
	return func() error {
		cancel()
		<-done
		return w.Close()
	}, nil
}
