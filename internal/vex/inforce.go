package vex

import (
	"slices"
	"time"
)

// InForce returns the statements that count, each with the products for which
// it does. Of statements about the same vulnerability, by one of its own names
// the last one issued counts for
//   - the same product,
//   - and for what is within it: a package in an image, a version of a package.
//     Of two that were issued at the same time, the narrower one counts there.
//
// That there is nothing to do about a product is not taken from a statement if
// another, which is not older and counts, says otherwise of something in it.
func (d *Document) InForce() []Statement {
	l := newLedger(d.Statements)
	counts := make([][]int, len(d.Statements))
	otherwise := names[time.Time]{make(map[entry]time.Time), make(map[entry]time.Time)}
	for i, s := range d.Statements {
		counts[i] = slices.DeleteFunc(slices.Clone(l.about[i]), func(p int) bool { return l.outdated(i, p) })
		if s.Handles() {
			continue
		}
		for _, p := range counts[i] {
			for _, w := range l.wider[p] {
				otherwise.put(l.named[i], w, func(before time.Time) (time.Time, bool) { return s.Issued, !before.After(s.Issued) })
			}
		}
	}
	var list []Statement
	for i, s := range d.Statements {
		var products []Product
		for _, p := range counts[i] {
			if s.Handles() && otherwise.any(l.named[i], p, func(t time.Time) bool { return !t.Before(s.Issued) }) {
				continue
			}
			products = append(products, l.products[p])
		}
		if len(products) > 0 {
			s.Products = products
			list = append(list, s)
		}
	}
	return list
}

// ledger is a document by vulnerability and product, which have numbers.
type ledger struct {
	statements []Statement
	products   []Product
	wider      [][]int    // of each product: those that it is within
	about      [][]int    // of each statement: its products, each once
	named      [][]int    // of each statement: the vulnerability's own name, then those aliases that are another's own
	last       names[int] // the last statement
}

func newLedger(statements []Statement) *ledger {
	l := &ledger{statements: statements, last: names[int]{make(map[entry]int), make(map[entry]int)}}
	own := make(map[string]int)
	for _, s := range statements {
		if _, ok := own[s.Vulnerability]; !ok {
			own[s.Vulnerability] = len(own)
		}
	}
	number := make(map[Product]int)
	var seenBy []int // by product: the last statement that has named it
	for i, s := range statements {
		named := []int{own[s.Vulnerability]}
		for _, alias := range s.Aliases {
			if n, ok := own[alias]; ok {
				named = append(named, n)
			}
		}
		var about []int
		for _, p := range s.Products {
			n, ok := number[p]
			if !ok {
				n = len(l.products)
				number[p], l.products = n, append(l.products, p)
				seenBy = append(seenBy, -1)
			}
			if seenBy[n] != i {
				seenBy[n], about = i, append(about, n)
			}
		}
		l.named, l.about = append(l.named, named), append(l.about, about)
		for _, p := range about {
			l.last.put(named, p, func(before int) (int, bool) { return i, !l.later(before, i) })
		}
	}
	for _, p := range l.products {
		var wider []int
		base, _, _ := cutVersion(p.Package)
		for _, w := range []Product{{p.Image, base}, {p.Image, ""}, {"", p.Package}, {"", base}} {
			if n, ok := number[w]; ok && w != p && !slices.Contains(wider, n) {
				wider = append(wider, n)
			}
		}
		l.wider = append(l.wider, wider)
	}
	return l
}

// later tells whether one statement comes after another: in time, or else in
// the document.
func (l *ledger) later(i, j int) bool {
	c := l.statements[i].Issued.Compare(l.statements[j].Issued)
	return c > 0 || c == 0 && i > j
}

// outdated tells whether a statement no longer counts for a product.
func (l *ledger) outdated(i, p int) bool {
	if l.last.any(l.named[i], p, func(j int) bool { return l.later(j, i) }) {
		return true
	}
	return slices.ContainsFunc(l.wider[p], func(w int) bool {
		return l.last.any(l.named[i], w, func(j int) bool { return l.statements[j].Issued.After(l.statements[i].Issued) })
	})
}

// entry is a name of a vulnerability, and a product.
type entry struct{ name, product int }

// names has something about vulnerabilities in products: by what statements
// call them first of all, and by all that they call them. Two vulnerabilities
// that have an alias in common are not the same.
type names[T any] struct{ own, all map[entry]T }

func (n names[T]) put(named []int, product int, value func(before T) (T, bool)) {
	for k, name := range named {
		for _, in := range []map[entry]T{n.all, n.own}[:2-min(k, 1)] {
			e := entry{name, product}
			before, ok := in[e]
			if after, better := value(before); better || !ok {
				in[e] = after
			}
		}
	}
}

// any tells whether something is true of one of those that are about the
// vulnerability that has these names.
func (n names[T]) any(named []int, product int, is func(T) bool) bool {
	for k, name := range named {
		in := n.own
		if k == 0 {
			in = n.all
		}
		if value, ok := in[entry{name, product}]; ok && is(value) {
			return true
		}
	}
	return false
}
