package inventory

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"

	"github.com/tidewaiter/tidewaiter"
)

func TestCA(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certificate := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	for text, ok := range map[string]bool{
		"":          true,
		certificate: true,
		"# our CA\n" + certificate + "\r\n" + certificate:                                         true,
		certificate + string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})): false,
		string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})):           false,
		certificate[:len(certificate)-30]:                                                         false,
		strings.Repeat(certificate, 200):                                                          false,
		"no PEM":                                                                                  false,
	} {
		if err := checkCA(text); (err == nil) != ok || err != nil && tidewaiter.KindOf(err) != tidewaiter.Invalid {
			t.Errorf("%d bytes: %v", len(text), err)
		}
	}
}

func TestProxy(t *testing.T) {
	for text, ok := range map[string]bool{
		"http://proxy:3128":                           true,
		"https://user:p%40ss@proxy.example.com":       true,
		"http://[2001:db8::1]:3128/":                  true,
		"proxy:3128":                                  false,
		"http://":                                     false,
		"http://:3128":                                false,
		"http://proxy:0":                              false,
		"http://proxy:3128/path":                      false,
		"http://proxy:3128?q":                         false,
		"socks5://proxy:1080":                         false,
		"http://pro xy":                               false,
		"http://proxy\n":                              false,
		"http://u:" + strings.Repeat("x", 600) + "@p": false,
	} {
		if err := checkProxy(text); (err == nil) != ok || err != nil && tidewaiter.KindOf(err) != tidewaiter.Invalid {
			t.Errorf("%q: %v", text, err)
		}
	}
}
