package aksk

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/tidewaiter/tidewaiter"
)

// FuzzParse: whatever the header holds, Parse answers, and what it accepts is
// well formed.
func FuzzParse(f *testing.F) {
	f.Add("SDK-HMAC-SHA256 Access=AKEXAMPLE, SignedHeaders=x-sdk-date, Signature=fe7280dc6f84f2c5caf63a883bfc8700300d3cc3f73af556afc8dbae5112b4c8", "20261123T112024Z")
	f.Add("SDK-HMAC-SHA256 Access=,,=,SignedHeaders=;;, Signature=", "")
	f.Fuzz(func(t *testing.T, authorization, date string) {
		r := &http.Request{Method: "GET", URL: &url.URL{Path: "/"}, Header: http.Header{"Authorization": {authorization}, "X-Sdk-Date": {date}}}
		s, err := Parse(r)
		if err != nil {
			if tidewaiter.KindOf(err) != tidewaiter.Unauthenticated {
				t.Fatal(err)
			}
			return
		}
		if !wellFormedKey(s.AccessKey) || !s.signs("x-sdk-date") || s.Date.Format(DateFormat) != s.date {
			t.Fatalf("accepted %q %q as %+v", authorization, date, s)
		}
		if err := s.Verify(r, EmptySHA256, NewKey([]byte("secret")), s.Date); err == nil {
			t.Fatal("a signature was guessed")
		}
	})
}

// FuzzQuery compares the canonical form of a query with that by net/url, which
// is how the SDKs make it.
func FuzzQuery(f *testing.F) {
	for _, s := range []string{"a=1&b=2", "a=%20+&a=", "k%C3%A9=%E4", "&&=&=x", "%00=%ff&a;b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		got, err := appendQuery(nil, raw)
		if strings.Contains(raw, ";") || strings.Count(raw, "&") >= maxPairs {
			return // net/url drops what has a semicolon
		}
		values, uerr := url.ParseQuery(raw)
		if (err == nil) != (uerr == nil) {
			t.Fatalf("%q: got %v, net/url %v", raw, err, uerr)
		}
		if err != nil {
			return
		}
		again, err := url.ParseQuery(string(got))
		if err != nil {
			t.Fatal(err)
		}
		if len(values) != len(again) {
			t.Fatalf("%q became %q", raw, got)
		}
		twice, err := appendQuery(nil, string(got))
		if err != nil || string(twice) != string(got) {
			t.Fatalf("%q is not stable: %q", got, twice)
		}
		want := strings.ReplaceAll(values.Encode(), "+", "%20")
		if n := strings.Count(want, "&"); n != strings.Count(string(got), "&") {
			t.Fatalf("%q became %q, net/url has %q", raw, got, want)
		}
	})
}
