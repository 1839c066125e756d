package pull

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/extract"
	"github.com/tidewaiter/tidewaiter/internal/extract/extracttest"
	"github.com/tidewaiter/tidewaiter/internal/registry"
)

func oneLayer() []extracttest.Entry {
	return []extracttest.Entry{extracttest.File("a.list", "one 1\n")}
}

// change replaces the body of a file among entries.
func change(entries []extracttest.Entry, name string, f func(body string) string) []extracttest.Entry {
	entries = slices.Clone(entries)
	for i := range entries {
		if entries[i].Name == name {
			entries[i].Body = f(entries[i].Body)
		}
	}
	return entries
}

func without(entries []extracttest.Entry, name string) []extracttest.Entry {
	return slices.DeleteFunc(slices.Clone(entries), func(e extracttest.Entry) bool { return e.Name == name })
}

func replace(old, new string) func(string) string {
	return func(s string) string { return strings.Replace(s, old, new, 1) }
}

// TestBadDockerArchives has archives of docker save that are damaged or made up.
func TestBadDockerArchives(t *testing.T) {
	image := newImage(t, "linux/amd64", oneLayer())
	good := dockerFiles(t, []string{"app:v1"}, image, oneLayer())
	_, config, _ := content(t, image)
	configFile, layerFile := sum(config).Hex+".json", ""
	for _, e := range good {
		if strings.HasSuffix(e.Name, "layer.tar") {
			layerFile = e.Name
		}
	}
	manifest := func(f func(string) string) []extracttest.Entry { return change(good, "manifest.json", f) }
	all := func(s string) func(string) string { return func(string) string { return s } }
	for name, c := range map[string]struct {
		entries []extracttest.Entry
		kind    tidewaiter.Kind
		says    string
	}{
		"no list":             {manifest(all(`{"Config":"x"}`)), tidewaiter.Invalid, "no list of images"},
		"no JSON":             {manifest(all(`[{`)), tidewaiter.Invalid, "no list of images"},
		"more after it":       {manifest(func(s string) string { return s + "[]" }), tidewaiter.Invalid, "no list of images"},
		"no images":           {manifest(all(`[]`)), tidewaiter.Invalid, "lists no image"},
		"no config":           {manifest(all(`[{"Layers":[]}]`)), tidewaiter.Invalid, "no list of images"},
		"odd types":           {manifest(all(`[{"Config":"x","Layers":"y"}]`)), tidewaiter.Invalid, "no list of images"},
		"many images":         {manifest(all("[" + strings.Repeat(`{"Config":"x"},`, 100_000) + `{"Config":"x"}]`)), tidewaiter.TooLarge, "more than 1000 images"},
		"many layers":         {manifest(all(`[{"Config":"x","Layers":["y"` + strings.Repeat(`,"y"`, 5000) + `]}]`)), tidewaiter.TooLarge, "1000 layers"},
		"large":               {manifest(func(s string) string { return s + strings.Repeat(" ", maxControl) }), tidewaiter.TooLarge, "more than 4194304 bytes"},
		"two lists":           {append(slices.Clone(good), extracttest.File("manifest.json", "[]")), tidewaiter.Invalid, "several files manifest.json"},
		"two lists, one of .": {append(slices.Clone(good), extracttest.File("./manifest.json", "[]")), tidewaiter.Invalid, "several files manifest.json"},
		"config missing":      {without(good, configFile), tidewaiter.NotFound, "no file " + configFile},
		"layer missing":       {without(good, layerFile), tidewaiter.NotFound, "no file " + layerFile},
		"config outside":      {manifest(replace(configFile, "../../etc/passwd")), tidewaiter.Invalid, "outside of the archive"},
		"layer outside":       {manifest(replace(layerFile, "../../etc/passwd")), tidewaiter.Invalid, "outside of the archive"},
		"layer absolute":      {manifest(replace(layerFile, "/etc/passwd")), tidewaiter.Invalid, "outside of the archive"},
		"link outside":        {append(without(good, layerFile), extracttest.Symlink(layerFile, "../../../etc/passwd")), tidewaiter.Invalid, "outside of the archive"},
		"link absolute":       {append(without(good, layerFile), extracttest.Symlink(layerFile, "/etc/passwd")), tidewaiter.Invalid, "outside of the archive"},
		"link to itself":      {append(without(good, layerFile), extracttest.Symlink(layerFile, "layer.tar")), tidewaiter.Invalid, "without end"},
		"link to nothing":     {append(without(good, layerFile), extracttest.Symlink(layerFile, "../nothing")), tidewaiter.NotFound, "no file"},
		"a device":            {append(without(good, layerFile), extracttest.Entry{Header: tar.Header{Typeflag: tar.TypeChar, Name: layerFile}}), tidewaiter.NotFound, "no file"},
		"wrong digest":        {change(good, configFile, func(s string) string { return s + " " }), tidewaiter.Invalid, "digest is wrong"},
		"other layers":        {manifest(replace(`"Layers":[`, `"Layers":["x",`)), tidewaiter.Invalid, "2 layers in its manifest and 1 in its config"},
		"control characters":  {manifest(replace(layerFile, `\u001b[31m\u202e`)), tidewaiter.NotFound, "no file ?[31m?"},
		"of an old docker":    {[]extracttest.Entry{extracttest.File("repositories", "{}")}, tidewaiter.Invalid, "docker before 1.10"},
		"something else":      {[]extracttest.Entry{extracttest.File("README", "")}, tidewaiter.Invalid, "neither index.json"},
		"list in a folder":    {[]extracttest.Entry{extracttest.File("x/manifest.json", "[]")}, tidewaiter.Invalid, "neither index.json"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := open(t, writeArchive(t, c.entries), Options{})
			if err == nil || tidewaiter.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v: %v", tidewaiter.KindOf(err), err)
			}
		})
	}
	hard := append(without(good, layerFile), extracttest.Link(layerFile, "other.tar"), extracttest.File("other.tar", string(extracttest.Tar(t, oneLayer()...))))
	if got := lists(t, writeArchive(t, hard), Options{}); len(got) != 1 {
		t.Errorf("a hard link: %q", got)
	}
	if got := lists(t, writeArchive(t, change(good, layerFile, replace("one", "two"))), Options{}); !slices.ContainsFunc(got, func(s string) bool { return strings.HasPrefix(s, "cut digest") }) {
		t.Errorf("a layer with other bytes: %q", got)
	}
}

