package ospkg

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/extract"
	"github.com/tidewaiter/tidewaiter/internal/extract/parse"
)

// Apk reads the list of installed packages of apk-tools (Alpine, Wolfi,
// Chainguard): stanzas of fields with names of one letter, as described at
// https://wiki.alpinelinux.org/wiki/Apk_spec. As apk info does, it lists packages
// without files that "apk add --virtual" made.
type Apk struct{}

var _ extract.Extractor = Apk{}

// Name implements [extract.Extractor].
func (Apk) Name() string { return "os/apk" }

// Version implements [extract.Extractor].
func (Apk) Version() int { return 2 }

// Wants implements [extract.Extractor].
func (Apk) Wants(name string, mode fs.FileMode, size int64) bool {
	return mode.IsRegular() && size > 0 && (name == "lib/apk/db/installed" || name == "usr/lib/apk/db/installed")
}

// Extract implements [extract.Extractor].
func (a Apk) Extract(ctx context.Context, f extract.Input) (extract.Found, error) {
	list := parse.NewList(a.Name())
	// Package, version, architecture, licences, origin.
	stanzas := parse.NewStanzas(parse.Reader(f), "P", "V", "A", "L", "o")
	stanzas.Exact = true
	incomplete := 0
	for {
		stanza, err := stanzas.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return list.Found(), fmt.Errorf("read apk's list of installed packages: %w", err)
		}
		p := tidewaiter.Package{
			Type:          "apk",
			Name:          stanza.Get("P"),
			Version:       stanza.Get("V"),
			Architecture:  stanza.Get("A"),
			SourceName:    stanza.Get("o"),
			SourceVersion: stanza.Get("V"), // packages of one origin have one version
		}
		if p.SourceName == "" {
			p.SourceName = p.Name
		}
		if license := stanza.Get("L"); license != "" {
			p.Licenses = []string{license}
		}
		if p.Name == "" || p.Version == "" {
			incomplete++
			continue
		}
		if !list.Add(p) {
			break
		}
	}
	if n := incomplete + stanzas.Malformed(); n > 0 {
		list.Cut(extract.CutParse, fmt.Sprintf("%d entries of apk's list have no name or version, and %d lines are no fields", incomplete, stanzas.Malformed()))
	}
	if err := apkFiles(ctx, f, list.Owned()); err != nil {
		return list.Found(), fmt.Errorf("read apk's list of installed packages: %w", err)
	}
	return list.Found(), nil
}

// apkFiles reads which files belong to the packages: a line F for a folder, and
// then one R for each file in it.
func apkFiles(ctx context.Context, f extract.Input, owned *extract.Owned) error {
	for _, name := range []string{"triggers", "scripts.tar", "scripts.tar.gz", "lock"} {
		owned.File(name)
	}
	folder := "/"
	return parse.Lines(ctx, parse.Reader(f), func(line []byte) {
		switch name := string(line[min(2, len(line)):]); string(line[:min(2, len(line))]) {
		case "P:":
			folder = "/"
		case "F:":
			folder = "/" + name + "/"
			owned.File(folder)
		case "R:":
			owned.File(folder + name)
		}
	})
}
