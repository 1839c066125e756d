package export

import (
	"bytes"
	"encoding/json"
	"io"
	"time"

	"github.com/tidewaiter/tidewaiter"
)

// formatVersion counts changes of the JSON after which a reader must look again.
// A field more is none.
const formatVersion = 1

// jsonReport and what it consists of are described in docs/scan.md.
type jsonReport struct {
	FormatVersion int         `json:"format_version"`
	Tool          jsonTool    `json:"tool"`
	Source        string      `json:"source"`
	SourceKind    string      `json:"source_kind"`
	Status        string      `json:"status"`
	Images        []jsonImage `json:"images"`
}

type jsonTool struct {
	Name       string `json:"name"`
	Version    string `json:"version"`
	Extractors string `json:"extractors"`
}

type jsonImage struct {
	Status    string        `json:"status"`
	Problem   string        `json:"problem,omitempty"`
	Names     []string      `json:"names"`
	Digest    string        `json:"digest,omitempty"`
	ID        string        `json:"id,omitempty"`
	MediaType string        `json:"media_type,omitempty"`
	Platform  string        `json:"platform"`
	Created   string        `json:"created,omitempty"`
	Size      int64         `json:"size"`
	System    *jsonSystem   `json:"system"`
	Layers    []jsonLayer   `json:"layers"`
	Packages  []jsonPackage `json:"packages"`
	Cuts      []jsonCut     `json:"cuts"`

	Advisories      *jsonAdvisories      `json:"advisories,omitempty"`
	Vulnerabilities *[]jsonVulnerability `json:"vulnerabilities,omitempty"` // nil if the advisories were not asked
	Unjudged        []jsonUnjudged       `json:"unjudged,omitempty"`
}

type jsonAdvisories struct {
	Digest string `json:"digest"`
	Newest string `json:"newest,omitempty"`
}

type jsonVulnerability struct {
	ID          string   `json:"id"`
	Aliases     []string `json:"aliases,omitempty"`
	Advisory    string   `json:"advisory"`
	Advisories  []string `json:"advisories"`
	Kind        string   `json:"kind,omitempty"`
	Summary     string   `json:"summary,omitempty"`
	URL         string   `json:"url,omitempty"`
	Severity    string   `json:"severity"`
	Score       float64  `json:"score,omitempty"`
	Vector      string   `json:"vector,omitempty"`
	Source      string   `json:"severity_source,omitempty"`
	Urgency     string   `json:"urgency,omitempty"`
	Exploited   string   `json:"exploited,omitempty"`
	EPSS        float64  `json:"epss,omitempty"`
	Status      string   `json:"status"`
	Fixed       []string `json:"fixed,omitempty"`
	Reason      string   `json:"reason"`
	Package     string   `json:"package"`
	Version     string   `json:"version"`
	PURL        string   `json:"purl,omitempty"`
	Path        string   `json:"path"`
	Layer       int      `json:"layer"`
	LayerDigest string   `json:"layer_digest,omitempty"`
	Step        string   `json:"step,omitempty"`

	Handled *jsonHandled `json:"handled,omitempty"`
}

type jsonHandled struct {
	Document      string `json:"document"`
	Status        string `json:"status"`
	Justification string `json:"justification,omitempty"`
	Remark        string `json:"remark,omitempty"`
}

type jsonUnjudged struct {
	Package string `json:"package"`
	Version string `json:"version"`
	PURL    string `json:"purl,omitempty"`
	Reason  string `json:"reason"`
}

type jsonSystem struct {
	ID        string   `json:"id"`
	IDLike    []string `json:"id_like,omitempty"`
	VersionID string   `json:"version_id,omitempty"`
	Codename  string   `json:"codename,omitempty"`
	Name      string   `json:"name,omitempty"`
	CPE       string   `json:"cpe,omitempty"`
	Path      string   `json:"path"`
	Layer     int      `json:"layer"`
}

type jsonLayer struct {
	Index     int       `json:"index"`
	Digest    string    `json:"digest,omitempty"`
	DiffID    string    `json:"diff_id"`
	MediaType string    `json:"media_type,omitempty"`
	Size      int64     `json:"size"`
	Unpacked  int64     `json:"unpacked_size"`
	Verified  bool      `json:"verified"`
	Packages  int       `json:"packages"`
	Step      *jsonStep `json:"step"`
	Notes     []string  `json:"notes,omitempty"`
}

type jsonStep struct {
	Command string `json:"command"`
	Created string `json:"created,omitempty"`
	Comment string `json:"comment,omitempty"`
}

type jsonPackage struct {
	Name          string   `json:"name"`
	Version       string   `json:"version"`
	Type          string   `json:"type"`
	Ecosystem     string   `json:"ecosystem,omitempty"`
	PURL          string   `json:"purl,omitempty"`
	Architecture  string   `json:"architecture,omitempty"`
	SourceName    string   `json:"source_name,omitempty"`
	SourceVersion string   `json:"source_version,omitempty"`
	Licenses      []string `json:"licenses,omitempty"`
	Path          string   `json:"path"`
	Inside        []string `json:"inside,omitempty"`
	Layer         int      `json:"layer"`
	PathLayer     int      `json:"path_layer"`
	Extractor     string   `json:"extractor"`
}

type jsonCut struct {
	Layer  int    `json:"layer"`
	Path   string `json:"path,omitempty"`
	Code   string `json:"code"`
	Reason string `json:"reason"`
}

