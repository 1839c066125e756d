package main

import (
	"bytes"
	"encoding/pem"
	"io"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/crypto/x509roots/fallback/bundle"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"scan-component": main})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			s := newServer(t)
			e.Defer(func() {
				s.CloseClientConnections()
				s.Close()
			})
			e.Values["server"] = s
			e.Setenv("SERVER", s.URL)
			e.Setenv("HOSTNAME", "host")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			// asked PATH... waits until a component has asked for these, in order.
			"asked": func(ts *testscript.TestScript, _ bool, args []string) {
				s := ts.Value("server").(*server)
				for _, want := range args {
					if got := <-s.asked; got != want {
						ts.Fatalf("the component asks for %s, want %s", got, want)
					}
				}
			},
			// terminate does what docker stop does, to all that run.
			"terminate": func(ts *testscript.TestScript, _ bool, _ []string) {
				for _, cmd := range ts.BackgroundCmds() {
					ts.Check(cmd.Process.Signal(syscall.SIGTERM))
				}
			},
			// remove makes the server forget all components.
			"remove": func(ts *testscript.TestScript, _ bool, _ []string) {
				ts.Value("server").(*server).removed.Store(true)
			},
		},
	})
}

// A full disk under the output is a failure.
func TestOutputFails(t *testing.T) {
	r, w := io.Pipe()
	r.Close()
	var stderr bytes.Buffer
	if status := run([]string{"version"}, w, &stderr); status != 1 || stderr.Len() == 0 {
		t.Errorf("status %d, stderr %q", status, stderr.String())
	}
}

func TestMemoryLimit(t *testing.T) {
	const v1 = "5:memory:/docker/abc\n4:cpu:/docker/abc\n"
	for _, tt := range []struct {
		name  string
		files map[string]string
		want  int64
	}{
		{"nothing", nil, 0},
		{"v2", map[string]string{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "67108864\n"}, 64 << 20},
		{"v2 unlimited", map[string]string{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "max\n"}, 0},
		{"v2 parent is tighter", map[string]string{
			"proc/self/cgroup":                 "0::/a/b\n",
			"sys/fs/cgroup/a/b/memory.max":     "2000000\n",
			"sys/fs/cgroup/a/memory.max":       "1000000\n",
			"sys/fs/cgroup/memory.max":         "max\n",
			"sys/fs/cgroup/unrelated/memory.x": "1\n",
		}, 1000000},
		{"v1 with the host's path", map[string]string{"proc/self/cgroup": v1, "sys/fs/cgroup/memory/memory.limit_in_bytes": "33554432\n"}, 32 << 20},
		{"v1 unlimited", map[string]string{"proc/self/cgroup": v1, "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"}, 0},
		{"nonsense", map[string]string{"proc/self/cgroup": "::::\n\nx\n0::../..\n", "sys/fs/cgroup/memory.max": "-4\n"}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			check := selfCheck{root: mapFS(tt.files)}
			if got := check.memoryLimit(); got != tt.want {
				t.Errorf("memory limit %d, want %d", got, tt.want)
			}
		})
	}
}

func TestRoots(t *testing.T) {
	var ca string
	for root := range bundle.Roots() {
		ca = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}))
		break
	}
	for _, tt := range []struct {
		name, env string
		files     map[string]string
		roots     int // -1 for any number
		reason    string
	}{
		{name: "file", files: map[string]string{defaultBundle[1:]: ca + ca}, roots: 2},
		{name: "built in", roots: -1},
		{name: "named", env: "/certs/ours.pem", files: map[string]string{"certs/ours.pem": ca}, roots: 1},
		{name: "named and missing", env: "/certs/ours.pem", reason: "/certs/ours.pem cannot be read"},
		{name: "empty", files: map[string]string{defaultBundle[1:]: "no certificate\n"}, reason: "holds no PEM certificate"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			check := selfCheck{
				root:     mapFS(tt.files),
				getenv:   func(key string) string { return map[string]string{"SSL_CERT_FILE": tt.env}[key] },
				writable: func(dir string) bool { return false },
			}
			var out bytes.Buffer
			err := check.report(&out)
			if tt.reason != "" {
				if err == nil || !strings.Contains(err.Error(), tt.reason) {
					t.Errorf("error %v, want %q", err, tt.reason)
				}
				return
			}
			if err != nil || !strings.HasSuffix(out.String(), "\nusable\n") {
				t.Errorf("error %v, output %q", err, out.String())
			}
			_, n, _ := check.roots()
			if n != tt.roots && (tt.roots >= 0 || n < 50) {
				t.Errorf("%d roots, want %d", n, tt.roots)
			}
		})
	}
}

func TestWritableDirs(t *testing.T) {
	check := selfCheck{
		root: mapFS(map[string]string{
			"etc/passwd": "", "tmp/x": "", "sys/x": "",
			"proc/self/mountinfo": "22 1 0:21 / / ro - overlay overlay rw\n" +
				"23 22 0:22 / /mnt/a\\040b rw - tmpfs tmpfs rw\n24 22 0:5 / /proc rw - proc proc rw\nshort line\n",
		}),
		writable: func(dir string) bool { return dir != "/" && dir != "/etc" },
	}
	got := strings.Join(check.writableDirs(), "|")
	if want := "/mnt/a b|/tmp"; got != want {
		t.Errorf("writable folders %q, want %q", got, want)
	}
}

func TestStateFolder(t *testing.T) {
	const (
		root   = "22 1 0:21 / / rw - overlay overlay rw\n"
		volume = "23 22 0:22 / /var/lib/tidewaiter rw - ext4 /dev/sda1 rw\n"
		beside = "23 22 0:22 / /var/lib/tide rw - ext4 /dev/sda1 rw\n"
		disk   = "22 1 0:21 / / rw - ext4 /dev/sda1 rw\n"
	)
	for _, tt := range []struct {
		name, mounts, file string
		writable           bool
		want               string
	}{
		{"volume", root + volume, "var/lib/tidewaiter/lock", true, "/var/lib/tidewaiter, writable"},
		{"no container", disk, "var/lib/tidewaiter/lock", true, "/var/lib/tidewaiter, writable"},
		{"no volume", root + beside, "var/lib/tidewaiter/lock", true, "goes with the container"},
		{"read only", root, "var/lib/tidewaiter/lock", false, "not writable for uid"},
		{"missing", root, "etc/passwd", false, "not there: mount a volume"},
		{"to be made", disk, "etc/passwd", true, "not there yet"},
		{"a file", disk, "var/lib/tidewaiter", false, "not there: mount a volume"},
	} {
		check := selfCheck{
			root:     mapFS(map[string]string{"proc/self/mountinfo": tt.mounts, tt.file: ""}),
			writable: func(string) bool { return tt.writable },
		}
		if got := check.state("/var/lib/tidewaiter"); !strings.HasSuffix(got, tt.want) && !strings.Contains(got, tt.want) || strings.Contains(tt.want, ", writable") && got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func mapFS(files map[string]string) fstest.MapFS {
	m := fstest.MapFS{}
	for name, text := range files {
		m[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return m
}
