package componentapi_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/componentapi"
	"github.com/tidewaiter/tidewaiter/internal/fleet"
	"github.com/tidewaiter/tidewaiter/internal/gateway"
	"github.com/tidewaiter/tidewaiter/internal/protocol"
	"github.com/tidewaiter/tidewaiter/internal/seal"
	"github.com/tidewaiter/tidewaiter/internal/store"
	"github.com/tidewaiter/tidewaiter/internal/store/storetest"
)

// memory is an Inventory of registries that are described by their id alone.
type memory struct {
	mu      sync.Mutex
	gone    map[string]bool
	err     error // of all that follows
	reports []protocol.RepositoryReport
	ends    []protocol.FinishRequest
	db      *store.DB
}

func (m *memory) Describe(_ context.Context, w tidewaiter.Work) (protocol.Registry, error) {
	if m.gone[w.Subject] {
		return protocol.Registry{}, tidewaiter.Errorf(tidewaiter.NotFound, "there is no such registry")
	}
	return protocol.Registry{ID: w.Subject, Secrets: map[string][]byte{}}, m.err
}

func (m *memory) Pending(_ context.Context, _ tidewaiter.Lease, names []string) ([]string, error) {
	return names[:0], m.err
}

func (m *memory) Unknown(_ context.Context, _ tidewaiter.Lease, digests []tidewaiter.Digest) ([]tidewaiter.Digest, error) {
	return digests, m.err
}

func (m *memory) Report(_ context.Context, _ tidewaiter.Lease, r protocol.RepositoryReport) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reports = append(m.reports, r)
	return m.err
}

func (m *memory) Finish(ctx context.Context, _ tidewaiter.Work, l tidewaiter.Lease, r protocol.FinishRequest) error {
	if m.err != nil {
		return m.err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ends = append(m.ends, r)
	return m.db.EndWork(ctx, l, tidewaiter.WorkDone, "", tidewaiter.WorkProgress(r.Progress), time.Now())
}

// A world is a server and a component that speaks to it.
type world struct {
	testing.TB
	db        *store.DB
	fleet     *fleet.Service
	inventory *memory
	server    *httptest.Server
	log       *lockedBuffer

	clusterID, id string
	signing       ed25519.PrivateKey
	own, key      *seal.Key
}

// lockedBuffer is a log that handlers write while the test reads it.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newWorld(t *testing.T) *world {
	w := &world{TB: t, db: storetest.Open(t, storetest.SQLite(t)), log: &lockedBuffer{}}
	log := slog.New(slog.NewTextHandler(w.log, nil))
	w.inventory = &memory{db: w.db, gone: make(map[string]bool)}
	w.fleet = fleet.New(fleet.Options{Store: w.db, Logger: log})
	g, err := gateway.New(gateway.Options{Logger: log})
	w.ok(err)
	api := g.NewAPI("test")
	h := componentapi.New(componentapi.Options{Fleet: w.fleet, Inventory: w.inventory})
	api.Handle(protocol.Prefix, h)
	api.Handle(protocol.Prefix+"/", h)
	w.server = httptest.NewServer(g.Wrap(api))
	t.Cleanup(w.server.Close)
	t.Cleanup(w.fleet.Close)

	cluster, err := w.fleet.CreateCluster(t.Context(), "", "harbour")
	w.ok(err)
	w.clusterID = cluster.ID
	_, w.signing, err = ed25519.GenerateKey(rand.Reader)
	w.ok(err)
	w.own, err = seal.NewKey()
	w.ok(err)
	w.key, err = seal.NewKey()
	w.ok(err)
	return w
}

func (w *world) ok(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) enrolment() protocol.EnrolRequest {
	w.Helper()
	token, err := w.fleet.NewToken(w.Context(), w.clusterID, 0)
	w.ok(err)
	return protocol.EnrolRequest{
		Versions: protocol.Ours(), Description: description(), Token: token.Text,
		SigningKey: w.signing.Public().(ed25519.PublicKey), Recipient: w.own.Recipient(),
	}
}

func description() protocol.Description {
	return protocol.Description{Name: "host", Version: "1.0", Platform: "linux/amd64"}
}

