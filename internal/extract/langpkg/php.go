package langpkg

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/extract"
	"github.com/tidewaiter/tidewaiter/internal/extract/parse"
)

// PHP reads the list that Composer keeps of what it installed in a folder
// vendor: an object whose member packages is the list (Composer 2), or the
// list itself (Composer 1).
type PHP struct{}

var _ extract.Extractor = PHP{}

// Name implements [extract.Extractor].
func (PHP) Name() string { return "php/composer" }

// Version implements [extract.Extractor].
func (PHP) Version() int { return 2 }

// Wants implements [extract.Extractor].
func (PHP) Wants(name string, mode fs.FileMode, size int64) bool {
	return data(mode, size) && strings.HasSuffix("/"+name, "/composer/installed.json")
}

// Extract implements [extract.Extractor].
func (e PHP) Extract(_ context.Context, f extract.Input) (extract.Found, error) {
	if f.Size > maxMetadata {
		return extract.Found{}, fmt.Errorf("it has %d bytes, more than the %d that are read of such a file", f.Size, maxMetadata)
	}
	list := parse.NewList(e.Name())
	text := withoutMark(f)
	dec := json.NewDecoder(text)
	one := func() error {
		var p struct {
			Name    parse.Text
			Version parse.Text
			License parse.Texts
			Bin     parse.Texts
			Path    parse.Text `json:"install-path"` // from the folder of the list; none in Composer 1
		}
		if err := dec.Decode(&p); err != nil {
			return err
		}
		if p.Path == "" {
			p.Path = "../" + p.Name
		}
		list.Owned().Folder(string(p.Path))
		for _, program := range p.Bin {
			list.Owned().File("../bin/" + path.Base(program))
		}
		if p.Version == "" {
			list.Cut(extract.CutParse, "a package has no version")
			return nil
		}
		list.Add(tidewaiter.Package{
			Ecosystem: "Packagist",
			Type:      "composer",
			Namespace: before(string(p.Name), "/"),
			Name:      string(p.Name),
			Version:   string(p.Version),
			Licenses:  p.License,
		})
		return nil
	}
	list.Owned().Folder(".") // what Composer itself writes
	list.Owned().File("../autoload.php")
	first, err := firstByte(text)
	switch {
	case err != nil:
	case first == '[':
		err = parse.Elements(dec, one)
	default:
		err = parse.Members(dec, func(name string) error {
			if name == "packages" {
				return parse.Elements(dec, one)
			}
			return parse.Skip(dec)
		})
	}
	if err != nil {
		return list.Found(), fmt.Errorf("read Composer's installed.json: %w", err)
	}
	return list.Found(), nil
}

// withoutMark returns a reader of a file, less the mark that some editors put
// before UTF-8.
func withoutMark(f extract.Input) *bufio.Reader {
	r := bufio.NewReader(parse.Reader(f))
	mark := []byte("\ufeff")
	if head, err := r.Peek(len(mark)); err == nil && bytes.Equal(head, mark) {
		_, _ = r.Discard(len(mark)) // cannot fail: they were seen
	}
	return r
}

// firstByte returns the first byte that is no white space, and leaves it.
func firstByte(r *bufio.Reader) (byte, error) {
	for {
		head, err := r.Peek(1)
		if err != nil {
			return 0, io.ErrUnexpectedEOF
		}
		if !bytes.ContainsAny(head, " \t\r\n") {
			return head[0], nil
		}
		if _, err := r.Discard(1); err != nil {
			return 0, err
		}
	}
}
