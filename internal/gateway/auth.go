package gateway

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"

	"github.com/danielgtaylor/huma/v2/queryparam"

	"github.com/tidewaiter/tidewaiter"
)

// MaxToken is the longest X-Auth-Token that is looked at, in bytes.
const MaxToken = 32768

// authenticate finds out who sent the request. A token wins over a signature:
// the vendor's SDK signs even where the caller adds a token of their own.
func (g *Gateway) authenticate(r *http.Request, body []byte) (*tidewaiter.Caller, error) {
	if c, ok := r.Context().Value(localCallerKey{}).(*tidewaiter.Caller); ok {
		return c, nil
	}
	if values := r.Header["X-Auth-Token"]; len(values) > 0 {
		switch {
		case len(values) > 1:
			return nil, tidewaiter.Errorf(tidewaiter.Unauthenticated, "x-auth-token is given %d times", len(values))
		case values[0] == "":
			return nil, tidewaiter.Errorf(tidewaiter.Unauthenticated, "x-auth-token is empty")
		case len(values[0]) > MaxToken:
			return nil, tidewaiter.Errorf(tidewaiter.Unauthenticated, "x-auth-token is longer than %d bytes", MaxToken)
		}
		return g.identity.AuthenticateToken(r.Context(), values[0])
	}
	if r.Header.Get("Authorization") == "" {
		return nil, tidewaiter.Errorf(tidewaiter.Unauthenticated, "x-auth-token not found")
	}
	sum := sha256.Sum256(body)
	return g.identity.AuthenticateSignature(r.Context(), r, hex.EncodeToString(sum[:]))
}

// protect returns the handler of one operation behind everything that must be
// true before it runs: body within its limit, caller known and allowed, query
// well formed.
func (g *Gateway) protect(op *Operation, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		info := InfoFrom(r.Context())
		info.dialect = op.Dialect
		if err := g.admit(w, r, info, op); err != nil {
			WriteError(w, r, err)
			return
		}
		r.URL.RawQuery = spelledOut(r.URL.RawQuery, op.Flags)
		next.ServeHTTP(w, r)
	})
}

func (g *Gateway) admit(w http.ResponseWriter, r *http.Request, info *Info, op *Operation) error {
	body, err := readBody(w, r)
	if err != nil {
		return err
	}
	if !op.Public {
		caller, err := g.authenticate(r, body)
		if err != nil {
			return err
		}
		info.Caller = caller
		if !op.AsksItself && (op.Action != "" || op.Dialect == HSS) {
			if err := authorize(caller, r, op); err != nil {
				return err
			}
		}
	}
	return checkQuery(r.URL.RawQuery, op)
}

// authorize asks whether the caller may do the operation in the project that
// the path names, and in the enterprise project that the query names.
func authorize(caller *tidewaiter.Caller, r *http.Request, op *Operation) error {
	if op.Dialect != HSS {
		return caller.AuthorizeDomain(op.Action)
	}
	project := r.PathValue("project_id")
	if named := r.Header.Get("X-Project-Id"); named != "" && named != project {
		return tidewaiter.Errorf(tidewaiter.Forbidden,
			"the header X-Project-Id names another project than the path; send the same in both")
	}
	// Read as the handler reads it, so that both see the same.
	enterpriseProject := queryparam.Get(r.URL.RawQuery, "enterprise_project_id")
	return caller.Authorize(op.Action, project, enterpriseProject, op.Exempt)
}

// WithCaller returns a context whose requests, made in this process, are those of
// a caller who is known already: the operator on this machine, whose command line
// works on a data folder (who can read it can read everything), or who has signed
// in to the console. There is no credential to check; what the caller may do is
// asked all the same.
func WithCaller(ctx context.Context, caller *tidewaiter.Caller) context.Context {
	return context.WithValue(ctx, localCallerKey{}, caller)
}

type localCallerKey struct{}
