package main

import (
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

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/identity"
	"github.com/tidewaiter/tidewaiter/internal/identity/aksk"
)

// house is the whole server, without a network, with three projects: default,
// b and off, which is disabled.
type house struct {
	*testing.T
	*identity.Service
	handler http.Handler
	root    *tidewaiter.Caller
	project map[string]string // ids by name
	shop    string            // id of an enterprise project
}

func newHouse(t *testing.T) *house {
	t.Helper()
	needComponent(t)
	c := &Config{Data: t.TempDir(), Listen: "127.0.0.1:0", LogFormat: "text", LogLevel: "info", TokenLifetime: time.Hour}
	c.Keys = filepath.Join(c.Data, "keys")
	log := slog.New(slog.DiscardHandler)
	state, err := openState(t.Context(), c, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { state.Close() })
	h := &house{T: t, Service: state.identity, project: map[string]string{}}
	first, err := state.bootstrap(t.Context(), c, "http://127.0.0.1:1")
	h.must(err)
	h.handler, err = newHandler(t.Context(), c, "http://127.0.0.1:1", state, log, prometheus.NewRegistry(), &atomic.Bool{})
	h.must(err)
	h.root, err = h.Operator(t.Context(), "")
	h.must(err)
	h.project["default"] = first.ProjectID
	for _, name := range []string{"b", "off"} {
		p, err := h.CreateProject(t.Context(), h.root, name, "")
		h.must(err)
		h.project[name] = p.ID
	}
	disabled := false
	_, err = h.UpdateProject(t.Context(), h.root, "off", identity.ProjectChange{Enabled: &disabled})
	h.must(err)
	e, err := h.CreateEnterpriseProject(t.Context(), h.root, "shop", "")
	h.must(err)
	h.shop = e.ID
	return h
}

func (h *house) must(err error) {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
}

// grants are what a user has: names of policies, and where.
type grant struct{ policy, project, enterpriseProject string }

// user makes a user of a model with grants, and returns the password.
func (h *house) user(name string, model tidewaiter.Authorization, grants ...grant) string {
	h.Helper()
	_, password, err := h.CreateUser(h.Context(), h.root, identity.NewUser{Name: name, Authorization: model})
	h.must(err)
	for _, g := range grants {
		_, err := h.Grant(h.Context(), h.root, tidewaiter.Grant{
			UserID: name, PolicyID: g.policy, ProjectID: g.project, EnterpriseProjectID: g.enterpriseProject,
		})
		h.must(err)
	}
	return password
}

// token returns a header for a token; with the project "" it is for the domain.
func (h *house) token(user, password, project string) func(*http.Request) {
	h.Helper()
	token, _, err := h.IssueToken(h.Context(), identity.TokenRequest{
		UserName: user, DomainName: "tidewaiter", Password: password, Scope: identity.TokenScope{ProjectName: project},
	})
	h.must(err)
	return func(r *http.Request) { r.Header.Set("X-Auth-Token", token) }
}

// signer signs with a new access key of the user.
func (h *house) signer(user string) func(*http.Request) {
	h.Helper()
	k, secret, err := h.CreateAccessKey(h.Context(), h.root, user)
	h.must(err)
	return func(r *http.Request) {
		if err := aksk.Sign(r, k.ID, []byte(secret), nil, time.Now()); err != nil {
			h.Error(err)
		}
	}
}

// ask sends ShowImageUploadCommand for a project by its name, and returns the
// status, and the message of an error.
func (h *house) ask(as func(*http.Request), project, enterpriseProject string, headers ...string) (int, string) {
	h.Helper()
	query := url.Values{
		"registry_addr": {"registry.example.com"}, "namespace": {"a"}, "username": {"me"}, "password": {"secret"},
	}
	if enterpriseProject != "" {
		query.Set("enterprise_project_id", enterpriseProject)
	}
	id, ok := h.project[project]
	if !ok {
		id = project
	}
	return h.do(as, http.MethodGet, "/v5/"+id+"/image/registries/image-upload-command?"+query.Encode(), "", headers...)
}

