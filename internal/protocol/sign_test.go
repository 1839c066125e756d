package protocol

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter"
)

// The key is test-key-ed25519 of RFC 9421, appendix B.1.4. testdata/signed.http
// was signed with it by OpenSSL:
//
//	openssl pkeyutl -sign -rawin -keyform DER -inkey key.der -in signature-base.txt
const (
	rfcPrivate = "n4Ni+HpISpVObnQMW0wOhCKROaIKqKtW/2ZYb2p9KcU="
	rfcPublic  = "JrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs="
	exampleID  = "0123456789abcdef0123456789abcdef"
)

func exampleTime() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }

func fromBase64(t testing.TB, s string) []byte {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// example returns the request in testdata and its body.
func example(t testing.TB) (*http.Request, []byte) {
	t.Helper()
	text, err := os.ReadFile("testdata/signed.http")
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(text)))
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r, body
}

func rfcKey(t testing.TB) func(string) (ed25519.PublicKey, error) {
	t.Helper()
	key := fromBase64(t, rfcPublic)
	return func(id string) (ed25519.PublicKey, error) {
		if id != exampleID {
			return nil, Errorf(ErrUnknownComponent, tidewaiter.Unauthenticated, "no such component")
		}
		return key, nil
	}
}

// check verifies a request with a Verifier of its own.
func check(t testing.TB, r *http.Request, body []byte, now time.Time) error {
	t.Helper()
	signed, err := NewVerifier(func() time.Time { return now }).Verify(r, rfcKey(t))
	if err != nil {
		return err
	}
	if signed.ID != exampleID {
		t.Errorf("signed by %q", signed.ID)
	}
	return signed.CheckBody(body)
}

func TestVerifyWhatOpenSSLSigned(t *testing.T) {
	r, body := example(t)
	if err := check(t, r, body, exampleTime()); err != nil {
		t.Error(err)
	}
}

