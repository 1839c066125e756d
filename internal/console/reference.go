package console

import (
	"net/http"
	"slices"
	"strings"

	"github.com/tidewaiter/tidewaiter/internal/gateway"
)

// The reference of operations needs no sign-in: it says what the OpenAPI document
// says, which everybody may read.

// referenceGroup is a part of the list of operations.
type referenceGroup struct {
	Name       string
	Operations []gateway.Reference
}

func (c *console) referenceIndex(w http.ResponseWriter, r *http.Request) {
	var groups []referenceGroup
	for _, op := range c.references {
		if n := len(groups); n == 0 || groups[n-1].Name != op.Group {
			groups = append(groups, referenceGroup{Name: op.Group})
		}
		last := &groups[len(groups)-1]
		last.Operations = append(last.Operations, op)
	}
	c.render(w, http.StatusOK, "docs", &page{Preferences: preferencesOf(r), Title: titles["docs"], Path: r.URL.RequestURI(), Content: groups})
}

// referenceContent is an operation, with an example.
type referenceContent struct {
	gateway.Reference

	Example string
}

func (c *console) reference(w http.ResponseWriter, r *http.Request) {
	i := slices.IndexFunc(c.references, func(op gateway.Reference) bool { return op.Name == r.PathValue("operation") })
	if i < 0 {
		c.fail(w, r, nil, http.StatusNotFound, "there is no such operation")
		return
	}
	op := c.references[i]
	c.render(w, http.StatusOK, "operation", &page{
		Preferences: preferencesOf(r), Title: op.Name, Path: r.URL.RequestURI(), Content: referenceContent{op, c.example(op)},
	})
}

// example is a call of an operation by curl, which escapes what stands in the
// query: a password may have any character. --url-query is of curl 7.87 and later;
// -G of all, but it would send a body as query.
func (c *console) example(op gateway.Reference) string {
	var b strings.Builder
	body := len(op.Body) > 0
	b.WriteString("curl")
	if op.Method != http.MethodGet {
		b.WriteString(" -X " + op.Method)
	}
	if !op.Public {
		b.WriteString(` -H "X-Auth-Token: $TOKEN"`)
	}
	if body {
		b.WriteString(` -H "Content-Type: application/json" -d @body.json`)
	}
	var query []string
	path := op.Path
	for _, p := range op.Parameters {
		variable := "$" + strings.ToUpper(strings.ReplaceAll(p.Name, "-", "_"))
		switch {
		case p.In == "path":
			path = strings.Replace(path, "{"+p.Name+"}", variable, 1)
		case p.In == "query" && p.Required:
			query = append(query, p.Name+"="+variable)
		case p.In == "header" && p.Required && !strings.EqualFold(p.Name, "X-Auth-Token"):
			b.WriteString(` -H "` + p.Name + ": " + variable + `"`)
		}
	}
	option := ` --data-urlencode "`
	switch {
	case len(query) == 0:
	case body:
		option = ` --url-query "`
	default:
		b.WriteString(" -G")
	}
	for _, q := range query {
		b.WriteString(option + q + `"`)
	}
	b.WriteString(` "` + c.endpoint + path + `"`)
	return b.String()
}
