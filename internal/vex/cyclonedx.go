package vex

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	cyclonedx "github.com/CycloneDX/cyclonedx-go"

	"github.com/tidewaiter/tidewaiter"
)

// stateOf is what CycloneDX calls a status, "" for what it does not.
func stateOf(s cyclonedx.ImpactAnalysisState) Status {
	switch s {
	case cyclonedx.IASNotAffected, cyclonedx.IASFalsePositive:
		return NotAffected
	case cyclonedx.IASResolved, cyclonedx.IASResolvedWithPedigree:
		return Fixed
	case cyclonedx.IASExploitable:
		return Affected
	case cyclonedx.IASInTriage:
		return UnderInvestigation
	}
	return ""
}

// justificationOf has CycloneDX's justifications in OpenVEX's words, where it
// has one that says the same.
func justificationOf(j cyclonedx.ImpactAnalysisJustification) (word string, ok bool) {
	switch j {
	case cyclonedx.IAJCodeNotPresent:
		return "vulnerable_code_not_present", true
	case cyclonedx.IAJCodeNotReachable:
		return "vulnerable_code_not_in_execute_path", true
	case cyclonedx.IAJProtectedAtRuntime, cyclonedx.IAJProtectedAtPerimeter, cyclonedx.IAJProtectedByMitigatingControl, cyclonedx.IAJProtectedByCompiler:
		return "inline_mitigations_already_exist", true
	case cyclonedx.IAJRequiresConfiguration, cyclonedx.IAJRequiresDependency, cyclonedx.IAJRequiresEnvironment, "":
		return string(j), true
	}
	return "", false
}

func (r *reader) readCycloneDX(text []byte) error {
	var bom cyclonedx.BOM
	if err := decode("document", text, &bom); err != nil {
		if errors.Is(err, cyclonedx.ErrInvalidSpecVersion) {
			return invalid("specVersion", "this version of CycloneDX is not known; 1.4 to 1.7 are")
		}
		return err
	}
	if bom.SpecVersion < cyclonedx.SpecVersion1_4 {
		return invalid("specVersion", "it is missing, or older than 1.4, the first that has vulnerabilities")
	}
	m := bom.Metadata
	if m == nil {
		m = &cyclonedx.Metadata{}
	}
	issued, err := timeAt("metadata.timestamp", m.Timestamp)
	if err != nil {
		return err
	}
	if err := r.begin("serialNumber", bom.SerialNumber, authorOf(m), issued); err != nil {
		return err
	}
	known := components{serial: strings.TrimPrefix(bom.SerialNumber, "urn:uuid:"), products: make(map[string]Product)}
	if m.Component != nil {
		if known.subject, err = known.add(*m.Component, scope{}); err != nil {
			return err
		}
	}
	if err := known.addAll(bom.Components, known.subject); err != nil {
		return err
	}
	for i, v := range all(bom.Vulnerabilities) {
		if v.Analysis == nil || v.Analysis.State == "" {
			continue // it says that there is one, and nothing about it
		}
		at := fmt.Sprintf("vulnerabilities[%d]", i)
		s, err := known.statement(at, v, issued)
		if err != nil {
			return err
		}
		if err := r.add(at, s); err != nil {
			return err
		}
	}
	return nil
}

// authorOf returns who is named as responsible for a document.
func authorOf(m *cyclonedx.Metadata) string {
	for _, a := range all(m.Authors) {
		if a.Name != "" {
			return a.Name
		}
	}
	for _, e := range []*cyclonedx.OrganizationalEntity{m.Manufacturer, m.Manufacture, m.Supplier} {
		if e != nil && e.Name != "" {
			return e.Name
		}
	}
	return ""
}

