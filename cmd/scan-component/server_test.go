package main

import (
	"crypto/ed25519"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/protocol"
)

// server enrols whoever has the token "one-time", and has no work for them.
type server struct {
	*httptest.Server
	asked   chan string // what for, less the prefix
	removed atomic.Bool
	key     atomic.Pointer[ed25519.PublicKey]
}

func newServer(t testing.TB) *server {
	s := &server{asked: make(chan string, 1000)}
	verifier := protocol.NewVerifier(time.Now)
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := strings.TrimPrefix(r.URL.Path, protocol.Prefix)
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		if path == protocol.PathEnrol {
			var q protocol.EnrolRequest
			if err := json.Unmarshal(body, &q); err != nil || q.Token != "one-time" {
				refuse(w, http.StatusForbidden, "HSS.0001")
				return
			}
			key := ed25519.PublicKey(q.SigningKey)
			s.key.Store(&key)
			s.answer(w, path, protocol.EnrolResponse{ComponentID: "c-1", ClusterID: "x", ClusterName: "edge"})
			return
		}
		signed, err := verifier.Verify(r, func(string) (ed25519.PublicKey, error) {
			if s.removed.Load() {
				return nil, protocol.Errorf(protocol.ErrUnknownComponent, tidewaiter.Unauthenticated, "unknown")
			}
			return *s.key.Load(), nil
		})
		if err == nil {
			err = signed.CheckBody(body)
		}
		if err != nil {
			refuse(w, http.StatusUnauthorized, protocol.CodeOf(err))
			return
		}
		switch path {
		case protocol.PathHello:
			var q protocol.HelloRequest
			if err := json.Unmarshal(body, &q); err != nil {
				t.Error(err)
			}
			s.answer(w, path, protocol.HelloResponse{Protocol: 1, ClusterRecipient: q.ClusterRecipient})
		case protocol.PathLease:
			s.asked <- path
			<-r.Context().Done()
		default:
			t.Errorf("the component asks for %s", path)
		}
	}))
	return s
}

func (s *server) answer(w http.ResponseWriter, path string, v any) {
	if err := json.NewEncoder(w).Encode(v); err == nil {
		s.asked <- path
	}
}

func refuse(w http.ResponseWriter, status int, code string) {
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error_code": code, "error_msg": "not with this token"})
}
