package main

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestCLIScripts runs testdata/cli/*.txt, which have the registry $PLAIN with the
// image team/app:1, and $EXPORT: see TestScanScripts.
func TestCLIScripts(t *testing.T) {
	needComponent(t)
	testscript.Run(t, testscript.Params{
		Dir: "testdata/cli", Cmds: commands(), RequireUniqueNames: true,
		Setup: func(env *testscript.Env) error {
			if err := setUp(env); err != nil {
				return err
			}
			return errors.Join(scanSetUp(t, env), exportSetUp(env))
		},
	})
}

// FuzzContexts reads files of contexts: what is taken can be written and read
// again, and names servers that may get a secret.
func FuzzContexts(f *testing.F) {
	f.Add([]byte(`{"current": "a", "contexts": {"a": {"server": "https://tidewaiter.example.com", "token": "x", "expires": "2020-01-01T00:00:00Z"}}}`))
	f.Add([]byte(`{"contexts": {"": null}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := parseContexts(text)
		if err != nil {
			return
		}
		for name, saved := range c.Contexts {
			if err := checkServer(saved.Server); err != nil || name == "" {
				t.Errorf("%q: %v", name, err)
			}
		}
		again, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parseContexts(again); err != nil {
			t.Errorf("%s: %v", again, err)
		}
	})
}

func TestParseReference(t *testing.T) {
	for ref, want := range map[string][3]string{
		"team/app:1.0": {"team", "app", "1.0"}, "app": {"", "app", ""}, "a/b/c:x": {"a", "b/c", "x"}, "team/app": {"team", "app", ""},
	} {
		namespace, name, tag, err := parseReference(ref)
		if got := [3]string{namespace, name, tag}; err != nil || got != want {
			t.Errorf("%s: got %q, %v", ref, got, err)
		}
	}
	for _, ref := range []string{"", "app:", "team/", ":1", "app@sha256:0", "team/:1"} {
		if _, _, _, err := parseReference(ref); err == nil {
			t.Errorf("%q is taken for an image", ref)
		}
	}
}
