package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/tidewaiter/tidewaiter/internal/adminapi"
)

func (p *program) userCommand() *cobra.Command {
	return group("user", "Manage users",
		p.userCreate(),
		p.plain("list", "List the users", func(ctx context.Context, c *adminClient, cmd *cobra.Command) error {
			var list adminapi.List[adminapi.User]
			if err := c.do(ctx, http.MethodGet, "/users", nil, &list); err != nil {
				return err
			}
			return showUsers(cmd, list.Items...)
		}),
		p.named("show NAME", "Show a user", func(ctx context.Context, c *adminClient, cmd *cobra.Command, name string) error {
			var u adminapi.User
			if err := c.do(ctx, http.MethodGet, "/users/"+pathEscape(name), nil, &u); err != nil {
				return err
			}
			return showUsers(cmd, u)
		}),
		p.userSetPassword(),
		p.userEnable("enable", "Let a user sign in again", true),
		p.userEnable("disable", "Keep a user from signing in, and end the user's tokens", false),
		p.named("delete NAME", "Delete a user, with tokens and access keys", func(ctx context.Context, c *adminClient, _ *cobra.Command, name string) error {
			return c.do(ctx, http.MethodDelete, "/users/"+pathEscape(name), nil, nil)
		}),
	)
}

func showUsers(cmd *cobra.Command, users ...adminapi.User) error {
	return show(cmd, users, "NAME ID ENABLED ROOT AUTHORIZATION CREATED", func(u adminapi.User) []any {
		return []any{u.Name, u.ID, yesNo(u.Enabled), yesNo(u.Root), u.Authorization, u.Created}
	})
}

func (p *program) userCreate() *cobra.Command {
	var in adminapi.NewUser
	var fromStdin bool
	cmd := p.named("create NAME", "Create a user", func(ctx context.Context, c *adminClient, cmd *cobra.Command, name string) error {
		in.Name = name
		if fromStdin {
			password, err := readSecret(p.stdin)
			if err != nil {
				return err
			}
			in.Password = password
		}
		var u adminapi.CreatedUser
		if err := c.do(ctx, http.MethodPost, "/users", in, &u); err != nil {
			return err
		}
		fields := []string{"name", u.Name, "id", u.ID}
		if u.Password != "" {
			fields = append(fields, "password", u.Password)
		}
		return showOne(cmd, u, fields...)
	})
	cmd.Long = "Create a user. Without --password-stdin a password is generated and printed, once."
	cmd.Flags().BoolVar(&fromStdin, "password-stdin", false, "read the password from standard input")
	cmd.Flags().BoolVar(&in.Root, "root", false, "the user may do everything in the account")
	cmd.Flags().StringVar(&in.Authorization, "authorization", "policy", "`model` that decides what the user may do: policy or identity-policy")
	return cmd
}

func (p *program) userSetPassword() *cobra.Command {
	var fromStdin bool
	cmd := p.named("set-password NAME", "Change a user's password, and end the user's tokens",
		func(ctx context.Context, c *adminClient, cmd *cobra.Command, name string) error {
			if !fromStdin {
				return &usageError{fmt.Errorf("%s needs --password-stdin", cmd.CommandPath())}
			}
			password, err := readSecret(p.stdin)
			if err != nil {
				return err
			}
			return c.do(ctx, http.MethodPatch, "/users/"+pathEscape(name), adminapi.UserChange{Password: &password}, nil)
		})
	cmd.Flags().BoolVar(&fromStdin, "password-stdin", false, "read the password from standard input")
	return cmd
}

func (p *program) userEnable(verb, short string, enabled bool) *cobra.Command {
	return p.named(verb+" NAME", short, func(ctx context.Context, c *adminClient, _ *cobra.Command, name string) error {
		return c.do(ctx, http.MethodPatch, "/users/"+pathEscape(name), adminapi.UserChange{Enabled: &enabled}, nil)
	})
}

func (p *program) accessKeyCommand() *cobra.Command {
	var user string
	list := p.plain("list", "List the access keys", func(ctx context.Context, c *adminClient, cmd *cobra.Command) error {
		path := "/access-keys"
		if user != "" {
			path += "?user_id=" + url.QueryEscape(user)
		}
		var keys adminapi.List[adminapi.AccessKey]
		if err := c.do(ctx, http.MethodGet, path, nil, &keys); err != nil {
			return err
		}
		return show(cmd, keys.Items, "ACCESS_KEY USER_ID ENABLED CREATED", func(k adminapi.AccessKey) []any {
			return []any{k.AccessKey, k.UserID, yesNo(k.Enabled), k.Created}
		})
	})
	list.Flags().StringVar(&user, "user", "", "only those of this `user`, by name or id")
	enable := func(verb, short string, enabled bool) *cobra.Command {
		return p.named(verb+" ACCESS_KEY", short, func(ctx context.Context, c *adminClient, _ *cobra.Command, key string) error {
			return c.do(ctx, http.MethodPatch, "/access-keys/"+pathEscape(key), adminapi.AccessKeyChange{Enabled: enabled}, nil)
		})
	}
	return group("access-key", "Manage the access keys (AK/SK) that sign requests",
		p.named("create USER", "Create an access key for a user; its secret is printed, once",
			func(ctx context.Context, c *adminClient, cmd *cobra.Command, name string) error {
				var k adminapi.CreatedAccessKey
				if err := c.do(ctx, http.MethodPost, "/access-keys", adminapi.NewAccessKey{UserID: name}, &k); err != nil {
					return err
				}
				return showOne(cmd, k, "access_key", k.AccessKey.AccessKey, "secret_key", k.SecretKey)
			}),
		list,
		enable("enable", "Let an access key sign again", true),
		enable("disable", "Keep an access key from signing", false),
		p.named("delete ACCESS_KEY", "Delete an access key", func(ctx context.Context, c *adminClient, _ *cobra.Command, key string) error {
			return c.do(ctx, http.MethodDelete, "/access-keys/"+pathEscape(key), nil, nil)
		}),
	)
}
