package main

import (
	"bufio"
	"context"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/tidewaiter/tidewaiter"
)

// visitor is a browser of the console, without scripts.
type visitor struct {
	*house
	*http.Client
	base string
}

func (h *house) visitor() *visitor {
	h.Helper()
	server := httptest.NewServer(h.handler)
	h.Cleanup(server.Close)
	jar, err := cookiejar.New(nil)
	h.must(err)
	return &visitor{h, &http.Client{Jar: jar, Timeout: 30 * time.Second}, server.URL}
}

// visit returns status, path after redirects, and content of a page.
func (v *visitor) visit(path string) (int, string, string) {
	v.Helper()
	resp, err := v.Get(v.base + path)
	v.must(err)
	return v.read(resp)
}

// submit posts a form.
func (v *visitor) submit(path string, form url.Values) (int, string, string) {
	v.Helper()
	resp, err := v.PostForm(v.base+path, form)
	v.must(err)
	return v.read(resp)
}

func (v *visitor) read(resp *http.Response) (int, string, string) {
	v.Helper()
	defer resp.Body.Close()
	var b strings.Builder
	_, err := bufio.NewReader(resp.Body).WriteTo(&b)
	v.must(err)
	csp := resp.Header.Get("Content-Security-Policy")
	if !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
		v.Errorf("%s: policy %q", resp.Request.URL.Path, csp)
	}
	return resp.StatusCode, resp.Request.URL.RequestURI(), b.String()
}

func (v *visitor) signIn(user, password string) (int, string, string) {
	v.Helper()
	return v.submit("/sign-in", url.Values{"domain": {"tidewaiter"}, "user": {user}, "password": {password}})
}

// TestConsoleSession signs in and out: nobody sees a page before or after, and
// a token that was a session is good for nothing when it has ended.
func TestConsoleSession(t *testing.T) {
	h := newHouse(t)
	password := h.user("ann", tidewaiter.PolicyAuthorization, grant{policy: "HSS Administrator"})
	v := h.visitor()
	page := "/p/" + h.project["default"] + "/images?scan_status=failed"

	if status, at, _ := v.visit(page); status != 200 || !strings.HasPrefix(at, "/sign-in?next=") {
		t.Fatalf("before: %d at %s", status, at)
	}
	if status, _, body := v.signIn("ann", "wrong"); status != 401 || !strings.Contains(body, "the user name or the password is wrong") {
		t.Errorf("a wrong password: %d", status)
	}
	if status, _, body := v.submit("/sign-in", url.Values{"domain": {"tidewaiter"}, "user": {"ann"}, "password": {password}, "next": {"https://example.com/p/"}}); status != 200 || !strings.Contains(body, "Overview") {
		t.Errorf("signed in: %d", status)
	}
	base, _ := url.Parse(v.base)
	cookies := v.Jar.Cookies(base)
	if len(cookies) != 1 {
		t.Fatalf("%d cookies", len(cookies))
	}
	session := cookies[0].Value
	if status, at, _ := v.visit(page); status != 200 || at != page {
		t.Errorf("signed in: %d at %s", status, at)
	}

	// Another site's form is refused, whatever the cookie.
	r, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, v.base+"/sign-out", nil)
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	resp, err := v.Do(r)
	h.must(err)
	resp.Body.Close()
	if resp.StatusCode != 403 {
		t.Errorf("a form of another site: %d", resp.StatusCode)
	}

	if status, at, _ := v.submit("/sign-out", nil); status != 200 || at != "/sign-in" {
		t.Errorf("signed out: %d at %s", status, at)
	}
	if _, err := h.AuthenticateSession(t.Context(), session); tidewaiter.KindOf(err) != tidewaiter.Unauthenticated {
		t.Errorf("the ended session: %v", err)
	}
}

