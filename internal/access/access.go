// Package access finds out, step by step, whether the scan component can use a
// registry: name, connection, certificate, credential, list, one manifest. Each
// step that fails says what to change.
package access

import (
	"context"
	"crypto/tls"
	"fmt"
	"math"
	"net/http"
	"net/http/httptrace"
	"sync"
	"time"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/registry"
)

// StepName names a step.
type StepName string

// The steps, in their order.
const (
	DNS  StepName = "dns"
	TCP  StepName = "tcp"
	TLS  StepName = "tls"
	Auth StepName = "auth"
	List StepName = "list"
	Pull StepName = "pull"
)

// Status is how a step went.
type Status string

// How a step may go.
const (
	OK      Status = "ok"
	Failed  Status = "failed"
	Skipped Status = "skipped" // a step before it failed, or it makes no sense here
)

// Step is one step of a check.
type Step struct {
	Name     StepName
	Status   Status
	Duration time.Duration
	Message  string // what was found and, if it failed, what to do; holds no secret
}

// FailReason is why a registry cannot be used, in the words of the contract
// (RegistryInfo.fail_reason).
type FailReason string

// The reasons that a check can give. CREATE_JOB_FAILED is not among them: then
// there was no check.
const (
	NoFailure       FailReason = ""
	RequestAPIError FailReason = "REQUEST_API_ERROR" // something to mend: address, network, certificate, credential, role
	ServerError     FailReason = "SERVER_ERROR"      // the registry fails or limits the rate, or we do: try again later
)

// Report is the outcome of a check.
type Report struct {
	Steps      []Step
	FailReason FailReason
	Warnings   []string // what works and should not stay so
}

// OK tells whether every step went well or made no sense.
func (r Report) OK() bool { return r.FailReason == NoFailure }

// Connect makes the connector for a client, by the type of the registry.
type Connect func(*registry.Client) (registry.Connector, error)

// clockSkew is how far the registry's clock may be from ours before we say so.
const clockSkew = 5 * time.Minute

// Check goes through the steps. It makes at most a handful of requests, each
// once: a registry that limits the rate is not asked again. What goes wrong is
// in the report.
func Check(ctx context.Context, c registry.Config, connect Connect, o registry.Options) Report {
	o.Attempts = 1
	if o.Now == nil {
		o.Now = time.Now
	}
	k := &check{config: c, now: o.Now}
	if c.SkipTLSVerify {
		k.report.Warnings = append(k.report.Warnings, "the registry's certificate is not verified: anyone between here and there can read the password and change images; give the CA's certificate instead")
	}
	client, err := registry.NewClient(c, o)
	if err == nil {
		defer client.Close()
		if k.connector, err = connect(client); err == nil {
			k.client = client
		}
	}
	if err != nil {
		k.fail(DNS, 0, err)
	} else if k.reach(ctx) && k.authenticate(ctx) {
		if r, t, ok := k.list(ctx); ok {
			k.pull(ctx, r, t)
		}
	}
	k.skipRest()
	return k.report
}

// check is a check under way.
type check struct {
	config    registry.Config
	now       func() time.Time
	client    *registry.Client
	connector registry.Connector
	report    Report
	failed    bool
}

func (k *check) add(name StepName, status Status, d time.Duration, format string, args ...any) {
	k.report.Steps = append(k.report.Steps, Step{Name: name, Status: status, Duration: d, Message: fmt.Sprintf(format, args...)})
}

func (k *check) fail(name StepName, d time.Duration, err error) {
	k.failed = true
	k.report.FailReason = FailReasonOf(err)
	k.add(name, Failed, d, "%s", Explain(err, k.config, k.now()))
}

func (k *check) skipRest() {
	all := []StepName{DNS, TCP, TLS, Auth, List, Pull}
	for _, name := range all[len(k.report.Steps):] {
		k.add(name, Skipped, 0, "an earlier step failed")
	}
}

// FailReasonOf returns the reason in the words of the contract.
func FailReasonOf(err error) FailReason {
	switch tidewaiter.KindOf(err) {
	case tidewaiter.Internal, tidewaiter.Throttled:
		return ServerError
	case tidewaiter.Unavailable:
		if registry.ReasonOf(err) == registry.ReasonServer {
			return ServerError
		}
	}
	return RequestAPIError
}

// trace notes when the parts of a connection were made.
type trace struct {
	mu                                             sync.Mutex
	dnsStart, tcpStart, tlsStart                   time.Time
	dnsDone, tcpDone, tlsDone                      time.Duration
	resolved, connecting, connected, shaking, safe bool
}

func (t *trace) hooks() *httptrace.ClientTrace {
	note := func(f func()) {
		t.mu.Lock()
		defer t.mu.Unlock()
		f()
	}
	return &httptrace.ClientTrace{
		DNSStart: func(httptrace.DNSStartInfo) { note(func() { t.dnsStart = time.Now() }) },
		DNSDone: func(i httptrace.DNSDoneInfo) {
			note(func() { t.dnsDone, t.resolved = time.Since(t.dnsStart), i.Err == nil })
		},
		ConnectStart: func(string, string) {
			note(func() {
				if !t.connecting {
					t.tcpStart, t.connecting = time.Now(), true
				}
			})
		},
		ConnectDone: func(_, _ string, err error) {
			note(func() { t.tcpDone, t.connected = time.Since(t.tcpStart), t.connected || err == nil })
		},
		TLSHandshakeStart: func() { note(func() { t.tlsStart, t.shaking = time.Now(), true }) },
		TLSHandshakeDone: func(_ tls.ConnectionState, err error) {
			note(func() { t.tlsDone, t.safe = time.Since(t.tlsStart), err == nil })
		},
	}
}

