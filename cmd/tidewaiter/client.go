package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tidewaiter/tidewaiter/internal/client"
	"github.com/tidewaiter/tidewaiter/internal/gateway"
	"github.com/tidewaiter/tidewaiter/internal/identity/aksk"
)

// adminClient speaks to the API under /tidewaiter/v1: of a server by its URL, with
// signed requests, or of a data folder, by calling the same handlers in this
// process.
type adminClient struct {
	*client.Client

	project   string // name or id of the project to work on, "" for the only one that there is
	projectID string // its id, once it is known
}

// do sends a request with in as JSON, and decodes the answer into out; each may
// be nil.
func (c *adminClient) do(ctx context.Context, method, path string, in, out any) error {
	return c.Do(ctx, method, "/tidewaiter/v1"+path, nil, in, out)
}

// addClientFlags defines the flags that say which server or data folder a
// command works on.
func addClientFlags(cmd *cobra.Command) {
	fs := cmd.PersistentFlags()
	addStoreFlags(fs)
	fs.Lookup("data").Usage = "data `folder` of a server, to work beside it, or while it is stopped"
	fs.String("server", "", "`URL` of a server to work on, in place of a data folder (default: TIDEWAITER_SERVER, then the current context)")
	fs.String("context", "", "`name` of the context to work on: see tidewaiter login (default: the current one)")
	fs.String("credentials", "", "`file` with access_key and secret_key for --server, such as bootstrap.json (default: TIDEWAITER_ACCESS_KEY and TIDEWAITER_SECRET_KEY)")
	fs.String("ca", "", "PEM `file` with the authorities that the server's certificate may come from (default: the system's)")
	fs.StringP("output", "o", "table", outputUsage)
}

// checkOutput refuses a format of output that there is not.
func checkOutput(cmd *cobra.Command) error {
	switch format := cmd.Flags().Lookup("output").Value.String(); format {
	case "table", "json", "yaml":
		return nil
	default:
		return &usageError{fmt.Errorf("--output %q is not known; use table, json or yaml", format)}
	}
}

// serverOf returns a client of the server that the command's flags ask for, nil
// for a data folder. In falling order of weight that is --server, a data folder
// that is named, --context, TIDEWAITER_SERVER, and the current context.
func (p *program) serverOf(cmd *cobra.Command) (*adminClient, error) {
	if err := checkOutput(cmd); err != nil {
		return nil, err
	}
	fs := cmd.Flags()
	flag := func(name string) string { return fs.Lookup(name).Value.String() }
	server, name := flag("server"), flag("context")
	local := fs.Changed("data") || fs.Changed("database") || fs.Changed("keys")
	switch {
	case server != "" && local:
		return nil, &usageError{errors.New("--server works on a server; leave --data, --database and --keys out")}
	case name != "" && (server != "" || local):
		return nil, &usageError{errors.New("--context names a server; leave --server, --data, --database and --keys out")}
	case local:
		return nil, nil
	case server == "" && name == "":
		server = p.getenv("TIDEWAITER_SERVER")
	}
	if server != "" {
		return p.remoteClient(server, flag("credentials"), flag("ca"))
	}
	all, err := p.readContexts()
	if err != nil {
		return nil, err
	}
	name, saved, err := all.named(name)
	if err != nil || saved == nil {
		return nil, err
	}
	if flag("credentials") != "" || flag("ca") != "" {
		return nil, &usageError{fmt.Errorf("--credentials and --ca go with --server; the context %q has its own", name)}
	}
	return p.clientOf(name, saved)
}

// withClient runs f with the client that the command's flags ask for.
func (p *program) withClient(cmd *cobra.Command, f func(context.Context, *adminClient) error) (err error) {
	fs := cmd.Flags()
	project := ""
	if flag := fs.Lookup("project"); flag != nil {
		project = flag.Value.String()
	}
	c, err := p.serverOf(cmd)
	if err != nil {
		return err
	}
	if c != nil {
		if project != "" {
			c.project, c.projectID = project, ""
		}
		return f(cmd.Context(), c)
	}

	config, err := p.storeConfig(fs)
	if err != nil {
		return err
	}
	if _, err := os.Stat(config.Data); errors.Is(err, os.ErrNotExist) && config.Database == "" {
		return wrongConfig("data", "there is no folder %q; name the server's with --data, or a server with --server, or sign in to one (tidewaiter login)", config.Data)
	}
	state, err := openAdminState(cmd.Context(), config, newLogger(&Config{LogLevel: "warn"}, p.stderr))
	if err != nil {
		return err
	}
	defer closeInto(&err, state)
	handler, caller, err := state.adminHandler(cmd.Context(), config)
	if err != nil {
		return err
	}
	return f(gateway.WithCaller(cmd.Context(), caller), &adminClient{Client: client.Local(handler), project: project})
}

