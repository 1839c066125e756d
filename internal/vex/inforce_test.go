package vex_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/vex"
)

// document has statements that are written as "day status names product…": a
// name may have aliases after "=", a product is an image, a package in any
// image, or a package in an image (image/package).
func document(lines ...string) *vex.Document {
	var d vex.Document
	for _, line := range lines {
		f := strings.Fields(line)
		names := strings.Split(f[2], "=")
		s := vex.Statement{Vulnerability: names[0], Aliases: names[1:], Status: vex.Status(f[1]), Issued: at("2026-01-0" + f[0] + "T00:00:00Z")}
		for _, p := range f[3:] {
			image, pkg, ok := strings.Cut(p, "/")
			if !ok && !strings.HasPrefix(p, "i") {
				image, pkg = "", p
			}
			if pkg != "" {
				pkg = "pkg:npm/" + pkg
			}
			s.Products = append(s.Products, vex.Product{Image: tidewaiter.Digest(image), Package: pkg})
		}
		d.Statements = append(d.Statements, s)
	}
	return &d
}

// lines is the inverse of document.
func lines(statements []vex.Statement) (list []string) {
	for _, s := range statements {
		line := fmt.Sprintf("%d %s %s", s.Issued.Day(), s.Status, strings.Join(s.Names(), "="))
		for _, p := range s.Products {
			line += " " + strings.Trim(string(p.Image)+"/"+strings.TrimPrefix(p.Package, "pkg:npm/"), "/")
		}
		list = append(list, line)
	}
	return list
}

func TestInForce(t *testing.T) {
	for name, tt := range map[string]struct{ document, want []string }{
		"the last one": {
			[]string{"3 affected A i1", "1 not_affected A i1 i2 i2", "2 fixed A i2", "2 under_investigation A i2"},
			[]string{"3 affected A i1", "2 under_investigation A i2"}},
		"a product twice": {
			[]string{"1 fixed A a b a"},
			[]string{"1 fixed A a b"}},
		"each product for itself": {
			[]string{"1 fixed A a b i1/a", "2 affected A b"},
			[]string{"1 fixed A a i1/a", "2 affected A b"}},
		"by an alias": {
			[]string{"1 fixed A=G a", "2 affected G a"},
			[]string{"2 affected G a"}},
		"of an alias": {
			[]string{"1 fixed G a", "2 affected A=G a"},
			[]string{"2 affected A=G a"}},
		"two that have an alias in common": {
			[]string{"1 fixed A=G a", "2 affected B=G a"},
			[]string{"1 fixed A=G a", "2 affected B=G a"}},
		"an image, and then a package in it": {
			[]string{"1 affected A i1", "2 fixed A i1/a"},
			[]string{"1 affected A i1", "2 fixed A i1/a"}},
		"a package, and then all of its image": {
			[]string{"1 fixed A i1/a i2/a", "2 affected A i1"},
			[]string{"1 fixed A i2/a", "2 affected A i1"}},
		"a package, and then it wherever it is": {
			[]string{"1 fixed A i1/a@1", "2 affected A a"},
			[]string{"2 affected A a"}},
		"a version, and then all": {
			[]string{"1 affected A a@1", "2 fixed A a"},
			[]string{"2 fixed A a"}},
		"a version, and all at the same time": {
			[]string{"1 fixed A a@1", "1 affected A a"},
			[]string{"1 fixed A a@1", "1 affected A a"}},
		"all but a version": {
			[]string{"1 not_affected A a b", "1 affected A a@1"},
			[]string{"1 not_affected A b", "1 affected A a@1"}},
		"all but an image, by an alias": {
			[]string{"1 not_affected A=G a", "2 under_investigation G i1/a"},
			[]string{"2 under_investigation G i1/a"}},
		"all but a version that was fixed since": {
			[]string{"1 not_affected A a", "2 affected A a@1", "3 fixed A a@1"},
			[]string{"1 not_affected A a", "3 fixed A a@1"}},
		"an npm scope is no version": {
			[]string{"1 not_affected A @s/a", "2 affected A @s/b"},
			[]string{"1 not_affected A @s/a", "2 affected A @s/b"}},
	} {
		d := document(tt.document...)
		if diff := cmp.Diff(tt.want, lines(d.InForce())); diff != "" {
			t.Errorf("%s (-want +got)\n%s", name, diff)
		}
		if diff := cmp.Diff(tt.document, lines(d.Statements)); diff != "" {
			t.Errorf("%s: the document has changed (-want +got)\n%s", name, diff)
		}
	}
}

