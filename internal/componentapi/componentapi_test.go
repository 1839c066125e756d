package componentapi_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/componentapi"
	"github.com/tidewaiter/tidewaiter/internal/fleet"
	"github.com/tidewaiter/tidewaiter/internal/protocol"
	"github.com/tidewaiter/tidewaiter/internal/seal"
	"github.com/tidewaiter/tidewaiter/internal/store/storetest"
)

func TestVersions(t *testing.T) {
	w := newWorld(t)
	for _, path := range []string{protocol.Prefix, protocol.Prefix + "/"} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.server.URL+path, nil)
		w.ok(err)
		var got struct {
			protocol.Versions
			ServerVersion string `json:"server_version"`
		}
		w.wants(w.send(r), 200, "", &got)
		if got.Versions != protocol.Ours() || got.ServerVersion != tidewaiter.Version {
			t.Errorf("%s: %+v", path, got)
		}
	}
}

// TestLife is that of a component: it enrols, says hello, takes work of each
// kind, and finishes it.
func TestLife(t *testing.T) {
	w := newWorld(t)
	w.enrolled()
	w.wants(w.post(protocol.PathLease, w.asking()), 204, "", nil)

	work := w.lease(tidewaiter.AccessCheckWork, "r1")
	if work.AccessCheck == nil || work.AccessCheck.Registry.ID != "r1" || work.Sync != nil || work.LeaseSeconds != 60 || work.Attempt != 1 {
		t.Errorf("work: %+v", work)
	}
	path := protocol.PathWork + work.ID
	w.wants(w.post(path+protocol.PathFinish, protocol.FinishRequest{Attempt: 1, Outcome: protocol.OutcomeDone, AccessCheck: &protocol.AccessReport{}}), 204, "", nil)
	w.wants(w.post(path+protocol.PathFinish, protocol.FinishRequest{Attempt: 1, Outcome: protocol.OutcomeDone, AccessCheck: &protocol.AccessReport{}}), 409, protocol.ErrLeaseLost, nil)

	work = w.lease(tidewaiter.SyncWork, "r1")
	if work.Sync == nil || work.Sync.Registry.ID != "r1" || work.AccessCheck != nil {
		t.Errorf("work: %+v", work)
	}
	path = protocol.PathWork + work.ID
	var beat protocol.HeartbeatResponse
	w.wants(w.post(path+protocol.PathHeartbeat, protocol.HeartbeatRequest{Attempt: 1, Progress: protocol.Progress{Images: 3}}), 200, "", &beat)
	if beat.Stop {
		t.Error("it is to stop")
	}
	r := w.post(path+protocol.PathPending, protocol.PendingRequest{Attempt: 1, Repositories: []string{"a"}})
	if string(r.body) != `{"repositories":[]}`+"\n" {
		t.Errorf("pending: %s", r.body)
	}
	digest := tidewaiter.DigestOf(nil)
	var unknown protocol.UnknownResponse
	w.wants(w.post(path+protocol.PathUnknown, protocol.UnknownRequest{Attempt: 1, Digests: []tidewaiter.Digest{digest}}), 200, "", &unknown)
	if len(unknown.Digests) != 1 || unknown.Digests[0] != digest {
		t.Errorf("unknown: %+v", unknown)
	}
	w.wants(w.post(path+protocol.PathRepository, protocol.RepositoryReport{Attempt: 1, Name: "a", Complete: true}), 204, "", nil)
	w.wants(w.post(path+protocol.PathFinish, protocol.FinishRequest{Attempt: 1, Outcome: protocol.OutcomeReleased}), 204, "", nil)
	w.wants(w.post(protocol.PathLease, w.asking()), 200, "", &work)
	if work.Attempt != 2 {
		t.Errorf("released work comes as %+v", work)
	}
	w.wants(w.post(path+protocol.PathRepository, protocol.RepositoryReport{Attempt: 2, Name: "b"}), 204, "", nil)
	w.wants(w.post(path+protocol.PathFinish, protocol.FinishRequest{Attempt: 2, Outcome: protocol.OutcomeDone}), 204, "", nil)
	if len(w.inventory.reports) != 2 || len(w.inventory.ends) != 2 {
		t.Errorf("the inventory has %+v, %+v", w.inventory.reports, w.inventory.ends)
	}
	if strings.Contains(w.log.String(), "level=ERROR") {
		t.Errorf("log:\n%s", w.log)
	}
}

