package worker_test

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/protocol"
	"github.com/tidewaiter/tidewaiter/internal/registry"
	"github.com/tidewaiter/tidewaiter/internal/seal"
	"github.com/tidewaiter/tidewaiter/internal/worker"
)

// logged is what workers of one test have logged.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// options are those of a worker that reaches the server without a network.
func (s *server) options(folder string) worker.Options {
	return worker.Options{
		Folder: folder, Server: "http://localhost", HTTP: &http.Client{Transport: direct{s}},
		Token:   func(context.Context) (string, error) { return "token-1", nil },
		Connect: func(*registry.Client) (registry.Connector, error) { return idle{}, nil },
		Name:    "test", Parallel: 1,
	}
}

// idle is a connector that lists nothing until its context ends.
type idle struct{}

func (idle) Ping(context.Context) error { return nil }
func (idle) Repositories(ctx context.Context) iter.Seq2[registry.Repository, error] {
	return func(yield func(registry.Repository, error) bool) {
		<-ctx.Done()
		yield(registry.Repository{}, ctx.Err())
	}
}
func (idle) Tags(context.Context, registry.Repository) iter.Seq2[registry.Tag, error] {
	return func(func(registry.Tag, error) bool) {}
}

func start(t testing.TB, o worker.Options) *worker.Worker {
	t.Helper()
	w, err := worker.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	return w
}

// run runs a worker until the test ends it, and returns how.
func run(t testing.TB, w *worker.Worker) (end func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	end = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() { _ = end() })
	return end
}

func someRegistry() protocol.Registry {
	return protocol.Registry{ID: "registry-1", Type: registry.Other, Protocol: "https", Address: "registry.example.com", Username: "scanner"}
}

