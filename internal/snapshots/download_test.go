package snapshots_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/snapshots"
	"github.com/tidewaiter/tidewaiter/internal/store"
	"github.com/tidewaiter/tidewaiter/internal/store/storetest"
)

// site publishes one file, and fails as it is told.
type site struct {
	*httptest.Server

	mu       sync.Mutex
	content  []byte
	tag      string
	breaks   int   // so many answers break off in the middle
	refuses  []int // statuses of the next answers
	after    string
	requests []string // "status range"
}

func newSite(t *testing.T, content []byte) *site {
	s := &site{content: content, tag: `"1"`}
	s.Server = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(s.Close)
	return s
}

func (s *site) url() string { return s.URL + "/npm/all.zip" }

func (s *site) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// took returns what was asked for since it was asked last.
func (s *site) took() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.requests
	s.requests = nil
	return r
}

func (s *site) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	log := func(status int) {
		s.requests = append(s.requests, strings.TrimSpace(fmt.Sprint(status, " ", r.Header.Get("Range"))))
	}
	if r.URL.Path != "/npm/all.zip" {
		log(404)
		w.WriteHeader(404)
		return
	}
	if len(s.refuses) > 0 {
		status := s.refuses[0]
		s.refuses = s.refuses[1:]
		log(status)
		if s.after != "" {
			w.Header().Set("Retry-After", s.after)
		}
		w.WriteHeader(status)
		return
	}
	if s.tag != "" {
		w.Header().Set("ETag", s.tag)
	}
	if s.tag != "" && r.Header.Get("If-None-Match") == s.tag {
		log(304)
		w.WriteHeader(304)
		return
	}
	body, status := s.content, 200
	var from int
	if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from); err == nil && r.Header.Get("If-Range") == s.tag {
		body, status = body[from:], 206
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(s.content)-1, len(s.content)))
	}
	log(status)
	w.Header().Set("Content-Length", fmt.Sprint(len(body)))
	w.WriteHeader(status)
	if s.breaks > 0 {
		s.breaks--
		_, _ = w.Write(body[:len(body)/2])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	_, _ = w.Write(body)
}

func TestDownload(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		w := newWorld(t, db)
		ctx := context.Background()
		s := newSite(t, archive(t, advisory("A-1", 1)))
		requests := func(want ...string) {
			t.Helper()
			if got := s.took(); !slices.Equal(got, want) {
				t.Errorf("got the requests %q, want %q", got, want)
			}
		}
		_, err := w.sets.Import(ctx, []string{s.url()}, w.findings)
		w.ok(err)
		requests("200")
		w.holds("A-1")

		// What has not changed is not fetched, and comes into force as it is.
		r, err := w.sets.Update(ctx, nil, w.findings)
		w.ok(err)
		if !r.Unchanged || len(r.Sources) != 1 || !r.Sources[0].Unchanged {
			t.Errorf("got %+v", r)
		}
		requests("304")

		// A download that breaks off goes on where it was.
		big := archive(t, advisory("A-1", 1), advisory("A-2", 2), advisory("A-3", 3))
		s.set(func() { s.content, s.tag, s.breaks = big, `"2"`, 2 })
		_, err = w.sets.Update(ctx, nil, w.findings)
		w.ok(err)
		half := len(big) / 2
		requests("200", fmt.Sprintf("206 bytes=%d-", half), fmt.Sprintf("206 bytes=%d-", half+(len(big)-half)/2))
		if p := w.pauses(); len(p) != 2 || p[1] <= p[0] {
			t.Errorf("paused %v", p)
		}
		w.holds("A-1", "A-2", "A-3")

		// Busy, and asked to wait.
		s.set(func() { s.tag, s.refuses, s.after = `"3"`, []int{429, 503}, "30" })
		_, err = w.sets.Update(ctx, nil, w.findings)
		w.ok(err)
		requests("429", "503", "200")
		if p := w.pauses(); !slices.Equal(p, []time.Duration{30 * time.Second, 30 * time.Second}) {
			t.Errorf("paused %v", p)
		}

		// What fails for good, and what fails too often.
		s.set(func() { s.tag, s.refuses, s.after = `"4"`, []int{403}, "" })
		r, err = w.sets.Update(ctx, nil, w.findings)
		w.ok(err)
		if len(r.Failed) != 1 || !strings.Contains(r.Failed[0].Err.Error(), "403") || !r.Unchanged {
			t.Errorf("got %+v", r)
		}
		requests("403")
		s.set(func() { s.refuses = []int{500, 500, 500, 500} })
		_, err = w.sets.Import(ctx, []string{s.url()}, w.findings)
		w.wants(err, tidewaiter.Unavailable, "500")
		requests("500", "500", "500", "500")

		// It changes while it is being fetched.
		s.set(func() { s.breaks, s.tag = 1, `"5"` })
		w.sets.SetPause(func(context.Context, time.Duration) error {
			s.set(func() { s.tag = `"6"` })
			return nil
		})
		_, err = w.sets.Import(ctx, []string{s.url()}, w.findings)
		w.wants(err, tidewaiter.Unavailable, "changed while it was being fetched")
		w.holds("A-1", "A-2", "A-3")
		w.tidy()
	})
}

