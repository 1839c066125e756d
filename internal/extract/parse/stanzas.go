package parse

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

const (
	maxField  = 16 << 10 // bytes of a wanted field: a longer one is left out
	maxValues = 1000     // of one field in a stanza
)

// Stanzas reads text of the form that dpkg, apk, Python, R and Java use for
// metadata: fields "Name: value", one a line, in stanzas that an empty line
// ends. A line that begins with white space goes on with the field above.
// Fields that are not wanted may be of any length, and are not kept; a wanted
// one of more than 16 KiB is left out of its stanza.
type Stanzas struct {
	lines *bufio.Reader

	// Wanted are the names of the fields to keep.
	Wanted []string
	// Exact says that upper and lower case differ in names.
	Exact bool
	// Join stands between the lines of a field: "" or " ".
	Join string

	malformed int
}

// Stanza holds the wanted fields of a stanza, under the names that Wanted has.
type Stanza map[string][]string

// Get returns the first value of the field, or "".
func (s Stanza) Get(name string) string {
	if values := s[name]; len(values) > 0 {
		return values[0]
	}
	return ""
}

// NewStanzas returns a reader that keeps the wanted fields.
func NewStanzas(r io.Reader, wanted ...string) *Stanzas {
	return &Stanzas{lines: bufio.NewReaderSize(r, maxField), Wanted: wanted, Join: " "}
}

// Next returns the next stanza that has fields, wanted or not, and io.EOF
// after the last.
func (s *Stanzas) Next() (Stanza, error) {
	stanza := make(Stanza)
	any := false
	current := "" // the wanted field that a line may go on with
	for {
		line, whole, err := s.line()
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("read a line: %w", err)
		}
		end := errors.Is(err, io.EOF) && len(line) == 0
		switch {
		case end && !any:
			return nil, io.EOF
		case end, any && whole && blank(line):
			return stanza, nil
		case whole && blank(line):
		case line[0] == ' ' || line[0] == '\t':
			if current != "" && !stanza.more(current, s.Join, line, whole) {
				current = ""
			}
		default:
			any = true
			current = s.field(stanza, line, whole)
		}
	}
}

// field puts the field that a line begins into the stanza, if it is wanted,
// and returns its name, or "" if the lines below are of no interest.
func (s *Stanzas) field(stanza Stanza, line []byte, whole bool) string {
	name, value, ok := bytes.Cut(line, []byte(":"))
	if !ok {
		s.malformed++
		return ""
	}
	wanted := s.wanted(string(name))
	if wanted == "" || !whole || len(stanza[wanted]) >= maxValues {
		return ""
	}
	stanza[wanted] = append(stanza[wanted], s.trim(value))
	return wanted
}

// trim removes the white space around a value: in manifests of Java, the
// space at the end of a line is part of the value.
func (s *Stanzas) trim(value []byte) string {
	if s.Join == "" {
		return string(bytes.TrimLeft(bytes.TrimRight(value, "\r\n"), " \t"))
	}
	return string(bytes.TrimSpace(value))
}

// more adds a line to the last value of a field. If that gets too long, the
// value is left out, and more tells so.
func (s Stanza) more(field, join string, line []byte, whole bool) bool {
	values := s[field]
	last := len(values) - 1
	if !whole || len(values[last])+len(line) > maxField {
		s[field] = values[:last]
		return false
	}
	if join == "" {
		values[last] += string(bytes.TrimRight(line[1:], "\r\n"))
	} else {
		values[last] += join + string(bytes.TrimSpace(line))
	}
	return true
}

func blank(line []byte) bool { return len(bytes.TrimSpace(line)) == 0 }

// Malformed is the number of lines so far that are no field.
func (s *Stanzas) Malformed() int { return s.malformed }

// wanted returns the name under which a field is kept, or "".
func (s *Stanzas) wanted(name string) string {
	i := slices.IndexFunc(s.Wanted, func(w string) bool {
		return w == name || !s.Exact && strings.EqualFold(w, name)
	})
	if i < 0 {
		return ""
	}
	return s.Wanted[i]
}

// line returns the beginning of the next line, and whether that is all of it.
// The rest of a longer line is skipped. At the end it returns io.EOF, with the
// last line if that has no end.
func (s *Stanzas) line() (line []byte, whole bool, err error) {
	line, err = s.lines.ReadSlice('\n')
	if !errors.Is(err, bufio.ErrBufferFull) {
		return line, true, err
	}
	line = bytes.Clone(line)
	for errors.Is(err, bufio.ErrBufferFull) {
		_, err = s.lines.ReadSlice('\n')
	}
	if errors.Is(err, io.EOF) {
		err = nil // the next call says so
	}
	return line, false, err
}
