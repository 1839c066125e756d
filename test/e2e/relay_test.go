//go:build linux

package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"slices"
	"strings"
	"sync"
	"testing"
)

// A relay is a reverse proxy, over TLS, between clients or components and the
// server, or before a registry: a company's load balancer. It remembers what
// passed, can be cut as a network can, and can hold requests up.
type relay struct {
	URL    string // https://127.0.0.1:port, or http
	Addr   string // host:port
	CA     *authority
	server *httptest.Server

	mu          sync.Mutex
	to          func(context.Context) (net.Conn, error)
	cut         chan struct{} // closed while the network is down
	seen        []exchange
	gate        *gate
	lose        func(path string) bool
	lastLost    map[string]bool // by path
	every, lost int             // of Lose: so manieth; how many were lost
	asked       int
	pulled      map[string]pull
	errs        []string
}

// An exchange is a request that passed, and the status of its answer.
type exchange struct {
	Method, Path string
	Header       http.Header
	Body         []byte
	Status       int // 0 while there is none
	Answer       []byte
}

// newRelay starts a relay that leads nowhere yet.
func newRelay(t testing.TB) *relay {
	t.Helper()
	need(t)
	w := &relay{CA: newAuthority(t)}
	w.start(t, &tls.Config{Certificates: []tls.Certificate{w.CA.pair(t, "relay")}})
	return w
}

// newPlainRelay is newRelay without TLS: what is printed for others to run
// needs to know no authority then.
func newPlainRelay(t testing.TB) *relay {
	t.Helper()
	need(t)
	w := &relay{CA: newAuthority(t)}
	w.start(t, nil)
	return w
}

func (w *relay) start(t testing.TB, c *tls.Config) {
	t.Helper()
	w.cut = make(chan struct{})
	w.server = httptest.NewUnstartedServer(w)
	w.server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	if w.server.TLS = c; c != nil {
		w.server.StartTLS()
	} else {
		w.server.Start()
	}
	t.Cleanup(func() {
		w.Cut()
		w.server.Close()
		if t.Failed() {
			t.Logf("the relay %s had trouble:\n%s", w.URL, strings.Join(w.errs, "\n"))
		}
	})
	w.URL, w.Addr = w.server.URL, w.server.Listener.Addr().String()
}

// relayTo starts a relay to an address with plain http.
func relayTo(t testing.TB, addr string) *relay {
	t.Helper()
	w := newRelay(t)
	w.To(func(ctx context.Context) (net.Conn, error) { return new(net.Dialer).DialContext(ctx, "tcp", addr) })
	return w
}

// To says where the relay leads from now on.
func (w *relay) To(dial func(context.Context) (net.Conn, error)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.to = dial
}

// Cut ends all connections and lets nothing pass, as a broken network.
func (w *relay) Cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.isCut() {
		close(w.cut)
	}
}

// Mend lets requests pass again.
func (w *relay) Mend() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.isCut() {
		w.cut = make(chan struct{})
	}
}

func (w *relay) isCut() bool {
	select {
	case <-w.cut:
		return true
	default:
		return false
	}
}

