package registry

import (
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter"
)

func TestCreated(t *testing.T) {
	for text, want := range map[string]string{
		`"2026-02-03T04:05:06.7+01:00"`: "2026-02-03T03:05:06.7Z",
		`"yesterday"`:                   "0001-01-01T00:00:00Z",
		`1234`:                          "0001-01-01T00:00:00Z",
		`null`:                          "0001-01-01T00:00:00Z",
		`"9999-12-31T23:59:59-12:00"`:   "0001-01-01T00:00:00Z", // the year 10000 in UTC
		`"0000-01-01T00:00:00Z"`:        "0001-01-01T00:00:00Z",
	} {
		c, err := ParseConfig([]byte(`{"os":"linux","created":`+text+`}`), 0)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := c.Created.Format(time.RFC3339Nano); got != want {
			t.Errorf("%s: created %s, want %s", text, got, want)
		}
	}
}

func TestParseConfig(t *testing.T) {
	id := "sha256:" + strings.Repeat("1", 64)
	got, err := ParseConfig([]byte(`{
		"os": "linux", "architecture": "arm64", "variant": "v8", "created": "2026-01-02T03:04:05Z",
		"rootfs": {"type": "layers", "diff_ids": ["`+id+`"]},
		"history": [
			{"created": "2026-01-02T03:04:05Z", "created_by": "ADD file:1 in / ", "comment": "a"},
			{"created_by": "ENV API_TOKEN=a b C=d", "empty_layer": true}
		],
		"config": {
			"User": "1000:1000", "WorkingDir": "/srv", "Entrypoint": ["/app", "--password", "a b"], "Cmd": ["--token=a"],
			"Env": ["PATH=/bin", "API_TOKEN=a b", "EMPTY=", "BARE", "=x", "odd one"],
			"ExposedPorts": {"8080/tcp": {}, "53/udp": {}}, "Volumes": {"/data": {}},
			"Labels": {"maintainer": "me", "db.password": "a", "note": "password: a\u001b[31m\nb"}
		}
	}`), 1)
	if err != nil {
		t.Fatal(err)
	}
	made := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	want := &tidewaiter.ImageConfig{
		Platform: tidewaiter.Platform{OS: "linux", Architecture: "arm64", Variant: "v8"}, Created: made, DiffIDs: []tidewaiter.Digest{tidewaiter.Digest(id)},
		Steps: []tidewaiter.BuildStep{{Command: "ADD file:1 in / ", Created: made, Comment: "a"}, {Command: "ENV API_TOKEN=*** C=d", Empty: true}},
		User:  "1000:1000", WorkDir: "/srv", Entrypoint: []string{"/app", "--password", "***"}, Command: []string{"--token=***"},
		Env: []string{"PATH", "API_TOKEN", "EMPTY", "BARE", "odd"}, Ports: []string{"53/udp", "8080/tcp"},
		Labels: map[string]string{"maintainer": "me", "db.password": "***", "note": "password: *** b"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestOddConfigs has what is no reason to refuse an image, and what is.
func TestOddConfigs(t *testing.T) {
	for body, want := range map[string]tidewaiter.ImageConfig{
		`{}`:              {},
		`{"config":null}`: {}, `{"config":"x"}`: {}, `{"config":[1]}`: {}, `{"history":{}}`: {}, `{"history":"x"}`: {}, `{"history":null}`: {}, `{"history":[]}`: {},
		`{"history":[1,null,{"created_by":["x"],"empty_layer":"true","created":{}}]}`:                       {Steps: make([]tidewaiter.BuildStep, 3)},
		`{"config":{"Entrypoint":"run --token a","Cmd":{},"Env":"A=b","User":1000,"WorkingDir":null}}`:      {Entrypoint: []string{"run --token ***"}, Env: []string{"A"}},
		`{"config":{"Entrypoint":[1,"a",null],"Env":[null,{}],"Labels":[],"ExposedPorts":["8080/tcp"]}}`:    {Entrypoint: []string{"", "a", ""}},
		`{"config":{"Labels":{"a":1,"b":null,"c":["x"],"d":"e"},"ExposedPorts":{"80/tcp":[[1],{"a":{}}]}}}`: {Labels: map[string]string{"a": "", "b": "", "c": "", "d": "e"}, Ports: []string{"80/tcp"}},
		`{"history":[{}],"history":[{},{}]}`:                           {Steps: make([]tidewaiter.BuildStep, 2)},
		`{"config":{"User":"a"},"config":{"WorkingDir":"b"}}`:          {User: "a", WorkDir: "b"},
		`{"config":{"User":"\u0000\u202e\ufeff\ud800` + "\xff" + `"}}`: {User: "\ufffd\ufffd\ufeff\ufffd\ufffd"},
	} {
		got, err := ParseConfig([]byte(body), 0)
		if err != nil {
			t.Errorf("%s: %v", body, err)
			continue
		}
		got.DiffIDs = nil
		for _, list := range []*[]string{&got.Entrypoint, &got.Command} {
			if len(*list) == 0 {
				*list = nil
			}
		}
		if diff := cmp.Diff(&want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", body, diff)
		}
	}
	for _, body := range []string{``, `[]`, `"x"`, `{"os":1}`, `{"rootfs":{"diff_ids":["sha256:1"]}}`, `{"rootfs":{"diff_ids":[]}}`, `{"rootfs":{"diff_ids":"x"}}`, `{"history":[}`} {
		if _, err := ParseConfig([]byte(body), 1); tidewaiter.KindOf(err) != tidewaiter.Invalid {
			t.Errorf("%s: %v", body, err)
		}
	}
}

// TestConfigLimits fills each list beyond its limit.
func TestConfigLimits(t *testing.T) {
	list := func(n int, item string) string { return strings.TrimSuffix(strings.Repeat(item+",", n), ",") }
	object := func(n int, value string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `,"%s%d":%s`, strings.Repeat("k", 300), i, value)
		}
		return "{" + strings.TrimPrefix(b.String(), ",") + "}"
	}
	long := `"` + strings.Repeat("é", 5000) + `"`
	got, err := ParseConfig([]byte(`{"history":[`+list(MaxSteps, `{"created_by":"é"}`)+`],"config":{"Entrypoint":[`+list(1000, `"a"`)+`],"Cmd":[`+long+`],"Env":[`+
		list(5000, `"A=b"`)+`],"ExposedPorts":`+object(500, `{}`)+`,"User":`+long+`,"Labels":`+object(500, long)+`}}`), 0)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Steps) != MaxSteps || len(got.Entrypoint) != MaxArguments || len(got.Env) != MaxEnv || utf8.RuneCountInString(got.Command[0]) != MaxStep || utf8.RuneCountInString(got.User) != MaxStep {
		t.Errorf("%d steps, %d arguments, %d variables", len(got.Steps), len(got.Entrypoint), len(got.Env))
	}
	if len(got.Ports) > MaxPorts || len(got.Labels) > MaxLabels {
		t.Errorf("%d ports, %d labels", len(got.Ports), len(got.Labels))
	}
	for name, value := range got.Labels {
		if len(name) > MaxLabel || len(value) > MaxLabelValue || !utf8.ValidString(value) {
			t.Errorf("a label of %d and %d bytes", len(name), len(value))
		}
	}
}

