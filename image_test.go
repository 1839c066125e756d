package tidewaiter_test

import (
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/tidewaiter/tidewaiter"
)

func TestParseDigest(t *testing.T) {
	a64, a128 := strings.Repeat("a", 64), strings.Repeat("a", 128)
	for s, ok := range map[string]bool{
		"sha256:" + a64: true, "sha512:" + a128: true, "": false, a64: false, "sha256:": false, "sha256:../../x": false, "md5:" + a64[:32]: false,
		"sha256:" + a128: false, "sha512:" + a64: false, "SHA256:" + a64: false, "sha256:" + strings.ToUpper(a64): false, "sha256:" + a64[:63] + "/": false,
		"sha256:" + a64[:63] + "g": false, "sha384:" + a128[:96]: false, " sha256:" + a64: false, "sha256:" + a64 + "\n": false, "sha256::" + a64[:63]: false,
	} {
		d, err := tidewaiter.ParseDigest(s)
		if (err == nil) != ok || ok && string(d) != s || !ok && tidewaiter.KindOf(err) != tidewaiter.Invalid {
			t.Errorf("%q: %q, %v", s, d, err)
		}
	}
}

func TestDigestMatches(t *testing.T) {
	for _, algorithm := range []digest.Algorithm{digest.SHA256, digest.SHA512} {
		d, err := tidewaiter.ParseDigest(algorithm.FromString("bytes").String())
		if err != nil {
			t.Fatal(err)
		}
		h := d.Hash()
		h.Write([]byte("bytes"))
		if !d.Matches(h) {
			t.Errorf("%s does not match its bytes", algorithm)
		}
		h.Write([]byte("x"))
		if d.Matches(h) {
			t.Errorf("%s matches other bytes", algorithm)
		}
	}
	if got, want := string(tidewaiter.DigestOf([]byte("bytes"))), digest.FromString("bytes").String(); got != want {
		t.Errorf("DigestOf = %s, want %s", got, want)
	}
}

// FuzzParseDigest compares with the reference implementation, which knows one
// algorithm more.
func FuzzParseDigest(f *testing.F) {
	f.Add("sha256:" + strings.Repeat("a", 64))
	f.Fuzz(func(t *testing.T, s string) {
		_, err := tidewaiter.ParseDigest(s)
		want, wantErr := digest.Parse(s)
		if ok := wantErr == nil && want.Algorithm() != digest.SHA384; (err == nil) != ok {
			t.Errorf("%q: %v, reference %v", s, err, wantErr)
		}
	})
}

// TestChainID has the cases of the specification's own test, with invalid
// digests, as that has, and what sha256sum makes of them.
func TestChainID(t *testing.T) {
	for _, tt := range []struct {
		diffIDs []tidewaiter.Digest
		want    tidewaiter.Digest
	}{
		{nil, ""},
		{[]tidewaiter.Digest{"sha256:a"}, "sha256:a"},
		{[]tidewaiter.Digest{"sha256:a", "sha256:b"}, "sha256:970a948bffa8de94d6e22d747ba8c95030e6e546909f98f54e99a13005e173a8"},
		{[]tidewaiter.Digest{"sha256:a", "sha256:b", "sha256:c"}, "sha256:dee159b33409cefa3f6eda71539f006014283e9d9130c18a1dea7bd8a33c9b1b"},
	} {
		if got := tidewaiter.ChainID(tt.diffIDs); got != tt.want {
			t.Errorf("%v: got %s, want %s", tt.diffIDs, got, tt.want)
		}
	}
}
