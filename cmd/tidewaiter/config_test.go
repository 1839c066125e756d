package main

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
)

// configOf is what serve does with its arguments and its environment.
func configOf(t *testing.T, environ []string, args ...string) (*Config, error) {
	t.Helper()
	fs := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	addConfigFlags(fs)
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	return loadConfig(fs, environ)
}

func writeFile(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestConfigDefaults(t *testing.T) {
	got, err := configOf(t, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := &Config{
		Data: "./tidewaiter-data", Listen: "127.0.0.1:8080", Keys: "tidewaiter-data/keys",
		LogFormat: "text", LogLevel: "info", TokenLifetime: 24 * time.Hour,
		LocalCluster: true, SyncAt: "01:00", ImageRetention: 7 * 24 * time.Hour,
		AdvisoriesFrom: "https://osv-vulnerabilities.storage.googleapis.com", AdvisoriesEvery: 24 * time.Hour,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the defaults differ (-want +got):\n%s", diff)
	}
}

// TestConfigPrecedence gives every key in the file, in the environment and as a
// flag, and takes the heaviest away in turn.
func TestConfigPrecedence(t *testing.T) {
	tlsServer := httptest.NewTLSServer(nil)
	defer tlsServer.Close()
	cert := writeFile(t, "any.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: tlsServer.Certificate().Raw})))
	keys := []string{
		"data", "listen", "public-url", "tls-cert", "tls-key", "insecure-http", "database", "keys", "log-format",
		"log-level", "metrics-listen", "component-mirror", "keystone-url", "keystone-ca", "token-lifetime",
		"local-cluster", "sync-at", "image-retention", "advisories-from", "advisories-every",
	}
	// From the file, from the environment, from a flag.
	values := map[string][3]string{
		"data": {"a", "b", "c"}, "listen": {"127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"},
		"public-url": {"http://a", "http://b", "http://c"}, "insecure-http": {"true", "false", "true"},
		"database": {"postgres://a", "postgres://b", "postgresql://c"}, "keys": {"k1", "k2", "k3"},
		"log-format": {"json", "text", "json"}, "log-level": {"debug", "warn", "error"},
		"metrics-listen":   {"127.0.0.1:4", "127.0.0.1:5", "127.0.0.1:6"},
		"component-mirror": {"a.example/x", "b.example/x", "c.example/x"},
		"keystone-url":     {"https://a/v3", "https://b/v3", "https://c/v3"},
		"token-lifetime":   {"1h", "2h", "3h"},
		"local-cluster":    {"false", "true", "false"},
		"sync-at":          {"02:00", "off", "23:59"},
		"image-retention":  {"1h", "2h", "3h"},
		"advisories-from":  {"https://mirror.example.com/osv", "off", "http://127.0.0.1:1"},
		"advisories-every": {"1h", "2h", "3h"},
	}
	for _, key := range []string{"tls-cert", "tls-key", "keystone-ca"} { // three names of one file
		values[key] = [3]string{cert, filepath.Dir(cert) + "/./any.pem", filepath.Dir(cert) + "//any.pem"}
	}
	var yaml strings.Builder
	for _, key := range keys {
		yaml.WriteString(key + ": " + values[key][0] + "\n")
	}
	file := writeFile(t, "config.yaml", yaml.String())

	for _, key := range keys {
		t.Run(key, func(t *testing.T) {
			env := "TIDEWAITER_" + strings.ToUpper(strings.ReplaceAll(key, "-", "_")) + "=" + values[key][1]
			for source, in := range map[int]struct{ environ, args []string }{
				0: {nil, nil},
				1: {[]string{env}, nil},
				2: {[]string{env}, []string{"--" + key + "=" + values[key][2]}},
			} {
				c, err := configOf(t, in.environ, append(in.args, "--config="+file)...)
				if err != nil {
					t.Fatal(err)
				}
				if got, want := value(t, c, key), values[key][source]; got != want {
					t.Errorf("with %d heavier sources: got %q, want %q", source, got, want)
				}
			}
		})
	}
}

// value returns the value of a key as text.
func value(t *testing.T, c *Config, key string) string {
	t.Helper()
	text := map[string]string{
		"data": c.Data, "listen": c.Listen, "public-url": c.PublicURL, "tls-cert": c.TLSCert, "tls-key": c.TLSKey,
		"database": c.Database, "keys": c.Keys, "log-format": c.LogFormat, "log-level": c.LogLevel,
		"metrics-listen": c.MetricsListen, "component-mirror": c.ComponentMirror, "keystone-url": c.KeystoneURL,
		"keystone-ca": c.KeystoneCA, "token-lifetime": strings.TrimSuffix(c.TokenLifetime.String(), "0m0s"),
		"insecure-http": strconv.FormatBool(c.InsecureHTTP), "local-cluster": strconv.FormatBool(c.LocalCluster),
		"sync-at": c.SyncAt, "image-retention": strings.TrimSuffix(c.ImageRetention.String(), "0m0s"),
		"advisories-from": c.AdvisoriesFrom, "advisories-every": strings.TrimSuffix(c.AdvisoriesEvery.String(), "0m0s"),
	}
	v, ok := text[key]
	if !ok {
		t.Fatalf("the test does not know the key %q", key)
	}
	return v
}

func TestConfigFileFromEnvironment(t *testing.T) {
	file := writeFile(t, "c.yaml", "listen: 127.0.0.1:1\n")
	other := writeFile(t, "d.yaml", "listen: 127.0.0.1:2\n")
	c, err := configOf(t, []string{"TIDEWAITER_CONFIG=" + file})
	if err != nil || c.Listen != "127.0.0.1:1" {
		t.Errorf("got %+v, %v", c, err)
	}
	c, err = configOf(t, []string{"TIDEWAITER_CONFIG=" + file}, "--config", other)
	if err != nil || c.Listen != "127.0.0.1:2" {
		t.Errorf("with a flag beside it: got %+v, %v", c, err)
	}
	if c, err = configOf(t, []string{"TIDEWAITER_CONFIG=", "TIDEWAITER_LISTEN="}); err != nil || c.Listen != "127.0.0.1:8080" {
		t.Errorf("with empty variables: got %+v, %v", c, err)
	}
}

func TestConfigAccepts(t *testing.T) {
	file := writeFile(t, "any.pem", "")
	for _, args := range [][]string{
		{"--listen", "localhost:0"},
		{"--listen", "[::1]:8080"},
		{"--listen", "127.8.0.1:65535"},
		{"--listen", ":8080", "--insecure-http", "--public-url", "https://tw.example.com"},
		{"--listen", "0.0.0.0:8443", "--tls-cert", file, "--tls-key", file, "--public-url", "https://tw.example.com:8443/"},
		{"--listen", "192.0.2.1:8443", "--tls-cert", file, "--tls-key", file},
		{"--public-url", "http://[2001:db8::1]:8080"},
		{"--component-mirror", "registry.example.com:5000/mirror/scan-component"},
		{"--token-lifetime", "1m"}, {"--token-lifetime", "720h"},
		{"--sync-at", "off"}, {"--sync-at", "00:00"}, {"--image-retention", "0s"}, {"--local-cluster=false"},
		{"--config", writeFile(t, "empty.yaml", "")},
		{"--config", writeFile(t, "comments.yaml", "# nothing\n")},
	} {
		c, err := configOf(t, nil, args...)
		if err != nil {
			t.Errorf("%v: %v", args, err)
		} else if strings.HasSuffix(c.PublicURL, "/") {
			t.Errorf("%v: the public URL %s ends in a slash", args, c.PublicURL)
		}
	}
}

// TestConfigPageIsComplete compares the table of docs/configuration.md with the
// flags of serve and their defaults.
func TestConfigPageIsComplete(t *testing.T) {
	page, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]string{}
	row := regexp.MustCompile("(?m)^\\| (`[^|]*`) \\| ([^|]*) \\| [^|]+ \\|$")
	for _, m := range row.FindAllStringSubmatch(string(page), -1) {
		for name := range strings.SplitSeq(m[1], ", ") {
			documented[strings.Trim(name, "`")] = m[2]
		}
	}
	for _, file := range []string{"bootstrap.json", "tidewaiter.db", "-wal", "-shm", "keys/secret.key", "keys/component.key", "component/", "advisories/", "lock"} {
		if _, ok := documented[file]; !ok {
			t.Errorf("docs/configuration.md does not say what %s in the data folder is", file)
		}
		delete(documented, file) // the second table
	}
	// Defaults that depend on other things are told in words.
	words := map[string]string{
		"public-url": "the listen address", "database": "SQLite in the data folder", "keys": "`DATA/keys`", "keystone-ca": "the system's",
	}
	fs := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	addConfigFlags(fs)
	want := map[string]string{}
	fs.VisitAll(func(f *pflag.Flag) {
		switch {
		case f.Name == "config": // it names the file, and is no key of it
		case words[f.Name] != "":
			want[f.Name] = words[f.Name]
		case f.DefValue == "":
			want[f.Name] = "none"
		default:
			want[f.Name] = "`" + strings.TrimSuffix(f.DefValue, "0m0s") + "`"
		}
	})
	if diff := cmp.Diff(want, documented); diff != "" {
		t.Errorf("docs/configuration.md differs from the flags (-flags +page):\n%s", diff)
	}
}

// TestWrongConfig wants for each mistake one line that names the key and the
// fix, exit status 2, and nothing done.
func TestWrongConfig(t *testing.T) {
	for _, tt := range wrongConfigs(t) {
		t.Run(tt.name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			var stdout, stderr bytes.Buffer
			p := program{name: "tidewaiter", stdin: strings.NewReader(""), stdout: &stdout, stderr: &stderr, environ: tt.environ}
			// A server that starts all the same stops at once.
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			if status := p.run(ctx, append([]string{"serve"}, tt.args...)); status != 2 {
				t.Errorf("exit status %d, want 2", status)
			}
			// What is wrong with the machine shows only after the log has begun.
			line := regexp.MustCompile(`(?m)^time=\S+ level=INFO .*\n`).ReplaceAllString(stderr.String(), "")
			if strings.Count(line, "\n") != 1 || !strings.HasSuffix(line, "\n") {
				t.Errorf("not exactly one line: %q", line)
			}
			for _, want := range append([]string{tt.key}, tt.fix...) {
				if !strings.Contains(line, want) {
					t.Errorf("%q is not in %q", want, line)
				}
			}
			for _, secret := range []string{"hunter2", "goroutine"} {
				if strings.Contains(line, secret) {
					t.Errorf("%q is in %q", secret, line)
				}
			}
			if stdout.Len() > 0 {
				t.Errorf("standard output has %q", stdout.String())
			}
			if _, err := os.Stat("tidewaiter-data/bootstrap.json"); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("an account was made for a server that never ran: %v", err)
			}
		})
	}
}
