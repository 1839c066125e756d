package worker

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/protocol"
)

const (
	requestTimeout = 30 * time.Second // beyond what the server may wait
	maxBackoff     = 30 * time.Second
	maxRetryAfter  = 5 * time.Minute
)

// client sends requests to the server.
type client struct {
	http   *http.Client
	base   *url.URL
	log    *slog.Logger
	now    func() time.Time
	sleep  func(context.Context, time.Duration) error
	random func() float64

	signer atomic.Pointer[signer]
	offset atomic.Int64 // of the server's clock from ours, nanoseconds
	silent atomic.Bool  // the server did not answer last time
}

// signer is who we are.
type signer struct {
	id  string
	key ed25519.PrivateKey
}

func newClient(o Options, base *url.URL) *client {
	h := *o.HTTP
	// A redirect would need a signature for the place that it leads to.
	h.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &client{http: &h, base: base, log: o.Logger, now: o.Now, sleep: o.Sleep, random: o.Random}
}

func (c *client) identify(s state) { c.signer.Store(&signer{s.componentID, s.signing}) }

func (c *client) id() string { return c.signer.Load().id }

// answerError is an answer of the server that is no success.
type answerError struct {
	status int
	code   string // of protocol, or ""
	text   string // for people, cleaned
	wait   time.Duration
	date   time.Time // the server's clock, or zero
}

func (e *answerError) Error() string {
	s := fmt.Sprintf("the server answers %d", e.status)
	if e.code != "" {
		s += " " + e.code
	}
	if e.text != "" {
		s += ": " + e.text
	}
	return s
}

// temporary tells answers that may be others the next time.
func (e *answerError) temporary() bool {
	return e.status >= 500 || e.status == http.StatusTooManyRequests || e.status == http.StatusRequestTimeout
}

// hasCode tells whether an error is an answer with such a code.
func hasCode(err error, code string) bool {
	e, ok := errors.AsType[*answerError](err)
	return ok && e.code == code
}

// isRefusal tells whether the server has understood a request and will not
// answer it otherwise the next time.
func isRefusal(err error) bool {
	e, ok := errors.AsType[*answerError](err)
	return ok && !e.temporary()
}

// post sends a request, signed if we have an id, and decodes the answer into
// out unless that is nil; some is false for an answer without a body. If the
// server does not accept the signature, its clock is taken over and the request
// sent once more. Errors: [ErrRemoved], [ErrVersion], an answerError, or
// whatever hindered us to get an answer.
func (c *client) post(ctx context.Context, path string, in, out any) (some bool, err error) {
	some, err = c.once(ctx, path, in, out)
	if e, ok := errors.AsType[*answerError](err); ok && e.code == protocol.ErrSignature && c.setClock(e.date) {
		some, err = c.once(ctx, path, in, out)
	}
	c.note(ctx, err)
	switch {
	case hasCode(err, protocol.ErrUnknownComponent):
		return false, fmt.Errorf("%w: %w", ErrRemoved, err)
	case hasCode(err, protocol.ErrVersion), hasStatus(err, http.StatusUpgradeRequired):
		return false, fmt.Errorf("%w: %w", ErrVersion, err)
	}
	return some, err
}

func hasStatus(err error, status int) bool {
	e, ok := errors.AsType[*answerError](err)
	return ok && e.status == status
}

// persist posts until the server answers, the context ends, or there is no
// point in trying again.
func (c *client) persist(ctx context.Context, path string, in, out any) error {
	for n := 1; ; n++ {
		short, cancel := context.WithTimeout(ctx, timeout(in))
		_, err := c.post(short, path, in, out)
		cancel()
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case isFinal(err), isRefusal(err) && !hasCode(err, protocol.ErrSignature):
			return err
		}
		if err := c.sleep(ctx, c.backoff(n, err)); err != nil {
			return context.Cause(ctx)
		}
	}
}

// backoff returns how long to wait after failure number n in a row: about 1,
// 2, 4 … seconds, at most half a minute, each less up to a half by chance; or
// what the server has asked for.
func (c *client) backoff(n int, err error) time.Duration {
	d := min(time.Second<<min(n-1, 10), maxBackoff)
	d -= time.Duration(c.random() * float64(d) / 2)
	if e, ok := errors.AsType[*answerError](err); ok && e.wait > d {
		return min(e.wait, maxRetryAfter)
	}
	return d
}

// note logs when the server goes away, and when it comes back.
func (c *client) note(ctx context.Context, err error) {
	e, answered := errors.AsType[*answerError](err)
	switch {
	case err == nil || answered && e.status < 500:
		if c.silent.Swap(false) {
			c.log.Info("the server answers again")
		}
	case errors.Is(ctx.Err(), context.Canceled): // we have hung up
	case !c.silent.Swap(true):
		c.log.Warn("the server does not answer; trying until it does", "error", err)
	}
}

// setClock takes the server's clock over. It tells whether that may help.
func (c *client) setClock(date time.Time) bool {
	if date.IsZero() {
		return false
	}
	offset := date.Sub(c.now())
	change := (offset - time.Duration(c.offset.Swap(int64(offset)))).Abs()
	if change < 2*time.Second { // the header has whole seconds
		return false
	}
	c.log.Warn("this machine's clock differs from the server's, which is used from now on; set both right", "seconds", int(offset.Seconds()))
	return true
}

