package snapshots_test

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/findings"
	"github.com/tidewaiter/tidewaiter/internal/snapshots"
	"github.com/tidewaiter/tidewaiter/internal/store"
	"github.com/tidewaiter/tidewaiter/internal/store/storetest"
)

// TestMain is the tests, or a process that imports files, one after the other
// and again and again, until it is killed or the disk is full.
func TestMain(m *testing.M) {
	folder := os.Getenv("TEST_IMPORT_IN")
	if folder == "" {
		os.Exit(m.Run())
	}
	if os.Getenv("TEST_DISK_FULL") != "" {
		limit := unix.Rlimit{Cur: 256 << 10, Max: 256 << 10} // of the size of each file
		if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &limit); err != nil {
			panic(err)
		}
	}
	ctx := context.Background()
	db, err := store.Open(ctx, store.Options{URL: os.Getenv("TEST_IMPORT_DB")})
	if err != nil {
		panic(err)
	}
	sets := snapshots.New(snapshots.Options{Store: db, Folder: folder})
	to := findings.New(findings.Options{Store: db, Sets: sets})
	fmt.Println("begin")
	for {
		for _, path := range filepath.SplitList(os.Getenv("TEST_IMPORT_FILES")) {
			if _, err := sets.Import(ctx, []string{path}, to); err != nil {
				fmt.Println(err)
				os.Exit(3)
			}
		}
	}
}

// importer returns a process that imports into the folder of a world.
func (w *world) importer(url string, files []string, env ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(append(os.Environ(), "TEST_IMPORT_IN="+w.folder, "TEST_IMPORT_DB="+url, "TEST_IMPORT_FILES="+strings.Join(files, string(os.PathListSeparator))), env...)
	return cmd
}

// many is an archive of so many advisories, all of a day.
func many(t testing.TB, n, day int) ([]byte, []string) {
	var list, ids []string
	for i := range n {
		ids = append(ids, fmt.Sprintf("A-%d", i))
		list = append(list, advisory(ids[i], day))
	}
	return archive(t, list...), ids
}

// TestKilledImports kills a process that imports, at many moments: what is in
// force is always one of the two sets, whole, and the next import goes well.
func TestKilledImports(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	storetest.EachURL(t, func(t *testing.T, url string) {
		w := newWorld(t, storetest.Open(t, url))
		ctx := context.Background()
		few, fewIDs := many(t, 300, 2)
		more, moreIDs := many(t, 3000, 2)
		first := w.file("all.zip", few)
		if _, err := w.sets.Import(ctx, []string{first}, w.findings); err != nil {
			t.Fatal(err)
		}
		// The same source, with one content and the other.
		second := filepath.Join(filepath.Dir(first), "second.zip")
		w.ok(os.WriteFile(second, more, 0o600))
		seen := make(map[int]int)
		for i := range 12 {
			cmd := w.importer(url, []string{second, first})
			out, err := cmd.StdoutPipe()
			w.ok(err)
			w.ok(cmd.Start())
			if _, err := out.Read(make([]byte, 5)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Duration(i*37) * time.Millisecond)
			if err := cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
				t.Fatal(err)
			}
			_ = cmd.Wait() // it was killed
			w.open()
			index, _, release, err := w.sets.InForce(ctx)
			w.ok(err)
			n := index.Meta().Advisories
			release()
			seen[n]++
			switch n {
			case len(fewIDs):
				w.holds(fewIDs...)
			case len(moreIDs):
				w.holds(moreIDs...)
			default:
				t.Errorf("%d advisories are in force", n)
			}
		}
		third := w.file("third.zip", archive(t, advisory("B-1", 3)))
		_, err := w.sets.Import(ctx, []string{third}, w.findings)
		w.ok(err)
		w.tidy()
		t.Logf("after kills were in force: %v", seen)
	})
}

