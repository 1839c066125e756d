package gateway

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/tidewaiter/tidewaiter"
)

// limited is an Authenticator whose one caller may do everything in the
// enterprise project 7, and nothing elsewhere.
type limited struct{ Authenticator }

func (limited) AuthenticateToken(context.Context, string) (*tidewaiter.Caller, error) {
	everything := tidewaiter.PolicyDocument{Statement: []tidewaiter.PolicyStatement{{Effect: tidewaiter.Allow, Action: []string{"hss:*:*"}}}}
	return &tidewaiter.Caller{Scope: tidewaiter.ProjectScope, ProjectID: "p1", Grants: []tidewaiter.CallerGrant{
		{Document: everything, EnterpriseProjectID: "7"},
	}}, nil
}

// The caller is judged by the enterprise project that the handler will see,
// however its name and value are written.
func TestAuthorizedForWhatTheHandlerSees(t *testing.T) {
	g, err := New(Options{Identity: limited{}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	a := g.NewAPI("test")
	seen := ""
	Register(a, Operation{Name: "List", Method: "GET", Path: "/v5/{project_id}/list", Action: "hss:x:list"},
		func(_ context.Context, in *struct {
			Project           string `path:"project_id"`
			EnterpriseProject string `query:"enterprise_project_id"`
		}) (*struct{}, error) {
			seen = in.EnterpriseProject
			return nil, nil
		})
	for query, want := range map[string]int{
		"enterprise_project_id=7":     204,
		"enterprise%5Fproject_id=%37": 204,
		"enterprise_project_id=8":     403,
		"enterprise%5Fproject_id=8":   403,
		"":                            403,
		"enterprise_project_id=7&enterprise%5Fproject_id=8": 400,
	} {
		seen = ""
		r := httptest.NewRequest(http.MethodGet, "/v5/p1/list?"+query, nil)
		r.Header.Set("X-Auth-Token", "any")
		w := httptest.NewRecorder()
		g.Wrap(a).ServeHTTP(w, r)
		if w.Code != want || want == 204 && seen != "7" || want != 204 && seen != "" {
			t.Errorf("%q: status %d, want %d; the handler saw %q", query, w.Code, want, seen)
		}
	}
}