// client trusts the relay's authority and follows no redirect.
func (w *relay) client() *http.Client {
	return &http.Client{
		Timeout: patience, Transport: w.CA.transport(),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Seen returns what passed so far with this in its path.
func (w *relay) Seen(path string) []exchange {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(slices.DeleteFunc(slices.Clone(w.seen), func(e exchange) bool { return !strings.Contains(e.Path, path) }))
}

// Replay sends a request that passed once more, byte for byte.
func (w *relay) Replay(t testing.TB, e exchange) (status int, answer string) {
	t.Helper()
	r, err := http.NewRequest(e.Method, w.URL+e.Path, bytes.NewReader(e.Body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header = e.Header.Clone()
	resp, err := w.client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// Lose loses, from now on, each so manieth answer to those requests: what they
// did is done, and whoever asked does not hear of it. Of one path it loses
// no two in a row: of two that take turns one would lose all.
func (w *relay) Lose(which func(path string) bool, every int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lose, w.every = which, every
}

// Lost counts the answers that were lost.
func (w *relay) Lost() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lost
}

// A gate stops the requests that it is for, until it is opened.
type gate struct {
	stops   func(method, path string) bool
	Reached chan struct{} // closed when a request stands before the gate
	opened  chan struct{}
	once    sync.Once
}

// Hold stops requests, from now on: those that stops says. One that was let
// through is the first; skip of them pass before.
func (w *relay) Hold(skip int, stops func(method, path string) bool) *gate {
	n := 0
	g := &gate{Reached: make(chan struct{}), opened: make(chan struct{})}
	g.stops = func(method, path string) bool {
		if !stops(method, path) {
			return false
		}
		n++
		return n > skip
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.gate = g
	return g
}

// Open lets everything pass again. It may be called twice.
func (g *gate) Open() { g.once.Do(func() { close(g.opened) }) }

// await waits until a request stands before the gate.
func (g *gate) await(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	select {
	case <-g.Reached:
	case <-ctx.Done():
		t.Fatalf("no request came to the gate within %s", patience)
	}
}

func (w *relay) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	w.mu.Lock()
	cut, to, stop := w.cut, w.to, w.gate
	w.seen = append(w.seen, exchange{Method: r.Method, Path: r.URL.RequestURI(), Header: r.Header.Clone(), Body: body})
	mine := len(w.seen) - 1
	held := stop != nil && stop.stops(r.Method, r.URL.Path)
	w.mu.Unlock()
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	if held {
		select {
		case <-stop.Reached:
		default:
			close(stop.Reached)
		}
		select {
		case <-stop.opened:
		case <-cut:
		case <-ctx.Done():
		}
	}
	if w.closed(cut) || to == nil {
		panic(http.ErrAbortHandler)
	}
	go func() {
		select {
		case <-cut:
			cancel()
		case <-ctx.Done():
		}
	}()
	r = r.Clone(ctx)
	r.Body = io.NopCloser(bytes.NewReader(body))
	kept := &keeper{ResponseWriter: rw, lost: w.losesThis(r.URL.Path)}
	defer w.count(r, kept)
	proxy := &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.Out.URL.Scheme, p.Out.URL.Host = "http", "relayed"
			p.Out.Host = p.In.Host
		},
		Transport: &http.Transport{
			DisableKeepAlives: true, // the next request may lead elsewhere
			DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return to(ctx) },
		},
		ErrorHandler: func(_ http.ResponseWriter, r *http.Request, err error) {
			w.mu.Lock()
			w.errs = append(w.errs, r.Method+" "+r.URL.Path+": "+err.Error())
			w.mu.Unlock()
			panic(http.ErrAbortHandler)
		},
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	}
	proxy.ServeHTTP(kept, r)
	w.mu.Lock()
	w.seen[mine].Status, w.seen[mine].Answer = kept.status, kept.body.Bytes()
	w.mu.Unlock()
	if kept.lost {
		panic(http.ErrAbortHandler)
	}
}

func (w *relay) losesThis(path string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.lose == nil || !w.lose(path) {
		return false
	}
	if w.lastLost == nil {
		w.lastLost = make(map[string]bool)
	}
	w.asked++
	lost := w.asked%w.every == 0 && !w.lastLost[path]
	if w.lastLost[path] = lost; lost {
		w.lost++
	}
	return lost
}

func (w *relay) closed(cut chan struct{}) bool {
	select {
	case <-cut:
		return true
	default:
		return false
	}
}

// A keeper remembers an answer.
type keeper struct {
	http.ResponseWriter
	lost   bool // remembers it only
	status int
	body   bytes.Buffer
	size   int64 // of what passed
}

func (k *keeper) WriteHeader(status int) {
	k.status = status
	if !k.lost {
		k.ResponseWriter.WriteHeader(status)
	}
}

func (k *keeper) Write(b []byte) (int, error) {
	if k.body.Len() < 1<<16 {
		k.body.Write(b)
	}
	if k.lost {
		return len(b), nil
	}
	n, err := k.ResponseWriter.Write(b)
	k.size += int64(n)
	return n, err
}

func TestRelayHoldsAndReplays(t *testing.T) {
	r := startRegistry(t, registryOptions{})
	w := relayTo(t, r.Addr)
	get := func() error {
		resp, err := w.client().Get(w.URL + "/v2/")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return errors.New(resp.Status)
		}
		return nil
	}
	g := w.Hold(1, func(_, path string) bool { return path == "/v2/" })
	if err := get(); err != nil {
		t.Error(err)
	}
	done := make(chan error)
	go func() { done <- get() }()
	g.await(t)
	select {
	case err := <-done:
		t.Errorf("the request was not held: %v", err)
	default:
	}
	g.Open()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if status, _ := w.Replay(t, w.Seen("/v2/")[0]); status != http.StatusOK {
		t.Errorf("status %d", status)
	}
}
