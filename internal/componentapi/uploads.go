package componentapi

import (
	"context"
	"sync"

	"github.com/tidewaiter/tidewaiter"
)

// uploadsAtOnce bounds how many bodies of facts of one cluster are in memory.
const uploadsAtOnce = 4

// uploads has the bodies of facts of each cluster wait for one another. Those of
// others do not wait for a cluster that sends slowly.
type uploads struct {
	mu sync.Mutex
	of map[string]chan struct{} // by cluster: one for each body
}

// begin waits for the turn of a body. end gives it up.
func (u *uploads) begin(ctx context.Context, clusterID string) (end func(), err error) {
	u.mu.Lock()
	if u.of == nil {
		u.of = make(map[string]chan struct{})
	}
	turns := u.of[clusterID]
	if turns == nil {
		turns = make(chan struct{}, uploadsAtOnce)
		u.of[clusterID] = turns
	}
	u.mu.Unlock()
	select {
	case turns <- struct{}{}:
		return func() { <-turns }, nil
	case <-ctx.Done():
		return nil, tidewaiter.Errorf(tidewaiter.Unavailable, "too many facts come in at once; send them again")
	}
}
