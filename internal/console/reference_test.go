package console

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/tidewaiter/tidewaiter/internal/gateway"
)

// TestReferenceEscapes shows what a description says as text, whatever it says,
// without a sign-in.
func TestReferenceEscapes(t *testing.T) {
	const hostile = `<script>alert(1)</script>"><img src=x onerror=alert(1)>`
	field := gateway.ReferenceField{Name: hostile, In: "query", Type: hostile, Limits: hostile, About: hostile, Required: true}
	pages, err := New(Options{
		API: http.NotFoundHandler(), Endpoint: "https://tidewaiter.example.com", Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Operations: []gateway.Reference{{
			Name: "Op", Group: hostile, Method: "GET", Path: "/v5/" + hostile, Summary: hostile, Action: hostile, Built: true, Status: 200,
			Parameters: []gateway.ReferenceField{field}, Answer: []gateway.ReferenceField{field},
			Errors: []gateway.ReferenceError{{Status: 400, Code: hostile, When: hostile}},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/docs", "/docs/Op"} {
		w := httptest.NewRecorder()
		pages.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		page := w.Body.String()
		if w.Code != http.StatusOK || !strings.Contains(page, "&lt;script&gt;alert(1)") || w.Header().Get("Content-Security-Policy") == "" {
			t.Errorf("%s: %d without the text, or without a policy", path, w.Code)
		}
		if strings.Contains(page, "<script>") || strings.Contains(page, "<img src=x") {
			t.Errorf("%s: a description became a part of the page", path)
		}
	}
}

// TestExample has curl escape the query, and leaves a body what it is.
func TestExample(t *testing.T) {
	c := &console{endpoint: "https://tidewaiter.example.com"}
	query := gateway.ReferenceField{Name: "password", In: "query", Required: true}
	project := gateway.ReferenceField{Name: "project_id", In: "path", Required: true}
	for want, op := range map[string]gateway.Reference{
		`curl -H "X-Auth-Token: $TOKEN" -G --data-urlencode "password=$PASSWORD" --data-urlencode "password=$PASSWORD" "https://tidewaiter.example.com/v5/$PROJECT_ID/x"`: {
			Method: "GET", Path: "/v5/{project_id}/x", Parameters: []gateway.ReferenceField{project, query, query}},
		`curl -X POST -H "Content-Type: application/json" -d @body.json --url-query "password=$PASSWORD" "https://tidewaiter.example.com/x"`: {
			Method: "POST", Path: "/x", Public: true, Parameters: []gateway.ReferenceField{query}, Body: []gateway.ReferenceField{{Name: "a"}}},
	} {
		if got := c.example(op); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

// TestReferenceErrors finds a Chinese text for what is said of each error.
func TestReferenceErrors(t *testing.T) {
	source, err := os.ReadFile("../gateway/reference.go")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.SplitSeq(string(source), "\n") {
		if !strings.Contains(line, "{tidewaiter.") {
			continue
		}
		parts := strings.Split(line, `"`)
		if n++; len(parts) != 3 || translate("zh", parts[1]) == parts[1] {
			t.Errorf("no Chinese text: %s", line)
		}
	}
	if n < 9 {
		t.Errorf("only %d errors were found: the test does not see them", n)
	}
}
