package findings

import (
	"context"
	"maps"
	"slices"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/store"
)

// Touched is what an operation would touch: vulnerabilities in images of one
// platform.
type Touched struct {
	Pairs           []TouchedPair // a page of them
	Total           int
	Vulnerabilities int
	Images          int
}

// TouchedPair is one vulnerability in one of the images.
type TouchedPair struct {
	Vulnerability string
	Image         tidewaiter.ScannedImage
}

// TouchedFilter narrows what is listed and counted; what is zero is any.
type TouchedFilter struct {
	Image, Vulnerability string // a part of the names
}

// Touches says what an operation would touch: what [NotIgnore] may take back is
// handled, what the others are about is not.
func (s *Service) Touches(ctx context.Context, e tidewaiter.Extent, sel Selection, o Operation, f TouchedFilter, p store.Page) (t Touched, err error) {
	chosen, err := s.resolve(ctx, e, sel)
	if err != nil {
		return t, err
	}
	type pair struct {
		name  string
		image int64
	}
	var all []pair
	images := make(map[int64]bool)
	for _, name := range chosen.names {
		if f.Vulnerability != "" && !store.Contains(name, f.Vulnerability) {
			continue
		}
		var among []int64
		for _, i := range chosen.images[name] {
			among = append(among, i.Platforms...)
		}
		open, err := s.store.Holders(ctx, e, store.VulnerabilityName{Name: name, Kind: sel.Kind}, among)
		if err != nil {
			return t, err
		}
		maps.DeleteFunc(open, func(_ int64, unhandled bool) bool { return unhandled == (o == NotIgnore) })
		ids := slices.Sorted(maps.Keys(open))
		if f.Image != "" {
			names, err := s.store.NamesOfImages(ctx, ids)
			if err != nil {
				return t, err
			}
			ids = slices.DeleteFunc(ids, func(id int64) bool { return !store.Contains(names[id].Name, f.Image) })
		}
		if len(ids) > 0 {
			t.Vulnerabilities++
		}
		for _, id := range ids {
			all, images[id] = append(all, pair{name, id}), true
		}
		if len(all) > maxTouched {
			return t, tidewaiter.Errorf(tidewaiter.TooLarge, "more than %d vulnerabilities in images are chosen; choose fewer", maxTouched)
		}
	}
	t.Total, t.Images = len(all), len(images)
	page := all[min(p.Offset, len(all)):min(p.Offset+p.Limit, len(all))]
	ids := make([]int64, 0, len(page))
	for _, x := range page {
		ids = append(ids, x.image)
	}
	names, err := s.store.NamesOfImages(ctx, ids)
	for _, x := range page {
		t.Pairs = append(t.Pairs, TouchedPair{x.name, names[x.image]})
	}
	return t, err
}
