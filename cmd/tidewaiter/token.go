package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

func (p *program) tokenCommand() *cobra.Command {
	var credentials, server, ca string
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Sign in with the user of a bootstrap.json, and print a token for its project",
		Example: "  TOKEN=$(tidewaiter token --credentials tidewaiter-data/bootstrap.json)\n" +
			"  curl -H \"X-Auth-Token: $TOKEN\" …",
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f, err := readBootstrap(credentials)
			if err != nil {
				return wrongConfig("credentials", "%s", oneLine(err))
			}
			if server != "" {
				if err := checkServer(server); err != nil {
					return err
				}
				f.Endpoint = strings.TrimSuffix(server, "/")
			}
			transport, err := newTransport(ca)
			if err != nil {
				return err
			}
			c := newRemoteClient(f.Endpoint, transport, "")
			token, _, err := c.obtainToken(cmd.Context(), newPasswordLogin(f.User, f.Domain, f.Password), scope{Project: &named{ID: f.ProjectID}})
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), token)
			return err
		},
	}
	cmd.Flags().StringVar(&credentials, "credentials", bootstrapPath("tidewaiter-data"), "`file` with user, password, domain, project_id and endpoint")
	cmd.Flags().StringVar(&server, "server", "", "`URL` of the server (default: the endpoint in the file)")
	cmd.Flags().StringVar(&ca, "ca", "", "PEM `file` with the authorities that the server's certificate may come from (default: the system's)")
	return cmd
}
