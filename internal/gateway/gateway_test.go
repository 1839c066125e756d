package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidewaiter/tidewaiter"
)

// onlyToken is an Authenticator that knows one token, of a root user with the
// scope of project p1.
type onlyToken string

func (o onlyToken) AuthenticateToken(_ context.Context, token string) (*tidewaiter.Caller, error) {
	if token != string(o) {
		return nil, tidewaiter.Errorf(tidewaiter.Unauthenticated, "decrypt token fail")
	}
	return &tidewaiter.Caller{UserID: "u1", DomainID: "d1", Root: true, Scope: tidewaiter.ProjectScope, ProjectID: "p1"}, nil
}

func (o onlyToken) AuthenticateSignature(context.Context, *http.Request, string) (*tidewaiter.Caller, error) {
	return nil, tidewaiter.Errorf(tidewaiter.Unauthenticated, "verify aksk signature fail")
}

type filterInput struct {
	Project string   `path:"project_id"`
	Word    string   `query:"word" required:"true" minLength:"1" maxLength:"5"`
	Limit   int      `query:"limit" minimum:"10" maximum:"200" default:"10"`
	Kind    string   `query:"kind" enum:"Harbor,Jfrog"`
	Labels  []string `query:"labels,explode" maxItems:"3"`
}

type filterOutput struct {
	Body struct {
		Word   string   `json:"word"`
		Limit  int      `json:"limit"`
		Labels []string `json:"labels"`
	}
}

type nestedInput struct {
	Project string `path:"project_id"`
	Body    struct {
		Operate string `json:"operate" enum:"all,some"`
		Images  []struct {
			ID string `json:"id" minLength:"1" maxLength:"8"`
		} `json:"images,omitempty" maxItems:"2"`
	}
}

// newTestServer has the shapes of the contract's hardest operations: filters
// with ranges, enums and lists, and a nested body.
func newTestServer(t *testing.T, log *bytes.Buffer) (http.Handler, *prometheus.Registry) {
	t.Helper()
	metrics := prometheus.NewRegistry()
	g, err := New(Options{
		Identity: onlyToken("good"),
		Logger:   slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Metrics:  metrics,
	})
	if err != nil {
		t.Fatal(err)
	}
	a := g.NewAPI("test")
	Register(a, Operation{Name: "Filter", Method: "GET", Path: "/v5/{project_id}/filter", Action: "hss:x:list"},
		func(_ context.Context, in *filterInput) (*filterOutput, error) {
			switch in.Word {
			case "boom":
				panic("planted-" + in.Word)
			case "cause":
				return nil, tidewaiter.Wrap(tidewaiter.Internal, http.ErrNoCookie, "told to the operator")
			case "gone":
				return nil, tidewaiter.Errorf(tidewaiter.NotFound, "there is no such thing")
			}
			out := &filterOutput{}
			out.Body.Word, out.Body.Limit, out.Body.Labels = in.Word, in.Limit, in.Labels
			return out, nil
		})
	Register(a, Operation{Name: "Nested", Method: "POST", Path: "/v5/{project_id}/nested", Action: "hss:x:operate"},
		func(context.Context, *nestedInput) (*struct{}, error) { return nil, nil })
	Register(a, Operation{Name: "Identity", Method: "GET", Path: "/v3/thing", Dialect: IAM},
		func(context.Context, *struct{}) (*struct{}, error) { return nil, nil })
	Register(a, Operation{Name: "Own", Method: "GET", Path: "/tidewaiter/v1/thing/{id}", Dialect: Native},
		func(context.Context, *struct {
			ID string `path:"id"`
		}) (*struct{}, error) {
			return nil, tidewaiter.Errorf(tidewaiter.NotFound, "there is no such thing")
		})
	a.RegisterNotBuilt(Operation{Name: "Later", Method: "GET", Path: "/v5/{project_id}/later"})
	return g.Wrap(a), metrics
}

type answer struct {
	Status int
	Code   string
	Msg    string
}

