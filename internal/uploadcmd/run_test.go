package uploadcmd

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/syntax"

	"github.com/tidewaiter/tidewaiter"
)

func TestRun(t *testing.T) {
	c := Container{
		Name: "tidewaiter-component", Server: "https://tidewaiter.example.com", Token: "twe_abc",
		Image: "tidewaiter.example.com/tidewaiter/scan-component@sha256:" + strings.Repeat("0", 64),
	}
	want := []string{
		"docker", "run", "-d", "--name", "tidewaiter-component", "--restart", "unless-stopped", "--read-only", "--cap-drop", "ALL",
		"--security-opt", "no-new-privileges", "-v", "tidewaiter-component:/var/lib/tidewaiter",
		"-e", "TIDEWAITER_SERVER=https://tidewaiter.example.com", "-e", "TIDEWAITER_TOKEN=twe_abc", c.Image, "run",
	}
	if diff := cmp.Diff(want, words(t, Run(c))); diff != "" {
		t.Error(diff)
	}
	c.HostNetwork, c.InsecureHTTP, c.Server = true, true, "http://[::1]:8080"
	got := Run(c)
	for _, part := range []string{" --network host ", " -e TIDEWAITER_INSECURE_HTTP=true ", " -e 'TIDEWAITER_SERVER=http://[::1]:8080' "} {
		if !strings.Contains(strings.ReplaceAll(got, `"`, "'"), part) {
			t.Errorf("%q is not in %s", part, got)
		}
	}
	if !cmp.Equal(words(t, got)[17], "TIDEWAITER_SERVER=http://[::1]:8080") {
		t.Errorf("a shell reads %q", words(t, got))
	}
}

// words returns what a shell passes to docker.
func words(t *testing.T, command string) []string {
	t.Helper()
	f, err := syntax.NewParser().Parse(strings.NewReader(command), "")
	if err != nil {
		t.Fatal(err)
	}
	got, err := expand.Fields(nil, f.Stmts[0].Cmd.(*syntax.CallExpr).Args...)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestCheckContainer(t *testing.T) {
	const image = "registry.example.com:5000/team/scan-component:1.2.3"
	for _, ok := range []Container{
		{Name: "ab", Image: image}, {Name: "A.b_c-1", Image: "localhost/x@sha256:" + strings.Repeat("a", 64)},
		{Name: "ab", Image: "[::1]:5000/x"},
	} {
		if err := CheckContainer(ok); err != nil {
			t.Errorf("%+v: %v", ok, err)
		}
	}
	for field, bad := range map[string][]Container{
		"container": {{}, {Name: "a"}, {Name: "-rm"}, {Name: "a b"}, {Name: "a;b"}, {Name: "a/b"}, {Name: "ä-b"}, {Name: strings.Repeat("x", 65)}, {Name: "a\nb"}},
		"image":     {{Name: "ab"}, {Name: "ab", Image: "--privileged"}, {Name: "ab", Image: "x y"}, {Name: "ab", Image: "x$y"}, {Name: "ab", Image: "x\x00"}, {Name: "ab", Image: strings.Repeat("x", 513)}},
	} {
		for _, c := range bad {
			err := CheckContainer(c)
			if tidewaiter.KindOf(err) != tidewaiter.Invalid || !strings.HasPrefix(err.Error(), field+":") {
				t.Errorf("%+v: %v", c, err)
			}
		}
	}
}

// FuzzRun wants a shell to pass on exactly what CheckContainer lets through.
func FuzzRun(f *testing.F) {
	f.Add("tidewaiter-component", "registry.example.com/x@sha256:00", "https://tidewaiter.example.com")
	f.Add("a.b", "[::1]:5000/x:1", "http://[::1]:8080")
	f.Fuzz(func(t *testing.T, name, image, server string) {
		c := Container{Name: name, Image: image, Server: server, Token: "twe_x"}
		if CheckContainer(c) != nil || tidewaiter.CheckText("server", server, 256) != nil {
			t.Skip()
		}
		got := words(t, Run(c))
		want := []string{name, "TIDEWAITER_SERVER=" + server, image}
		if diff := cmp.Diff(want, []string{got[4], got[15], got[len(got)-2]}); diff != "" {
			t.Errorf("%s (-want +got)\n%s", Run(c), diff)
		}
	})
}