func TestRefresh(t *testing.T) {
	w := newWorld(t, storetest.Open(t, storetest.SQLite(t)))
	ctx := context.Background()
	s := newSite(t, archive(t, advisory("A-1", 1)))
	urls := append(snapshots.ExportURLs(s.URL+"/", []string{"npm"}), snapshots.ExportURL(s.URL, "Red Hat"))
	if urls[0] != s.url() || urls[1] != s.URL+"/Red%20Hat/all.zip" {
		t.Fatalf("got %q", urls)
	}
	refresh := func() snapshots.Result {
		t.Helper()
		r, err := w.sets.Refresh(ctx, urls, 24*time.Hour, w.findings)
		w.ok(err)
		return r
	}
	stale := func(want bool) {
		t.Helper()
		got, err := w.sets.Stale(ctx, urls[:1], 24*time.Hour)
		w.ok(err)
		if got != want {
			t.Errorf("stale: %t", got)
		}
	}
	stale(true)
	r := refresh()
	if len(r.Failed) != 1 || r.Failed[0].Location != urls[1] || len(r.Sources) != 1 || r.Set.Advisories != 1 {
		t.Errorf("got %+v", r)
	}
	w.holds("A-1")
	s.took()
	stale(false)
	w.later(23 * time.Hour)
	refresh()
	if got := s.took(); !slices.Equal(got, []string{"404"}) { // of what is fresh nobody asks
		t.Errorf("got the requests %q", got)
	}
	w.later(time.Hour)
	stale(true)
	refresh()
	if got := s.took(); !slices.Equal(got, []string{"304", "404"}) {
		t.Errorf("got the requests %q", got)
	}
	stale(false)

	// Nothing at all can be had: no empty set comes into force.
	empty := newWorld(t, storetest.Open(t, storetest.SQLite(t)))
	r, err := empty.sets.Refresh(ctx, urls[1:], time.Hour, empty.findings)
	empty.ok(err)
	if r.Set.Number != 0 || len(r.Failed) != 1 {
		t.Errorf("got %+v", r)
	}
	empty.holds()
	state, err := empty.db.AdvisoryState(ctx)
	empty.ok(err)
	if state.SetNumber != 0 {
		t.Errorf("got %+v", state)
	}
}

