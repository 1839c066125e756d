package componentapi_test

import (
	"bytes"
	"context"
	"io"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/extract/codec"
	"github.com/tidewaiter/tidewaiter/internal/protocol"
	"github.com/tidewaiter/tidewaiter/internal/store/storetest"
)

// FuzzFacts sends facts, whose frame is made here. What the server takes it can
// put an image together from, and show; what it does not take is refused as
// wrong, and never a failure of the server.
func FuzzFacts(f *testing.F) {
	p := newPort(f, storetest.SQLite(f))
	c := p.crew(p.newCluster("a", "east"))
	registry := p.registry("a", c.clusterID)
	p.push(registry, "one")
	p.scan("a")
	w := c.next()
	lease := tidewaiter.Lease{WorkID: w.ID, Owner: c.id, Attempt: w.Attempt}
	const magic = "TWfacts\x02"
	unframe := func(facts tidewaiter.LayerFacts) []byte {
		z, err := zstd.NewReader(bytes.NewReader(encoded(f, facts)[len(magic):]))
		p.ok(err)
		defer z.Close()
		body, err := io.ReadAll(z)
		p.ok(err)
		return body
	}
	cut := factsOf("cut")
	cut.Cuts = []tidewaiter.Cut{{Path: "x", Code: "parse", Reason: "it is broken"}}
	cut.Whiteouts, cut.Opaque = []string{"app/x"}, []string{"", "app"}
	cut.Systems = []tidewaiter.System{{Path: "status/cut", ID: "debian", IDLike: []string{"x"}, VersionID: "12"}}
	f.Add(unframe(factsOf("base")))
	f.Add(unframe(cut))
	f.Add(unframe(tidewaiter.LayerFacts{DiffID: digestOf("empty"), Extractors: extractors}))
	f.Add([]byte{})
	z, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	p.ok(err)
	raw := p.open()
	ctx, id := context.Background(), p.manifest(registry, "one")
	f.Fuzz(func(t *testing.T, body []byte) {
		if len(body) > 1<<20 {
			return
		}
		facts := z.EncodeAll(body, []byte(magic))
		r := report(w, "base")
		r.Layer.Digest = tidewaiter.DigestOf(body) // no layer that is there
		if decoded, err := codec.Decode(bytes.NewReader(facts), codec.Limits{Files: 1000, Packages: 1000, TextBytes: 1 << 20}); err == nil {
			r.Layer.DiffID, r.Extractors = decoded.DiffID, decoded.Extractors
		}
		err := p.scans.Layer(ctx, lease, r, facts)
		if kind := tidewaiter.KindOf(err); err != nil && kind != tidewaiter.Invalid {
			t.Fatalf("kind %v: %v", kind, err)
		}
		if err != nil {
			return
		}
		if _, err := raw.ExecContext(ctx, "DELETE FROM scan_results"); err != nil { // else it would be known
			t.Fatal(err)
		}
		err = p.scans.Image(ctx, lease, protocol.ImageReport{
			Attempt: w.Attempt, Digest: digestOf("one"), Extractors: r.Extractors, Limits: "default", Layers: []protocol.Layer{r.Layer, r.Layer},
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.db.Result(ctx, id); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzSplitLayer takes bodies apart. What comes out is what was joined, and
// does not hold more than the body.
func FuzzSplitLayer(f *testing.F) {
	for _, facts := range []string{"", "TWfacts\x02", "\n\n"} {
		body, err := report(protocol.Work{Attempt: 1}, "base").Join([]byte(facts))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body)
	}
	f.Add([]byte("{}\n"))
	f.Add([]byte(`{"attempt": 1e999, "layer": {"size": -1}}` + "\nx"))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, facts, err := protocol.SplitLayer(body)
		if err != nil {
			if tidewaiter.KindOf(err) != tidewaiter.Invalid {
				t.Fatal(err)
			}
			return
		}
		if !bytes.HasSuffix(body, facts) || len(facts) >= len(body) {
			t.Fatalf("%d bytes of facts in a body of %d", len(facts), len(body))
		}
		joined, err := r.Join(facts)
		if err != nil {
			t.Fatal(err)
		}
		again, same, err := protocol.SplitLayer(joined)
		if long := len(joined)-len(facts) > 4<<10; !long && (err != nil || again != r || !bytes.Equal(same, facts)) {
			t.Fatalf("%v: %+v became %+v", err, r, again)
		}
	})
}
