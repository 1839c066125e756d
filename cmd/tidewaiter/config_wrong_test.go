package main

import (
	"net"
	"os"
	"path/filepath"
	"testing"
)

// wrong is a mistake in the configuration: the key that the error must name,
// and words that tell the fix.
type wrong struct {
	name    string
	args    []string
	environ []string
	key     string
	fix     []string
}

func wrongConfigs(t *testing.T) []wrong {
	t.Helper()
	return append(wrongAddresses(t), append(wrongFiles(t), wrongValues(t)...)...)
}

func wrongAddresses(t *testing.T) []wrong {
	t.Helper()
	pem := writeFile(t, "any.pem", "no PEM")
	listen := func(name, addr string, fix ...string) wrong {
		return wrong{name: name, args: []string{"--listen", addr}, key: "listen: ", fix: fix}
	}
	public := func(name, url string, fix ...string) wrong {
		return wrong{name: name, args: []string{"--public-url", url}, key: "public-url: ", fix: fix}
	}
	return []wrong{
		listen("listen without port", "127.0.0.1", "use host:port"),
		listen("listen empty", "", "use host:port"),
		listen("listen with a scheme", "http://127.0.0.1:8080", "use host:port"),
		listen("listen on an unbracketed address", "::1:80", "use host:port"),
		listen("listen port too large", "127.0.0.1:65536", "0 to 65535"),
		listen("listen port negative", "127.0.0.1:-1", "0 to 65535"),
		listen("listen port with a sign", "127.0.0.1:+80", "0 to 65535"),
		listen("listen port padded", "127.0.0.1:080", "0 to 65535"),
		listen("listen port by name", "127.0.0.1:http", "0 to 65535"),
		listen("listen port empty", "127.0.0.1:", "0 to 65535"),
		listen("listen on a port in use", inUse(t), "address already in use"),
		listen("plain http for all to see", "192.0.2.1:8080", "--tls-cert and --tls-key", "--insecure-http"),
		listen("plain http on a wildcard", ":8080", "--tls-cert and --tls-key", "--insecure-http"),
		listen("plain http on a name", "tw.example.com:8080", "--tls-cert and --tls-key", "--insecure-http"),
		{name: "wildcard without public-url", args: []string{"--listen", ":8443", "--insecure-http"}, key: "public-url: ", fix: []string{"missing", "https://"}},
		{name: "IPv6 wildcard without public-url", args: []string{"--listen", "[::]:0", "--insecure-http"}, key: "public-url: ", fix: []string{"missing"}},
		{name: "metrics-listen", args: []string{"--metrics-listen", "9090"}, key: "metrics-listen: ", fix: []string{"use host:port"}},
		{name: "metrics-listen on a port in use", args: []string{"--listen", "127.0.0.1:0", "--metrics-listen", inUse(t)}, key: "metrics-listen: ", fix: []string{"cannot be listened on"}},

		public("public-url no URL", "tidewaiter.example.com", "https://"),
		public("public-url of another scheme", "ftp://tidewaiter.example.com", "https://"),
		public("public-url without host", "https://", "https://tidewaiter"),
		public("public-url with a port alone", "https://:8443", "https://tidewaiter"),
		public("public-url port out of range", "https://tidewaiter.example.com:99999", "https://tidewaiter"),
		public("public-url port empty", "https://tidewaiter.example.com:", "https://tidewaiter"),
		public("public-url port zero", "https://tidewaiter.example.com:0", "https://tidewaiter"),
		public("public-url with a path", "https://example.com/tidewaiter", "scheme, host and port"),
		public("public-url with user info", "https://me:hunter2@example.com", "scheme, host and port"),
		public("public-url with a query", "https://example.com?a=b", "scheme, host and port"),
		public("public-url with a fragment", "https://example.com#a", "scheme, host and port"),
		public("public-url of two lines", "https://example.com\nhunter2", "https://"),

		{name: "tls-cert without tls-key", args: []string{"--tls-cert", pem}, key: "tls-key: ", fix: []string{"missing"}},
		{name: "tls-key without tls-cert", args: []string{"--tls-key", pem}, key: "tls-cert: ", fix: []string{"missing"}},
		{name: "tls-cert not there", args: []string{"--tls-cert", pem + "x", "--tls-key", pem}, key: "tls-cert: ", fix: []string{"check the path"}},
		{name: "tls-key not there", args: []string{"--tls-cert", pem, "--tls-key", pem + "x"}, key: "tls-key: ", fix: []string{"check the path"}},
		{name: "tls-key a folder", args: []string{"--tls-cert", pem, "--tls-key", filepath.Dir(pem)}, key: "tls-key: ", fix: []string{"check the path"}},
		{name: "tls-cert no PEM", args: []string{"--tls-cert", pem, "--tls-key", pem}, key: "tls-cert: ", fix: []string{"cannot be used"}},
	}
}

// inUse returns an address that somebody listens on.
func inUse(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().String()
}

