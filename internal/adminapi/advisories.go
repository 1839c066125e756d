package adminapi

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/gateway"
	"github.com/tidewaiter/tidewaiter/internal/snapshots"
	"github.com/tidewaiter/tidewaiter/internal/store"
)

// importLimit is how long an import may take. It goes on when the client does
// not wait for it.
const importLimit = time.Hour

// Advisories are what the operations on advisories need: the sets there are, and
// where the server fetches them by itself.
type Advisories struct {
	Sets *snapshots.Service
	// URLs are those of the exports that images need, and those that were imported.
	URLs func(context.Context) ([]string, error)
}

func (s *server) registerAdvisories() {
	register := func(name, method, path, verb, summary string) gateway.Operation {
		op := operation(name, method, "/advisories"+path, "advisories", verb, summary)
		op.Group, op.Status = "advisories", http.StatusOK
		return op
	}
	gateway.Register(s.api, register("ShowAdvisories", http.MethodGet, "", "get", "Tell which advisories are in force, and where they come from"), s.showAdvisories)
	gateway.Register(s.api, register("ImportAdvisories", http.MethodPost, "/import", "update", "Read advisories from URLs, and bring them into force"), s.importAdvisories)
	gateway.Register(s.api, register("UpdateAdvisories", http.MethodPost, "/update", "update", "Fetch what is new of all sources"), s.updateAdvisories)
	gateway.Register(s.api, register("RollbackAdvisories", http.MethodPost, "/rollback", "update", "Bring an earlier set back into force"), s.rollbackAdvisories)
	gateway.Register(s.api, register("ForgetAdvisories", http.MethodPost, "/forget", "update", "Give up a source"), s.forgetAdvisories)
}

// AdvisorySet is a set of advisories.
type AdvisorySet struct {
	Digest     tidewaiter.Digest `json:"digest"`
	InForce    bool              `json:"in_force"`
	Advisories int               `json:"advisories"`
	Newest     time.Time         `json:"newest" doc:"When the newest of them was changed."`
	Created    time.Time         `json:"created"`
	Bytes      int64             `json:"bytes"`
}

// AdvisorySetOf returns the wire form of a set.
func AdvisorySetOf(set store.AdvisorySet, inForce bool) AdvisorySet {
	return AdvisorySet{set.Digest, inForce, set.Advisories, set.Newest, set.Created, set.Size}
}

// ImportedSource says what an import read of a source.
type ImportedSource struct {
	Location  string   `json:"location"`
	Read      int      `json:"read" doc:"Advisories."`
	Refused   int      `json:"refused" doc:"Advisories that could not be used."`
	Refusals  []string `json:"refusals,omitempty" doc:"Why, of the first of them."`
	Unchanged bool     `json:"unchanged" doc:"The source has nothing new."`
}

// FailedSource says why a source could not be read.
type FailedSource struct {
	Location string `json:"location"`
	Error    string `json:"error"`
}

// ImportResult is what an import came to.
type ImportResult struct {
	Set       *AdvisorySet     `json:"set" doc:"What is in force; null if there is none yet."`
	Unchanged bool             `json:"unchanged" doc:"It was in force already."`
	Sources   []ImportedSource `json:"sources"`
	Failed    []FailedSource   `json:"failed,omitempty" doc:"What these said before is still in force."`
}

// ImportResultOf returns the wire form of a result.
func ImportResultOf(r snapshots.Result) ImportResult {
	out := ImportResult{Unchanged: r.Unchanged}
	if r.Set.Number != 0 {
		set := AdvisorySetOf(r.Set, true)
		out.Set = &set
	}
	for _, s := range r.Sources {
		i := ImportedSource{Location: s.Location, Read: s.Read, Refused: s.Refused, Unchanged: s.Unchanged}
		for _, refusal := range s.Refusals {
			i.Refusals = append(i.Refusals, fmt.Sprintf("%s: %v", refusal.Name, refusal.Err))
		}
		out.Sources = append(out.Sources, i)
	}
	for _, f := range r.Failed {
		out.Failed = append(out.Failed, FailedSource{f.Location, f.Err.Error()})
	}
	return out
}

// AdvisorySource is a source that was imported.
type AdvisorySource struct {
	Location   string    `json:"location"`
	Advisories int       `json:"advisories"`
	Refused    int       `json:"refused"`
	Newest     time.Time `json:"newest"`
	Imported   time.Time `json:"imported"`
}

