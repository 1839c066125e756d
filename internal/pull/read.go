package pull

import (
	"context"
	"fmt"
	"io"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/extract"
)

const (
	// parallel is how many layers are read at a time.
	parallel = 2
	// attempts is how often a layer is begun that the network cut off.
	attempts = 3
	// maxFacts is how much memory, roughly, the facts of all layers of an image
	// may take. Layers beyond it become cuts.
	maxFacts = 1 << 30
)

// Facts reads the layers of an image, each once, and returns what is in them,
// the lowest first. Layers that cannot be had, as they are encrypted or not in
// the registry, are cuts. Errors are those of reading, and of the context.
func (i *Image) Facts(ctx context.Context, o extract.Options) ([]tidewaiter.LayerFacts, error) {
	return i.facts(ctx, o, maxFacts)
}

func (i *Image) facts(ctx context.Context, o extract.Options, most int) ([]tidewaiter.LayerFacts, error) {
	if problem := i.Problem(); problem != "" {
		return nil, invalid("%s", problem)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		facts tidewaiter.LayerFacts
		err   error
	}
	first := make(map[string]int) // the layer that has the same bytes
	all := make([]tidewaiter.LayerFacts, len(i.DiffIDs))
	pending := make(map[int]chan result)
	weight, next := 0, 0
	for n := range all {
		key := i.keys[n] + " " + string(i.DiffIDs[n])
		if same, ok := first[key]; ok {
			all[n] = all[same]
			continue
		}
		first[key] = n
		// Those that come next are under way while this one is waited for.
		for ; next < len(all) && len(pending) < parallel && weight < most; next++ {
			if i.seen(next) {
				continue
			}
			to := make(chan result, 1)
			pending[next] = to
			go func(layer int) {
				facts, err := i.layer(ctx, layer, o)
				to <- result{facts, err}
			}(next)
		}
		r, ok := pending[n]
		if !ok {
			all[n] = i.cut(n, o, extract.CutLayerSize, "the layers beneath it hold more than can be kept")
			continue
		}
		got := <-r
		delete(pending, n)
		if got.err != nil {
			cancel()
			for _, r := range pending {
				<-r
			}
			return nil, fmt.Errorf("layer %d: %w", n, got.err)
		}
		all[n] = got.facts
		weight += weigh(got.facts)
	}
	return all, nil
}

// seen tells whether a layer is the same as one beneath it.
func (i *Image) seen(layer int) bool {
	for n := range layer {
		if i.keys[n] == i.keys[layer] && i.DiffIDs[n] == i.DiffIDs[layer] {
			return true
		}
	}
	return false
}

// layer reads one layer.
func (i *Image) layer(ctx context.Context, n int, o extract.Options) (facts tidewaiter.LayerFacts, err error) {
	desc := i.Layers[n]
	o.Verified = true // open's readers check digests where there are any
	o.Reopen = func(ctx context.Context) (io.ReadCloser, error) { return i.open(ctx, n) }
	unreadable, elsewhere := extract.Unreadable(desc)
	if unreadable.Code == extract.CutEncrypted {
		return extract.Layer(ctx, nil, desc, i.DiffIDs[n], o)
	}
	elsewhere = elsewhere || len(desc.URLs) > 0
	for attempt := 1; ; attempt++ {
		var blob io.ReadCloser
		blob, err = i.open(ctx, n)
		switch kind := tidewaiter.KindOf(err); {
		case err != nil && elsewhere && kind == tidewaiter.NotFound:
			return i.cut(n, o, extract.CutForeign, "the layer is kept elsewhere; that place is never dialled"), nil
		case err != nil:
			return facts, err // the client has tried often enough
		}
		facts, err = extract.Layer(ctx, blob, desc, i.DiffIDs[n], o)
		_ = blob.Close()
		if err == nil || attempt >= attempts || ctx.Err() != nil || tidewaiter.KindOf(err) != tidewaiter.Unavailable {
			return facts, err
		}
	}
}

// cut is a layer that was not read.
func (i *Image) cut(n int, o extract.Options, code, reason string) tidewaiter.LayerFacts {
	return tidewaiter.LayerFacts{
		DiffID: i.DiffIDs[n], Extractors: extract.Version(o.Extractors), Cuts: []tidewaiter.Cut{{Code: code, Reason: reason}},
	}
}

// weigh estimates the memory that facts take.
func weigh(f tidewaiter.LayerFacts) int {
	const file, pkg = 250, 500 // and their texts
	n := len(f.Files)*file + len(f.Packages)*pkg
	for _, e := range f.Files {
		n += len(e.Path) + len(e.Link)
	}
	for _, p := range f.Packages {
		n += len(p.Name) + len(p.Version) + len(p.Path)
	}
	return n
}