func (p *program) getenv(name string) string {
	for _, e := range p.environ {
		if v, ok := strings.CutPrefix(e, name+"="); ok {
			return v
		}
	}
	return ""
}

// checkServer checks the URL of a server that is about to get credentials.
func checkServer(server string) error {
	u, err := url.Parse(server)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
		return wrongConfig("server", "it is no URL; use one such as https://tidewaiter.example.com")
	}
	if u.Scheme == "http" && !isLoopback(u.Hostname()) {
		return wrongConfig("server", "plain http would show what is sent to the network; use https")
	}
	return nil
}

// remoteClient returns a client of a server.
func (p *program) remoteClient(server, credentials, ca string) (*adminClient, error) {
	if err := checkServer(server); err != nil {
		return nil, err
	}
	keys := signingTransport{
		accessKey: p.getenv("TIDEWAITER_ACCESS_KEY"), secretKey: p.getenv("TIDEWAITER_SECRET_KEY"),
	}
	projectID := ""
	if credentials != "" {
		b, err := readBootstrap(credentials)
		if err != nil {
			return nil, wrongConfig("credentials", "%s", oneLine(err))
		}
		keys.accessKey, keys.secretKey, projectID = b.AccessKey, b.SecretKey, b.ProjectID
	}
	if keys.accessKey == "" || keys.secretKey == "" {
		return nil, wrongConfig("credentials", "they are missing; name a file with access_key and secret_key, or set TIDEWAITER_ACCESS_KEY and TIDEWAITER_SECRET_KEY")
	}
	transport, err := newTransport(ca)
	if err != nil {
		return nil, err
	}
	keys.next = transport
	return newRemoteClient(server, keys, projectID), nil
}

func newRemoteClient(server string, signs http.RoundTripper, projectID string) *adminClient {
	return &adminClient{projectID: projectID, Client: &client.Client{Base: strings.TrimSuffix(server, "/"), HTTP: httpClient(signs)}}
}

// httpClient follows no redirect: what is sent is for one address and no other.
func httpClient(transport http.RoundTripper) *http.Client {
	return &http.Client{
		Transport: transport, Timeout: time.Minute,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// newTransport returns what connections are made with: it trusts the
// authorities of a file, or for "" those of the system.
func newTransport(ca string) (*http.Transport, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if ca != "" {
		pool, err := readCertificates("ca", ca)
		if err != nil {
			return nil, err
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	return transport, nil
}

// signingTransport signs requests with AK/SK.
type signingTransport struct {
	accessKey, secretKey string
	next                 http.RoundTripper
}

func (t signingTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	if err := aksk.Sign(r, t.accessKey, []byte(t.secretKey), body, time.Now()); err != nil {
		return nil, fmt.Errorf("sign request: %w", err)
	}
	return t.next.RoundTrip(r)
}

// bootstrapFile is the form of DATA/bootstrap.json.
type bootstrapFile struct {
	Endpoint    string `json:"endpoint"`
	Domain      string `json:"domain"`
	User        string `json:"user"`
	Password    string `json:"password"`
	ProjectID   string `json:"project_id"`
	ProjectName string `json:"project_name"`
	AccessKey   string `json:"access_key"`
	SecretKey   string `json:"secret_key"`
}

func bootstrapPath(data string) string { return filepath.Join(data, "bootstrap.json") }

func readBootstrap(path string) (*bootstrapFile, error) {
	b, err := os.ReadFile(path) //nolint:gosec // the user names the file
	if err != nil {
		return nil, err
	}
	f := &bootstrapFile{}
	if err := json.Unmarshal(b, f); err != nil {
		return nil, errors.New("the file is not JSON with access_key and secret_key")
	}
	return f, nil
}
