package hssapi_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth/basic"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/region"
	hss "github.com/huaweicloud/huaweicloud-sdk-go-v3/services/hss/v5"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/findings"
	"github.com/tidewaiter/tidewaiter/internal/fleet"
	"github.com/tidewaiter/tidewaiter/internal/gateway"
	"github.com/tidewaiter/tidewaiter/internal/hssapi"
	"github.com/tidewaiter/tidewaiter/internal/identity"
	"github.com/tidewaiter/tidewaiter/internal/inventory"
	"github.com/tidewaiter/tidewaiter/internal/protocol"
	"github.com/tidewaiter/tidewaiter/internal/scan"
	"github.com/tidewaiter/tidewaiter/internal/seal"
	"github.com/tidewaiter/tidewaiter/internal/snapshots"
	"github.com/tidewaiter/tidewaiter/internal/store"
	"github.com/tidewaiter/tidewaiter/internal/store/storetest"
)

// password is that of the registries.
const password = "Planted-Passw0rd-é'\"$(x)"

// extractors is the version of the newest set of extractors.
const extractors = "set-2"

// house is a server with its first account, an attached cluster, and the one
// component of it.
type house struct {
	*testing.T
	id        *identity.Service
	fleet     *fleet.Service
	inventory *inventory.Service
	scans     *scan.Service
	sets      *snapshots.Service
	findings  *findings.Service
	url       string
	boot      identity.Bootstrap
	root      *tidewaiter.Caller
	token     string // of the root user, for the project
	sdk       *hss.HssClient

	skew      atomic.Int64  // how far the clock of fleet and scans is ahead, in nanoseconds
	log       *bytes.Buffer // of the gateway, at debug
	cluster   tidewaiter.Cluster
	key       *seal.Key // of the cluster
	component tidewaiter.Component
}

