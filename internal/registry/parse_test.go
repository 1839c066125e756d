package registry

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tidewaiter/tidewaiter"
)

func TestParseChallenges(t *testing.T) {
	for header, want := range map[string][]Challenge{
		`Basic realm="x"`: {{"basic", map[string]string{"realm": "x"}}},
		`Bearer realm="https://a/t",service="s",scope="repository:a/b:pull,push"`: {{"bearer", map[string]string{"realm": "https://a/t", "service": "s", "scope": "repository:a/b:pull,push"}}},
		`BEARER Realm = "a\"b" , service=s`:                                       {{"bearer", map[string]string{"realm": `a"b`, "service": "s"}}},
		`Negotiate, Basic realm="x", Bearer realm=y`:                              {{"negotiate", map[string]string{}}, {"basic", map[string]string{"realm": "x"}}, {"bearer", map[string]string{"realm": "y"}}},
		`Bearer realm="first",realm="second"`:                                     {{"bearer", map[string]string{"realm": "first"}}},
		`Bearer realm="not closed`:                                                {{"bearer", map[string]string{}}},
		``:                                                                        nil,
		`"`:                                                                       nil,
	} {
		if diff := cmp.Diff(want, ParseChallenges(http.Header{"Www-Authenticate": {header}})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", header, diff)
		}
	}
}

func TestNextQuery(t *testing.T) {
	for header, want := range map[string]string{
		`</v2/_catalog?last=b&n=2>; rel="next"`:               "last=b&n=2",
		`<https://other.example.com/x?last=b>;rel=next`:       "last=b",
		`</a?p=1>; rel="prev" , </a?p=3>; rel="next"`:         "p=3",
		`</a?p=1,2>; title="a, b; rel=next"; rel="last next"`: "p=1,2",
		`</a?p=1>; rel="prev"`:                                "",
		`</a>; rel="next"`:                                    "",
		`/a?p=1; rel="next"`:                                  "",
		`<`:                                                   "",
		`<:%zz?a=b>; rel=next`:                                "",
	} {
		got, ok := NextQuery(http.Header{"Link": {header}})
		if got != want || ok != (want != "") {
			t.Errorf("%s: %q %v, want %q", header, got, ok, want)
		}
	}
}

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"**", "a/b/c", true}, {"*", "a", true}, {"*", "a/b", false}, {"a/**", "a", true}, {"a/**", "a/b/c", true}, {"**/c", "a/b/c", true},
		{"a/**/c", "a/c", true}, {"a/**/c", "a/b/b/c", true}, {"a/**/c", "a/b/d", false}, {"a/?", "a/b", true}, {"a/[b-d]", "a/c", true},
		{"v1.*", "v1.2.3", true}, {"v1.*", "v2", false}, {"", "", true}, {"[", "[", false}, {"**/**/**", "", true},
	} {
		if got := Match(c.pattern, c.name); got != c.want {
			t.Errorf("Match(%q, %q) = %v", c.pattern, c.name, got)
		}
	}
	// Without "**", a pattern means what it means to path.Match.
	rapid.Check(t, func(t *rapid.T) {
		pattern, name := rapid.StringMatching(`[ab*?/]{0,8}`).Draw(t, "pattern"), rapid.StringMatching(`[ab/]{0,8}`).Draw(t, "name")
		if strings.Contains(pattern, "**") {
			t.Skip()
		}
		if want, _ := path.Match(pattern, name); want != Match(pattern, name) {
			t.Fatalf("path.Match says %v", want)
		}
	})
	long := strings.Repeat("**/a/", 50) + "b"
	if Match(long, strings.Repeat("a/", 120)+"c") {
		t.Error("a long pattern matches what it must not")
	}
}

