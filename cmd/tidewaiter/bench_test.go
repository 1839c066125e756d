package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"github.com/tidewaiter/tidewaiter/internal/identity"
	"github.com/tidewaiter/tidewaiter/internal/identity/aksk"
)

// BenchmarkImageUploadCommand compares the operation, with all that stands
// before it, with a bare net/http handler that writes the same JSON. Client and
// servers share the process and the machine. Both get the same requests, with
// 16 clients at once, in turns of a thousand, so that whatever else the machine
// does meanwhile hits both alike.
//
// It reports for each, bare and op: requests/s, the 50th and 99th percentile of
// the time that a client waits, the processor time of a request, client
// included; and how much of the bare handler's rate the operation reaches.
func BenchmarkImageUploadCommand(b *testing.B) {
	tuneGC()
	c := &Config{Data: b.TempDir(), Listen: "127.0.0.1:0", LogFormat: "json", LogLevel: "info", TokenLifetime: time.Hour}
	c.Keys = filepath.Join(c.Data, "keys")
	logFile, err := os.Create(filepath.Join(c.Data, "log"))
	if err != nil {
		b.Fatal(err)
	}
	log := newLogger(c, logFile)
	state, err := openState(b.Context(), c, log)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { state.Close() }) //nolint:errcheck // the test is over
	first, err := state.bootstrap(b.Context(), c, "http://127.0.0.1:1")
	if err != nil {
		b.Fatal(err)
	}
	handler, err := newHandler(b.Context(), c, "http://127.0.0.1:8080", state, log, prometheus.NewRegistry(), &atomic.Bool{})
	if err != nil {
		b.Fatal(err)
	}
	token, _, err := state.identity.IssueToken(b.Context(), identity.TokenRequest{
		UserName: first.User, DomainName: first.Domain, Password: first.Password,
		Scope: identity.TokenScope{ProjectID: first.ProjectID},
	})
	if err != nil {
		b.Fatal(err)
	}

	server := serveOnLoopback(b, handler)
	query := url.Values{
		"registry_addr": {"registry.example.com:5000"}, "namespace": {"library"},
		"username": {"robot$ci"}, "password": {"it's a secret"},
	}
	target := server + "/v5/" + first.ProjectID + "/image/registries/image-upload-command?" + query.Encode()
	withToken := func(r *http.Request) { r.Header.Set("X-Auth-Token", token) }
	body := fetch(b, target, withToken)
	if !bytes.Contains(body, []byte("docker load")) {
		b.Fatalf("got %s", body)
	}
	var same struct {
		Command  string `json:"image_command"`
		Download string `json:"images_download_url"`
		Pull     string `json:"swr_image_pull_command"`
	}
	if err := json.Unmarshal(body, &same); err != nil {
		b.Fatal(err)
	}
	bare := serveOnLoopback(b, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(same) //nolint:errcheck // the client is gone
	}))

	signed, err := http.NewRequest(http.MethodGet, target, nil)
	if err != nil {
		b.Fatal(err)
	}
	if err := aksk.Sign(signed, first.AccessKey, []byte(first.SecretKey), nil, time.Now()); err != nil {
		b.Fatal(err)
	}
	// Both servers get the same requests.
	for _, by := range []struct {
		name    string
		prepare func(*http.Request)
	}{
		{"token", withToken},
		{"aksk", func(r *http.Request) { r.Header = signed.Header }},
	} {
		b.Run(by.name, func(b *testing.B) {
			baseline := newLoad(b, bare+target[len(server):], by.prepare)
			operation := newLoad(b, target, by.prepare)
			for done := 0; done < b.N; done += turn {
				n := min(turn, b.N-done)
				baseline.run(b, n)
				operation.run(b, n)
			}
			baseline.report(b, "bare")
			operation.report(b, "op")
			b.ReportMetric(100*operation.rate()/baseline.rate(), "%-of-bare")
		})
	}
}

// turn is how many requests one server gets in a row.
const turn = 1000

func serveOnLoopback(b *testing.B, h http.Handler) string {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	s := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
	go s.Serve(l)                                          //nolint:errcheck // ends with Shutdown
	b.Cleanup(func() { s.Shutdown(context.Background()) }) //nolint:errcheck // the test is over
	return "http://" + l.Addr().String()
}

func fetch(b *testing.B, target string, prepare func(*http.Request)) []byte {
	b.Helper()
	r, err := http.NewRequest(http.MethodGet, target, nil)
	if err != nil {
		b.Fatal(err)
	}
	prepare(r)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		b.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		b.Fatalf("%s: %s %v", resp.Status, body, err)
	}
	return body
}

// cpuTime returns the processor time that the process has used.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// load is a stream of requests to one server, and what came of it.
type load struct {
	target    string
	prepare   func(*http.Request)
	transport *http.Transport
	waited    []time.Duration
	took, cpu time.Duration
}

const clients = 16

func newLoad(b *testing.B, target string, prepare func(*http.Request)) *load {
	l := &load{target: target, prepare: prepare, transport: &http.Transport{MaxIdleConnsPerHost: clients}}
	b.Cleanup(l.transport.CloseIdleConnections)
	return l
}

// run sends n requests.
func (l *load) run(b *testing.B, n int) {
	b.Helper()
	var left atomic.Int64
	left.Store(int64(n))
	waited := make([][]time.Duration, clients)
	start, cpu := time.Now(), cpuTime(b)
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				d, err := l.send()
				if err != nil {
					b.Error(err)
					return
				}
				waited[i] = append(waited[i], d)
			}
		})
	}
	wg.Wait()
	l.took += time.Since(start)
	l.cpu += cpuTime(b) - cpu
	for _, w := range waited {
		l.waited = append(l.waited, w...)
	}
}

// send sends one request and returns how long the answer took.
func (l *load) send() (time.Duration, error) {
	r, err := http.NewRequest(http.MethodGet, l.target, nil)
	if err != nil {
		return 0, err
	}
	l.prepare(r)
	start := time.Now()
	resp, err := l.transport.RoundTrip(r)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return 0, err
	}
	if resp.StatusCode != http.StatusOK {
		return 0, errors.New(resp.Status)
	}
	return time.Since(start), nil
}

// rate returns the requests per second.
func (l *load) rate() float64 { return float64(len(l.waited)) / l.took.Seconds() }

func (l *load) report(b *testing.B, name string) {
	b.Helper()
	n := len(l.waited)
	if n == 0 {
		b.Fatal("no request came through")
	}
	slices.Sort(l.waited)
	b.ReportMetric(l.rate(), name+"-req/s")
	b.ReportMetric(float64(l.waited[n/2].Microseconds()), name+"-p50-µs")
	b.ReportMetric(float64(l.waited[n*99/100].Microseconds()), name+"-p99-µs")
	b.ReportMetric(float64(l.cpu.Microseconds())/float64(n), name+"-cpu-µs")
}
