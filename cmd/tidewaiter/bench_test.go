package main

import (
	"bytes"
	"context"
	"encoding/json"
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
// server share the process and the machine; the log goes to a file.
//
// Each sub-benchmark reports requests/s and the 50th and 99th percentile of the
// time that a client waits, with 16 clients at once; and the processor time of a
// request, client included, which tells the same on a machine that does other
// things meanwhile.
func BenchmarkImageUploadCommand(b *testing.B) {
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
	handler, err := newHandler(c, "http://127.0.0.1:8080", state, log, prometheus.NewRegistry(), &atomic.Bool{})
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
		b.Run(by.name+"/bare", func(b *testing.B) { load(b, bare+target[len(server):], by.prepare) })
		b.Run(by.name+"/operation", func(b *testing.B) { load(b, target, by.prepare) })
	}
}

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

// load sends b.N requests with 16 clients.
func load(b *testing.B, target string, prepare func(*http.Request)) {
	const clients = 16
	transport := &http.Transport{MaxIdleConnsPerHost: clients}
	defer transport.CloseIdleConnections()
	times := make([][]time.Duration, clients)
	var left atomic.Int64
	left.Store(int64(b.N))
	before := cpuTime(b)
	b.ResetTimer()
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				r, err := http.NewRequest(http.MethodGet, target, nil)
				if err != nil {
					b.Error(err)
					return
				}
				prepare(r)
				start := time.Now()
				resp, err := transport.RoundTrip(r)
				if err != nil {
					b.Error(err)
					return
				}
				_, err = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				if err != nil || resp.StatusCode != http.StatusOK {
					b.Errorf("%s: %v", resp.Status, err)
					return
				}
				times[i] = append(times[i], time.Since(start))
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	cpu := cpuTime(b) - before
	all := slices.Concat(times...)
	slices.Sort(all)
	if len(all) == 0 {
		b.Fatal("no request came through")
	}
	b.ReportMetric(float64(cpu.Nanoseconds())/float64(len(all))/1e3, "cpu-µs/req")
	b.ReportMetric(float64(len(all))/b.Elapsed().Seconds(), "req/s")
	b.ReportMetric(float64(all[len(all)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(all[len(all)*99/100].Microseconds()), "p99-µs")
}