func TestBudget(t *testing.T) {
	now := time.Unix(0, 0)
	var waited time.Duration
	b := newBudget(3600, Options{Now: func() time.Time { return now }, Sleep: func(_ context.Context, d time.Duration) error {
		waited += d
		now = now.Add(d)
		return nil
	}})
	for range 3600 + 15 {
		if err := b.take(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if waited < 3599*time.Second || waited > 3601*time.Second {
		t.Errorf("3615 requests at 3600 an hour took %v", waited)
	}
	if off := newBudget(0, Options{}.withDefaults()); off.take(t.Context()) != nil {
		t.Error("no budget is no limit")
	}
}

func TestConfigIsNotPrinted(t *testing.T) {
	c := Config{Type: Other, Address: tidewaiter.RegistryAddress{Host: "a.example.com"}, Password: "hush", Proxy: "http://u:hush@p", SWR: SWR{SecretKey: "hush"}}
	var b strings.Builder
	slog.New(slog.NewJSONHandler(&b, nil)).Info("x", "config", c)
	fmt.Fprintf(&b, "%v %+v %#v %s %v", c, c, c, c, struct{ C Config }{c})
	if strings.Contains(b.String(), "hush") || !strings.Contains(b.String(), "Other at https://a.example.com") {
		t.Error(b.String())
	}
}

func TestCheckNames(t *testing.T) {
	for name, ok := range map[string]bool{
		"a": true, "a/b/c": true, "a.b_c__d---e/f": true, "": false, "A": false, "a//b": false, "/a": false, "a/": false, "a..b": false, "a___b": false,
		"-a": false, "a-": false, "..": false, "a/../b": false, "a b": false, "a%2f": false, "ä": false, strings.Repeat("a", 256): false,
	} {
		if (CheckRepository(name) == "") != ok {
			t.Errorf("repository %q: %q", name, CheckRepository(name))
		}
	}
	for name, ok := range map[string]bool{"latest": true, "1.0-x_y": true, "_x": true, "A": true, "": false, ".x": false, "-x": false, "a/b": false, "a:b": false, strings.Repeat("a", 129): false} {
		if (CheckTag(name) == "") != ok {
			t.Errorf("tag %q: %q", name, CheckTag(name))
		}
	}
}

func FuzzChallenges(f *testing.F) {
	f.Add(`Bearer realm="https://a/t",service="s",scope="repository:a/b:pull"`)
	f.Add(`Negotiate, Basic realm="x\"`)
	f.Fuzz(func(t *testing.T, s string) {
		for _, c := range ParseChallenges(http.Header{"Www-Authenticate": {s}}) {
			if c.Scheme == "" || c.Scheme != strings.ToLower(c.Scheme) {
				t.Errorf("scheme %q", c.Scheme)
			}
		}
	})
}

func FuzzLink(f *testing.F) {
	f.Add(`</v2/_catalog?last=b&n=2>; rel="next"`)
	f.Add(`</a?p=1>; rel="prev" , </a?p=3>; title="a,b;c"; rel=next`)
	f.Fuzz(func(t *testing.T, s string) {
		q, ok := NextQuery(http.Header{"Link": {s}})
		if ok && (q == "" || !strings.Contains(s, q)) {
			t.Errorf("query %q", q)
		}
	})
}

func FuzzClassify(f *testing.F) {
	f.Add(tidewaiter.MediaTypeOCIManifest, []byte(`{"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:0000000000000000000000000000000000000000000000000000000000000001","size":2},"layers":[]}`))
	f.Add(tidewaiter.MediaTypeOCIIndex, []byte(`{"manifests":[{"digest":"sha256:0000000000000000000000000000000000000000000000000000000000000001","platform":{"os":"unknown"}}]}`))
	f.Add("", []byte(`{"schemaVersion":1}`))
	f.Fuzz(func(t *testing.T, mediaType string, b []byte) {
		d, err := Classify(mediaType, b)
		if err != nil {
			if k := tidewaiter.KindOf(err); k != tidewaiter.Invalid && k != tidewaiter.TooLarge {
				t.Errorf("kind %v", k)
			}
			return
		}
		if d.Kind == "" || (d.Reason == "") != d.Kind.Scannable() {
			t.Errorf("kind %q, reason %q", d.Kind, d.Reason)
		}
		for _, desc := range append(append(d.Layers, d.Manifests...), d.Config) {
			if _, err := tidewaiter.ParseDigest(string(desc.Digest)); err != nil && d.Kind == KindImage {
				t.Errorf("digest %q", desc.Digest)
			}
		}
		if d.Kind == KindImage && (len(d.Manifests) > 0 || d.Config.Digest == "") {
			t.Errorf("image %+v", d)
		}
	})
}
