package store_test

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/store"
)

// has is what a filter by part of a name means.
func has(text, part string) bool {
	is := regexp.MustCompile("(?i:" + regexp.QuoteMeta(part) + ")").MatchString(text)
	for _, r := range part {
		// Letters that are not of ASCII are compared as they are.
		is = is && (r < utf8.RuneSelf || strings.ContainsRune(text, r))
	}
	if got := store.Contains(text, part); got != is {
		panic(fmt.Sprintf("%q in %q: %t, want %t", part, text, got, is))
	}
	return is
}

// fold is what files stand by that are searched for.
func fold(name string) string {
	return regexp.MustCompile("[A-Z]+").ReplaceAllStringFunc(name, strings.ToLower)
}

func pageOf[T any](list []T, p store.Page) []T {
	from := min(p.Offset, len(list))
	return list[from:min(from+p.Limit, len(list))]
}

func (m *contentModel) same(what string, want, got any) {
	m.t.Helper()
	if d := gocmp.Diff(want, got, cmpopts.EquateEmpty()); d != "" {
		m.t.Fatalf("%s (-want +got):\n%s", what, d)
	}
}

// check compares all lists, with filters and pages of all sorts.
func (m *contentModel) check() {
	e := m.extent()
	name := rapid.SampledFrom(append(contentNames(), "", "", "", "b", "BASH", "_", "%", `\`, "ä", "LIB_C", "a\x00", strings.Repeat("b", 70_000))).Draw(m.t, "part of a name")
	p := store.Page{Offset: rapid.SampledFrom([]int{0, 0, 1, 3, 10, 1000}).Draw(m.t, "offset"), Limit: rapid.SampledFrom([]int{0, 1, 3, 10, 1000, 1000, 1000}).Draw(m.t, "limit")}
	tags, _, err := m.db.Images(context.Background(), e, store.ImageFilter{WithGone: true}, store.Page{Limit: 1000})
	m.ok(err)
	slices.SortFunc(tags, func(a, b tidewaiter.RegistryImage) int { return cmp.Compare(a.ID, b.ID) })
	m.checkSoftware(e, tags, name, p)
	m.checkFiles(e, tags, name, p)
	m.checkImages(e, tags, name, p)
	m.checkBases(e, tags, p)
}

// within returns the images of an extent with results, in the order of the lists.
func (m *contentModel) within(e tidewaiter.Extent) []int64 {
	list := slices.DeleteFunc(slices.Sorted(maps.Keys(m.results)), func(id int64) bool {
		r := m.registries[m.images[id].registry]
		return !e.Holds(r.ProjectID, r.EnterpriseProjectID)
	})
	slices.SortStableFunc(list, func(a, b int64) int { return cmp.Compare(m.images[a].registry, m.images[b].registry) })
	return list
}

// standsFor tells whether a tag stands for an image, or for an index with it.
func (m *contentModel) standsFor(t tidewaiter.RegistryImage, id int64) bool {
	return t.ManifestID == id || slices.Contains(m.images[t.ManifestID].children, id)
}

func (m *contentModel) scanned(id int64, tags []tidewaiter.RegistryImage) tidewaiter.ScannedImage {
	s := tidewaiter.ScannedImage{ManifestID: id, ImageID: m.images[id].id, RegistryType: m.registries[m.images[id].registry].Type, Scanned: m.results[id].Scanned}
	i := slices.IndexFunc(tags, func(t tidewaiter.RegistryImage) bool { return t.Gone.IsZero() && m.standsFor(t, id) })
	if i < 0 {
		i = slices.IndexFunc(tags, func(t tidewaiter.RegistryImage) bool { return m.standsFor(t, id) })
	}
	if i >= 0 {
		s.Namespace, s.Name, s.Tag = tags[i].Namespace, tags[i].Name, tags[i].Tag
	}
	return s
}

func (m *contentModel) version(id int64) store.PackageVersion {
	return m.versions[slices.IndexFunc(m.versions, func(v store.PackageVersion) bool { return v.ID == id })]
}

func (m *contentModel) checkSoftware(e tidewaiter.Extent, tags []tidewaiter.RegistryImage, name string, p store.Page) {
	type entry struct {
		tidewaiter.InstalledSoftware
		id int64
	}
	var want []entry
	for _, id := range m.within(e) {
		seen := make(map[int64]bool)
		for _, x := range m.results[id].Packages {
			v := m.version(x.ID)
			if seen[x.ID] || !has(v.Name, name) {
				continue
			}
			seen[x.ID] = true
			i := entry{id: x.ID, InstalledSoftware: tidewaiter.InstalledSoftware{
				Software: tidewaiter.Software{Name: v.Name, Version: v.Version, Type: v.Type},
				Path:     "/" + strings.Join(append([]string{x.Path}, x.Inside...), "!/"), Image: m.scanned(id, tags),
			}}
			if len(m.results[id].Layers) > 0 {
				i.Layer = m.results[id].Layers[x.Origin].Digest
			}
			want = append(want, i)
		}
	}
	slices.SortStableFunc(want, func(a, b entry) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.id, b.id)) })
	got, total, err := m.db.Software(context.Background(), e, name, p)
	m.ok(err)
	m.same("number of software", len(want), total)
	var list []tidewaiter.InstalledSoftware
	for _, w := range pageOf(want, p) {
		list = append(list, w.InstalledSoftware)
	}
	m.same("software", list, got)
}

// modelFile is a file of an image, and where it stands.
type modelFile struct {
	tidewaiter.FoundFile
	layer    int64
	entry    int
	position int
}

func (m *contentModel) filesOf(id int64, name string) (files []modelFile) {
	r := m.results[id]
	for position, number := range r.LayerNumbers {
		l := m.layers[slices.Index(m.numbers, number)]
		for _, f := range l.Loose {
			if has(f.Name, name) && !slices.Contains(r.Hidden, store.HiddenFile{Position: position, Entry: f.Entry}) {
				files = append(files, modelFile{layer: number, entry: f.Entry, position: position, FoundFile: tidewaiter.FoundFile{
					ImageFile: tidewaiter.ImageFile{Name: path.Base(f.Path), Path: "/" + f.Path, Size: f.Size}, Layer: l.Digest,
				}})
			}
		}
	}
	return files
}

func (m *contentModel) checkFiles(e tidewaiter.Extent, tags []tidewaiter.RegistryImage, name string, p store.Page) {
	var want []modelFile
	for _, id := range m.within(e) {
		files := m.filesOf(id, name)
		for i := range files {
			files[i].Image = m.scanned(id, tags)
		}
		want = append(want, files...)
	}
	if name != "" {
		slices.SortStableFunc(want, func(a, b modelFile) int {
			return cmp.Or(cmp.Compare(fold(a.Name), fold(b.Name)), cmp.Compare(a.layer, b.layer), cmp.Compare(a.entry, b.entry))
		})
	}
	var list []tidewaiter.FoundFile
	for _, w := range pageOf(want, p) {
		list = append(list, w.FoundFile)
	}
	got, total, err := m.db.Files(context.Background(), e, name, p, 1_000)
	m.ok(err)
	m.same("number of files", len(want), total)
	m.same("files", list, got)
	if name == "" {
		return
	}
	most, size := rapid.IntRange(0, 10).Draw(m.t, "most"), rapid.IntRange(1, 3).Draw(m.t, "names at once")
	got, total, err = m.db.FindFiles(context.Background(), e, name, p, most, size)
	m.ok(err)
	if total > len(want) || total < min(len(want), most) {
		m.t.Fatalf("%d files of %d, at least %d", total, len(want), most)
	}
	m.same("files, a few names at a time", list, got)
}

// checkImages compares what is said of one image, or of several together.
func (m *contentModel) checkImages(e tidewaiter.Extent, tags []tidewaiter.RegistryImage, name string, p store.Page) {
	ctx := context.Background()
	ref := tidewaiter.ImageReference{ImageID: rapid.SampledFrom([]string{"0", "1", "2", "3", "4", "5", "8", "another", ""}).Draw(m.t, "image id")}
	if rapid.Bool().Draw(m.t, "named") {
		ref.Namespace, ref.Name, ref.Tag = rapid.SampledFrom([]string{"", "team"}).Draw(m.t, "namespace"), "app", rapid.SampledFrom([]string{"", "1", "x", "\x00"}).Draw(m.t, "tag")
		ref.Types = rapid.SampledFrom([][]tidewaiter.RegistryType{nil, tidewaiter.RegistryTypes()[:2]}).Draw(m.t, "types")
	}
	meant := make(map[int64]bool)
	for _, t := range tags {
		if ref.Types != nil && !slices.Contains(ref.Types, t.RegistryType) || ref.Namespace != "" && ref.Namespace != t.Namespace ||
			ref.Name != "" && ref.Name != t.Name || ref.Tag != "" && ref.Tag != t.Tag {
			continue
		}
		for _, id := range append([]int64{t.ManifestID}, m.images[t.ManifestID].children...) {
			switch {
			case m.images[id].id != ref.ImageID:
			case len(m.images[id].children) == 0:
				meant[id] = true
			default:
				for _, c := range m.images[id].children {
					meant[c] = true
				}
			}
		}
	}
	found, err := m.db.FindImages(ctx, e, ref)
	m.ok(err)
	got := make(map[int64]bool)
	for _, f := range found {
		if !slices.ContainsFunc(tags, func(t tidewaiter.RegistryImage) bool { return t.ID == f.ID && m.standsFor(t, f.Manifests[0]) }) {
			m.t.Fatalf("tag %d does not stand for the image", f.ID)
		}
		for _, id := range f.Manifests {
			got[id] = true
		}
	}
	m.same("images that are meant", meant, got)
	known, err := m.db.WithResults(ctx, slices.Sorted(maps.Keys(meant)))
	m.ok(err)
	m.same("images with results", slices.DeleteFunc(slices.Sorted(maps.Keys(meant)), func(id int64) bool { _, ok := m.results[id]; return !ok }), known)
	if len(known) > 0 {
		m.checkSoftwareOf(known, name, p)
		m.checkFilesOf(known, name, p)
	}
}

func (m *contentModel) checkSoftwareOf(known []int64, name string, p store.Page) {
	var want []tidewaiter.Software
	for _, id := range known {
		for _, x := range m.results[id].Packages {
			if v := m.version(x.ID); has(v.Name, name) {
				want = append(want, tidewaiter.Software{Name: v.Name, Version: v.Version, Type: v.Type})
			}
		}
	}
	slices.SortFunc(want, func(a, b tidewaiter.Software) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Version, b.Version), cmp.Compare(a.Type, b.Type))
	})
	want = slices.Compact(want)
	got, total, err := m.db.ImageSoftware(context.Background(), known, name, p)
	m.ok(err)
	m.same("number of software of images", len(want), total)
	m.same("software of images", pageOf(want, p), got)
}

func (m *contentModel) checkFilesOf(known []int64, name string, p store.Page) {
	var want []tidewaiter.ImageFile
	sums := make(map[string]tidewaiter.FileStatistics)
	for _, id := range known {
		for _, f := range m.filesOf(id, name) {
			want = append(want, f.ImageFile)
		}
		s := sums[m.images[id].id]
		sums[m.images[id].id] = tidewaiter.FileStatistics{Files: max(s.Files, m.results[id].Files), Bytes: max(s.Bytes, m.results[id].FileBytes)}
	}
	if len(known) > 1 {
		slices.SortFunc(want, func(a, b tidewaiter.ImageFile) int {
			return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Size, b.Size))
		})
		want = slices.Compact(want)
	}
	got, total, err := m.db.ImageFiles(context.Background(), known, name, p)
	m.ok(err)
	m.same("number of files of images", len(want), total)
	m.same("files of images", pageOf(want, p), got)
	var sum tidewaiter.FileStatistics
	for _, s := range sums {
		sum.Files, sum.Bytes = sum.Files+s.Files, sum.Bytes+s.Bytes
	}
	statistics, err := m.db.FileStatistics(context.Background(), known)
	m.ok(err)
	m.same("statistics", sum, statistics)
}

// checkBases compares the images that are made of some layers.
func (m *contentModel) checkBases(e tidewaiter.Extent, tags []tidewaiter.RegistryImage, p store.Page) {
	ctx := context.Background()
	if len(m.results) == 0 {
		return
	}
	of := m.results[rapid.SampledFrom(slices.Sorted(maps.Keys(m.results))).Draw(m.t, "image")]
	layers, base, err := m.db.ImageBuild(ctx, of.ManifestID)
	m.ok(err)
	m.same("layers", of.Layers, layers)
	m.same("base", of.Base, base)
	osName := rapid.SampledFrom([]string{"", "DEB", "wolfi", "gnu/linux", "_"}).Draw(m.t, "os")
	var want []tidewaiter.BaseImage
	any := false
	for _, t := range tags {
		for _, id := range slices.Sorted(slices.Values(append([]int64{t.ManifestID}, m.images[t.ManifestID].children...))) {
			r, ok := m.results[id]
			if !ok || !t.Gone.IsZero() || r.ChainID != of.ChainID {
				continue
			}
			any = true
			if !has(r.System.Name, osName) && !has(r.System.ID, osName) {
				continue
			}
			b := tidewaiter.BaseImage{OSName: cmp.Or(r.System.Name, r.System.ID), OSVersion: r.System.VersionID, Image: m.scanned(id, tags)}
			b.Image.Namespace, b.Image.Name, b.Image.Tag = t.Namespace, t.Name, t.Tag
			if n := len(r.Layers); n > 0 {
				b.Layer = r.Layers[n-1].Digest
			}
			want = append(want, b)
		}
	}
	slices.SortStableFunc(want, func(a, b tidewaiter.BaseImage) int {
		return cmp.Compare(m.images[a.Image.ManifestID].registry, m.images[b.Image.ManifestID].registry)
	})
	got, total, err := m.db.ImagesOfChains(ctx, e, []tidewaiter.Digest{of.ChainID}, osName, p)
	m.ok(err)
	m.same("number of images of a chain", len(want), total)
	m.same("images of a chain", pageOf(want, p), got)
	there, err := m.db.HasChain(ctx, e, of.ChainID)
	m.ok(err)
	m.same("there are images of a chain", any, there)
}
