package vex

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"time"
)

const openVEXContext = "https://openvex.dev/ns"

var openVEXVersion = regexp.MustCompile(`^(/?|/v0\.(0|1|2)\.[0-9]{1,3}/?)$`)

// isOpenVEX tells whether a context is of a version that is known: 0.0.1 had
// none in it.
func isOpenVEX(context string) bool {
	return len(context) >= len(openVEXContext) && context[:len(openVEXContext)] == openVEXContext && openVEXVersion.MatchString(context[len(openVEXContext):])
}

// The form of OpenVEX, 0.0.1 to 0.2.0: in the older versions what are objects
// now are strings, and subcomponents belong to the statement.
type openVEX struct {
	ID         string            `json:"@id"`
	Author     string            `json:"author"`
	Timestamp  string            `json:"timestamp"`
	Statements []json.RawMessage `json:"statements"`
}

type openVEXStatement struct {
	Vulnerability json.RawMessage   `json:"vulnerability"`
	Products      []json.RawMessage `json:"products"`
	Subcomponents []json.RawMessage `json:"subcomponents"`
	Status        Status            `json:"status"`
	Justification string            `json:"justification"`
	Impact        string            `json:"impact_statement"`
	Notes         string            `json:"status_notes"`
	Timestamp     string            `json:"timestamp"`
	LastUpdated   string            `json:"last_updated"`
}

type openVEXVulnerability struct {
	ID      string   `json:"@id"`
	Name    string   `json:"name"`
	Aliases []string `json:"aliases"`
}

type openVEXComponent struct {
	ID            string            `json:"@id"`
	Identifiers   map[string]string `json:"identifiers"`
	Hashes        map[string]string `json:"hashes"`
	Subcomponents []json.RawMessage `json:"subcomponents"` // of a product
}

// justifications are the words that OpenVEX has.
var justifications = []string{
	"component_not_present",
	"vulnerable_code_not_present",
	"vulnerable_code_not_in_execute_path",
	"vulnerable_code_cannot_be_controlled_by_adversary",
	"inline_mitigations_already_exist",
}

func (r *reader) readOpenVEX(text []byte) error {
	var v openVEX
	if err := decode("document", text, &v); err != nil {
		return err
	}
	issued, err := timeAt("timestamp", v.Timestamp)
	if err != nil {
		return err
	}
	if err := r.begin("@id", v.ID, v.Author, issued); err != nil {
		return err
	}
	for i, text := range v.Statements {
		at := fmt.Sprintf("statements[%d]", i)
		s, err := openVEXStatementOf(at, text, issued)
		if err != nil {
			return err
		}
		if err := r.add(at, s); err != nil {
			return err
		}
	}
	return nil
}

func openVEXStatementOf(at string, text []byte, issued time.Time) (Statement, error) {
	var from openVEXStatement
	if err := decode(at, text, &from); err != nil {
		return Statement{}, err
	}
	s := Statement{Status: from.Status, Justification: from.Justification, Remark: from.Impact, Issued: issued}
	switch {
	case !slices.Contains([]Status{NotAffected, Affected, Fixed, UnderInvestigation}, s.Status):
		return s, invalid(at+".status", "it is none of not_affected, affected, fixed, under_investigation")
	case s.Justification != "" && !slices.Contains(justifications, s.Justification):
		return s, invalid(at+".justification", "it is none of %q", justifications)
	case s.Status == NotAffected && s.Justification == "" && s.Remark == "":
		return s, invalid(at, "not_affected needs a justification or an impact statement")
	case s.Remark == "":
		s.Remark = from.Notes
	}
	for field, text := range map[string]string{".timestamp": from.Timestamp, ".last_updated": from.LastUpdated} {
		t, err := timeAt(at+field, text)
		if err != nil {
			return s, err
		}
		if text != "" && (field == ".last_updated" || from.LastUpdated == "") {
			s.Issued = t
		}
	}
	var err error
	if s.Vulnerability, s.Aliases, err = openVEXNames(at+".vulnerability", from.Vulnerability); err != nil {
		return s, err
	}
	for k, text := range from.Products {
		products, err := openVEXProducts(fmt.Sprintf("%s.products[%d]", at, k), text, from.Subcomponents)
		if err != nil {
			return s, err
		}
		s.Products = append(s.Products, products...)
	}
	return s, nil
}

// openVEXNames returns how a vulnerability is called, "" if it is not.
func openVEXNames(at string, text json.RawMessage) (name string, aliases []string, err error) {
	if len(text) == 0 {
		return "", nil, nil
	}
	if text[0] == '"' {
		return name, nil, decode(at, text, &name)
	}
	var v openVEXVulnerability
	if err := decode(at, text, &v); err != nil {
		return "", nil, err
	}
	if v.Name == "" && !address.MatchString(v.ID) {
		v.Name = v.ID
	}
	return v.Name, v.Aliases, nil
}

var address = regexp.MustCompile(`^[A-Za-z]+://`)

// openVEXProducts returns what a product is, in an older document together with
// the subcomponents of its statement; nothing for what cannot be told apart
// here.
func openVEXProducts(at string, text json.RawMessage, older []json.RawMessage) (list []Product, err error) {
	c, err := openVEXComponentOf(at, text)
	if err != nil {
		return nil, err
	}
	var whole Product
	found := false
	for _, id := range c.ids() {
		if whole, found = product(id); found {
			break
		}
	}
	subcomponents := slices.Concat(c.Subcomponents, older)
	switch {
	case !found:
		return nil, nil
	case len(subcomponents) == 0:
		return []Product{whole}, nil
	case whole.Image == "": // what is said of a package in another one is not said of it anywhere else
		return nil, nil
	}
	for i, text := range subcomponents {
		at := fmt.Sprintf("%s.subcomponents[%d]", at, i)
		s, err := openVEXComponentOf(at, text)
		if err != nil {
			return nil, err
		}
		k := slices.IndexFunc(s.ids(), isPackage)
		if k < 0 {
			return nil, invalid(at, "it is no package URL, and the statement is not about the whole product")
		}
		list = append(list, Product{Image: whole.Image, Package: packageURL(s.ids()[k])})
	}
	return list, nil
}

func openVEXComponentOf(at string, text json.RawMessage) (c openVEXComponent, err error) {
	if len(text) > 0 && text[0] == '"' {
		return c, decode(at, text, &c.ID)
	}
	return c, decode(at, text, &c)
}

// ids are what may identify it, the surest first.
func (c openVEXComponent) ids() []string {
	list := []string{c.Identifiers["purl"], c.ID}
	if sum := c.Hashes["sha-256"]; sum != "" {
		list = append(list, "sha256:"+sum)
	}
	return list
}
