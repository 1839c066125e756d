package worker_test

import (
	"encoding/pem"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/protocol"
	"github.com/tidewaiter/tidewaiter/internal/worker"
)

func TestServerAddress(t *testing.T) {
	s := newServer(t)
	for address, good := range map[string]bool{
		"https://tidewaiter.example.com": true, "https://[2001:db8::1]:8443/": true, "http://127.0.0.1:8080": true, "http://localhost": true, "http://[::1]:80": true,
		"": false, "tidewaiter.example.com": false, "http://tidewaiter.example.com": false, "http://127.0.0.1.example.com": false, "http://10.0.0.1:8080": false,
		"https://user:secret@example.com": false, "https://example.com/path": false, "https://example.com?x=secret": false, "ftp://example.com": false,
		"https://exa mple.com": false, "https://": false, "unix:///run/x": false,
	} {
		o := s.options(t.TempDir())
		o.Server = address
		w, err := worker.New(o)
		if err == nil {
			check(t, w.Close())
		}
		if good != (err == nil) || err != nil && (tidewaiter.KindOf(err) != tidewaiter.Invalid || !strings.HasPrefix(err.Error(), "server: ") || strings.Contains(err.Error(), "secret")) {
			t.Errorf("%q: error %v", address, err)
		}
	}
	o := s.options(t.TempDir())
	o.Server, o.InsecureHTTP = "http://tidewaiter.example.com", true
	check(t, start(t, o).Close())
	o.CA, o.HTTP = []byte("no certificate"), nil
	if _, err := worker.New(o); tidewaiter.KindOf(err) != tidewaiter.Invalid {
		t.Errorf("a CA file without a certificate: %v", err)
	}
}

// The server's certificate is checked, against the CA that is given too.
func TestServerCertificate(t *testing.T) {
	s := newServer(t)
	h := httptest.NewUnstartedServer(s)
	h.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	h.StartTLS()
	defer h.Close()
	o := s.options(t.TempDir())
	o.Server, o.HTTP = h.URL, nil
	w := start(t, o)
	if err := w.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("an unknown authority: error %v", err)
	}
	check(t, w.Close())
	o.CA = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: h.Certificate().Raw})
	check(t, start(t, o).Start(t.Context()))
}

// A redirect is not followed: what is signed is for one place.
func TestServerRedirects(t *testing.T) {
	s := newServer(t)
	s.setFault(func(w http.ResponseWriter, r *http.Request) bool {
		http.Redirect(w, r, "http://elsewhere.example.com/", http.StatusPermanentRedirect)
		return true
	})
	err := start(t, s.options(t.TempDir())).Start(t.Context())
	if err == nil || !strings.Contains(err.Error(), "redirects") || len(s.requests) != 1 {
		t.Errorf("error %v, %d requests", err, len(s.requests))
	}
}

// Answers are read up to a limit, and what cannot be read is an error to come
// back from.
func TestServerAnswers(t *testing.T) {
	for name, text := range map[string]string{
		"endless": strings.Repeat(" ", protocol.MaxBody+2), "no JSON": "<html>", "nothing": "",
		"other types": `{"cluster_recipient":7}`,
	} {
		s := newServer(t)
		s.setFault(func(w http.ResponseWriter, r *http.Request) bool {
			hello := strings.HasSuffix(r.URL.Path, protocol.PathHello)
			if hello {
				_, _ = w.Write([]byte(text))
			}
			return hello
		})
		w := start(t, s.options(t.TempDir()))
		if err := w.Start(t.Context()); err == nil {
			t.Errorf("%s: no error", name)
		}
		s.setFault(nil)
		check(t, w.Start(t.Context()))
	}
}
