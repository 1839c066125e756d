//go:build linux

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// awkward is a user and a password with everything that a shell might touch.
// Debian's htpasswd form has no colon in a name, and bcrypt takes 72 bytes.
const awkwardUser, awkwardPassword = `robot$ci+"x" 'y'`, `it's "a" $HOME \n !! %s #1 ~ ü` + "`id`"

// The whole way of a user, in each shell: ask, download, run the command as it
// stands, and find the announced digest in the registry.
func TestUploadCommandWithDocker(t *testing.T) {
	d := startDockerd(t)
	s := startTidewaiter(t)
	r := startRegistry(t, registryOptions{User: awkwardUser, Password: awkwardPassword})
	digests := announced(t)
	token := s.token(t)

	for _, sh := range shells() {
		t.Run(sh, func(t *testing.T) {
			to := target{r.Addr, "team/" + strings.ReplaceAll(sh, " -", "-"), awkwardUser, awkwardPassword}
			asked := s.askSDK(t, to)
			if curled := s.askCurl(t, token, to); curled != asked {
				t.Fatalf("curl and SDK got different answers:\n%+v\n%+v", curled, asked)
			}
			dir := s.download(t, asked.ImagesDownloadURL)
			config := t.TempDir()
			env := d.env(config)

			written, status := shell(t, sh, asked.ImageCommand, env, dir)
			if status != 0 {
				t.Fatalf("status %d:\n%s", status, written)
			}
			repository := to.namespace + "/scan-component"
			if got, want := r.Digest(t, repository, "0.1.0"), digests["linux/amd64 manifest"]; got != want {
				t.Errorf("the registry has digest %s, announced was %s", got, want)
			}

			written, status = shell(t, sh, asked.SwrImagePullCommand, env, dir)
			if status != 0 || !strings.Contains(written, digests["index"]) {
				t.Errorf("%s: status %d:\n%s", asked.SwrImagePullCommand, status, written)
			}
			out := d.docker(t, config, "", "run", "--rm", "--network", "host", "--read-only", "--cap-drop", "ALL",
				r.Addr+"/"+repository+":0.1.0", "selfcheck")
			for _, want := range []string{"linux/amd64", "0.1.0", "65532"} {
				if !strings.Contains(out, want) {
					t.Errorf("selfcheck does not print %q:\n%s", want, out)
				}
			}
		})
	}
}

// A wrong password stops the command at the login: nothing is pushed.
func TestUploadCommandStopsAtTheLogin(t *testing.T) {
	d := startDockerd(t)
	s := startTidewaiter(t)
	r := startRegistry(t, registryOptions{User: "alice", Password: "right"})
	asked := s.askSDK(t, target{r.Addr, "team", "alice", "wrong"})
	dir := s.download(t, asked.ImagesDownloadURL)
	written, status := shell(t, "dash", asked.ImageCommand, d.env(t.TempDir()), dir)
	if status == 0 {
		t.Errorf("status 0:\n%s", written)
	}
	if tags := r.Tags(t, "team/scan-component"); tags != nil {
		t.Errorf("something was pushed: %v", tags)
	}
}

