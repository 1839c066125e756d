//go:build linux

package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/services/hss/v5/model"

	"github.com/tidewaiter/tidewaiter/internal/extract/extracttest"
)

// hostileFolder is a name as an attacker would choose it: it is on the page of
// an image, where a package lies.
const hostileFolder = "app/\u202e<img src=x onerror=document.title='taken'>"

// TestConsole goes the way of somebody who has just started the server, in a
// browser: sign in, connect a real registry, watch its images come, scan them
// and read what was found.
func TestConsole(t *testing.T) {
	const password = "Pl4nted-Pa55word"
	r := startRegistry(t, registryOptions{User: "alice", Password: password})
	cargo := newCargo()
	base := baseLayer(t, "base", 1000)
	app := layerOf(t, extracttest.File(hostileFolder+"/node_modules/made-up-lib/package.json", `{"name":"made-up-lib","version":"1.2.3"}`))
	cargo.put(t, r, "shop/web", "1.0", imageOf(t, "amd64", base, app), append(basePackages(), "made-up-lib 1.2.3 1"))
	cargo.put(t, r, "shop/cart", "2.0", imageOf(t, "amd64", base), basePackages())
	s := startTidewaiter(t, "--sync-at", "off", "--log-level", "debug")
	advisories := filepath.Join(t.TempDir(), "advisories.json")
	if err := os.WriteFile(advisories, []byte(`{"schema_version": "1.6.0", "id": "GHSA-aaaa-bbbb-cccc", "aliases": ["CVE-2026-99999"],
		"modified": "2026-01-01T00:00:00Z", "published": "2026-01-01T00:00:00Z", "summary": "Made up for this test: remote code execution",
		"severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}],
		"affected": [{"package": {"ecosystem": "npm", "name": "made-up-lib"}, "ranges": [{"type": "SEMVER", "events": [{"introduced": "0"}, {"fixed": "2.0.0"}]}]}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	output(t, command(nil, tidewaiterProgram(t), "advisories", "import", "--data", s.Data, advisories), "")

	b := startBrowser(t, s.URL)
	signInByHand(t, b, s)
	connectByHand(t, b, r)
	scanByHand(t, b)
	readFindings(t, b)
	ignoreByHand(t, b)
	stopByHand(t, b, s, r)
	trustByHand(t, b)
	attachByHand(t, b, s)
	looksRight(t, b)
	for _, path := range []string{"/docs", "/docs/AddRegistry"} {
		b.do(t, chromedp.Navigate(s.URL+path), chromedp.WaitVisible("h1"))
		b.accessible(t, path)
	}
	b.do(t, chromedp.Navigate(s.URL+"/"), chromedp.WaitVisible("svg.bar"))
	b.do(t, chromedp.Click(`//button[text()="退出"]`, chromedp.BySearch), chromedp.WaitVisible("#password"))
	b.quiet(t)
	secrets := planted{"registry password": password}.disguises()
	secrets.lookIn(t, "what the server said", []byte(s.Said()))
	secrets.lookInFiles(t, s.Data, "")
}

func signInByHand(t *testing.T, b *browser, s *server) {
	b.do(t, chromedp.Navigate(s.URL+"/"), chromedp.WaitVisible("#password"))
	b.accessible(t, "sign-in")
	b.picture(t, "sign-in", 1440)
	b.fill(t, map[string]string{"domain": s.Domain, "user": s.User, "password": "wrong"})
	b.do(t, chromedp.Submit("#password"), chromedp.WaitVisible(".alert-danger"))
	b.until(t, "the user name or the password is wrong")
	b.fill(t, map[string]string{"password": s.Password})
	b.do(t, chromedp.Submit("#password"), chromedp.WaitVisible("#first-registry"))
	b.accessible(t, "an empty overview")
	b.quiet(t)
}

// connectByHand connects the registry, and sees the check and the images arrive
// on the page without loading it again.
func connectByHand(t *testing.T, b *browser, r *registryServer) {
	b.do(t, chromedp.Click("#first-registry"), chromedp.WaitVisible("#registry_addr"))
	b.accessible(t, "connect")
	b.picture(t, "connect", 1440)
	b.picture(t, "connect", 390)
	b.fill(t, map[string]string{
		"registry_name": "mine", "protocol": "http", "registry_addr": r.Addr, "registry_username": r.User, "registry_password": r.Password, "namespace": "tools",
	})
	b.do(t, chromedp.Submit("#registry_addr"), chromedp.WaitVisible("#synchronize"))
	b.until(t, "pull")
	b.do(t, chromedp.WaitVisible(`//h2[contains(., "Access")]/span[text()="success"]`, chromedp.BySearch))
	b.do(t, chromedp.Click("#synchronize"), chromedp.WaitVisible(`//dt[text()="Images"]/following-sibling::dd[1][text()="2"]`, chromedp.BySearch))
	b.accessible(t, "registry")
	b.picture(t, "registry", 1440)
	b.quiet(t)
}

func scanByHand(t *testing.T, b *browser) {
	b.do(t, chromedp.Click("#scan"), chromedp.WaitVisible(`section.card`))
	b.until(t, "finished")
	b.until(t, "at risk: 1")
	b.accessible(t, "tasks")
	b.picture(t, "tasks", 1440)
	b.quiet(t)
}

// readFindings goes from the overview to the vulnerability, with the names that
// an attacker chose shown as text.
func readFindings(t *testing.T, b *browser) {
	b.do(t, chromedp.Click(`//a[text()="Overview"]`, chromedp.BySearch), chromedp.WaitVisible("svg.bar"))
	b.until(t, "CVE-2026-99999")
	b.accessible(t, "overview")
	for _, width := range []int64{1440, 390} {
		b.picture(t, "overview", width)
	}
	b.do(t, chromedp.Click(`//a[text()="Images"]`, chromedp.BySearch), chromedp.WaitVisible("#severity_level"))
	b.accessible(t, "images")
	b.picture(t, "images", 1440)
	b.do(t, chromedp.SetValue("#severity_level", "High"), chromedp.Submit("#severity_level"))
	b.until(t, "1–1 / 1")
	var exported string
	b.do(t, chromedp.Evaluate(`fetch(document.getElementById("csv").href).then(r => r.text())`, &exported,
		func(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }))
	if lines := strings.Split(strings.TrimSpace(exported), "\r\n"); len(lines) != 2 || !strings.HasPrefix(lines[1], "mine,shop,web,1.0,sha256:") || !strings.Contains(lines[1], ",success,,High,1,") {
		t.Errorf("the list as CSV:\n%s", exported)
	}
	b.do(t, chromedp.Click(`//a[contains(., "shop/web:1.0")]`, chromedp.BySearch), chromedp.WaitVisible("h1"))
	b.until(t, "made-up-lib 1.2.3")
	b.until(t, "⟨U+202E⟩<img src=x onerror=document.title='taken'>")
	b.until(t, "2.0.0")
	b.until(t, "step 1")
	var title string
	b.do(t, chromedp.Title(&title))
	if !strings.HasPrefix(title, "Image") {
		t.Errorf("the title is %q", title)
	}
	b.accessible(t, "image")
	b.picture(t, "image", 1440)
	b.picture(t, "image", 390)
	b.do(t, chromedp.Click(`//a[text()="Packages"]`, chromedp.BySearch))
	b.until(t, "libc6")
	readLayers(t, b)
	b.do(t, chromedp.Click(`//a[text()="Vulnerabilities"]`, chromedp.BySearch), chromedp.WaitVisible("#vul_id"))
	b.do(t, chromedp.SetValue("#type", "app_vul"), chromedp.Submit("#type"))
	b.until(t, "Made up for this test")
	b.accessible(t, "vulnerabilities")
	b.do(t, chromedp.Click(`//a[text()="CVE-2026-99999"]`, chromedp.BySearch))
	b.until(t, "shop/web")
	b.accessible(t, "vulnerability")
	b.do(t, chromedp.SendKeys(`input[name="remark"]`, "accepted"), chromedp.Click(`button[value="ignore"]`), chromedp.WaitVisible(`button[value="not_ignore"]`))
	b.do(t, chromedp.Click(`button[value="not_ignore"]`), chromedp.WaitVisible(`button[value="ignore"]`))
	b.quiet(t)
}

// readLayers looks at what each layer of the image brought, at the files that
// belong to no package, and at what has changed.
func readLayers(t *testing.T, b *browser) {
	b.do(t, chromedp.Click(`//a[text()="Layers"]`, chromedp.BySearch), chromedp.WaitVisible("ol.list-group"))
	b.until(t, "step 1")
	b.do(t, chromedp.Click(`//li[contains(., "step 1")]//summary`, chromedp.BySearch))
	b.until(t, "made-up-lib 1.2.3 · Vulnerabilities: 1")
	b.accessible(t, "layers")
	b.picture(t, "layers", 1440)
	b.do(t, chromedp.Click(`//a[text()="Files"]`, chromedp.BySearch))
	b.until(t, "/opt/base")
	b.accessible(t, "files")
	b.do(t, chromedp.Click(`//a[text()="History"]`, chromedp.BySearch), chromedp.WaitVisible("summary"))
	b.do(t, chromedp.Click("summary"))
	b.until(t, "CVE-2026-99999")
	b.accessible(t, "history")
	b.quiet(t)
}

// stopByHand stops a scan of an image whose registry has gone away.
func stopByHand(t *testing.T, b *browser, s *server, r *registryServer) {
	r.Push(t, "shop/late", "1.0", imageOf(t, "amd64", baseLayer(t, "late", 1000)))
	name := "mine"
	found, err := s.sdk(t).ListRegistry(&model.ListRegistryRequest{RegistryName: &name})
	if err != nil {
		t.Fatal(err)
	}
	s.sync(t, *(*found.DataList)[0].Id)
	r.Stop()
	b.do(t, chromedp.Click(`//a[text()="Images"]`, chromedp.BySearch), chromedp.WaitVisible("#severity_level"),
		chromedp.Click(`//a[contains(., "shop/late:1.0")]`, chromedp.BySearch), chromedp.WaitVisible("h1"))
	b.until(t, "Not everything is known of this image.")
	b.do(t, chromedp.Click(`//button[text()="Scan"]`, chromedp.BySearch), chromedp.WaitVisible(`//button[text()="Stop"]`, chromedp.BySearch))
	b.do(t, chromedp.Evaluate("window.confirm = () => true", nil), chromedp.Click(`//button[text()="Stop"]`, chromedp.BySearch))
	b.until(t, "stopped")
	b.quiet(t)
}

// ignoreByHand ignores the vulnerability of the image: the image has it no more,
// and says who said so; and takes that back.
func ignoreByHand(t *testing.T, b *browser) {
	b.do(t, chromedp.Click(`//a[text()="shop/web"]`, chromedp.BySearch), chromedp.WaitVisible("#severity_level"),
		chromedp.Click(`//a[contains(., "shop/web:1.0")]`, chromedp.BySearch), chromedp.WaitVisible("summary"))
	b.do(t, chromedp.Click("summary"), chromedp.WaitVisible(`input[name="remark"]`))
	b.accessible(t, "an image with the form of an exception")
	b.do(t, chromedp.SendKeys(`input[name="remark"]`, "not reachable <b>here</b>"), chromedp.Submit(`input[name="remark"]`))
	b.until(t, "not reachable <b>here</b>")
	b.do(t, chromedp.WaitVisible(`//button[text()="Take back"]`, chromedp.BySearch))
	b.do(t, chromedp.Click(`//button[text()="Take back"]`, chromedp.BySearch), chromedp.WaitVisible("summary"))
	b.quiet(t)
}

// trustByHand takes the word of attached documents, and takes it no more.
func trustByHand(t *testing.T, b *browser) {
	b.do(t, chromedp.Click(`//a[text()="Registries"]`, chromedp.BySearch), chromedp.WaitVisible(`//a[text()="mine"]`, chromedp.BySearch),
		chromedp.Click(`//a[text()="mine"]`, chromedp.BySearch), chromedp.WaitVisible(`button[name="trust"][value="yes"]`))
	b.do(t, chromedp.Click(`button[name="trust"][value="yes"]`), chromedp.WaitVisible(`button[name="trust"][value="no"]`))
	b.until(t, "None was found at the last scans.")
	b.accessible(t, "a registry that is trusted with attached documents")
	b.do(t, chromedp.Click(`button[name="trust"][value="no"]`), chromedp.WaitVisible(`button[name="trust"][value="yes"]`))
	b.quiet(t)
}

// attachByHand attaches a cluster by the line that the page shows, and sees its
// component come without loading the page again.
func attachByHand(t *testing.T, b *browser, s *server) {
	b.do(t, chromedp.Click(`//a[text()="Clusters"]`, chromedp.BySearch), chromedp.WaitVisible("#attach"),
		chromedp.SetValue("#name", "office"), chromedp.Click("#attach"), chromedp.WaitVisible("#command"))
	b.accessible(t, "clusters")
	b.picture(t, "clusters", 1440)
	var line string
	b.do(t, chromedp.Text("#command", &line))
	token := regexp.MustCompile(`TIDEWAITER_TOKEN=(twe_\S+)`).FindStringSubmatch(line)
	if token == nil {
		t.Fatalf("the line has no token: %s", line)
	}
	b.until(t, "No component has enrolled.")
	c := &scanComponent{State: filepath.Join(t.TempDir(), "state"), env: []string{"TIDEWAITER_SERVER=" + s.URL, "TIDEWAITER_TOKEN=" + token[1]}}
	c.env = append(c.env, "TIDEWAITER_STATE="+c.State)
	t.Cleanup(func() { _ = c.stop(syscall.SIGTERM) })
	c.Start(t)
	b.do(t, chromedp.WaitVisible(`//section[contains(., "office")]//td[text()="online"]`, chromedp.BySearch))
	b.quiet(t)
}

// looksRight turns the pages dark and Chinese; both stay on the next page.
func looksRight(t *testing.T, b *browser) {
	b.do(t, chromedp.Click(`//a[text()="Advisories"]`, chromedp.BySearch))
	b.until(t, "advisories.json")
	b.accessible(t, "advisories")
	b.do(t, chromedp.Click(`//a[text()="Users"]`, chromedp.BySearch), chromedp.WaitVisible("#add-user"))
	b.accessible(t, "users")
	b.picture(t, "users", 1440)
	b.do(t, chromedp.Click(`button[name="theme"]`), chromedp.WaitVisible(`html[data-bs-theme="dark"] h1`))
	b.do(t, chromedp.Click(`button[name="language"]`), chromedp.WaitVisible(`html[lang="zh-CN"] h1`))
	b.do(t, chromedp.Click(`//a[text()="总览"]`, chromedp.BySearch), chromedp.WaitVisible(`html[data-bs-theme="dark"] svg.bar`))
	b.until(t, "镜像风险分布")
	b.accessible(t, "overview, dark and Chinese")
	b.picture(t, "overview-dark-zh", 1440)
	b.quiet(t)
}