func TestBadURLs(t *testing.T) {
	w := newWorld(t, storetest.Open(t, storetest.SQLite(t)))
	ctx := context.Background()
	s := newSite(t, nil)
	moved := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { http.Redirect(rw, r, s.url(), http.StatusFound) }))
	defer moved.Close()
	loop := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { http.Redirect(rw, r, r.URL.Path, http.StatusFound) }))
	defer loop.Close()
	for location, says := range map[string]string{
		"https://me:planted@example.com/all.zip": "user",
		"https://example.com/all.zip#part":       "fragment",
		"https://":                               "not well formed",
		loop.URL + "/x?token=planted":            "redirects",
		"http://127.0.0.1:1/x?token=planted":     "cannot be fetched",
		s.URL + "/none?token=planted":            "404",
		s.url():                                  "no advisories",
	} {
		_, err := w.sets.Import(ctx, []string{location}, w.findings)
		if err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "planted") {
			t.Errorf("%s: got %v, want %q", location, err, says)
		}
	}
	s.set(func() { s.content = archive(t, advisory("A-1", 1)) })
	_, err := w.sets.Import(ctx, []string{moved.URL + "/x"}, w.findings) // a redirection is followed
	w.ok(err)
	w.holds("A-1")
	w.tidy()
}

// answers is a site that gives one answer after the other.
func answers(t *testing.T, list ...http.HandlerFunc) string {
	t.Helper()
	n := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n++; n > len(list) {
			t.Errorf("request %d, for %q", n, r.Header)
			w.WriteHeader(http.StatusGone)
			return
		}
		list[n-1](w, r)
	}))
	t.Cleanup(func() {
		s.Close()
		if n < len(list) {
			t.Errorf("%d requests, want %d", n, len(list))
		}
	})
	return s.URL
}

// part answers with what comes from a byte on, up to another one, and breaks off.
func part(status int, tag string, content []byte, from, to int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if tag != "" {
			w.Header().Set("ETag", tag)
		}
		if status == http.StatusPartialContent {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(content)-1, len(content)))
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(content)-from))
		w.WriteHeader(status)
		_, _ = w.Write(content[from:to])
		_ = http.NewResponseController(w).Flush()
		if to < len(content) {
			panic(http.ErrAbortHandler)
		}
	}
}

func TestBrokenDownloads(t *testing.T) {
	content := archive(t, advisory("A-1", 1), advisory("A-2", 2))
	all, half, ok, partial := len(content), len(content)/2, http.StatusOK, http.StatusPartialContent
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
	}
	for name, test := range map[string]struct {
		answers []http.HandlerFunc
		says    string // "" if it goes well
	}{
		"at once, and nothing came":      {[]http.HandlerFunc{part(ok, `"1"`, content, 0, 0), part(ok, `"1"`, content, 0, all)}, ""},
		"and it is another one then":     {[]http.HandlerFunc{part(ok, `"1"`, content, 0, 0), part(ok, `"2"`, content, 0, all)}, ""},
		"and nobody may go on":           {[]http.HandlerFunc{part(ok, "", content, 0, half)}, "broke off"},
		"and the server is busy":         {[]http.HandlerFunc{part(ok, `"1"`, content, 0, half), status(503), part(partial, `"1"`, content, half, all)}, ""},
		"and the server refuses":         {[]http.HandlerFunc{part(ok, `"1"`, content, 0, half), status(416)}, "416"},
		"and another part comes":         {[]http.HandlerFunc{part(ok, `"1"`, content, 0, half), part(partial, `"1"`, content, half-1, all)}, "206"},
		"and a part of another comes":    {[]http.HandlerFunc{part(ok, `"1"`, content, 0, half), part(partial, `"2"`, content, half, all)}, "206"},
		"again and again":                {[]http.HandlerFunc{part(ok, `"1"`, content, 0, 10), part(partial, `"1"`, content, 10, 11), part(partial, `"1"`, content, 11, 12), part(partial, `"1"`, content, 12, 13), part(partial, `"1"`, content, 13, 14)}, "broke off after 14 bytes"},
		"a part that nobody asked for":   {[]http.HandlerFunc{part(partial, `"1"`, content, half, all)}, "206"},
		"no news, that nobody asked for": {[]http.HandlerFunc{status(304)}, "304"},
		"no length":                      {[]http.HandlerFunc{chunked(content, all)}, ""},
		"no length, and it breaks off":   {[]http.HandlerFunc{chunked(content, half), part(partial, `"1"`, content, half, all)}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, storetest.Open(t, storetest.SQLite(t)))
			_, err := w.sets.Import(context.Background(), []string{answers(t, test.answers...)}, w.findings)
			if test.says != "" {
				w.wants(err, tidewaiter.Unavailable, test.says)
				w.holds()
				if sets, sources := w.files(); sets+sources > 0 {
					t.Errorf("kept are %d sets and %d sources", sets, sources)
				}
			} else {
				w.ok(err)
				w.holds("A-1", "A-2")
			}
			w.tidy()
		})
	}
}

