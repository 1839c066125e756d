package component

import (
	"archive/zip"
	"bytes"
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"pgregory.net/rapid"
)

func readZip(t *testing.T, d *download) map[string][]byte {
	t.Helper()
	r, err := zip.NewReader(d.zip, d.zip.size)
	check(t, err)
	files := map[string][]byte{}
	for _, f := range r.File {
		if f.Method != zip.Store || f.Flags != 0 || f.Mode() != 0o644 || !f.Modified.Equal(fakeBundle(t).modTime()) {
			t.Errorf("%s: method %d, flags %#x, mode %v, time %v", f.Name, f.Method, f.Flags, f.Mode(), f.Modified)
		}
		rc, err := f.Open()
		check(t, err)
		files[f.Name], err = io.ReadAll(rc) // checks the CRC
		check(t, err)
		check(t, rc.Close())
	}
	return files
}

func TestZip(t *testing.T) {
	b, key := fakeBundle(t), fakeKey(t)
	d, err := newDownload(b, key)
	check(t, err)
	files := readZip(t, d)

	var names []string
	for name := range files {
		if !strings.HasPrefix(name, "oci/blobs/") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	want := []string{
		"README.md", "SHA256SUMS", "SHA256SUMS.sig", "cosign.pub", "oci/index.json", "oci/oci-layout",
		"scan-component-amd64.tar", "scan-component-arm64.tar",
	}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}

	var sums strings.Builder
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if strings.HasPrefix(name, "SHA256SUMS") {
			continue
		}
		fmt.Fprintf(&sums, "%x  %s\n", sha256.Sum256(files[name]), name)
	}
	if diff := cmp.Diff(sums.String(), string(files["SHA256SUMS"])); diff != "" {
		t.Errorf("SHA256SUMS (-want +got):\n%s", diff)
	}
	signature, err := base64.StdEncoding.DecodeString(string(files["SHA256SUMS.sig"]))
	check(t, err)
	digest := sha256.Sum256(files["SHA256SUMS"])
	if !ecdsa.VerifyASN1(&key.private.PublicKey, digest[:], signature) {
		t.Error("SHA256SUMS.sig does not verify")
	}
	public, err := key.PublicPEM()
	check(t, err)
	readme := string(files["README.md"])
	for _, text := range []string{
		strings.TrimSpace(string(public)), b.IndexDigest().String(), b.platforms[1].Manifest.String(), b.platforms[1].Config.String(),
		"docker load -i scan-component-amd64.tar", "scan-component-arm64.tar", "cosign verify-blob", "sha256sum -c",
	} {
		if !strings.Contains(readme, text) {
			t.Errorf("README.md does not say %q", text)
		}
	}

	dir := t.TempDir()
	for name, content := range files {
		if rest, ok := strings.CutPrefix(name, "oci/"); ok {
			path := filepath.Join(dir, rest)
			check(t, os.MkdirAll(filepath.Dir(path), 0o700))
			check(t, os.WriteFile(path, content, 0o600))
		}
	}
	index, err := layout.ImageIndexFromPath(dir)
	check(t, err)
	check(t, validate.Index(index))
	inner, err := index.ImageIndex(b.IndexDigest())
	check(t, err)
	check(t, validate.Index(inner))
}

func TestOpenSSLVerifies(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("there is no openssl here")
	}
	key := fakeKey(t)
	d, err := newDownload(fakeBundle(t), key)
	check(t, err)
	public, err := key.PublicPEM()
	check(t, err)
	signature, err := base64.StdEncoding.DecodeString(string(d.sumsSig))
	check(t, err)
	dir := t.TempDir()
	verify := func(sums []byte) error {
		for name, content := range map[string][]byte{"cosign.pub": public, "sums": sums, "sums.der": signature} {
			check(t, os.WriteFile(filepath.Join(dir, name), content, 0o600))
		}
		cmd := exec.Command(openssl, "dgst", "-sha256", "-verify", "cosign.pub", "-signature", "sums.der", "sums")
		cmd.Dir = dir
		return cmd.Run()
	}
	check(t, verify(d.sums))
	if verify(append(d.sums, '\n')) == nil {
		t.Error("openssl accepts a changed SHA256SUMS")
	}
}

// Two servers with one key serve the same bytes.
func TestZipDeterministic(t *testing.T) {
	first, err := newDownload(fakeBundle(t), fakeKey(t))
	check(t, err)
	second, err := newDownload(fakeBundle(t), fakeKey(t))
	check(t, err)
	x, err := io.ReadAll(first.zip.reader())
	check(t, err)
	y, err := io.ReadAll(second.zip.reader())
	check(t, err)
	if !bytes.Equal(x, y) {
		t.Error("the same bundle and key give two different zips")
	}
	if got := fmt.Sprintf("%x", sha256.Sum256(x)); got != first.zipDigest.Hex {
		t.Errorf("the zip has the digest %s, and says %s", got, first.zipDigest.Hex)
	}
	other, err := NewSigningKey()
	check(t, err)
	third, err := newDownload(fakeBundle(t), other)
	check(t, err)
	if third.zipDigest == first.zipDigest {
		t.Error("another key gives the same zip")
	}
}

// The product as it is shipped, if this checkout has it: the limit on its size.
func TestZipSize(t *testing.T) {
	b, err := Embedded()
	if err != nil {
		t.Skip(err)
	}
	d, err := newDownload(b, fakeKey(t))
	check(t, err)
	const limit = 40 << 20
	if d.zip.size > limit {
		t.Errorf("the zip has %d bytes, the limit is %d", d.zip.size, limit)
	}
	t.Logf("the zip has %d bytes", d.zip.size)
}

// A splice reads as the bytes that it stands for, from wherever and in
// whatever portions it is read.
func TestSplice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newSplicer()
		var want []byte
		for i, n := range rapid.SliceOfN(rapid.IntRange(0, 40), 0, 8).Draw(t, "parts") {
			content := bytes.Repeat([]byte{byte('a' + i)}, n)
			want = append(want, content...)
			if rapid.Bool().Draw(t, "by reference") {
				if err := w.insert(w, newMemoryBlob("", content).content); err != nil {
					t.Fatal(err)
				}
			} else if _, err := w.Write(content); err != nil {
				t.Fatal(err)
			}
		}
		s, digest := w.finish()
		if got := fmt.Sprintf("%x", sha256.Sum256(want)); got != digest.Hex {
			t.Fatalf("digest %s, want %s", digest.Hex, got)
		}
		if err := iotest.TestReader(s.reader(), want); err != nil {
			t.Fatal(err)
		}
	})
}