// TestNoArchives has files that are no tar archives.
func TestNoArchives(t *testing.T) {
	good := extracttest.Tar(t, dockerFiles(t, nil, newImage(t, "linux/amd64", oneLayer()), oneLayer())...)
	var many bytes.Buffer
	w := tar.NewWriter(&many)
	for n := range 3 * maxNames / (1 << 20) {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: fmt.Sprintf("%d/%s", n, strings.Repeat("x", 1<<19))}); err != nil {
			t.Fatal(err)
		}
	}
	for says, b := range map[string][]byte{
		"neither index.json":        {},
		"damaged, or cut off":       []byte(strings.Repeat("no archive", 100)),
		"(gzip)":                    extracttest.Gzip(t, good),
		"(zstd)":                    extracttest.Zstd(t, good),
		"or damaged, or cut off":    good[:len(good)/2],
		"more than 200000 members,": many.Bytes(),
	} {
		_, err := open(t, writeBytes(t, b), Options{})
		if k := tidewaiter.KindOf(err); err == nil || k != tidewaiter.Invalid && k != tidewaiter.TooLarge || !strings.Contains(err.Error(), says) {
			t.Errorf("want %q: %v: %v", says, k, err)
		}
	}
}

// TestBadLayouts has OCI layouts that are damaged or made up.
func TestBadLayouts(t *testing.T) {
	image := newImage(t, "linux/amd64", oneLayer())
	manifest, config, layers := content(t, image)
	good := layoutFiles(t, nil, image)
	name := func(b []byte) string { return "blobs/sha256/" + sum(b).Hex }
	index := func(f func(string) string) []extracttest.Entry { return change(good, "index.json", f) }
	flip := func(s string) string { return strings.ToUpper(s[:1]) + "X" + s[2:] }
	for what, c := range map[string]struct {
		entries []extracttest.Entry
		kind    tidewaiter.Kind
		says    string
	}{
		"no JSON":            {index(func(string) string { return "[" }), tidewaiter.Invalid, "index.json cannot be used"},
		"no manifests":       {index(func(string) string { return `{"schemaVersion":2,"manifests":[]}` }), tidewaiter.Invalid, "lists no image"},
		"no such manifests":  {index(func(string) string { return `{"schemaVersion":2}` }), tidewaiter.Invalid, "lists no image"},
		"a wrong digest":     {index(replace("sha256:", "sha256:../")), tidewaiter.Invalid, "digest that is none"},
		"another digest":     {index(replace("sha256:", "md5:")), tidewaiter.Invalid, "digest that is none"},
		"size below zero":    {index(replace(`"size":`, `"size":-`)), tidewaiter.Invalid, "size below zero"},
		"another size":       {index(replace(`"size":`, `"size":1`)), tidewaiter.Invalid, "another size"},
		"huge manifest":      {index(replace(`"size":`, `"size":999999999`)), tidewaiter.TooLarge, "more than 4194304 bytes"},
		"a newer layout":     {change(good, "oci-layout", replace("1.0.0", "2.0.0")), tidewaiter.Invalid, "version of the layout"},
		"no layout":          {change(good, "oci-layout", func(string) string { return "x" }), tidewaiter.Invalid, "version of the layout"},
		"manifest missing":   {without(good, name(manifest)), tidewaiter.NotFound, "is not there"},
		"config missing":     {without(good, name(config)), tidewaiter.NotFound, "is not there"},
		"another manifest":   {change(good, name(manifest), flip), tidewaiter.Invalid, "digest is wrong"},
		"another config":     {change(good, name(config), flip), tidewaiter.Invalid, "digest is wrong"},
		"a signature":        {index(replace(tidewaiter.MediaTypeOCIManifest, "application/vnd.example")), tidewaiter.Invalid, "there is no image: it is an artifact of type application/vnd.example"},
		"an index of itself": {index(replace(tidewaiter.MediaTypeOCIManifest, tidewaiter.MediaTypeOCIIndex)), tidewaiter.Invalid, "names another media type"},
		"huge index":         {index(func(s string) string { return s + strings.Repeat(" ", maxControl) }), tidewaiter.TooLarge, "more than 4194304 bytes"},
		"long index":         {index(func(string) string { return `{"manifests":[` + strings.Repeat("{},", 500_000) + `{}]}` }), tidewaiter.Invalid, "index.json cannot be used"},
		"index in its place": {append(without(good, "index.json"), extracttest.Symlink("index.json", "../index.json")), tidewaiter.Invalid, ""},
		"two lists, two say": {append(slices.Clone(good), extracttest.File("manifest.json", `[{"Config":"oci-layout","Layers":[]}]`)), tidewaiter.Invalid, "name different images"},
	} {
		for _, form := range []string{"archive", "folder"} {
			t.Run(what+", "+form, func(t *testing.T) {
				target := ""
				if form == "folder" {
					target = writeFolder(t, c.entries)
				} else {
					target = writeArchive(t, c.entries)
				}
				_, err := open(t, target, Options{})
				if err == nil || tidewaiter.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.says) {
					t.Errorf("%v: %v", tidewaiter.KindOf(err), err)
				}
			})
		}
	}
	// What is wrong with a layer shows when it is read.
	for what, c := range map[string]struct {
		entries []extracttest.Entry
		kind    tidewaiter.Kind
	}{
		"layer missing": {without(good, name(layers[0])), tidewaiter.NotFound},
		"another layer": {change(good, name(layers[0]), func(s string) string { return s[:len(s)-1] + "x" }), tidewaiter.Invalid},
		"shorter layer": {change(good, name(layers[0]), func(s string) string { return s[:len(s)-1] }), tidewaiter.Invalid},
	} {
		s, err := open(t, writeArchive(t, c.entries), Options{})
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if _, err := s.Images[0].Facts(context.Background(), extract.Options{}); tidewaiter.KindOf(err) != c.kind {
			t.Errorf("%s: %v: %v", what, tidewaiter.KindOf(err), err)
		}
	}
}

