package feed

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"syscall"
	"time"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/store"
)

// How webhooks are told.
const (
	batchEvents    = 20 // in one request
	requestTimeout = 15 * time.Second
	firstPause     = 30 * time.Second // after a failure; then twice as long, …
	longestPause   = 6 * time.Hour
)

// Message is the body of a request to a webhook.
type Message struct {
	Type      string  `json:"type"` // findings.changed
	Timestamp string  `json:"timestamp"`
	ProjectID string  `json:"project_id"`
	Events    []Event `json:"events"`
}

func newClient(t http.RoundTripper) *http.Client {
	if t == nil {
		dialer := &net.Dialer{Timeout: 10 * time.Second, Control: refuseLinkLocal}
		t = &http.Transport{DialContext: dialer.DialContext, TLSHandshakeTimeout: 10 * time.Second, DisableKeepAlives: true, MaxResponseHeaderBytes: 64 << 10}
	}
	return &http.Client{Transport: t, Timeout: requestTimeout, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func refuseLinkLocal(_, address string, _ syscall.RawConn) error {
	if a, err := netip.ParseAddrPort(address); err == nil && a.Addr().Unmap().IsLinkLocalUnicast() {
		return errors.New("its address is link-local, where no webhook may be")
	}
	return nil
}

// Deliver tells all webhooks that are due what they have not been told yet. One
// that fails is told again later, the longer the more often it fails. Each
// event is told at least once, in order.
func (s *Service) Deliver(ctx context.Context) error {
	list, err := s.store.DueWebhooks(ctx, s.now())
	if err != nil {
		return err
	}
	var errs []error
	for _, w := range list {
		if err := s.deliver(ctx, w); err != nil && tidewaiter.KindOf(err) != tidewaiter.NotFound { // it was deleted meanwhile
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (s *Service) deliver(ctx context.Context, w store.Webhook) error {
	text, err := s.sealer.Open("webhook "+w.ID, w.Sealed)
	if err != nil {
		return err
	}
	var to sealed
	if err := json.Unmarshal(text, &to); err != nil {
		return fmt.Errorf("read webhook: %w", err)
	}
	for {
		events, err := s.store.FindingEvents(ctx, tidewaiter.Extent{ProjectID: w.ProjectID, All: true}, w.After, batchEvents, &s.cache)
		if err != nil || len(events) == 0 {
			return err
		}
		problem := s.send(ctx, w, to, events)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if problem == "" {
			w.After, w.Failures, w.Problem, w.NextDue = events[len(events)-1].EventCursor, 0, "", s.now()
		} else {
			w.Problem, w.NextDue = problem, s.now().Add(min(firstPause<<min(w.Failures, 20), longestPause))
			w.Failures++
			s.log.WarnContext(ctx, "a webhook could not be told", "webhook", w.ID, "origin", w.Origin, "problem", problem, "failures", w.Failures)
		}
		if err := s.store.MoveWebhook(ctx, w); err != nil || problem != "" {
			return err
		}
	}
}

// send makes one request, and returns what is wrong, or "".
func (s *Service) send(ctx context.Context, w store.Webhook, to sealed, events []store.FindingEvent) (problem string) {
	now := s.now()
	body, err := json.Marshal(Message{"findings.changed", now.UTC().Format(time.RFC3339), w.ProjectID, wireEvents(events)})
	if err != nil {
		return err.Error()
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, to.URL, bytes.NewReader(body))
	if err != nil {
		return "the URL is not well formed"
	}
	id, stamp := w.ID+"."+cursorText(events[len(events)-1].EventCursor), strconv.FormatInt(now.Unix(), 10)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "tidewaiter/"+tidewaiter.Version)
	r.Header.Set("Webhook-Id", id)
	r.Header.Set("Webhook-Timestamp", stamp)
	r.Header.Set("Webhook-Signature", "v1,"+sign(to.Secret, id, stamp, body))
	answer, err := s.client.Do(r)
	if err != nil {
		var inner *url.Error
		if errors.As(err, &inner) { // which repeats the URL
			err = inner.Err
		}
		return err.Error()
	}
	defer answer.Body.Close()                                //nolint:errcheck // its content does not matter
	io.Copy(io.Discard, io.LimitReader(answer.Body, 64<<10)) //nolint:errcheck // likewise
	if answer.StatusCode < 200 || answer.StatusCode > 299 {
		return "the answer is " + answer.Status
	}
	return ""
}

// sign makes the signature of a request, as in
// https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md.
func sign(secret []byte, id, stamp string, body []byte) string {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(id + "." + stamp + "."))
	mac.Write(body)
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}