func TestSignAsOpenSSLDid(t *testing.T) {
	want, body := example(t)
	p, ok := parseParams(want.Header.Get("Signature-Input"))
	if !ok {
		t.Fatal("the parameters in testdata cannot be read")
	}
	r := httptest.NewRequest(http.MethodPost, "/component/v1/lease", nil)
	sign(r, body, ed25519.NewKeyFromSeed(fromBase64(t, rfcPrivate)), p)
	for _, name := range []string{"Content-Digest", "Signature-Input", "Signature"} {
		if diff := cmp.Diff(want.Header.Get(name), r.Header.Get(name)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	base, err := os.ReadFile("testdata/signature-base.txt")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(base), string(signatureBase(r, r.Header.Get("Content-Digest"), p))); diff != "" {
		t.Errorf("signature base (-want +got):\n%s", diff)
	}
}

func TestSignedRequestsVerify(t *testing.T) {
	key := ed25519.NewKeyFromSeed(fromBase64(t, rfcPrivate))
	for _, target := range []string{"https://h.example", "https://h.example/", "/component/v1/work/a%2Fb/finish", "/%C3%BC"} {
		for _, body := range []string{"", "{}"} {
			r := httptest.NewRequest(http.MethodPost, target, nil)
			Sign(r, []byte(body), exampleID, key, exampleTime())
			if err := check(t, r, []byte(body), exampleTime()); err != nil {
				t.Errorf("%s: %v", target, err)
			}
		}
	}
}

func TestVerifyRefuses(t *testing.T) {
	other := strings.Repeat("A", 43) + "="
	header := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	replace := func(name, old, with string) func(*http.Request) {
		return func(r *http.Request) {
			before := r.Header.Get(name)
			if r.Header.Set(name, strings.Replace(before, old, with, 1)); r.Header.Get(name) == before {
				panic("nothing replaced in " + before)
			}
		}
	}
	for name, change := range map[string]func(*http.Request){
		"another method":     func(r *http.Request) { r.Method = http.MethodPut },
		"another path":       func(r *http.Request) { r.URL.Path = "/component/v1/hello" },
		"a query":            func(r *http.Request) { r.URL.RawQuery = "a=b" },
		"an empty query":     func(r *http.Request) { r.URL.ForceQuery = true },
		"no digest":          func(r *http.Request) { r.Header.Del("Content-Digest") },
		"no input":           func(r *http.Request) { r.Header.Del("Signature-Input") },
		"no signature":       func(r *http.Request) { r.Header.Del("Signature") },
		"two signatures":     func(r *http.Request) { r.Header.Add("Signature", r.Header.Get("Signature")) },
		"two in one":         func(r *http.Request) { r.Header.Set("Signature", r.Header.Get("Signature")+", x=:AA==:") },
		"two inputs":         func(r *http.Request) { r.Header.Add("Signature-Input", r.Header.Get("Signature-Input")) },
		"two digests":        func(r *http.Request) { r.Header.Add("Content-Digest", r.Header.Get("Content-Digest")) },
		"another digest":     header("Content-Digest", "sha-256=:"+other+":"),
		"sha-512":            replace("Content-Digest", "sha-256", "sha-512"),
		"a short digest":     header("Content-Digest", "sha-256=:AAAA:"),
		"another label":      replace("Signature", "tidewaiter", "sig1"),
		"another input":      replace("Signature-Input", "tidewaiter", "sig1"),
		"fewer components":   replace("Signature-Input", ` "content-digest"`, ""),
		"another order":      replace("Signature-Input", `"@method" "@path"`, `"@path" "@method"`),
		"another algorithm":  replace("Signature-Input", "ed25519", "hmac-sha256"),
		"another time":       replace("Signature-Input", "created=1767225600", "created=1767225601"),
		"a signed time":      replace("Signature-Input", "created=", "created=+"),
		"zeros before time":  replace("Signature-Input", "created=", "created=0"),
		"a huge time":        replace("Signature-Input", "created=", "created=99999999999999999999"),
		"a negative time":    replace("Signature-Input", "created=", "created=-"),
		"an expiry":          replace("Signature-Input", ";keyid", ";expires=1767225700;keyid"),
		"blanks":             replace("Signature-Input", ";keyid", "; keyid"),
		"another nonce":      replace("Signature-Input", "AAEC", "BBEC"),
		"a short nonce":      replace("Signature-Input", "AAEC", ""),
		"a loose nonce":      replace("Signature-Input", "Dw==", "Dx=="),
		"a quote in the id":  replace("Signature-Input", "0123", `01\"23`),
		"no id":              replace("Signature-Input", exampleID, ""),
		"a long id":          replace("Signature-Input", exampleID, strings.Repeat("a", 65)),
		"something after it": replace("Signature-Input", `w=="`, `w==";tag="x"`),
		"no colons":          replace("Signature", ":", ""),
		"a zero signature":   header("Signature", "tidewaiter=:"+base64.StdEncoding.EncodeToString(make([]byte, 64))+":"),
		"a short signature":  header("Signature", "tidewaiter=:AAAA:"),
	} {
		t.Run(name, func(t *testing.T) {
			r, body := example(t)
			change(r)
			err := check(t, r, body, exampleTime())
			if CodeOf(err) != ErrSignature || tidewaiter.KindOf(err) != tidewaiter.Unauthenticated {
				t.Errorf("got %v", err)
			}
		})
	}
	r, body := example(t)
	if err := check(t, r, append(body, ' '), exampleTime()); CodeOf(err) != ErrSignature {
		t.Errorf("another body: %v", err)
	}
	replace("Signature-Input", exampleID, "somebody")(r)
	if err := check(t, r, body, exampleTime()); CodeOf(err) != ErrUnknownComponent {
		t.Errorf("somebody else: %v", err)
	}
}

func TestWindow(t *testing.T) {
	for _, test := range []struct {
		off time.Duration
		ok  bool
	}{{Window, true}, {-Window, true}, {Window + time.Second, false}, {-Window - time.Second, false}, {24 * time.Hour, false}} {
		r, body := example(t)
		err := check(t, r, body, exampleTime().Add(test.off))
		if (err == nil) != test.ok || err != nil && !strings.Contains(err.Error(), "clock") {
			t.Errorf("%v off: %v", test.off, err)
		}
	}
}

func TestReplay(t *testing.T) {
	now := exampleTime().Add(-Window) // the signature is good for another 10 minutes
	v := NewVerifier(func() time.Time { return now })
	key := ed25519.NewKeyFromSeed(fromBase64(t, rfcPrivate))
	recorded, _ := example(t)
	if _, err := v.Verify(recorded, rfcKey(t)); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if _, err := v.Verify(recorded, rfcKey(t)); CodeOf(err) != ErrSignature || !strings.Contains(err.Error(), "nonce") {
			t.Errorf("replayed at %v: %v", now, err)
		}
		now = now.Add(time.Minute)
		fresh := httptest.NewRequest(http.MethodPost, "/component/v1/lease", nil)
		Sign(fresh, nil, exampleID, key, now)
		if _, err := v.Verify(fresh, rfcKey(t)); err != nil {
			t.Errorf("fresh at %v: %v", now, err)
		}
	}
}

