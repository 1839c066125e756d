package pull

import (
	"runtime"
	"strings"
	"testing"

	"github.com/tidewaiter/tidewaiter"
)

func TestParsePlatform(t *testing.T) {
	for s, want := range map[string]string{
		"linux/amd64": "linux/amd64", "linux/x86_64": "linux/amd64", "linux/aarch64": "linux/arm64", "linux/arm/v7": "linux/arm/v7", "windows/amd64": "windows/amd64",
		"": "", "linux": "", "linux/": "", "/amd64": "", "linux/amd64/v1/x": "", "linux/a b": "", "linux/\x1b": "", "linux/ä": "",
	} {
		p, err := ParsePlatform(s)
		if want == "" {
			if tidewaiter.KindOf(err) != tidewaiter.Invalid || !strings.HasPrefix(err.Error(), "platform: ") {
				t.Errorf("%q: %v", s, err)
			}
		} else if err != nil || p.String() != want {
			t.Errorf("%q: %s, %v", s, p, err)
		}
	}
}

func TestChoose(t *testing.T) {
	own := "linux/" + runtime.GOARCH
	for _, c := range []struct {
		want string // "" is the default
		have string
		got  int // -1: none, -2: several
	}{
		{"", own, 0}, {"", "linux/s390x", 0}, {"", "linux/s390x windows/amd64", -1}, {"", "linux/s390x " + own, 1},
		{"linux/amd64", "linux/amd64 linux/arm64", 0}, {"linux/arm64", "linux/amd64 linux/arm64/v8", 1}, {"linux/arm64/v8", "linux/arm64", 0},
		{"linux/arm64", "linux/amd64", -1}, {"linux/arm", "linux/arm/v6 linux/arm/v7", 1}, {"linux/arm", "linux/arm/v5 linux/arm/v6", -2},
		{"linux/arm/v6", "linux/arm/v6 linux/arm/v7", 0}, {"linux/arm/v7", "linux/arm", 0}, {"linux/arm/7", "linux/arm/v7", 0},
		{"linux/arm/v5", "linux/arm/v6 linux/arm/v7", -1}, {"linux/arm", "linux/arm/v6", 0},
		{"linux/amd64", "linux/amd64/v3 linux/amd64", 1}, {"linux/amd64", "linux/amd64/v3", 0}, {"linux/amd64", "linux/amd64 linux/amd64", -2},
		{"windows/amd64", "linux/amd64", -1},
	} {
		var o Options
		if c.want != "" {
			var err error
			if o.Platform, err = ParsePlatform(c.want); err != nil {
				t.Fatal(err)
			}
		}
		var have []tidewaiter.Platform
		for p := range strings.FieldsSeq(c.have) {
			platform, err := ParsePlatform(p)
			if err != nil {
				t.Fatal(err)
			}
			have = append(have, platform)
		}
		got, err := o.choose(have)
		switch tidewaiter.KindOf(err) {
		case tidewaiter.NotFound:
			got = -1
		case tidewaiter.Conflict:
			got = -2
		}
		if got != c.got {
			t.Errorf("%q among %q: %d, %v", c.want, c.have, got, err)
		}
	}
}

func TestIsPath(t *testing.T) {
	for s, want := range map[string]bool{
		"./x": true, "/x": true, "../x": true, "~/x": true, "x.tar": true, "x.tar.gz": true, "x/": true,
		"alpine": false, "alpine:3": false, "host:5000/x": false, "host/x.tar:1": false, "host/x@sha256:1": false,
	} {
		if isPath(s) != want {
			t.Errorf("isPath(%q) = %v", s, !want)
		}
	}
}
