package vex

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"unicode"

	"github.com/tidewaiter/tidewaiter"
)

// Bounds of its JSON.
const (
	maxDepth = 200
	maxKeys  = 1_000 // of one object
)

// checkKeys refuses an object that has a key twice: of two readers one may take
// the first value, and the other the last. Keys that differ in case are the
// same to the decoder.
func checkKeys(text []byte) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	return checkValue(d, nil, 0)
}

func checkValue(d *json.Decoder, at *place, depth int) error {
	token, err := d.Token()
	if err != nil {
		return invalid("document", "it is no JSON object: %v", err)
	}
	opens, ok := token.(json.Delim)
	if !ok {
		return nil
	}
	if depth == maxDepth {
		return invalid("document", "it is nested more than %d deep", maxDepth)
	}
	within := place{up: at}
	seen := make(map[string]bool)
	for ; d.More(); within.index++ {
		if opens == '{' {
			if token, err = d.Token(); err != nil {
				return invalid("document", "it is no JSON object: %v", err)
			}
			within.key, _ = token.(string)
			if key := strings.Map(folded, within.key); seen[key] {
				return invalid(within.String(), "the key is there twice; remove one")
			} else if seen[key] = true; len(seen) > maxKeys {
				return invalid(at.String(), "it has more than %d keys", maxKeys)
			}
		}
		if err := checkValue(d, &within, depth+1); err != nil {
			return err
		}
	}
	_, err = d.Token() // what closes it
	return err
}

// folded returns the same for all runes that the decoder takes for each other.
func folded(r rune) rune {
	for {
		next := unicode.SimpleFold(r)
		if next <= r {
			return next
		}
		r = next
	}
}

// place is where a value stands in a document: in an object by its key, in a
// list by its index.
type place struct {
	up    *place
	key   string
	index int
}

// String returns a path such as statements[2].products[0].
func (p *place) String() string {
	switch {
	case p == nil:
		return "document"
	case p.key == "":
		return fmt.Sprintf("%s[%d]", p.up, p.index)
	}
	key := p.key
	if len(key) > 40 || strings.ContainsFunc(key, func(r rune) bool { return r >= unicode.MaxASCII || !unicode.IsPrint(r) }) {
		key = "…" // ours are short
	}
	if p.up == nil {
		return key
	}
	return p.up.String() + "." + key
}

// decode decodes the value of a field.
func decode(field string, text []byte, to any) error {
	err := json.Unmarshal(text, to)
	if err == nil {
		return nil
	}
	wrong, ok := errors.AsType[*json.UnmarshalTypeError](err)
	if !ok {
		return &tidewaiter.Error{Kind: tidewaiter.Invalid, Field: field, Message: "it cannot be read", Err: err}
	}
	switch {
	case field == "document" && wrong.Field != "":
		field = wrong.Field
	case wrong.Field != "":
		field += "." + wrong.Field
	}
	kind, _, _ := strings.Cut(wrong.Value, " ")
	return invalid(field, "its value is of the wrong type (%s); the form has %s there", kind, typeName(wrong.Type))
}

func typeName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Slice:
		return "a list"
	case reflect.Struct, reflect.Map:
		return "an object"
	case reflect.Bool:
		return "true or false"
	}
	return "a number"
}
