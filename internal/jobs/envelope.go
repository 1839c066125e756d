package jobs

import (
	"bytes"
	"encoding/json"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"github.com/tidewaiter/tidewaiter"
)

// envelope is a job as River has it. To River all of ours are of one kind:
// it discards what is of a kind that it does not know, and in the middle of an
// upgrade that could be a job that a newer server has enqueued.
type envelope struct {
	Name    string          `json:"name" river:"unique"`
	Key     string          `json:"key" river:"unique"`
	Timeout time.Duration   `json:"timeout"` // every server is to know it, even one that does not know the kind
	Args    json.RawMessage `json:"args"`
}

// Kind implements [river.JobArgs].
func (envelope) Kind() string { return "tidewaiter" }

// InsertOpts implements [river.JobArgsWithInsertOpts]: one job of a name and key,
// until it is done.
func (e envelope) InsertOpts() river.InsertOpts {
	return river.InsertOpts{UniqueOpts: river.UniqueOpts{ByArgs: true, ByState: []rivertype.JobState{
		rivertype.JobStateAvailable, rivertype.JobStatePending, rivertype.JobStateRetryable,
		rivertype.JobStateRunning, rivertype.JobStateScheduled,
	}}}
}

func (e envelope) check() error {
	switch {
	case len(e.Key) > maxKey:
		return tidewaiter.InvalidField("key", "a job's key may have %d bytes; use an id", maxKey)
	case len(e.Args) > maxArgs:
		return tidewaiter.InvalidField("args", "a job's arguments may have %d bytes; keep what it is about in the store", maxArgs)
	case bytes.ContainsRune([]byte(e.Key), 0), bytes.Contains(e.Args, []byte(`\u0000`)):
		return tidewaiter.InvalidField("args", "a job's key and arguments may not hold the character NUL, which PostgreSQL does not store")
	}
	return nil
}

func (e envelope) id() jobKey { return jobKey{e.Name, e.Key} }