// enrolled is a component that has said hello.
func (w *world) enrolled() {
	w.Helper()
	var out protocol.EnrolResponse
	w.wants(w.send(w.request(protocol.PathEnrol, w.enrolment())), 200, "", &out)
	w.id = out.ComponentID
	w.wants(w.post(protocol.PathHello, w.hello()), 200, "", &protocol.HelloResponse{})
}

func (w *world) hello() protocol.HelloRequest {
	return protocol.HelloRequest{Versions: protocol.Ours(), Description: description(), ClusterRecipient: w.key.Recipient()}
}

func (w *world) asking() protocol.LeaseRequest {
	return protocol.LeaseRequest{
		Kinds:            []tidewaiter.WorkKind{tidewaiter.AccessCheckWork, tidewaiter.SyncWork, tidewaiter.ShareKeyWork},
		ClusterRecipient: w.key.Recipient(),
	}
}

// lease leases a new piece of work.
func (w *world) lease(kind tidewaiter.WorkKind, subject string) protocol.Work {
	w.Helper()
	w.queue(kind, subject)
	var work protocol.Work
	w.wants(w.post(protocol.PathLease, w.asking()), 200, "", &work)
	return work
}

func (w *world) queue(kind tidewaiter.WorkKind, subject string) {
	w.Helper()
	now := store.Now()
	w.ok(w.db.CreateWork(w.Context(), tidewaiter.Work{
		ID: store.NewID(), ClusterID: w.clusterID, Kind: kind, Subject: subject, State: tidewaiter.WorkQueued, NotBefore: now, Created: now,
	}))
}

// request makes a request without a signature.
func (w *world) request(path string, body any) *http.Request {
	w.Helper()
	b, ok := body.([]byte)
	if !ok {
		var err error
		b, err = json.Marshal(body)
		w.ok(err)
	}
	r, err := http.NewRequestWithContext(w.Context(), http.MethodPost, w.server.URL+protocol.Prefix+path, bytes.NewReader(b))
	w.ok(err)
	r.Header.Set("Content-Type", "application/json")
	return r
}

func (w *world) sign(r *http.Request) *http.Request {
	w.Helper()
	again, err := r.GetBody()
	w.ok(err)
	body, err := io.ReadAll(again)
	w.ok(err)
	protocol.Sign(r, body, w.id, w.signing, time.Now())
	return r
}

// post sends a signed request.
func (w *world) post(path string, body any) *reply {
	w.Helper()
	return w.send(w.sign(w.request(path, body)))
}

type reply struct {
	status int
	header http.Header
	body   []byte
}

func (w *world) send(r *http.Request) *reply {
	w.Helper()
	resp, err := w.server.Client().Do(r)
	w.ok(err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	w.ok(err)
	return &reply{resp.StatusCode, resp.Header, body}
}

// wants checks status and code of an answer, and reads its body.
func (w *world) wants(r *reply, status int, code string, into any) {
	w.Helper()
	if r.header.Get("Cache-Control") != "no-store" || r.header.Get("Date") == "" {
		w.Errorf("header %v", r.header)
	}
	if status >= 400 {
		var e struct {
			Code, Msg, Description, ID string
		}
		w.ok(json.Unmarshal(r.body, &struct {
			Code        *string `json:"error_code"`
			Msg         *string `json:"error_msg"`
			Description *string `json:"error_description"`
			ID          *string `json:"request_id"`
		}{&e.Code, &e.Msg, &e.Description, &e.ID}))
		if r.status != status || e.Code != code || e.Msg == "" || e.Description != e.Msg || e.ID != r.header.Get("X-Request-Id") {
			w.Errorf("got %d %s, want %d %s", r.status, r.body, status, code)
		}
		return
	}
	if r.status != status {
		w.Fatalf("got %d %s, want %d", r.status, r.body, status)
	}
	if status == http.StatusNoContent {
		if len(r.body) > 0 {
			w.Errorf("body %q", r.body)
		}
		return
	}
	if r.header.Get("Content-Type") != "application/json" {
		w.Errorf("header %v", r.header)
	}
	w.ok(json.Unmarshal(r.body, into))
}
