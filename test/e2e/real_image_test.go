//go:build linux

package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/rogpeppe/go-internal/txtar"
)

// Images with real content: the package managers of distributions and
// languages made them, here, as the recipes in testdata/images say. Each script
// layer.N.sh of a recipe becomes a layer: what it changed in the root
// filesystem. Then the lines of its file tools are asked what is installed
// (testdata/images/tools.sh), in that root filesystem: tool_test.go reads what
// they say.
//
// An image is made once and kept in a folder of this machine's cache, under the
// hash of its recipe and of those beneath it.

// A realImage is one of them.
type realImage struct {
	v1.Image
	Name  string
	Tools []toolAnswer
	hash  string // of all that it is made of
}

// A toolAnswer is what a package manager says is in the image.
type toolAnswer struct {
	Tool   string // the line of the recipe
	Answer string
}

// recipeFolder is where the recipes are.
const recipeFolder = "testdata/images"

// recipeTime is how long one script of a recipe may take.
const recipeTime = 10 * time.Minute

// newRealImage returns the image of a recipe, made if it is not yet there.
func newRealImage(t testing.TB, name string) *realImage {
	t.Helper()
	need(t, "/usr/bin/mmdebstrap", "/usr/bin/rpmbuild", "/usr/bin/db5.3_load", "/usr/bin/npm", "/usr/bin/zip", "/usr/bin/unzip", "/usr/bin/unshare")
	image, err := theKitchen.image(name)
	if err != nil {
		t.Fatalf("make the image %s: %v", name, err)
	}
	return image
}

// A kitchen makes images, two at a time: each once for all tests.
type kitchen struct {
	busy chan struct{}
	mu   sync.Mutex
	made map[string]func() (*realImage, error)
}

var theKitchen = kitchen{busy: make(chan struct{}, 2), made: make(map[string]func() (*realImage, error))}

func (k *kitchen) image(name string) (*realImage, error) {
	k.mu.Lock()
	once := k.made[name]
	if once == nil {
		once = sync.OnceValues(func() (*realImage, error) { return k.prepare(name) })
		k.made[name] = once
	}
	k.mu.Unlock()
	return once()
}

// prepare takes an image out of the cache, or makes it.
func (k *kitchen) prepare(name string) (*realImage, error) {
	r, err := readRecipe(name)
	if err != nil {
		return nil, err
	}
	image := &realImage{Name: name, Image: empty.Image}
	if r.from != "" {
		below, err := k.image(r.from)
		if err != nil {
			return nil, fmt.Errorf("make the image %s beneath it: %w", r.from, err)
		}
		image.Image, image.hash = below.Image, below.hash
	}
	image.hash = r.over(image.hash)
	k.busy <- struct{}{}
	defer func() { <-k.busy }()

	cache, err := imageCache()
	if err != nil {
		return nil, err
	}
	unlock, err := lockFile(filepath.Join(cache, name+".lock"))
	if err != nil {
		return nil, err
	}
	defer unlock()
	kept := filepath.Join(cache, name+"-"+image.hash)
	if _, err := os.Stat(kept); errors.Is(err, fs.ErrNotExist) {
		old, _ := filepath.Glob(filepath.Join(cache, name+"-"+strings.Repeat("[0-9a-f]", len(image.hash))))
		for _, folder := range old {
			_ = os.RemoveAll(folder)
		}
		if err := r.cook(image.Image, filepath.Join(cache, name+".making"), kept); err != nil {
			return nil, err
		}
	}
	return image, image.read(r, kept)
}

// imageCache is where images are kept: TIDEWAITER_E2E_CACHE, or the user's.
func imageCache() (string, error) {
	dir := os.Getenv("TIDEWAITER_E2E_CACHE")
	if dir == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return "", err
		}
		dir = filepath.Join(cache, "tidewaiter-e2e", "images")
	}
	return dir, os.MkdirAll(dir, 0o755)
}

// lockFile waits until no other process holds the lock, which the kernel takes
// from those that died.
func lockFile(file string) (unlock func(), err error) {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() { _ = f.Close() }, nil
}

// A recipe is a file of testdata/images: what it is for, the recipe beneath
// ("from:"), and what of an image is not as usual ("architecture:",
// "compression:"); then the scripts, the tools, and files for the scripts.
type recipe struct {
	name         string
	from         string
	architecture string
	compression  string
	scripts      []txtar.File
	tools        []string
	files        []txtar.File
	hash         []byte
}

func readRecipe(name string) (recipe, error) {
	r := recipe{name: name, architecture: "amd64", compression: "gzip"}
	text, err := os.ReadFile(filepath.Join(recipeFolder, name+".txtar"))
	if err != nil {
		return recipe{}, err
	}
	hash := sha256.New()
	hash.Write(text)
	for _, shared := range []string{"functions.sh", "tools.sh"} {
		script, err := os.ReadFile(filepath.Join(recipeFolder, shared))
		if err != nil {
			return recipe{}, err
		}
		hash.Write(script)
	}
	r.hash = hash.Sum(nil)
	archive := txtar.Parse(text)
	for line := range strings.Lines(string(archive.Comment)) {
		field, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		switch field {
		case "from":
			r.from = value
		case "architecture":
			r.architecture = value
		case "compression":
			r.compression = value
		}
	}
	for _, f := range archive.Files {
		switch {
		case strings.HasPrefix(f.Name, "layer."):
			r.scripts = append(r.scripts, f)
		case f.Name == "tools":
			for line := range strings.Lines(string(f.Data)) {
				if line = strings.TrimSpace(line); line != "" {
					r.tools = append(r.tools, line)
				}
			}
		default:
			r.files = append(r.files, f)
		}
	}
	return r, nil
}