func send(t *testing.T, h http.Handler, r *http.Request) (answer, *httptest.ResponseRecorder) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	var body struct {
		Code        string `json:"error_code"`
		Msg         string `json:"error_msg"`
		Description string `json:"error_description"`
		RequestID   string `json:"request_id"`
	}
	if w.Code >= 400 {
		if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
			t.Fatalf("%s: body %q: %v", r.URL, w.Body, err)
		}
		if body.Description != body.Msg || body.RequestID != w.Header().Get("X-Request-Id") || len(body.RequestID) != 32 {
			t.Errorf("%s: description or request id is off: %s", r.URL, w.Body)
		}
		if ct := w.Header().Get("Content-Type"); ct != "application/json" {
			t.Errorf("%s: content type %q", r.URL, ct)
		}
		if cc := w.Header().Get("Cache-Control"); cc != "no-store" {
			t.Errorf("%s: cache control %q", r.URL, cc)
		}
	}
	return answer{w.Code, body.Code, body.Msg}, w
}

func TestErrors(t *testing.T) {
	const incorrect = "Incorrect IAM authentication information: "
	const notPublished = "The API does not exist or has not been published: "
	const spill = "Invalid parameter query: parameter number 2 is not one of this operation, which takes kind, labels, limit, word; inside a value write & as %26 and # as %23"
	tests := []struct {
		name, target, token string
		want                answer
	}{
		{"good", "/v5/p1/filter?word=a", "good", answer{Status: 200}},
		{"no token", "/v5/p1/filter?word=a", "", answer{401, "APIGW.0301", incorrect + "x-auth-token not found"}},
		{"bad token", "/v5/p1/filter?word=a", "bad", answer{401, "APIGW.0301", incorrect + "decrypt token fail"}},
		{"long token", "/v5/p1/filter?word=a", strings.Repeat("x", MaxToken+1), answer{494, "APIGW.0201",
			"Bad request: a header is longer than 32768 bytes, or all of them are longer than 131072"}},
		{"other project", "/v5/p2/filter?word=a", "good", answer{403, "APIGW.0302",
			"the token is scoped to another project than the one in the path; request a token for that project"}},
		{"missing", "/v5/p1/filter", "good", answer{400, "HSS.0001", "Invalid parameter word: required query parameter is missing"}},
		{"empty", "/v5/p1/filter?word=", "good", answer{400, "HSS.0001", "Invalid parameter word: required query parameter is missing"}},
		{"no value", "/v5/p1/filter?word&limit=10", "good", answer{400, "HSS.0001", "Invalid parameter word: required query parameter is missing"}},
		{"long", "/v5/p1/filter?word=sixsix", "good", answer{400, "HSS.0001", "Invalid parameter word: expected length <= 5"}},
		{"runes count", "/v5/p1/filter?word=" + url.QueryEscape("äöüßé"), "good", answer{Status: 200}},
		{"repeated", "/v5/p1/filter?word=a&word=a", "good", answer{400, "HSS.0001", "Invalid parameter word: it is given more than once; give it once"}},
		{"repeated list", "/v5/p1/filter?word=a&labels=x&labels=y", "good", answer{Status: 200}},
		{"typo", "/v5/p1/filter?word=a&Lables=x", "good", answer{400, "HSS.0001", "Invalid parameter Lables: there is no such parameter; did you mean labels?"}},
		{"unknown", "/v5/p1/filter?word=a&other=x", "good", answer{400, "HSS.0001", spill}},
		{"spilled value", "/v5/p1/filter?word=a&hunter2", "good", answer{400, "HSS.0001", spill}},
		{"semicolon", "/v5/p1/filter?word=a;b", "good", answer{400, "HSS.0001", "Invalid parameter word: its value has a semicolon; write it as %3B"}},
		{"bad escape", "/v5/p1/filter?word=%zz", "good", answer{400, "HSS.0001", "Invalid parameter word: its value has a % that is no percent escape; write it as %25"}},
		{"bad escape in name", "/v5/p1/filter?wo%zzrd=a", "good", answer{400, "HSS.0001",
			"Invalid parameter query: the name of parameter number 1 is not well formed; write % as %25 and ; as %3B"}},
		{"not UTF-8", "/v5/p1/filter?word=%ff", "good", answer{400, "HSS.0001", "Invalid parameter word: its value is not UTF-8"}},
		{"NUL", "/v5/p1/filter?word=a%00", "good", answer{400, "HSS.0001", "Invalid parameter word: its value has the character NUL, which nothing has in its name"}},
		{"a million parameters", "/v5/p1/filter?" + strings.Repeat("a=&", 5000), "good", answer{400, "HSS.0001", "Invalid parameter query: parameter number 1 is not one of this operation, which takes kind, labels, limit, word; inside a value write & as %26 and # as %23"}},
		{"many known", "/v5/p1/filter?" + strings.Repeat("labels=x&", 300), "good", answer{400, "HSS.0001", "Invalid parameter query: there are more than 200 parameters"}},
		{"range", "/v5/p1/filter?word=a&limit=9", "good", answer{400, "HSS.0001", "Invalid parameter limit: expected number >= 10"}},
		{"no number", "/v5/p1/filter?word=a&limit=ten", "good", answer{400, "HSS.0001", "Invalid parameter limit: invalid integer"}},
		{"enum", "/v5/p1/filter?word=a&kind=Quay", "good", answer{400, "HSS.0001", `Invalid parameter kind: expected value to be one of "Harbor, Jfrog"`}},
		{"not found", "/v5/p1/filter?word=gone", "good", answer{400, "HSS.0011", "there is no such thing"}},
		{"not found, own API", "/tidewaiter/v1/thing/7", "good", answer{404, "HSS.0011", "there is no such thing"}},
		{"internal", "/v5/p1/filter?word=cause", "good", answer{500, "APIGW.0601", "internal error; the server's log has the details under this request id"}},
		{"panic", "/v5/p1/filter?word=boom", "good", answer{500, "APIGW.0601", "internal error; the server's log has the details under this request id"}},
		{"unknown path", "/v5/p1/nothing", "good", answer{404, "APIGW.0101", notPublished + "check the method and the path"}},
		{"not built", "/v5/p1/later", "good", answer{404, "APIGW.0101", notPublished + "Later is part of the contract, but this release of Tidewaiter does not have it yet"}},
		{"long URI", "/v5/p1/filter?word=" + strings.Repeat("a", MaxURI), "good", answer{414, "APIGW.0201", "Bad request: the request URI is longer than 32768 bytes"}},
	}
	var log bytes.Buffer
	h, _ := newTestServer(t, &log)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest("GET", tt.target, nil)
			if tt.token != "" {
				r.Header.Set("X-Auth-Token", tt.token)
			}
			got, w := send(t, h, r)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got\n%s%s", diff, w.Body)
			}
		})
	}
	if strings.Contains(log.String(), "planted-boom") || strings.Contains(log.String(), "hunter2") {
		t.Errorf("the log repeats what it must not:\n%s", log.String())
	}
	if !strings.Contains(log.String(), "named cookie not present") {
		t.Error("the log lacks the cause of an internal error")
	}
}

