package seal_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"

	"filippo.io/age"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/seal"
)

func newKey(t testing.TB) *seal.Key {
	t.Helper()
	k, err := seal.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func binding() seal.Binding {
	return seal.Binding{RegistryID: "r1", Name: tidewaiter.SecretPassword, Origin: "https://registry.example:443", Username: "robot$scan"}
}

// sealTo closes any bytes with age itself, as somebody may who writes another
// server.
func sealTo(t testing.TB, k *seal.Key, plain []byte) []byte {
	t.Helper()
	to, err := age.ParseX25519Recipient(k.Recipient())
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w, err := age.Encrypt(&b, to)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestOpenReturnsWhatWasSealed(t *testing.T) {
	k := newKey(t)
	rapid.Check(t, func(t *rapid.T) {
		b := seal.Binding{
			RegistryID: rapid.String().Draw(t, "id"), Name: rapid.String().Draw(t, "name"),
			Origin: rapid.String().Draw(t, "origin"), Username: rapid.String().Draw(t, "user"),
		}
		secret := string(rapid.SliceOf(rapid.Byte()).Draw(t, "secret")) // any bytes
		sealed, err := seal.Seal(k.Recipient(), b, secret)
		if err != nil {
			t.Fatal(err)
		}
		got, err := k.Open(sealed, b)
		if err != nil || got != secret {
			t.Fatalf("Open = %q, %v; want %q", got, err, secret)
		}
	})
}

func TestSealedHidesSecret(t *testing.T) {
	k, secret := newKey(t), "correct horse battery staple"
	one, err := seal.Seal(k.Recipient(), binding(), secret)
	if err != nil {
		t.Fatal(err)
	}
	two, err := seal.Seal(k.Recipient(), binding(), secret)
	if err != nil {
		t.Fatal(err)
	}
	empty, err := seal.Seal(k.Recipient(), binding(), "")
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(one, two) {
		t.Error("sealing the same twice gave the same bytes")
	}
	if len(one) != len(empty) {
		t.Errorf("a secret of %d bytes makes a file of %d bytes, the empty one of %d: the length leaks", len(secret), len(one), len(empty))
	}
	for _, part := range []string{secret, binding().Username, "Y29ycmVjdC"} {
		if bytes.Contains(one, []byte(part)) {
			t.Errorf("the sealed file holds %q", part)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	k, other := newKey(t), newKey(t)
	sealed, err := seal.Seal(k.Recipient(), binding(), "secret")
	if err != nil {
		t.Fatal(err)
	}
	shared, err := seal.SealKey(k.Recipient(), other)
	if err != nil {
		t.Fatal(err)
	}
	with := func(change func(*seal.Binding)) seal.Binding {
		b := binding()
		change(&b)
		return b
	}
	for _, test := range []struct {
		name   string
		key    *seal.Key
		sealed []byte
		want   seal.Binding
		err    error
		kind   tidewaiter.Kind
	}{
		{"another key", other, sealed, binding(), seal.ErrOtherKey, tidewaiter.Unauthenticated},
		{"another registry", k, sealed, with(func(b *seal.Binding) { b.RegistryID = "r2" }), seal.ErrOtherBinding, tidewaiter.Forbidden},
		{"another secret", k, sealed, with(func(b *seal.Binding) { b.Name = tidewaiter.SecretProxy }), seal.ErrOtherBinding, tidewaiter.Forbidden},
		{"another port", k, sealed, with(func(b *seal.Binding) { b.Origin = "https://registry.example:444" }), seal.ErrOtherBinding, tidewaiter.Forbidden},
		{"another scheme", k, sealed, with(func(b *seal.Binding) { b.Origin = "http://registry.example:443" }), seal.ErrOtherBinding, tidewaiter.Forbidden},
		{"another user", k, sealed, with(func(b *seal.Binding) { b.Username = "admin" }), seal.ErrOtherBinding, tidewaiter.Forbidden},
		{"a cluster key", k, shared, seal.Binding{}, seal.ErrOtherBinding, tidewaiter.Forbidden},
		{"nothing", k, nil, binding(), seal.ErrDamaged, tidewaiter.Invalid},
		{"cut off", k, sealed[:len(sealed)-1], binding(), seal.ErrDamaged, tidewaiter.Invalid},
		{"more behind it", k, append(bytes.Clone(sealed), 0), binding(), seal.ErrDamaged, tidewaiter.Invalid},
		{"too long", k, append(bytes.Clone(sealed), make([]byte, 1<<20)...), binding(), seal.ErrDamaged, tidewaiter.Invalid},
		{"no JSON", k, sealTo(t, k, []byte("secret")), binding(), seal.ErrDamaged, tidewaiter.Invalid},
		{"a later version", k, sealTo(t, k, []byte(`{"v":2,"use":"registry secret"}`)), seal.Binding{}, seal.ErrDamaged, tidewaiter.Invalid},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := test.key.Open(test.sealed, test.want)
			if !errors.Is(err, test.err) || tidewaiter.KindOf(err) != test.kind || got != "" {
				t.Errorf("Open = %q, %v (%v), want %v (%v)", got, err, tidewaiter.KindOf(err), test.err, test.kind)
			}
		})
	}
}

// TestTampering flips each bit of a sealed file in turn.
func TestTampering(t *testing.T) {
	k := newKey(t)
	sealed, err := seal.Seal(k.Recipient(), binding(), "secret")
	if err != nil {
		t.Fatal(err)
	}
	for i := range sealed {
		for bit := range 8 {
			sealed[i] ^= 1 << bit
			if _, err := k.Open(sealed, binding()); !errors.Is(err, seal.ErrDamaged) && !errors.Is(err, seal.ErrOtherKey) {
				t.Fatalf("bit %d of byte %d flipped: %v", bit, i, err)
			}
			sealed[i] ^= 1 << bit
		}
	}
}

func TestSealKey(t *testing.T) {
	cluster, newcomer := newKey(t), newKey(t)
	sealed, err := seal.SealKey(newcomer.Recipient(), cluster)
	if err != nil {
		t.Fatal(err)
	}
	got, err := seal.OpenKey(newcomer, sealed)
	if err != nil || got.Private() != cluster.Private() {
		t.Errorf("OpenKey = %v, %v, want %v", got, err, cluster)
	}
	if _, err := seal.OpenKey(cluster, sealed); !errors.Is(err, seal.ErrOtherKey) {
		t.Errorf("another component opens it: %v", err)
	}
	secret, err := seal.Seal(newcomer.Recipient(), seal.Binding{}, cluster.Private())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := seal.OpenKey(newcomer, secret); !errors.Is(err, seal.ErrOtherBinding) {
		t.Errorf("a registry's secret passes for a key: %v", err)
	}
	if _, err := seal.OpenKey(newcomer, sealTo(t, newcomer, []byte(`{"v":1,"use":"cluster key","secret":"eA=="}`))); !errors.Is(err, seal.ErrDamaged) {
		t.Errorf("no key passes for a key: %v", err)
	}
}

func TestRecipients(t *testing.T) {
	hybrid, err := age.GenerateHybridIdentity()
	if err != nil {
		t.Fatal(err)
	}
	k := newKey(t)
	for name, recipient := range map[string]string{
		"none":         "",
		"post-quantum": hybrid.Recipient().String(),
		"ssh":          "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKoO5L8K4PB4qvoOhAcAm5UhM9JyhHBm9MzGhG9lDUy2",
		"plugin":       "age1yubikey1qwt50d05nh5vutpdzmlg5wn80xq5negm4uj9ghv0snvdd3yysf5yw3rhl3t",
		"private":      k.Private(),
		"upper case":   strings.ToUpper(k.Recipient()),
		"blank":        k.Recipient() + " ",
		// The point 0, with which every shared secret is 0.
		"low order": "age1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq5cu47z",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := seal.Seal(recipient, binding(), "secret")
			if tidewaiter.KindOf(err) != tidewaiter.Invalid || !strings.Contains(err.Error(), "X25519") {
				t.Errorf("Seal: %v", err)
			}
			if recipient != "" && strings.Contains(err.Error(), recipient) {
				t.Errorf("the error repeats the value: %v", err)
			}
			e, ok := errors.AsType[*tidewaiter.Error](seal.CheckRecipient("recipient", recipient))
			if !ok || e.Field != "recipient" || e.Kind != tidewaiter.Invalid {
				t.Errorf("CheckRecipient = %v", e)
			}
		})
	}
	if err := seal.CheckRecipient("recipient", k.Recipient()); err != nil {
		t.Error(err)
	}
	if _, err := seal.Seal(k.Recipient(), seal.Binding{Username: "\xff"}, ""); tidewaiter.KindOf(err) != tidewaiter.Invalid {
		t.Errorf("a binding that is not UTF-8: %v", err)
	}
	if _, err := seal.Seal(k.Recipient(), binding(), strings.Repeat("x", seal.MaxSecret+1)); tidewaiter.KindOf(err) != tidewaiter.Invalid {
		t.Errorf("too long a secret: %v", err)
	}
	longest, err := seal.Seal(k.Recipient(), binding(), strings.Repeat("x", seal.MaxSecret))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.Open(longest, binding()); err != nil {
		t.Errorf("the longest secret does not open: %v", err)
	}
}