func wrongFiles(t *testing.T) []wrong {
	t.Helper()
	file := func(name, content, key string, fix ...string) wrong {
		return wrong{name: name, args: []string{"--config", writeFile(t, "c.yaml", content)}, key: key, fix: fix}
	}
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return []wrong{
		{name: "config not there", args: []string{"--config", "nowhere.yaml"}, key: "config: ", fix: []string{"there is no file"}},
		{name: "config from the environment not there", environ: []string{"TIDEWAITER_CONFIG=nowhere.yaml"}, key: "config: ", fix: []string{"there is no file"}},
		{name: "config a folder", args: []string{"--config", folder}, key: "config: ", fix: []string{"cannot be read"}},
		file("unknown key", "lisen: 127.0.0.1:1\n", "lisen: ", "no such key", "serve --help"),
		file("key in another letter case", "Listen: 127.0.0.1:1\n", "Listen: ", "no such key"),
		file("key with underscores", "public_url: http://a\n", "public_url: ", "no such key"),
		file("config in the file", "config: other.yaml\n", "config: ", "no such key"),
		file("nested", "tls:\n  cert: a\n", "tls.cert: ", "no such key"),
		file("nested below a key", "listen:\n  host: a\n", "listen.host: ", "no such key"),
		file("empty map", "listen: {}\n", "listen: ", "one plain value"),
		file("list", "listen: [a, b]\n", "listen: ", "one plain value"),
		file("null", "listen:\n", "listen: ", "one plain value"),
		file("not a map", "listen\n", "config: ", "cannot be read as YAML"),
		file("a list of keys", "- listen\n", "config: ", "cannot be read as YAML"),
		file("syntax", "listen: [\n", "config: ", "cannot be read as YAML"),
		file("tab", "listen:\n\t- a\n", "config: ", "cannot be read as YAML"),
		file("the same key twice", "database: postgres://a:hunter2@b\ndatabase: postgres://a:hunter2@c\n", "config: ", "cannot be read as YAML"),
		file("password after a mistake", "database: postgres://a:hunter2@b\n  - hunter2: [\n", "config: ", "cannot be read as YAML"),
		file("number where a duration should be", "token-lifetime: 24\n", "token-lifetime: ", "such as 24h"),
		file("wrong value in the file", "insecure-http: maybe\n", "insecure-http: ", "true or false"),
		{name: "data a file", args: []string{"--data", filepath.Join(folder, "file")}, key: "data: ", fix: []string{"cannot be used"}},
		{name: "data below a file", args: []string{"--data", filepath.Join(folder, "file", "x")}, key: "data: ", fix: []string{"cannot be used"}},
		{name: "data empty", args: []string{"--data", ""}, key: "data: ", fix: []string{"name a folder"}},
		{name: "keystone-ca not there", args: []string{"--keystone-url", "https://k/v3", "--keystone-ca", "nowhere.pem"}, key: "keystone-ca: ", fix: []string{"check the path"}},
	}
}

func wrongValues(*testing.T) []wrong {
	one := func(key, value string, fix ...string) wrong {
		return wrong{name: key + " " + value, args: []string{"--" + key, value}, key: key + ": ", fix: fix}
	}
	return []wrong{
		one("database", "mysql://a:hunter2@b/c", "postgres://user@host/name"),
		one("database", "tidewaiter.db", "leave it out for SQLite"),
		one("database", "postgres://a:hunter2@b:port/c", ""),
		one("database", "postgres://a:hunter2%zz@b/c", "%XX"),
		one("log-format", "xml", "text or json"),
		one("log-level", "loud", "debug, info, warn or error"),
		one("token-lifetime", "59s", "1m to 720h"),
		one("image-retention", "-1h", "such as 168h"),
		one("sync-at", "1:00", "HH:MM"),
		one("advisories-from", "mirror.example.com", "URL of a folder"),
		one("advisories-from", "https://me:secret@mirror.example.com", "URL of a folder"),
		one("advisories-every", "59m", "1h or more"),
		one("sync-at", "24:00", "HH:MM"),
		one("sync-at", "never", "HH:MM, such as 01:00, or off"),
		one("token-lifetime", "721h", "1m to 720h"),
		one("token-lifetime", "-1h", "1m to 720h"),
		one("component-mirror", "registry.example.com/mirror/scan-component:1.0", "without a tag"),
		one("component-mirror", "registry.example.com/mirror@sha256:0123", "without a tag"),
		one("component-mirror", "https://registry.example.com/mirror", "host/path"),
		one("component-mirror", "registry.example.com/UPPER", "host/path"),
		one("component-mirror", "mirror", "host/path"),
		one("keystone-url", "keystone", "https://keystone"),
		one("keystone-url", "https://me:hunter2@keystone/v3", "user information"),
		one("keystone-url", "http://keystone.example.com/v3", "https"),
		{name: "token-lifetime no duration", args: []string{"--token-lifetime", "day"}, key: "token-lifetime"},
		{name: "token-lifetime in the environment", environ: []string{"TIDEWAITER_TOKEN_LIFETIME=day"}, key: "token-lifetime: ", fix: []string{"such as 24h"}},
		{name: "insecure-http in the environment", environ: []string{"TIDEWAITER_INSECURE_HTTP=perhaps"}, key: "insecure-http: ", fix: []string{"true or false"}},
		{name: "wrong value in the environment", environ: []string{"TIDEWAITER_LISTEN=here"}, key: "listen: ", fix: []string{"use host:port"}},
		{name: "unknown flag", args: []string{"--lisen", "a"}, key: "--lisen"},
		{name: "flag without its value", args: []string{"--listen"}, key: "--listen"},
		{name: "surplus argument", args: []string{"now"}, key: "tidewaiter serve", fix: []string{"takes no arguments"}},
	}
}
