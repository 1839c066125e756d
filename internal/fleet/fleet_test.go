package fleet_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/fleet"
	"github.com/tidewaiter/tidewaiter/internal/protocol"
	"github.com/tidewaiter/tidewaiter/internal/seal"
	"github.com/tidewaiter/tidewaiter/internal/store"
	"github.com/tidewaiter/tidewaiter/internal/store/storetest"
)

// clock is a time that tests move.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// A world is a database with a server, and a cluster in it.
type world struct {
	*testing.T
	db      *store.DB
	clock   *clock
	fleet   *fleet.Service
	cluster tidewaiter.Cluster
}

// each runs a test on both databases.
func each(t *testing.T, f func(w *world)) {
	t.Helper()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		w := &world{T: t, db: db, clock: newClock()}
		w.fleet = w.replica(time.Hour) // who waits has to be woken
		var err error
		if w.cluster, err = w.fleet.CreateCluster(t.Context(), "", "harbour"); err != nil {
			t.Fatal(err)
		}
		f(w)
	})
}

// replica returns another server on the same database.
func (w *world) replica(poll time.Duration) *fleet.Service {
	s := fleet.New(fleet.Options{Store: w.db, Logger: slog.New(slog.DiscardHandler), Now: w.clock.Now, Poll: poll})
	w.Cleanup(s.Close)
	return s
}

func (w *world) ok(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// refused wants an error of a kind and with a code.
func (w *world) refused(err error, kind tidewaiter.Kind, code string) {
	w.Helper()
	if err == nil || tidewaiter.KindOf(err) != kind || protocol.CodeOf(err) != code {
		w.Errorf("got %v (%v, %q), want %v with the code %q", err, tidewaiter.KindOf(err), protocol.CodeOf(err), kind, code)
	}
}

// A component is the other side, as far as the fleet sees it.
type component struct {
	w           *world
	id          string
	own         *seal.Key // sealed to it alone
	key         *seal.Key // the cluster's, that it holds or offers
	enrolment   protocol.EnrolRequest
	description protocol.Description
}

func newKey(t testing.TB) *seal.Key {
	t.Helper()
	k, err := seal.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// newcomer is a component that has not enrolled.
func (w *world) newcomer(name string) *component {
	w.Helper()
	public, _, err := ed25519.GenerateKey(rand.Reader)
	w.ok(err)
	c := &component{
		w: w, own: newKey(w), key: newKey(w),
		description: protocol.Description{Name: name, Version: "1.0", Platform: "linux/amd64"},
	}
	c.enrolment = protocol.EnrolRequest{
		Versions: protocol.Ours(), Description: c.description, SigningKey: public, Recipient: c.own.Recipient(),
	}
	return c
}

func (w *world) token() string {
	w.Helper()
	token, err := w.fleet.NewToken(w.Context(), w.cluster.ID, 0)
	w.ok(err)
	return token.Text
}

// enrolled is a component that has said hello.
func (w *world) enrolled(name string) *component {
	w.Helper()
	c := w.newcomer(name)
	c.enrolment.Token = w.token()
	out, err := w.fleet.Enrol(w.Context(), c.enrolment)
	w.ok(err)
	c.id = out.ComponentID
	c.hello(nil)
	return c
}

// request is the hello that the component would send.
func (c *component) request() protocol.HelloRequest {
	return protocol.HelloRequest{Versions: protocol.Ours(), Description: c.description, ClusterRecipient: c.key.Recipient()}
}

// hello says hello, maybe differently.
func (c *component) hello(change func(*protocol.HelloRequest)) protocol.HelloResponse {
	c.w.Helper()
	req := c.request()
	if change != nil {
		change(&req)
	}
	row, err := c.w.fleet.Component(c.w.Context(), c.id)
	c.w.ok(err)
	out, err := c.w.fleet.Hello(c.w.Context(), row, req)
	c.w.ok(err)
	return out
}

// ask asks for work without waiting.
func (c *component) ask(kinds ...tidewaiter.WorkKind) (*tidewaiter.Work, error) {
	return c.askOf(c.w.fleet, 0, kinds...)
}

func (c *component) askOf(s *fleet.Service, wait int, kinds ...tidewaiter.WorkKind) (*tidewaiter.Work, error) {
	if kinds == nil {
		kinds = []tidewaiter.WorkKind{tidewaiter.SyncWork, tidewaiter.AccessCheckWork, tidewaiter.ShareKeyWork}
	}
	req := protocol.LeaseRequest{Kinds: kinds, WaitSeconds: wait, ClusterRecipient: c.key.Recipient()}
	return s.Lease(c.w.Context(), tidewaiter.Component{ID: c.id, ClusterID: c.w.cluster.ID}, req)
}

// gets wants a piece of work.
func (c *component) gets(kinds ...tidewaiter.WorkKind) (*tidewaiter.Work, tidewaiter.Lease) {
	c.w.Helper()
	w, err := c.ask(kinds...)
	c.w.ok(err)
	if w == nil {
		c.w.Fatalf("%s gets no work", c.description.Name)
	}
	return w, c.lease(w)
}

// getsNone wants no work.
func (c *component) getsNone() {
	c.w.Helper()
	if w, err := c.ask(); w != nil || err != nil {
		c.w.Errorf("%s gets %+v, %v; want no work", c.description.Name, w, err)
	}
}

func (c *component) lease(w *tidewaiter.Work) tidewaiter.Lease {
	return tidewaiter.Lease{WorkID: w.ID, Owner: c.id, Attempt: w.Attempt}
}

// queue queues work.
func (w *world) queue(kind tidewaiter.WorkKind, subject string) string {
	w.Helper()
	now := w.clock.Now()
	id := store.NewID()
	w.ok(w.db.CreateWork(w.Context(), tidewaiter.Work{
		ID: id, ClusterID: w.cluster.ID, Kind: kind, Subject: subject, State: tidewaiter.WorkQueued, NotBefore: now, Created: now,
	}))
	return id
}

// registry adds a registry with a password sealed to a key.
func (w *world) registry(name string, sealedTo *seal.Key) tidewaiter.Registry {
	w.Helper()
	r := tidewaiter.Registry{
		ID: store.NewID(), ProjectID: "p", EnterpriseProjectID: "0", Name: name, Type: tidewaiter.RegistryOther,
		Protocol: "https", Address: "registry.example", Username: "u", ClusterID: w.cluster.ID, Channel: "Other",
		Revision: 1, Status: tidewaiter.RegistrySuccess, Created: w.clock.Now(), Updated: w.clock.Now(),
	}
	w.ok(w.db.CreateRegistry(w.Context(), r))
	if sealedTo != nil {
		w.ok(w.db.PutSecret(w.Context(), tidewaiter.SealedSecret{
			RegistryID: r.ID, Name: tidewaiter.SecretPassword, Recipient: sealedTo.Recipient(), Sealed: []byte("sealed"),
		}))
	}
	return r
}

// state returns how the cluster is.
func (w *world) state() fleet.State {
	w.Helper()
	s, err := w.fleet.Cluster(w.Context(), w.cluster.ID)
	w.ok(err)
	return s
}
