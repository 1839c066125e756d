package console

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/client"
)

// page is what a template gets.
type page struct {
	Preferences preferences
	Title       string
	Section     string // of the navigation: the name of the template
	Path        string // of the page, with its query
	User        string
	Project     string // id
	Projects    []tidewaiter.Project
	Enterprise  string // id of the enterprise project that was chosen
	Enterprises []tidewaiter.EnterpriseProject
	Problem     string // what went wrong, in words
	Live        bool   // the page sends its live part anew
	Content     any
}

// T returns a text in the language of the page.
func (p *page) T(text string) string { return translate(p.Preferences.Language, text) }

// URL returns the address of a page of the project, with parameters in pairs of
// name and value.
func (p *page) URL(path string, parameters ...any) string {
	q := url.Values{}
	for i := 0; i+1 < len(parameters); i += 2 {
		q.Set(fmt.Sprint(parameters[i]), fmt.Sprint(parameters[i+1]))
	}
	u := url.URL{Path: "/p/" + p.Project + path, RawQuery: q.Encode()}
	return u.String()
}

// CSV returns the address of the page's list as CSV, with the same filters.
func (p *page) CSV() string {
	path, query, _ := strings.Cut(p.Path, "?")
	q, err := url.ParseQuery(query)
	if err != nil {
		q = url.Values{}
	}
	q.Del("offset")
	u := url.URL{Path: path + ".csv", RawQuery: q.Encode()}
	return u.String()
}

// tick is how often it is looked whether the live part of a page has changed.
const tick = time.Second

// page returns the handler of a page: as HTML, and as events to those who ask
// for text/event-stream.
func (c *console) page(template string, load loader) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		in, err := c.session(r)
		if err != nil {
			c.problem(w, r, nil, err)
			return
		}
		if r.Header.Get("Accept") == "text/event-stream" {
			c.stream(w, in, template, load)
			return
		}
		p, err := c.newPage(in, template)
		if err != nil {
			c.problem(w, r, in, err)
			return
		}
		if p.Content, err = load(in.Context(), in); err != nil {
			c.problem(w, r, in, err)
			return
		}
		c.render(w, http.StatusOK, template, p)
	})
}

// action returns the handler of a form. Where it fails, the error stands on a
// page of its own that leads back, unless the doer says better.
func (c *console) action(template string, do doer) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		in, err := c.session(r)
		if err != nil {
			c.problem(w, r, nil, err)
			return
		}
		location, err := do(in.Context(), in)
		if again, ok := errors.AsType[*formError](err); ok {
			p, perr := c.newPage(in, template)
			if perr != nil {
				c.problem(w, r, in, perr)
				return
			}
			p.Content = again.content
			status := http.StatusOK
			if again.err != nil {
				status, p.Problem = c.explain(in, again.err)
			}
			c.render(w, status, template, p)
			return
		}
		if err != nil {
			c.problem(w, r, in, err)
			return
		}
		http.Redirect(w, r, location, http.StatusSeeOther)
	})
}

// formError shows the form again, with what was filled in, and what is wrong
// with it, or what came of it.
type formError struct {
	err     error // nil if all went well
	content any
}

func (e *formError) Error() string { return "form" }

// newPage returns a page with what all pages have.
func (c *console) newPage(in *request, template string) (*page, error) {
	projects, err := c.identity.EnterableProjects(in.Context(), in.caller)
	if err != nil {
		return nil, err
	}
	enterprises, err := c.identity.EnterpriseProjects(in.Context(), in.caller)
	if err != nil {
		return nil, err
	}
	path := *in.URL
	return &page{
		Enterprise: in.enterprise, Enterprises: enterprises,
		Preferences: preferencesOf(in.Request), Title: titles[template], Section: template, Path: path.RequestURI(),
		User: in.caller.UserName, Project: in.project, Projects: projects, Live: live[template],
	}, nil
}

// render writes a page.
func (c *console) render(w http.ResponseWriter, status int, template string, p *page) {
	var b bytes.Buffer
	if err := c.pages.execute(&b, template, "layout", p); err != nil {
		c.log.Error("a page could not be rendered", "template", template, "error", err)
		http.Error(w, "the page could not be made; the server's log says more", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	w.Write(visible(b.Bytes())) //nolint:errcheck // the client is gone
}

// problem answers with an error: who has not signed in is asked to.
func (c *console) problem(w http.ResponseWriter, r *http.Request, in *request, err error) {
	if statusOf(err) == http.StatusUnauthorized {
		if r.Header.Get("Accept") == "text/event-stream" {
			w.WriteHeader(http.StatusNoContent) // EventSource does not come again
			return
		}
		target := "/sign-in"
		if r.Method == http.MethodGet && strings.HasPrefix(r.URL.Path, "/p/") {
			target += "?" + url.Values{"next": {r.URL.RequestURI()}}.Encode()
		}
		http.Redirect(w, r, target, http.StatusSeeOther)
		return
	}
	status, message := c.explain(in, err)
	c.fail(w, r, in, status, message)
}

// explain returns the status and the words of an error.
func (c *console) explain(in *request, err error) (int, string) {
	status := statusOf(err)
	if _, ok := errors.AsType[*client.Error](err); ok || status < http.StatusInternalServerError {
		return status, err.Error()
	}
	ctx := context.Background()
	if in != nil {
		ctx = in.Context()
	}
	c.log.ErrorContext(ctx, "a page failed", "error", err)
	return status, "the server failed; its log says more"
}

// fail answers with a page that says what is wrong.
func (c *console) fail(w http.ResponseWriter, r *http.Request, in *request, status int, message string) {
	p := &page{Preferences: preferencesOf(r), Title: http.StatusText(status), Problem: message}
	if in != nil {
		if full, err := c.newPage(in, "error"); err == nil {
			full.Title, full.Problem = p.Title, message
			p = full
		}
	}
	c.render(w, status, "error", p)
}

// statusOf returns the status of HTTP for an error.
func statusOf(err error) int {
	if e, ok := errors.AsType[*client.Error](err); ok {
		return e.Status
	}
	switch tidewaiter.KindOf(err) {
	case tidewaiter.Unauthenticated:
		return http.StatusUnauthorized
	case tidewaiter.Forbidden:
		return http.StatusForbidden
	case tidewaiter.NotFound:
		return http.StatusNotFound
	case tidewaiter.Invalid:
		return http.StatusBadRequest
	case tidewaiter.Throttled:
		return http.StatusTooManyRequests
	}
	return http.StatusInternalServerError
}
