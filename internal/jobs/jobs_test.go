package jobs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/store"
	"github.com/tidewaiter/tidewaiter/internal/store/storetest"
)

// quick is timing for tests.
func quick() timing {
	return timing{
		grace: 2 * time.Second, poll: 20 * time.Millisecond,
		firstRetry: 10 * time.Millisecond, lastRetry: 100 * time.Millisecond,
		attempts: 1000, unknown: 50 * time.Millisecond, stop: 200 * time.Millisecond,
	}
}

// server is a Runner that is stopped at the end of the test, and what it logs.
type server struct {
	*Runner
	t    *testing.T
	db   *store.DB
	log  lockedBuffer
	stop func() error // stops Run and waits for it
}

func newServer(t *testing.T, db *store.DB, tm timing, kinds ...Kind) *server {
	t.Helper()
	s := &server{t: t, db: db}
	var err error
	s.Runner, err = newRunner(t.Context(), Options{Store: db, Logger: slog.New(slog.NewTextHandler(&s.log, &slog.HandlerOptions{Level: slog.LevelDebug}))}, tm)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if s.stop != nil {
			if err := s.stop(); err != nil {
				t.Error(err)
			}
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, k := range kinds {
		if err := s.Register(k); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// run starts Run.
func (s *server) run() *server {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	s.stop = sync.OnceValue(func() error { cancel(); return <-ended })
	return s
}

func (s *server) enqueue(kind, key string, args any) {
	s.t.Helper()
	if err := s.Enqueue(s.t.Context(), s.db, kind, key, args); err != nil {
		s.t.Fatal(err)
	}
}

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

// next waits for a value.
func next[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(30 * time.Second):
		t.Fatal("nothing happened within 30 s")
		panic("unreachable")
	}
}

// quiet fails the test if there is a value within a moment.
func quiet[T any](t *testing.T, c <-chan T) {
	t.Helper()
	select {
	case v := <-c:
		t.Fatalf("got %v, want nothing", v)
	case <-time.After(300 * time.Millisecond):
	}
}

// send is a function of a kind that tells of each run, and does nothing else.
func send(c chan<- string) func(context.Context, json.RawMessage) error {
	return func(_ context.Context, args json.RawMessage) error { c <- string(args); return nil }
}

func TestEnqueueIsPartOfItsTransaction(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ran := make(chan string, 10)
		s := newServer(t, db, quick(), Kind{Name: "k", Run: send(ran)}).run()
		failure := errors.New("no")
		err := db.Tx(t.Context(), func(tx *store.DB) error {
			if err := s.Enqueue(t.Context(), tx, "k", "undone", "undone"); err != nil {
				t.Error(err)
			}
			return failure
		})
		if !errors.Is(err, failure) {
			t.Fatal(err)
		}
		err = db.Tx(t.Context(), func(tx *store.DB) error {
			if err := tx.PutSetting(t.Context(), "s", "v"); err != nil {
				return err
			}
			if err := s.Enqueue(t.Context(), tx, "k", "done", map[string]any{"id": "é'\"$1\\", "n": 9007199254740993}); err != nil {
				return err
			}
			quiet(t, ran)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		var got struct {
			ID string
			N  int64
		}
		if err := json.Unmarshal([]byte(next(t, ran)), &got); err != nil || got.ID != "é'\"$1\\" || got.N != 9007199254740993 {
			t.Errorf("got %+v, %v", got, err)
		}
		quiet(t, ran)
	})
}

func TestOneJobOfAKindAndKey(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ran := make(chan string, 100)
		s := newServer(t, db, quick(), Kind{Name: "k", Run: send(ran)}, Kind{Name: "l", Run: send(ran)})
		for range 5 {
			for _, kind := range []string{"k", "l"} {
				for _, key := range []string{"", "a", "b"} {
					s.enqueue(kind, key, kind+key)
				}
			}
		}
		s.run()
		got := make(map[string]int)
		for range 6 {
			got[next(t, ran)]++
		}
		quiet(t, ran)
		if len(got) != 6 {
			t.Errorf("got %v", got)
		}
		s.enqueue("k", "a", "anew") // it is done, and may come again
		if a := next(t, ran); a != `"anew"` {
			t.Errorf("got %s", a)
		}
	})
}

