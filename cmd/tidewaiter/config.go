package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/pflag"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/snapshots"
)

// Config is the configuration of the server. Each key can be given as a flag
// (--public-url), in the environment (TIDEWAITER_PUBLIC_URL) and in the YAML
// file of --config (public-url); the first of these that has it wins.
type Config struct {
	Data            string        `koanf:"data"`
	Listen          string        `koanf:"listen"`
	PublicURL       string        `koanf:"public-url"`
	TLSCert         string        `koanf:"tls-cert"`
	TLSKey          string        `koanf:"tls-key"`
	InsecureHTTP    bool          `koanf:"insecure-http"`
	Database        string        `koanf:"database"`
	Keys            string        `koanf:"keys"`
	LogFormat       string        `koanf:"log-format"`
	LogLevel        string        `koanf:"log-level"`
	MetricsListen   string        `koanf:"metrics-listen"`
	ComponentMirror string        `koanf:"component-mirror"`
	KeystoneURL     string        `koanf:"keystone-url"`
	KeystoneCA      string        `koanf:"keystone-ca"`
	TokenLifetime   time.Duration `koanf:"token-lifetime"`
	LocalCluster    bool          `koanf:"local-cluster"`
	SyncAt          string        `koanf:"sync-at"`
	ImageRetention  time.Duration `koanf:"image-retention"`
	AdvisoriesFrom  string        `koanf:"advisories-from"`
	AdvisoriesEvery time.Duration `koanf:"advisories-every"`
}

// configError is a mistake in the configuration: one line that names the key,
// what is wrong and the fix. The program ends with status 2.
type configError struct{ key, message string }

func (e *configError) Error() string { return "configuration: " + e.key + ": " + e.message }

func wrongConfig(key, format string, args ...any) error {
	return &configError{key, fmt.Sprintf(format, args...)}
}

// addConfigFlags defines the flags of serve. Their defaults are the defaults of
// the configuration.
func addConfigFlags(fs *pflag.FlagSet) {
	fs.String("config", "", "YAML `file` with these keys")
	addStoreFlags(fs)
	fs.String("listen", "127.0.0.1:8080", "`address` to serve on, host:port; port 0 takes a free one")
	fs.String("public-url", "", "`URL` under which clients reach this server (default: the listen address)")
	fs.String("tls-cert", "", "PEM `file` with the certificate chain")
	fs.String("tls-key", "", "PEM `file` with the certificate's key")
	fs.Bool("insecure-http", false, "serve plain http on an address that is not loopback")
	fs.String("log-format", "text", "`format` of the log: text or json")
	fs.String("log-level", "info", "lowest `level` that is logged: debug, info, warn or error")
	fs.String("metrics-listen", "", "`address` for Prometheus metrics at /metrics (default: none)")
	fs.String("component-mirror", "", "`repository` that mirrors the scan component, such as registry.example.com/mirror/scan-component")
	fs.String("keystone-url", "", "`URL` of an external Keystone v3 whose tokens are taken as well, such as https://keystone.example.com:5000/v3")
	fs.String("keystone-ca", "", "PEM `file` with the authorities that Keystone's certificate may come from (default: the system's)")
	fs.Duration("token-lifetime", 24*time.Hour, "how long an issued token is good for")
	fs.Bool("local-cluster", true, "run a scan component in this process; false leaves all contact with registries to attached clusters")
	fs.String("sync-at", "01:00", "`time` of day, in the zone of TZ, at which registries are synchronised: HH:MM, or off")
	fs.Duration("image-retention", 7*24*time.Hour, "how long an image that has gone from its registry is kept, with its results")
	fs.String("advisories-from", snapshots.PublicExport, "`URL` of an export of OSV, from which advisories about what images hold are fetched, or off")
	fs.Duration("advisories-every", 24*time.Hour, "how old advisories are when it is asked for newer ones")
}

// addStoreFlags defines the flags that say where the data is; the commands that
// work on a data folder share them with serve.
func addStoreFlags(fs *pflag.FlagSet) {
	fs.String("data", "./tidewaiter-data", "data `folder`; it is made if it is not there")
	fs.String("database", "", "`URL` of the database, postgres://…  (default: SQLite in the data folder)")
	fs.String("keys", "", "`folder` with the server's keys, which replicas share (default: keys in the data folder)")
}