// TestShareKey brings a second component to a cluster.
func TestShareKey(t *testing.T) {
	w := newWorld(t)
	w.enrolled()
	first, firstID, firstSigning := w.key, w.id, w.signing
	var err error
	_, w.signing, err = ed25519.GenerateKey(rand.Reader)
	w.ok(err)
	w.key, err = seal.NewKey()
	w.ok(err)
	w.enrolled()
	w.wants(w.post(protocol.PathLease, w.asking()), 409, protocol.ErrHelloRequired, nil)
	secondID, secondSigning, second := w.id, w.signing, w.key

	w.id, w.signing, w.key = firstID, firstSigning, first
	var work protocol.Work
	w.wants(w.post(protocol.PathLease, w.asking()), 200, "", &work)
	if work.ShareKey == nil || work.ShareKey.ComponentID != secondID || work.ShareKey.Recipient != w.own.Recipient() {
		t.Fatalf("work: %+v", work)
	}
	sealed, err := seal.SealKey(work.ShareKey.Recipient, first)
	w.ok(err)
	w.wants(w.post(protocol.PathWork+work.ID+protocol.PathFinish,
		protocol.FinishRequest{Attempt: work.Attempt, Outcome: protocol.OutcomeDone, SealedClusterKey: sealed}), 204, "", nil)

	w.id, w.signing, w.key = secondID, secondSigning, second
	var hello protocol.HelloResponse
	w.wants(w.post(protocol.PathHello, w.hello()), 200, "", &hello)
	got, err := seal.OpenKey(w.own, hello.SealedClusterKey)
	if err != nil || got.Recipient() != hello.ClusterRecipient || got.Private() != first.Private() {
		t.Errorf("the newcomer has %v, %v", got, err)
	}
}

func TestGoneRegistries(t *testing.T) {
	w := newWorld(t)
	w.enrolled()
	w.inventory.gone["r1"], w.inventory.gone["r2"] = true, true
	for _, subject := range []string{"r1", "r2", "r3"} {
		w.queue(tidewaiter.SyncWork, subject)
	}
	var work protocol.Work
	w.wants(w.post(protocol.PathLease, w.asking()), 200, "", &work)
	if work.Sync.Registry.ID != "r3" {
		t.Errorf("work: %+v", work)
	}
	w.wants(w.post(protocol.PathLease, w.asking()), 204, "", nil)
	for _, subject := range []string{"r1", "r2"} {
		if got, err := w.db.OpenWork(t.Context(), subject, tidewaiter.SyncWork); tidewaiter.KindOf(err) != tidewaiter.NotFound {
			t.Errorf("work about what is gone: %+v, %v", got, err)
		}
	}
}

func TestInventoryErrors(t *testing.T) {
	w := newWorld(t)
	w.enrolled()
	work := w.lease(tidewaiter.SyncWork, "r1")
	path := protocol.PathWork + work.ID + protocol.PathRepository
	report := protocol.RepositoryReport{Attempt: 1, Name: "a"}
	for _, test := range []struct {
		err    error
		status int
		code   string
	}{
		{tidewaiter.Errorf(tidewaiter.Conflict, "the lease is lost"), 409, protocol.ErrLeaseLost},
		{tidewaiter.InvalidField("tags", "has an unknown manifest"), 400, "invalid"},
		{tidewaiter.Errorf(tidewaiter.Unavailable, "the database does not answer"), 503, "unavailable"},
		{context.DeadlineExceeded, 500, "internal"},
	} {
		w.inventory.err = test.err
		r := w.post(path, report)
		w.wants(r, test.status, test.code, nil)
		if test.status == 500 && (bytes.Contains(r.body, []byte("deadline")) || !strings.Contains(w.log.String(), "deadline")) {
			t.Errorf("an internal error is shown, or not logged: %s\n%s", r.body, w.log)
		}
	}
}

