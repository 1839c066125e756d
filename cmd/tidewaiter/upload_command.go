package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"
)

// uploadCommands are the answer of ShowImageUploadCommand.
type uploadCommands struct {
	ImageCommand string `json:"image_command"`
	DownloadURL  string `json:"images_download_url"`
	PullCommand  string `json:"swr_image_pull_command"`
}

func (p *program) uploadCommandCommand() *cobra.Command {
	var address, namespace, username, platform string
	var fromStdin bool
	cmd := &cobra.Command{
		Use: "upload-command", Short: "Print the commands that put the scan component into a registry",
		Long: "Print the commands that put the scan component into a registry, for a shell on a machine\n" +
			"with docker that reaches it. The password is asked for, or read from standard input;\n" +
			"the commands hold it.",
		Example: "  tidewaiter upload-command --registry registry.example.com --namespace tools --username me\n" +
			"  tidewaiter upload-command --registry registry.example.com --namespace tools --username me --password-stdin < password.txt | sh",
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, required := range []struct{ flag, value string }{{"registry", address}, {"namespace", namespace}, {"username", username}} {
				if required.value == "" {
					return &usageError{fmt.Errorf("%s needs --%s", cmd.CommandPath(), required.flag)}
				}
			}
			return p.withClient(cmd, func(ctx context.Context, c *adminClient) error {
				a := asker{program: p, fromStdin: fromStdin}
				password, err := a.secret("password of " + username)
				if err != nil {
					return err
				}
				query := url.Values{"registry_addr": {address}, "namespace": {namespace}, "username": {username}, "password": {password}}
				if platform != "" {
					query.Set("platform", platform)
				}
				var out uploadCommands
				err = c.hss(ctx, http.MethodGet, "/image/registries/image-upload-command", query, nil, &out)
				if e, ok := errors.AsType[*url.Error](err); ok {
					return e.Err // its URL holds the password
				}
				if err != nil {
					return err
				}
				if done, err := writeAs(cmd, out); done {
					return err
				}
				// As it is: it is for a shell, and the API has checked what goes into it.
				_, err = fmt.Fprintln(cmd.OutOrStdout(), out.ImageCommand)
				return err
			})
		},
	}
	addClientFlags(cmd)
	addProject(cmd)
	fs := cmd.Flags()
	fs.StringVar(&address, "registry", "", "`address` of the registry: host or host:port")
	fs.StringVar(&namespace, "namespace", "", "`project` of the registry that receives the image")
	fs.StringVar(&username, "username", "", "`user` who may push")
	fs.BoolVar(&fromStdin, "password-stdin", false, "read the user's password from standard input")
	fs.StringVar(&platform, "platform", "", "`platform` of the machines that run the component, such as linux/arm64 (default: linux/amd64)")
	return cmd
}