// over is the hash of the image over another.
func (r recipe) over(below string) string {
	const format = 1 // of what is kept
	hash := sha256.New()
	hash.Write(fmt.Appendln(nil, format, below))
	hash.Write(r.hash)
	return hex.EncodeToString(hash.Sum(nil))[:16]
}

// cook runs the scripts of a recipe over an image, in a folder of its own, and
// keeps the layers and the tools' answers.
func (r recipe) cook(below v1.Image, folder, kept string) error {
	started := time.Now()
	if err := os.RemoveAll(folder); err != nil { // of a run that was killed
		return err
	}
	defer os.RemoveAll(folder)
	root, result := filepath.Join(folder, "root"), filepath.Join(folder, "result")
	for _, dir := range []string{root, result, filepath.Join(folder, "work"), filepath.Join(folder, "files")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	if err := unpackImage(below, root); err != nil {
		return err
	}
	for _, f := range r.files {
		file := filepath.Join(folder, "files", f.Name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(file, f.Data, 0o644); err != nil {
			return err
		}
	}
	var notes []layerNote
	for i, script := range r.scripts {
		before, err := takeSnapshot(root)
		if err != nil {
			return err
		}
		if _, err := runRecipe(folder, string(script.Data)); err != nil {
			return fmt.Errorf("%s: %w", script.Name, err)
		}
		note, err := writeLayer(root, before, filepath.Join(result, "layer."+strconv.Itoa(i)), r.compression)
		if err != nil {
			return fmt.Errorf("layer of %s: %w", script.Name, err)
		}
		notes = append(notes, note)
	}
	for i, tool := range r.tools {
		answer, err := runRecipe(folder, "tool_"+tool)
		if err != nil {
			return fmt.Errorf("ask %s: %w", tool, err)
		}
		if err := os.WriteFile(filepath.Join(result, fmt.Sprintf("tool.%d", i)), []byte(answer), 0o644); err != nil {
			return err
		}
	}
	list, err := json.Marshal(notes)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(result, "layers.json"), list, 0o644); err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "e2e: made the image %s in %s\n", r.name, time.Since(started).Round(time.Second))
	return os.Rename(result, kept)
}

// runRecipe runs a script with the functions of the recipes, and returns what
// it wrote to standard output.
func runRecipe(folder, script string) (string, error) {
	functions, err := filepath.Abs(recipeFolder)
	if err != nil {
		return "", err
	}
	path := debianPath
	if gotool, err := exec.LookPath("go"); err == nil {
		path += ":" + filepath.Dir(gotool)
	}
	cmd := command([]string{
		path, "ROOT=" + filepath.Join(folder, "root"), "FILES=" + filepath.Join(folder, "files"), "WORK=" + filepath.Join(folder, "work"),
		"HOME=" + os.Getenv("HOME"), "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=-buildvcs=false", "GOTOOLCHAIN=local",
	}, "/bin/bash", "-c", ". "+functions+"/functions.sh\n. "+functions+"/tools.sh\n"+script)
	cmd.Dir = filepath.Join(folder, "work")
	p, err := launch(cmd)
	if err != nil {
		return "", err
	}
	select {
	case <-p.exited:
	case <-time.After(recipeTime):
		return "", fmt.Errorf("took longer than %s: %w", recipeTime, p.stop(syscall.SIGKILL))
	}
	if p.err != nil {
		said := p.stdout.String() + p.stderr.String()
		return "", fmt.Errorf("%w:\n%s", p.err, said[max(0, len(said)-8000):])
	}
	return p.stdout.String(), nil
}

// read puts the image together out of what is kept.
func (image *realImage) read(r recipe, kept string) error {
	text, err := os.ReadFile(filepath.Join(kept, "layers.json"))
	if err != nil {
		return err
	}
	var notes []layerNote
	if err := json.Unmarshal(text, &notes); err != nil {
		return err
	}
	if r.compression != "gzip" { // docker's manifests know no other
		image.Image = mutate.ConfigMediaType(mutate.MediaType(image.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	}
	for i, note := range notes {
		image.Image, err = mutate.Append(image.Image, mutate.Addendum{
			Layer:   fileLayer{layerNote: note, file: filepath.Join(kept, "layer."+strconv.Itoa(i))},
			History: v1.History{CreatedBy: r.name + " " + r.scripts[i].Name, Created: v1.Time{Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}},
		})
		if err != nil {
			return err
		}
	}
	config, err := image.ConfigFile()
	if err != nil {
		return err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", r.architecture
	config.Created = v1.Time{Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	config.Config.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	if image.Image, err = mutate.ConfigFile(image.Image, config); err != nil {
		return err
	}
	for i, tool := range r.tools {
		answer, err := os.ReadFile(filepath.Join(kept, fmt.Sprintf("tool.%d", i)))
		if err != nil {
			return err
		}
		image.Tools = append(image.Tools, toolAnswer{tool, string(answer)})
	}
	return nil
}

// realImageNames are the names of all recipes.
func realImageNames(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(recipeFolder, "*.txtar"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no recipes: %v", err)
	}
	for i, file := range files {
		files[i] = strings.TrimSuffix(filepath.Base(file), ".txtar")
	}
	return files
}