func TestRefusedRequests(t *testing.T) {
	w := newWorld(t)
	w.enrolled()
	hello := w.hello()
	for _, test := range []struct {
		name   string
		send   func() *reply
		status int
		code   string
	}{
		{"no signature", func() *reply { return w.send(w.request(protocol.PathHello, hello)) }, 401, protocol.ErrSignature},
		{"another body", func() *reply {
			r := w.sign(w.request(protocol.PathHello, hello))
			r.Body = io.NopCloser(strings.NewReader("{}"))
			r.ContentLength = 2
			return w.send(r)
		}, 401, protocol.ErrSignature},
		{"twice", func() *reply {
			r := w.sign(w.request(protocol.PathHello, hello))
			again := r.Clone(t.Context())
			again.Body, _ = r.GetBody()
			w.wants(w.send(r), 200, "", &protocol.HelloResponse{})
			return w.send(again)
		}, 401, protocol.ErrSignature},
		{"a clock that is wrong", func() *reply {
			r := w.request(protocol.PathHello, []byte("{}"))
			protocol.Sign(r, []byte("{}"), w.id, w.signing, time.Now().Add(-time.Hour))
			return w.send(r)
		}, 401, protocol.ErrSignature},
		{"somebody else", func() *reply {
			r := w.request(protocol.PathHello, []byte("{}"))
			protocol.Sign(r, []byte("{}"), "somebody", w.signing, time.Now())
			return w.send(r)
		}, 401, protocol.ErrUnknownComponent},
		{"another type", func() *reply {
			r := w.sign(w.request(protocol.PathHello, hello))
			r.Header.Set("Content-Type", "text/plain")
			return w.send(r)
		}, 400, "invalid"},
		{"compressed", func() *reply {
			r := w.sign(w.request(protocol.PathHello, hello))
			r.Header.Set("Content-Encoding", "gzip")
			return w.send(r)
		}, 400, "invalid"},
		{"no JSON", func() *reply { return w.post(protocol.PathHello, []byte("hello")) }, 400, "invalid"},
		{"nothing", func() *reply { return w.post(protocol.PathHello, []byte("")) }, 400, "invalid"},
		{"two objects", func() *reply { return w.post(protocol.PathHello, []byte("{}{}")) }, 400, "invalid"},
		{"another type of field", func() *reply { return w.post(protocol.PathHello, []byte(`{"name":7}`)) }, 400, "invalid"},
		{"too large", func() *reply {
			return w.post(protocol.PathHello, bytes.Repeat([]byte(" "), protocol.MaxBody+1))
		}, 413, "too_large"},
		{"no version in common", func() *reply {
			h := hello
			h.Newest, h.Oldest = 99, 99
			defer func() { w.post(protocol.PathHello, hello) }() // or it gets no work
			return w.post(protocol.PathHello, h)
		}, 426, protocol.ErrVersion},
		{"too many names", func() *reply {
			return w.post(protocol.PathWork+"x"+protocol.PathPending, protocol.PendingRequest{Repositories: make([]string, protocol.MaxNames+1)})
		}, 400, "invalid"},
		{"too many digests", func() *reply {
			return w.post(protocol.PathWork+"x"+protocol.PathUnknown, protocol.UnknownRequest{Digests: make([]tidewaiter.Digest, protocol.MaxNames+1)})
		}, 400, "invalid"},
		{"too many tags", func() *reply {
			return w.post(protocol.PathWork+"x"+protocol.PathRepository, protocol.RepositoryReport{Tags: make([]protocol.Tag, protocol.MaxReport+1)})
		}, 400, "invalid"},
		{"work of nobody", func() *reply {
			return w.post(protocol.PathWork+"x"+protocol.PathFinish, protocol.FinishRequest{Attempt: 1, Outcome: protocol.OutcomeDone})
		}, 409, protocol.ErrLeaseLost},
		{"work that no database can name", func() *reply {
			return w.post(protocol.PathWork+"a%00%FF"+protocol.PathHeartbeat, protocol.HeartbeatRequest{Attempt: 1})
		}, 409, protocol.ErrLeaseLost},
		{"an unknown outcome", func() *reply {
			work := w.lease(tidewaiter.SyncWork, "r")
			return w.post(protocol.PathWork+work.ID+protocol.PathFinish, protocol.FinishRequest{Attempt: work.Attempt, Outcome: "maybe"})
		}, 400, "invalid"},
	} {
		t.Run(test.name, func(t *testing.T) {
			outer := w.TB
			w.TB = t
			defer func() { w.TB = outer }()
			w.wants(test.send(), test.status, test.code, nil)
		})
	}
	// What this version does not know is ignored.
	w.wants(w.post(protocol.PathLease, []byte(`{"kinds":["sync"],"future":{"a":1},"cluster_recipient":"`+w.key.Recipient()+`"}`)), 204, "", nil)
}

