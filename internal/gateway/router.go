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
	if n.handlers == nil {
		n.handlers = map[string]*routed{}
	}
	if n.handlers[method] != nil {
		panic("gateway: " + pattern + " is registered twice")
	}
	n.handlers[method] = to
}

// find returns the handler for a method and an escaped path, and the values of
// its parameters; or nil. A HEAD is answered by GET where it has no handler of
// its own.
func (n *router) find(method, path string, values []string) (*routed, []string) {
	if path == "" {
		if h := n.handlers[method]; h != nil {
			return h, values
		}
		if method == http.MethodHead {
			return n.handlers[http.MethodGet], values
		}
		return nil, nil
	}
	segment, rest, more := strings.Cut(path[1:], "/")
	if more {
		rest = "/" + rest
	}
	value, err := url.PathUnescape(segment)
	if err != nil {
		return nil, nil
	}
	if next := n.literal[value]; next != nil {
		if h, v := next.find(method, rest, values); h != nil {
			return h, v
		}
	}
	if n.param != nil && value != "" {
		return n.param.find(method, rest, append(values, value))
	}
	return nil, nil
}

// serve answers the request if an operation matches it, and reports whether one
// did.
func (n *router) serve(w http.ResponseWriter, r *http.Request) bool {
	path := r.URL.EscapedPath()
	if !strings.HasPrefix(path, "/") {
		return false
	}
	var space [4]string
	to, values := n.find(r.Method, path, space[:0])
	if to == nil {
		return false
	}
	for i, name := range to.names {
		r.SetPathValue(name, values[i])
	}
	r.Pattern = to.pattern
	to.handler.ServeHTTP(w, r)
	return true
}
