package componentapi_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/protocol"
	"github.com/tidewaiter/tidewaiter/internal/store"
)

// attached reports documents that are attached to an image.
func attached(w protocol.Work, name string, texts ...string) protocol.AttachedReport {
	r := protocol.AttachedReport{Attempt: w.Attempt, Digest: digestOf(name)}
	for _, text := range texts {
		r.Documents = append(r.Documents, protocol.AttachedDocument{Digest: digestOf(text), MediaType: "application/vnd.openvex+json", Content: []byte(text)})
	}
	return r
}

func vexAbout(id, product string) string {
	return fmt.Sprintf(`{"@context": "https://openvex.dev/ns/v0.2.0", "@id": %q, "statements": [{"vulnerability": "CVE-2026-1000", "products": [%q], "status": "fixed"}]}`, id, product)
}

// trust sets whether a registry's attached documents count.
func (p *port) trust(registry string, on bool) {
	p.Helper()
	r, err := p.db.Registry(p.Context(), registry)
	p.ok(err)
	r.Settings.TrustAttachedVEX = on
	p.ok(p.db.UpdateRegistry(p.Context(), r, r.Revision))
}

func TestAttached(t *testing.T) {
	each(t, func(p *port) {
		c := p.crew(p.newCluster("a", "east"))
		registry := p.registry("a", c.clusterID)
		p.push(registry, "one")
		p.push(registry, "many", "many amd64", "many arm64")
		vex := vexAbout("x", "pkg:npm/left-pad")
		known := func() []tidewaiter.AttachedVEX {
			p.Helper()
			list, err := p.findings.AttachedVEX(p.Context(), registry, store.Page{Limit: 100})
			p.ok(err)
			return list
		}

		// Nobody asked for it: it is taken, as all that is not known, and has no effect.
		p.scan("a")
		w := c.nextOf("one")
		if w.Scan.AttachedVEX {
			p.Error("attached documents are asked for")
		}
		c.wants(c.about(w, protocol.PathAttached, attached(w, "one", vex)), 204, "", nil)
		c.does(w, "one", "base")
		if got := known(); len(got) != 0 {
			p.Errorf("attached: %+v", got)
		}

		p.trust(registry, true)
		p.scan("a")
		w = c.nextOf("one")
		if !w.Scan.AttachedVEX {
			p.Error("attached documents are not asked for")
		}
		for what, change := range map[string]func(*protocol.AttachedReport){
			"too many documents":   func(r *protocol.AttachedReport) { *r = attached(w, "one", strings.Fields(strings.Repeat("x ", 21))...) },
			"a document twice":     func(r *protocol.AttachedReport) { *r = attached(w, "one", vex, vex) },
			"too large a document": func(r *protocol.AttachedReport) { *r = attached(w, "one", strings.Repeat("x", 1<<20+1)) },
			"too much": func(r *protocol.AttachedReport) {
				*r = attached(w, "one", large("1"), large("2"), large("3"), large("4"), large("5"))
			},
			"other content":         func(r *protocol.AttachedReport) { r.Documents[0].Content = []byte("x") },
			"no content":            func(r *protocol.AttachedReport) { r.Documents[0].Content = nil },
			"an odd digest":         func(r *protocol.AttachedReport) { r.Documents[0].Digest = "sha256:x" },
			"a long media type":     func(r *protocol.AttachedReport) { r.Documents[0].MediaType = strings.Repeat("x", 513) },
			"a long problem":        func(r *protocol.AttachedReport) { r.Documents[0].Problem = strings.Repeat("x", 4001) },
			"a long problem of all": func(r *protocol.AttachedReport) { r.Problem = strings.Repeat("x", 4001) },
			"another image":         func(r *protocol.AttachedReport) { r.Digest = digestOf("many") },
		} {
			r := attached(w, "one", vex)
			change(&r)
			if answer := c.about(w, protocol.PathAttached, r); answer.status != 400 && answer.status != 413 {
				p.Errorf("%s: %d %s", what, answer.status, answer.body)
			}
		}
		if got := known(); len(got) != 0 {
			p.Errorf("attached: %+v", got)
		}

		// The same twice; one that nobody can read, with what no database takes.
		for range 2 {
			c.wants(c.about(w, protocol.PathAttached, attached(w, "one", vex, "odd \x00\xff")), 204, "", nil)
		}
		odd := attached(w, "one", vex)
		odd.Documents = append(odd.Documents, protocol.AttachedDocument{Digest: digestOf("y"), MediaType: "a\x00b", Problem: "it is \x00 gone"})
		c.wants(c.about(w, protocol.PathAttached, odd), 204, "", nil)
		got := known()
		if len(got) != 2 {
			p.Errorf("attached: %+v", got)
		}
		for _, a := range got {
			if ok := a.Document == digestOf(vex); a.Image != digestOf("one") || ok != (a.Problem == "") || ok && (a.ID != "x" || a.Exceptions != 1) {
				p.Errorf("attached: %+v", a)
			}
		}
		unknown := protocol.AttachedReport{Attempt: w.Attempt, Digest: digestOf("one"), Problem: "the registry does not tell"}
		c.wants(c.about(w, protocol.PathAttached, unknown), 204, "", nil)
		if got := known(); len(got) != 2 {
			p.Errorf("attached: %+v", got)
		}
		c.does(w, "one", "base")

		// An index, and one of its images.
		w = c.nextOf("many")
		c.wants(c.about(w, protocol.PathAttached, attached(w, "many", vex)), 204, "", nil)
		c.wants(c.about(w, protocol.PathAttached, attached(w, "many arm64", vexAbout("y", "pkg:npm/left-pad"))), 204, "", nil)
		if got := known(); len(got) != 4 {
			p.Errorf("attached: %+v", got)
		}

		// The setting is taken back while the scan is under way.
		p.trust(registry, false)
		p.ok(p.findings.DetachVEX(p.Context(), registry))
		c.wants(c.about(w, protocol.PathAttached, attached(w, "many", vex)), 204, "", nil)
		if got := known(); len(got) != 0 {
			p.Errorf("attached: %+v", got)
		}
		p.calm()
	})
}

// large is a text of 1 MiB.
func large(word string) string { return strings.Repeat(word, 1<<20) }