// within tells whether a product is a part of another one, or the same.
func within(p, of vex.Product) bool {
	base, _, _ := strings.Cut(p.Package, "@")
	return (of.Image == "" || of.Image == p.Image) && (of.Package == "" || of.Package == p.Package || of.Package == base)
}

func sameVulnerability(a, b vex.Statement) bool {
	return slices.Contains(a.Names(), b.Vulnerability) || slices.Contains(b.Names(), a.Vulnerability)
}

// naiveInForce says the same as InForce, by comparing everything.
func naiveInForce(d *vex.Document) []vex.Statement {
	type said struct {
		statement int
		product   vex.Product
	}
	var all, counts []said
	for i, s := range d.Statements {
		for _, p := range s.Products {
			if !slices.Contains(all, said{i, p}) {
				all = append(all, said{i, p})
			}
		}
	}
	of := func(x said) vex.Statement { return d.Statements[x.statement] }
	for _, x := range all {
		if !slices.ContainsFunc(all, func(y said) bool {
			c := of(y).Issued.Compare(of(x).Issued)
			if x.product == y.product {
				return sameVulnerability(of(x), of(y)) && (c > 0 || c == 0 && y.statement > x.statement)
			}
			return sameVulnerability(of(x), of(y)) && within(x.product, y.product) && c > 0
		}) {
			counts = append(counts, x)
		}
	}
	var list []vex.Statement
	for i, s := range d.Statements {
		s.Products = nil
		for _, x := range counts {
			if x.statement == i && !(s.Handles() && slices.ContainsFunc(counts, func(y said) bool {
				return !of(y).Handles() && sameVulnerability(s, of(y)) && within(y.product, x.product) && !of(y).Issued.Before(s.Issued)
			})) {
				s.Products = append(s.Products, x.product)
			}
		}
		if len(s.Products) > 0 {
			list = append(list, s)
		}
	}
	return list
}

func TestInForceIsTheNaiveOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		product := rapid.SampledFrom([]string{"i1", "i2", "a", "a@1", "a@2", "b", "i1/a", "i1/a@1", "i2/a@1", "i1/b"})
		name := rapid.SampledFrom([]string{"A", "B", "A=G", "B=G", "G", "G=A", "A=B", "C=A=B"})
		status := rapid.SampledFrom([]vex.Status{vex.NotAffected, vex.Affected, vex.Fixed, vex.UnderInvestigation})
		var text []string
		for range rapid.IntRange(1, 8).Draw(t, "statements") {
			text = append(text, fmt.Sprintf("%d %s %s %s", rapid.IntRange(1, 4).Draw(t, "day"), status.Draw(t, "status"), name.Draw(t, "name"),
				strings.Join(rapid.SliceOfN(product, 1, 4).Draw(t, "products"), " ")))
		}
		d := document(text...)
		if diff := cmp.Diff(lines(naiveInForce(d)), lines(d.InForce())); diff != "" {
			t.Errorf("%q (-want +got)\n%s", text, diff)
		}
	})
}

// TestInForceOfMany asks for what a document of the largest size says: a
// comparison of each with each would not come to an end.
func TestInForceOfMany(t *testing.T) {
	var d vex.Document
	for i := range 20_000 {
		s := vex.Statement{Vulnerability: fmt.Sprint("CVE-", i%5_000), Status: vex.Fixed, Issued: at("2026-01-01T00:00:00Z").Add(time.Duration(i) * time.Second)}
		for k := range 5 {
			s.Products = append(s.Products, vex.Product{Package: fmt.Sprint("pkg:npm/a", k, "@", i%3)})
			s.Aliases = append(s.Aliases, fmt.Sprint("CVE-", 10_000+i%5_000+k))
		}
		d.Statements = append(d.Statements, s)
	}
	products := 0
	for _, s := range d.InForce() {
		products += len(s.Products)
	}
	if want := 5_000 * 5 * 3; products != want {
		t.Errorf("%d products, want %d", products, want)
	}
}
