// Package feed tells what came and went in images, and why: to those who ask for
// it, from a place on, and to webhooks, signed.
package feed

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/store"
)

// kept is how long it is known what came and went.
const kept = 30 * 24 * time.Hour

// Sealer keeps the secrets of webhooks.
type Sealer interface {
	Seal(purpose string, secret []byte) []byte
	Open(purpose string, sealed []byte) ([]byte, error)
}

// Options are what a service needs.
type Options struct {
	Store  *store.DB
	Sealer Sealer
	Logger *slog.Logger     // nil for silence
	Now    func() time.Time // nil for the clock
	// Transport tells webhooks; nil for one that does not dial link-local
	// addresses, where clouds keep credentials.
	Transport http.RoundTripper
}

// Service is the feed.
type Service struct {
	store  *store.DB
	sealer Sealer
	log    *slog.Logger
	now    func() time.Time
	client *http.Client
	cache  store.ChangeCache
}

// New returns a service.
func New(o Options) *Service {
	s := &Service{store: o.Store, sealer: o.Sealer, log: o.Logger, now: o.Now, client: newClient(o.Transport)}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.now == nil {
		s.now = store.Now
	}
	return s
}

// Event is what happened to one image of one platform, on the wire.
type Event struct {
	ID            string   `json:"id" doc:"Its place in the feed: give it as after, to read on."`
	Time          string   `json:"time" doc:"RFC 3339."`
	Cause         string   `json:"cause" enum:"advisories,content,exceptions" doc:"advisories: others came into force. content: the image was scanned. exceptions: somebody has handled vulnerabilities, or no longer does."`
	AdvisorySet   string   `json:"advisory_set,omitempty" doc:"Of advisories: the digest of the set."`
	Image         Image    `json:"image"`
	Added         []Change `json:"added" nullable:"false"`
	Removed       []Change `json:"removed" nullable:"false"`
	Changed       []Change `json:"changed" nullable:"false" doc:"They were there before, in another way."`
	Unhandled     int      `json:"unhandled" doc:"How many of added and changed nobody has handled."`
	WorstSeverity string   `json:"worst_severity,omitempty" enum:"none,low,medium,high,critical,unknown" doc:"Of these."`
}

// Image is the image of an event.
type Image struct {
	ImageID   string `json:"image_id"`
	Namespace string `json:"namespace" doc:"Of one of the tags that stand for it, as those below."`
	Name      string `json:"name"`
	Tag       string `json:"tag"`
}

// Change is what became of one vulnerability in one version of a package.
type Change struct {
	Vulnerability string `json:"vulnerability"`
	Type          string `json:"type" enum:"linux_vul,app_vul"`
	Package       string `json:"package"`
	Version       string `json:"version"`
	State
	Before    *State `json:"before,omitempty" doc:"Of changed."`
	HandledBy string `json:"handled_by,omitempty" doc:"Why it counts as handled now: ignore, manual_repair, whitelist or vex."`
}

// State is what an advisory says of it; of what was removed, what it said.
type State struct {
	Severity     string `json:"severity" enum:"none,low,medium,high,critical,unknown"`
	FixedVersion string `json:"fixed_version,omitempty"`
	Status       string `json:"status,omitempty"`
	Advisory     string `json:"advisory,omitempty"`
}

func wireState(s *store.FindingState) State {
	return State{levelName(s.Severity), s.Fixed, string(s.Status), s.Advisory}
}

func levelName(r tidewaiter.SeverityRank) string {
	if r == tidewaiter.RankUnknown {
		return "unknown"
	}
	return string(r.Level())
}

func wireEvent(e store.FindingEvent) Event {
	w := Event{
		ID: cursorText(e.EventCursor), Time: e.Created.UTC().Format(time.RFC3339), Cause: string(e.Cause), AdvisorySet: string(e.Set),
		Image: Image{e.Image.ImageID, e.Image.Namespace, e.Image.Name, e.Image.Tag}, Added: []Change{}, Removed: []Change{}, Changed: []Change{},
	}
	worst := tidewaiter.SeverityRank(-1)
	for _, c := range e.Changes {
		x := Change{Vulnerability: c.Name, Type: string(c.Kind), Package: c.Package.Name, Version: c.Package.Version}
		if c.Handled != nil {
			x.HandledBy = string(c.Handled.Action)
		}
		if c.After == nil {
			x.State = wireState(c.Before)
			w.Removed = append(w.Removed, x)
			continue
		}
		x.State = wireState(c.After)
		if c.Before == nil {
			w.Added = append(w.Added, x)
		} else {
			before := wireState(c.Before)
			x.Before = &before
			w.Changed = append(w.Changed, x)
		}
		if c.Handled == nil {
			w.Unhandled++
			worst = max(worst, c.After.Severity)
		}
	}
	if worst >= 0 {
		w.WorstSeverity = levelName(worst)
	}
	return w
}

func cursorText(c store.EventCursor) string { return fmt.Sprintf("%d.%d", c.ChangeID, c.ManifestID) }

// parseCursor reads the id of an event; "" is before all.
func parseCursor(text string) (c store.EventCursor, err error) {
	if text == "" {
		return c, nil
	}
	change, manifest, _ := strings.Cut(text, ".")
	c.ChangeID, err = strconv.ParseInt(change, 10, 64)
	if err == nil {
		c.ManifestID, err = strconv.ParseInt(manifest, 10, 64)
	}
	if err != nil || c.ChangeID < 0 || c.ManifestID < 0 {
		return c, tidewaiter.InvalidField("after", "it is no id of an event; take that of the last event that you have seen")
	}
	return c, nil
}

// Events returns up to limit of what happened in an extent after an event, ""
// for all that is known, in order.
func (s *Service) Events(ctx context.Context, e tidewaiter.Extent, after string, limit int) ([]Event, error) {
	cursor, err := parseCursor(after)
	if err != nil {
		return nil, err
	}
	found, err := s.store.FindingEvents(ctx, e, cursor, limit, &s.cache)
	return wireEvents(found), err
}

// OfImages returns up to limit of what happened to images of one platform, the
// last first.
func (s *Service) OfImages(ctx context.Context, manifests []int64, limit int) ([]Event, error) {
	found, err := s.store.ImageEvents(ctx, manifests, limit, nil)
	return wireEvents(found), err
}

func wireEvents(found []store.FindingEvent) []Event {
	list := make([]Event, 0, len(found))
	for _, e := range found {
		list = append(list, wireEvent(e))
	}
	return list
}

// Sweep removes what is older than 30 days.
func (s *Service) Sweep(ctx context.Context) error {
	return s.store.ForgetChanges(ctx, s.now().Add(-kept))
}
