package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/tidewaiter/tidewaiter"
)

// Parse reads a document. It is strict, because a misread policy is a hole: an
// unknown or repeated field, Condition and Resource, which are not supported, a
// bad action and anything after the document are refused. The errors are of
// kind [tidewaiter.Invalid]; their field is the path of what is wrong, such as
// Statement[0].Action[1].
func Parse(document []byte) (tidewaiter.PolicyDocument, error) {
	var d tidewaiter.PolicyDocument
	if len(document) > MaxSize {
		return d, tidewaiter.InvalidField("document", "it is larger than %d bytes", MaxSize)
	}
	if !utf8.Valid(document) {
		return d, tidewaiter.InvalidField("document", "it is not UTF-8")
	}
	r := reader{json.NewDecoder(bytes.NewReader(document))}
	err := r.object("", map[string]func(path string) error{
		"Version": func(path string) (err error) {
			d.Version, err = r.text(path)
			return err
		},
		"Statement": func(path string) error {
			return r.array(path, maxStatements, func(path string) error {
				s, err := r.statement(path)
				d.Statement = append(d.Statement, s)
				return err
			})
		},
	})
	if err != nil {
		return tidewaiter.PolicyDocument{}, err
	}
	if _, err := r.Token(); !errors.Is(err, io.EOF) {
		return tidewaiter.PolicyDocument{}, tidewaiter.InvalidField("document", "there is something after its closing brace")
	}
	return d, Validate(d)
}

// statement reads one statement.
func (r reader) statement(path string) (s tidewaiter.PolicyStatement, err error) {
	unsupported := func(path string) error {
		return tidewaiter.InvalidField(path, "it is not supported; leave it out, and limit the grant to a project or enterprise project instead")
	}
	err = r.object(path, map[string]func(path string) error{
		"Effect": func(path string) error {
			text, err := r.text(path)
			s.Effect = tidewaiter.Effect(text)
			return err
		},
		"Action": func(path string) error {
			return r.array(path, maxActions, func(path string) error {
				text, err := r.text(path)
				s.Action = append(s.Action, text)
				return err
			})
		},
		"Condition": unsupported,
		"Resource":  unsupported,
	})
	return s, err
}

// Validate checks a document that did not come as text. Its errors are those
// of [Parse].
func Validate(d tidewaiter.PolicyDocument) error {
	if d.Version != Version {
		return tidewaiter.InvalidField("Version", `it must be "1.1"`)
	}
	if n := len(d.Statement); n == 0 || n > maxStatements {
		return tidewaiter.InvalidField("Statement", "there must be 1 to %d statements", maxStatements)
	}
	for i, s := range d.Statement {
		path := fmt.Sprintf("Statement[%d]", i)
		if s.Effect != tidewaiter.Allow && s.Effect != tidewaiter.Deny {
			return tidewaiter.InvalidField(path+".Effect", `it must be "Allow" or "Deny"`)
		}
		if n := len(s.Action); n == 0 || n > maxActions {
			return tidewaiter.InvalidField(path+".Action", "there must be 1 to %d actions", maxActions)
		}
		for j, action := range s.Action {
			if problem := checkAction(action); problem != "" {
				return tidewaiter.InvalidField(fmt.Sprintf("%s.Action[%d]", path, j), "%s", problem)
			}
		}
	}
	return nil
}

// reader reads JSON token by token: encoding/json by itself takes the last of
// repeated fields, and fields in any letter case.
type reader struct{ *json.Decoder }

// next returns the next token.
func (r reader) next(path string) (json.Token, error) {
	t, err := r.Token()
	if err != nil {
		return nil, tidewaiter.InvalidField(where(path), "it is not well-formed JSON near byte %d", r.InputOffset())
	}
	return t, nil
}

// object reads an object of known fields, each at most once.
func (r reader) object(path string, fields map[string]func(path string) error) error {
	t, err := r.next(path)
	if err != nil {
		return err
	}
	if t != json.Delim('{') {
		return tidewaiter.InvalidField(where(path), "it must be an object")
	}
	seen := map[string]bool{}
	for r.More() {
		t, err := r.next(path)
		if err != nil {
			return err
		}
		name, _ := t.(string) // a key is nothing else
		read := fields[name]
		if read == nil {
			return tidewaiter.InvalidField(where(path), "it has an unknown field; letter case counts")
		}
		inner := name
		if path != "" {
			inner = path + "." + name
		}
		if seen[name] {
			return tidewaiter.InvalidField(inner, "it is there twice")
		}
		seen[name] = true
		if err := read(inner); err != nil {
			return err
		}
	}
	_, err = r.next(path)
	return err
}

// array reads an array of at most limit elements.
func (r reader) array(path string, limit int, element func(path string) error) error {
	t, err := r.next(path)
	if err != nil {
		return err
	}
	if t != json.Delim('[') {
		return tidewaiter.InvalidField(path, "it must be an array")
	}
	for i := 0; r.More(); i++ {
		if i == limit {
			return tidewaiter.InvalidField(path, "it has more than %d elements", limit)
		}
		if err := element(fmt.Sprintf("%s[%d]", path, i)); err != nil {
			return err
		}
	}
	_, err = r.next(path)
	return err
}

// text reads a string.
func (r reader) text(path string) (string, error) {
	t, err := r.next(path)
	if err != nil {
		return "", err
	}
	s, ok := t.(string)
	if !ok {
		return "", tidewaiter.InvalidField(path, "it must be a string")
	}
	return s, nil
}

func where(path string) string {
	if path == "" {
		return "document"
	}
	return path
}
