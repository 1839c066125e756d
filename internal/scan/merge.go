package scan

import (
	"bytes"
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/extract/codec"
	"github.com/tidewaiter/tidewaiter/internal/overlay"
	"github.com/tidewaiter/tidewaiter/internal/protocol"
	"github.com/tidewaiter/tidewaiter/internal/store"
)

// maxCuts is how many cuts of an image are kept. The first is enough to make
// it fail, and people read a few.
const maxCuts = 1_000

// maxImageFacts bounds the facts of all layers of an image, in bytes of memory:
// over a million files, and one decoded layer more.
const maxImageFacts = 384 << 20

const tooLargeReason = "its layers together hold too many files and packages for one image: more than about 1,500,000"

// maxFileBytes bounds what the files of an image are said to have together. An
// archive may say of its files what it likes.
const maxFileBytes = 1 << 44

// weight is about how much memory the facts of a layer take.
func weight(f *tidewaiter.LayerFacts) (bytes int) {
	const file, pkg, text = 240, 320, 16
	for i := range f.Files {
		bytes += file + len(f.Files[i].Path) + len(f.Files[i].Link)
	}
	for _, list := range [][]string{f.Whiteouts, f.Opaque} {
		for _, p := range list {
			bytes += text + len(p)
		}
	}
	for i := range f.Packages {
		p := &f.Packages[i]
		bytes += pkg + len(p.Name) + len(p.Version) + len(p.SourceName) + len(p.SourceVersion) + len(p.Namespace)
		for _, list := range [][]string{p.Licenses, p.Inside} {
			for _, s := range list {
				bytes += text + len(s)
			}
		}
	}
	return bytes
}

// factLimits returns how much may be read of facts that take so many bytes.
func (s *Service) factLimits([]byte) codec.Limits { return codec.Limits{} }

// looseFiles returns the files of a layer that no package of it owns.
func looseFiles(f tidewaiter.LayerFacts) []store.LooseFile {
	var loose []store.LooseFile
	for i := range f.Files {
		if file := &f.Files[i]; isLoose(file) {
			loose = append(loose, store.LooseFile{Entry: i, Name: stored(path.Base(file.Path)), Path: stored(file.Path), Size: file.Size})
		}
	}
	return loose
}

func isLoose(f *tidewaiter.File) bool { return f.Type == tidewaiter.RegularFile && !f.Owned }

// stored returns a text as both databases take it.
func stored(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "�"), "\x00", "�")
}

// merge puts an image together from the facts of its layers. Errors: TooLarge;
// Conflict with the code ErrLayersMissing.
func (s *Service) merge(ctx context.Context, h held, id int64, r protocol.ImageReport) (n store.NewResult, err error) {
	if err := s.begin(ctx); err != nil {
		return n, err
	}
	defer s.done()
	layers := make([]tidewaiter.LayerFacts, len(r.Layers))
	diffIDs := make([]tidewaiter.Digest, len(r.Layers))
	room := maxImageFacts
	for i, l := range r.Layers {
		number, facts, err := s.facts(ctx, h.key(l, r.Extractors), r.Limits)
		if err != nil {
			return n, err
		}
		if room -= weight(&facts); room < 0 {
			return n, tidewaiter.Errorf(tidewaiter.TooLarge, tooLargeReason)
		}
		layers[i], diffIDs[i] = facts, l.DiffID
		n.LayerNumbers = append(n.LayerNumbers, number)
	}
	view := overlay.Merge(layers)
	n.ChainID = tidewaiter.ChainID(diffIDs)
	n.Hidden = hiddenFiles(layers, view)
	config := checkConfig(r.Config, diffIDs)
	n.ImageResult = tidewaiter.ImageResult{
		ManifestID: id, Complete: len(view.Cuts) == 0, Extractors: r.Extractors, System: view.System.System, Config: config,
	}
	if end, ok := s.endOfLife(n.System); ok {
		n.EndOfLife = end
	}
	if len(view.Systems) > 0 {
		n.Base = overlay.Merge(layers[:1]).System.System
	}
	for i, l := range r.Layers {
		n.Layers = append(n.Layers, tidewaiter.ImageLayer{Digest: l.Digest, DiffID: l.DiffID, Size: l.Size, Step: config.StepOf(i)})
	}
	for i := range view.Files {
		f := &view.Files[i]
		if f.Type == tidewaiter.RegularFile {
			n.Files++
			n.FileBytes += min(f.Size, maxFileBytes-n.FileBytes)
		}
		if isLoose(&f.File) {
			n.LooseFiles++
		}
	}
	for _, c := range view.Cuts[:min(len(view.Cuts), maxCuts)] {
		c.Path, c.Reason = stored(c.Path), stored(c.Reason)
		n.Cuts = append(n.Cuts, tidewaiter.ImageCut{Cut: c.Cut, Layer: c.Layer})
	}
	n.Code, n.Reason = judge(view.Cuts)
	err = s.name(ctx, &n, view)
	// After its packages were matched: what these have by now, the image brought, and
	// not advisories that came later.
	n.Scanned = s.now()
	return n, err
}

