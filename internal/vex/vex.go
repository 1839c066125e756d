// Package vex reads documents that say which vulnerabilities do not matter to
// which products: OpenVEX (https://github.com/openvex/spec) and CycloneDX
// (https://cyclonedx.org/capabilities/vex/), as JSON.
package vex

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

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
	Document      string // the id of the one that it is from
	Vulnerability string
	Aliases       []string
	Products      []Product
	Status        Status
	Justification string // in OpenVEX's words, or CycloneDX's where it has none (justificationOf), or ""
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
	maxAliases    = 50      // of a statement
	maxName       = 256     // bytes of the name of a vulnerability
	maxText       = 4_096   // bytes of any other text
)

// Read reads a document. Errors are of kind [tidewaiter.Invalid], or
// [tidewaiter.TooLarge].
func Read(text []byte) (Document, error) {
	if len(text) > MaxBytes {
		return Document{}, tidewaiter.Errorf(tidewaiter.TooLarge, "the document has more than %d bytes", MaxBytes)
	}
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	if !utf8.Valid(text) {
		return Document{}, invalid("document", "it is no JSON object: it is not UTF-8")
	}
	var form struct {
		Context   any `json:"@context"`
		BOMFormat any `json:"bomFormat"`
	}
	if err := json.Unmarshal(text, &form); err != nil {
		return Document{}, invalid("document", "it is no JSON object: %v", err)
	}
	if err := checkKeys(text); err != nil {
		return Document{}, err
	}
	var r reader
	var err error
	context, _ := form.Context.(string)
	switch {
	case isOpenVEX(context):
		err = r.readOpenVEX(text)
	case strings.HasPrefix(context, openVEXContext):
		return Document{}, invalid("@context", "this version of OpenVEX is not known; 0.0.1 to 0.2.0 are")
	case form.BOMFormat == "CycloneDX":
		err = r.readCycloneDX(text)
	default:
		return Document{}, invalid("document", "it is neither OpenVEX (its @context is https://openvex.dev/ns/…) nor CycloneDX (its bomFormat is CycloneDX)")
	}
	if err != nil {
		return Document{}, err
	}
	if len(r.Statements) == 0 {
		return Document{}, invalid("statements", "the document says nothing: it has no statements, or no vulnerability in it has an analysis with a state")
	}
	return r.Document, nil
}

func invalid(field, format string, args ...any) error {
	return tidewaiter.InvalidField(field, format, args...)
}

// reader puts a document together.
type reader struct {
	Document

	products int
}

// begin takes what is said of the whole document; idField is what the form
// calls its id.
func (r *reader) begin(idField, id, author string, issued time.Time) error {
	if id == "" {
		return invalid("document", "it has no id; give it one (%s), so that its next version can take its place", idField)
	}
	r.ID, r.Author, r.Issued = id, author, issued
	if err := checkText(idField, id); err != nil {
		return err
	}
	return checkText("author", author)
}

// add takes a statement, of which the form has checked the status and the
// justification. It is at a field of the document.
func (r *reader) add(at string, s Statement) error {
	if len(r.Statements) == maxStatements {
		return tidewaiter.Errorf(tidewaiter.TooLarge, "the document has more than %d statements; split it", maxStatements)
	}
	if s.Vulnerability == "" {
		return invalid(at, "it names no vulnerability; give it the name by which advisories know it, such as CVE-2026-1000")
	}
	s.Aliases = slices.DeleteFunc(s.Aliases, func(alias string) bool { return alias == "" || alias == s.Vulnerability })
	if len(s.Aliases) > maxAliases {
		return invalid(at, "its vulnerability has more than %d aliases", maxAliases)
	}
	for _, name := range s.Names() {
		if len(name) > maxName || strings.ContainsFunc(name, func(r rune) bool { return unicode.IsSpace(r) || acts(r) }) {
			return invalid(at, "a name of its vulnerability is longer than %d bytes, or has a space or a control character", maxName)
		}
	}
	if len(s.Products) == 0 {
		return invalid(at, "it names no product that is an image with its digest (pkg:oci/name@sha256:…), a package within one, or a package (pkg:deb/debian/curl); "+
			"a package within a package cannot be told apart here")
	}
	if r.products += len(s.Products); r.products > maxProducts {
		return tidewaiter.Errorf(tidewaiter.TooLarge, "the document names more than %d products; split it", maxProducts)
	}
	for _, p := range s.Products {
		if err := checkText(at, p.Package); err != nil {
			return err
		}
	}
	s.Remark = strings.TrimSpace(strings.ReplaceAll(s.Remark, "\r\n", "\n"))
	if err := checkText(at, strings.NewReplacer("\n", "", "\t", "").Replace(s.Remark)); err != nil {
		return err
	}
	s.Document = r.ID
	r.Statements = append(r.Statements, s)
	return nil
}

// checkText refuses a text that nobody could read, or that would act on whoever
// looks at it.
func checkText(field, text string) error {
	switch {
	case len(text) > maxText:
		return invalid(field, "a text in it is longer than %d bytes", maxText)
	case !utf8.ValidString(text):
		return invalid(field, "a text in it is not UTF-8")
	case strings.ContainsFunc(text, acts):
		return invalid(field, "a text in it has a control character")
	}
	return nil
}

func acts(r rune) bool {
	return unicode.IsControl(r) || unicode.In(r, unicode.Zl, unicode.Zp, unicode.Bidi_Control)
}

// timeAt reads a time, zero if there is none.
func timeAt(field, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, invalid(field, "it is no time; write it as 2027-01-31T00:00:00Z")
	}
	return t, nil
}