// Whenever the component is killed while it enrols, the next run is the same component.
func TestEnrolOnce(t *testing.T) {
	s, dir := newServer(t), t.TempDir()
	cut := errors.New("cut")
	o := s.options(dir)
	// The answer to the enrolment is lost: the token is used, and nobody knows.
	o.HTTP = &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		if _, err := (direct{s}).RoundTrip(r); err != nil {
			return nil, err
		}
		return nil, cut
	})}
	w := start(t, o)
	if err := w.Start(t.Context()); !errors.Is(err, cut) {
		t.Fatalf("error %v", err)
	}
	if w.ComponentID() != "" {
		t.Errorf("component %q without an answer", w.ComponentID())
	}
	check(t, w.Close())

	w = start(t, s.options(dir))
	check(t, w.Start(t.Context()))
	id := w.ComponentID()
	check(t, w.Close())
	if id == "" || len(s.components) != 1 {
		t.Errorf("component %q of %d", id, len(s.components))
	}

	// A restart with the same environment asks for nothing and complains of nothing.
	o = s.options(dir)
	var text logged
	o.Logger = slog.New(slog.NewTextHandler(&text, nil))
	o.Token = func(context.Context) (string, error) { return "", errors.New("asked for the token") }
	o.Server = ""
	w = start(t, o)
	check(t, w.Start(t.Context()))
	if w.ComponentID() != id || s.asked(protocol.PathEnrol) != 2 || strings.Contains(text.String(), "level=WARN") {
		t.Errorf("component %q, %d enrolments, log %s", w.ComponentID(), s.asked(protocol.PathEnrol), &text)
	}
	hellos := s.components[id].hellos
	if last := hellos[len(hellos)-1]; !last.Started || last.Name != "test" || last.ClusterRecipient != s.recipient {
		t.Errorf("hello %+v", last)
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestEnrolRefused(t *testing.T) {
	for name, token := range map[string]func(context.Context) (string, error){
		"wrong":  func(context.Context) (string, error) { return "token-9", nil },
		"empty":  func(context.Context) (string, error) { return "", nil },
		"none":   nil,
		"broken": func(context.Context) (string, error) { return "", errors.New("no such file") },
	} {
		s := newServer(t)
		o := s.options(t.TempDir())
		o.Token = token
		err := start(t, o).Run(t.Context())
		if err == nil || strings.Contains(err.Error(), "token-9") || !strings.Contains(err.Error(), "enrol") {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

// A component that was removed says so and ends; with another token it comes
// back, as a new one.
func TestRemoved(t *testing.T) {
	s, dir := newServer(t), t.TempDir()
	w := start(t, s.options(dir))
	check(t, w.Start(t.Context()))
	id := w.ComponentID()
	before := stateOf(t, dir)
	delete(s.components, id)
	if err := w.Run(t.Context()); !errors.Is(err, worker.ErrRemoved) {
		t.Errorf("while it runs: %v", err)
	}
	check(t, w.Close())
	w = start(t, s.options(dir))
	if err := w.Run(t.Context()); !errors.Is(err, worker.ErrRemoved) {
		t.Errorf("at its start, with the old token: %v", err)
	}
	check(t, w.Close())

	s.tokens["token-2"] = ""
	o := s.options(dir)
	o.Token = func(context.Context) (string, error) { return "token-2", nil }
	w = start(t, o)
	s.removeKey() // since the server forgot all about it
	check(t, w.Start(t.Context()))
	if w.ComponentID() == id || w.ComponentID() == "" {
		t.Errorf("component %q after %q", w.ComponentID(), id)
	}
	after := stateOf(t, dir)
	for _, key := range []string{"signing_key", "identity", "cluster_key"} {
		if before[key] == after[key] || after[key] == "" {
			t.Errorf("%s is the one of the component that was removed", key)
		}
	}
}

func TestVersion(t *testing.T) {
	s := newServer(t)
	s.setFault(func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, protocol.PathHello) {
			refuse(w, http.StatusUpgradeRequired, protocol.ErrVersion)
		}
		return strings.HasSuffix(r.URL.Path, protocol.PathHello)
	})
	if err := start(t, s.options(t.TempDir())).Run(t.Context()); !errors.Is(err, worker.ErrVersion) {
		t.Errorf("error %v", err)
	}
}

// The clock of the component's machine is a day off: the server's counts.
func TestClock(t *testing.T) {
	for _, off := range []time.Duration{24 * time.Hour, -24 * time.Hour} {
		s := newServer(t)
		o := s.options(t.TempDir())
		o.Now = func() time.Time { return time.Now().Add(off) }
		w := start(t, o)
		check(t, w.Start(t.Context()))
		check(t, w.Start(t.Context()))
		if n := s.asked(protocol.PathHello); n != 3 {
			t.Errorf("%v: %d hellos, want 3: only the first is refused", off, n)
		}
	}
}

// Several components of one cluster come to hold the same key.
func TestSharedKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		s.tokens["token-2"] = ""
		first := start(t, s.options(t.TempDir()))
		check(t, first.Start(t.Context()))
		run(t, first)

		dir := t.TempDir()
		o := s.options(dir)
		o.Token = func(context.Context) (string, error) { return "token-2", nil }
		second := start(t, o)
		check(t, second.Start(t.Context()))
		endSecond := run(t, second)
		newcomer := s.components[second.ComponentID()]

		// What is no key, or another, is not taken, and the server hears of it.
		other, err := seal.NewKey()
		check(t, err)
		wrong, err := seal.SealKey(newcomer.recipient, other)
		check(t, err)
		for _, useless := range [][]byte{[]byte("nonsense"), wrong} {
			s.mu.Lock()
			newcomer.sealed = useless
			s.mu.Unlock()
			time.Sleep(time.Minute)
			s.mu.Lock()
			refused := newcomer.hellos[len(newcomer.hellos)-1]
			for _, h := range newcomer.hellos {
				if h.KeyRefused {
					refused = h
				}
			}
			if !refused.KeyRefused || newcomer.sealed != nil || newcomer.holds == s.recipient {
				t.Errorf("refused %v, sealed %d", refused.KeyRefused, len(newcomer.sealed))
			}
			s.mu.Unlock()
		}

		s.add(protocol.Work{ID: "share", Kind: tidewaiter.ShareKeyWork, ShareKey: &protocol.ShareKey{ComponentID: second.ComponentID(), Recipient: newcomer.recipient}})
		f := <-s.finished
		if f.Outcome != protocol.OutcomeDone {
			t.Fatalf("result %+v", f.Failure)
		}
		s.mu.Lock()
		newcomer.sealed = f.SealedClusterKey
		s.mu.Unlock()
		time.Sleep(10 * time.Second)
		s.mu.Lock()
		if newcomer.holds != s.recipient {
			t.Error("the newcomer does not hold the key")
		}
		s.mu.Unlock()

		// It keeps the key.
		check(t, endSecond())
		check(t, second.Close())
		second = start(t, o)
		check(t, second.Start(t.Context()))
		if last := newcomer.hellos[len(newcomer.hellos)-1]; last.ClusterRecipient != s.recipient {
			t.Error("the key is forgotten after a restart")
		}
	})
}

// After the key was changed, one that the component has made since is in force.
func TestRotatedKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, dir := newServer(t), t.TempDir()
		w := start(t, s.options(dir))
		run(t, w)
		synctest.Wait()
		old := s.recipient
		s.removeKey()
		time.Sleep(10 * time.Second)
		s.mu.Lock()
		fresh := s.recipient
		s.mu.Unlock()
		if fresh == "" || fresh == old {
			t.Fatalf("key %q after %q", fresh, old)
		}
		key, err := seal.ParseKey(stateOf(t, dir)["cluster_key"])
		check(t, err)
		if key.Recipient() != fresh {
			t.Error("the key in force is not the one in the state folder")
		}
	})
}

