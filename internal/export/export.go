// Package export writes down what is in an image: as JSON of our own, and as a
// bill of materials in the form of CycloneDX. The same image and the same
// extractors make the same bytes.
package export

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/overlay"
)

// Image is an image that was looked into.
type Image struct {
	tidewaiter.Image
	Names      []string // by which it is known, with tag or digest
	Created    time.Time
	Config     *tidewaiter.ImageConfig // nil if it is not known
	Extractors string                  // version of the set of extractors
	Problem    string                  // why nothing of it was read, or ""
	Facts      []tidewaiter.LayerFacts // of the layers, the lowest first
	View       overlay.View
	Judgement  *Judgement // nil if nobody asked the advisories
}

// The statuses of an image.
const (
	Complete = "complete" // everything was looked into
	Partial  = "partial"  // something was not: see the cuts
	Failed   = "failed"   // nothing was
)

// Status says how far an image was looked into.
func (i *Image) Status() string {
	switch {
	case i.Problem != "":
		return Failed
	case len(i.View.Cuts) > 0:
		return Partial
	}
	return Complete
}

// Step returns the build step that made a layer, if it is known.
func (i *Image) Step(layer int) (tidewaiter.BuildStep, bool) {
	if i.Config == nil {
		return tidewaiter.BuildStep{}, false
	}
	n := i.Config.StepOf(layer)
	if n < 0 {
		return tidewaiter.BuildStep{}, false
	}
	return i.Config.Steps[n], true
}

// Location returns the file that says that a package is there, and the archives
// within it: srv/a.war!/WEB-INF/lib/b.jar.
func Location(p tidewaiter.Package) string {
	return strings.Join(append([]string{p.Path}, p.Inside...), "!/")
}

// DescribeCut says in a line what was not looked into.
func DescribeCut(c overlay.Cut) string {
	where := fmt.Sprintf("layer %d", c.Layer)
	if c.Path != "" {
		where += ", " + c.Path
	}
	return where + ": " + c.Reason + " (" + c.Code + ")"
}

// writeEscaped writes JSON. Characters that would act on a terminal, which JSON
// allows within its strings, are written as escapes.
func writeEscaped(w io.Writer, b []byte) error {
	var out bytes.Buffer
	out.Grow(len(b))
	for _, r := range string(b) {
		if r != '\n' && (unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)) {
			fmt.Fprintf(&out, `\u%04x`, r)
		} else {
			out.WriteRune(r)
		}
	}
	_, err := w.Write(out.Bytes())
	return err
}