// Podman speaks docker's language, but compresses anew on push: the digest in
// the registry is another, the configuration (the image's id) the same.
func TestUploadCommandWithPodman(t *testing.T) {
	s := startTidewaiter(t)
	r := startRegistry(t, registryOptions{User: awkwardUser, Password: awkwardPassword})
	p := newPodman(t, r.Addr, strings.TrimPrefix(s.URL, "http://"))
	digests := announced(t)
	asked := s.askSDK(t, target{r.Addr, "team", awkwardUser, awkwardPassword})
	dir := s.download(t, asked.ImagesDownloadURL)

	bin := t.TempDir() // "docker" as the package podman-docker has it
	if err := os.WriteFile(filepath.Join(bin, "docker"), []byte("#!/bin/sh\nexec /usr/bin/podman \"$@\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	env := append(p.Env, "PATH="+bin+":/usr/sbin:/usr/bin:/sbin:/bin")
	written, status := shell(t, "dash", asked.ImageCommand, env, dir)
	if status != 0 {
		t.Fatalf("status %d:\n%s", status, written)
	}
	if tags := r.Tags(t, "team/scan-component"); len(tags) != 1 || tags[0] != "0.1.0" {
		t.Errorf("tags are %v", tags)
	}
	image := r.Addr + "/team/scan-component:0.1.0"
	if id := p.podman(t, "", "image", "inspect", "--format", "{{.Id}}", image); "sha256:"+strings.TrimSpace(id) != digests["linux/amd64 config"] {
		t.Errorf("the image's id is %s, announced was %s", id, digests["linux/amd64 config"])
	}
	written, status = shell(t, "dash", asked.SwrImagePullCommand, env, dir)
	if status != 0 {
		t.Errorf("%s: status %d:\n%s", asked.SwrImagePullCommand, status, written)
	}
	if out := p.podman(t, "", "run", "--rm", image, "selfcheck"); !strings.Contains(out, "linux/amd64") {
		t.Errorf("selfcheck prints:\n%s", out)
	}
}

// Skopeo copies from the archive, the layout and the server's own registry, and
// keeps the digests.
func TestSkopeoKeepsTheDigests(t *testing.T) {
	s := startTidewaiter(t)
	r := startRegistry(t, registryOptions{User: "alice", Password: "pa ss"})
	host := strings.TrimPrefix(s.URL, "http://")
	p := newPodman(t, r.Addr, host)
	digests := announced(t)
	dir := s.download(t, s.askSDK(t, target{r.Addr, "team", "alice", "pa ss"}).ImagesDownloadURL)
	p.skopeo(t, "pa ss", "login", "-u", "alice", "--password-stdin", r.Addr)

	to := "docker://" + r.Addr + "/skopeo/"
	p.skopeo(t, "", "copy", "--preserve-digests", "oci-archive:"+dir+"/scan-component-arm64.tar", to+"archive:v")
	p.skopeo(t, "", "copy", "--preserve-digests", "--all", "oci:"+dir+"/oci", to+"layout:v")
	p.skopeo(t, "", "copy", "--preserve-digests", "--all", "docker://"+host+"/tidewaiter/scan-component@"+digests["index"], to+"served:v")
	for repository, want := range map[string]string{
		"skopeo/archive": digests["linux/arm64 manifest"],
		"skopeo/layout":  digests["index"],
		"skopeo/served":  digests["index"],
	} {
		if got := r.Digest(t, repository, "v"); got != want {
			t.Errorf("%s has digest %s, want %s", repository, got, want)
		}
	}
}

// Who has no docker pushes with tidewaiter: both platforms, one index.
func TestComponentPush(t *testing.T) {
	s := startTidewaiter(t)
	digests := announced(t)
	for name, o := range map[string]registryOptions{
		"http":  {User: awkwardUser, Password: awkwardPassword},
		"https": {User: "alice", Password: "pa ss", TLS: true},
	} {
		t.Run(name, func(t *testing.T) {
			r := startRegistry(t, o)
			args := []string{"component", "push", "--registry", r.URL(), "--namespace", "deep/er",
				"--username", o.User, "--password-stdin", "--data", s.Data}
			if o.TLS {
				if err := command(nil, tidewaiterProgram(t), args...).Run(); err == nil {
					t.Error("pushed to a registry whose CA it does not know")
				}
				args = append(args, "--ca", r.CAFile)
			}
			out := output(t, command(nil, tidewaiterProgram(t), args...), o.Password+"\n")
			if !strings.Contains(out, r.Addr+"/deep/er/scan-component@"+digests["index"]) {
				t.Errorf("it says:\n%s", out)
			}
			for reference, want := range map[string]string{
				"0.1.0": digests["index"], "0.1.0-amd64": digests["linux/amd64 manifest"], "0.1.0-arm64": digests["linux/arm64 manifest"],
			} {
				if got := r.Digest(t, "deep/er/scan-component", reference); got != want {
					t.Errorf("%s has digest %s, want %s", reference, got, want)
				}
			}
			signature := strings.Replace(digests["index"], ":", "-", 1) + ".sig"
			if r.Digest(t, "deep/er/scan-component", signature) == "" {
				t.Errorf("there is no signature %s", signature)
			}
			wrong := command(nil, tidewaiterProgram(t), args...)
			wrong.Stdin = strings.NewReader("s3cr3t-wrong\n")
			said, err := wrong.CombinedOutput()
			if err == nil || strings.Contains(string(said), "s3cr3t-wrong") {
				t.Errorf("with a wrong password: %v, %s", err, said)
			}
		})
	}
}
