package snapshots

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/advisory/osv"
)

// maxSource bounds what is kept of a source, in bytes.
const maxSource = 8 << 30

// isURL reports what is fetched, and never opened as a file: whatever begins as a
// URL of HTTP does, in capitals too, as schemes have no case (RFC 3986, 3.1).
func isURL(location string) bool {
	scheme, _, ok := strings.Cut(location, ":")
	return ok && (strings.EqualFold(scheme, "http") || strings.EqualFold(scheme, "https"))
}

func checkURL(location string) error {
	u, err := url.Parse(location)
	if err != nil || u.Host == "" {
		return tidewaiter.InvalidField("source", "the URL is not well formed")
	}
	if u.User != nil || u.Fragment != "" {
		return tidewaiter.InvalidField("source", "the URL has a user or a fragment, which cannot be used; put a file that needs a password on this machine first")
	}
	return nil
}

// shown returns a location as messages show it: a URL without its query, which
// may be a secret.
func shown(location string) string {
	if isURL(location) {
		location, _, _ = strings.Cut(location, "?")
	}
	return location
}

// Listed returns a location as lists show it: a URL with … in the place of its
// query.
func Listed(location string) string {
	if s := shown(location); s != location {
		return s + "?…"
	}
	return location
}

// keepPath keeps a file, or as a zip file the advisories of a folder.
func (s *Service) keepPath(ctx context.Context, path string) (tidewaiter.Digest, error) {
	folder := filepath.Join(s.folder, sourcesFolder)
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", tidewaiter.Errorf(tidewaiter.NotFound, "%s: there is no such file or folder", path)
	case err != nil:
		return "", fmt.Errorf("look for advisories: %w", err)
	case info.IsDir():
		r, w := io.Pipe()
		go func() { w.CloseWithError(packFolder(ctx, w, path)) }()
		digest, _, err := keep(folder, partPattern, r)
		return digest, errors.Join(err, r.Close())
	case !info.Mode().IsRegular():
		return "", tidewaiter.Errorf(tidewaiter.Invalid, "%s: it is no file and no folder", path)
	}
	f, err := os.Open(path) //nolint:gosec // the operator names the file
	if err != nil {
		return "", fmt.Errorf("read advisories: %w", err)
	}
	defer f.Close() //nolint:errcheck // it was read only
	digest, _, err := keep(folder, partPattern, io.LimitReader(f, maxSource))
	return digest, err
}

// packFolder writes the advisories of a folder as a zip file, the same for the
// same advisories.
func packFolder(ctx context.Context, w io.Writer, folder string) error {
	z := zip.NewWriter(w)
	err := osv.Texts(ctx, folder, osv.Limits{}, func(name string, text []byte) error {
		entry, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate})
		if err == nil {
			_, err = entry.Write(text)
		}
		return err
	})
	if err != nil {
		return err
	}
	return z.Close()
}

// downloaded is what a URL had.
type downloaded struct {
	digest    tidewaiter.Digest
	etag      string
	unchanged bool
}

// How a URL is asked.
const (
	downloadTimeout  = 30 * time.Minute
	downloadAttempts = 4
	firstPause       = 2 * time.Second
)

