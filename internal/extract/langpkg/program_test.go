package langpkg_test

import (
	"bytes"
	"compress/zlib"
	"context"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/extract"
	"github.com/tidewaiter/tidewaiter/internal/extract/langpkg"
)

// buildGo builds a program of a main module and others that folders stand for,
// so that nothing has to be fetched.
func buildGo(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":       "module example.com/app\n\ngo 1.21\n\nrequire (\n\texample.com/one v1.2.3\n\texample.com/two v0.1.0\n\texample.com/zero v0.0.0\n)\n\nreplace (\n\texample.com/one => ./one\n\texample.com/two v0.1.0 => ./two\n\texample.com/zero => ./zero\n)\n",
		"main.go":      "package main\n\nimport (\n\t\"example.com/one\"\n\t\"example.com/two\"\n\t\"example.com/zero\"\n)\n\nfunc main() { println(one.X, two.X, zero.X) }\n",
		"one/go.mod":   "module example.com/one\n",
		"one/one.go":   "package one\n\nconst X = 1\n",
		"two/go.mod":   "module example.com/two\n",
		"zero/go.mod":  "module example.com/zero\n",
		"zero/zero.go": "package zero\n\nvar X = 0\n",
		"two/two.go":   "package two\n\nvar X = 2\n",
	} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", "app", ".")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH=arm64", "CGO_ENABLED=0", "GOFLAGS=-mod=mod", "GOPROXY=off", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return filepath.Join(dir, "app")
}

func TestGoBinary(t *testing.T) {
	file := buildGo(t)
	program, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	found, err := langpkg.GoBinary{}.Extract(context.Background(), input("usr/bin/app", program))
	if err != nil || len(found.Cuts) > 0 {
		t.Fatalf("Extract: %v, cuts %v", err, found.Cuts)
	}
	version, _, _ := strings.Cut(strings.TrimPrefix(runtime.Version(), "go"), " ")
	got := lines(found)
	// The main module's version depends on whether there is a repository.
	got = slices.DeleteFunc(got, func(line string) bool { return strings.HasPrefix(line, "example.com/app ") })
	want := []string{"stdlib " + version, "example.com/one v1.2.3", "example.com/two v0.1.0", "example.com/zero "}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("want (-), got (+):\n%s", diff)
	}
	out, err := exec.Command("go", "version", "-m", file).Output()
	if err != nil {
		t.Fatal(err)
	}
	want = want[:1]
	for line := range strings.Lines(string(out)) {
		if fields := strings.Fields(line); len(fields) >= 3 && fields[0] == "dep" {
			want = append(want, fields[1]+" "+strings.TrimPrefix(fields[2], "v0.0.0"))
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("go version -m (-), found (+):\n%s", diff)
	}
	if len(found.Packages) != 5 || found.Packages[2].Namespace != "example.com" || found.Packages[0].Ecosystem != "Go" {
		t.Errorf("packages %+v", found.Packages)
	}
}

// goProgram is a program of Go, as small as can be: sections only, of which one
// holds the build information in the form that Go has had since 1.18.
func goProgram(t testing.TB) []byte {
	t.Helper()
	const guard = "0123456789abcdef"
	info := guard + "path\tx\nmod\texample.com/x\tv1.0.0\th1:\ndep\texample.com/y\tv0.2.0\n" + guard
	blob := append([]byte("\xff Go buildinf:\x08\x02"), make([]byte, 16)...)
	for _, text := range []string{"go1.25.1", info} {
		blob = binary.AppendUvarint(blob, uint64(len(text)))
		blob = append(blob, text...)
	}
	return program(t, section{".go.buildinfo", blob})
}

func rustProgram(t testing.TB, list string) []byte {
	t.Helper()
	var packed bytes.Buffer
	w := zlib.NewWriter(&packed)
	if _, err := w.Write([]byte(list)); err != nil {
		t.Fatal(err)
	}
	w.Close()
	return program(t, section{".dep-v0", packed.Bytes()})
}

func TestRustBinary(t *testing.T) {
	list := `{"packages":[
		{"name":"app","version":"0.1.0","source":"local","dependencies":[1,2],"root":true},
		{"name":"serde","version":"1.0.195","source":"crates.io"},
		{"name":"cc","version":"1.0.83","source":"crates.io","kind":"build"}],"format":1}`
	found, err := langpkg.RustBinary{}.Extract(context.Background(), input("bin/app", rustProgram(t, list)))
	if err != nil || len(found.Cuts) > 0 {
		t.Fatalf("Extract: %v, cuts %v", err, found.Cuts)
	}
	if diff := cmp.Diff([]string{"app 0.1.0", "serde 1.0.195"}, lines(found)); diff != "" {
		t.Errorf("want (-), got (+):\n%s", diff)
	}
	bomb := rustProgram(t, `{"x":"`+strings.Repeat("x", 32<<20))
	if _, err := (langpkg.RustBinary{}).Extract(context.Background(), input("bin/app", bomb)); err == nil {
		t.Error("a list of 32 MiB is read without an error")
	}
}

