package osv

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/tidewaiter/tidewaiter"
)

// Limits bound what is read of one source. Zero means the default.
type Limits struct {
	Advisories int   // 5 million
	Bytes      int64 // of all advisories, as they are unpacked: 64 GiB
}

func (l Limits) withDefaults() Limits {
	if l.Advisories == 0 {
		l.Advisories = 5_000_000
	}
	if l.Bytes == 0 {
		l.Bytes = 64 << 30
	}
	return l
}

// Report says what was read.
type Report struct {
	Read     int
	Bytes    int64
	Refused  int       // advisories that could not be used
	Refusals []Refusal // the first of them
}

// Refusal is why an advisory could not be used.
type Refusal struct {
	Name string // of the file; hostile text
	Err  error
}

const maxRefusals = 20

// Read reads the advisories of a zip file, of a file with one or an array of
// them, or of all such files in a folder, in no order that means anything, and
// gives each to visit. An advisory that is malformed is left out and reported;
// a file that is damaged is an error, as nobody knows what it had.
func Read(ctx context.Context, path string, limits Limits, visit func(tidewaiter.Advisory) error) (Report, error) {
	r := reader{ctx: ctx, limits: limits.withDefaults(), visit: visit}
	err := r.path(path)
	return r.report, err
}

// Texts gives the text of each advisory that [Read] would read, before anybody
// knows whether it is one. The text is valid during the call.
func Texts(ctx context.Context, path string, limits Limits, visit func(name string, text []byte) error) error {
	r := reader{ctx: ctx, limits: limits.withDefaults(), texts: visit}
	return r.path(path)
}

type reader struct {
	ctx    context.Context
	limits Limits
	visit  func(tidewaiter.Advisory) error
	texts  func(name string, text []byte) error // in the place of visit, or nil
	report Report
}

func (r *reader) path(path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return tidewaiter.Errorf(tidewaiter.NotFound, "there is no file or folder with advisories of that name")
	case err != nil:
		return fmt.Errorf("look for advisories: %w", err)
	case info.IsDir():
		return r.folder(path)
	}
	return r.file(path)
}

// folder reads the files of a folder and those beneath it. Links are not followed.
func (r *reader) folder(path string) error {
	return filepath.WalkDir(path, func(p string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name := strings.ToLower(entry.Name()); !entry.Type().IsRegular() || !strings.HasSuffix(name, ".json") && !strings.HasSuffix(name, ".zip") {
			return nil
		}
		if err := r.file(p); err != nil {
			if name, rerr := filepath.Rel(path, p); rerr == nil {
				p = name
			}
			return fmt.Errorf("%s: %w", p, err)
		}
		return nil
	})
}

func (r *reader) file(path string) (err error) {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("open advisories: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	buffered := bufio.NewReader(f)
	start, err := buffered.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read advisories: %w", err)
	}
	if strings.HasPrefix(string(start), "PK") {
		info, err := f.Stat()
		if err != nil {
			return fmt.Errorf("read advisories: %w", err)
		}
		return r.zip(f, info.Size())
	}
	for {
		c, err := buffered.ReadByte()
		switch {
		case err != nil:
			return r.one(filepath.Base(path), nil) // empty: it is refused
		case strings.ContainsRune(" \t\r\n\xef\xbb\xbf", rune(c)):
			continue
		}
		if err := buffered.UnreadByte(); err != nil {
			return err
		}
		if c == '[' {
			return r.array(filepath.Base(path), buffered)
		}
		text, err := io.ReadAll(io.LimitReader(buffered, maxDocument+1))
		if err != nil {
			return fmt.Errorf("read advisories: %w", err)
		}
		return r.one(filepath.Base(path), text)
	}
}

// array reads advisories that stand in a list.
func (r *reader) array(name string, file io.Reader) error {
	bounded := &boundedReader{r: file}
	dec := json.NewDecoder(bounded)
	if _, err := dec.Token(); err != nil {
		return tidewaiter.Wrap(tidewaiter.Invalid, err, "the list of advisories cannot be read")
	}
	for dec.More() {
		bounded.left = maxDocument + 1<<16 // and what the decoder reads ahead
		var text json.RawMessage
		if err := dec.Decode(&text); err != nil {
			return tidewaiter.Wrap(tidewaiter.Invalid, err, "the list of advisories is damaged")
		}
		if err := r.one(name, text); err != nil {
			return err
		}
	}
	bounded.left = 1 << 16
	if _, err := dec.Token(); err != nil {
		return tidewaiter.Wrap(tidewaiter.Invalid, err, "the list of advisories is damaged")
	}
	return nil
}

// boundedReader reads no more than is left.
type boundedReader struct {
	r    io.Reader
	left int64
}

func (b *boundedReader) Read(p []byte) (int, error) {
	if b.left == 0 {
		b.left = 1 << 16 // the first token
	}
	if b.left < 0 {
		return 0, tidewaiter.Errorf(tidewaiter.TooLarge, "an advisory may have up to %d bytes", maxDocument)
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.left)])
	if b.left -= int64(n); b.left == 0 {
		b.left = -1
	}
	return n, err
}

// one takes the text of one advisory.
func (r *reader) one(name string, text []byte) error {
	if err := r.ctx.Err(); err != nil {
		return err
	}
	r.report.Bytes += int64(len(text))
	if r.report.Read+r.report.Refused >= r.limits.Advisories || r.report.Bytes > r.limits.Bytes {
		return tidewaiter.Errorf(tidewaiter.TooLarge, "there are more than %d advisories or %d bytes of them", r.limits.Advisories, r.limits.Bytes)
	}
	if r.texts != nil {
		r.report.Read++
		return r.texts(name, text)
	}
	a, err := Parse(text)
	if err != nil {
		r.report.Refused++
		if len(r.report.Refusals) < maxRefusals {
			r.report.Refusals = append(r.report.Refusals, Refusal{Name: cut(name, maxID), Err: err})
		}
		return nil
	}
	r.report.Read++
	return r.visit(a)
}