func TestDiskFullInImport(t *testing.T) {
	url := storetest.SQLite(t)
	w := newWorld(t, storetest.Open(t, url))
	_, err := w.sets.Import(context.Background(), []string{w.file("all.zip", archive(t, advisory("A-1", 1)))}, w.findings)
	w.ok(err)
	large, ids := many(t, 5000, 2)
	path := w.file("large.zip", large)
	out, err := w.importer(url, []string{path}, "TEST_DISK_FULL=1").CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 3 || !strings.Contains(string(out), "file too large") {
		t.Errorf("got %v: %s", err, out)
	}
	w.open()
	w.holds("A-1")
	_, err = w.sets.Import(context.Background(), []string{path}, w.findings)
	w.ok(err)
	w.holds(ids...)
	w.tidy()
}

// damaged are files that are no advisories, or were.
func damaged(t testing.TB) map[string][]byte {
	good := archive(t, advisory("A-1", 5), advisory("A-2", 5))
	flipped := bytes.Clone(good)
	flipped[60] ^= 0xff
	var bomb bytes.Buffer
	z := zip.NewWriter(&bomb)
	f, err := z.Create("bomb.json")
	if err == nil {
		for range 40 { // more than an advisory may have
			if _, err = f.Write(bytes.Repeat([]byte(" "), 1<<20)); err != nil {
				break
			}
		}
	}
	if err := errors.Join(err, z.Close()); err != nil {
		t.Fatal(err)
	}
	return map[string][]byte{
		"empty": {}, "truncated": good[:len(good)-30], "flipped": flipped, "of no zip": []byte("PK\x03\x04 and no more"), "of blanks": bomb.Bytes(),
		"huge advisory":        archive(t, strings.Replace(advisory("A-1", 5), "about left-pad", strings.Repeat("x", 20<<20), 1)),
		"JSON that breaks off": []byte(`[` + advisory("A-1", 5) + `, {"id": `), "of no advisories": archive(t, `{"id": ""}`, `[]`),
	}
}

func TestDamagedImports(t *testing.T) {
	w := newWorld(t, storetest.Open(t, storetest.SQLite(t)))
	ctx := context.Background()
	_, err := w.sets.Import(ctx, []string{w.file("all.zip", archive(t, advisory("B-1", 1)))}, w.findings)
	w.ok(err)
	for name, content := range damaged(t) {
		path := w.file("all.zip", content)
		if name == "JSON that breaks off" {
			path = w.file("all.json", content)
		}
		_, err := w.sets.Import(ctx, []string{path}, w.findings)
		w.wants(err, tidewaiter.Invalid, "")
		w.holds("B-1")
	}
	// One of several is bad: none is taken.
	_, err = w.sets.Import(ctx, []string{w.file("good.zip", archive(t, advisory("A-1", 5))), w.file("bad.zip", []byte("PK\x03\x04"))}, w.findings)
	w.wants(err, tidewaiter.Invalid, "bad.zip")
	w.holds("B-1")
	w.tidy()

	// What is in force was damaged on the disk: it is not read, and says so.
	state, err := w.db.AdvisoryState(ctx)
	w.ok(err)
	file := filepath.Join(w.folder, strings.ReplaceAll(string(state.Digest), ":", "-")+".advisories")
	text, err := os.ReadFile(file)
	w.ok(err)
	text[len(text)/2] ^= 1
	w.ok(os.Chmod(file, 0o600))
	w.ok(os.WriteFile(file, text, 0o600))
	w.open()
	if _, _, _, err := w.sets.InForce(ctx); err == nil || !strings.Contains(err.Error(), string(state.Digest)[7:20]) && !strings.Contains(err.Error(), "damaged") {
		t.Errorf("got %v", err)
	}
}

