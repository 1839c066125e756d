package vex

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/tidewaiter/tidewaiter"
)

// What may be around a document that is attached to an image.
const (
	inTotoPayload = "application/vnd.in-toto+json"        // of an envelope
	sigstoreTypes = "application/vnd.dev.sigstore.bundle" // and a version
	statementType = "https://in-toto.io/Statement/v"      // 0.1 or 1
	cycloneDXBOM  = "https://cyclonedx.org/bom"           // and a version, or none
	cycloneDXVEX  = "https://cyclonedx.org/vex"           // as above
	notOfImage    = "the attestation is about another image: none of its subjects is the one that it is attached to"
	noSuchPayload = "the envelope holds no in-toto statement that can be read"
)

// attestation is what attested documents look like, from the outside to the
// inside: a bundle of sigstore
// (https://github.com/sigstore/protobuf-specs), an envelope
// (https://github.com/secure-systems-lab/dsse), an in-toto statement
// (https://github.com/in-toto/attestation). Signatures are not looked at.
type attestation struct {
	MediaType string          `json:"mediaType"`
	Envelope  json.RawMessage `json:"dsseEnvelope"`

	PayloadType string `json:"payloadType"`
	Payload     string `json:"payload"`

	Type          string          `json:"_type"`
	PredicateType string          `json:"predicateType"`
	Predicate     json.RawMessage `json:"predicate"`
	Subject       []struct {
		Digest map[string]string `json:"digest"`
	} `json:"subject"`
}

// ReadAttached reads what is attached to an image, which is of some digests: a
// document as it is, or one in an attestation about that image. It returns
// false for what is no VEX: provenance, a bill of materials without an analysis.
// Errors are those of [Read].
func ReadAttached(text []byte, image []tidewaiter.Digest) (d Document, isVEX bool, err error) {
	// A bundle, an envelope, a statement, and the document.
	for range 4 {
		var a attestation
		if err := json.Unmarshal(text, &a); err != nil {
			return Document{}, false, invalid("document", "it is no JSON object: %v", err)
		}
		switch {
		case strings.HasPrefix(a.MediaType, sigstoreTypes):
			if a.Envelope == nil {
				return Document{}, false, nil // a signature alone
			}
			text = a.Envelope
		case a.PayloadType == inTotoPayload:
			if text, err = base64.StdEncoding.DecodeString(a.Payload); err != nil {
				return Document{}, false, invalid("payload", noSuchPayload)
			}
		case strings.HasPrefix(a.Type, statementType):
			if !isPredicate(a.PredicateType) {
				return Document{}, false, nil
			}
			if !a.isAbout(image) {
				return Document{}, false, invalid("subject", notOfImage)
			}
			text = a.Predicate
		default:
			return readBare(text)
		}
	}
	return Document{}, false, invalid("document", "it has one envelope around the other")
}

func isPredicate(t string) bool {
	return strings.HasPrefix(t, openVEXContext) || strings.HasPrefix(t, cycloneDXBOM) || strings.HasPrefix(t, cycloneDXVEX)
}

func (a attestation) isAbout(image []tidewaiter.Digest) bool {
	for _, s := range a.Subject {
		for algorithm, digits := range s.Digest {
			if slices.Contains(image, tidewaiter.Digest(algorithm+":"+digits)) {
				return true
			}
		}
	}
	return false
}

// readBare reads a document, if it is one.
func readBare(text []byte) (Document, bool, error) {
	var form struct {
		Context         any             `json:"@context"`
		BOMFormat       any             `json:"bomFormat"`
		Vulnerabilities json.RawMessage `json:"vulnerabilities"`
	}
	if err := json.Unmarshal(text, &form); err != nil {
		return Document{}, false, invalid("document", "it is no JSON object: %v", err)
	}
	context, _ := form.Context.(string)
	switch {
	case strings.HasPrefix(context, openVEXContext):
	case form.BOMFormat == "CycloneDX" && hasAnalysis(form.Vulnerabilities):
	default:
		return Document{}, false, nil
	}
	d, err := Read(text)
	return d, err == nil, err
}

// analysed is an entry of a bill of materials that says more than that there is
// a vulnerability.
type analysed struct {
	Analysis *struct{} `json:"analysis"`
}

func hasAnalysis(list json.RawMessage) bool {
	var entries []analysed
	if err := json.Unmarshal(list, &entries); err != nil {
		return list != nil // which is wrong in a way that Read has words for
	}
	return slices.ContainsFunc(entries, func(e analysed) bool { return e.Analysis != nil })
}

// Latest returns which documents count, in order: of several versions of one, by
// its id, the one that was issued last.
func Latest(documents []Document) []int {
	last := make(map[string]int)
	for i, d := range documents {
		if before, ok := last[d.ID]; !ok || !documents[before].Issued.After(d.Issued) {
			last[d.ID] = i
		}
	}
	return slices.Sorted(maps.Values(last))
}

// OfImage returns what documents say that are attached to an image, or to an
// index of some images: the statements that count, of all documents together,
// with the products that are that image or within it. A product that is no
// image is meant in this one; other images are not for such a document to judge.
func OfImage(documents []Document, image tidewaiter.Digest, within []tidewaiter.Digest) []Statement {
	var all Document
	for _, d := range documents {
		for _, s := range d.Statements {
			var products []Product
			for _, p := range s.Products {
				if p.Image == "" {
					p.Image = image
				}
				if p.Image == image || slices.Contains(within, p.Image) {
					products = append(products, p)
				}
			}
			if s.Products = products; len(products) > 0 {
				all.Statements = append(all.Statements, s)
			}
		}
	}
	return all.InForce()
}