// TestFolders has what only a folder can have.
func TestFolders(t *testing.T) {
	image := newImage(t, "linux/amd64", oneLayer())
	_, config, _ := content(t, image)
	blob := "blobs/sha256/" + sum(config).Hex
	for what, spoil := range map[string]func(dir string) error{
		"a link that leads out": func(dir string) error {
			outside := filepath.Join(t.TempDir(), "config")
			if err := os.WriteFile(outside, config, 0o600); err != nil {
				return err
			}
			return os.Symlink(outside, filepath.Join(dir, blob))
		},
		"a relative one": func(dir string) error {
			return os.Symlink("../../../../../../../etc/hostname", filepath.Join(dir, blob))
		},
		"a FIFO":   func(dir string) error { return syscall.Mkfifo(filepath.Join(dir, blob), 0o600) },
		"a folder": func(dir string) error { return os.Mkdir(filepath.Join(dir, blob), 0o700) },
	} {
		dir := writeFolder(t, layoutFiles(t, nil, image))
		if err := os.Remove(filepath.Join(dir, blob)); err != nil {
			t.Fatal(err)
		}
		if err := spoil(dir); err != nil {
			t.Fatal(err)
		}
		if _, err := open(t, dir, Options{}); tidewaiter.KindOf(err) != tidewaiter.Invalid {
			t.Errorf("%s: %v", what, err)
		}
	}
	// A link within is as good as the file.
	dir := writeFolder(t, layoutFiles(t, nil, image))
	if err := os.Rename(filepath.Join(dir, blob), filepath.Join(dir, "elsewhere")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../../elsewhere", filepath.Join(dir, blob)); err != nil {
		t.Fatal(err)
	}
	if got := lists(t, dir, Options{}); len(got) != 1 {
		t.Errorf("%q", got)
	}
	for what, target := range map[string]string{"a device": "/dev/null", "nothing": "./nothing", "nothing with a name of archives": "nothing.tar", "": ""} {
		if _, err := open(t, target, Options{}); tidewaiter.KindOf(err) != tidewaiter.Invalid || !strings.HasPrefix(err.Error(), "image: ") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestUnreadableImages has images that cannot be read, or not all of them.
func TestUnreadableImages(t *testing.T) {
	manifestOf := func(layer map[string]any, os string) []extracttest.Entry {
		plain := extracttest.Tar(t, oneLayer()...)
		config := []byte(fmt.Sprintf(`{"os":%q,"architecture":"amd64","rootfs":{"diff_ids":[%q]}}`, os, sum(plain)))
		desc := map[string]any{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": sum(plain).String(), "size": len(plain)}
		for k, v := range layer {
			desc[k] = v
		}
		manifest := []byte(toJSON(t, map[string]any{
			"schemaVersion": 2, "mediaType": tidewaiter.MediaTypeOCIManifest, "layers": []any{desc},
			"config": map[string]any{"mediaType": tidewaiter.MediaTypeOCIConfig, "digest": sum(config).String(), "size": len(config)},
		}))
		files := []extracttest.Entry{blob(config), blob(manifest), extracttest.File("index.json", toJSON(t, map[string]any{
			"schemaVersion": 2, "manifests": []any{map[string]any{"mediaType": tidewaiter.MediaTypeOCIManifest, "digest": sum(manifest).String(), "size": len(manifest)}},
		}))}
		if layer == nil || layer["kept"] == true {
			files = append(files, blob(plain))
		}
		return files
	}
	const foreign = "application/vnd.oci.image.layer.nondistributable.v1.tar"
	for what, c := range map[string]struct {
		entries []extracttest.Entry
		kind    registry.ArtifactKind
		problem bool
		want    string
	}{
		"plain":          {manifestOf(nil, "linux"), registry.KindImage, false, "one 1 in a.list"},
		"for Windows":    {manifestOf(nil, "windows"), registry.KindWindows, true, ""},
		"encrypted":      {manifestOf(map[string]any{"mediaType": "application/vnd.oci.image.layer.v1.tar+encrypted", "kept": true}, "linux"), registry.KindEncrypted, false, "cut encrypted_layer"},
		"foreign":        {manifestOf(map[string]any{"mediaType": foreign}, "linux"), registry.KindForeign, false, "cut foreign_layer"},
		"foreign, there": {manifestOf(map[string]any{"mediaType": foreign, "kept": true}, "linux"), registry.KindForeign, false, "one 1 in a.list"},
		"with URLs":      {manifestOf(map[string]any{"urls": []string{"https://203.0.113.1/x"}}, "linux"), registry.KindForeign, false, "cut foreign_layer"},
	} {
		s, err := open(t, writeArchive(t, c.entries), Options{})
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		i := &s.Images[0]
		if i.Kind != c.kind || (i.Problem() != "") != c.problem {
			t.Errorf("%s: %s, %q", what, i.Kind, i.Problem())
		}
		if c.problem {
			if _, err := i.Facts(context.Background(), extract.Options{}); tidewaiter.KindOf(err) != tidewaiter.Invalid {
				t.Errorf("%s: %v", what, err)
			}
		} else if got := found(t, i); len(got) != 1 || !strings.HasPrefix(got[0], c.want) {
			t.Errorf("%s: %q", what, got)
		}
	}
	windows := dockerFiles(t, nil, newImage(t, "windows/amd64", oneLayer()), oneLayer())
	if s, err := open(t, writeArchive(t, windows), Options{}); err != nil || s.Images[0].Problem() == "" {
		t.Errorf("windows: %v", err)
	}
}