// FuzzImport imports anything: what was in force stays, or all of the new is.
func FuzzImport(f *testing.F) {
	for _, content := range damaged(f) {
		if len(content) < 64<<10 {
			f.Add(content)
		}
	}
	f.Add(archive(f, advisory("A-1", 5)))
	f.Add([]byte(advisory("A-1", 5)))
	f.Fuzz(func(t *testing.T, content []byte) {
		w := newWorld(t, storetest.Open(t, storetest.SQLite(t)))
		_, err := w.sets.Import(context.Background(), []string{w.file("good.zip", archive(t, advisory("B-1", 1)))}, w.findings)
		w.ok(err)
		r, err := w.sets.Import(context.Background(), []string{w.file("all.zip", content)}, w.findings)
		if err != nil {
			w.holds("B-1")
			return
		}
		if r.Set.Advisories < 2 || len(r.Sources) != 1 || r.Sources[0].Read < 1 {
			t.Errorf("got %+v", r)
		}
		w.tidy()
	})
}

func TestSetsAreKept(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		w := newWorld(t, db)
		ctx := context.Background()
		path := filepath.Join(t.TempDir(), "all.zip")
		for day := 1; day <= 6; day++ {
			w.ok(os.WriteFile(path, archive(t, advisory(fmt.Sprintf("A-%d", day), day)), 0o600))
			_, err := w.sets.Import(ctx, []string{path}, w.findings)
			w.ok(err)
		}
		st, err := w.sets.Status(ctx)
		w.ok(err)
		if len(st.Sets) != 3 || st.Sets[0].Digest != st.State.Digest || len(st.Sources) != 1 {
			t.Fatalf("got %+v", st)
		}
		files, err := filepath.Glob(filepath.Join(w.folder, "*.advisories"))
		w.ok(err)
		sources, err := filepath.Glob(filepath.Join(w.folder, "sources", "*"))
		w.ok(err)
		if len(files) != 3 || len(sources) != 3 {
			t.Errorf("kept are %d sets and %d sources", len(files), len(sources))
		}
		_, err = w.sets.Rollback(ctx, "", w.findings)
		w.ok(err)
		w.holds("A-5")
		_, err = w.sets.Rollback(ctx, st.Sets[2].Digest, w.findings)
		w.ok(err)
		w.holds("A-4")
		_, err = w.sets.Rollback(ctx, "", w.findings)
		w.wants(err, tidewaiter.NotFound, "no such earlier set")
		_, err = w.sets.Rollback(ctx, st.Sets[0].Digest, w.findings) // forward again
		w.ok(err)
		w.holds("A-6")
		// Older than what is in force, and older than the source was.
		w.ok(os.WriteFile(path, archive(t, advisory("A-5", 5)), 0o600))
		_, err = w.sets.Import(ctx, []string{path}, w.findings)
		w.wants(err, tidewaiter.Conflict, "older")
		w.holds("A-6")
		w.tidy()
	})
}

// TestOneImportAtATime: a second one is refused, or waits.
func TestOneImportAtATime(t *testing.T) {
	w := newWorld(t, storetest.Open(t, storetest.SQLite(t)))
	ctx := context.Background()
	path := w.file("all.zip", archive(t, advisory("A-1", 1)))
	begun, finish := make(chan struct{}), make(chan struct{})
	done := make(chan error)
	go func() {
		_, err := w.sets.Import(ctx, []string{path}, holding{w.findings, begun, finish})
		done <- err
	}()
	<-begun
	_, err := w.sets.Import(ctx, []string{path}, w.findings)
	w.wants(err, tidewaiter.Conflict, "another import is under way")
	patient := snapshots.New(snapshots.Options{Store: w.db, Folder: w.folder, Wait: time.Minute})
	waited := make(chan error)
	go func() {
		_, err := patient.Import(ctx, []string{path}, findings.New(findings.Options{Store: w.db, Sets: patient}))
		waited <- err
	}()
	impatient, cancel := context.WithCancel(ctx)
	cancel()
	_, err = patient.Import(impatient, []string{path}, w.findings)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	close(finish)
	w.ok(<-done)
	w.ok(<-waited)
	w.ok(patient.Close())
	w.holds("A-1")
}

// holding brings a set into force when it may.
type holding struct {
	snapshots.Activator

	begun, finish chan struct{}
}

func (h holding) Activate(ctx context.Context, a snapshots.Activation) error {
	close(h.begun)
	<-h.finish
	return h.Activator.Activate(ctx, a)
}
