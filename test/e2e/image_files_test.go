//go:build linux

package e2e

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/overlay"
)

// ofDocker is what docker puts into a container by itself.
var ofDocker = regexp.MustCompile(`^(dev|proc|sys)(/|$)|^(\.dockerenv|etc/(hosts|hostname|resolv\.conf|mtab))$`)

// TestFilesAsDockerSeesThem compares what we say is in an image with what
// docker, which pulls the same layers, puts into a container of it: each file,
// its kind, permissions, owner, content and target. And the packages that dpkg
// lists when it runs in such a container.
func TestFilesAsDockerSeesThem(t *testing.T) {
	d := startDockerd(t)
	r := startRegistry(t, registryOptions{User: "alice", Password: "pa ss"})
	config := t.TempDir()
	d.docker(t, config, "pa ss", "login", "-u", "alice", "--password-stdin", r.Addr)
	for _, name := range []string{"debian", "layers"} {
		t.Run(name, func(t *testing.T) {
			r.Push(t, "docker/"+name, "1", newRealImage(t, name))
			ref := r.Addr + "/docker/" + name + ":1"
			d.docker(t, config, "", "pull", "--quiet", ref)
			theirs := exported(t, d, config, ref)
			view := viewOf(t, r, "docker/"+name, "1")
			ours := make(map[string]string)
			for _, f := range view.Files {
				if !ofDocker.MatchString(f.Path) {
					ours[f.Path] = describe(f)
				}
			}
			for _, path := range slices.Sorted(maps.Keys(theirs)) {
				if ours[path] != theirs[path] {
					t.Errorf("%s: docker has %s, we %s", path, theirs[path], ours[path])
				}
			}
			for _, path := range slices.Sorted(maps.Keys(ours)) {
				if theirs[path] == "" {
					t.Errorf("%s: docker has nothing, we %s", path, ours[path])
				}
			}
			listed := make(map[string]bool)
			for _, p := range view.Packages {
				listed[p.Name+" "+p.Version] = p.Type == "deb" || listed[p.Name+" "+p.Version]
			}
			said := d.docker(t, config, "", "run", "--rm", "--network", "host", ref, "dpkg-query", "-W", "-f", "${db:Status-Abbrev} ${Package} ${Version}\n")
			for line := range strings.Lines(said) {
				if state, p, _ := strings.Cut(strings.TrimSpace(line), " "); state == "ii" && !listed[strings.TrimSpace(p)] {
					t.Errorf("dpkg in the container lists %q, and we do not", p)
				}
			}
		})
	}
}

func describe(f overlay.File) string {
	kind, rest := f.Type, ""
	switch f.Type {
	case tidewaiter.RegularFile, tidewaiter.HardLink:
		kind, rest = tidewaiter.RegularFile, string(f.SHA256)
	case tidewaiter.SymbolicLink:
		return fmt.Sprintf("%s %d:%d %s", kind, f.UID, f.GID, f.Link)
	}
	return fmt.Sprintf("%s %s %d:%d %s", kind, f.Mode, f.UID, f.GID, rest)
}

// exported describes the files of a container of an image in the same way.
func exported(t *testing.T, d *dockerd, config, ref string) map[string]string {
	t.Helper()
	container := strings.TrimSpace(d.docker(t, config, "", "create", "--network", "host", ref, "true"))
	export := command(d.env(config), docker, "export", container)
	out, err := export.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := export.Start(); err != nil {
		t.Fatal(err)
	}
	files := make(map[string]string)
	for archive := tar.NewReader(out); ; {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		path := strings.TrimSuffix(strings.TrimPrefix(h.Name, "./"), "/")
		if path == "" || ofDocker.MatchString(path) {
			continue
		}
		f := overlay.File{File: tidewaiter.File{UID: h.Uid, GID: h.Gid, Link: h.Linkname, Mode: h.FileInfo().Mode() &^ fs.ModeType}}
		switch h.Typeflag {
		case tar.TypeReg:
			sum := sha256.New()
			if _, err := io.Copy(sum, archive); err != nil {
				t.Fatal(err)
			}
			f.Type, f.SHA256 = tidewaiter.RegularFile, tidewaiter.Digest("sha256:"+hex.EncodeToString(sum.Sum(nil)))
		case tar.TypeLink:
			files[path] = files[strings.TrimPrefix(h.Linkname, "./")]
			continue
		case tar.TypeSymlink:
			f.Type = tidewaiter.SymbolicLink
		case tar.TypeDir:
			f.Type = tidewaiter.Folder
		default:
			f.Type = tidewaiter.SpecialFile
		}
		files[path] = describe(f)
	}
	if err := export.Wait(); err != nil {
		t.Fatal(err)
	}
	d.docker(t, config, "", "rm", container)
	return files
}