func TestEnqueuedWhileItRuns(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		began, goOn := make(chan string, 10), make(chan error)
		s := newServer(t, db, quick(), Kind{Name: "k", Run: func(_ context.Context, args json.RawMessage) error {
			began <- string(args)
			return <-goOn
		}}).run()
		s.enqueue("k", "a", 1)
		next(t, began)
		for range 3 {
			s.enqueue("k", "a", 1)
		}
		quiet(t, began) // not beside the first run
		goOn <- nil
		next(t, began) // once, for the three
		s.enqueue("k", "a", 1)
		goOn <- errors.New("a failure runs again anyway, and no more than that")
		next(t, began)
		goOn <- nil
		quiet(t, began)
	})
}

func TestFailuresAreTriedAgain(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ran := make(chan int, 10)
		n := 0
		s := newServer(t, db, quick(), Kind{Name: "k", Run: func(context.Context, json.RawMessage) error {
			n++
			ran <- n
			switch n {
			case 1:
				return errors.New("first failure")
			case 2:
				panic("second failure")
			case 3:
				return fmt.Errorf("long: %s", strings.Repeat("x", 100_000))
			}
			return nil
		}}).run()
		s.enqueue("k", "the-key", "planted-argument")
		for range 4 {
			next(t, ran)
		}
		quiet(t, ran)
		log := s.log.String()
		for _, want := range []string{"first failure", "second failure", "kind=k", "key=the-key", "attempt=2"} {
			if !strings.Contains(log, want) {
				t.Errorf("the log lacks %q", want)
			}
		}
		if strings.Contains(log, "planted-argument") {
			t.Errorf("the log has the arguments:\n%s", log)
		}
	})
}

func TestGivenUp(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		tm := quick()
		tm.attempts = 3
		ran := make(chan string, 10)
		s := newServer(t, db, tm, Kind{Name: "k", Run: func(context.Context, json.RawMessage) error {
			ran <- "ran"
			return errors.New("always")
		}}).run()
		s.enqueue("k", "a", nil)
		for range 3 {
			next(t, ran)
		}
		quiet(t, ran)
		if !strings.Contains(s.log.String(), "is given up") {
			t.Error("the log does not say so")
		}
		s.enqueue("k", "a", nil) // a new job has new attempts
		next(t, ran)
	})
}

func TestAgainIsNoFailure(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		tm := quick()
		tm.attempts = 1
		ran := make(chan int, 20)
		n := 0
		s := newServer(t, db, tm, Kind{Name: "k", Run: func(context.Context, json.RawMessage) error {
			n++
			ran <- n
			if n < 5 {
				return fmt.Errorf("chunk %d: %w", n, ErrAgain)
			}
			return nil
		}}).run()
		s.enqueue("k", "a", nil)
		for range 5 {
			next(t, ran)
		}
		quiet(t, ran)
		if strings.Contains(s.log.String(), "failed") {
			t.Error(s.log.String())
		}
	})
}

// TestEvery wants one run for each interval, however many servers there are.
func TestEvery(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ran := make(chan string, 100)
		servers := 1
		if db.Dialect() == "postgres" {
			servers = 3
		}
		var list []*server
		for range servers {
			list = append(list, newServer(t, db, quick(), Kind{Name: "k", Every: time.Second, Run: send(ran)}).run())
		}
		next(t, ran) // at the start
		begun := time.Now()
		for range 3 {
			next(t, ran)
		}
		if took := time.Since(begun); took < 2*time.Second {
			t.Errorf("three intervals of 1 s took %s", took)
		}
		for _, s := range list {
			if err := s.stop(); err != nil {
				t.Error(err)
			}
		}
	})
}

// TestPostgreSQLSaysWhenThereAreJobs leaves no time to ask.
func TestPostgreSQLSaysWhenThereAreJobs(t *testing.T) {
	db := storetest.Open(t, storetest.Postgres(t))
	tm := quick()
	tm.poll = time.Hour
	ran := make(chan string, 10)
	s := newServer(t, db, tm, Kind{Name: "k", Run: send(ran)}).run()
	for i := range 3 {
		time.Sleep(200 * time.Millisecond) // River tells of jobs ten times a second at most
		s.enqueue("k", fmt.Sprint(i), i)
		next(t, ran)
	}
}

func TestStop(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		tm := quick()
		tm.attempts = 1 // that the server stops is no failure
		began := make(chan string, 10)
		s := newServer(t, db, tm, Kind{Name: "k", Run: func(ctx context.Context, _ json.RawMessage) error {
			began <- "first"
			<-ctx.Done()
			return errors.New("interrupted") // as SQLite says it
		}}, Kind{Name: "slow", Run: func(context.Context, json.RawMessage) error {
			began <- "slow"
			time.Sleep(100 * time.Millisecond)
			return nil
		}}).run()
		s.enqueue("k", "a", nil)
		s.enqueue("slow", "a", nil)
		next(t, began)
		next(t, began)
		begun := time.Now()
		if err := s.stop(); err != nil {
			t.Error(err)
		}
		if took := time.Since(begun); took > 3*time.Second {
			t.Errorf("it took %s", took)
		}
		newServer(t, db, tm, Kind{Name: "k", Run: send(began)}, Kind{Name: "slow", Run: func(context.Context, json.RawMessage) error {
			began <- "slow, which was done"
			return nil
		}}).run()
		if got := next(t, began); got != "null" {
			t.Errorf("got %s", got)
		}
		quiet(t, began)
	})
}