func TestBodies(t *testing.T) {
	var log bytes.Buffer
	h, _ := newTestServer(t, &log)
	tests := []struct {
		name, body string
		want       answer
	}{
		{"good", `{"operate":"all","images":[{"id":"x"}]}`, answer{Status: 204}},
		{"enum", `{"operate":"none"}`, answer{400, "HSS.0001", `Invalid parameter operate: expected value to be one of "all, some"`}},
		{"deep", `{"operate":"some","images":[{"id":"x"},{"id":"muchtoolong"}]}`, answer{400, "HSS.0001", "Invalid parameter images[1].id: expected length <= 8"}},
		{"missing", `{}`, answer{400, "HSS.0001", "Invalid parameter body: expected required property operate to be present"}},
		{"no JSON", `{"operate":`, answer{400, "HSS.0001", "Invalid parameter body: unexpected end of JSON input"}},
		{"no body", ``, answer{400, "HSS.0001", "request body is required"}},
		{"huge", `"` + strings.Repeat("x", MaxBody) + `"`, answer{413, "APIGW.0201", "Bad request: the body is larger than 12582912 bytes"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest("POST", "/v5/p1/nested", strings.NewReader(tt.body))
			r.Header.Set("X-Auth-Token", "good")
			r.Header.Set("Content-Type", "application/json")
			got, w := send(t, h, r)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got\n%s%s", diff, w.Body)
			}
		})
	}
}

