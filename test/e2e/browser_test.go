//go:build linux

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// axeCore judges how accessible a page is; test/provision.sh fetches it.
const axeCore = "../../.tools/axe-core-4.14.1.js"

// A browser is Debian's Chromium, without a window. It keeps what pages
// complain about, and which hosts they ask.
type browser struct {
	ctx   context.Context //nolint:containedctx // chromedp's browsers are contexts
	home  string          // host of the server
	axe   string
	mu    sync.Mutex
	wrong []string
}

func startBrowser(t *testing.T, home string) *browser {
	t.Helper()
	need(t, "/usr/bin/chromium")
	axe, err := os.ReadFile(axeCore)
	if err != nil {
		t.Fatalf("no axe-core (test/provision.sh): %v", err)
	}
	u, err := url.Parse(home)
	if err != nil {
		t.Fatal(err)
	}
	b := &browser{home: u.Host, axe: string(axe)}
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]), chromedp.ExecPath("/usr/bin/chromium"), chromedp.NoSandbox, chromedp.WSURLReadTimeout(patience),
		chromedp.UserDataDir(filepath.Join(shortDir(t), "chromium")), chromedp.WindowSize(1440, 900), chromedp.Flag("lang", "en"))
	// Not the test's context, whose end kills the browser: it is closed, so that no
	// process of it writes into its folder any more when that is removed.
	allocator, stop := chromedp.NewExecAllocator(context.Background(), options...)
	tab, _ := chromedp.NewContext(allocator) //nolint:govet // ended below
	ctx, cancel := context.WithTimeout(tab, 3*patience)
	t.Cleanup(func() {
		if err := chromedp.Cancel(ctx); err != nil {
			t.Logf("the browser does not close: %v", err)
		}
		cancel()
		stop()
		chromedp.FromContext(tab).Allocator.Wait()
	})
	b.ctx = ctx
	chromedp.ListenTarget(ctx, b.hear)
	b.do(t, network.Enable(), cdplog.Enable())
	return b
}

// hear keeps errors of the console, violations of the policy among them, and
// requests to other hosts.
func (b *browser) hear(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		b.wrong = append(b.wrong, "exception: "+e.ExceptionDetails.Error())
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.APITypeError || e.Type == runtime.APITypeWarning {
			b.wrong = append(b.wrong, fmt.Sprintf("console: %s %s", e.Type, e.Args[0].Value))
		}
	case *cdplog.EventEntryAdded:
		refused := strings.HasSuffix(e.Entry.URL, "/sign-in") && strings.Contains(e.Entry.Text, "401") // a wrong password
		if e.Entry.Level == cdplog.LevelError && !refused {
			b.wrong = append(b.wrong, "log: "+e.Entry.Text+" "+e.Entry.URL)
		}
	case *network.EventRequestWillBeSent:
		if u, err := url.Parse(e.Request.URL); err != nil || u.Host != b.home && u.Scheme != "data" {
			b.wrong = append(b.wrong, "asked "+e.Request.URL)
		}
	}
}

// quiet fails the test for what pages have complained about since the last call.
func (b *browser) quiet(t *testing.T) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, w := range b.wrong {
		t.Error(w)
	}
	b.wrong = nil
}

// do runs steps, and fails the test with what the page shows if one does not
// come to its end.
func (b *browser) do(t *testing.T, steps ...chromedp.Action) {
	t.Helper()
	if err := chromedp.Run(b.ctx, steps...); err != nil {
		var text, at string
		_ = chromedp.Run(b.ctx, chromedp.Location(&at), chromedp.Text("body", &text))
		t.Fatalf("%v at %s:\n%s", err, at, text)
	}
}

// until waits until the page shows a text. The page is not loaded again: what
// is live has to come by itself.
func (b *browser) until(t *testing.T, text string) {
	t.Helper()
	quoted, _ := json.Marshal(text)
	deadline := time.Now().Add(patience)
	for shown := false; !shown; time.Sleep(50 * time.Millisecond) {
		// An error is that of a page which is just being left.
		_ = chromedp.Run(b.ctx, chromedp.Evaluate(fmt.Sprintf("document.body.innerText.includes(%s)", quoted), &shown))
		if time.Now().After(deadline) {
			var body string
			b.do(t, chromedp.Text("body", &body))
			t.Fatalf("%q does not come; there is:\n%s", text, body)
		}
	}
}

// fill writes into the fields of the form on the page, by their ids.
func (b *browser) fill(t *testing.T, values map[string]string) {
	t.Helper()
	for id, value := range values {
		b.do(t, chromedp.SetValue("#"+id, value, chromedp.ByQuery))
	}
}

// accessible fails the test for what axe-core calls serious or critical.
func (b *browser) accessible(t *testing.T, page string) {
	t.Helper()
	var found string
	b.do(t, chromedp.Evaluate(b.axe+"; 0", nil), chromedp.Evaluate(`axe.run().then(r => JSON.stringify(r.violations
		.filter(v => v.impact === "serious" || v.impact === "critical")
		.map(v => v.id + ": " + v.help + ": " + v.nodes.map(n => n.html + " " + n.any.map(a => a.message).join(" ")).slice(0, 3).join(" | "))))`,
		&found, func(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }))
	var violations []string
	if err := json.Unmarshal([]byte(found), &violations); err != nil {
		t.Fatalf("axe answered %q: %v", found, err)
	}
	for _, v := range violations {
		t.Errorf("%s is not accessible: %s", page, v)
	}
}

// picture takes a screenshot for the docs, in the folder that
// TIDEWAITER_SCREENSHOTS names; without it none.
func (b *browser) picture(t *testing.T, name string, width int64) {
	t.Helper()
	folder := os.Getenv("TIDEWAITER_SCREENSHOTS")
	if folder == "" {
		return
	}
	var png []byte
	b.do(t, chromedp.EmulateViewport(width, 900), chromedp.FullScreenshot(&png, 100), chromedp.EmulateViewport(1440, 900))
	if err := os.WriteFile(filepath.Join(folder, fmt.Sprintf("%s-%d.png", name, width)), png, 0o644); err != nil {
		t.Fatal(err)
	}
}
