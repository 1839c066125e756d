package vex

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	cyclonedx "github.com/CycloneDX/cyclonedx-go"
)

// stateOf is what CycloneDX calls a status.
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
	return Status(s)
}

// justificationOf has CycloneDX's justifications in OpenVEX's words, where it
// has one that says the same.
func justificationOf(j cyclonedx.ImpactAnalysisJustification) string {
	switch j {
	case cyclonedx.IAJCodeNotPresent:
		return "vulnerable_code_not_present"
	case cyclonedx.IAJCodeNotReachable:
		return "vulnerable_code_not_in_execute_path"
	case cyclonedx.IAJProtectedAtRuntime, cyclonedx.IAJProtectedAtPerimeter, cyclonedx.IAJProtectedByMitigatingControl, cyclonedx.IAJProtectedByCompiler:
		return "inline_mitigations_already_exist"
	}
	return string(j)
}

func readCycloneDX(text []byte) (Document, error) {
	var bom cyclonedx.BOM
	if err := cyclonedx.NewBOMDecoder(bytes.NewReader(text), cyclonedx.BOMFileFormatJSON).Decode(&bom); err != nil {
		return Document{}, invalid("document", "it is no CycloneDX: %v", err)
	}
	d := Document{ID: bom.SerialNumber}
	components := make(map[string]string) // package URLs by reference
	var walk func(list *[]cyclonedx.Component)
	walk = func(list *[]cyclonedx.Component) {
		if list == nil {
			return
		}
		for _, c := range *list {
			components[c.BOMRef] = c.PackageURL
			walk(c.Components)
		}
	}
	walk(bom.Components)
	if m := bom.Metadata; m != nil {
		d.Issued, _ = time.Parse(time.RFC3339, m.Timestamp)
		if m.Authors != nil && len(*m.Authors) > 0 {
			d.Author = (*m.Authors)[0].Name
		}
		if m.Component != nil {
			components[m.Component.BOMRef] = m.Component.PackageURL
			walk(m.Component.Components)
		}
	}
	if bom.Vulnerabilities == nil {
		return d, nil
	}
	for i, v := range *bom.Vulnerabilities {
		if v.Analysis == nil {
			continue // it says that there is one, and nothing about it
		}
		s := Statement{
			Vulnerability: v.ID, Status: stateOf(v.Analysis.State), Justification: justificationOf(v.Analysis.Justification), Remark: v.Analysis.Detail, Issued: d.Issued,
		}
		if v.Analysis.State == cyclonedx.IASFalsePositive && s.Justification == "" && s.Remark == "" {
			s.Remark = "false positive"
		}
		if t, err := time.Parse(time.RFC3339, v.Analysis.LastUpdated); err == nil {
			s.Issued = t
		}
		if v.References != nil {
			for _, r := range *v.References {
				s.Aliases = append(s.Aliases, r.ID)
			}
		}
		if v.Affects != nil {
			for k, a := range *v.Affects {
				p, err := affected(a.Ref, components)
				if err != nil {
					return Document{}, invalid(fmt.Sprintf("vulnerabilities[%d].affects[%d]", i, k), "%v", err)
				}
				s.Products = append(s.Products, p...)
			}
		}
		d.Statements = append(d.Statements, s)
	}
	return d, nil
}

// affected returns what a reference is about: to a component of the document,
// or of another one (https://cyclonedx.org/capabilities/bomlink/), whose
// reference then has to be a package URL.
func affected(ref string, components map[string]string) ([]Product, error) {
	purl, known := components[ref]
	if !known {
		_, purl, _ = strings.Cut(ref, "#")
		if purl == "" {
			purl = ref
		}
	}
	p, ok := product(purl)
	if !ok && !known && packageURL(purl) == "" {
		return nil, fmt.Errorf("%.80q is no component of the document, and no package URL", ref)
	}
	if !ok {
		return nil, nil
	}
	return []Product{p}, nil
}