// TestHostileELF has headers that lie: nothing may be held for them.
func TestHostileELF(t *testing.T) {
	good := program(t, section{".dep-v0", []byte("x")})
	le := binary.LittleEndian
	shoff := le.Uint64(good[40:])
	for _, test := range []struct {
		name   string
		damage func(b []byte)
		errs   bool
	}{
		{"names that are compressed", func(b []byte) { le.PutUint64(b[shoff+2*64+8:], 0x800) }, true},
		{"names of 1 GiB", func(b []byte) { le.PutUint64(b[shoff+2*64+32:], 1<<30) }, true},
		{"65535 sections", func(b []byte) { le.PutUint16(b[60:], 65535) }, true},
		{"sections behind the end", func(b []byte) { le.PutUint64(b[40:], 1<<62) }, false},
		{"sections before the beginning", func(b []byte) { le.PutUint64(b[40:], 1<<63) }, false},
		{"no sections", func(b []byte) { le.PutUint64(b[40:], 0) }, false},
		{"names elsewhere", func(b []byte) { le.PutUint16(b[62:], 7) }, false},
		{"another class", func(b []byte) { b[4] = 1 }, false},
		{"big-endian", func(b []byte) { b[5] = 2 }, false},
	} {
		bad := bytes.Clone(good)
		test.damage(bad)
		for _, e := range []extract.Extractor{langpkg.GoBinary{}, langpkg.RustBinary{}} {
			found, err := e.Extract(context.Background(), input("bin/a", bad))
			if len(found.Packages) > 0 || test.errs && err == nil {
				t.Errorf("%s: %s: packages %v, error %v", e.Name(), test.name, lines(found), err)
			}
		}
	}
}

// TestNoProgram reads what is executable and no program: that is no failure.
func TestNoProgram(t *testing.T) {
	for name, content := range map[string][]byte{
		"script":  []byte("#!/bin/sh\n" + strings.Repeat("true\n", 1000)),
		"C":       program(t, section{".text", []byte("x")}),
		"cut off": program(t, section{".text", []byte("x")})[:100],
		"short":   []byte("\x7fELF"),
		"empty":   nil,
	} {
		for _, e := range []extract.Extractor{langpkg.GoBinary{}, langpkg.RustBinary{}} {
			if found, err := e.Extract(context.Background(), input("bin/a", content)); err != nil || len(found.Packages)+len(found.Cuts) > 0 {
				t.Errorf("%s: %s: %v, %+v", e.Name(), name, err, found)
			}
		}
	}
}

// section is one of a program.
type section struct {
	name    string
	content []byte
}

// program returns a program for Linux on amd64 that has these sections.
func program(t testing.TB, sections ...section) []byte {
	t.Helper()
	le := binary.LittleEndian
	names := []byte("\x00")
	type placed struct{ name, offset, size, kind int }
	var list []placed
	body := make([]byte, 64+64) // header, one program header, and what it lacks to 16 bytes
	for _, s := range append(sections, section{name: ".shstrtab"}) {
		p := placed{len(names), len(body), len(s.content), 1}
		names = append(append(names, s.name...), 0)
		if s.name == ".shstrtab" {
			s.content, p.size, p.kind = names, len(names), 3
		}
		body = append(body, s.content...)
		for len(body)%16 != 0 {
			body = append(body, 0)
		}
		list = append(list, p)
	}
	shoff := len(body)
	body = append(body, make([]byte, 64)...) // the section that is none
	for _, p := range list {
		h := make([]byte, 64)
		le.PutUint32(h, uint32(p.name))
		le.PutUint32(h[4:], uint32(p.kind))
		le.PutUint64(h[16:], uint64(0x400000+p.offset))
		le.PutUint64(h[24:], uint64(p.offset))
		le.PutUint64(h[32:], uint64(p.size))
		body = append(body, h...)
	}
	for len(body) < 2048 {
		body = append(body, 0)
	}
	copy(body, "\x7fELF\x02\x01\x01")
	le.PutUint16(body[16:], 2)  // executable
	le.PutUint16(body[18:], 62) // amd64
	le.PutUint32(body[20:], 1)
	le.PutUint64(body[32:], 64)
	le.PutUint64(body[40:], uint64(shoff))
	le.PutUint16(body[52:], 64)
	le.PutUint16(body[54:], 56)
	le.PutUint16(body[56:], 1)
	le.PutUint16(body[58:], 64)
	le.PutUint16(body[60:], uint16(len(list)+1))
	le.PutUint16(body[62:], uint16(len(list)))
	segment := body[64:]
	le.PutUint32(segment, 1) // loaded
	le.PutUint32(segment[4:], 6)
	le.PutUint64(segment[16:], 0x400000)
	le.PutUint64(segment[32:], uint64(shoff))
	le.PutUint64(segment[40:], uint64(shoff))
	return body
}

func FuzzGo(f *testing.F) { fuzz(f, "go/binary") }