func TestKeyNeverPrintsItself(t *testing.T) {
	k := newKey(t)
	var log bytes.Buffer
	for _, h := range []slog.Handler{slog.NewTextHandler(&log, nil), slog.NewJSONHandler(&log, nil)} {
		slog.New(h).Info("key", "pointer", k, "value", *k, "in", struct{ K *seal.Key }{k})
	}
	text, err := json.Marshal(map[string]any{"k": k, "v": *k})
	if err != nil {
		t.Fatal(err)
	}
	log.Write(text)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&log, verb, k)
		fmt.Fprintf(&log, verb, *k) //nolint:govet // that is the point
		fmt.Fprintf(&log, verb, []any{k, *k})
	}
	for _, form := range []string{k.Private(), fmt.Sprintf("%x", k.Private()), strings.ToLower(k.Private())} {
		if strings.Contains(log.String(), form) {
			t.Error("the private key is printed")
		}
	}
	_, err = seal.ParseKey(k.Private()[:60])
	if tidewaiter.KindOf(err) != tidewaiter.Invalid || strings.Contains(err.Error(), k.Private()[20:40]) {
		t.Errorf("half a key: %v", err)
	}
	again, err := seal.ParseKey(k.Private() + "\n")
	if err != nil || again.Recipient() != k.Recipient() {
		t.Errorf("ParseKey = %v, %v", again, err)
	}
}