// JSON writes what is in images.
func JSON(w io.Writer, source, kind string, images []Image) error {
	report := jsonReport{
		FormatVersion: formatVersion, Source: source, SourceKind: kind, Status: StatusOf(images),
		Tool: jsonTool{Name: "tidewaiter", Version: tidewaiter.Version},
	}
	for i := range images {
		report.Tool.Extractors = first(report.Tool.Extractors, images[i].Extractors)
		report.Images = append(report.Images, images[i].json())
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(report); err != nil {
		return err
	}
	return writeEscaped(w, b.Bytes())
}

// StatusOf says how far several images were looked into.
func StatusOf(images []Image) string {
	failed, status := 0, Complete
	for i := range images {
		switch images[i].Status() {
		case Failed:
			failed++
			status = Partial
		case Partial:
			status = Partial
		}
	}
	if failed == len(images) {
		return Failed
	}
	return status
}

func (i *Image) json() jsonImage {
	j := jsonImage{
		Status: i.Status(), Problem: i.Problem, Names: append([]string{}, i.Names...),
		Digest: string(i.Digest), ID: string(i.ID), MediaType: i.MediaType, Platform: i.Platform.String(),
		Created: written(i.Created), Size: i.Size,
		Layers: []jsonLayer{}, Packages: []jsonPackage{}, Cuts: []jsonCut{},
	}
	if s := i.View.System; s.Path != "" {
		j.System = &jsonSystem{ID: s.ID, IDLike: s.IDLike, VersionID: s.VersionID, Codename: s.Codename, Name: s.Name, CPE: s.CPE, Path: s.Path, Layer: s.Layer}
	}
	for n, f := range i.Facts {
		l := jsonLayer{Index: n, DiffID: string(f.DiffID), Unpacked: f.Size, Verified: f.Verified, Notes: f.Notes, Packages: i.packagesOf(n)}
		if n < len(i.Layers) {
			l.Digest, l.MediaType, l.Size = string(i.Layers[n].Digest), i.Layers[n].MediaType, i.Layers[n].Size
		}
		if step, ok := i.Step(n); ok {
			l.Step = &jsonStep{Command: step.Command, Created: written(step.Created), Comment: step.Comment}
		}
		j.Layers = append(j.Layers, l)
	}
	for _, p := range i.View.Packages {
		named, release := i.View.System.Named(p.Package)
		ecosystem := named.Ecosystem
		if release != "" {
			ecosystem += ":" + release
		}
		j.Packages = append(j.Packages, jsonPackage{
			Name: p.Name, Version: p.Version, Type: p.Type, Ecosystem: ecosystem, PURL: PackageURL(p.Package, i.View.System.System),
			Architecture: p.Architecture, SourceName: p.SourceName, SourceVersion: p.SourceVersion, Licenses: p.Licenses,
			Path: p.Path, Inside: p.Inside, Layer: p.Origin, PathLayer: p.Layer, Extractor: p.Extractor,
		})
	}
	i.addJudgement(&j)
	for _, c := range i.View.Cuts {
		j.Cuts = append(j.Cuts, jsonCut{Layer: c.Layer, Path: c.Path, Code: c.Code, Reason: c.Reason})
	}
	return j
}

// addJudgement writes what advisories say, if they were asked: an empty list of
// vulnerabilities is one then, and without them there is none.
func (i *Image) addJudgement(j *jsonImage) {
	if i.Judgement == nil {
		return
	}
	j.Advisories = &jsonAdvisories{Digest: string(i.Judgement.Advisories), Newest: i.Judgement.Newest}
	list := []jsonVulnerability{}
	for _, f := range i.Judgement.Findings {
		p := i.View.Packages[f.Package]
		v := jsonVulnerability{
			ID: f.Name, Aliases: f.Aliases, Advisory: f.Advisory, Advisories: f.Advisories, Kind: f.Kind, Summary: f.Summary, URL: f.URL,
			Severity: levelName(f.Severity.Level), Score: f.Severity.Score, Vector: f.Severity.Vector, Source: f.Severity.Source, Urgency: f.Urgency, Exploited: written(f.Threat.Exploited), EPSS: f.Threat.Probability,
			Status: string(f.Status), Fixed: f.Fixed, Reason: string(f.Reason), Package: p.Name, Version: p.Version,
			PURL: PackageURL(p.Package, i.View.System.System), Path: Location(p.Package), Layer: p.Origin,
		}
		if p.Origin < len(i.Layers) {
			v.LayerDigest = string(i.Layers[p.Origin].Digest)
		}
		if step, ok := i.Step(p.Origin); ok {
			v.Step = step.Command
		}
		if h := f.Handled; h != nil {
			v.Handled = &jsonHandled{h.Document, h.Status, h.Justification, h.Remark}
		}
		list = append(list, v)
	}
	j.Vulnerabilities = &list
	for _, u := range i.Judgement.Unjudged {
		p := i.View.Packages[u.Package]
		j.Unjudged = append(j.Unjudged, jsonUnjudged{p.Name, p.Version, PackageURL(p.Package, i.View.System.System), string(u.Gap)})
	}
}

// packagesOf counts the packages that a layer brought.
func (i *Image) packagesOf(layer int) int {
	n := 0
	for _, p := range i.View.Packages {
		if p.Origin == layer {
			n++
		}
	}
	return n
}

func written(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
