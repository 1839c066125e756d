package pull

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/registry"
)

// guarded wants a user and a password, and notes what it is sent.
type guarded struct {
	mu   sync.Mutex
	seen map[string]bool // Authorization headers
}

func (g *guarded) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.mu.Lock()
		g.seen[r.Header.Get("Authorization")] = true
		g.mu.Unlock()
		if user, password, ok := r.BasicAuth(); !ok || user != "me" || password != "hush" {
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (g *guarded) sawPassword() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.seen["Basic "+base64.StdEncoding.EncodeToString([]byte("me:hush"))]
}

// configure lets docker's configuration be this.
func configure(t *testing.T, config string) {
	t.Helper()
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("DOCKER_CONFIG", filepath.Join(home, ".docker"))
	t.Setenv("XDG_RUNTIME_DIR", home)
	t.Setenv("XDG_CONFIG_HOME", home)
	t.Setenv("REGISTRY_AUTH_FILE", "")
	if err := os.Mkdir(filepath.Join(home, ".docker"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(home, ".docker", "config.json"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestCredentials takes what docker's configuration has, for the very host.
func TestCredentials(t *testing.T) {
	g, other := &guarded{seen: map[string]bool{}}, &guarded{seen: map[string]bool{}}
	host, otherHost := newRegistry(t, g.wrap), newRegistry(t, other.wrap)
	push(t, host+"/app:v1", newImage(t, "linux/amd64", oneLayer()), remote.WithAuth(&authn.Basic{Username: "me", Password: "hush"}))
	auth := base64.StdEncoding.EncodeToString([]byte("me:hush"))
	bin := t.TempDir()
	t.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	for helper, script := range map[string]string{
		"good":   `read -r host; if [ "$host" = "` + host + `" ]; then echo '{"Username":"me","Secret":"hush"}'; else echo 'credentials not found in native keychain'; exit 1; fi`,
		"token":  `echo '{"Username":"<token>","Secret":"hush"}'`,
		"broken": `echo hush; exit 3`,
	} {
		if err := os.WriteFile(filepath.Join(bin, "docker-credential-"+helper), []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil { //nolint:gosec // it is to run
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		what, config string
		kind         tidewaiter.Kind // Internal: it works
		says         string
	}{
		{"nothing", `{}`, tidewaiter.Unauthenticated, "does not accept"},
		{"another's", `{"auths":{"` + otherHost + `":{"auth":"` + auth + `"}}}`, tidewaiter.Unauthenticated, "does not accept"},
		{"the host's", `{"auths":{"` + host + `":{"auth":"` + auth + `"}}}`, tidewaiter.Internal, ""},
		{"by a URL", `{"auths":{"https://` + host + `/v1/":{"auth":"` + auth + `"}}}`, tidewaiter.Internal, ""},
		{"a longer host", `{"auths":{"` + host + `9":{"auth":"` + auth + `"}}}`, tidewaiter.Unauthenticated, "does not accept"},
		{"a helper", `{"credHelpers":{"` + host + `":"good"}}`, tidewaiter.Internal, ""},
		{"a store", `{"credsStore":"good"}`, tidewaiter.Internal, ""},
		{"a helper that fails", `{"credHelpers":{"` + host + `":"broken"}}`, tidewaiter.Unauthenticated, "cannot be read"},
		{"a helper that is not there", `{"credHelpers":{"` + host + `":"nowhere"}}`, tidewaiter.Unauthenticated, "cannot be read"},
		{"a token", `{"credHelpers":{"` + host + `":"token"}}`, tidewaiter.Unauthenticated, "and no password"},
		{"no JSON", `hush`, tidewaiter.Unauthenticated, "cannot be read"},
	} {
		t.Run(c.what, func(t *testing.T) {
			configure(t, c.config)
			s, err := Open(context.Background(), host+"/app:v1", Options{PlainHTTP: true, Registry: registry.Options{Attempts: 1}})
			if err == nil {
				if got := found(t, &s.Images[0]); len(got) != 1 {
					t.Errorf("found %q", got)
				}
				err = s.Close()
			}
			if c.says == "" && err != nil {
				t.Error(err)
			}
			if c.says != "" && (tidewaiter.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.says)) {
				t.Errorf("%v: %v", tidewaiter.KindOf(err), err)
			}
			if err != nil && (strings.Contains(err.Error(), "hush") || strings.Contains(err.Error(), auth)) {
				t.Errorf("the password is in the error: %v", err)
			}
		})
	}
	configure(t, `{"auths":{"`+host+`":{"auth":"`+auth+`"}}}`)
	if _, err := Open(context.Background(), otherHost+"/app:v1", Options{PlainHTTP: true, Registry: registry.Options{Attempts: 1}}); tidewaiter.KindOf(err) != tidewaiter.Unauthenticated {
		t.Errorf("%v", err)
	}
	if other.sawPassword() || !g.sawPassword() {
		t.Error("the credential went to another host than its own")
	}
}

func TestReferences(t *testing.T) {
	for _, target := range []string{"https://example.com/app", "UPPER/case", "a b", "host/app:v1:v2", "host/app@sha256:1", "host:99999999/app", ":", "-", "app@"} {
		if _, err := Open(context.Background(), target, Options{Keychain: anonymous{}}); tidewaiter.KindOf(err) != tidewaiter.Invalid || !strings.HasPrefix(err.Error(), "image: ") {
			t.Errorf("%q: %v", target, err)
		}
	}
	for reference, want := range map[string]string{
		"alpine":                     "Other at https://index.docker.io, [auth.docker.io]",
		"registry.example.com/app:1": "Other at https://registry.example.com, []",
		"localhost:5000/app":         "Other at https://localhost:5000, []",
	} {
		ref, err := name.ParseReference(reference)
		if err != nil {
			t.Fatal(err)
		}
		c, err := Options{Keychain: anonymous{}}.config(context.Background(), ref.Context())
		if got := fmt.Sprintf("%v, %v", c, c.TokenHosts); err != nil || got != want {
			t.Errorf("%s: %s, %v", reference, got, err)
		}
	}
}

// TestUntypedManifests reads what a registry sends without a media type.
func TestUntypedManifests(t *testing.T) {
	host := newRegistry(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodGet || !strings.Contains(r.URL.Path, "/manifests/") {
				next.ServeHTTP(w, r)
				return
			}
			next.ServeHTTP(untyped{w}, r)
		})
	})
	push(t, host+"/app:v1", newImage(t, "linux/amd64", oneLayer()))
	if got := lists(t, host+"/app:v1", Options{}); len(got) != 1 {
		t.Errorf("%q", got)
	}
}

// untyped sends a media type that is none.
type untyped struct{ http.ResponseWriter }

func (w untyped) WriteHeader(status int) {
	w.Header().Set("Content-Type", "/")
	w.ResponseWriter.WriteHeader(status)
}

// TestSchema1 says what is wrong with an image of a docker of long ago.
func TestSchema1(t *testing.T) {
	host := newRegistry(t, func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", tidewaiter.MediaTypeSchema1Signed)
			fmt.Fprint(w, `{"schemaVersion":1,"fsLayers":[]}`)
		})
	})
	s, err := open(t, host+"/app:v1", Options{PlainHTTP: true})
	if err != nil || !strings.Contains(s.Images[0].Problem(), "schema 1") {
		t.Errorf("%v", err)
	}
}