// IAM clients read an error object, those of HSS error_code; both get theirs.
func TestIAMError(t *testing.T) {
	var log bytes.Buffer
	h, _ := newTestServer(t, &log)
	got, w := send(t, h, httptest.NewRequest("GET", "/v3/thing", nil))
	if got.Status != 401 || got.Code != "IAM.0001" {
		t.Errorf("got %+v", got)
	}
	var body struct {
		Error struct {
			Code           int
			Message, Title string
		}
	}
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || body.Error.Code != 401 || body.Error.Title != "Unauthorized" || body.Error.Message != got.Msg {
		t.Errorf("got %s, %v", w.Body, err)
	}
}

// A client of the wild sends its secret anywhere: none of it is in the log or
// in the metrics.
func TestNothingOfTheURLIsLogged(t *testing.T) {
	var log bytes.Buffer
	h, metrics := newTestServer(t, &log)
	for _, target := range []string{
		"/v5/p1/filter?word=s3cr3t", "/v5/p1/filter%3Fword=s3cr3t", "/s3cr3t", "/v5/s3cr3t/filter",
		"/v5/p1/filter?s3cr3t=1", "/v5/p1/filter?word=%zzs3cr3t", "/v5/p1/filter?word=a;s3cr3t",
		"/v5/p1/later?s3cr3t", "/v3/thing?s3cr3t", "/v3/s3cr3t",
	} {
		for _, token := range []string{"", "good", "s3cr3t"} {
			r := httptest.NewRequest("GET", target, nil)
			r.Header.Set("X-Auth-Token", token)
			r.Header.Set("Authorization", "s3cr3t")
			r.Header.Set("X-Request-Id", "s3cr3t")
			_, w := send(t, h, r)
			if strings.Contains(w.Body.String(), "s3cr3t") {
				t.Errorf("%s: the answer repeats it: %s", target, w.Body)
			}
		}
	}
	if !strings.Contains(log.String(), `"route":"GET /v5/{project_id}/filter"`) {
		t.Fatal("the log has no requests; the test proves nothing")
	}
	if strings.Contains(log.String(), "s3cr3t") {
		t.Errorf("the log has it:\n%s", log.String())
	}
	families, err := metrics.Gather()
	if err != nil || len(families) == 0 {
		t.Fatalf("no metrics: %v", err)
	}
	for _, f := range families {
		if strings.Contains(f.String(), "s3cr3t") {
			t.Errorf("the metrics have it: %s", f)
		}
	}
}

func FuzzCheckQuery(f *testing.F) {
	for _, s := range []string{"", "word=a", "word=a&word=b", "a=%zz", "a;b=1", "=&=", "&&&", "word=%ff", "labels=a&labels=b", "wrod=x"} {
		f.Add(s)
	}
	op := &Operation{
		parameterNames: []string{"labels", "word"},
		parameters:     map[string]bool{"labels": true, "word": true},
		repeatable:     map[string]bool{"labels": true},
	}
	f.Fuzz(func(t *testing.T, raw string) {
		if checkQuery(raw, op) != nil {
			return
		}
		// What passes means the same to net/url, and has no surprises.
		values, err := url.ParseQuery(raw)
		if err != nil {
			t.Fatalf("accepted %q, which net/url refuses: %v", raw, err)
		}
		for name, v := range values {
			if !op.parameters[name] || len(v) > 1 && !op.repeatable[name] {
				t.Fatalf("accepted %q with %s given %d times", raw, name, len(v))
			}
		}
	})
}
