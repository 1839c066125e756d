package findings

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/store"
)

// Selection says which vulnerabilities of which images are meant.
type Selection struct {
	Kind    tidewaiter.VulnerabilityKind
	Handled *bool // of all vulnerabilities: those that are handled, or are not; nil for both
	All     bool  // all vulnerabilities of all images
	// Images are meant with all that they have; ids as ListRegistryImages shows
	// them, image_id or id.
	Images []string
	// Vulnerabilities are meant in all images, by their names.
	Vulnerabilities []string
	Pairs           []Pair
}

// Pair is one vulnerability in one image.
type Pair struct{ Vulnerability, Image string }

// Bounds of a selection.
const (
	maxSelected = 20_000  // vulnerabilities, images or pairs
	maxTouched  = 500_000 // pairs of an image of one platform and a vulnerability
)

// selected are images by the names of vulnerabilities; nil is all images.
type selected struct {
	names  []string // in order
	images map[string]map[int64]store.SelectedImage
}

func (s *selected) add(name string, i store.SelectedImage) {
	if s.images[name] == nil {
		s.images[name] = make(map[int64]store.SelectedImage)
	}
	s.images[name][i.ManifestID] = i
}

// resolve finds out what is meant. Errors: Invalid for what does not exist,
// which name the field of the request; TooLarge.
func (s *Service) resolve(ctx context.Context, e tidewaiter.Extent, sel Selection) (*selected, error) {
	if len(sel.Images)+len(sel.Vulnerabilities)+len(sel.Pairs) > maxSelected {
		return nil, tidewaiter.Errorf(tidewaiter.TooLarge, "more than %d vulnerabilities and images are given; give them in several requests", maxSelected)
	}
	out := &selected{images: make(map[string]map[int64]store.SelectedImage)}
	ids := slices.Clone(sel.Images)
	names := slices.Clone(sel.Vulnerabilities)
	for _, p := range sel.Pairs {
		ids, names = append(ids, p.Image), append(names, p.Vulnerability)
	}
	images, err := s.images(ctx, e, ids)
	if err != nil {
		return nil, err
	}
	if err := s.checkNames(ctx, e, sel.Kind, names); err != nil {
		return nil, err
	}
	switch {
	case sel.All:
		list, total, err := s.store.Vulnerabilities(ctx, e, store.VulnerabilityFilter{Kind: sel.Kind, Handled: sel.Handled}, store.Page{Limit: maxSelected})
		if err != nil {
			return nil, err
		}
		if total > maxSelected {
			return nil, tidewaiter.Errorf(tidewaiter.TooLarge, "there are more than %d vulnerabilities; choose some of them", maxSelected)
		}
		for _, v := range list {
			out.images[v.Name] = nil
		}
	case len(sel.Images) > 0:
		for _, id := range sel.Images {
			for _, i := range images[id] {
				found, _, err := s.store.ImageFindings(ctx, i.Platforms, store.FindingFilter{Kind: sel.Kind, Handled: sel.Handled}, store.Page{Limit: maxTouched})
				if err != nil {
					return nil, err
				}
				for _, f := range found {
					out.add(f.Name, i)
				}
			}
		}
	case len(sel.Vulnerabilities) > 0:
		for _, name := range sel.Vulnerabilities {
			out.images[name] = nil
		}
	default:
		for _, p := range sel.Pairs {
			for _, i := range images[p.Image] {
				out.add(p.Vulnerability, i)
			}
		}
	}
	out.names = slices.Sorted(maps.Keys(out.images))
	return out, nil
}

// images finds images by the ids that clients have of them.
func (s *Service) images(ctx context.Context, e tidewaiter.Extent, ids []string) (map[string][]store.SelectedImage, error) {
	found := make(map[string][]store.SelectedImage, len(ids))
	slices.Sort(ids)
	for _, id := range slices.Compact(ids) {
		ref := store.ImageRef{ImageID: strings.TrimPrefix(id, "sha256:")}
		if n, err := strconv.ParseInt(id, 10, 64); err == nil && len(id) < 20 {
			ref = store.ImageRef{ID: n}
		}
		if !ref.Names() || strings.ContainsRune(id, 0) {
			return nil, tidewaiter.InvalidField("image_id_list", "an id of an image is empty; take them from ListRegistryImages")
		}
		images, err := s.store.ImagesMeant(ctx, e, ref)
		if err != nil {
			return nil, err
		}
		if len(images) == 0 {
			return nil, tidewaiter.InvalidField("image_id_list", "there is no image with the id %.80q; take ids from ListRegistryImages", id)
		}
		found[id] = images
	}
	return found, nil
}

// checkNames refuses names of vulnerabilities that no image of the extent has.
func (s *Service) checkNames(ctx context.Context, e tidewaiter.Extent, kind tidewaiter.VulnerabilityKind, names []string) error {
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		n := 0
		var err error
		if name != "" && !strings.ContainsRune(name, 0) {
			_, n, err = s.store.Vulnerabilities(ctx, e, store.VulnerabilityFilter{Kind: kind, Is: name}, store.Page{})
		}
		if err != nil {
			return err
		}
		if n == 0 {
			return tidewaiter.InvalidField("vul_id_list", "no image has the vulnerability %.80q of that type; take ids from ListGlobalVulnerabilities", name)
		}
	}
	return nil
}