// loadConfig reads the configuration from file, environment and flags, in
// rising order of weight, and checks it.
func loadConfig(fs *pflag.FlagSet, environ []string) (*Config, error) {
	k := koanf.New(".")
	keys := map[string]any{}
	fs.VisitAll(func(f *pflag.Flag) { keys[f.Name] = f.DefValue })
	delete(keys, "help")
	if err := k.Load(confmap.Provider(keys, "."), nil); err != nil {
		return nil, fmt.Errorf("load defaults: %w", err)
	}

	fromEnv := map[string]any{}
	for name := range keys {
		want := "TIDEWAITER_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_")) + "="
		for _, e := range environ {
			if v, ok := strings.CutPrefix(e, want); ok && v != "" {
				fromEnv[name] = v
			}
		}
	}
	fromFlags := map[string]any{}
	fs.Visit(func(f *pflag.Flag) { fromFlags[f.Name] = f.Value.String() })

	if path := first(fromFlags["config"], fromEnv["config"]); path != "" {
		if err := loadFile(k, path, keys); err != nil {
			return nil, err
		}
	}
	for _, layer := range []map[string]any{fromEnv, fromFlags} {
		if err := k.Load(confmap.Provider(layer, "."), nil); err != nil {
			return nil, fmt.Errorf("load configuration: %w", err)
		}
	}
	return decodeConfig(k)
}

func first(values ...any) string {
	for _, v := range values {
		if s, ok := v.(string); ok && s != "" {
			return s
		}
	}
	return ""
}

func loadFile(k *koanf.Koanf, path string, known map[string]any) error {
	f := koanf.New(".")
	if err := f.Load(file.Provider(path), yaml.Parser()); err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return wrongConfig("config", "there is no file %q", path)
		}
		return wrongConfig("config", "%q cannot be read as YAML: %s", path, oneLine(err))
	}
	for _, key := range f.Keys() {
		if _, ok := known[key]; !ok || key == "config" {
			return wrongConfig(key, "there is no such key (in %q); tidewaiter serve --help lists them", path)
		}
		switch f.Get(key).(type) {
		case string, bool, int, int64, float64:
		default:
			return wrongConfig(key, "it must be one plain value (in %q)", path)
		}
	}
	return k.Merge(f)
}

// decodeConfig turns the merged values into a Config, key by key, so that an
// error can name the key.
func decodeConfig(k *koanf.Koanf) (*Config, error) {
	c := &Config{
		Data: k.String("data"), Listen: k.String("listen"), PublicURL: k.String("public-url"),
		TLSCert: k.String("tls-cert"), TLSKey: k.String("tls-key"), Database: k.String("database"),
		Keys: k.String("keys"), LogFormat: k.String("log-format"), LogLevel: k.String("log-level"),
		MetricsListen: k.String("metrics-listen"), ComponentMirror: k.String("component-mirror"), SyncAt: k.String("sync-at"),
		KeystoneURL: k.String("keystone-url"), KeystoneCA: k.String("keystone-ca"),
	}
	var err error
	if c.InsecureHTTP, err = strconv.ParseBool(k.String("insecure-http")); err != nil {
		return nil, wrongConfig("insecure-http", "use true or false")
	}
	if c.TokenLifetime, err = time.ParseDuration(k.String("token-lifetime")); err != nil ||
		c.TokenLifetime < time.Minute || c.TokenLifetime > 30*24*time.Hour {
		return nil, wrongConfig("token-lifetime", "use a duration from 1m to 720h, such as 24h")
	}
	if c.LocalCluster, err = strconv.ParseBool(k.String("local-cluster")); err != nil {
		return nil, wrongConfig("local-cluster", "use true or false")
	}
	if c.ImageRetention, err = time.ParseDuration(k.String("image-retention")); err != nil || c.ImageRetention < 0 {
		return nil, wrongConfig("image-retention", "use a duration such as 168h; 0s keeps nothing")
	}
	c.AdvisoriesFrom = k.String("advisories-from")
	if c.AdvisoriesEvery, err = time.ParseDuration(k.String("advisories-every")); err != nil || c.AdvisoriesEvery < time.Hour {
		return nil, wrongConfig("advisories-every", "use a duration of 1h or more, such as 24h; to fetch none, set advisories-from to off")
	}
	if c.Keys == "" {
		c.Keys = filepath.Join(c.Data, "keys")
	}
	return c, c.check()
}