// TestConsoleCookie keeps the session from scripts and other sites.
func TestConsoleCookie(t *testing.T) {
	h := newHouse(t)
	password := h.user("ann", tidewaiter.PolicyAuthorization)
	w := httptest.NewRecorder()
	form := url.Values{"domain": {"tidewaiter"}, "user": {"ann"}, "password": {password}}
	r := httptest.NewRequest(http.MethodPost, "/sign-in", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	h.handler.ServeHTTP(w, r)
	cookie := w.Header().Get("Set-Cookie")
	if !strings.Contains(cookie, "HttpOnly") || !strings.Contains(cookie, "SameSite=Lax") {
		t.Errorf("cookie %q", cookie)
	}
}

// TestConsoleLock locks a user out after wrong passwords, as the API does.
func TestConsoleLock(t *testing.T) {
	h := newHouse(t)
	password := h.user("ann", tidewaiter.PolicyAuthorization)
	v := h.visitor()
	for range 20 {
		if _, _, body := v.signIn("ann", "wrong"); strings.Contains(body, "locked") {
			if status, _, _ := v.signIn("ann", password); status != 401 {
				t.Errorf("the right password of a locked user: %d", status)
			}
			return
		}
	}
	t.Error("20 wrong passwords did not lock the user")
}

// TestConsolePages reads each page, in both languages, as administrator, and
// as one who may read only.
func TestConsolePages(t *testing.T) {
	h := newHouse(t)
	admin := h.user("ann", tidewaiter.PolicyAuthorization, grant{policy: "HSS Administrator"})
	reader := h.user("bob", tidewaiter.PolicyAuthorization, grant{policy: "HSS ReadOnlyAccess", project: "default"})
	project := "/p/" + h.project["default"]
	v := h.visitor()
	v.signIn("ann", admin)
	if status, _, body := v.visit(project + "/advisories"); status != 403 || !strings.Contains(body, "iam:advisories:get") {
		t.Errorf("advisories, without the permission: %d", status)
	}
	for path, want := range map[string]string{
		"/": "There are no images yet", "/registries": "No registry is connected.", "/connect": "Any OCI registry",
		"/images": "No image fits.", "/vulnerabilities": "First found", "/tasks": "There is no task yet.",
		"/clusters": "Clusters", "/upload-command": "Make the commands", "/images?offset=x&severity_level=High": "No image fits.",
	} {
		if status, at, body := v.visit(project + path); status != 200 || at != project+path || !strings.Contains(body, want) {
			t.Errorf("%s: %d at %s, without %q", path, status, at, want)
		}
	}
	for path, want := range map[string]int{
		"/nowhere": 404, "/image?registry_id=1&image_name=x&image_version=y": 404, "/registries/none": 404, "/images?severity_level=x": 400,
	} {
		if status, _, _ := v.visit(project + path); status != want {
			t.Errorf("%s: %d, want %d", path, status, want)
		}
	}

	for path, want := range map[string]string{
		"/images.csv?scan_status=failed&offset=50": "registry,namespace,image,tag,digest,scan_status,scan_failed_code,risk,vulnerabilities,size,scanned,pushed\r\n",
		"/vulnerabilities.csv?type=app_vul":        "vulnerability,type,severity,cvss,images,labels,first_found,description\r\n",
	} {
		if status, _, body := v.visit(project + path); status != 200 || body != want {
			t.Errorf("%s: %d %q", path, status, body)
		}
	}
	if status, _, body := v.visit(project + "/images.csv?severity_level=x"); status != 400 || !strings.Contains(body, "severity_level") {
		t.Errorf("an export that is refused: %d", status)
	}
	_, _, body := v.submit(project+"/connect", url.Values{
		"registry_name": {"<script>alert(1)</script>"}, "registry_type": {"Other"}, "protocol": {"https"}, "registry_addr": {"user@host"},
		"registry_username": {"me"}, "registry_password": {"planted-password"}, "connect_cluster_id": {"local"},
	})
	if !strings.Contains(body, "registry_") || !strings.Contains(body, "&lt;script&gt;") || strings.Contains(body, "planted-password") || strings.Contains(body, "<script>alert") {
		t.Errorf("a form that is wrong: %s", body)
	}
	_, _, body = v.submit(project+"/upload-command", url.Values{
		"registry_addr": {"registry.example.com"}, "namespace": {"library"}, "username": {"me"}, "password": {"s&'<>"}, "platform": {"linux/amd64"},
	})
	if !strings.Contains(body, "docker push") && !strings.Contains(body, "docker load") {
		t.Errorf("no upload command: %s", body)
	}

	if _, _, body := v.submit(project+"/clusters", url.Values{"name": {"<i>office"}}); strings.Contains(body, "twe_") || !strings.Contains(body, `value="&lt;i&gt;office"`) || !strings.Contains(body, "is not a name for a cluster") {
		t.Errorf("an odd name of a cluster: %s", body)
	}
	if _, _, body := v.submit(project+"/clusters", url.Values{"name": {"office"}}); !strings.Contains(body, "TIDEWAITER_TOKEN=twe_") || !strings.Contains(body, ">office<") {
		t.Errorf("no command for a cluster: %s", body)
	}
	if _, _, body := v.visit(project + "/clusters"); strings.Contains(body, "twe_") || !strings.Contains(body, ">office<") {
		t.Errorf("the clusters: %s", body)
	}
	if status, _, body := v.submit(project+"/clusters", url.Values{"name": {"local"}}); status != 400 && status != 409 || !strings.Contains(body, `value="local"`) || strings.Contains(body, "twe_") {
		t.Errorf("a name that is taken: %d", status)
	}
	if _, at, body := v.submit("/preferences", url.Values{"language": {"zh"}, "theme": {"dark"}, "next": {project + "/images"}}); at != project+"/images" ||
		!strings.Contains(body, "镜像") || !strings.Contains(body, `data-bs-theme="dark"`) {
		t.Errorf("Chinese and dark: at %s", at)
	}

	other := h.visitor()
	other.signIn("bob", reader)
	if status, _, _ := other.visit(project + "/images"); status != 200 {
		t.Errorf("a reader: %d", status)
	}
	if status, _, body := other.submit(project+"/scan", nil); status != 403 || !strings.Contains(body, "hss:images:operate") && !strings.Contains(body, "hss:") {
		t.Errorf("a reader who scans: %d %s", status, body)
	}
	if status, _, _ := other.visit("/p/" + h.project["b"] + "/images"); status != 403 {
		t.Errorf("a reader in another project: %d", status)
	}
}

// TestConsoleStream sends the live part of a page, again when it has changed,
// and ends when the session does.
func TestConsoleStream(t *testing.T) {
	h := newHouse(t)
	password := h.user("ann", tidewaiter.PolicyAuthorization, grant{policy: "HSS Administrator"})
	v := h.visitor()
	v.signIn("ann", password)
	project := "/p/" + h.project["default"]
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	r, _ := http.NewRequestWithContext(ctx, http.MethodGet, v.base+project+"/clusters", nil)
	r.Header.Set("Accept", "text/event-stream")
	resp, err := v.Do(r)
	h.must(err)
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	until := func(want string) {
		t.Helper()
		for lines.Scan() {
			if strings.Contains(lines.Text(), want) {
				return
			}
		}
		t.Fatalf("the stream ended without %q: %v", want, lines.Err())
	}
	made := httptest.NewRequest(http.MethodPost, "/tidewaiter/v1/clusters", strings.NewReader(`{"name": "beside-harbor"}`))
	made.Header.Set("Content-Type", "application/json")
	h.token("ann", password, "default")(made)
	w := httptest.NewRecorder()
	h.handler.ServeHTTP(w, made)
	if w.Code != http.StatusCreated {
		t.Fatalf("the cluster was not made: %s", w.Body)
	}
	until("beside-harbor")
	v.submit("/sign-out", nil)
	until("event: end")
}
