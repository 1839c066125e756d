package console

import (
	"context"
	"net/http"
	"net/url"

	"github.com/tidewaiter/tidewaiter/internal/adminapi"
)

// usersContent are the users of the account with what they may do, and their
// access keys. The secrets are those of what was made just now: they are on this
// one page and nowhere else.
type usersContent struct {
	Users    []userRow
	Policies []adminapi.Policy
	Form     adminapi.NewUser // without its password

	NewUser *adminapi.CreatedUser      // with the password, if that was made here
	NewKey  *adminapi.CreatedAccessKey // with the secret key
}

type userRow struct {
	adminapi.User

	Grants []adminapi.Grant
	Keys   []adminapi.AccessKey
}

// account asks an operation of the account.
func (c *console) account(ctx context.Context, method, path string, in, out any) error {
	return c.api.Do(ctx, method, "/tidewaiter/v1"+path, nil, in, out)
}

func (c *console) users(ctx context.Context, _ *request) (any, error) {
	return c.usersOf(ctx)
}

func (c *console) usersOf(ctx context.Context) (*usersContent, error) {
	v := &usersContent{}
	var users adminapi.List[adminapi.User]
	if err := c.account(ctx, http.MethodGet, "/users", nil, &users); err != nil {
		return nil, err
	}
	// Who may see the users need not be allowed to see the rest.
	var grants adminapi.List[adminapi.Grant]
	var keys adminapi.List[adminapi.AccessKey]
	var policies adminapi.List[adminapi.Policy]
	for path, out := range map[string]any{"/grants": &grants, "/access-keys": &keys, "/policies": &policies} {
		if err := c.account(ctx, http.MethodGet, path, nil, out); err != nil && statusOf(err) != http.StatusForbidden {
			return nil, err
		}
	}
	v.Policies = policies.Items
	for _, u := range users.Items {
		row := userRow{User: u}
		for _, g := range grants.Items {
			if g.UserID == u.ID {
				row.Grants = append(row.Grants, g)
			}
		}
		for _, k := range keys.Items {
			if k.UserID == u.ID {
				row.Keys = append(row.Keys, k)
			}
		}
		v.Users = append(v.Users, row)
	}
	return v, nil
}

// usersAgain shows the page once more, with something that was made just now or
// with what went wrong.
func (c *console) usersAgain(ctx context.Context, err error, change func(*usersContent)) (string, error) {
	v, loadErr := c.usersOf(ctx)
	if loadErr != nil {
		return "", loadErr
	}
	change(v)
	return "", &formError{err, v}
}

// addUser makes a user, and gives a policy if one is chosen.
func (c *console) addUser(ctx context.Context, r *request) (string, error) {
	in := adminapi.NewUser{Name: r.PostFormValue("name"), Root: r.PostFormValue("root") != "", Authorization: "policy"}
	var made adminapi.CreatedUser
	err := c.account(ctx, http.MethodPost, "/users", in, &made)
	if err != nil {
		return c.usersAgain(ctx, err, func(v *usersContent) { v.Form = in })
	}
	if policy := r.PostFormValue("policy"); policy != "" {
		err = c.account(ctx, http.MethodPost, "/grants", adminapi.NewGrant{UserID: made.ID, PolicyID: policy}, nil)
	}
	return c.usersAgain(ctx, err, func(v *usersContent) { v.NewUser = &made })
}

// changeUser enables, disables or deletes a user, changes the password, or gives
// or takes a policy.
func (c *console) changeUser(ctx context.Context, r *request) (string, error) {
	id := r.PathValue("id")
	path := "/users/" + url.PathEscape(id)
	grant := adminapi.NewGrant{UserID: id, PolicyID: r.PostFormValue("policy"), ProjectID: r.PostFormValue("project_id"), EnterpriseProjectID: r.PostFormValue("enterprise_project_id")}
	yes, no := true, false
	var err error
	switch r.PostFormValue("do") {
	case "enable":
		err = c.account(ctx, http.MethodPatch, path, adminapi.UserChange{Enabled: &yes}, nil)
	case "disable":
		err = c.account(ctx, http.MethodPatch, path, adminapi.UserChange{Enabled: &no}, nil)
	case "password":
		password := r.PostFormValue("password")
		err = c.account(ctx, http.MethodPatch, path, adminapi.UserChange{Password: &password}, nil)
	case "delete":
		err = c.account(ctx, http.MethodDelete, path, nil, nil)
	case "attach":
		err = c.account(ctx, http.MethodPost, "/grants", grant, nil)
	case "detach":
		q := url.Values{"user_id": {grant.UserID}, "policy_id": {grant.PolicyID}}
		for name, value := range map[string]string{"project_id": grant.ProjectID, "enterprise_project_id": grant.EnterpriseProjectID} {
			if value != "" {
				q.Set(name, value)
			}
		}
		err = c.api.Do(ctx, http.MethodDelete, "/tidewaiter/v1/grants", q, nil, nil)
	case "key":
		var made adminapi.CreatedAccessKey
		if err = c.account(ctx, http.MethodPost, "/access-keys", adminapi.NewAccessKey{UserID: id}, &made); err == nil {
			return c.usersAgain(ctx, nil, func(v *usersContent) { v.NewKey = &made })
		}
	}
	if err != nil {
		return c.usersAgain(ctx, err, func(*usersContent) {})
	}
	return projectPath(r.project) + "users", nil
}

// changeKey enables, disables or deletes an access key.
func (c *console) changeKey(ctx context.Context, r *request) (string, error) {
	path := "/access-keys/" + url.PathEscape(r.PathValue("id"))
	var err error
	switch do := r.PostFormValue("do"); do {
	case "enable", "disable":
		err = c.account(ctx, http.MethodPatch, path, adminapi.AccessKeyChange{Enabled: do == "enable"}, nil)
	case "delete":
		err = c.account(ctx, http.MethodDelete, path, nil, nil)
	}
	if err != nil {
		return c.usersAgain(ctx, err, func(*usersContent) {})
	}
	return projectPath(r.project) + "users", nil
}
