package snapshots_test

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/snapshots"
)

// FuzzDownload has a site that answers with any bytes, and with others when it
// is asked again: there is a whole file in the end, or an error and nothing.
func FuzzDownload(f *testing.F) {
	// The body of the second goes on after "abc" of the first. None redirects, as
	// what becomes of that would be asked for.
	half := "HTTP/1.1 200 OK\r\nETag: \"1\"\r\nContent-Length: 6\r\n\r\nabc"
	for _, first := range []string{
		half, strings.Replace(half, "6", "3", 1), strings.Replace(half, "abc", "", 1), strings.Replace(half, "6", "99999999999", 1),
		strings.Replace(half, "Content-Length: 6", "Transfer-Encoding: chunked", 1), strings.Replace(half, "ETag", "X", 1),
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nETag: W/\"1\"\r\n\r\n3\r\nabc\r\n", "HTTP/1.1 304 Not Modified\r\nETag: \"0\"\r\n\r\n",
		"HTTP/1.1 503 Busy\r\nRetry-After: 1e9\r\n\r\n", "",
	} {
		f.Add([]byte(first), []byte("HTTP/1.1 206 Partial Content\r\nETag: \"1\"\r\nContent-Range: bytes 3-5/6\r\nContent-Length: 3\r\n\r\ndef"))
		f.Add([]byte(first), []byte("HTTP/1.1 304 Not Modified\r\nETag: \"0\"\r\n\r\n"))
		f.Add([]byte(first), []byte(half))
	}
	f.Fuzz(func(t *testing.T, first, second []byte) {
		url, requests := rawSite(t, first, second)
		folder := t.TempDir()
		if err := os.Mkdir(filepath.Join(folder, "sources"), 0o700); err != nil {
			t.Fatal(err)
		}
		s := snapshots.New(snapshots.Options{Folder: folder})
		s.SetPause(func(_ context.Context, d time.Duration) error {
			if d <= 0 || d > time.Minute {
				t.Errorf("paused %v", d)
			}
			return nil
		})
		_, unchanged, err := s.Download(context.Background(), url, `"0"`)
		kept, gerr := filepath.Glob(filepath.Join(folder, "sources", "*"))
		if gerr != nil {
			t.Fatal(gerr)
		}
		want := 1
		if err != nil || unchanged {
			want = 0
		}
		if len(kept) != want {
			t.Errorf("kept is %q, after %v", kept, err)
		}
		for _, path := range kept {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if digest := string(tidewaiter.DigestOf(text)); strings.Replace(digest, ":", "-", 1) != filepath.Base(path) {
				t.Errorf("%s is called %s", digest, path)
			}
		}
		asked := requests()
		if len(asked) > 40 { // four attempts, and as often to go on; or redirections
			t.Errorf("%d requests", len(asked))
		}
		for _, h := range asked {
			if h.Get("Range") != "" && h.Get("If-Range") == "" {
				t.Errorf("got %q", h)
			}
		}
	})
}

// rawSite answers with bytes, and closes the connection each time. It returns
// what was asked.
func rawSite(t *testing.T, first, others []byte) (url string, requests func() []http.Header) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var list []http.Header
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if r, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
				mu.Lock()
				answer := others
				if len(list) == 0 {
					answer = first
				}
				list = append(list, r.Header)
				mu.Unlock()
				_, _ = c.Write(answer) // the client may be gone
			}
			_ = c.Close() // that is all
		}
	}()
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		<-done
	})
	return "http://" + l.Addr().String(), func() []http.Header {
		mu.Lock()
		defer mu.Unlock()
		return list
	}
}
