package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tidewaiter/tidewaiter/internal/store"
	"github.com/tidewaiter/tidewaiter/internal/store/storetest"
)

// The variables make the test binary a server that is to be killed: the
// database, and the folder where its jobs say what they do.
const (
	killURLVariable    = "TIDEWAITER_TEST_JOBS_URL"
	killFolderVariable = "TIDEWAITER_TEST_JOBS_FOLDER"
)

// TestKilledServersLoseNothing enqueues jobs, runs them in processes that are
// killed at random times, and has jobs fail and panic at random. Each job is
// done in the end, and none ever runs beside itself.
func TestKilledServersLoseNothing(t *testing.T) {
	if url := os.Getenv(killURLVariable); url != "" {
		serveUntilKilled(t, url, os.Getenv(killFolderVariable))
		return
	}
	if testing.Short() {
		t.Skip("a minute: River needs 15 s to see that a leader is dead, and looks for dead servers' jobs twice a minute")
	}
	storetest.EachURL(t, func(t *testing.T, url string) {
		t.Parallel()
		const jobs = 80
		servers := 1
		if strings.HasPrefix(url, "postgres") {
			servers = 3
		}
		folder := t.TempDir()
		db := storetest.Open(t, url)
		s := newServer(t, db, quick(), killKind(folder))
		for i := range jobs {
			s.enqueue("k", strconv.Itoa(i), i)
		}
		children := make([]*exec.Cmd, servers)
		start := func(i int) {
			children[i] = exec.Command(os.Args[0], "-test.run=^TestKilledServersLoseNothing$")
			children[i].Env = append(os.Environ(), killURLVariable+"="+url, killFolderVariable+"="+folder)
			if err := children[i].Start(); err != nil {
				t.Fatal(err)
			}
		}
		kill := func(i int) {
			_ = children[i].Process.Kill()
			_ = children[i].Wait() // killed
		}
		for i := range children {
			start(i)
			defer kill(i)
		}
		for range 6 {
			time.Sleep(time.Duration(rand.N(1000)) * time.Millisecond)
			i := rand.N(servers)
			kill(i)
			start(i)
			for range 5 { // anew, whether they are done or not
				s.enqueue("k", strconv.Itoa(rand.N(jobs)), "anew")
			}
		}
		begun := time.Now()
		for {
			done, err := filepath.Glob(filepath.Join(folder, "done-*"))
			if err != nil {
				t.Fatal(err)
			}
			if len(done) == jobs {
				break
			}
			if time.Since(begun) > 3*time.Minute {
				t.Fatalf("%d of %d jobs are done 3 minutes after the last kill", len(done), jobs)
			}
			time.Sleep(100 * time.Millisecond)
		}
		t.Logf("all jobs were done %s after the last kill", time.Since(begun).Round(time.Second))
		if beside, _ := filepath.Glob(filepath.Join(folder, "beside-*")); len(beside) > 0 {
			t.Errorf("these ran beside themselves: %v", beside)
		}
	})
}

func serveUntilKilled(t *testing.T, url, folder string) {
	db, err := store.Open(context.Background(), store.Options{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	r, err := newRunner(context.Background(), Options{Store: db, Workers: 8}, quick())
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Register(killKind(folder)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute) // should the test be gone
	defer cancel()
	if err := r.Run(ctx); err != nil {
		t.Fatal(err)
	}
}

// killKind holds a lock while it works, which the kernel takes back from the
// dead, and notes what it has done.
func killKind(folder string) Kind {
	name := func(what string, n int) string { return filepath.Join(folder, fmt.Sprintf("%s-%d", what, n)) }
	return Kind{Name: "k", Timeout: 2 * time.Second, Run: func(ctx context.Context, args json.RawMessage) error {
		var n int
		if json.Unmarshal(args, &n) != nil {
			return nil // enqueued anew when it had been done
		}
		f, err := os.OpenFile(name("lock", n), os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			return errors.Join(err, os.WriteFile(name("beside", n), nil, 0o600))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Duration(rand.N(300)) * time.Millisecond):
		}
		switch rand.N(5) {
		case 0:
			return errors.New("by chance")
		case 1:
			panic("by chance")
		}
		return os.WriteFile(name("done", n), nil, 0o600)
	}}
}

// TestARunFollowsEachEnqueue enqueues a few jobs again and again while they run
// and fail, each time with a change that the job is to see. In the end each has
// seen the last change.
func TestARunFollowsEachEnqueue(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		const keys, changes = 3, 60
		type sight struct{ key, value string }
		seen := make(chan sight, 10_000)
		tm := quick()
		servers := 1
		if db.Dialect() == "postgres" {
			servers = 2
		}
		running := make([]chan struct{}, keys)
		for i := range running {
			running[i] = make(chan struct{}, 1)
		}
		run := func(ctx context.Context, args json.RawMessage) error {
			var n int
			if err := json.Unmarshal(args, &n); err != nil {
				return err
			}
			select {
			case running[n] <- struct{}{}:
				defer func() { <-running[n] }()
			default:
				t.Errorf("job %d runs beside itself", n)
			}
			key := strconv.Itoa(n)
			v, err := db.Setting(ctx, key)
			if err != nil {
				return err
			}
			time.Sleep(time.Duration(rand.N(20)) * time.Millisecond)
			if rand.N(4) == 0 {
				return errors.New("by chance")
			}
			seen <- sight{key, v}
			return nil
		}
		var list []*server
		for range servers {
			list = append(list, newServer(t, db, tm, Kind{Name: "k", Run: run}).run())
		}
		ended := make(chan error, keys)
		for n := range keys {
			go func() {
				var err error
				for i := 0; i < changes && err == nil; i++ {
					err = db.Tx(context.Background(), func(tx *store.DB) error {
						if err := tx.PutSetting(context.Background(), strconv.Itoa(n), strconv.Itoa(i)); err != nil {
							return err
						}
						return list[i%servers].Enqueue(context.Background(), tx, "k", strconv.Itoa(n), n)
					})
					time.Sleep(time.Duration(rand.N(30)) * time.Millisecond)
				}
				ended <- err
			}()
		}
		for range keys {
			if err := next(t, ended); err != nil {
				t.Fatal(err)
			}
		}
		last := make(map[string]bool)
		for len(last) < keys {
			if s := next(t, seen); s.value == strconv.Itoa(changes-1) {
				last[s.key] = true
			}
		}
	})
}
