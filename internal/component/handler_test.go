package component

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// An answer is a response whose body was read.
type answer struct {
	StatusCode    int
	ContentLength int64
	Header        http.Header
}

// fetch makes a request with headers given as "Name: value".
func fetch(t testing.TB, method, url string, headers ...string) (answer, []byte) {
	t.Helper()
	req, err := http.NewRequest(method, url, nil)
	check(t, err)
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	resp, err := http.DefaultTransport.RoundTrip(req) // no redirects
	check(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	check(t, err)
	return answer{resp.StatusCode, resp.ContentLength, resp.Header}, body
}

func TestComponentPaths(t *testing.T) {
	server, b := fakeServer(t)
	for _, tt := range []struct {
		method, path string
		status       int
		mediaType    string
	}{
		{"GET", b.ZipPath(), 200, "application/zip"},
		{"HEAD", b.ZipPath(), 200, "application/zip"},
		{"GET", "/components/cosign.pub", 200, "application/x-pem-file"},
		{"HEAD", "/components/cosign.pub", 200, "application/x-pem-file"},
		{"GET", "/components/SHA256SUMS", 200, "text/plain; charset=utf-8"},
		{"GET", "/components/SHA256SUMS.sig", 200, "text/plain; charset=utf-8"},
		{"GET", "/components/scan-component-0.0.1.zip", 404, "text/plain; charset=utf-8"},
		{"GET", "/components/", 404, "text/plain; charset=utf-8"},
		{"GET", "/components/../components/cosign.pub", 404, "text/plain; charset=utf-8"},
		{"POST", b.ZipPath(), 405, "text/plain; charset=utf-8"},
		{"DELETE", "/components/cosign.pub", 405, "text/plain; charset=utf-8"},
	} {
		t.Run(tt.method+" "+tt.path, func(t *testing.T) {
			resp, body := fetch(t, tt.method, server.URL+tt.path)
			if resp.StatusCode != tt.status || resp.Header.Get("Content-Type") != tt.mediaType {
				t.Errorf("status %d, type %s, want %d, %s", resp.StatusCode, resp.Header.Get("Content-Type"), tt.status, tt.mediaType)
			}
			if tt.status == 405 && resp.Header.Get("Allow") != "GET, HEAD" {
				t.Errorf("Allow: %s", resp.Header.Get("Allow"))
			}
			if tt.status != 200 {
				return
			}
			if tt.method == "HEAD" && len(body) > 0 {
				t.Errorf("HEAD has a body of %d bytes", len(body))
			}
			if tt.method == "GET" && resp.ContentLength != int64(len(body)) {
				t.Errorf("Content-Length %d, body %d", resp.ContentLength, len(body))
			}
			if !strings.HasPrefix(resp.Header.Get("ETag"), `"`) || resp.Header.Get("Accept-Ranges") != "bytes" {
				t.Errorf("headers %v", resp.Header)
			}
		})
	}
}

// A download that was cut goes on where it stopped, and starts anew where the
// file is no longer the same.
func TestZipResumes(t *testing.T) {
	server, b := fakeServer(t)
	url := server.URL + b.ZipPath()
	resp, whole := fetch(t, "GET", url)
	etag := resp.Header.Get("ETag")
	if got, want := resp.Header.Get("Content-Disposition"), `attachment; filename="scan-component-1.2.3.zip"`; got != want {
		t.Errorf("Content-Disposition %s, want %s", got, want)
	}
	if got, want := resp.Header.Get("Last-Modified"), "Tue, 03 Feb 2026 04:05:06 GMT"; got != want {
		t.Errorf("Last-Modified %s, want %s", got, want)
	}
	half := len(whole) / 2
	resume := fmt.Sprintf("Range: bytes=%d-", half)
	for _, tt := range []struct {
		name    string
		headers []string
		status  int
		body    []byte
	}{
		{"rest", []string{resume}, 206, whole[half:]},
		{"rest of the same", []string{resume, "If-Range: " + etag}, 206, whole[half:]},
		{"rest of another", []string{resume, `If-Range: "other"`}, 200, whole},
		{"middle", []string{"Range: bytes=10-19"}, 206, whole[10:20]},
		{"end", []string{"Range: bytes=-5"}, 206, whole[len(whole)-5:]},
		{"beyond", []string{fmt.Sprintf("Range: bytes=%d-", len(whole))}, 416, nil},
		{"not modified", []string{"If-None-Match: " + etag}, 304, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			resp, body := fetch(t, "GET", url, tt.headers...)
			if resp.StatusCode != tt.status {
				t.Fatalf("status %d, want %d", resp.StatusCode, tt.status)
			}
			if tt.status != 416 && !bytes.Equal(body, tt.body) {
				t.Errorf("%d bytes, want %d others", len(body), len(tt.body))
			}
		})
	}
}

// The first requests may come together; the zip is made once, for all.
func TestZipConcurrently(t *testing.T) {
	server, b := fakeServer(t)
	bodies := make([][]byte, 8)
	var wg sync.WaitGroup
	for i := range bodies {
		wg.Go(func() {
			resp, err := http.Get(server.URL + b.ZipPath())
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			bodies[i], err = io.ReadAll(resp.Body)
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if len(slices.CompactFunc(bodies, bytes.Equal)) != 1 {
		t.Error("not all got the same zip")
	}
}

// What is served beside the zip is what is in it.
func TestServedSumsAreTheZips(t *testing.T) {
	server, b := fakeServer(t)
	d, err := newDownload(b, fakeKey(t))
	check(t, err)
	files := readZip(t, d)
	for path, name := range map[string]string{
		"/components/SHA256SUMS": "SHA256SUMS", "/components/SHA256SUMS.sig": "SHA256SUMS.sig", "/components/cosign.pub": "cosign.pub",
	} {
		_, body := fetch(t, "GET", server.URL+path)
		if diff := cmp.Diff(string(files[name]), string(body)); diff != "" {
			t.Errorf("%s (-in the zip +served):\n%s", path, diff)
		}
	}
}
