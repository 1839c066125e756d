package worker_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/protocol"
	"github.com/tidewaiter/tidewaiter/internal/seal"
)

// server speaks the component protocol for real, and keeps what it is told in
// memory. It is strict: whatever a server may count on, it checks.
type server struct {
	t        testing.TB
	verifier *protocol.Verifier
	now      func() time.Time
	finished chan finish // each result that was taken

	mu         sync.Mutex
	fault      func(w http.ResponseWriter, r *http.Request) bool // before all else; true has answered
	wake       chan struct{}                                     // closed when there is work
	tokens     map[string]string                                 // token: signing key that used it, or ""
	components map[string]*component
	recipient  string // of the cluster
	old        string // its former one
	work       []*task
	requests   []string

	manifests    map[tidewaiter.Digest]protocol.Manifest
	repositories map[string]*repository
	biggest      int                             // bytes of the biggest request
	taken        func(protocol.RepositoryReport) // if set, gets reports, and nothing of them is kept
}

type component struct {
	key       ed25519.PublicKey
	recipient string
	holds     string
	sealed    []byte
	hellos    []protocol.HelloRequest
}

type task struct {
	protocol.Work
	leased, ended, stop bool
	heartbeats          []protocol.Progress
}

type repository struct {
	tags     map[string]tidewaiter.Digest
	owner    string
	problem  string
	skipped  []protocol.Skipped
	complete string // work
}

type finish struct {
	work string
	protocol.FinishRequest
}

func newServer(t testing.TB) *server {
	return &server{
		t: t, verifier: protocol.NewVerifier(time.Now), now: time.Now,
		finished: make(chan finish, 100), wake: make(chan struct{}),
		tokens: map[string]string{"token-1": ""}, components: make(map[string]*component),
		manifests: make(map[tidewaiter.Digest]protocol.Manifest), repositories: make(map[string]*repository),
	}
}

// add queues work.
func (s *server) add(w protocol.Work) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.work = append(s.work, &task{Work: w})
	close(s.wake)
	s.wake = make(chan struct{})
}

func (s *server) sync(id string, r protocol.Registry) {
	s.add(protocol.Work{ID: id, Kind: tidewaiter.SyncWork, Sync: &protocol.Sync{Registry: r}})
}