// rawBody is a body that is no JSON.
type rawBody struct {
	media string
	bytes []byte
}

// slowest is how fast a large body has to get through, in bytes per second.
const slowest = 512 << 10

// timeout returns how long one attempt to send a body may take.
func timeout(in any) time.Duration {
	d := requestTimeout
	if raw, ok := in.(rawBody); ok {
		d += time.Duration(len(raw.bytes)/slowest) * time.Second
	}
	return d
}

// once sends a request once.
func (c *client) once(ctx context.Context, path string, in, out any) (some bool, err error) {
	raw, ok := in.(rawBody)
	if !ok {
		raw.media = "application/json"
		if raw.bytes, err = json.Marshal(in); err != nil {
			return false, fmt.Errorf("encode a request: %w", err)
		}
	}
	body := raw.bytes
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base.String()+protocol.Prefix+path, bytes.NewReader(body))
	if err != nil {
		return false, fmt.Errorf("make a request: %w", err)
	}
	r.Header.Set("Content-Type", raw.media)
	r.Header.Set("User-Agent", "tidewaiter-scan-component/"+tidewaiter.Version)
	if s := c.signer.Load(); s.id != "" {
		protocol.Sign(r, body, s.id, s.key, c.now().Add(time.Duration(c.offset.Load())))
	}
	res, err := c.http.Do(r)
	if err != nil {
		return false, err
	}
	defer res.Body.Close() //nolint:errcheck // read, or given up
	answer, err := io.ReadAll(io.LimitReader(res.Body, protocol.MaxBody+1))
	if err != nil {
		return false, fmt.Errorf("read the server's answer: %w", err)
	}
	if res.StatusCode < 200 || res.StatusCode > 299 {
		return false, c.refused(res, answer)
	}
	switch {
	case res.StatusCode == http.StatusNoContent || out == nil:
		return false, nil
	case len(answer) > protocol.MaxBody:
		return false, fmt.Errorf("the server answers with more than %d bytes", protocol.MaxBody)
	}
	if err := json.Unmarshal(answer, out); err != nil {
		// What stands there is not the server, or not its answer as it was sent.
		return false, fmt.Errorf("the server's answer cannot be read: %w", err)
	}
	return true, nil
}

// refused reads an answer that is no success.
func (c *client) refused(res *http.Response, answer []byte) error {
	e := &answerError{status: res.StatusCode}
	var body struct {
		Code string `json:"error_code"`
		Text string `json:"error_msg"`
	}
	if json.Unmarshal(answer, &body) == nil {
		e.code, e.text = short(body.Code, 64), short(body.Text, 500)
	}
	if res.StatusCode >= 300 && res.StatusCode < 400 {
		e.text = "it redirects, which is not followed; give the component the address to which it redirects"
	}
	if date, err := http.ParseTime(res.Header.Get("Date")); err == nil {
		e.date = date
	}
	if seconds, err := strconv.ParseUint(res.Header.Get("Retry-After"), 10, 32); err == nil {
		e.wait = time.Duration(seconds) * time.Second
	}
	return e
}

// serverURL reads the address of a server.
func serverURL(s string, insecure bool) (*url.URL, error) {
	const field = "server"
	if s == "" {
		return nil, tidewaiter.InvalidField(field, "is empty; give the server's address, such as https://tidewaiter.example.com")
	}
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Hostname() == "":
		return nil, tidewaiter.InvalidField(field, "is no address; write it as in https://tidewaiter.example.com or https://10.0.0.1:8443")
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, tidewaiter.InvalidField(field, "begins with neither https:// nor http://; write one of them")
	case u.User != nil:
		return nil, tidewaiter.InvalidField(field, "has user info; leave it out")
	case strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
		return nil, tidewaiter.InvalidField(field, "has a path, a query or a fragment; leave out what follows the host and port")
	case u.Scheme == "http" && !insecure && !isLoopback(u.Hostname()):
		return nil, tidewaiter.InvalidField(field, "is plain http, which anybody between here and there can read and change; use https, or allow it (TIDEWAITER_INSECURE_HTTP=true)")
	}
	return &url.URL{Scheme: u.Scheme, Host: u.Host}, nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// newHTTP returns a client that goes through the environment's proxies.
func newHTTP(ca []byte) (*http.Client, error) {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxResponseHeaderBytes = 256 << 10
	// A connection that went dead without a word is noticed by a ping, or else
	// by a request's time running out.
	t.HTTP2 = &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 15 * time.Second}
	t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	if ca != nil {
		roots, err := x509.SystemCertPool()
		if err != nil {
			return nil, fmt.Errorf("load the system's CA certificates: %w", err)
		}
		if !roots.AppendCertsFromPEM(ca) {
			return nil, tidewaiter.InvalidField("ca", "holds no certificate that can be read; give PEM, as in -----BEGIN CERTIFICATE-----")
		}
		t.TLSClientConfig.RootCAs = roots
	}
	return &http.Client{Transport: t}, nil
}

// short makes text fit for one line of at most so many characters.
func short(s string, limit int) string {
	s = strings.ToValidUTF8(s, "?")
	s = strings.Map(func(r rune) rune {
		if !strconv.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
	n := 0
	for i := range s {
		if n++; n > limit {
			return s[:i]
		}
	}
	return s
}