// TestForgedNonces makes sure that a request with a bad signature does not use
// up the nonce of a good one.
func TestForgedNonces(t *testing.T) {
	v := NewVerifier(exampleTime)
	forged, _ := example(t)
	forged.Method = http.MethodPut
	if _, err := v.Verify(forged, rfcKey(t)); err == nil {
		t.Fatal("a forged request passes")
	}
	good, _ := example(t)
	if _, err := v.Verify(good, rfcKey(t)); err != nil {
		t.Error(err)
	}
}

func TestNoncesAreBounded(t *testing.T) {
	var n nonces
	now := exampleTime()
	for i := range 3*maxNonces + 1 {
		if !n.use(params{id: "a", nonce: string(rune(i))}, now) && i < 0xd800 {
			t.Fatalf("nonce %d is not new", i)
		}
	}
	if got := len(n.now) + len(n.past); got > 2*maxNonces {
		t.Errorf("%d nonces are remembered, want at most %d", got, 2*maxNonces)
	}
	if !n.use(params{id: "a", nonce: "x"}, now) || !n.use(params{id: "b", nonce: "x"}, now) || n.use(params{id: "a", nonce: "x"}, now) {
		t.Error("nonces of two components meet, or one is taken twice")
	}
}

func TestLookupErrorsPass(t *testing.T) {
	r, _ := example(t)
	down := tidewaiter.Errorf(tidewaiter.Unavailable, "the database does not answer")
	_, err := NewVerifier(exampleTime).Verify(r, func(string) (ed25519.PublicKey, error) { return nil, down })
	if !errors.Is(err, down) {
		t.Errorf("got %v", err)
	}
}

func TestNegotiate(t *testing.T) {
	ours := Versions{Newest: 4, Oldest: 3}
	for _, test := range []struct {
		theirs Versions
		want   int
		code   string
	}{
		{Versions{4, 3}, 4, ""},
		{Versions{5, 4}, 4, ""},
		{Versions{3, 1}, 3, ""},
		{Versions{9, 1}, 4, ""},
		{Versions{2, 1}, 0, ErrVersion},
		{Versions{6, 5}, 0, ErrVersion},
	} {
		got, err := negotiate(ours, test.theirs)
		if got != test.want || CodeOf(err) != test.code {
			t.Errorf("%+v: %d, %v; want %d, %q", test.theirs, got, err, test.want, test.code)
		}
	}
	for _, theirs := range []Versions{{}, {1, 2}, {1, 0}, {-1, -1}} {
		if _, err := Negotiate(theirs); tidewaiter.KindOf(err) != tidewaiter.Invalid || CodeOf(err) != "" {
			t.Errorf("%+v: %v", theirs, err)
		}
	}
	if got, err := Negotiate(Ours()); err != nil || got != Newest {
		t.Errorf("with ourselves: %d, %v", got, err)
	}
}

// FuzzVerify wants no forged request to pass: the key below signed one request
// only.
func FuzzVerify(f *testing.F) {
	r, body := example(f)
	f.Add(r.Method, r.URL.Path, r.Header.Get("Content-Digest"), r.Header.Get("Signature-Input"), r.Header.Get("Signature"), body)
	f.Add("POST", "/", "sha-256=:AA==:", `tidewaiter=();created=1`, "tidewaiter=::", []byte(nil))
	f.Fuzz(func(t *testing.T, method, path, digest, input, signature string, got []byte) {
		forged := &http.Request{Method: method, URL: r.URL.JoinPath(), Header: http.Header{
			"Content-Digest": {digest}, "Signature-Input": {input}, "Signature": {signature},
		}}
		forged.URL.Path = path
		err := check(t, forged, got, exampleTime())
		same := method == r.Method && path == r.URL.Path && bytes.Equal(got, body)
		if err == nil && !same {
			t.Errorf("%s %s passes", method, path)
		}
		if err != nil && CodeOf(err) == "" {
			t.Errorf("an error without a code: %v", err)
		}
		if p, ok := parseParams(input); ok && label+p.String() != input {
			t.Errorf("two spellings: %q", input)
		}
	})
}