// facts returns the facts of a layer, and its number.
func (s *Service) facts(ctx context.Context, k tidewaiter.LayerKey, limits string) (int64, tidewaiter.LayerFacts, error) {
	number, err := s.store.LayerNumber(ctx, k, limits)
	var encoded []byte
	if err == nil {
		encoded, err = s.store.Facts(ctx, number)
	}
	if err != nil && tidewaiter.KindOf(err) == tidewaiter.NotFound {
		return 0, tidewaiter.LayerFacts{}, protocol.Errorf(protocol.ErrLayersMissing, tidewaiter.Conflict,
			"the facts of a layer are not there; ask for the layers once more")
	}
	if err != nil {
		return 0, tidewaiter.LayerFacts{}, err
	}
	facts, err := codec.Decode(bytes.NewReader(encoded), s.factLimits(encoded))
	if err != nil {
		return 0, facts, fmt.Errorf("read facts of layer %d: %w", number, err)
	}
	return number, facts, nil
}

// hiddenFiles returns which loose files of layers are not loose files of the
// image: those that a higher layer removes, replaces, or hands to a package.
func hiddenFiles(layers []tidewaiter.LayerFacts, view overlay.View) []store.HiddenFile {
	shown := make([]map[string]bool, len(layers))
	for i := range shown {
		shown[i] = make(map[string]bool)
	}
	for i := range view.Files {
		if f := &view.Files[i]; isLoose(&f.File) {
			shown[f.Layer][f.Path] = true
		}
	}
	var hidden []store.HiddenFile
	for position, l := range layers {
		for entry := range l.Files {
			if f := &l.Files[entry]; isLoose(f) && !shown[position][f.Path] {
				hidden = append(hidden, store.HiddenFile{Position: position, Entry: entry})
			}
		}
	}
	return hidden
}

// name gives the packages of an image the ids of their versions.
func (s *Service) name(ctx context.Context, n *store.NewResult, view overlay.View) error {
	versions := make([]store.PackageVersion, 0, len(view.Packages))
	for _, p := range view.Packages {
		named, release := n.System.Named(p.Package)
		if s.findings != nil && (p.Type == "deb" || p.Type == "apk" || p.Type == "rpm") {
			release = s.findings.ReleaseOf(n.System)
		}
		for _, text := range []*string{&named.Ecosystem, &named.Name, &named.Version, &named.SourceName, &named.SourceVersion,
			&named.Architecture, &named.Type, &named.Namespace, &named.Path, &named.Extractor, &release} {
			*text = stored(*text)
		}
		for _, list := range []*[]string{&named.Licenses, &named.Inside} {
			*list = slices.Clone(*list)
			for i := range *list {
				(*list)[i] = stored((*list)[i])
			}
		}
		versions = append(versions, store.PackageVersion{
			Ecosystem: named.Ecosystem, Release: release, Name: named.Name, Version: named.Version, SourceName: named.SourceName,
			SourceVersion: named.SourceVersion, Architecture: named.Architecture, Type: named.Type, Namespace: named.Namespace,
		})
		n.Packages = append(n.Packages, tidewaiter.ImagePackage{Package: named, Layer: p.Layer, Origin: p.Origin})
	}
	ids, err := s.store.PutPackages(ctx, versions)
	if err != nil {
		return err
	}
	for i, id := range ids {
		n.Packages[i].ID = id
	}
	if s.findings == nil {
		return nil
	}
	return s.findings.MatchPackages(ctx, ids)
}
