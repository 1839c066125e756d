package extract_test

import (
	"archive/tar"
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/extract"
	"github.com/tidewaiter/tidewaiter/internal/extract/all"
)

// The benchmark's image: about as many files and bytes as an application image
// of the common kind. It is made anew for each run, always the same.
const (
	benchLayers = 8
	benchFiles  = 34_500
	benchBytes  = 970 << 20
)

// benchChild is set in the processes that are measured: what to do, and where
// the image is. Each is its own, so that its memory is.
const benchChild = "TIDEWAITER_BENCH_CHILD"

func TestMain(m *testing.M) {
	if job := os.Getenv(benchChild); job != "" {
		what, dir, _ := strings.Cut(job, " ")
		err := child(what, dir)
		// What the kernel tells the parent includes the parent's own memory.
		status, readErr := os.ReadFile("/proc/self/status")
		if err = errors.Join(err, readErr); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		_, peak, _ := strings.Cut(string(status), "VmHWM:")
		fmt.Println(peak)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// benchLayer is a layer in the image's folder.
type benchLayer struct {
	File   string
	Desc   tidewaiter.Descriptor
	DiffID tidewaiter.Digest
}

// BenchmarkExtract measures the engine beside the floor, in turns: a program
// that does no more than decompress, walk and hash, as plainly as can be.
// "floor" and "engine" take one layer after the other, "engine-2" two at a time.
// The engine has all extractors; one file in forty is a package for them.
func BenchmarkExtract(b *testing.B) {
	for _, compression := range []string{"gzip", "zstd"} {
		b.Run(compression, func(b *testing.B) {
			dir := b.TempDir()
			if err := makeImage(dir, compression); err != nil {
				b.Fatal(err)
			}
			best := make(map[string]time.Duration)
			for b.Loop() {
				for _, what := range []string{"floor", "engine", "engine-2"} {
					wall, cpu, rss := measure(b, what, dir)
					b.Logf("%s: %.2f s wall, %.2f s CPU, %d MiB", what, wall.Seconds(), cpu.Seconds(), rss>>20)
					if best[what] == 0 || wall < best[what] {
						best[what] = wall
						b.ReportMetric(wall.Seconds(), what+"-s")
						b.ReportMetric(cpu.Seconds(), what+"-cpu-s")
						b.ReportMetric(float64(rss>>20), what+"-MiB")
					}
				}
			}
		})
	}
}

// BenchmarkLayer reads one of the layers, again and again, for profiles.
func BenchmarkLayer(b *testing.B) {
	l, err := makeLayer(filepath.Join(b.TempDir(), "layer.gzip"), 1)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(benchBytes / benchLayers)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := engine(l); err != nil {
			b.Fatal(err)
		}
	}
}

// measure runs a child and returns its time on the wall, its processor time and
// its peak of memory.
func measure(b *testing.B, what, dir string) (wall, cpu time.Duration, rss int64) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), benchChild+"="+what+" "+dir)
	cmd.Stderr = os.Stderr
	started := time.Now()
	out, err := cmd.Output()
	wall = time.Since(started)
	if err == nil {
		_, err = fmt.Sscan(string(out), &rss)
	}
	if err != nil {
		b.Fatal(err)
	}
	return wall, cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), rss << 10
}

// child does one of the jobs that are compared.
func child(what, dir string) error {
	text, err := os.ReadFile(filepath.Join(dir, "layers.json"))
	if err != nil {
		return err
	}
	var layers []benchLayer
	if err := json.Unmarshal(text, &layers); err != nil {
		return err
	}
	if what == "floor" {
		for _, l := range layers {
			if err := floor(l); err != nil {
				return err
			}
		}
		return nil
	}
	at := make(chan struct{}, 1)
	if what == "engine-2" {
		at = make(chan struct{}, 2)
	}
	var wait sync.WaitGroup
	problems := make([]error, len(layers))
	facts := make([]tidewaiter.LayerFacts, len(layers))
	for i, l := range layers {
		at <- struct{}{}
		wait.Go(func() {
			defer func() { <-at }()
			facts[i], problems[i] = engine(l)
		})
	}
	wait.Wait()
	runtime.KeepAlive(facts) // as if they waited to be sent
	return errors.Join(problems...)
}

func engine(l benchLayer) (tidewaiter.LayerFacts, error) {
	f, err := os.Open(l.File)
	if err != nil {
		return tidewaiter.LayerFacts{}, err
	}
	defer f.Close() //nolint:errcheck // read
	o := extract.Options{Extractors: all.Extractors()}
	facts, err := extract.Layer(context.Background(), f, l.Desc, l.DiffID, o)
	if err == nil && (!facts.Verified || len(facts.Cuts) > 0 || len(facts.Packages) == 0) {
		err = fmt.Errorf("verified %v, cuts %v, %d packages", facts.Verified, facts.Cuts, len(facts.Packages))
	}
	return facts, err
}