// reach asks once without the credential, and fills in the first three steps.
func (k *check) reach(ctx context.Context) bool {
	t := &trace{}
	started := time.Now()
	status, header, err := k.client.Probe(httptrace.WithClientTrace(ctx, t.hooks()))
	t.mu.Lock()
	defer t.mu.Unlock()
	secure := k.client.Origin().Scheme == "https"
	via := ""
	if k.config.Proxy != "" {
		via = " (of the proxy, which resolves the registry's name)"
	}
	named := !t.dnsStart.IsZero()
	switch {
	case named && !t.resolved:
		k.fail(DNS, t.dnsDone, err)
		return false
	case named:
		k.add(DNS, OK, t.dnsDone, "the name has an address%s", via)
	default:
		k.add(DNS, Skipped, 0, "the address is a number, or was refused before any look-up")
	}
	if !t.connected {
		k.fail(TCP, t.tcpDone, orUnreached(err))
		return false
	}
	if k.config.Proxy != "" && registry.ReasonOf(err) == registry.ReasonProxy {
		k.fail(TCP, t.tcpDone, err)
		return false
	}
	k.add(TCP, OK, t.tcpDone, "connected")
	switch {
	case !secure:
		k.add(TLS, Skipped, 0, "the registry is used over plain http")
		k.report.Warnings = append(k.report.Warnings, "the registry is used over plain http: anyone between here and there can read the password and change images; use https")
	case err != nil && !t.safe:
		k.fail(TLS, t.tlsDone, err)
		return false
	default:
		k.add(TLS, OK, t.tlsDone, "the certificate is trusted")
	}
	if err != nil {
		k.fail(Auth, time.Since(started), err)
		return false
	}
	if !secure && status == http.StatusBadRequest {
		k.fail(Auth, time.Since(started), errSpeaksTLS)
		return false
	}
	k.checkClock(header)
	return true
}

var (
	errUnreached = tidewaiter.Errorf(tidewaiter.Unavailable, "no connection was made; check the address")
	errSpeaksTLS = tidewaiter.Errorf(tidewaiter.Invalid, "the registry refuses plain http on this port (it seems to speak https); set the protocol to https, or correct the port")
)

func orUnreached(err error) error {
	if err == nil {
		return errUnreached
	}
	return err
}

// checkClock compares the registry's clock with ours.
func (k *check) checkClock(h http.Header) {
	at, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		return
	}
	if off := k.now().Sub(at); off.Abs() > clockSkew {
		k.report.Warnings = append(k.report.Warnings, fmt.Sprintf(
			"the clocks of the registry and of this machine differ by %.0f minutes; set both right, or tokens and signatures will be refused", math.Abs(off.Minutes())))
	}
}

func (k *check) authenticate(ctx context.Context) bool {
	started := time.Now()
	if err := k.connector.Ping(ctx); err != nil {
		k.fail(Auth, time.Since(started), err)
		return false
	}
	if k.config.Username == "" {
		k.add(Auth, OK, time.Since(started), "the registry answers without a user name")
	} else {
		k.add(Auth, OK, time.Since(started), "the registry answers this user")
	}
	return true
}

// maxLooks is how many repositories are looked into for a tag to pull.
const maxLooks = 10

// list lists until it has a tag.
func (k *check) list(ctx context.Context) (registry.Repository, registry.Tag, bool) {
	started := time.Now()
	looks := 0
	for r, err := range k.connector.Repositories(ctx) {
		if err != nil {
			k.fail(List, time.Since(started), err)
			return r, registry.Tag{}, false
		}
		if r.Problem != "" {
			continue
		}
		if looks++; looks > maxLooks {
			break
		}
		for t, err := range k.connector.Tags(ctx, r) {
			if err != nil && tidewaiter.KindOf(err) != tidewaiter.NotFound { // gone meanwhile
				k.fail(List, time.Since(started), err)
				return r, t, false
			}
			if err == nil && t.Problem == "" {
				k.add(List, OK, time.Since(started), "repositories and tags are listed")
				return r, t, true
			}
		}
	}
	if looks == 0 {
		k.add(List, OK, time.Since(started), "the list is empty: no repository that this user may see and the patterns admit; if there should be some, check the user's roles and the patterns")
	} else {
		k.add(List, OK, time.Since(started), "the first %d repositories have no tags that the patterns admit", min(looks, maxLooks))
	}
	k.add(Pull, Skipped, 0, "there is nothing to pull")
	return registry.Repository{}, registry.Tag{}, false
}

// pull gets one manifest.
func (k *check) pull(ctx context.Context, r registry.Repository, t registry.Tag) {
	started := time.Now()
	if _, err := k.client.Manifest(ctx, r.Name, t.Name); err != nil {
		k.fail(Pull, time.Since(started), err)
		return
	}
	k.add(Pull, OK, time.Since(started), "a manifest was pulled")
}
