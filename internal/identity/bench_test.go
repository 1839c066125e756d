package identity_test

import (
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/identity"
	"github.com/tidewaiter/tidewaiter/internal/identity/aksk"
	"github.com/tidewaiter/tidewaiter/internal/store/storetest"
)

// benchmarked returns a service with its first account.
func benchmarked(b *testing.B) (*identity.Service, identity.Bootstrap) {
	b.Helper()
	key, err := identity.LoadOrCreateKey(filepath.Join(b.TempDir(), "key"))
	if err != nil {
		b.Fatal(err)
	}
	s, err := identity.New(b.Context(), identity.Options{Store: storetest.Open(b, storetest.SQLite(b)), Key: key})
	if err != nil {
		b.Fatal(err)
	}
	boot, _, err := s.Bootstrap(b.Context(), identity.BootstrapOptions{})
	if err != nil {
		b.Fatal(err)
	}
	return s, boot
}

func BenchmarkAuthenticateToken(b *testing.B) {
	s, boot := benchmarked(b)
	token, _, err := s.IssueToken(b.Context(), identity.TokenRequest{UserID: boot.User.ID, Password: boot.Password})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := s.AuthenticateToken(b.Context(), token); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkAuthenticateSignature(b *testing.B) {
	s, boot := benchmarked(b)
	r := httptest.NewRequest("GET", "http://h/v5/0123456789abcdef0123456789abcdef/image/registries/image-upload-command"+
		"?registry_addr=harbor.example.com&namespace=library&username=robot&password=x", nil)
	r.Header.Set("User-Agent", "huaweicloud-usdk-go/3.0")
	r.Header.Set("X-Project-Id", "0123456789abcdef0123456789abcdef")
	if err := aksk.Sign(r, boot.AccessKey, []byte(boot.SecretKey), nil, time.Now()); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := s.AuthenticateSignature(b.Context(), r, aksk.EmptySHA256); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkIssueToken(b *testing.B) {
	s, boot := benchmarked(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := s.IssueToken(b.Context(), identity.TokenRequest{UserID: boot.User.ID, Password: boot.Password}); err != nil {
			b.Fatal(err)
		}
	}
}