// floor is the least that must be done.
func floor(l benchLayer) error {
	f, err := os.Open(l.File)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // read
	blob, diff, file := sha256.New(), sha256.New(), sha256.New()
	in := bufio.NewReaderSize(io.TeeReader(f, blob), 1<<20)
	var plain io.Reader
	if strings.HasSuffix(l.File, "zstd") {
		z, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1))
		if err != nil {
			return err
		}
		defer z.Close()
		plain = z
	} else if plain, err = gzip.NewReader(in); err != nil {
		return err
	}
	plain = io.TeeReader(plain, diff)
	tr := tar.NewReader(plain)
	buf := make([]byte, 128<<10)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if h.Typeflag == tar.TypeReg {
			file.Reset()
			if _, err := io.CopyBuffer(file, struct{ io.Reader }{tr}, buf); err != nil {
				return err
			}
			_ = file.Sum(nil)
		}
	}
	for _, r := range []io.Reader{plain, in} {
		if _, err := io.Copy(io.Discard, r); err != nil {
			return err
		}
	}
	if !l.DiffID.Matches(diff) || !l.Desc.Digest.Matches(blob) {
		return errors.New("wrong digest")
	}
	return nil
}

// makeImage writes the layers of the benchmark's image into a folder.
func makeImage(dir, compression string) error {
	layers := make([]benchLayer, benchLayers)
	problems := make([]error, benchLayers)
	var wait sync.WaitGroup
	for i := range layers {
		wait.Go(func() { layers[i], problems[i] = makeLayer(filepath.Join(dir, fmt.Sprint(i, ".", compression)), i) })
	}
	wait.Wait()
	text, err := json.Marshal(layers)
	if err != nil {
		return err
	}
	return errors.Join(errors.Join(problems...), os.WriteFile(filepath.Join(dir, "layers.json"), text, 0o600))
}

func makeLayer(name string, n int) (benchLayer, error) {
	f, err := os.Create(name)
	if err != nil {
		return benchLayer{}, err
	}
	blob := &counted{h: sha256.New(), w: f}
	var z io.WriteCloser
	if strings.HasSuffix(name, "zstd") {
		if z, err = zstd.NewWriter(blob, zstd.WithEncoderConcurrency(1)); err != nil {
			return benchLayer{}, err
		}
	} else {
		z = gzip.NewWriter(blob)
	}
	diff := &counted{h: sha256.New(), w: z}
	if err := errors.Join(fillLayer(tar.NewWriter(diff), n), z.Close(), f.Close()); err != nil {
		return benchLayer{}, err
	}
	return benchLayer{name, tidewaiter.Descriptor{Digest: blob.digest(), Size: blob.n}, diff.digest()}, nil
}

// fillLayer writes a layer's files: a few large ones, and many small ones whose
// sizes fall off as those of source code do. Half of the bytes are like text, a
// quarter like machine code, a quarter does not compress.
func fillLayer(w *tar.Writer, n int) error {
	rng := rand.New(rand.NewPCG(7, uint64(n)))
	words := make([]string, 4096)
	for i := range words {
		words[i] = fmt.Sprintf("%x ", rng.Uint64()>>(16+4*rng.IntN(11)))
	}
	const files = benchFiles / benchLayers
	left := benchBytes / benchLayers
	for i := range files {
		size := int(rng.ExpFloat64() * 12_000)
		if i%400 == 0 {
			size = 4<<20 + rng.IntN(8<<20)
		}
		if size = min(size, left); i == files-1 {
			size = left
		}
		left -= size
		name := fmt.Sprintf("usr/lib/app%d/part%02d/module_%05d.js", n, i/200, i)
		body := content(rng, words, i%4, size)
		if i%40 == 1 {
			name = fmt.Sprintf("usr/lib/app%d/node_modules/package-%d/package.json", n, i)
			body = fmt.Appendf(nil, `{"name": "package-%d", "version": "1.%d.0", "license": "MIT"}`, i, n)
		}
		h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(body)), ModTime: time.Unix(1_700_000_000+int64(i), 0)}
		if err := w.WriteHeader(h); err != nil {
			return err
		}
		if _, err := w.Write(body); err != nil {
			return err
		}
	}
	return w.Close()
}

func content(rng *rand.Rand, words []string, kind, size int) []byte {
	b := make([]byte, 0, size+64)
	for len(b) < size {
		switch r := rng.Uint64(); kind {
		case 0: // noise
			for k := range 8 {
				b = append(b, byte(r>>(8*k)))
			}
		case 1: // machine code: few different bytes, in patterns
			b = append(b, 0x48, byte(r&0x1f), 0x8b, byte(r>>8&0x3f), byte(r>>16), 0, 0, 0)
		default:
			b = append(b, words[(r%4096)*(r>>12%4096)>>12]...)
		}
	}
	return b[:size]
}

// counted counts and hashes what is written.
type counted struct {
	h hash.Hash
	w io.Writer
	n int64
}

func (c *counted) Write(p []byte) (int, error) {
	c.h.Write(p)
	c.n += int64(len(p))
	return c.w.Write(p)
}

func (c *counted) digest() tidewaiter.Digest {
	return tidewaiter.Digest(fmt.Sprintf("sha256:%x", c.h.Sum(nil)))
}