// Heartbeats say how far the work is and keep the lease; "stop" ends the work.
func TestHeartbeatAndStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		w := start(t, s.options(t.TempDir()))
		end := run(t, w)
		s.sync("sync-1", someRegistry())
		time.Sleep(100 * time.Second)
		s.mu.Lock()
		if n := len(s.work[0].heartbeats); n != 6 {
			t.Errorf("%d heartbeats in 100 seconds, want 6", n)
		}
		s.work[0].stop = true
		s.mu.Unlock()
		if f := <-s.finished; f.work != "sync-1" || f.Outcome != protocol.OutcomeReleased {
			t.Errorf("after stop: result %+v", f)
		}
		s.sync("sync-2", someRegistry())
		synctest.Wait()
		s.mu.Lock()
		if !s.work[1].leased {
			t.Error("after stop: the next work is not leased")
		}
		s.mu.Unlock()

		// The worker ends: the work is given back at once.
		before := time.Now()
		check(t, end())
		if f := <-s.finished; f.work != "sync-2" || f.Outcome != protocol.OutcomeReleased || time.Since(before) > time.Second {
			t.Errorf("result %+v after %v", f, time.Since(before))
		}
	})
}

// Whether the server says that the lease is lost, or is not heard of for as
// long as a lease holds: the work is dropped, and the worker goes on.
func TestLostLease(t *testing.T) {
	for name, lose := range map[string]func(s *server){
		"fenced": func(s *server) {
			s.mu.Lock()
			s.work[0].Attempt++ // another has it
			s.mu.Unlock()
			time.Sleep(20 * time.Second)
		},
		"cut off": func(s *server) {
			s.setFault(func(w http.ResponseWriter, _ *http.Request) bool {
				refuse(w, http.StatusBadGateway, "")
				return true
			})
			time.Sleep(time.Hour)
			s.setFault(nil)
			time.Sleep(time.Minute)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServer(t)
				o := s.options(t.TempDir())
				var dropped atomic.Int64
				o.Connect = func(*registry.Client) (registry.Connector, error) {
					return watched{ended: func(after time.Duration) { dropped.CompareAndSwap(0, int64(after)) }}, nil
				}
				w := start(t, o)
				end := run(t, w)
				s.sync("sync-1", someRegistry())
				synctest.Wait()
				lose(s)
				if d := time.Duration(dropped.Load()); d == 0 || d > 61*time.Second {
					t.Errorf("the work went on for %v", d)
				}
				s.sync("sync-2", someRegistry())
				synctest.Wait()
				s.mu.Lock()
				if !s.work[1].leased {
					t.Error("the worker takes no more work")
				}
				s.mu.Unlock()
				check(t, end())
			})
		})
	}
}

// watched is idle, and says for how long it was asked to be.
type watched struct {
	idle
	ended func(time.Duration)
}

func (c watched) Repositories(ctx context.Context) iter.Seq2[registry.Repository, error] {
	return func(yield func(registry.Repository, error) bool) {
		started := time.Now()
		<-ctx.Done()
		c.ended(time.Since(started))
		yield(registry.Repository{}, ctx.Err())
	}
}

// A result is delivered however long the server takes to come back, as long as
// the lease holds, and once.
func TestResultIsDelivered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		o := s.options(t.TempDir())
		o.Connect = func(*registry.Client) (registry.Connector, error) { return empty{}, nil }
		started := time.Now()
		s.setFault(func(w http.ResponseWriter, r *http.Request) bool {
			bad := strings.HasSuffix(r.URL.Path, protocol.PathFinish) && time.Since(started) < 3*time.Minute
			if bad {
				refuse(w, http.StatusServiceUnavailable, "")
			}
			return bad
		})
		run(t, start(t, o))
		s.sync("sync-1", someRegistry())
		if f := <-s.finished; f.Outcome != protocol.OutcomeDone {
			t.Errorf("result %+v", f)
		}
	})
}

// empty is a registry with nothing in it.
type empty struct{ idle }

func (empty) Repositories(context.Context) iter.Seq2[registry.Repository, error] {
	return func(func(registry.Repository, error) bool) {}
}

// A connector that panics fails its work, and neither the worker nor the server
// that may run in the same process.
func TestPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		o := s.options(t.TempDir())
		o.Connect = func(*registry.Client) (registry.Connector, error) { return poison{}, nil }
		run(t, start(t, o))
		for _, id := range []string{"sync-1", "sync-2"} {
			s.sync(id, someRegistry())
			if f := <-s.finished; f.Outcome != protocol.OutcomeFailed || f.Failure.Code != tidewaiter.FailServer || strings.Contains(f.Failure.Message, "poison") {
				t.Errorf("result %+v", f)
			}
		}
	})
}

type poison struct{ idle }

func (poison) Repositories(context.Context) iter.Seq2[registry.Repository, error] {
	return func(yield func(registry.Repository, error) bool) {
		yield(registry.Repository{Name: "a"}, nil)
	}
}

func (poison) Tags(context.Context, registry.Repository) iter.Seq2[registry.Tag, error] {
	panic("poison")
}

// A server, or a proxy before it, that answers at once is not asked in a tight loop.
func TestImpatientServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		s.setFault(func(w http.ResponseWriter, r *http.Request) bool {
			lease := strings.HasSuffix(r.URL.Path, protocol.PathLease)
			if lease {
				w.WriteHeader(http.StatusNoContent)
			}
			return lease
		})
		run(t, start(t, s.options(t.TempDir())))
		time.Sleep(time.Minute)
		if n := s.asked(protocol.PathLease); n < 40 || n > 130 {
			t.Errorf("%d requests in a minute", n)
		}
	})
}
