package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

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
			token, err := signIn(cmd, &http.Client{
				Transport: transport, Timeout: time.Minute,
				// The password is for this address and no other.
				CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			}, f)
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

// signIn asks for a token that is scoped to the project of the file.
func signIn(cmd *cobra.Command, client *http.Client, f *bootstrapFile) (string, error) {
	type object = map[string]any
	body, err := json.Marshal(object{"auth": object{
		"identity": object{"methods": []string{"password"}, "password": object{"user": object{
			"name": f.User, "password": f.Password, "domain": object{"name": f.Domain},
		}}},
		"scope": object{"project": object{"id": f.ProjectID}},
	}})
	if err != nil {
		return "", err
	}
	r, err := http.NewRequestWithContext(cmd.Context(), http.MethodPost, f.Endpoint+"/v3/auth/tokens?nocatalog=1", bytes.NewReader(body))
	if err != nil {
		return "", wrongConfig("server", "it is no URL; use one such as https://tidewaiter.example.com")
	}
	r.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(r)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close() //nolint:errcheck // it was read as far as needed
	if resp.StatusCode != http.StatusCreated {
		var e struct {
			Msg string `json:"error_msg"`
		}
		if json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&e) != nil || e.Msg == "" {
			return "", fmt.Errorf("the server answered %s", resp.Status)
		}
		return "", errors.New(e.Msg)
	}
	return resp.Header.Get("X-Subject-Token"), nil
}
