package inventory

import (
	"context"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/store"
)

// maxListedFiles is how far files are counted that were looked for by name.
const maxListedFiles = 65_535

// Software returns a page of what packages the images of an extent hold: see
// [store.DB.Software].
func (s *Service) Software(ctx context.Context, e tidewaiter.Extent, name string, p store.Page) ([]tidewaiter.InstalledSoftware, int, error) {
	return s.store.Software(ctx, e, name, p)
}

// Files returns a page of the files of the images of an extent that belong to no
// package: see [store.DB.Files]. Beyond 65,535 they are not always counted.
func (s *Service) Files(ctx context.Context, e tidewaiter.Extent, name string, p store.Page) ([]tidewaiter.FoundFile, int, error) {
	return s.store.Files(ctx, e, name, p, maxListedFiles)
}

// ImageSoftware returns a page of the software of an image, of all platforms of
// an index together. Errors: NotFound if there is no such image, or nothing is
// known of what it holds; the message says which, and why.
func (s *Service) ImageSoftware(ctx context.Context, e tidewaiter.Extent, ref tidewaiter.ImageReference, name string, p store.Page) ([]tidewaiter.Software, int, error) {
	manifests, err := s.known(ctx, e, ref)
	if err != nil {
		return nil, 0, err
	}
	return s.store.ImageSoftware(ctx, manifests, name, p)
}

// ImageFiles returns a page of the files of an image that belong to no package.
// Errors: as [Service.ImageSoftware].
func (s *Service) ImageFiles(ctx context.Context, e tidewaiter.Extent, ref tidewaiter.ImageReference, name string, p store.Page) ([]tidewaiter.ImageFile, int, error) {
	manifests, err := s.known(ctx, e, ref)
	if err != nil {
		return nil, 0, err
	}
	return s.store.ImageFiles(ctx, manifests, name, p)
}

// FileStatistics counts the files of an image, over all platforms of an index.
// Errors: as [Service.ImageSoftware].
func (s *Service) FileStatistics(ctx context.Context, e tidewaiter.Extent, ref tidewaiter.ImageReference) (tidewaiter.FileStatistics, error) {
	manifests, err := s.known(ctx, e, ref)
	if err != nil {
		return tidewaiter.FileStatistics{}, err
	}
	return s.store.FileStatistics(ctx, manifests)
}

// known returns the images of one platform that a reference means and of which
// it is known what they hold: at least one. An empty list of what an image holds
// would read as if it held nothing.
func (s *Service) known(ctx context.Context, e tidewaiter.Extent, ref tidewaiter.ImageReference) ([]int64, error) {
	found, err := s.store.FindImages(ctx, e, ref)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, tidewaiter.Errorf(tidewaiter.NotFound, "there is no such image; check image_type, namespace, name and version of the image, and take "+
			"image_id from ListRegistryImages again: a tag that was pushed anew has another")
	}
	var manifests []int64
	for _, f := range found {
		manifests = append(manifests, f.Manifests...)
	}
	known, err := s.store.WithResults(ctx, manifests)
	if err != nil || len(known) > 0 {
		return known, err
	}
	images, _, err := s.store.Images(ctx, e, store.ImageFilter{ID: found[0].ID, WithGone: true}, store.Page{Limit: 1})
	if err != nil || len(images) == 0 {
		return nil, err
	}
	return nil, tidewaiter.Errorf(tidewaiter.NotFound, "%s", whyUnknown(images[0], found[0].Manifests))
}

// KnownImages returns the images of one platform that a reference means and of
// which it is known what they hold. Errors: as [Service.ImageSoftware].
func (s *Service) KnownImages(ctx context.Context, e tidewaiter.Extent, ref tidewaiter.ImageReference) ([]int64, error) {
	return s.known(ctx, e, ref)
}

// Build is what is known of how an image of one platform was made.
type Build struct {
	tidewaiter.ImageResult

	Digest   tidewaiter.Digest
	Platform tidewaiter.Platform
}

// Builds returns how the images of one platform that a reference means were made.
// Errors: as [Service.ImageSoftware].
func (s *Service) Builds(ctx context.Context, e tidewaiter.Extent, ref tidewaiter.ImageReference) ([]Build, error) {
	manifests, err := s.known(ctx, e, ref)
	if err != nil {
		return nil, err
	}
	list := make([]Build, 0, len(manifests))
	for _, id := range manifests {
		m, _, err := s.store.Manifest(ctx, id)
		if err != nil {
			return nil, err
		}
		r, err := s.store.Result(ctx, id)
		if err != nil {
			return nil, err
		}
		list = append(list, Build{r, m.Digest, m.Platform})
	}
	return list, nil
}

