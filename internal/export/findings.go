package export

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/advisory"
	"github.com/tidewaiter/tidewaiter/internal/advisory/vulns"
	"github.com/tidewaiter/tidewaiter/internal/vex"
)

// Finding is a vulnerability in a package of an image.
type Finding struct {
	tidewaiter.Vulnerability

	Package int // its place in the image's list of packages
	Threat  tidewaiter.Threat
	Handled *Handled // nil if nobody says that there is nothing to do
	Summary string   // of the advisory
	URL     string   // where more is said, or ""
}

// Handled is what a VEX document says of a finding.
type Handled struct {
	Document, Status, Justification, Remark string
}

// Excuse has VEX documents say which findings there is nothing to do about. Of
// several documents the first one counts.
func (i *Image) Excuse(documents []vex.Document) {
	if i.Judgement == nil {
		return
	}
	counts := make([][]vex.Statement, len(documents))
	for n := range documents {
		counts[n] = documents[n].InForce()
	}
	for n := range i.Judgement.Findings {
		f := &i.Judgement.Findings[n]
		named, _ := i.View.System.Named(i.View.Packages[f.Package].Package)
		for m, d := range documents {
			for _, s := range counts[m] {
				if f.Handled == nil && s.Handles() && i.concerns(s, f, named) {
					f.Handled = &Handled{d.ID, string(s.Status), s.Justification, s.Remark}
				}
			}
		}
	}
}

// concerns tells whether a statement is about a finding in a package.
func (i *Image) concerns(s vex.Statement, f *Finding, p tidewaiter.Package) bool {
	names := append([]string{f.Name}, f.Aliases...)
	if !slices.ContainsFunc(s.Names(), func(name string) bool { return slices.Contains(names, name) }) {
		return false
	}
	return slices.ContainsFunc(s.Products, func(product vex.Product) bool {
		return (product.Image == "" || product.Image == i.Digest) && (product.Package == "" || tidewaiter.MatchesPackageURL(product.Package, p))
	})
}

// Open are the findings that nobody has handled.
func (j *Judgement) Open() []Finding {
	return slices.DeleteFunc(slices.Clone(j.Findings), func(f Finding) bool { return f.Handled != nil })
}

// Unjudged is a package of which it is not known what vulnerabilities it has.
type Unjudged struct {
	Package int // its place in the image's list of packages
	Gap     tidewaiter.MatchGap
}

// Judgement is what advisories say about an image.
type Judgement struct {
	Advisories tidewaiter.Digest // of the set
	Newest     string            // when the newest of them was changed, RFC 3339, or ""
	Findings   []Finding         // the worst first
	Unjudged   []Unjudged
}

// Judge matches the packages of an image with advisories.
func (i *Image) Judge(index *advisory.Index) error {
	release := advisory.ReleaseOf(i.View.System.System)
	packages := make([]tidewaiter.Package, len(i.View.Packages))
	for n, p := range i.View.Packages {
		packages[n], _ = i.View.System.Named(p.Package)
	}
	j := &Judgement{Advisories: index.Digest(), Newest: written(index.Meta().Newest)}
	err := index.MatchEach(packages, release, func(n int, r advisory.Result) error {
		if r.Gap != tidewaiter.NoGap {
			j.Unjudged = append(j.Unjudged, Unjudged{n, r.Gap})
		}
		for _, v := range vulns.Of(r.Matches) {
			j.Findings = append(j.Findings, Finding{Vulnerability: v, Package: n})
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("match packages: %w", err)
	}
	slices.SortStableFunc(j.Findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(b.Severity.Level.Rank(), a.Severity.Level.Rank()), cmp.Compare(b.Severity.Score, a.Severity.Score), cmp.Compare(a.Name, b.Name))
	})
	for n := range j.Findings {
		f := &j.Findings[n]
		a, err := index.Advisory(f.Advisory)
		if err != nil && tidewaiter.KindOf(err) != tidewaiter.NotFound {
			return err
		}
		if f.Threat, _, err = index.Threat(f.Name); err != nil {
			return err
		}
		f.Summary = a.Summary
		for _, r := range a.References {
			if f.URL == "" || r.Type == "ADVISORY" {
				f.URL = r.URL
			}
		}
	}
	i.Judgement = j
	return nil
}

// Judged tells whether it is known of all packages what vulnerabilities they
// have.
func (i *Image) Judged() bool { return i.Judgement == nil || len(i.Judgement.Unjudged) == 0 }

// Unjudged says in a line for each reason of how many packages it is not known
// what they have.
func (i *Image) Unjudged() []string {
	if i.Judgement == nil {
		return nil
	}
	var lines []string
	for _, gap := range []tidewaiter.MatchGap{tidewaiter.GapRelease, tidewaiter.GapEcosystem, tidewaiter.GapVersion} {
		var names []string
		for _, u := range i.Judgement.Unjudged {
			if p := i.View.Packages[u.Package]; u.Gap == gap {
				names = append(names, p.Type+" "+p.Name)
			}
		}
		if n := len(names); n > 0 {
			const most = 3
			text := strings.Join(names[:min(n, most)], ", ")
			if n > most {
				text += ", …"
			}
			lines = append(lines, fmt.Sprintf("%d packages were not judged, as %s: %s", n, DescribeGap(gap), text))
		}
	}
	return lines
}

// DescribeGap says in a line why it is not known what a package has.
func DescribeGap(g tidewaiter.MatchGap) string {
	switch g {
	case tidewaiter.GapRelease:
		return "nobody knows of which release of which distribution they are"
	case tidewaiter.GapEcosystem:
		return "there are no advisories about their ecosystem or release"
	case tidewaiter.GapVersion:
		return "their version cannot be read"
	}
	return string(g)
}