// statement returns what is said of a vulnerability.
func (c *components) statement(at string, v cyclonedx.Vulnerability, issued time.Time) (Statement, error) {
	a := v.Analysis
	s := Statement{Vulnerability: v.ID, Status: stateOf(a.State), Remark: a.Detail, Issued: issued}
	if s.Status == "" {
		return s, invalid(at+".analysis.state", "it is none of not_affected, false_positive, resolved, resolved_with_pedigree, exploitable, in_triage")
	}
	var ok bool
	if s.Justification, ok = justificationOf(a.Justification); !ok {
		return s, invalid(at+".analysis.justification", "it is no justification of CycloneDX, such as code_not_present or code_not_reachable")
	}
	if s.Status == NotAffected && s.Justification == "" && s.Remark == "" {
		if a.State != cyclonedx.IASFalsePositive {
			return s, invalid(at+".analysis", "not_affected needs a justification or a detail")
		}
		s.Remark = "false positive"
	}
	for _, field := range [][2]string{{"firstIssued", a.FirstIssued}, {"lastUpdated", a.LastUpdated}} {
		t, err := timeAt(at+".analysis."+field[0], field[1])
		if err != nil {
			return s, err
		}
		if !t.IsZero() {
			s.Issued = t
		}
	}
	for _, r := range all(v.References) {
		s.Aliases = append(s.Aliases, r.ID)
	}
	for k, affects := range all(v.Affects) {
		p, ok := c.find(affects.Ref)
		if !ok {
			return s, invalid(fmt.Sprintf("%s.affects[%d].ref", at, k), "it is no component of the document, and no package URL")
		}
		s.Products = append(s.Products, versionsOf(p, s, all(affects.Range))...)
	}
	return s, nil
}

// versionsOf returns the versions of a product that a statement is about, if
// any are given. That there is nothing to do is taken from what is told version
// by version; ranges are in the notation of each ecosystem.
func versionsOf(p Product, s Statement, versions []cyclonedx.AffectedVersions) (list []Product) {
	if p == (Product{}) {
		return nil
	}
	if _, _, versioned := cutVersion(p.Package); len(versions) == 0 || versioned || p.Package == "" {
		return []Product{p}
	}
	for _, v := range versions {
		one := p
		switch {
		case v.Version != "":
			one.Package += "@" + v.Version
			if s.Handles() && v.Status != "" && v.Status != cyclonedx.VulnerabilityStatusNotAffected {
				continue
			}
		case s.Handles():
			continue
		}
		if !slices.Contains(list, one) {
			list = append(list, one)
		}
	}
	return list
}

// components are those of a document.
type components struct {
	serial   string             // of the document, without its scheme
	subject  scope              // of what the document as a whole is about
	products map[string]Product // by reference, zero for what cannot be told apart here
}

// scope is what components are in: an image, or one that is nobody in
// particular, or neither.
type scope struct {
	image   tidewaiter.Digest
	nowhere bool
}

// product returns what a package in it is, zero for what cannot be told apart
// here.
func (s scope) product(purl string) Product {
	if s.nowhere || !isPackage(purl) {
		return Product{}
	}
	return Product{Image: s.image, Package: packageURL(purl)}
}

// add takes a component and those in it, and returns what is in it.
func (c *components) add(from cyclonedx.Component, in scope) (scope, error) {
	p := in.product(from.PackageURL)
	if from.Type == cyclonedx.ComponentTypeContainer || isImage(packageURL(from.PackageURL)) {
		p, _ = product(from.PackageURL)
		if p.Package = ""; p.Image == "" && digestForm.MatchString(from.Version) {
			p.Image = tidewaiter.Digest(from.Version)
		}
		in = scope{p.Image, p.Image == ""}
	}
	if ref := from.BOMRef; ref != "" {
		if before, ok := c.products[ref]; ok && before != p {
			return in, invalid("components", "two of them have the same bom-ref; give each its own")
		}
		c.products[ref] = p
	}
	return in, c.addAll(from.Components, in)
}

func (c *components) addAll(list *[]cyclonedx.Component, in scope) error {
	for _, from := range all(list) {
		if _, err := c.add(from, in); err != nil {
			return err
		}
	}
	return nil
}

// find returns what a reference is about, zero for what cannot be told apart
// here: a component of the document, or of another one
// (https://cyclonedx.org/capabilities/bomlink/), whose reference then has to be
// a package URL, or what our own bills of materials call an image.
func (c *components) find(ref string) (p Product, ok bool) {
	in, foreign := c.subject, false
	if link, ok := strings.CutPrefix(ref, "urn:cdx:"); ok {
		document, inner, _ := strings.Cut(link, "#")
		if plain, err := url.PathUnescape(inner); err == nil && !strings.HasPrefix(inner, "pkg:") {
			inner = plain
		}
		ref = inner
		if serial, _, _ := strings.Cut(document, "/"); serial != c.serial {
			in, foreign = scope{}, true
		}
	}
	if p, ok = c.products[ref]; ok && !foreign {
		return p, true
	}
	if isPackage(ref) {
		return in.product(ref), true
	}
	p, ok = product(strings.TrimPrefix(ref, "image:"))
	return p, ok || isImage(packageURL(ref))
}

func all[T any](list *[]T) []T {
	if list == nil {
		return nil
	}
	return *list
}
