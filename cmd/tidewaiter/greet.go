package main

import (
	"fmt"
	"strings"
)

// greet tells the person who started the server what to do next. What it prints
// goes to standard output, not into the log: the first time it has a password.
func (p *program) greet(c *Config, endpoint string, first *bootstrapFile) {
	if first == nil {
		fmt.Fprintf(p.stdout, "Tidewaiter serves %s; its data is in %s.\n", endpoint, c.Data)
		return
	}
	fmt.Fprintf(p.stdout, `
Tidewaiter serves %[1]s

This was the first start. It made an administrator and an access key, and wrote
them to %[2]s, which only you can read:

  account %[3]s   user %[4]s   password %[5]s

Open %[1]s in a browser and sign in with them: the console connects a
registry, scans it and shows what was found. Or go on here, in another terminal:

  %[7]s registry add --help

To ask for the commands that put the scan component into your registry, paste this
there as it is, and then again with your registry, user and password in place of
those of example.com.

%[6]s

The answer has a zip to download, a command to run beside it, and a command that
pulls the same image from here. The README goes on from there.

`, endpoint, bootstrapPath(c.Data), first.Domain, first.User, first.Password, p.firstRequest(c, endpoint, first), shellWord(p.name))
}

// firstRequest returns shell lines that ask for the upload command. Token and
// password go to curl through its standard input, so that no process has them
// among its arguments.
func (p *program) firstRequest(c *Config, endpoint string, f *bootstrapFile) string {
	ours, curls := "", ""
	if c.TLSCert != "" {
		ours, curls = " --ca "+shellWord(c.TLSCert), " --cacert "+shellWord(c.TLSCert)
	}
	return fmt.Sprintf(`TOKEN=$(%s token --credentials %s%s)
curl -sS -G -K -%s '%s/v5/%s/image/registries/image-upload-command' <<EOF
header = "X-Auth-Token: $TOKEN"
data-urlencode = "registry_addr=registry.example.com:5000"
data-urlencode = "namespace=library"
data-urlencode = "username=me"
data-urlencode = "password=secret"
EOF`, shellWord(p.name), shellWord(bootstrapPath(c.Data)), ours, curls, endpoint, f.ProjectID)
}

// shellWord quotes a path for a shell.
func shellWord(s string) string {
	if strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