func (h *house) do(as func(*http.Request), method, target, body string, headers ...string) (int, string) {
	h.Helper()
	r := httptest.NewRequestWithContext(h.Context(), method, target, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	as(r)
	w := httptest.NewRecorder()
	h.handler.ServeHTTP(w, r)
	b, err := io.ReadAll(w.Result().Body)
	h.must(err)
	var e struct {
		Msg string `json:"error_msg"`
	}
	h.must(json.Unmarshal(b, &e))
	return w.Code, e.Msg
}

// want checks what ShowImageUploadCommand answered.
func (h *house) want(status int, message string) func(int, string) {
	return func(gotStatus int, got string) {
		h.Helper()
		if gotStatus != status || !strings.Contains(got, message) {
			h.Errorf("got %d %q, want %d with %q", gotStatus, got, status, message)
		}
	}
}

func TestTokenIsBoundToItsProject(t *testing.T) {
	h := newHouse(t)
	password := h.user("alice", tidewaiter.PolicyAuthorization, grant{policy: "HSS FullAccess"})
	inDefault, inB, inDomain := h.token("alice", password, "default"), h.token("alice", password, "b"), h.token("alice", password, "")
	h.want(200, "")(h.ask(inDefault, "default", ""))
	h.want(200, "")(h.ask(inB, "b", ""))
	const another = "scoped to another project"
	h.want(403, another)(h.ask(inDefault, "b", ""))
	h.want(403, another)(h.ask(inB, "default", ""))
	h.want(403, another)(h.ask(inDefault, "nowhere", ""))
	h.want(403, another)(h.ask(inDefault, "default%20", ""))
	h.want(403, "auth.scope.project")(h.ask(inDomain, "default", ""))
	h.want(403, "X-Project-Id")(h.ask(inDefault, "default", "", "X-Project-Id", h.project["b"]))
	h.want(200, "")(h.ask(inDefault, "default", "", "X-Project-Id", h.project["default"]))

	// Not even a root user's token reaches over.
	_, rootPassword, err := h.CreateUser(t.Context(), h.root, identity.NewUser{Name: "root", Root: true})
	h.must(err)
	h.want(403, another)(h.ask(h.token("root", rootPassword, "b"), "default", ""))
}

func TestSignatureIsGoodForGrantedProjects(t *testing.T) {
	h := newHouse(t)
	h.user("alice", tidewaiter.PolicyAuthorization, grant{policy: "HSS FullAccess", project: "default"}, grant{policy: "HSS FullAccess", project: "off"})
	alice := h.signer("alice")
	h.want(200, "")(h.ask(alice, "default", ""))
	const nothing = "does not exist in the caller's account, or nothing is granted"
	h.want(403, nothing)(h.ask(alice, "b", ""))
	h.want(403, nothing)(h.ask(alice, "nowhere", ""))
	h.want(403, "disabled")(h.ask(alice, "off", ""))

	// A project of another account, by who may do everything in their own.
	other, err := h.CreateAccount(t.Context(), identity.BootstrapOptions{Domain: "another"})
	h.must(err)
	stranger := func(r *http.Request) {
		h.must(aksk.Sign(r, other.AccessKey, []byte(other.SecretKey), nil, time.Now()))
	}
	h.want(403, nothing)(h.ask(stranger, "default", ""))
	h.want(200, "")(h.ask(stranger, other.Project.ID, ""))
}

func TestReadOnly(t *testing.T) {
	h := newHouse(t)
	password := h.user("reader", tidewaiter.PolicyAuthorization, grant{policy: "HSS ReadOnlyAccess"})
	h.want(200, "")(h.ask(h.token("reader", password, "default"), "default", ""))
	inDomain := h.token("reader", password, "")
	h.want(403, "iam:users:create")(h.do(inDomain, http.MethodPost, "/tidewaiter/v1/users", `{"name":"x"}`))

	// The operations that change images are not built yet: ask the judge.
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
	h.token("reader", password, "default")(r)
	caller, err := h.AuthenticateToken(t.Context(), r.Header.Get("X-Auth-Token"))
	h.must(err)
	for action, may := range map[string]bool{
		"hss:images:list": true, "hss:imageScan:get": true,
		"hss:registries:set": false, "hss:imageScan:operate": false, "iam:users:list": false,
	} {
		if err := caller.Authorize(action, h.project["default"], "", false); (err == nil) != may {
			t.Errorf("%s: got %v", action, err)
		}
	}
}

func TestModelsAndDeny(t *testing.T) {
	h := newHouse(t)
	document := func(effect tidewaiter.Effect) tidewaiter.PolicyDocument {
		return tidewaiter.PolicyDocument{Version: "1.1", Statement: []tidewaiter.PolicyStatement{{Effect: effect, Action: []string{"hss:images:*"}}}}
	}
	for name, effect := range map[string]tidewaiter.Effect{"images": tidewaiter.Allow, "no images": tidewaiter.Deny} {
		_, err := h.CreatePolicy(t.Context(), h.root, tidewaiter.Policy{Name: name, Document: document(effect)})
		h.must(err)
	}
	const policy, identityPolicy = tidewaiter.PolicyAuthorization, tidewaiter.IdentityPolicyAuthorization
	const lacking, denied = "no policy of the caller allows hss:images:get", "a policy of the caller denies hss:images:get"
	for _, tt := range []struct {
		name    string
		model   tidewaiter.Authorization
		grants  []grant
		status  int
		message string
	}{
		{"own policy", policy, []grant{{policy: "images"}}, 200, ""},
		{"another service's policy", policy, []grant{{policy: "IAM FullAccess"}}, 403, lacking},
		{"Deny beside Allow", policy, []grant{{policy: "HSS FullAccess"}, {policy: "no images"}}, 403, denied},
		{"Deny in this project", policy, []grant{{policy: "HSS FullAccess"}, {policy: "no images", project: "default"}}, 403, denied},
		{"Deny in another project", policy, []grant{{policy: "HSS FullAccess"}, {policy: "no images", project: "b"}}, 200, ""},
		{"identity policies, nothing granted", identityPolicy, nil, 200, ""},
		{"identity policies, Deny", identityPolicy, []grant{{policy: "no images"}}, 403, denied},
	} {
		t.Run(tt.name, func(t *testing.T) {
			password := h.user(tt.name, tt.model, tt.grants...)
			h.want(tt.status, tt.message)(h.ask(h.token(tt.name, password, "default"), "default", ""))
			h.want(tt.status, tt.message)(h.ask(h.signer(tt.name), "default", ""))
		})
	}
	// Identity policies exempt the registry operations alone.
	c, err := h.User(t.Context(), h.root, "identity policies, nothing granted")
	h.must(err)
	caller := &tidewaiter.Caller{UserID: c.ID, Scope: tidewaiter.ProjectScope, ProjectID: "p", Authorization: c.Authorization}
	if caller.Authorize("hss:images:list", "p", "", false) == nil {
		t.Error("an identity-policy principal may do what is not exempt")
	}
}

func TestEnterpriseProjects(t *testing.T) {
	h := newHouse(t)
	const lacking = "no policy of the caller allows hss:images:get"
	inShop := h.user("shop", tidewaiter.PolicyAuthorization, grant{"HSS FullAccess", "", h.shop})
	everywhere := h.user("everywhere", tidewaiter.PolicyAuthorization, grant{policy: "HSS FullAccess"})
	nowhere := h.user("nowhere", tidewaiter.PolicyAuthorization, grant{policy: "IAM FullAccess"})
	for user, as := range map[string]func(*http.Request){
		"with a token": h.token("shop", inShop, "default"), "with a signature": h.signer("shop"),
	} {
		t.Run(user, func(*testing.T) {
			h.want(403, lacking)(h.ask(as, "default", ""))
			h.want(403, lacking)(h.ask(as, "default", "0"))
			h.want(403, lacking)(h.ask(as, "default", "another"))
			h.want(200, "")(h.ask(as, "default", h.shop))
			h.want(200, "")(h.ask(as, "default", tidewaiter.AllGrantedEnterpriseProjects))
		})
	}
	for _, id := range []string{"", "0", h.shop, tidewaiter.AllGrantedEnterpriseProjects} {
		h.want(200, "")(h.ask(h.token("everywhere", everywhere, "default"), "default", id))
		h.want(403, lacking)(h.ask(h.token("nowhere", nowhere, "default"), "default", id))
	}
}