// check refuses what cannot work, before anything is opened or written.
func (c *Config) check() error {
	if c.Data == "" {
		return wrongConfig("data", "it is empty; name a folder")
	}
	if c.Database != "" && !strings.HasPrefix(c.Database, "postgres://") && !strings.HasPrefix(c.Database, "postgresql://") {
		return wrongConfig("database", "it is no PostgreSQL URL; use postgres://user@host/name, or leave it out for SQLite")
	}
	if !slices.Contains([]string{"text", "json"}, c.LogFormat) {
		return wrongConfig("log-format", "%q is not known; use text or json", c.LogFormat)
	}
	if _, err := c.level(); err != nil {
		return wrongConfig("log-level", "%q is not known; use debug, info, warn or error", c.LogLevel)
	}
	if _, err := time.Parse("15:04", c.SyncAt); c.SyncAt != "off" && (err != nil || len(c.SyncAt) != 5) {
		return wrongConfig("sync-at", "it is no time of day; use HH:MM, such as 01:00, or off")
	}
	for _, check := range []func() error{c.checkListen, c.checkPublicURL, c.checkMirror, c.checkKeystone, c.checkAdvisories} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func (c *Config) level() (l slog.Level, err error) {
	err = l.UnmarshalText([]byte(c.LogLevel))
	return l, err
}

func (c *Config) checkListen() error {
	host, err := listenHost("listen", c.Listen)
	if err != nil {
		return err
	}
	if (c.TLSCert == "") != (c.TLSKey == "") {
		key, other := "tls-key", "tls-cert"
		if c.TLSCert == "" {
			key, other = other, key
		}
		return wrongConfig(key, "it is missing; %s is given, and TLS needs both", other)
	}
	for _, f := range []struct{ key, path string }{
		{"tls-cert", c.TLSCert}, {"tls-key", c.TLSKey}, {"keystone-ca", c.KeystoneCA},
	} {
		if f.path == "" {
			continue
		}
		if info, err := os.Stat(f.path); err != nil || info.IsDir() {
			return wrongConfig(f.key, "the file %q cannot be read; check the path and its permissions", f.path)
		}
	}
	if c.TLSCert == "" && !isLoopback(host) && !c.InsecureHTTP {
		return wrongConfig("listen", "%q is not a loopback address, and plain http would show tokens and passwords to the network; "+
			"give --tls-cert and --tls-key, or --insecure-http if a proxy in front does TLS", c.Listen)
	}
	if isWildcard(host) && c.PublicURL == "" {
		return wrongConfig("public-url", "it is missing; with --listen %s clients need to be told an address, such as https://tidewaiter.example.com", c.Listen)
	}
	if c.MetricsListen != "" {
		if _, err := listenHost("metrics-listen", c.MetricsListen); err != nil {
			return err
		}
	}
	return nil
}

func listenHost(key, addr string) (string, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", wrongConfig(key, "%q is no address; use host:port, such as 127.0.0.1:8080", addr)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || strconv.FormatUint(n, 10) != port {
		return "", wrongConfig(key, "%q has no port from 0 to 65535", addr)
	}
	return host, nil
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

func isWildcard(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "" || err == nil && ip.IsUnspecified()
}

func (c *Config) checkPublicURL() error {
	if c.PublicURL == "" {
		return nil
	}
	u, err := url.Parse(c.PublicURL)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || !validPort(u):
		return wrongConfig("public-url", "it is no URL; use one such as https://tidewaiter.example.com")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Path != "" && u.Path != "/":
		return wrongConfig("public-url", "it may only have scheme, host and port: image references cannot carry more")
	case len(c.PublicURL) > 150:
		return wrongConfig("public-url", "it is longer than 150 characters, and download links may have no more than 256")
	}
	c.PublicURL = u.Scheme + "://" + u.Host
	return nil
}

// validPort reports whether a URL has no port, or one from 1 to 65535.
func validPort(u *url.URL) bool {
	n, err := strconv.ParseUint(u.Port(), 10, 16)
	return !strings.HasSuffix(u.Host, ":") && (u.Port() == "" || err == nil && n > 0)
}

func (c *Config) checkMirror() error {
	if c.ComponentMirror == "" {
		return nil
	}
	return checkRepository("component-mirror", c.ComponentMirror)
}

func (c *Config) checkAdvisories() error {
	if c.AdvisoriesFrom == fetchNone {
		return nil
	}
	u, err := url.Parse(c.AdvisoriesFrom)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return wrongConfig("advisories-from", "it is no URL of a folder; use one such as %s, or off", snapshots.PublicExport)
	}
	return nil
}

func (c *Config) checkKeystone() error {
	if c.KeystoneURL == "" {
		return nil
	}
	_, err := newKeystone(c)
	if e, ok := errors.AsType[*tidewaiter.Error](err); ok {
		return wrongConfig(e.Field, "it %s", e.Message)
	}
	return err
}

func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }
