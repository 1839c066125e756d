package extract_test

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sort"
	"testing"

	"github.com/klauspost/compress/gzip"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/extract"
	"github.com/tidewaiter/tidewaiter/internal/extract/all"
)

func TestZZ(t *testing.T) {
	f, _ := os.Open("/tmp/exreal/l0.gzip")
	h := sha256.New()
	z, _ := gzip.NewReader(io.TeeReader(f, h))
	d := sha256.New()
	n, err := io.Copy(d, z)
	fi, _ := f.Stat()
	l := benchLayer{"/tmp/exreal/l0.gzip", tidewaiter.Descriptor{Digest: tidewaiter.Digest(fmt.Sprintf("sha256:%x", h.Sum(nil))), Size: fi.Size()}, tidewaiter.Digest(fmt.Sprintf("sha256:%x", d.Sum(nil)))}
	t.Log(n, err)
	b, _ := json.Marshal([]benchLayer{l})
	_ = os.WriteFile("/tmp/exreal/layers.json", b, 0o600)
	f.Seek(0, 0)
	facts, err := extract.Layer(t.Context(), f, l.Desc, l.DiffID, extract.Options{Extractors: all.Extractors()})
	t.Log(err, len(facts.Files), len(facts.Packages), len(facts.Cuts), facts.Verified, facts.Notes)
	by := map[string]int{}
	for _, p := range facts.Packages {
		by[p.Extractor]++
	}
	t.Log(by)
	sort.Slice(facts.Cuts, func(i, j int) bool { return facts.Cuts[i].Code < facts.Cuts[j].Code })
	for i, c := range facts.Cuts {
		if i < 30 {
			t.Log(c)
		}
	}
}

func TestZZ2(t *testing.T) {
	for range 3 {
		for _, w := range []string{"floor", "enginex"} {
			a, b, c := measure(&testing.B{}, w, "/tmp/exreal")
			t.Log(w, a, b, c>>20)
		}
	}
}
