package vex

import (
	"encoding/json"
	"fmt"
	"time"
)

// The form of OpenVEX, 0.0.1 to 0.2.0: in the older versions what are objects
// now are strings.
type openVEX struct {
	ID         string             `json:"@id"`
	Author     string             `json:"author"`
	Timestamp  time.Time          `json:"timestamp"`
	Statements []openVEXStatement `json:"statements"`
}

type openVEXStatement struct {
	Vulnerability  openVEXVulnerability `json:"vulnerability"`
	Products       []openVEXProduct     `json:"products"`
	Subcomponents  []openVEXComponent   `json:"subcomponents"` // until 0.0.2
	Status         Status               `json:"status"`
	Justification  string               `json:"justification"`
	Impact         string               `json:"impact_statement"`
	Notes          string               `json:"status_notes"`
	Timestamp      time.Time            `json:"timestamp"`
	LastUpdated    time.Time            `json:"last_updated"`
	ActionDeadline json.RawMessage      `json:"-"`
}

type openVEXVulnerability struct {
	ID      string   `json:"@id"`
	Name    string   `json:"name"`
	Aliases []string `json:"aliases"`
}

// UnmarshalJSON takes a name for an object with one.
func (v *openVEXVulnerability) UnmarshalJSON(text []byte) error {
	if len(text) > 0 && text[0] == '"' {
		return json.Unmarshal(text, &v.Name)
	}
	type plain openVEXVulnerability
	return json.Unmarshal(text, (*plain)(v))
}

type openVEXComponent struct {
	ID          string            `json:"@id"`
	Identifiers map[string]string `json:"identifiers"`
	Hashes      map[string]string `json:"hashes"`
}

// UnmarshalJSON takes an id for an object with one.
func (c *openVEXComponent) UnmarshalJSON(text []byte) error {
	if len(text) > 0 && text[0] == '"' {
		return json.Unmarshal(text, &c.ID)
	}
	type plain openVEXComponent
	return json.Unmarshal(text, (*plain)(c))
}

// ids are what may identify it, the surest first.
func (c openVEXComponent) ids() []string {
	list := []string{c.Identifiers["purl"], c.ID}
	if sum := c.Hashes["sha-256"]; sum != "" {
		list = append(list, "sha256:"+sum)
	}
	return list
}

type openVEXProduct struct {
	openVEXComponent
	Subcomponents []openVEXComponent `json:"subcomponents"`
}

// UnmarshalJSON takes an id for an object with one.
func (p *openVEXProduct) UnmarshalJSON(text []byte) error {
	if len(text) > 0 && text[0] == '"' {
		return json.Unmarshal(text, &p.ID)
	}
	if err := json.Unmarshal(text, &p.openVEXComponent); err != nil {
		return err
	}
	var more struct {
		Subcomponents []openVEXComponent `json:"subcomponents"`
	}
	err := json.Unmarshal(text, &more)
	p.Subcomponents = more.Subcomponents
	return err
}

func readOpenVEX(text []byte) (Document, error) {
	var v openVEX
	if err := json.Unmarshal(text, &v); err != nil {
		return Document{}, invalid("document", "it is no OpenVEX: %v", err)
	}
	d := Document{ID: v.ID, Author: v.Author, Issued: v.Timestamp}
	for i, s := range v.Statements {
		name := s.Vulnerability.Name
		if name == "" {
			name = s.Vulnerability.ID
		}
		out := Statement{Vulnerability: name, Aliases: s.Vulnerability.Aliases, Status: s.Status, Justification: s.Justification, Remark: s.Impact, Issued: v.Timestamp}
		if out.Remark == "" {
			out.Remark = s.Notes
		}
		for _, t := range []time.Time{s.Timestamp, s.LastUpdated} {
			if !t.IsZero() {
				out.Issued = t
			}
		}
		for k, p := range s.Products {
			products, err := p.products(append(p.Subcomponents, s.Subcomponents...))
			if err != nil {
				return Document{}, invalid(fmt.Sprintf("statements[%d].products[%d]", i, k), "%v", err)
			}
			out.Products = append(out.Products, products...)
		}
		d.Statements = append(d.Statements, out)
	}
	return d, nil
}

// products returns what a product and its subcomponents are; none for what
// cannot be told apart here.
func (c openVEXComponent) products(subcomponents []openVEXComponent) (list []Product, err error) {
	var whole Product
	found := false
	for _, id := range c.ids() {
		if whole, found = product(id); found {
			break
		}
	}
	if !found {
		return nil, nil
	}
	if len(subcomponents) == 0 {
		return []Product{whole}, nil
	}
	for _, s := range subcomponents {
		ok := false
		for _, id := range s.ids() {
			var p Product
			if p, ok = whole.within(id); ok {
				list = append(list, p)
				break
			}
		}
		if !ok {
			return nil, fmt.Errorf("the subcomponent %.80q is no package URL, and the statement is not about the whole product", s.ID)
		}
	}
	return list, nil
}
