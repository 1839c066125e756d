package store

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/uptrace/bun"

	"github.com/tidewaiter/tidewaiter"
)

type exceptionRow struct {
	bun.BaseModel `bun:"exceptions,alias:exceptions"`

	Number              int64 `bun:",pk,autoincrement"`
	ID                  string
	ProjectID           string
	EnterpriseProjectID string
	Vulnerability       string
	Kind                tidewaiter.VulnerabilityKind
	Action              tidewaiter.ExceptionAction
	Scope               tidewaiter.ExceptionScope
	RegistryTypes       string // JSON
	Package             string
	Status              string
	Justification       string
	Remark              string
	Source              string
	Author              string
	Created             int64
	Updated             int64
	Expires             int64
}

type exceptionImageRow struct {
	bun.BaseModel `bun:"exception_images,alias:exception_images"`

	ExceptionNumber int64
	ImageID         int64
	ManifestID      int64
}

func (r exceptionRow) noun(images []exceptionImageRow) (tidewaiter.Exception, error) {
	e := tidewaiter.Exception{
		ID: r.ID, ProjectID: r.ProjectID, EnterpriseProjectID: r.EnterpriseProjectID, Vulnerability: r.Vulnerability, Kind: r.Kind,
		Action: r.Action, Scope: r.Scope, Package: r.Package, Status: r.Status, Justification: r.Justification, Remark: r.Remark,
		Source: r.Source, Author: r.Author, Created: fromMicros(r.Created), Updated: fromMicros(r.Updated), Expires: optionalTime(r.Expires),
		Images: nouns(images, func(i exceptionImageRow) tidewaiter.ExceptionImage {
			return tidewaiter.ExceptionImage{ImageID: i.ImageID, ManifestID: i.ManifestID}
		}),
	}
	if err := json.Unmarshal([]byte(r.RegistryTypes), &e.RegistryTypes); err != nil {
		return e, fmt.Errorf("read exception %q: %w", r.ID, err)
	}
	return e, nil
}

// rule is an exception as it is compared with images.
type rule struct {
	tidewaiter.Exception

	number    int64
	manifests map[int64]bool // of ScopeImages: they and what they hold
}

// heldImage is an image of one platform, as rules see it.
type heldImage struct {
	manifestID int64
	at         *registryPlace
}

// registryPlace is where a registry is, as rules and counts see it.
type registryPlace struct {
	Number              int64
	ProjectID           string
	EnterpriseProjectID string
	Type                tidewaiter.RegistryType
}

// applies tells whether a rule is about an image, and about a package of it.
func (r *rule) applies(i heldImage, p PackageVersion) bool {
	if r.ProjectID != i.at.ProjectID || r.EnterpriseProjectID != "" && r.EnterpriseProjectID != i.at.EnterpriseProjectID {
		return false
	}
	switch r.Scope {
	case tidewaiter.ScopeAllImages:
	case tidewaiter.ScopeImageTypes:
		if !slices.Contains(r.RegistryTypes, i.at.Type) {
			return false
		}
	default:
		if !r.manifests[i.manifestID] {
			return false
		}
	}
	return r.Package == "" || tidewaiter.MatchesPackageURL(r.Package, p.Package())
}

// rulesAbout returns the exceptions that are about vulnerabilities, by their
// ids. Of expired ones too: somebody removes them.
func (db *DB) rulesAbout(ctx context.Context, vulnerabilities []int64) (map[int64][]*rule, error) {
	rules := make(map[int64][]*rule)
	byNumber := make(map[int64]*rule)
	var numbers []int64
	err := eachChunk(vulnerabilities, func(chunk []int64) error {
		var rows []struct {
			exceptionRow

			VulnerabilityID int64
		}
		err := db.write.NewRaw(`SELECT e.*, v.id AS vulnerability_id FROM vulnerabilities AS v CROSS JOIN exceptions AS e
			WHERE v.id IN (?) AND e.vulnerability = v.name AND (e.kind = '' OR (e.kind = 'linux_vul') = v.is_system)`, bun.List(chunk)).Scan(ctx, &rows)
		if err != nil {
			return notFound(err, "exceptions")
		}
		for _, row := range rows {
			r := byNumber[row.Number]
			if r == nil {
				e, err := row.noun(nil)
				if err != nil {
					return err
				}
				r = &rule{Exception: e, number: row.Number, manifests: make(map[int64]bool)}
				byNumber[row.Number], numbers = r, append(numbers, row.Number)
			}
			rules[row.VulnerabilityID] = append(rules[row.VulnerabilityID], r)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return rules, eachChunk(numbers, func(chunk []int64) error {
		var rows []exceptionImageRow
		err := db.write.NewRaw(`SELECT exception_number, manifest_id FROM exception_images WHERE exception_number IN (?0)
			UNION ALL SELECT i.exception_number, c.child_id FROM exception_images AS i JOIN manifest_children AS c ON c.parent_id = i.manifest_id
			WHERE i.exception_number IN (?0)`, bun.List(chunk)).Scan(ctx, &rows)
		for _, i := range rows {
			byNumber[i.ExceptionNumber].manifests[i.ManifestID] = true
		}
		return notFound(err, "images of exceptions")
	})
}
