package adminapi

import (
	"context"
	"net/http"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/gateway"
	"github.com/tidewaiter/tidewaiter/internal/identity"
)

func (s *server) registerUsers() {
	gateway.Register(s.api, operation("ListUsers", http.MethodGet, "/users", "users", "list", "List the users of the account"), s.listUsers)
	gateway.Register(s.api, operation("CreateUser", http.MethodPost, "/users", "users", "create", "Create a user"), s.createUser)
	gateway.Register(s.api, operation("ShowUser", http.MethodGet, "/users/{id}", "users", "get", "Show a user"), s.showUser)
	gateway.Register(s.api, operation("UpdateUser", http.MethodPatch, "/users/{id}", "users", "update", "Enable or disable a user, or set the password"), s.updateUser)
	gateway.Register(s.api, operation("DeleteUser", http.MethodDelete, "/users/{id}", "users", "delete", "Delete a user, with tokens and access keys"), s.deleteUser)
}

// User is a user on the wire.
type User struct {
	ID            string `json:"id"`
	Name          string `json:"name"`
	Enabled       bool   `json:"enabled"`
	Root          bool   `json:"root" doc:"The user may do everything in the account."`
	Authorization string `json:"authorization" enum:"policy,identity-policy"`
	Created       string `json:"created"`
}

// NewUser is what a user is created from.
type NewUser struct {
	Name          string `json:"name" minLength:"1" maxLength:"64"`
	Password      string `json:"password,omitempty" maxLength:"128" doc:"Without it one is generated."`
	Root          bool   `json:"root,omitempty"`
	Authorization string `json:"authorization,omitempty" enum:"policy,identity-policy" default:"policy"`
}

// CreatedUser is a new user, with the password if it was generated.
type CreatedUser struct {
	User
	Password string `json:"password,omitempty" doc:"Shown once, and only if it was generated."`
}

// UserChange changes what it has.
type UserChange struct {
	Enabled       *bool   `json:"enabled,omitempty"`
	Password      *string `json:"password,omitempty" maxLength:"128" doc:"Ends the user's tokens."`
	Root          *bool   `json:"root,omitempty"`
	Authorization *string `json:"authorization,omitempty" enum:"policy,identity-policy"`
}

func wireUser(u tidewaiter.User) User {
	return User{
		ID: u.ID, Name: u.Name, Enabled: u.Enabled, Root: u.Root,
		Authorization: string(u.Authorization), Created: wireTime(u.Created),
	}
}

func (s *server) listUsers(ctx context.Context, in *byName) (*listOutput[User], error) {
	users, err := s.identity.Users(ctx, gateway.CallerFrom(ctx))
	if err != nil {
		return nil, err
	}
	return list(named(users, in.Name, func(u tidewaiter.User) string { return u.Name }), wireUser), nil
}

func (s *server) createUser(ctx context.Context, in *struct{ Body NewUser }) (*output[CreatedUser], error) {
	u, password, err := s.identity.CreateUser(ctx, gateway.CallerFrom(ctx), identity.NewUser{
		Name: in.Body.Name, Password: in.Body.Password, Root: in.Body.Root,
		Authorization: tidewaiter.Authorization(in.Body.Authorization),
	})
	if err != nil {
		return nil, err
	}
	out := CreatedUser{User: wireUser(u)}
	if in.Body.Password == "" {
		out.Password = password
	}
	return one(out), nil
}

func (s *server) showUser(ctx context.Context, in *ByID) (*output[User], error) {
	u, err := s.identity.User(ctx, gateway.CallerFrom(ctx), in.ID)
	if err != nil {
		return nil, err
	}
	return one(wireUser(u)), nil
}

func (s *server) updateUser(ctx context.Context, in *struct {
	ByID
	Body UserChange
}) (*output[User], error) {
	change := identity.UserChange{Enabled: in.Body.Enabled, Password: in.Body.Password, Root: in.Body.Root}
	if in.Body.Authorization != nil {
		authorization := tidewaiter.Authorization(*in.Body.Authorization)
		change.Authorization = &authorization
	}
	u, err := s.identity.UpdateUser(ctx, gateway.CallerFrom(ctx), in.ID, change)
	if err != nil {
		return nil, err
	}
	return one(wireUser(u)), nil
}

func (s *server) deleteUser(ctx context.Context, in *ByID) (*struct{}, error) {
	return nil, s.identity.DeleteUser(ctx, gateway.CallerFrom(ctx), in.ID)
}

// named returns the values that have a name, or all if the name is "".
func named[T any](values []T, name string, of func(T) string) []T {
	if name == "" {
		return values
	}
	var out []T
	for _, v := range values {
		if of(v) == name {
			out = append(out, v)
		}
	}
	return out
}
