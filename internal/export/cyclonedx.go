package export

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"strconv"
	"strings"

	cyclonedx "github.com/CycloneDX/cyclonedx-go"

	"github.com/tidewaiter/tidewaiter"
)

// CycloneDX writes the bill of materials of an image, in version 1.6 of the form
// (https://cyclonedx.org/docs/1.6/json/). It has no time, and a serial number
// that follows from the image's digest.
func CycloneDX(w io.Writer, i Image) error {
	bom := cyclonedx.NewBOM()
	bom.SerialNumber = serialNumber(first(string(i.Digest), string(i.ID)))
	root := i.root()
	bom.Metadata = &cyclonedx.Metadata{
		Component: &root,
		Tools: &cyclonedx.ToolsChoice{Components: &[]cyclonedx.Component{
			{Type: cyclonedx.ComponentTypeApplication, Name: "tidewaiter", Version: tidewaiter.Version},
		}},
		Properties: properties("status", i.Status(), "extractors", i.Extractors),
	}
	for _, c := range i.View.Cuts {
		*bom.Metadata.Properties = append(*bom.Metadata.Properties, cyclonedx.Property{Name: "tidewaiter:cut", Value: DescribeCut(c)})
	}
	components := []cyclonedx.Component{}
	if s := i.View.System; s.ID != "" {
		components = append(components, system(s.System))
	}
	seen := make(map[string]bool)
	for n := range i.View.Packages {
		if c := i.component(n); !seen[c.BOMRef] {
			seen[c.BOMRef] = true
			components = append(components, c)
		}
	}
	bom.Components = &components
	// That nothing was left out does not mean that all software of an image is
	// known: it says what is installed, and not what is merely copied into it.
	aggregate := cyclonedx.CompositionAggregateUnknown
	if i.Status() != Complete {
		aggregate = cyclonedx.CompositionAggregateIncomplete
	}
	bom.Compositions = &[]cyclonedx.Composition{{Aggregate: aggregate, Assemblies: &[]cyclonedx.BOMReference{cyclonedx.BOMReference(root.BOMRef)}}}

	var b bytes.Buffer
	enc := cyclonedx.NewBOMEncoder(&b, cyclonedx.BOMFileFormatJSON)
	enc.SetPretty(true).SetEscapeHTML(false)
	if err := enc.EncodeVersion(bom, cyclonedx.SpecVersion1_6); err != nil {
		return fmt.Errorf("write CycloneDX: %w", err)
	}
	return writeEscaped(w, b.Bytes())
}

// root is the image as a component.
func (i *Image) root() cyclonedx.Component {
	digest := first(string(i.Digest), string(i.ID))
	c := cyclonedx.Component{Type: cyclonedx.ComponentTypeContainer, BOMRef: "image:" + digest, Name: digest, Version: digest}
	c.Properties = properties("image:id", string(i.ID), "image:platform", i.Platform.String())
	for n, name := range i.Names {
		repository, tag := cutName(name)
		if n == 0 {
			c.Name = first(repository, name)
			if i.Digest != "" && repository != "" {
				c.PackageURL = imageURL(repository, tag, i.Image)
			}
		}
		*c.Properties = append(*c.Properties, cyclonedx.Property{Name: "tidewaiter:image:name", Value: name})
	}
	for n, l := range i.Facts {
		*c.Properties = append(*c.Properties, cyclonedx.Property{Name: "tidewaiter:image:layer:" + strconv.Itoa(n) + ":diff-id", Value: string(l.DiffID)})
	}
	return c
}

// cutName takes a reference apart into repository and tag; either may be "". An
// OCI layout often has the tag alone.
func cutName(name string) (repository, tag string) {
	name, _, _ = strings.Cut(name, "@")
	if !strings.ContainsAny(name, "/:") {
		return "", name
	}
	if colon := strings.LastIndexByte(name, ':'); colon > strings.LastIndexByte(name, '/') {
		return name[:colon], name[colon+1:]
	}
	return name, ""
}