// chunked answers without a length.
func chunked(content []byte, to int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("ETag", `"1"`)
		_, _ = w.Write(content[:to])
		_ = http.NewResponseController(w).Flush()
		if to < len(content) {
			panic(http.ErrAbortHandler)
		}
	}
}

// TestBrokenUpdate: a mirror that is being changed says first that there is
// something new, breaks off, and then that there is nothing.
func TestBrokenUpdate(t *testing.T) {
	w := newWorld(t, storetest.Open(t, storetest.SQLite(t)))
	ctx := context.Background()
	content := archive(t, advisory("A-1", 1))
	newer := archive(t, advisory("A-1", 1), advisory("A-2", 2))
	url := answers(t,
		part(200, `"1"`, content, 0, len(content)),
		part(200, `"2"`, newer, 0, 0),
		func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("ETag", `"1"`)
			if r.Header.Get("If-None-Match") == `"1"` {
				rw.WriteHeader(http.StatusNotModified)
				return
			}
			part(200, `"1"`, content, 0, len(content))(rw, r)
		})
	_, err := w.sets.Import(ctx, []string{url}, w.findings)
	w.ok(err)
	r, err := w.sets.Update(ctx, nil, w.findings)
	w.ok(err)
	if !r.Unchanged || len(r.Failed) > 0 {
		t.Errorf("got %+v", r)
	}
	w.holds("A-1")
	w.tidy()
}

// TestRetryAfter has what a site may ask for.
func TestRetryAfter(t *testing.T) {
	w := newWorld(t, storetest.Open(t, storetest.SQLite(t)))
	s := newSite(t, archive(t, advisory("A-1", 1)))
	first := 2 * time.Second // at least that
	for after, want := range map[string]time.Duration{
		"": first, "0": first, "1": first, "45": 45 * time.Second, "-5": first, "99999999": time.Minute, "soon": first,
		"Wed, 21 Oct 2026 07:28:00 GMT": first,
	} {
		s.set(func() { s.refuses, s.after = []int{429}, after })
		_, err := w.sets.Import(context.Background(), []string{s.url()}, w.findings)
		w.ok(err)
		if got := w.pauses(); !slices.Equal(got, []time.Duration{want}) {
			t.Errorf("%q: paused %v, want %v", after, got, want)
		}
	}
}

// TestImportIsCancelled in a pause: what was in force is.
func TestImportIsCancelled(t *testing.T) {
	w := newWorld(t, storetest.Open(t, storetest.SQLite(t)))
	ctx, cancel := context.WithCancel(context.Background())
	s := newSite(t, archive(t, advisory("A-1", 1)))
	_, err := w.sets.Import(ctx, []string{s.url()}, w.findings)
	w.ok(err)
	bigger := archive(t, advisory("A-1", 1), advisory("A-2", 2))
	s.set(func() { s.content, s.tag, s.breaks = bigger, `"2"`, 1 })
	w.sets.SetPause(func(ctx context.Context, _ time.Duration) error {
		cancel()
		return ctx.Err()
	})
	_, err = w.sets.Update(ctx, nil, w.findings)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	w.holds("A-1")
	w.tidy()
	if sets, sources := w.files(); sets != 1 || sources != 1 {
		t.Errorf("kept are %d sets and %d sources", sets, sources)
	}
}
