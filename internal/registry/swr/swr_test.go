package swr_test

import (
	"strings"
	"testing"
	"time"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/registry"
	"github.com/tidewaiter/tidewaiter/internal/registry/registrytest"
	"github.com/tidewaiter/tidewaiter/internal/registry/swr"
)

func open(t *testing.T, c registry.Config) (*swr.Connector, error) {
	t.Helper()
	client, err := registry.NewClient(c, registry.Options{Attempts: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return swr.New(client, time.Now)
}

// With a login key in place of the secret key, nothing can be listed; the error
// says so, and repositories that are given work.
func TestLoginKey(t *testing.T) {
	f := registrytest.NewSWR(t, map[string][]string{"team/app": {"v1"}}, registry.SwrPrivate)
	c := f.Config()
	c.Password = loginKey
	s, err := open(t, c)
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range s.Repositories(t.Context()) {
		if tidewaiter.KindOf(err) != tidewaiter.Invalid || !strings.Contains(err.Error(), "login key") {
			t.Errorf("Repositories: %v", err)
		}
	}
	c.Repositories = []string{"team/app"}
	if s, err = open(t, c); err != nil {
		t.Fatal(err)
	}
	n := 0
	for r, err := range s.Repositories(t.Context()) {
		for tag, tagErr := range s.Tags(t.Context(), r) {
			if n++; err != nil || tagErr != nil || tag.Name != "v1" {
				t.Errorf("%+v %+v %v %v", r, tag, err, tagErr)
			}
		}
	}
	if n != 1 {
		t.Errorf("%d tags", n)
	}
	// The secret key is never sent: not as a password, not in a URL.
	for _, r := range f.Requests() {
		if strings.Contains(r, f.Config().Password) {
			t.Errorf("request %s", r)
		}
	}
}

// loginKey is what the recipe of the documentation makes of the fake's keys:
//
//	printf AKEXAMPLE0123456789 | openssl dgst -binary -sha256 -hmac SKexample0123456789abcdefghij | od -An -vtx1
const loginKey = "5288e3eccee1661426176262c258cb98d9313ac6c829f2047b3a8c0bade1484f"

func TestAPIAddress(t *testing.T) {
	for host, want := range map[string]string{
		"swr.region-1.example.com": "https://swr-api.region-1.example.com", "swr.region-1.example.com:8443": "https://swr-api.region-1.example.com", "registry.example.com": "",
	} {
		a, err := tidewaiter.ParseRegistryAddress(host)
		if err != nil {
			t.Fatal(err)
		}
		got, err := registry.Config{Address: a}.SWRAPI()
		if want == "" {
			if tidewaiter.KindOf(err) != tidewaiter.Invalid {
				t.Errorf("%s: %v", host, err)
			}
		} else if err != nil || got.String() != want {
			t.Errorf("%s: %s, %v", host, got, err)
		}
	}
}

// The enterprise edition needs to be told which instance.
func TestEnterpriseIDs(t *testing.T) {
	f := registrytest.NewSWR(t, nil, registry.SwrEnterprise)
	c := f.Config()
	c.SWR.InstanceID = ""
	if _, err := open(t, c); tidewaiter.KindOf(err) != tidewaiter.Invalid {
		t.Errorf("without an instance: %v", err)
	}
}