func TestUnknownPaths(t *testing.T) {
	w := newWorld(t)
	for _, r := range []struct{ method, path string }{
		{"GET", "/component/v1/hello"}, {"POST", "/component/v1"}, {"POST", "/component/v1/nothing"}, {"POST", "/component/v1/work/x/nothing"},
	} {
		req, err := http.NewRequestWithContext(t.Context(), r.method, w.server.URL+r.path, nil)
		w.ok(err)
		w.wants(w.send(req), 404, "APIGW.0101", nil)
	}
}

func TestEnrolment(t *testing.T) {
	w := newWorld(t)
	good := w.enrolment()
	var first, again protocol.EnrolResponse
	w.wants(w.send(w.request(protocol.PathEnrol, good)), 200, "", &first)
	w.wants(w.send(w.request(protocol.PathEnrol, good)), 200, "", &again)
	if first != again || first.ClusterName != "harbour" {
		t.Errorf("first %+v, again %+v", first, again)
	}
	big := append(bytes.Repeat([]byte(" "), 17<<10), "{}"...)
	w.wants(w.send(w.request(protocol.PathEnrol, big)), 413, "too_large", nil)

	bad := good
	bad.Token = "twe_guess"
	for range 10 {
		w.wants(w.send(w.request(protocol.PathEnrol, bad)), 401, "unauthenticated", nil)
	}
	r := w.send(w.request(protocol.PathEnrol, good))
	w.wants(r, 429, "throttled", nil)
	if r.header.Get("Retry-After") != "60" {
		t.Errorf("header %v", r.header)
	}
	if strings.Contains(w.log.String(), good.Token) || strings.Contains(w.log.String(), bad.Token) {
		t.Error("a token is in the log")
	}
}

// FuzzEnrol sends any body in the one request that anybody may send.
func FuzzEnrol(f *testing.F) {
	db := storetest.Open(f, storetest.SQLite(f))
	now := time.Now()
	h := componentapi.New(componentapi.Options{
		Fleet: fleet.New(fleet.Options{Store: db}), Inventory: &memory{db: db},
		Now: func() time.Time { now = now.Add(time.Minute); return now }, // nobody is throttled
	})
	f.Add([]byte(`{"protocol":1,"oldest_protocol":1,"name":"a","version":"1","platform":"p","token":"twe_a",` +
		`"signing_key":"JrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs=","recipient":"age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"}`))
	f.Add([]byte(`{"protocol":null}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, body []byte) {
		r := httptest.NewRequest(http.MethodPost, protocol.Prefix+protocol.PathEnrol, bytes.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code < 400 || w.Code >= 500 {
			t.Errorf("%q: %d %s", body, w.Code, w.Body)
		}
	})
}
