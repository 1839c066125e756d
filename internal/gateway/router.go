package gateway

import (
	"net/http"
	"net/url"
	"strings"
)

// router finds the operation of a request. A literal segment wins over a
// parameter, from left to right, as the contract wants it.
//
// net/http's ServeMux refuses the contract: of GET /image/whitelists/{id} and
// GET /image/{image_id}/vulnerabilities neither is more specific, and so it
// panics when the second is registered.
type router struct {
	literal  map[string]*router
	param    *router
	handlers map[string]*routed // by method
}

type routed struct {
	pattern string
	handler http.Handler
	names   []string // of the parameters, from left to right
}

// add registers a pattern such as "GET /v5/{project_id}/image/registries". A
// pattern that is there already is a mistake in the program.
func (n *router) add(pattern string, h http.Handler) {
	method, path, _ := strings.Cut(pattern, " ")
	to := &routed{pattern: pattern, handler: h}
	for segment := range strings.SplitSeq(path[1:], "/") {
		if name, ok := strings.CutPrefix(segment, "{"); ok {
			if n.param == nil {
				n.param = &router{}
			}
			n = n.param
			to.names = append(to.names, strings.TrimSuffix(name, "}"))
			continue
		}
		if n.literal == nil {
			n.literal = map[string]*router{}
		}
		if n.literal[segment] == nil {
			n.literal[segment] = &router{}
		}
		n = n.literal[segment]
	}
	if len(to.names) > maxParams {
		panic("gateway: " + pattern + " has too many parameters")
	}
	if n.handlers == nil {
		n.handlers = map[string]*routed{}
	}
	if n.handlers[method] != nil {
		panic("gateway: " + pattern + " is registered twice")
	}
	n.handlers[method] = to
}

// find returns the handler for a method and a path, or nil, and notes
// the values of its parameters. A HEAD is answered by GET where it has no
// handler of its own.
func (n *router) find(method, path string, values *values) *routed {
	if path == "" {
		h := n.handlers[method]
		if h == nil && method == http.MethodHead {
			h = n.handlers[http.MethodGet]
		}
		return h
	}
	segment, rest, more := strings.Cut(path[1:], "/")
	if more {
		rest = "/" + rest
	}
	value := segment
	if values.escaped {
		var err error
		if value, err = url.PathUnescape(segment); err != nil {
			return nil
		}
	}
	if next := n.literal[value]; next != nil {
		before := values.n
		if h := next.find(method, rest, values); h != nil {
			return h
		}
		values.n = before
	}
	if n.param == nil || value == "" {
		return nil
	}
	values.of[values.n] = value
	values.n++
	return n.param.find(method, rest, values)
}

// values are those of the parameters on the way to an operation.
type values struct {
	of      [maxParams]string
	n       int
	escaped bool // the path has percent escapes
}

// maxParams is how many parameters a path may have.
const maxParams = 4

// serve answers the request if an operation matches it, and reports whether one
// did.
func (n *router) serve(w http.ResponseWriter, r *http.Request) bool {
	// Where the decoded path may be ambiguous, net/url keeps the escaped one.
	path, v := r.URL.Path, values{escaped: r.URL.RawPath != ""}
	if v.escaped {
		path = r.URL.EscapedPath()
	}
	if !strings.HasPrefix(path, "/") {
		return false
	}
	to := n.find(r.Method, path, &v)
	if to == nil {
		return false
	}
	for i, name := range to.names {
		r.SetPathValue(name, v.of[i])
	}
	r.Pattern = to.pattern
	to.handler.ServeHTTP(w, r)
	return true
}
