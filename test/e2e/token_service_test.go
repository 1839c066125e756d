//go:build linux

package e2e

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// A tokenService gives out tokens for a distribution registry, over TLS, as
// https://distribution.github.io/distribution/spec/auth/token/ has it: it takes
// a user's password by basic authentication and answers a JSON Web Token
// (ES256) that lists what of the wished scopes the user may do. It refuses the
// anonymous.
type tokenService struct {
	URL   string // of the realm
	Host  string // host:port
	key   *ecdsa.PrivateKey
	jwks  string // a file with the public key
	mu    sync.Mutex
	users map[string]string // passwords
	given []string          // "user scope scope", what was asked for and given
}

const (
	tokenIssuer   = "e2e tokens"
	tokenAudience = "e2e registry"
	tokenKeyID    = "e2e-1"
	// tokenLife is short, so that a long synchronisation needs more than one.
	tokenLife = 60 * time.Second
)

// startTokenService starts a service with a certificate of ca.
func startTokenService(t testing.TB, ca *authority) *tokenService {
	t.Helper()
	s := &tokenService{key: newKey(t), users: map[string]string{}, jwks: filepath.Join(t.TempDir(), "jwks.json")}
	point, err := s.key.PublicKey.Bytes() // 4, x, y
	if err != nil {
		t.Fatal(err)
	}
	keys, err := json.Marshal(map[string]any{"keys": []any{map[string]string{
		"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": tokenKeyID,
		"x": encode64(point[1:33]), "y": encode64(point[33:65]),
	}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.jwks, keys, 0o600); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(s)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{ca.pair(t, "tokens")}}
	server.StartTLS()
	t.Cleanup(server.Close)
	s.Host = strings.Replace(server.Listener.Addr().String(), "127.0.0.1", "localhost", 1) // another host than the registry
	s.URL = "https://" + s.Host + "/token"
	return s
}

// registrySettings is what distribution's configuration wants to know.
func (s *tokenService) registrySettings() map[string]any {
	return map[string]any{
		"realm": s.URL, "service": tokenAudience, "issuer": tokenIssuer,
		"jwks": s.jwks, "signingalgorithms": []string{"ES256"},
	}
}

// Set lets a user in with a password, from now on.
func (s *tokenService) Set(user, password string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.users[user] = password
}

// Given returns what tokens were given out for: the user, then the scopes.
func (s *tokenService) Given() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.given...)
}

func (s *tokenService) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	user, password, _ := r.BasicAuth()
	want, known := s.users[user]
	if !known || subtle.ConstantTimeCompare([]byte(password), []byte(want)) == 0 ||
		r.URL.Path != "/token" || r.URL.Query().Get("service") != tokenAudience {
		w.Header().Set("WWW-Authenticate", `Basic realm="e2e"`)
		http.Error(w, `{"details":"incorrect username or password"}`, http.StatusUnauthorized)
		return
	}
	var access []map[string]any
	for _, scopes := range r.URL.Query()["scope"] {
		for scope := range strings.FieldsSeq(scopes) {
			// type:name:actions, and a name may have a port.
			kind, rest, _ := strings.Cut(scope, ":")
			end := strings.LastIndex(rest, ":")
			if end < 0 {
				http.Error(w, "bad scope", http.StatusBadRequest)
				return
			}
			access = append(access, map[string]any{"type": kind, "name": rest[:end], "actions": strings.Split(rest[end+1:], ",")})
		}
	}
	s.given = append(s.given, strings.Join(append([]string{user}, r.URL.Query()["scope"]...), " "))
	now := time.Now()
	token, err := s.sign(map[string]any{
		"iss": tokenIssuer, "aud": tokenAudience, "sub": user, "jti": rand.Text(), "access": access,
		"iat": now.Unix(), "nbf": now.Add(-time.Second).Unix(), "exp": now.Add(tokenLife).Unix(),
	})
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{
		"token": token, "access_token": token, "expires_in": int(tokenLife / time.Second), "issued_at": now.UTC().Format(time.RFC3339),
	})
}

// sign makes a JSON Web Token (RFC 7519) with ES256 (RFC 7518, 3.4).
func (s *tokenService) sign(claims map[string]any) (string, error) {
	header, err := json.Marshal(map[string]string{"typ": "JWT", "alg": "ES256", "kid": tokenKeyID})
	if err != nil {
		return "", err
	}
	body, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	text := encode64(header) + "." + encode64(body)
	hash := sha256.Sum256([]byte(text))
	a, b, err := ecdsa.Sign(rand.Reader, s.key, hash[:])
	if err != nil {
		return "", err
	}
	signature := make([]byte, 64)
	a.FillBytes(signature[:32])
	b.FillBytes(signature[32:])
	return text + "." + encode64(signature), nil
}

func encode64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func TestDistributionWithTokens(t *testing.T) {
	need(t, distribution)
	ca := newAuthority(t)
	tokens := startTokenService(t, ca)
	r := startRegistry(t, registryOptions{Product: distribution, TLS: true, CA: ca, Tokens: tokens, User: "alice", Password: "pa ss"})
	if err := remote.Write(r.reference(t, "team/empty", "v1"), empty.Image, r.options()...); err != nil {
		t.Fatal(err)
	}
	if tags := r.Tags(t, "team/empty"); len(tags) != 1 || tags[0] != "v1" {
		t.Errorf("tags are %q", tags)
	}
	if given := tokens.Given(); len(given) == 0 || !strings.HasPrefix(given[0], "alice repository:team/empty:") {
		t.Errorf("tokens were given for %q", given)
	}
	tokens.Set("alice", "changed")
	if err := remote.Write(r.reference(t, "team/empty", "v2"), empty.Image, r.options()...); err == nil {
		t.Error("the old password is still good")
	}
	anonymous := *r
	anonymous.User = ""
	if _, err := remote.Head(r.reference(t, "team/empty", "v1"), anonymous.options()...); err == nil {
		t.Error("the anonymous are let in")
	}
}