func newHouse(t *testing.T) *house {
	t.Helper()
	h := &house{T: t, log: &bytes.Buffer{}}
	db := storetest.Open(t, storetest.SQLite(t))
	secret, err := identity.LoadOrCreateKey(filepath.Join(t.TempDir(), "secret.key"))
	h.must(err)
	h.id, err = identity.New(t.Context(), identity.Options{Store: db, Key: secret})
	h.must(err)
	h.boot, _, err = h.id.Bootstrap(t.Context(), identity.BootstrapOptions{})
	h.must(err)
	h.root, err = h.id.Operator(t.Context(), "")
	h.must(err)
	log := slog.New(slog.NewTextHandler(h.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	now := func() time.Time { return store.Now().Add(time.Duration(h.skew.Load())) }
	h.fleet = fleet.New(fleet.Options{Store: db, Logger: log, Now: now})
	t.Cleanup(h.fleet.Close)
	h.inventory, err = inventory.New(inventory.Options{Store: db, Wake: h.fleet.Wake, Location: time.UTC, SyncAt: "off", Logger: log})
	h.must(err)

	h.sets = snapshots.New(snapshots.Options{Store: db, Folder: t.TempDir(), Logger: log})
	t.Cleanup(func() { h.must(h.sets.Close()) })
	h.findings = findings.New(findings.Options{Store: db, Sets: h.sets, Logger: log, Now: now})
	h.scans = scan.New(scan.Options{Store: db, Wake: h.fleet.Wake, Extractors: extractors, Findings: h.findings, Now: now, Logger: log})

	g, err := gateway.New(gateway.Options{Identity: h.id, Logger: log})
	h.must(err)
	api := g.NewAPI("test")
	hssapi.Register(api, hssapi.Options{Fleet: h.fleet, Inventory: h.inventory, Scans: h.scans, Findings: h.findings, Component: hssapi.Component{
		Image: "scan-component", Version: "1.2.3", Repository: "tidewaiter.example.com/tidewaiter/scan-component",
		Digest: "sha256:" + strings.Repeat("0", 64), Archives: map[string]string{"linux/amd64": "scan-component-amd64.tar"},
	}})
	server := httptest.NewServer(g.Wrap(api))
	t.Cleanup(server.Close)
	h.url = server.URL
	h.token = h.signIn("admin", h.boot.Password)
	auth, err := basic.NewCredentialsBuilder().WithAk(h.boot.AccessKey).WithSk(h.boot.SecretKey).WithProjectId(h.boot.Project.ID).SafeBuild()
	h.must(err)
	client, err := hss.HssClientBuilder().WithRegion(region.NewRegion("default", h.url)).WithCredential(auth).SafeBuild()
	h.must(err)
	h.sdk = hss.NewHssClient(client)

	h.key, err = seal.NewKey()
	h.must(err)
	h.cluster, err = h.fleet.CreateCluster(t.Context(), h.boot.Project.ID, "site")
	h.must(err)
	h.component = h.enrol(h.cluster, "host-1", h.key)
	return h
}

func (h *house) must(err error) {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
}

// signIn returns a token for the first project.
func (h *house) signIn(user, password string) string {
	h.Helper()
	token, _, err := h.id.IssueToken(h.Context(), identity.TokenRequest{
		UserName: user, DomainName: "tidewaiter", Password: password, Scope: identity.TokenScope{ProjectID: h.boot.Project.ID},
	})
	h.must(err)
	return token
}

// enrol adds a component that holds a key to a cluster.
func (h *house) enrol(cluster tidewaiter.Cluster, name string, key *seal.Key) tidewaiter.Component {
	h.Helper()
	token, err := h.fleet.NewToken(h.Context(), cluster.ID, 0)
	h.must(err)
	public, _, err := ed25519.GenerateKey(nil)
	h.must(err)
	own, err := seal.NewKey()
	h.must(err)
	description := protocol.Description{Name: name, Version: tidewaiter.Version, Platform: "linux/amd64"}
	enrolled, err := h.fleet.Enrol(h.Context(), protocol.EnrolRequest{
		Versions: protocol.Ours(), Description: description, Token: token.Text, SigningKey: public, Recipient: own.Recipient(),
	})
	h.must(err)
	c, err := h.fleet.Component(h.Context(), enrolled.ComponentID)
	h.must(err)
	_, err = h.fleet.Hello(h.Context(), c, protocol.HelloRequest{
		Versions: protocol.Ours(), Description: description, ClusterRecipient: key.Recipient(), Started: true,
	})
	h.must(err)
	c, err = h.fleet.Component(h.Context(), c.ID)
	h.must(err)
	return c
}

// later moves the clock of fleet and scans on.
func (h *house) later(d time.Duration) { h.skew.Add(int64(d)) }

// lease takes work of a kind.
func (h *house) lease(kind tidewaiter.WorkKind) (tidewaiter.Work, tidewaiter.Lease) {
	h.Helper()
	w, err := h.fleet.Lease(h.Context(), h.component, protocol.LeaseRequest{
		Kinds: []tidewaiter.WorkKind{kind}, ClusterRecipient: h.key.Recipient(),
	})
	h.must(err)
	if w == nil {
		h.Fatalf("there is no work of kind %s", kind)
	}
	return *w, tidewaiter.Lease{WorkID: w.ID, Owner: h.component.ID, Attempt: w.Attempt}
}

// finish ends work well, or with a failure.
func (h *house) finish(w tidewaiter.Work, l tidewaiter.Lease, f protocol.FinishRequest) {
	h.Helper()
	f.Attempt = l.Attempt
	h.must(h.inventory.Finish(h.Context(), w, l, f))
}

// check does the access check that waits, with an outcome.
func (h *house) check(reason, message string) {
	h.Helper()
	w, l := h.lease(tidewaiter.AccessCheckWork)
	step := protocol.Step{Name: "dns", Status: "ok", Microseconds: 1500, Message: "well"}
	if reason != "" {
		step.Status, step.Message = "failed", message
	}
	h.finish(w, l, protocol.FinishRequest{Outcome: protocol.OutcomeDone, AccessCheck: &protocol.AccessReport{
		Steps: []protocol.Step{step}, FailReason: reason,
	}})
}

// sync does the synchronisation that waits, with these reports.
func (h *house) sync(reports ...protocol.RepositoryReport) {
	h.Helper()
	w, l := h.lease(tidewaiter.SyncWork)
	for _, r := range reports {
		r.Attempt = l.Attempt
		h.must(h.inventory.Report(h.Context(), l, r))
	}
	h.finish(w, l, protocol.FinishRequest{Outcome: protocol.OutcomeDone})
}

type object = map[string]any

// registry is the body of an AddRegistry that works, with changes; nil removes.
func (h *house) registry(name string, changes object) object {
	body := object{
		"registry_name": name, "registry_type": "Harbor", "api_version": "V2", "protocol": "https",
		"registry_addr": "harbor.example.com", "registry_username": "robot$ci", "registry_password": password,
		"connect_cluster_id": h.cluster.ID, "get_scan_image_channel": "Swr",
	}
	for field, v := range changes {
		body[field] = v
		if v == nil {
			delete(body, field)
		}
	}
	return body
}

// add connects a registry and returns its id.
func (h *house) add(name string, changes object) string {
	h.Helper()
	id, _ := h.ask("POST", "/image/registries", h.registry(name, changes)).body["id"].(string)
	return id
}

// answer is an answer of the server.
type answer struct {
	*http.Response
	text string
	body object
}

// as sends a request with a token, and with headers: name, value. The body is
// text, or else made into JSON.
func (h *house) as(token, method, path string, body any, header ...string) answer {
	h.Helper()
	text, ok := body.(string)
	if !ok && body != nil {
		b, err := json.Marshal(body)
		h.must(err)
		text = string(b)
	}
	r, err := http.NewRequestWithContext(h.Context(), method, h.url+"/v5/"+h.boot.Project.ID+path, strings.NewReader(text))
	h.must(err)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-Auth-Token", token)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	h.must(err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	h.must(err)
	a := answer{Response: resp, text: string(b)}
	h.must(json.Unmarshal(b, &a.body))
	return a
}

// ask sends a request of the root user that has to succeed.
func (h *house) ask(method, path string, body any) answer {
	h.Helper()
	a := h.as(h.token, method, path, body)
	if a.StatusCode != 200 {
		h.Errorf("%s %s: %d %s", method, path, a.StatusCode, a.text)
	}
	return a
}

// fail sends a request of the root user, and wants an error.
func (h *house) fail(code, message, method, path string, body any) {
	h.Helper()
	a := h.as(h.token, method, path, body)
	msg, _ := a.body["error_msg"].(string)
	if a.StatusCode != 400 || a.body["error_code"] != code || !strings.Contains(msg, message) {
		h.Errorf("%s %s %v: got %d %s, want %s with %q", method, path, body, a.StatusCode, a.text, code, message)
	}
	if strings.Contains(a.text, password) {
		h.Errorf("%s %s: the error has the password: %s", method, path, a.text)
	}
}

// list returns what a list has under a name, of all its items, and checks that
// the count is that of the items unless there are more pages.
func (h *house) list(path, field string, query ...string) []string {
	h.Helper()
	values := url.Values{}
	for i := 0; i < len(query); i += 2 {
		values.Set(query[i], query[i+1])
	}
	if len(values) > 0 {
		path += "?" + values.Encode()
	}
	a := h.ask("GET", path, nil)
	out := []string{}
	items, ok := a.body["data_list"].([]any)
	if !ok {
		h.Fatalf("%s has no list: %s", path, a.text)
	}
	for _, item := range items {
		text, _ := item.(object)[field].(string)
		out = append(out, text)
	}
	if n := a.body["total_num"]; n != float64(len(out)) && !values.Has("limit") && !values.Has("offset") && len(out) < 10 {
		h.Errorf("%s: total_num is %v, but there are %d", path, n, len(out))
	}
	return out
}
