package registry

import (
	"context"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/tidewaiter/tidewaiter"
)

// retryAfter reads a Retry-After header, in seconds or as a date
// (https://www.rfc-editor.org/rfc/rfc9110#name-retry-after). A number too
// large to be a time is a year. ok is false if there is none that can be read.
func retryAfter(h http.Header, now time.Time) (wait time.Duration, ok bool) {
	const year = 365 * 24 * time.Hour
	s := h.Get("Retry-After")
	if s == "" {
		return 0, false
	}
	digits := true
	for _, c := range []byte(s) {
		digits = digits && '0' <= c && c <= '9'
	}
	if digits {
		seconds, err := strconv.ParseInt(s, 10, 64)
		if err != nil || seconds > int64(year/time.Second) {
			return year, true
		}
		return time.Duration(seconds) * time.Second, true
	}
	at, err := http.ParseTime(s)
	if err != nil {
		return 0, false
	}
	return min(max(at.Sub(now), 0), year), true
}

// backoff returns how long to wait before attempt n+1 (n from 1): about
// 1, 2, 4 … seconds, at most a minute, each less up to a half by chance.
func backoff(n int, random float64) time.Duration {
	d := min(time.Second<<min(n-1, 10), time.Minute)
	return d - time.Duration(random*float64(d)/2)
}

// pause decides, after attempt n failed with err, whether there is another
// attempt, and waits for it. It returns the error to give up with.
func (c *Client) pause(ctx context.Context, n int, err error, h http.Header) error {
	reason := ReasonOf(err)
	again := reason == ReasonNetwork || reason == ReasonTimeout || reason == ReasonThrottled || reason == ReasonServer
	if !again || isPermanent(err) || ctx.Err() != nil {
		return err
	}
	wait, told := time.Duration(0), false
	if h != nil {
		wait, told = retryAfter(h, c.options.Now())
	}
	if told && wait > c.options.MaxWait {
		until := c.options.Now().Add(wait).UTC()
		return tidewaiter.Wrap(tidewaiter.Throttled, &Failure{Reason: ReasonThrottled, Until: until, Err: err},
			"%s: rate limited until %s; lower the request budget, or try again then", c.registry, until.Format(time.RFC3339))
	}
	if n >= c.options.Attempts {
		return err
	}
	if !told {
		wait = backoff(n, c.options.Random())
	}
	return c.options.Sleep(ctx, wait)
}

// budget is a token bucket: a quarter of a minute's worth at once, at least
// 10 requests, then an hour's worth spread over each hour.
type budget struct {
	perHour int // 0 is no limit
	now     func() time.Time
	sleep   func(context.Context, time.Duration) error

	mu   sync.Mutex
	left float64
	last time.Time
}

func newBudget(perHour int, o Options) *budget {
	b := &budget{perHour: perHour, now: o.Now, sleep: o.Sleep, last: o.Now()}
	b.left = b.size()
	return b
}

func (b *budget) size() float64 { return min(float64(b.perHour), max(10, float64(b.perHour)/240)) }

// take waits until a request may be sent.
func (b *budget) take(ctx context.Context) error {
	if b.perHour <= 0 {
		return nil
	}
	b.mu.Lock()
	now := b.now()
	perSecond := float64(b.perHour) / 3600
	if passed := now.Sub(b.last); passed > 0 {
		b.left = min(b.size(), b.left+passed.Seconds()*perSecond)
	}
	b.last = now
	b.left-- // below zero: this and the next wait in turn
	debt := -b.left
	b.mu.Unlock()
	if debt <= 0 {
		return nil
	}
	return b.sleep(ctx, time.Duration(debt/perSecond*float64(time.Second)))
}
