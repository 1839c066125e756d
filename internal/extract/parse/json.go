package parse

import (
	"encoding/json"
	"errors"
	"fmt"
)

// Members calls visit for each member of the JSON object that comes next in
// dec, which has to read the member's value. What it does not want, it skips.
// An object is thus read without being held.
func Members(dec *json.Decoder, visit func(name string) error) error {
	if err := open(dec, '{'); err != nil {
		return err
	}
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return fmt.Errorf("read a member: %w", err)
		}
		name, ok := token.(string)
		if !ok {
			return errors.New("a member without a name")
		}
		if err := visit(name); err != nil {
			return err
		}
	}
	_, err := dec.Token()
	return err
}

// Elements calls visit for each element of the JSON array that comes next in
// dec, which has to read it.
func Elements(dec *json.Decoder, visit func() error) error {
	if err := open(dec, '['); err != nil {
		return err
	}
	for dec.More() {
		if err := visit(); err != nil {
			return err
		}
	}
	_, err := dec.Token()
	return err
}

// Skip reads the value that comes next in dec and forgets it.
func Skip(dec *json.Decoder) error {
	var value json.RawMessage
	return dec.Decode(&value)
}

func open(dec *json.Decoder, want json.Delim) error {
	token, err := dec.Token()
	if err != nil {
		return fmt.Errorf("read JSON: %w", err)
	}
	if token != want {
		return fmt.Errorf("it has not the form that is expected: no %s", want)
	}
	return nil
}

// Text is a JSON string. Anything else decodes as "": whoever writes metadata
// by hand gets types wrong, and one odd member need not hide a package.
type Text string

// UnmarshalJSON implements [json.Unmarshaler].
func (t *Text) UnmarshalJSON(data []byte) error {
	var s string
	if json.Unmarshal(data, &s) != nil {
		s = ""
	}
	*t = Text(s)
	return nil
}

// Texts is a JSON string or an array of them.
type Texts []string

// UnmarshalJSON implements [json.Unmarshaler].
func (t *Texts) UnmarshalJSON(data []byte) error {
	var one string
	if json.Unmarshal(data, &one) == nil && one != "" {
		*t = Texts{one}
		return nil
	}
	var many []Text
	if json.Unmarshal(data, &many) != nil {
		return nil
	}
	for _, s := range many {
		*t = append(*t, string(s))
	}
	return nil
}