// whyUnknown says why nothing is known of what images hold that a tag stands for.
func whyUnknown(i tidewaiter.RegistryImage, manifests []int64) string {
	reason := i.Reason
	for _, p := range i.Platforms {
		if len(manifests) == 1 && p.ManifestID == manifests[0] {
			reason = p.Reason
		}
	}
	switch {
	case reason != "":
		return "the image cannot be scanned: " + reason
	case i.Scan.Status == tidewaiter.WaitingForScan:
		return "the image has not been scanned yet, but is waiting for it; ask again when scan_status of ListRegistryImages says success"
	case i.Scan.Status == tidewaiter.Scanning:
		return "the image is being scanned, and nothing is known of it before that has ended; ask again when scan_status of ListRegistryImages says success"
	case i.Scan.Status == tidewaiter.ScanFailed:
		reason = i.ScanReason
		if reason == "" {
			reason = i.Scan.FailedCode
		}
		return "nothing is known of the image, as its last scan failed: " + reason + "; mend that, and scan it again with CreateManualImageScanTask"
	}
	return "the image has not been scanned yet, so that nothing is known of it; scan it with CreateManualImageScanTask"
}

// BaseImages returns a page of the images that an image was built from, and how
// many there are: those of the extent that are made of the most of its lowest
// layers, of each platform of an index for itself. If there is none, but the
// lowest layer is an operating system by itself, it is that. osName is a part of
// the name or the id of the operating system, or "". Errors: as
// [Service.ImageSoftware].
func (s *Service) BaseImages(ctx context.Context, e tidewaiter.Extent, ref tidewaiter.ImageReference, osName string, p store.Page) ([]tidewaiter.BaseImage, int, error) {
	manifests, err := s.known(ctx, e, ref)
	if err != nil {
		return nil, 0, err
	}
	var chains []tidewaiter.Digest
	var lowest []tidewaiter.BaseImage // where no image is known
	seen := make(map[tidewaiter.BaseImage]bool)
	for _, m := range manifests {
		layers, system, err := s.store.ImageBuild(ctx, m)
		if err != nil {
			return nil, 0, err
		}
		chain, err := s.baseChain(ctx, e, layers)
		if err != nil {
			return nil, 0, err
		}
		if chain != "" {
			chains = append(chains, chain)
			continue
		}
		if b, ok := lowestLayer(layers, system, osName); ok && !seen[b] {
			seen[b], lowest = true, append(lowest, b)
		}
	}
	list, total, err := s.store.ImagesOfChains(ctx, e, chains, osName, p)
	if err != nil {
		return nil, 0, err
	}
	for i, b := range lowest {
		if at := total + i; at >= p.Offset && at < p.Offset+p.Limit {
			list = append(list, b)
		}
	}
	return list, total + len(lowest), nil
}

// baseChain returns the chain ID of the most of the lowest layers that are all
// layers of another image, or "".
func (s *Service) baseChain(ctx context.Context, e tidewaiter.Extent, layers []tidewaiter.ImageLayer) (tidewaiter.Digest, error) {
	diffIDs := make([]tidewaiter.Digest, 0, len(layers))
	for _, l := range layers {
		diffIDs = append(diffIDs, l.DiffID)
	}
	for n := len(diffIDs) - 1; n > 0; n-- {
		chain := tidewaiter.ChainID(diffIDs[:n])
		there, err := s.store.HasChain(ctx, e, chain)
		if err != nil || there {
			return chain, err
		}
	}
	return "", nil
}

// lowestLayer returns the lowest layer as a base image, if it is an operating
// system that a filter lets through.
func lowestLayer(layers []tidewaiter.ImageLayer, system tidewaiter.System, osName string) (tidewaiter.BaseImage, bool) {
	if len(layers) == 0 || system.ID == "" || !store.Contains(system.Name, osName) && !store.Contains(system.ID, osName) {
		return tidewaiter.BaseImage{}, false
	}
	name := system.Name
	if name == "" {
		name = system.ID
	}
	return tidewaiter.BaseImage{OSName: name, OSVersion: system.VersionID, Layer: layers[0].Digest}, true
}