// TestLongHistory has as many steps as a config can hold.
func TestLongHistory(t *testing.T) {
	body := []byte(`{"history":[` + strings.Repeat("{},", MaxConfig/3-100) + `{}],"created":[` + strings.Repeat("0,", 50) + `0]}`)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	got, err := ParseConfig(body, 0)
	runtime.ReadMemStats(&after)
	if err != nil || got.Steps != nil || got.StepOf(0) != -1 {
		t.Errorf("%v, %d steps", err, len(got.Steps))
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > 8<<20 {
		t.Errorf("%d bytes of config took %d bytes of memory", len(body), used)
	}
}

func FuzzConfig(f *testing.F) {
	f.Add([]byte(`{"created":"9999-12-31T23:59:59-12:00"}`), 0)
	f.Add([]byte(`{"os":"linux","rootfs":{"diff_ids":["sha256:0000000000000000000000000000000000000000000000000000000000000001"]}}`), 1)
	f.Add([]byte(`{"history":[{"created_by":"ENV A=b","empty_layer":true}],"config":{"Env":["A=b"],"Labels":{"a":"b"},"Entrypoint":["x"],"ExposedPorts":{"1/tcp":{}}}}`), 0)
	f.Fuzz(func(t *testing.T, b []byte, layers int) {
		c, err := ParseConfig(b, layers)
		if err != nil {
			if tidewaiter.KindOf(err) != tidewaiter.Invalid {
				t.Errorf("kind %v", tidewaiter.KindOf(err))
			}
			return
		}
		if len(c.DiffIDs) != layers {
			t.Errorf("%d ids for %d layers", len(c.DiffIDs), layers)
		}
		if _, bad := c.Created.MarshalJSON(); bad != nil {
			t.Errorf("created at a time that cannot be passed on: %v", bad)
		}
		if !json.Valid(b) {
			t.Error("no JSON")
		}
		texts := append(append(append([]string{c.User, c.WorkDir}, c.Entrypoint...), c.Command...), append(c.Env, c.Ports...)...)
		for _, s := range c.Steps {
			texts = append(texts, s.Command, s.Comment)
		}
		for name, value := range c.Labels {
			texts = append(texts, name, value)
		}
		for _, s := range texts {
			if !utf8.ValidString(s) || strings.ContainsAny(s, "\x00\x1b\n\u202e") || utf8.RuneCountInString(s) > MaxStep {
				t.Errorf("%q", s)
			}
		}
	})
}