func TestOrigin(t *testing.T) {
	for _, test := range []struct{ protocol, address, want string }{
		{"https", "Registry.Example", "https://registry.example:443"},
		{"http", "registry.example", "http://registry.example:80"},
		{"", "registry.example:5000", "https://registry.example:5000"},
		{"", "http://registry.example", "http://registry.example:80"},
		{"https", "http://registry.example", "https://registry.example:443"},
		{"https", "[2001:DB8::1]", "https://[2001:db8::1]:443"},
	} {
		got, err := seal.Origin(test.protocol, test.address)
		if err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%q, %q: %s", test.protocol, test.address, diff)
		}
	}
	if _, err := seal.Origin("ftp", "registry.example"); tidewaiter.KindOf(err) != tidewaiter.Invalid {
		t.Error(err)
	}
	if _, err := seal.Origin("http", ""); tidewaiter.KindOf(err) != tidewaiter.Invalid {
		t.Error(err)
	}
}

// TestDocs opens the example in docs/protocol.md.
func TestDocs(t *testing.T) {
	docs, err := os.ReadFile("../../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(docs), "followed by blanks:\n\n```json\n")
	text, _, ok := strings.Cut(text, "```")
	if !ok {
		t.Fatal("docs/protocol.md has no example of what is in a sealed secret")
	}
	k := newKey(t)
	b := seal.Binding{RegistryID: "76543210fedcba9876543210fedcba98", Name: "password", Origin: "https://harbor.example.com:8443", Username: "robot$scan"}
	if got, err := k.Open(sealTo(t, k, []byte(text)), b); err != nil || got != "secret" {
		t.Errorf("Open = %q, %v", got, err)
	}
}

func FuzzOpen(f *testing.F) {
	k := newKey(f)
	sealed, err := seal.Seal(k.Recipient(), binding(), "secret")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sealed, true)
	f.Add([]byte(`{"v":1,"use":"registry secret","registry_id":"r1","secret":"eA=="}`), false)
	f.Add([]byte("age-encryption.org/v1\n-> X25519 AAAA\nAAAA\n--- AAAA\n"), true)
	f.Fuzz(func(t *testing.T, b []byte, asFile bool) {
		if !asFile {
			b = sealTo(t, k, b)
		}
		if got, err := k.Open(b, binding()); err != nil && (got != "" || tidewaiter.KindOf(err) == tidewaiter.Internal) {
			t.Errorf("Open = %q, %v", got, err)
		}
		if _, err := seal.OpenKey(k, b); err != nil && tidewaiter.KindOf(err) == tidewaiter.Internal {
			t.Error(err)
		}
	})
}