// AdvisoryStatus is which advisories are in force.
type AdvisoryStatus struct {
	Digest     tidewaiter.Digest `json:"digest" doc:"Empty for none."`
	Activated  time.Time         `json:"activated"`
	Advisories int               `json:"advisories"`
	Ecosystems map[string]int    `json:"ecosystems" doc:"Names of packages in each."`
	Sets       []AdvisorySet     `json:"sets"`
	Sources    []AdvisorySource  `json:"sources"`
}

// AdvisoryStatusOf returns the wire form of a status.
func AdvisoryStatusOf(st snapshots.Status) AdvisoryStatus {
	out := AdvisoryStatus{Digest: st.State.Digest, Activated: st.State.Activated, Advisories: st.Meta.Advisories, Ecosystems: st.Meta.Ecosystems}
	for _, set := range st.Sets {
		out.Sets = append(out.Sets, AdvisorySetOf(set, set.Number == st.State.SetNumber))
	}
	for _, src := range st.Sources {
		out.Sources = append(out.Sources, AdvisorySource{src.Location, src.Advisories, src.Refused, src.Newest, src.Imported})
	}
	return out
}

// mayChange says whether the caller may change what counts for the whole server:
// only those of its first account may, whatever their policies in another.
func (s *server) mayChange(ctx context.Context) error {
	first, err := s.identity.Operator(ctx, "")
	if err != nil {
		return err
	}
	if gateway.CallerFrom(ctx).DomainID != first.DomainID {
		return tidewaiter.Errorf(tidewaiter.Forbidden, "advisories are those of the whole server: only users of its first account may see and change them")
	}
	return nil
}

func (s *server) showAdvisories(ctx context.Context, _ *struct{}) (*output[AdvisoryStatus], error) {
	if err := s.mayChange(ctx); err != nil {
		return nil, err
	}
	st, err := s.advisories.Sets.Status(ctx)
	if err != nil {
		return nil, err
	}
	out := AdvisoryStatusOf(st)
	for i, src := range out.Sources {
		out.Sources[i].Location = snapshots.Listed(src.Location)
	}
	return one(out), nil
}

// change runs an import, which goes on without the client: a connection that ends
// is no reason to begin again.
func (s *server) change(ctx context.Context, do func(context.Context) (snapshots.Result, error)) (*output[ImportResult], error) {
	if err := s.mayChange(ctx); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), importLimit)
	defer cancel()
	r, err := do(ctx)
	if err != nil {
		return nil, err
	}
	return one(ImportResultOf(r)), nil
}

func (s *server) importAdvisories(ctx context.Context, in *struct {
	Body struct {
		URLs []string `json:"urls" minItems:"1" maxItems:"100" doc:"http or https: zip files and JSON files in OSV format, the catalogue of CISA, EPSS. The server fetches them. Files are imported on its own machine, by the command line."`
	}
}) (*output[ImportResult], error) {
	return s.change(ctx, func(ctx context.Context) (snapshots.Result, error) {
		return s.advisories.Sets.ImportURLs(ctx, in.Body.URLs, s.findings)
	})
}

func (s *server) updateAdvisories(ctx context.Context, _ *struct{}) (*output[ImportResult], error) {
	return s.change(ctx, func(ctx context.Context) (snapshots.Result, error) {
		locations, err := s.advisories.URLs(ctx)
		if err != nil {
			return snapshots.Result{}, err
		}
		return s.advisories.Sets.Update(ctx, locations, s.findings)
	})
}

func (s *server) rollbackAdvisories(ctx context.Context, in *struct {
	Body struct {
		Digest tidewaiter.Digest `json:"digest,omitempty" maxLength:"128" doc:"Of the set; without it the one before."`
	}
}) (*output[AdvisorySet], error) {
	if err := s.mayChange(ctx); err != nil {
		return nil, err
	}
	set, err := s.advisories.Sets.Rollback(context.WithoutCancel(ctx), in.Body.Digest, s.findings)
	if err != nil {
		return nil, err
	}
	return one(AdvisorySetOf(set, true)), nil
}

func (s *server) forgetAdvisories(ctx context.Context, in *struct {
	Body struct {
		Location string `json:"location" minLength:"1" maxLength:"4096" doc:"Of the source, as it was imported."`
	}
}) (*output[ImportResult], error) {
	return s.change(ctx, func(ctx context.Context) (snapshots.Result, error) {
		return s.advisories.Sets.Forget(ctx, in.Body.Location, s.findings)
	})
}
