package store

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/uptrace/bun"

	"github.com/tidewaiter/tidewaiter"
)

type policyRow struct {
	bun.BaseModel `bun:"policies"`

	ID          string
	DomainID    string
	Name        string
	Description string
	Document    string // JSON in the form of policy documents
	Created     int64
}

func (r policyRow) noun() (tidewaiter.Policy, error) {
	p := tidewaiter.Policy{
		ID: r.ID, DomainID: r.DomainID, Name: r.Name, Description: r.Description, Created: fromMicros(r.Created),
	}
	if err := json.Unmarshal([]byte(r.Document), &p.Document); err != nil {
		return p, fmt.Errorf("read document of policy %q: %w", r.ID, err)
	}
	return p, nil
}

func newPolicyRow(p tidewaiter.Policy) (policyRow, error) {
	document, err := json.Marshal(p.Document)
	if err != nil {
		return policyRow{}, fmt.Errorf("write document of policy %q: %w", p.ID, err)
	}
	return policyRow{
		ID: p.ID, DomainID: p.DomainID, Name: p.Name, Description: p.Description,
		Document: string(document), Created: micros(p.Created),
	}, nil
}

// CreatePolicy adds a policy. Its name is unique in its domain.
func (db *DB) CreatePolicy(ctx context.Context, p tidewaiter.Policy) error {
	row, err := newPolicyRow(p)
	if err != nil {
		return err
	}
	_, err = db.write.NewInsert().Model(&row).Exec(ctx)
	return conflict(err, "policy")
}

// Policy returns the policy of an id.
func (db *DB) Policy(ctx context.Context, id string) (tidewaiter.Policy, error) {
	var row policyRow
	err := db.read.NewSelect().Model(&row).Where("id = ?", id).Scan(ctx)
	if err != nil {
		return tidewaiter.Policy{}, notFound(err, "policy")
	}
	return row.noun()
}

// Policies returns the policies of a domain, by name, without built-in ones.
func (db *DB) Policies(ctx context.Context, domainID string) ([]tidewaiter.Policy, error) {
	return db.policies(ctx, "domain_id = ?", domainID)
}

// PoliciesOf returns the policies that are granted to a user, by name, without
// built-in ones.
func (db *DB) PoliciesOf(ctx context.Context, userID string) ([]tidewaiter.Policy, error) {
	return db.policies(ctx, "id IN (SELECT policy_id FROM grants WHERE user_id = ?)", userID)
}

func (db *DB) policies(ctx context.Context, where string, arg any) ([]tidewaiter.Policy, error) {
	var rows []policyRow
	if err := db.read.NewSelect().Model(&rows).Where(where, arg).Order("name").Scan(ctx); err != nil {
		return nil, notFound(err, "policies")
	}
	out := make([]tidewaiter.Policy, len(rows))
	for i, row := range rows {
		var err error
		if out[i], err = row.noun(); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// UpdatePolicy writes name, description and document of a policy.
func (db *DB) UpdatePolicy(ctx context.Context, p tidewaiter.Policy) error {
	row, err := newPolicyRow(p)
	if err != nil {
		return err
	}
	r, err := db.write.NewUpdate().Model(&row).Column("name", "description", "document").Where("id = ?", p.ID).Exec(ctx)
	return changed(r, err, "policy")
}

// DeletePolicy removes a policy with the grants of it.
func (db *DB) DeletePolicy(ctx context.Context, id string) error {
	return db.Tx(ctx, func(tx *DB) error {
		if err := tx.deleteGrants(ctx, "policy_id", id); err != nil {
			return err
		}
		r, err := tx.write.NewRaw("DELETE FROM policies WHERE id = ?", id).Exec(ctx)
		return changed(r, err, "policy")
	})
}
