// Package vex reads documents that say which vulnerabilities do not matter to
// which products: OpenVEX (https://github.com/openvex/spec) and CycloneDX
// (https://cyclonedx.org/capabilities/vex/), as JSON.
package vex

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/tidewaiter/tidewaiter"
)

// Status is what a vulnerability is to a product, in OpenVEX's words.
type Status string

// The statuses.
const (
	NotAffected        Status = "not_affected"
	Affected           Status = "affected"
	Fixed              Status = "fixed"
	UnderInvestigation Status = "under_investigation"
)

// Document is a VEX document.
type Document struct {
	ID         string // which names it, also in its later versions
	Author     string
	Issued     time.Time
	Statements []Statement
}

// Statement says what a vulnerability is to products.
type Statement struct {
	Vulnerability string
	Aliases       []string
	Products      []Product
	Status        Status
	Justification string // in OpenVEX's words, or ""
	Remark        string
	Issued        time.Time
}

// Product is what a statement is about: an image, or some packages within it,
// or packages wherever they are.
type Product struct {
	Image   tidewaiter.Digest // of the manifest, "" for any image
	Package string            // package URL without qualifiers and subpath, "" for the whole image
}

// Names are all names of the vulnerability.
func (s Statement) Names() []string { return append([]string{s.Vulnerability}, s.Aliases...) }

// Handles tells whether there is nothing to do about the vulnerability.
func (s Statement) Handles() bool { return s.Status == NotAffected || s.Status == Fixed }

// Bounds of a document.
const (
	MaxBytes      = 12 << 20
	maxStatements = 20_000
	maxProducts   = 100_000 // of all statements together
	maxText       = 4_096
)

// Read reads a document. Errors are of kind [tidewaiter.Invalid], or
// [tidewaiter.TooLarge].
func Read(text []byte) (d Document, err error) {
	if len(text) > MaxBytes {
		return d, tidewaiter.Errorf(tidewaiter.TooLarge, "the document has more than %d bytes", MaxBytes)
	}
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	var form struct {
		Context   string `json:"@context"`
		BOMFormat string `json:"bomFormat"`
	}
	if err := json.Unmarshal(text, &form); err != nil {
		return d, invalid("document", "it is no JSON object: %v", err)
	}
	switch {
	case strings.HasPrefix(form.Context, "https://openvex.dev/ns"):
		d, err = readOpenVEX(text)
	case form.BOMFormat == "CycloneDX":
		d, err = readCycloneDX(text)
	default:
		return d, invalid("document", "it is neither OpenVEX (its @context is https://openvex.dev/ns/…) nor CycloneDX (its bomFormat is CycloneDX)")
	}
	if err != nil {
		return Document{}, err
	}
	return d, d.check()
}

func invalid(field, format string, args ...any) error {
	return tidewaiter.InvalidField(field, format, args...)
}

func (d *Document) check() error {
	if d.ID == "" {
		return invalid("document", "it has no id; give it one, so that its next version can take its place")
	}
	if len(d.Statements) == 0 {
		return invalid("statements", "the document says nothing")
	}
	if len(d.Statements) > maxStatements {
		return tidewaiter.Errorf(tidewaiter.TooLarge, "the document has more than %d statements", maxStatements)
	}
	products := 0
	texts := map[string]string{"id": d.ID, "author": d.Author}
	for i, s := range d.Statements {
		at := fmt.Sprintf("statements[%d]", i)
		switch {
		case s.Vulnerability == "":
			return invalid(at, "it names no vulnerability")
		case s.Status != NotAffected && s.Status != Affected && s.Status != Fixed && s.Status != UnderInvestigation:
			return invalid(at+".status", "%.40q is none of not_affected, affected, fixed, under_investigation", s.Status)
		case s.Status == NotAffected && s.Justification == "" && s.Remark == "":
			return invalid(at, "not_affected needs a justification or an impact statement")
		case len(s.Products) == 0:
			return invalid(at+".products", "it names no product that is an image with its digest (pkg:oci/name@sha256:…) or a package (pkg:deb/debian/curl)")
		}
		if products += len(s.Products); products > maxProducts {
			return tidewaiter.Errorf(tidewaiter.TooLarge, "the document names more than %d products", maxProducts)
		}
		texts[at+".vulnerability"], texts[at+".justification"], texts[at+".remark"] = s.Vulnerability, s.Justification, s.Remark
		for _, p := range s.Products {
			texts[at+".products"] = p.Package
		}
	}
	for field, text := range texts {
		if len(text) > maxText {
			return invalid(field, "it is longer than %d bytes", maxText)
		}
		if strings.ContainsFunc(text, func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' }) {
			return invalid(field, "it has a control character")
		}
	}
	return nil
}

// InForce returns the statements that count: of those about the same
// vulnerability in the same product, the last one issued.
func (d *Document) InForce() []Statement {
	type about struct {
		vulnerability string
		product       Product
	}
	last := make(map[about]int)
	for i, s := range d.Statements {
		for _, p := range s.Products {
			key := about{s.Vulnerability, p}
			if before, ok := last[key]; !ok || !s.Issued.Before(d.Statements[before].Issued) {
				last[key] = i
			}
		}
	}
	var list []Statement
	for i, s := range d.Statements {
		var products []Product
		for _, p := range s.Products {
			if last[about{s.Vulnerability, p}] == i {
				products = append(products, p)
				last[about{s.Vulnerability, p}] = -1 // each once
			}
		}
		if len(products) > 0 {
			s.Products = products
			list = append(list, s)
		}
	}
	return list
}