// download fetches a URL, unless it is still what its ETag says. Where it fails
// on the way, or the other side is too busy, it goes on later where it was.
func (s *Service) download(ctx context.Context, location, etag string) (downloaded, error) {
	ctx, cancel := context.WithTimeout(ctx, downloadTimeout)
	defer cancel()
	d := &transfer{ctx: ctx, http: s.http, pause: s.pause, location: location, etag: etag}
	for attempt := 0; ; attempt++ {
		body, err := d.open()
		if err == nil && body == nil {
			return downloaded{etag: etag, unchanged: true}, nil
		}
		if err == nil {
			d.body = body
			break
		}
		if !d.again || attempt == downloadAttempts-1 {
			return downloaded{}, err
		}
		if err := s.pause(ctx, max(d.wait, firstPause<<attempt)); err != nil {
			return downloaded{}, err
		}
	}
	digest, _, err := keep(filepath.Join(s.folder, sourcesFolder), partPattern, d)
	return downloaded{digest: digest, etag: d.tag}, errors.Join(err, d.body.Close())
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// transfer reads a URL, and goes on where a connection broke.
type transfer struct {
	ctx            context.Context
	http           *http.Client
	pause          func(context.Context, time.Duration) error
	location, etag string

	body     io.ReadCloser
	tag      string // of what is being read
	read     int64
	size     int64 // or -1
	failures int
	again    bool          // the last failure may pass
	wait     time.Duration // what the other side asks for
}

// newClient returns what fetches sources. It does not dial link-local addresses,
// where clouds have their metadata services: URLs may come from who may not read
// those.
func newClient() *http.Client {
	dialer := &net.Dialer{Timeout: 30 * time.Second, Control: refuseLinkLocal}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DialContext = dialer.DialContext
	return &http.Client{Transport: transport, CheckRedirect: func(r *http.Request, via []*http.Request) error {
		if len(via) >= 5 || via[0].URL.Scheme == "https" && r.URL.Scheme != "https" {
			return errors.New("too many redirects, or one to plain http")
		}
		return nil
	}}
}

func refuseLinkLocal(_, address string, _ syscall.RawConn) error {
	a, err := netip.ParseAddrPort(address)
	if err != nil {
		return errors.New("its address cannot be read")
	}
	ip := a.Addr().Unmap()
	// Two clouds have theirs elsewhere.
	elsewhere := ip == netip.AddrFrom4([4]byte{100, 100, 100, 200}) || ip == netip.MustParseAddr("fd00:ec2::254")
	if ip.IsLinkLocalUnicast() || elsewhere {
		return errors.New("it is at an address of a metadata service, where no advisories are")
	}
	return nil
}

// open asks for what is left to read; nil is for nothing new.
func (t *transfer) open() (io.ReadCloser, error) {
	t.again, t.wait = false, 0
	r, err := http.NewRequestWithContext(t.ctx, http.MethodGet, t.location, nil)
	if err != nil {
		return nil, tidewaiter.InvalidField("source", "the URL is not well formed")
	}
	switch {
	case t.read > 0:
		r.Header.Set("Range", fmt.Sprintf("bytes=%d-", t.read))
		r.Header.Set("If-Range", t.tag)
	case t.etag != "" && t.body == nil:
		r.Header.Set("If-None-Match", t.etag)
	}
	answer, err := t.http.Do(r)
	if err != nil {
		t.again = true
		var inner *url.Error
		if errors.As(err, &inner) { // which repeats the URL
			err = inner.Err
		}
		return nil, tidewaiter.Errorf(tidewaiter.Unavailable, "%s cannot be fetched: %v", shown(t.location), err)
	}
	switch {
	case answer.StatusCode == http.StatusNotModified && t.body == nil && t.etag != "":
		return nil, answer.Body.Close()
	case answer.StatusCode == http.StatusPartialContent && t.read > 0 && t.tag != "" && answer.Header.Get("ETag") == t.tag &&
		strings.HasPrefix(answer.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", t.read)):
		return answer.Body, nil
	case answer.StatusCode == http.StatusOK && t.read > 0:
		return nil, errors.Join(tidewaiter.Errorf(tidewaiter.Unavailable, "%s changed while it was being fetched; fetch it again", shown(t.location)), answer.Body.Close())
	case answer.StatusCode == http.StatusOK:
		t.tag, t.size = answer.Header.Get("ETag"), answer.ContentLength
		if t.size > maxSource {
			return nil, errors.Join(tidewaiter.Errorf(tidewaiter.TooLarge, "%s has more than %d bytes", shown(t.location), int64(maxSource)), answer.Body.Close())
		}
		return answer.Body, nil
	}
	t.again = answer.StatusCode == http.StatusTooManyRequests || answer.StatusCode >= 500
	if seconds, err := time.ParseDuration(answer.Header.Get("Retry-After") + "s"); err == nil {
		t.wait = min(max(seconds, 0), time.Minute)
	}
	return nil, errors.Join(tidewaiter.Errorf(tidewaiter.Unavailable, "%s cannot be fetched: the answer is %d", shown(t.location), answer.StatusCode), answer.Body.Close())
}

func (t *transfer) Read(b []byte) (int, error) {
	for {
		n, err := t.body.Read(b)
		t.read += int64(n)
		if t.read > maxSource {
			return n, tidewaiter.Errorf(tidewaiter.TooLarge, "%s has more than %d bytes", shown(t.location), int64(maxSource))
		}
		if n > 0 || err == nil {
			return n, nil
		}
		if errors.Is(err, io.EOF) && (t.size < 0 || t.read == t.size) {
			return 0, io.EOF
		}
		if t.tag == "" || t.failures == downloadAttempts {
			return 0, tidewaiter.Errorf(tidewaiter.Unavailable, "%s broke off after %d bytes", shown(t.location), t.read)
		}
		t.failures++
		if err := t.pause(t.ctx, max(t.wait, firstPause<<t.failures)); err != nil {
			return 0, err
		}
		body, oerr := t.open()
		if oerr != nil && !t.again {
			return 0, oerr
		}
		if oerr == nil {
			if cerr := t.body.Close(); cerr != nil && t.ctx.Err() != nil {
				return 0, cerr
			}
			t.body = body
		}
	}
}
