//go:build linux

package e2e

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/crypto/bcrypt"
)

// squid is Debian's.
const squid = "/usr/sbin/squid"

// Names that this proxy alone can resolve: who gets there went through it. (Go's
// programs would not ask a proxy of the environment for a loopback address.)
const registryName, serverName = "registry.e2e.test", "tidewaiter.e2e.test"

// A forwardProxy is squid, as companies have it between their machines and
// the rest: it wants a user and a password.
type forwardProxy struct {
	*process
	Addr           string // host:port
	User, Password string
	log            string
}

const squidConfig = `http_port %s
pid_filename none
pinger_enable off
hosts_file %[2]s/hosts
cache deny all
access_log stdio:%[2]s/access.log
cache_log %[2]s/cache.log
coredump_dir %[2]s
visible_hostname e2e
shutdown_lifetime 0 seconds
auth_param basic program /usr/lib/squid/basic_ncsa_auth %[2]s/users
auth_param basic realm e2e
auth_param basic children 1 startup=1
acl known proxy_auth REQUIRED
http_access allow known
http_access deny all
`

// startForwardProxy starts a proxy for one test.
func startForwardProxy(t testing.TB, name, password string) *forwardProxy {
	t.Helper()
	need(t, squid, "/usr/lib/squid/basic_ncsa_auth")
	p := &forwardProxy{Addr: freePort(t), User: name, Password: password}
	dir := shortDir(t) // which squid's own user can enter
	p.log = filepath.Join(dir, "access.log")
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	// crypt(3) knows bcrypt by the name $2y$ as well.
	write("users", name+":"+strings.Replace(string(hash), "$2a$", "$2y$", 1)+"\n")
	write("hosts", "127.0.0.1 "+registryName+" "+serverName+"\n")
	config := write("squid.conf", fmt.Sprintf(squidConfig, p.Addr, dir))
	account, err := user.Lookup("proxy")
	if err != nil {
		t.Fatal(err)
	}
	uid, err := strconv.Atoi(account.Uid)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, filepath.Join(dir, "users")} {
		if err := os.Chown(path, uid, -1); err != nil {
			t.Fatal(err)
		}
	}
	if p.process, err = launch(command(nil, squid, "-N", "-f", config)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.stop(syscall.SIGTERM) })
	if err := p.until("listening", func() bool { return answers(p.Addr) }); err != nil {
		log, _ := os.ReadFile(filepath.Join(dir, "cache.log"))
		t.Fatalf("%v\n%s", err, log)
	}
	return p
}

// URL is the proxy with user and password, as HTTPS_PROXY takes it.
func (p *forwardProxy) URL() string {
	return (&url.URL{Scheme: "http", User: url.UserPassword(p.User, p.Password), Host: p.Addr}).String()
}

// Log returns the lines of the requests so far: method, address and status.
func (p *forwardProxy) Log(t testing.TB) []string {
	t.Helper()
	text, err := os.ReadFile(p.log)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(text)), "\n")
}

// Carried counts the requests for an address that the proxy let through.
func (p *forwardProxy) Carried(t testing.TB, addr string) int {
	t.Helper()
	n := 0
	for _, line := range p.Log(t) {
		if strings.Contains(line, addr) && !strings.Contains(line, "DENIED") {
			n++
		}
	}
	return n
}

func TestForwardProxy(t *testing.T) {
	p := startForwardProxy(t, "carol", "pr0xy pa:ss")
	r := startRegistry(t, registryOptions{TLS: true})
	named := strings.Replace(r.Addr, "127.0.0.1", registryName, 1)
	get := func(proxy string) (int, error) {
		u, err := url.Parse(proxy)
		if err != nil {
			t.Fatal(err)
		}
		way := r.CA.transport()
		way.Proxy = http.ProxyURL(u)
		defer way.CloseIdleConnections()
		resp, err := (&http.Client{Transport: way}).Get("https://" + named + "/v2/")
		if err != nil {
			return 0, err
		}
		defer resp.Body.Close()
		return resp.StatusCode, nil
	}
	if _, err := get("http://" + p.Addr); err == nil {
		t.Error("the proxy takes anybody")
	}
	if n := p.Carried(t, named); n != 0 {
		t.Errorf("the proxy carried %d requests of the anonymous", n)
	}
	if status, err := get(p.URL()); err != nil || status != http.StatusOK {
		t.Errorf("through the proxy: %d, %v", status, err)
	}
	// Squid writes a line when the connection has ended.
	if err := p.until("done with the connection", func() bool { return p.Carried(t, named) == 1 }); err != nil {
		t.Error(err)
	}
}