// setFault puts a handler before all others.
func (s *server) setFault(f func(w http.ResponseWriter, r *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

// asked returns how often a path was asked for that ends so.
func (s *server) asked(suffix string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, r := range s.requests {
		if strings.HasSuffix(r, suffix) {
			n++
		}
	}
	return n
}

// tags returns all that was reported, repository:tag, in order.
func (s *server) tags() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []string
	for name, r := range s.repositories {
		for tag := range r.tags {
			list = append(list, name+":"+tag)
		}
	}
	slices.Sort(list)
	return list
}

// ServeHTTP answers a request.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	fault := s.fault
	s.requests = append(s.requests, r.URL.Path)
	s.mu.Unlock()
	if fault != nil && fault(w, r) {
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	w.Header().Set("Date", s.now().UTC().Format(http.TimeFormat))
	s.mu.Lock()
	s.biggest = max(s.biggest, len(body))
	s.mu.Unlock()
	path := strings.TrimPrefix(r.URL.Path, protocol.Prefix)
	if path == protocol.PathEnrol {
		s.enrol(w, body)
		return
	}
	var c *component
	signed, err := s.verifier.Verify(r, func(id string) (ed25519.PublicKey, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if c = s.components[id]; c == nil {
			return nil, protocol.Errorf(protocol.ErrUnknownComponent, tidewaiter.Unauthenticated, "no such component")
		}
		return c.key, nil
	})
	if err == nil {
		err = signed.CheckBody(body)
	}
	if err != nil {
		refuse(w, http.StatusUnauthorized, protocol.CodeOf(err))
		return
	}
	switch path {
	case protocol.PathHello:
		s.hello(w, c, body)
	case protocol.PathLease:
		s.lease(w, r, c, body)
	default:
		rest := strings.TrimPrefix(path, protocol.PathWork)
		id, action, _ := strings.Cut(rest, "/")
		s.about(w, id, "/"+action, body)
	}
}

func refuse(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"error_code":%q,"error_msg":"refused by the test"}`, code)
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

func read[T any](t testing.TB, body []byte) T {
	var v T
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		t.Errorf("body %.200s: %v", body, err)
	}
	return v
}

func (s *server) enrol(w http.ResponseWriter, body []byte) {
	q := read[protocol.EnrolRequest](s.t, body)
	s.mu.Lock()
	defer s.mu.Unlock()
	by, ok := s.tokens[q.Token]
	if !ok || by != "" && by != string(q.SigningKey) {
		refuse(w, http.StatusUnauthorized, "HSS.0001")
		return
	}
	s.tokens[q.Token] = string(q.SigningKey)
	id := fmt.Sprintf("component-%x", q.SigningKey[:4])
	if s.components[id] == nil {
		s.components[id] = &component{key: q.SigningKey, recipient: q.Recipient}
	}
	answer(w, protocol.EnrolResponse{ComponentID: id, ClusterID: "cluster-1", ClusterName: "edge"})
}

func (s *server) hello(w http.ResponseWriter, c *component, body []byte) {
	q := read[protocol.HelloRequest](s.t, body)
	s.mu.Lock()
	defer s.mu.Unlock()
	c.hellos = append(c.hellos, q)
	if s.recipient == "" && q.ClusterRecipient != s.old {
		s.recipient = q.ClusterRecipient
	}
	if c.holds = q.ClusterRecipient; q.KeyRefused {
		c.sealed = nil
	}
	res := protocol.HelloResponse{
		Protocol: 1, ClusterID: "cluster-1", ClusterName: "edge", ClusterRecipient: s.recipient,
		HeartbeatSeconds: 15, LeaseSeconds: 60, ServerVersion: "test",
	}
	if c.holds != s.recipient {
		res.SealedClusterKey = c.sealed
	}
	answer(w, res)
}

func (s *server) lease(w http.ResponseWriter, r *http.Request, c *component, body []byte) {
	q := read[protocol.LeaseRequest](s.t, body)
	if q.WaitSeconds != 30 {
		s.t.Errorf("waits for %d seconds", q.WaitSeconds)
	}
	ctx, cancel := context.WithTimeout(r.Context(), time.Duration(q.WaitSeconds)*time.Second)
	defer cancel()
	for {
		s.mu.Lock()
		if q.ClusterRecipient != s.recipient || c.holds != s.recipient {
			s.mu.Unlock()
			refuse(w, http.StatusConflict, protocol.ErrHelloRequired)
			return
		}
		for _, t := range s.work {
			if !t.leased && !t.ended && slices.Contains(q.Kinds, t.Kind) {
				t.leased = true
				t.Attempt++
				t.LeaseSeconds = 60
				work := t.Work
				s.mu.Unlock()
				answer(w, work)
				return
			}
		}
		wake := s.wake
		s.mu.Unlock()
		select {
		case <-wake:
		case <-ctx.Done():
			w.WriteHeader(http.StatusNoContent)
			return
		}
	}
}

// about answers what a component says about its work.
func (s *server) about(w http.ResponseWriter, id, action string, body []byte) {
	var fence struct{ Attempt int }
	if err := json.Unmarshal(body, &fence); err != nil {
		s.t.Errorf("body %.200s: %v", body, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.work, func(t *task) bool { return t.ID == id })
	if i < 0 || !s.work[i].leased || s.work[i].Attempt != fence.Attempt {
		refuse(w, http.StatusConflict, protocol.ErrLeaseLost)
		return
	}
	work := s.work[i]
	switch action {
	case protocol.PathHeartbeat:
		work.heartbeats = append(work.heartbeats, read[protocol.HeartbeatRequest](s.t, body).Progress)
		answer(w, protocol.HeartbeatResponse{Stop: work.stop})
	case protocol.PathPending:
		q := read[protocol.PendingRequest](s.t, body)
		s.limit(len(q.Repositories), protocol.MaxNames)
		answer(w, protocol.PendingResponse{Repositories: slices.DeleteFunc(q.Repositories, func(name string) bool {
			r := s.repositories[name]
			return r != nil && r.complete == id
		})})
	case protocol.PathUnknown:
		q := read[protocol.UnknownRequest](s.t, body)
		s.limit(len(q.Digests), protocol.MaxNames)
		answer(w, protocol.UnknownResponse{Digests: slices.DeleteFunc(q.Digests, func(d tidewaiter.Digest) bool {
			_, known := s.manifests[d]
			return known
		})})
	case protocol.PathRepository:
		s.report(id, read[protocol.RepositoryReport](s.t, body))
		w.WriteHeader(http.StatusNoContent)
	case protocol.PathFinish:
		q := read[protocol.FinishRequest](s.t, body)
		work.leased, work.ended = false, work.stop || q.Outcome != protocol.OutcomeReleased
		w.WriteHeader(http.StatusNoContent)
		s.finished <- finish{id, q}
	default:
		s.t.Errorf("asked for %s", action)
		refuse(w, http.StatusNotFound, "")
	}
}

func (s *server) limit(n, most int) {
	if n == 0 || n > most {
		s.t.Errorf("%d at once, want 1 to %d", n, most)
	}
}

// report takes what is in a repository.
func (s *server) report(work string, q protocol.RepositoryReport) {
	if len(q.Manifests) > protocol.MaxReport || len(q.Tags) > protocol.MaxReport {
		s.t.Errorf("a report has %d manifests and %d tags", len(q.Manifests), len(q.Tags))
	}
	if s.taken != nil {
		s.taken(q)
		return
	}
	r := s.repositories[q.Name]
	if r == nil {
		r = &repository{tags: make(map[string]tidewaiter.Digest)}
		s.repositories[q.Name] = r
	}
	if r.complete == work && (len(q.Tags) > 0 || len(q.Manifests) > 0) {
		s.t.Errorf("more about %s after its end", q.Name)
	}
	for _, m := range q.Manifests {
		for _, c := range m.Children {
			if _, ok := s.manifests[c]; !ok {
				s.t.Errorf("%s has a child that comes later or never", m.Digest)
			}
		}
		if m.Kind == "" || m.Digest == "" || m.Size < 0 {
			s.t.Errorf("manifest %+v", m)
		}
		s.manifests[m.Digest] = m
	}
	for _, t := range q.Tags {
		if _, ok := s.manifests[t.Digest]; !ok {
			s.t.Errorf("tag %s names a manifest that is not known", t.Name)
		}
		r.tags[t.Name] = t.Digest
	}
	r.owner, r.problem = q.Owner, q.Problem
	if q.Complete {
		r.complete, r.skipped = work, q.Skipped
	} else if len(q.Skipped) > 0 {
		s.t.Error("skipped tags before the last report")
	}
}

// removeKey forgets the cluster's key, for good.
func (s *server) removeKey() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.old, s.recipient = s.recipient, ""
	close(s.wake)
	s.wake = make(chan struct{})
}

// seal closes a secret to the cluster's key.
func (s *server) seal(r *protocol.Registry, name, secret string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	origin, err := seal.Origin(r.Protocol, r.Address)
	if err != nil {
		s.t.Fatal(err)
	}
	sealed, err := seal.Seal(s.recipient, seal.Binding{RegistryID: r.ID, Name: name, Origin: origin, Username: r.Username}, secret)
	if err != nil {
		s.t.Fatal(err)
	}
	if r.Secrets == nil {
		r.Secrets = make(map[string][]byte)
	}
	r.Secrets[name] = sealed
}

// direct carries requests to a handler without a network, so that a test may
// have a clock of its own.
type direct struct{ handler http.Handler }

func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	done := make(chan struct{})
	go func() {
		defer close(done)
		d.handler.ServeHTTP(w, r)
	}()
	select {
	case <-done:
		return w.Result(), nil
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
}
