package console

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
)

// listOf is the form in which the contract's operations list something.
type listOf[T any] struct {
	TotalNum int `json:"total_num"`
	DataList []T `json:"data_list"`
}

// get asks an operation of the contract, in the enterprise project that was
// chosen, or in all that the caller may see.
func (c *console) get(ctx context.Context, r *request, path string, query url.Values, out any) error {
	if query == nil {
		query = url.Values{}
	}
	query.Set("enterprise_project_id", r.enterprise)
	return c.api.Do(ctx, http.MethodGet, "/v5/"+url.PathEscape(r.project)+path, query, nil, out)
}

// send asks an operation of the contract that changes something.
func (c *console) send(ctx context.Context, r *request, method, path, enterpriseProject string, in any) error {
	return c.api.Do(ctx, method, "/v5/"+url.PathEscape(r.project)+path, url.Values{"enterprise_project_id": {enterpriseProject}}, in, nil)
}

// own asks an operation of the server's own API.
func (c *console) own(ctx context.Context, r *request, method, path string, out any) error {
	return c.api.Do(ctx, method, "/tidewaiter/v1"+path, url.Values{"project_id": {r.project}}, nil, out)
}

// change asks an operation of the server's own API that changes something of the
// project.
func (c *console) change(ctx context.Context, r *request, method, path string, in, out any) error {
	return c.api.Do(ctx, method, "/tidewaiter/v1"+path, url.Values{"project_id": {r.project}}, in, out)
}

// ownWith is own for a list with parameters.
func (c *console) ownWith(ctx context.Context, r *request, path string, query url.Values, out any) error {
	query.Set("project_id", r.project)
	return c.api.Do(ctx, http.MethodGet, "/tidewaiter/v1"+path, query, nil, out)
}

// pageSize is how many rows a page of a list has.
const pageSize = 50

// paging is where in a list a page is.
type paging struct {
	Offset, Total  int
	First, Last    int    // of the rows shown, from 1
	Previous, Next string // queries, "" at the ends
}

// offset returns where the page that is asked for begins; what is no number is 0.
func (r *request) offset() int {
	n, err := strconv.Atoi(r.URL.Query().Get("offset"))
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// paging returns where a page with so many rows of a total is.
func (r *request) paging(rows, total int) paging {
	p := paging{Offset: r.offset(), Total: total}
	p.First, p.Last = p.Offset+1, p.Offset+rows
	if rows == 0 {
		p.First = p.Offset
	}
	at := func(offset int) string {
		q := r.URL.Query()
		q.Set("offset", strconv.Itoa(offset))
		return "?" + q.Encode()
	}
	if p.Offset > 0 {
		p.Previous = at(max(0, p.Offset-pageSize))
	}
	if p.Last < total && rows > 0 {
		p.Next = at(p.Offset + pageSize)
	}
	return p
}

// query returns the parameters of the page that the API has too, with those of
// the page of the list.
func (r *request) query(names ...string) url.Values {
	q := url.Values{"offset": {strconv.Itoa(r.offset())}, "limit": {strconv.Itoa(pageSize)}}
	given := r.URL.Query()
	for _, name := range names {
		if v := given.Get(name); v != "" {
			q.Set(name, v)
		}
	}
	return q
}

// given returns those parameters of the page for its form.
func (r *request) given(names ...string) map[string]string {
	out := make(map[string]string, len(names))
	q := r.URL.Query()
	for _, name := range names {
		out[name] = q.Get(name)
	}
	return out
}
