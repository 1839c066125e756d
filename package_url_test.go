package tidewaiter_test

import (
	"testing"

	"github.com/tidewaiter/tidewaiter"
)

func TestMatchesPackageURL(t *testing.T) {
	deb := tidewaiter.Package{Type: "deb", Namespace: "debian", Name: "libssl3", Version: "3.0.1-1", SourceName: "openssl", SourceVersion: "3.0.1-0"}
	for _, tt := range []struct {
		purl string
		p    tidewaiter.Package
		want bool
	}{
		{"pkg:deb/debian/libssl3", deb, true},
		{"pkg:deb/debian/openssl", deb, true},
		{"pkg:deb/debian/libssl3@3.0.1-1", deb, true},
		{"pkg:deb/debian/openssl@3.0.1-0", deb, true},
		{"pkg:deb/debian/libssl3@3.0.1-0", deb, false},
		{"pkg:deb/debian/libssl3@3.0.2-1", deb, false},
		{"pkg:deb/ubuntu/libssl3", deb, false},
		{"pkg:deb/debian/libssl", deb, false},
		{"pkg:rpm/debian/libssl3", deb, false},
		{"pkg:npm/@scope/a@1.0.0", tidewaiter.Package{Type: "npm", Name: "@scope/a", Version: "1.0.0"}, true},
		{"pkg:npm/@scope/a", tidewaiter.Package{Type: "npm", Name: "@scope/a", Version: "1.0.0"}, true},
		{"pkg:npm/a", tidewaiter.Package{Type: "npm", Name: "@scope/a", Version: "1.0.0"}, false},
		{"pkg:pypi/django-filter", tidewaiter.Package{Type: "pypi", Name: "Django_filter", Version: "1"}, true},
		{"pkg:golang/github.com/Masterminds/semver@v1.5.0", tidewaiter.Package{Type: "golang", Name: "github.com/masterminds/semver", Version: "1.5.0"}, true},
		{"pkg:golang/stdlib@1.24.0", tidewaiter.Package{Type: "golang", Name: "stdlib", Version: "1.24.0"}, true},
		{"pkg:maven/org.example/a@1.0", tidewaiter.Package{Type: "maven", Namespace: "org.example", Name: "org.example:a", Version: "1.0"}, true},
		{"pkg:maven/org.Example/a@1.0", tidewaiter.Package{Type: "maven", Namespace: "org.example", Name: "org.example:a", Version: "1.0"}, false},
		{"pkg:gem/a", tidewaiter.Package{Type: "gem", Name: "A", Version: "1.0"}, false},
		{"", deb, false},
	} {
		if got := tidewaiter.MatchesPackageURL(tt.purl, tt.p); got != tt.want {
			t.Errorf("%s and %s %s: %t", tt.purl, tt.p.Name, tt.p.Version, got)
		}
	}
}
