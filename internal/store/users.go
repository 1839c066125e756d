package store

import (
	"context"

	"github.com/uptrace/bun"

	"github.com/tidewaiter/tidewaiter"
)

// User is a user with what is never shown of them.
type User struct {
	tidewaiter.User
	PasswordHash string // in PHC string form
	// Epoch counts the events that end all tokens of the user.
	Epoch int64
}

type userRow struct {
	bun.BaseModel `bun:"users"`

	ID           string
	DomainID     string
	Name         string
	Enabled      bool
	Root         bool
	Authz        string
	PasswordHash string
	Epoch        int64
	Created      int64
}

func (r userRow) noun() User {
	return User{
		User: tidewaiter.User{
			ID: r.ID, DomainID: r.DomainID, Name: r.Name, Enabled: r.Enabled, Root: r.Root,
			Authorization: tidewaiter.Authorization(r.Authz), Created: fromMicros(r.Created),
		},
		PasswordHash: r.PasswordHash, Epoch: r.Epoch,
	}
}

func newUserRow(u User) userRow {
	return userRow{
		ID: u.ID, DomainID: u.DomainID, Name: u.Name, Enabled: u.Enabled, Root: u.Root,
		Authz: string(u.Authorization), PasswordHash: u.PasswordHash, Epoch: u.Epoch, Created: micros(u.Created),
	}
}

// CreateUser adds a user. Its name is unique in its domain.
func (db *DB) CreateUser(ctx context.Context, u User) error {
	row := newUserRow(u)
	_, err := db.write.NewInsert().Model(&row).Exec(ctx)
	return conflict(err, "user")
}

// User returns the user of an id.
func (db *DB) User(ctx context.Context, id string) (User, error) {
	var row userRow
	err := db.read.NewSelect().Model(&row).Where("id = ?", id).Scan(ctx)
	return row.noun(), notFound(err, "user")
}

// UserByName returns the user of a name in a domain.
func (db *DB) UserByName(ctx context.Context, domainID, name string) (User, error) {
	var row userRow
	err := db.read.NewSelect().Model(&row).Where("domain_id = ? AND name = ?", domainID, name).Scan(ctx)
	return row.noun(), notFound(err, "user")
}

// Users returns the users of a domain, by name.
func (db *DB) Users(ctx context.Context, domainID string) ([]User, error) {
	var rows []userRow
	err := db.read.NewSelect().Model(&rows).Where("domain_id = ?", domainID).Order("name").Scan(ctx)
	return nouns(rows, userRow.noun), notFound(err, "users")
}

// UpdateUser writes everything of a user but id, domain and time of creation.
func (db *DB) UpdateUser(ctx context.Context, u User) error {
	row := newUserRow(u)
	r, err := db.write.NewUpdate().Model(&row).ExcludeColumn("id", "domain_id", "created").Where("id = ?", u.ID).Exec(ctx)
	return changed(r, err, "user")
}

// DeleteUser removes a user with their grants, access keys and tokens.
func (db *DB) DeleteUser(ctx context.Context, id string) error {
	r, err := db.write.NewRaw("DELETE FROM users WHERE id = ?", id).Exec(ctx)
	return changed(r, err, "user")
}