func TestStopDoesNotWaitForever(t *testing.T) {
	db := storetest.Open(t, storetest.SQLite(t))
	began, goOn := make(chan string), make(chan string)
	s := newServer(t, db, quick(), Kind{Name: "k", Run: func(context.Context, json.RawMessage) error {
		began <- ""
		<-goOn
		return nil
	}}).run()
	s.enqueue("k", "a", nil)
	next(t, began)
	if err := s.stop(); err == nil {
		t.Error("no error, though a job still runs")
	}
	close(goOn)
	<-s.client.Stopped()
	s.stop = nil
}

func TestUnknownKindWaits(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		tm := quick()
		tm.attempts = 1
		ran := make(chan string, 10)
		newer := newServer(t, db, tm, Kind{Name: "new", Run: send(ran)})
		newer.enqueue("new", "a", 1)
		older := newServer(t, db, tm).run()
		quiet(t, ran)
		if !strings.Contains(older.log.String(), "waits for a server that knows its kind") {
			t.Errorf("the log says: %s", older.log.String())
		}
		if err := older.stop(); err != nil {
			t.Error(err)
		}
		newer.run()
		next(t, ran)
	})
}

// TestAJobThatDoesNotReturn is begun anew when its time is over, but not beside
// itself. It takes half a minute: River looks for such jobs that often.
func TestAJobThatDoesNotReturn(t *testing.T) {
	if testing.Short() {
		t.Skip("half a minute")
	}
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		t.Parallel()
		began, goOn := make(chan string, 10), make(chan string)
		s := newServer(t, db, quick(), Kind{Name: "k", Timeout: time.Second, Run: func(context.Context, json.RawMessage) error {
			began <- ""
			<-goOn
			return nil
		}}).run()
		s.enqueue("k", "a", nil)
		next(t, began)
		for begun := time.Now(); !strings.Contains(s.log.String(), "did not return"); time.Sleep(100 * time.Millisecond) {
			if time.Since(begun) > 2*time.Minute {
				t.Fatalf("River has not begun it anew:\n%s", s.log.String())
			}
		}
		quiet(t, began)
		goOn <- ""
		next(t, began)
		close(goOn)
		quiet(t, began)
	})
}

func TestRefused(t *testing.T) {
	db := storetest.Open(t, storetest.SQLite(t))
	nothing := func(context.Context, json.RawMessage) error { return nil }
	s := newServer(t, db, quick(), Kind{Name: "k", Run: nothing})
	for _, k := range []Kind{
		{Run: nothing}, {Name: "K", Run: nothing}, {Name: "with space", Run: nothing}, {Name: strings.Repeat("k", 51), Run: nothing},
		{Name: "l"}, {Name: "l", Run: nothing, Timeout: -1}, {Name: "l", Run: nothing, Every: time.Millisecond}, {Name: "k", Run: nothing},
	} {
		if err := s.Register(k); err == nil || tidewaiter.KindOf(err) == tidewaiter.Internal {
			t.Errorf("%+v: got %v", k.Name, err)
		}
	}
	for _, j := range []struct {
		kind, key string
		args      any
	}{
		{"unknown", "a", nil}, {"k", strings.Repeat("a", 201), nil}, {"k", "a\x00b", nil}, {"k", "a", "a\x00b"}, {"k", "a", strings.Repeat("a", 17<<10)},
	} {
		err := s.Enqueue(t.Context(), db, j.kind, j.key, j.args)
		if err == nil || tidewaiter.KindOf(err) != tidewaiter.Invalid {
			t.Errorf("%s: got %v", j.kind, err)
		}
	}
	if err := s.Enqueue(t.Context(), db, "k", "a", func() {}); err == nil {
		t.Error("a function was encoded")
	}
	s.run()
	for !func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.started }() {
		time.Sleep(time.Millisecond)
	}
	if err := s.Register(Kind{Name: "late", Run: nothing}); err == nil || tidewaiter.KindOf(err) != tidewaiter.Conflict {
		t.Errorf("got %v", err)
	}
}
