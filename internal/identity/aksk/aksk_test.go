package aksk

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tidewaiter/tidewaiter"
)

func date(t testing.TB, s string) time.Time {
	t.Helper()
	d, err := time.Parse(DateFormat, s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// request returns a request as a server reads it from the wire.
func request(t testing.TB, text string) *http.Request {
	t.Helper()
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(strings.ReplaceAll(text, "\n", "\r\n") + "\r\n\r\n")))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// check parses and verifies.
func check(r *http.Request, body []byte, secret string, now time.Time) error {
	s, err := Parse(r)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(body)
	return s.Verify(r, hex.EncodeToString(sum[:]), NewKey([]byte(secret)), now)
}

const vector = `GET /v3/projects?name=cn-test-1 HTTP/1.1
Host: localhost
X-Sdk-Date: 20261123T112024Z
Authorization: SDK-HMAC-SHA256 Access=AKEXAMPLE, SignedHeaders=x-sdk-date, Signature=fe7280dc6f84f2c5caf63a883bfc8700300d3cc3f73af556afc8dbae5112b4c8`

func TestVector(t *testing.T) {
	now := date(t, "20261123T112024Z")
	r := request(t, vector)
	canonical, err := appendCanonical(nil, r, "x-sdk-date", EmptySHA256)
	if err != nil {
		t.Fatal(err)
	}
	want := "GET\n/v3/projects/\nname=cn-test-1\nx-sdk-date:20261123T112024Z\n\nx-sdk-date\n" + EmptySHA256
	if string(canonical) != want {
		t.Errorf("canonical request is\n%s\nwant\n%s", canonical, want)
	}
	if err := check(r, nil, "SKEXAMPLE", now); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(r *http.Request){
		"method":   func(r *http.Request) { r.Method = "DELETE" },
		"path":     func(r *http.Request) { r.URL.Path = "/v3/projects2" },
		"query":    func(r *http.Request) { r.URL.RawQuery += "&x=1" },
		"no query": func(r *http.Request) { r.URL.RawQuery = "" },
		"date":     func(r *http.Request) { r.Header.Set("X-Sdk-Date", "20261123T112025Z") },
	} {
		r := request(t, vector)
		change(r)
		if err := check(r, nil, "SKEXAMPLE", now); !errors.Is(err, ErrMismatch) || tidewaiter.KindOf(err) != tidewaiter.Unauthenticated {
			t.Errorf("changed %s: got %v", name, err)
		}
	}
	if err := check(r, []byte("{}"), "SKEXAMPLE", now); !errors.Is(err, ErrMismatch) {
		t.Errorf("changed body: got %v", err)
	}
	if err := check(r, nil, "SKEXAMPLE2", now); !errors.Is(err, ErrMismatch) {
		t.Errorf("another secret: got %v", err)
	}
}

func TestWindow(t *testing.T) {
	at := date(t, "20261123T112024Z")
	for _, c := range []struct {
		now time.Time
		ok  bool
	}{
		{at, true},
		{at.Add(Window), true}, {at.Add(Window + time.Second), false},
		{at.Add(-Window), true}, {at.Add(-Window - time.Second), false},
		{at.AddDate(1, 0, 0), false}, {at.AddDate(-1, 0, 0), false},
	} {
		err := check(request(t, vector), nil, "SKEXAMPLE", c.now)
		if (err == nil) != c.ok {
			t.Errorf("at %v: got %v", c.now, err)
		}
		if err != nil && (err.Error() != "calc ak sk signature fail:signature expired" || errors.Is(err, ErrMismatch)) {
			t.Errorf("at %v: got %v", c.now, err)
		}
	}
}

// signed returns a signed request as a server reads it.
func signed(t testing.TB, method, target string, header map[string]string, body []byte, now time.Time) *http.Request {
	t.Helper()
	out := httptest.NewRequest(method, "http://h"+target, bytes.NewReader(body))
	for k, v := range header {
		out.Header.Set(k, v)
	}
	if err := Sign(out, "AKEXAMPLE", []byte("secret"), body, now); err != nil {
		t.Fatal(err)
	}
	var wire bytes.Buffer
	if err := out.Write(&wire); err != nil {
		t.Fatal(err)
	}
	in, err := http.ReadRequest(bufio.NewReader(&wire))
	if err != nil {
		t.Fatal(err)
	}
	return in
}

func TestHeadersThatMustBeSigned(t *testing.T) {
	now := date(t, "20261123T112024Z")
	for _, name := range []string{"X-Project-Id", "X-Security-Token", "X-Sdk-Content-Sha256"} {
		r := signed(t, "GET", "/", nil, nil, now)
		r.Header.Set(name, EmptySHA256)
		if err := check(r, nil, "secret", now); err == nil || errors.Is(err, ErrMismatch) {
			t.Errorf("%s added on the way: got %v", name, err)
		}
		r = signed(t, "GET", "/", map[string]string{name: EmptySHA256}, nil, now)
		if err := check(r, nil, "secret", now); err != nil {
			t.Errorf("%s signed: %v", name, err)
		}
		r.Header.Add(name, "twice")
		if err := check(r, nil, "secret", now); err == nil {
			t.Errorf("%s twice: accepted", name)
		}
		r.Header.Del(name)
		if err := check(r, nil, "secret", now); err == nil {
			t.Errorf("%s taken away: accepted", name)
		}
	}
}

func TestPayload(t *testing.T) {
	now := date(t, "20261123T112024Z")
	body := []byte(`{"a":1}`)
	sum := sha256.Sum256(body)
	right := hex.EncodeToString(sum[:])
	for _, c := range []struct {
		contentType, sha string
		sent             []byte
		ok               bool
	}{
		{"application/json", "", body, true},
		{"application/json", "", []byte("changed"), false},
		{"application/json", right, body, true},
		{"application/json", right, []byte("changed"), false},
		{"application/octet-stream", UnsignedPayload, body, true},
		{"application/octet-stream", UnsignedPayload, []byte("anything"), true},
		{"application/json", UnsignedPayload, nil, true},
		{"application/json; charset=utf8", UnsignedPayload, body, false},
	} {
		header := map[string]string{"Content-Type": c.contentType}
		if c.sha != "" {
			header["X-Sdk-Content-Sha256"] = c.sha
		}
		signedBody := body
		if c.sha == UnsignedPayload {
			signedBody = nil // Sign refuses what Verify refuses
		}
		r := signed(t, "POST", "/", header, signedBody, now)
		if err := check(r, c.sent, "secret", now); (err == nil) != c.ok {
			t.Errorf("%+v: got %v", c, err)
		}
	}
}

func TestHostAndBlanksAndOrder(t *testing.T) {
	now := date(t, "20261123T112024Z")
	r := request(t, "GET /a HTTP/1.1\nHost: h:1\nX-Sdk-Date: 20261123T112024Z\nX-A:   two  words \t")
	canonical, err := appendCanonical(nil, r, "host;x-a;x-sdk-date", EmptySHA256)
	if err != nil {
		t.Fatal(err)
	}
	if want := "host:h:1\nx-a:two  words\nx-sdk-date:20261123T112024Z\n\n"; !strings.Contains(string(canonical), want) {
		t.Errorf("canonical request is\n%s", canonical)
	}
	sum := NewKey([]byte("secret")).sum(canonical, "20261123T112024Z")
	for _, form := range []string{
		"SDK-HMAC-SHA256 Access=AK, SignedHeaders=host;x-a;x-sdk-date, Signature=%",
		"SDK-HMAC-SHA256 Access=AK,SignedHeaders=host;x-a;x-sdk-date,Signature=%",
		"SDK-HMAC-SHA256   Signature = % ,\tAccess = AK , SignedHeaders = host;x-a;x-sdk-date ",
	} {
		r.Header.Set("Authorization", strings.ReplaceAll(form, "%", hex.EncodeToString(sum[:])))
		if err := check(r, nil, "secret", now); err != nil {
			t.Errorf("%s: %v", form, err)
		}
	}
	r.Host = "other"
	if err := check(r, nil, "secret", now); !errors.Is(err, ErrMismatch) {
		t.Errorf("another host: got %v", err)
	}
}

func TestParseRefuses(t *testing.T) {
	sum := strings.Repeat("0", 64)
	for _, a := range []string{
		"", "Basic eDp5", "SDK-HMAC-SHA256", "SDK-HMAC-SM3 Access=AK, SignedHeaders=x-sdk-date, Signature=" + sum,
		"sdk-hmac-sha256 Access=AK, SignedHeaders=x-sdk-date, Signature=" + sum,
		"SDK-HMAC-SHA256 Access=AK, SignedHeaders=x-sdk-date",
		"SDK-HMAC-SHA256 Access=AK, Access=AK, SignedHeaders=x-sdk-date, Signature=" + sum,
		"SDK-HMAC-SHA256 Access=AK, SignedHeaders=x-sdk-date, Signature=" + sum + ", X=y",
		"SDK-HMAC-SHA256 Access=AK, SignedHeaders=x-sdk-date, Signature=" + sum[1:],
		"SDK-HMAC-SHA256 Access=AK, SignedHeaders=x-sdk-date, Signature=" + sum[1:] + "g",
		"SDK-HMAC-SHA256 Access=, SignedHeaders=x-sdk-date, Signature=" + sum,
		"SDK-HMAC-SHA256 Access=a'b, SignedHeaders=x-sdk-date, Signature=" + sum,
		"SDK-HMAC-SHA256 Access=" + strings.Repeat("A", 65) + ", SignedHeaders=x-sdk-date, Signature=" + sum,
		"SDK-HMAC-SHA256 Access=AK, SignedHeaders=, Signature=" + sum,
		"SDK-HMAC-SHA256 Access=AK, SignedHeaders=host, Signature=" + sum,
		"SDK-HMAC-SHA256 Access=AK, SignedHeaders=X-Sdk-Date, Signature=" + sum,
		"SDK-HMAC-SHA256 Access=AK, SignedHeaders=x-sdk-date;host, Signature=" + sum,
		"SDK-HMAC-SHA256 Access=AK, SignedHeaders=x-sdk-date;x-sdk-date, Signature=" + sum,
		"SDK-HMAC-SHA256 Access=AK, SignedHeaders=a b;x-sdk-date, Signature=" + sum,
		"SDK-HMAC-SHA256 Access=AK, SignedHeaders=" + strings.Repeat("a;", 4096) + "x-sdk-date, Signature=" + sum,
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("X-Sdk-Date", "20261123T112024Z")
		r.Header.Set("Authorization", a)
		_, err := Parse(r)
		if tidewaiter.KindOf(err) != tidewaiter.Unauthenticated || !strings.HasPrefix(err.Error(), "verify aksk signature fail, ") {
			t.Errorf("%.100s: got %v", a, err)
		}
	}
	for _, d := range []string{"", "2026", "20261123T112024", "20261323T112024Z", "20260230T112024Z", "20261123T242024Z",
		"20261123T116024Z", "20261123T112060Z", "2026112aT112024Z", "20261123 112024Z", "+0261123T112024Z"} {
		r := request(t, vector)
		r.Header.Set("X-Sdk-Date", d)
		if _, err := Parse(r); tidewaiter.KindOf(err) != tidewaiter.Unauthenticated {
			t.Errorf("date %q: got %v", d, err)
		}
	}
	for _, name := range []string{"X-Sdk-Date", "Authorization"} {
		r := request(t, vector)
		r.Header.Add(name, r.Header.Get(name))
		if _, err := Parse(r); tidewaiter.KindOf(err) != tidewaiter.Unauthenticated {
			t.Errorf("%s twice: got %v", name, err)
		}
	}
}

func TestASignedHeaderIsThereOnce(t *testing.T) {
	now := date(t, "20261123T112024Z")
	for _, change := range []func(h http.Header){
		func(h http.Header) { h.Add("X-A", "2") },
		func(h http.Header) { h["X-A"] = []string{"2", "1"} },
		func(h http.Header) { h.Del("X-A") },
	} {
		r := signed(t, "GET", "/", map[string]string{"X-A": "1"}, nil, now)
		change(r.Header)
		if err := check(r, nil, "secret", now); tidewaiter.KindOf(err) != tidewaiter.Unauthenticated {
			t.Errorf("%v: got %v", r.Header["X-A"], err)
		}
	}
}

func TestCanonicalForms(t *testing.T) {
	for raw, want := range map[string]string{
		"":                  "",
		"a":                 "a=",
		"a=":                "a=",
		"&&a=1&":            "a=1",
		"b=2&a=1":           "a=1&b=2",
		"a=2&a=1&a=":        "a=&a=1&a=2",
		"a=10&a=9":          "a=10&a=9",
		"a=x+y&b=x%20y":     "a=x%20y&b=x%20y",
		"a=%2B%2b":          "a=%2B%2B",
		"a=b=c":             "a=b%3Dc",
		"a=~-_.!*'()":       "a=~-_.%21%2A%27%28%29",
		"k%C3%A9=%E4%B8%AD": "k%C3%A9=%E4%B8%AD",
		"a%20b=1&a!=2":      "a%20b=1&a%21=2", // sorted as decoded
		"%00=%ff":           "%00=%FF",
	} {
		got, err := appendQuery(nil, raw)
		if err != nil || string(got) != want {
			t.Errorf("query %q is %q, %v; want %q", raw, got, err, want)
		}
	}
	for _, raw := range []string{"%", "a=%", "a=%2", "a=%zz", strings.Repeat("a&", maxPairs+1)} {
		if _, err := appendQuery(nil, raw); tidewaiter.KindOf(err) != tidewaiter.Unauthenticated {
			t.Errorf("query %.20q: got %v", raw, err)
		}
	}
	for path, want := range map[string]string{
		"": "/", "/": "/", "/a": "/a/", "/a/": "/a/", "//a": "//a/", "/a b/é": "/a%20b/%C3%A9/", "/a+b:c": "/a%2Bb%3Ac/",
	} {
		if got := string(appendPath(nil, path)); got != want {
			t.Errorf("path %q is %q, want %q", path, got, want)
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	now := date(b, "20261123T112024Z")
	r := signed(b, "GET", "/v5/0123456789abcdef0123456789abcdef/image/registries/image-upload-command?registry_addr=harbor.example.com&namespace=library&username=robot&password=x",
		map[string]string{"X-Project-Id": "0123456789abcdef0123456789abcdef", "User-Agent": "huaweicloud-usdk-go/3.0", "Content-Type": "application/json"}, nil, now)
	key := NewKey([]byte("secret"))
	b.ReportAllocs()
	for b.Loop() {
		s, err := Parse(r)
		if err != nil {
			b.Fatal(err)
		}
		if err := s.Verify(r, EmptySHA256, key, now); err != nil {
			b.Fatal(err)
		}
	}
}
