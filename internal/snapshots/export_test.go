package snapshots

import (
	"context"
	"time"
)

// SetPause has a service do something else than wait.
func (s *Service) SetPause(f func(context.Context, time.Duration) error) { s.pause = f }