// imageURL returns the package URL of an image
// (https://github.com/package-url/purl-spec/blob/main/types-doc/oci-definition.md).
func imageURL(repository, tag string, i tidewaiter.Image) string {
	name := strings.ToLower(repository[strings.LastIndexByte(repository, '/')+1:])
	if name == "" {
		return ""
	}
	var qualifiers []string
	for _, q := range [][2]string{{"arch", i.Platform.Architecture}, {"repository_url", repository}, {"tag", tag}} {
		if q[1] != "" {
			qualifiers = append(qualifiers, q[0]+"="+encode(q[1]))
		}
	}
	return build("oci", "", name, string(i.Digest), qualifiers)
}

func system(s tidewaiter.System) cyclonedx.Component {
	c := cyclonedx.Component{
		Type: cyclonedx.ComponentTypeOS, BOMRef: "os:" + distro(s), Name: s.ID, Version: s.VersionID, Description: s.Name,
		Evidence: occurrence(s.Path),
	}
	if strings.HasPrefix(s.CPE, "cpe:") {
		c.CPE = s.CPE
	}
	return c
}

func (i *Image) component(n int) cyclonedx.Component {
	p := i.View.Packages[n]
	purl := PackageURL(p.Package, i.View.System.System)
	where := Location(p.Package)
	sum := sha256.Sum256([]byte(strings.Join([]string{purl, where, p.Architecture, p.Extractor}, "\x00")))
	joint := "?"
	if strings.Contains(purl, "?") {
		joint = "&"
	}
	c := cyclonedx.Component{
		Type: cyclonedx.ComponentTypeLibrary, BOMRef: purl + joint + "package-id=" + hex.EncodeToString(sum[:8]),
		Name: p.Name, Version: p.Version, PackageURL: purl, Evidence: occurrence(where),
		Properties: properties("layer:index", strconv.Itoa(p.Origin), "extractor", p.Extractor),
	}
	if p.Type == "maven" && p.Namespace != "" {
		c.Group, c.Name = p.Namespace, strings.TrimPrefix(p.Name, p.Namespace+":")
	}
	if p.Origin < len(i.Layers) {
		*c.Properties = append(*c.Properties, *properties("layer:digest", string(i.Layers[p.Origin].Digest))...)
	}
	if p.Origin < len(i.Facts) {
		*c.Properties = append(*c.Properties, *properties("layer:diff-id", string(i.Facts[p.Origin].DiffID))...)
	}
	if step, ok := i.Step(p.Origin); ok {
		*c.Properties = append(*c.Properties, *properties("layer:step", step.Command)...)
	}
	if len(p.Licenses) > 0 {
		c.Licenses = &cyclonedx.Licenses{}
	}
	for _, l := range p.Licenses {
		if l != "" {
			*c.Licenses = append(*c.Licenses, cyclonedx.LicenseChoice{License: &cyclonedx.License{Name: l}})
		}
	}
	if c.Licenses != nil && len(*c.Licenses) == 0 {
		c.Licenses = nil
	}
	return c
}

func occurrence(location string) *cyclonedx.Evidence {
	return &cyclonedx.Evidence{Occurrences: &[]cyclonedx.EvidenceOccurrence{{Location: location}}}
}

// properties returns those that have a value, in our own namespace.
func properties(pairs ...string) *[]cyclonedx.Property {
	list := []cyclonedx.Property{}
	for n := 0; n+1 < len(pairs); n += 2 {
		if pairs[n+1] != "" {
			list = append(list, cyclonedx.Property{Name: "tidewaiter:" + pairs[n], Value: pairs[n+1]})
		}
	}
	return &list
}

// serialNumber makes a UUID (version 8, RFC 9562) from a digest.
func serialNumber(digest string) string {
	sum := sha256.Sum256([]byte("tidewaiter bill of materials of " + digest))
	b := sum[:16]
	b[6], b[8] = b[6]&0x0f|0x80, b[8]&0x3f|0x80
	return fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:16])
}
