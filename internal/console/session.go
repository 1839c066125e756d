package console

import (
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/gateway"
	"github.com/tidewaiter/tidewaiter/internal/identity"
)

// Names of cookies. The session's holds a token for the domain, and no script
// can read it.
const (
	sessionCookie  = "tidewaiter_session"
	themeCookie    = "tidewaiter_theme"
	languageCookie = "tidewaiter_language"
	// enterpriseCookie is the enterprise project whose images are shown.
	enterpriseCookie = "tidewaiter_enterprise_project"
)

// request is a request of somebody who has signed in.
type request struct {
	*http.Request
	caller  *tidewaiter.Caller
	project string // id
	// enterprise is the id of the enterprise project that was chosen, or
	// all_granted_eps. What the caller may see of it is for the API to say.
	enterprise string
}

// session returns the caller who has signed in, with the request in whose
// context the API finds them.
func (c *console) session(r *http.Request) (*request, error) {
	cookie, err := r.Cookie(sessionCookie)
	if err != nil {
		return nil, tidewaiter.Errorf(tidewaiter.Unauthenticated, "nobody has signed in")
	}
	caller, err := c.identity.AuthenticateSession(r.Context(), cookie.Value)
	if err != nil {
		return nil, err
	}
	in := &request{r.WithContext(gateway.WithCaller(r.Context(), caller)), caller, r.PathValue("project"), tidewaiter.AllGrantedEnterpriseProjects}
	if chosen, err := r.Cookie(enterpriseCookie); err == nil && enterpriseID.MatchString(chosen.Value) {
		in.enterprise = chosen.Value
	}
	return in, nil
}

// enterpriseID is what the id of an enterprise project may be.
var enterpriseID = regexp.MustCompile(`^[0-9a-zA-Z_-]{1,64}$`) //nolint:gochecknoglobals // never changed

func (c *console) cookie(name, value string) *http.Cookie {
	return &http.Cookie{Name: name, Value: value, Path: "/", HttpOnly: true, Secure: c.secure, SameSite: http.SameSiteLaxMode} //nolint:gosec // not Secure where the server speaks plain http
}

type signInContent struct {
	Domain, User, Next string
}

func (c *console) signInPage(w http.ResponseWriter, r *http.Request) {
	c.render(w, http.StatusOK, "sign-in", &page{Preferences: preferencesOf(r), Title: "Sign in", Content: signInContent{Next: local(r.FormValue("next"))}})
}

// signIn makes a session for a right password. Wrong ones are counted, and lock
// the user, as everywhere.
func (c *console) signIn(w http.ResponseWriter, r *http.Request) {
	form := signInContent{Domain: r.PostFormValue("domain"), User: r.PostFormValue("user"), Next: local(r.PostFormValue("next"))}
	token, _, err := c.identity.IssueToken(r.Context(), identity.TokenRequest{
		DomainName: form.Domain, UserName: form.User, Password: r.PostFormValue("password"),
	})
	if err != nil {
		status, message := statusOf(err), err.Error()
		if e, ok := errors.AsType[*tidewaiter.Error](err); !ok || e == nil || status >= http.StatusInternalServerError {
			c.log.ErrorContext(r.Context(), "sign-in failed", "error", err)
			message = "the server could not look the user up; its log says more"
		}
		c.render(w, status, "sign-in", &page{Preferences: preferencesOf(r), Title: "Sign in", Problem: message, Content: form})
		return
	}
	http.SetCookie(w, c.cookie(sessionCookie, token))
	http.Redirect(w, r, form.Next, http.StatusSeeOther)
}

// signOut ends the session: its token is good for nothing from then on.
func (c *console) signOut(w http.ResponseWriter, r *http.Request) {
	if cookie, err := r.Cookie(sessionCookie); err == nil {
		if caller, err := c.identity.AuthenticateSession(r.Context(), cookie.Value); err == nil {
			if err := c.identity.RevokeToken(r.Context(), caller, cookie.Value); err != nil {
				c.log.ErrorContext(r.Context(), "sign-out failed", "error", err)
				c.fail(w, r, nil, http.StatusInternalServerError, "the session could not be ended; try again")
				return
			}
		}
	}
	gone := c.cookie(sessionCookie, "") //nolint:gosec // see cookie
	gone.MaxAge = -1
	http.SetCookie(w, gone)
	http.Redirect(w, r, "/sign-in", http.StatusSeeOther)
}

// home goes to the first project that the caller may see.
func (c *console) home(w http.ResponseWriter, r *http.Request) {
	in, err := c.session(r)
	if err != nil {
		c.problem(w, r, nil, err)
		return
	}
	projects, err := c.identity.EnterableProjects(in.Context(), in.caller)
	if err != nil {
		c.problem(w, r, in, err)
		return
	}
	if len(projects) == 0 {
		c.fail(w, r, in, http.StatusForbidden, "nothing is granted to you in any project; ask your administrator")
		return
	}
	http.Redirect(w, r, projectPath(projects[0].ID), http.StatusSeeOther) //nolint:gosec // a path of ours
}

func projectPath(id string) string { return "/p/" + url.PathEscape(id) + "/" }

// local returns the path of a page of this server, / for everything else.
func local(next string) string {
	u, err := url.Parse(next)
	if err != nil || u.IsAbs() || u.Host != "" || !strings.HasPrefix(u.Path, "/p/") || strings.ContainsAny(next, "\\\r\n\t") {
		return "/"
	}
	return next
}

// preferences keeps how somebody wants to see the pages.
type preferences struct {
	Theme    string // light, dark, or "" for the system's
	Language string // en, zh
}

func preferencesOf(r *http.Request) preferences {
	var p preferences
	if c, err := r.Cookie(themeCookie); err == nil && (c.Value == "dark" || c.Value == "light") {
		p.Theme = c.Value
	}
	p.Language = "en"
	if strings.HasPrefix(r.Header.Get("Accept-Language"), "zh") {
		p.Language = "zh"
	}
	if c, err := r.Cookie(languageCookie); err == nil && (c.Value == "en" || c.Value == "zh") {
		p.Language = c.Value
	}
	return p
}

func (c *console) preferences(w http.ResponseWriter, r *http.Request) {
	for _, p := range []struct{ cookie, field, values string }{
		{themeCookie, "theme", "light dark"}, {languageCookie, "language", "en zh"},
	} {
		if v := r.PostFormValue(p.field); v != "" && strings.Contains(" "+p.values+" ", " "+v+" ") {
			kept := c.cookie(p.cookie, v) //nolint:gosec // see cookie
			kept.MaxAge = 365 * 24 * 3600
			http.SetCookie(w, kept)
		}
	}
	if v := r.PostFormValue("enterprise_project"); enterpriseID.MatchString(v) {
		http.SetCookie(w, c.cookie(enterpriseCookie, v)) //nolint:gosec // see cookie; it ends with the browser's session
	}
	http.Redirect(w, r, local(r.PostFormValue("next")), http.StatusSeeOther) //nolint:gosec // local takes only paths of ours
}
