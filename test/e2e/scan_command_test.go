//go:build linux

package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// TestScanCommand has docker, podman and skopeo write one image in every form
// that they know, and wants `tidewaiter scan` to find the same in each: the
// packages that are within its program.
func TestScanCommand(t *testing.T) {
	program, d := tidewaiterProgram(t), startDockerd(t)
	r := startRegistry(t, registryOptions{User: "alice", Password: "pa ss"})
	p := newPodman(t, r.Addr)
	dir, config := t.TempDir(), t.TempDir()
	in := func(file string) string { return filepath.Join(dir, file) }
	image := r.Addr + "/team/hello:v1"
	ref, err := name.NewTag(image)
	if err != nil {
		t.Fatal(err)
	}
	if err := tarball.WriteToFile(in("made.tar"), ref, helloImage(t)); err != nil {
		t.Fatal(err)
	}
	d.docker(t, config, "", "load", "-i", in("made.tar"))
	d.docker(t, config, "", "tag", image, "hello:latest")
	d.docker(t, config, "pa ss", "login", "-u", "alice", "--password-stdin", r.Addr)
	d.docker(t, config, "", "push", image)
	d.docker(t, config, "", "save", "-o", in("docker.tar"), image)
	d.docker(t, config, "", "save", "-o", in("docker-two-names.tar"), image, "hello:latest")
	output(t, command(p.Env, "/usr/bin/podman", "load", "-i", in("made.tar")), "")
	for _, format := range []string{"docker-archive", "oci-archive", "oci-dir"} {
		output(t, command(p.Env, "/usr/bin/podman", "save", "--format", format, "-o", in("podman-"+format), image), "")
	}
	for _, to := range []string{"docker-archive:skopeo-docker.tar:hello:v1", "oci:skopeo-oci:v1", "oci-archive:skopeo-oci.tar"} {
		kind, file, _ := strings.Cut(to, ":")
		output(t, command(p.Env, "/usr/bin/skopeo", "copy", "docker-archive:"+in("made.tar"), kind+":"+in(file)), "")
	}

	type pkg struct {
		Name, Version, PURL, Path string
		Layer                     int
	}
	type report struct {
		SourceKind string `json:"source_kind"`
		Status     string
		Images     []struct{ Packages []pkg }
	}
	scan := func(args ...string) report {
		t.Helper()
		home := t.TempDir()
		env := []string{"HOME=" + home, "DOCKER_CONFIG=" + config}
		if err := os.MkdirAll(filepath.Join(home, ".docker"), 0o700); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(config, "config.json"))
		if err == nil {
			err = os.WriteFile(filepath.Join(home, ".docker", "config.json"), b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		var got report
		text := output(t, command(env, program, append([]string{"scan", "--packages-only", "-o", "json"}, args...)...), "")
		if err := json.Unmarshal([]byte(text), &got); err != nil {
			t.Fatalf("%q: %v", args, err)
		}
		return got
	}
	want := scan(image, "--plain-http")
	if want.SourceKind != "registry" || want.Status != "complete" || len(want.Images) != 1 ||
		!slices.ContainsFunc(want.Images[0].Packages, func(p pkg) bool { return p.Name == "stdlib" && p.Path == "hello" }) {
		t.Fatalf("the registry's image: %+v", want)
	}
	for file, kind := range map[string]string{
		"made.tar": "docker-archive", "docker.tar": "", "docker-two-names.tar": "",
		"podman-docker-archive": "docker-archive", "podman-oci-archive": "oci-layout", "podman-oci-dir": "oci-layout",
		"skopeo-docker.tar": "docker-archive", "skopeo-oci": "oci-layout", "skopeo-oci.tar": "oci-layout",
	} {
		got := scan(in(file))
		if kind != "" && got.SourceKind != kind {
			t.Errorf("%s is read as %s", file, got.SourceKind)
		}
		got.SourceKind = want.SourceKind
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-registry +it):\n%s", file, diff)
		}
	}
}
