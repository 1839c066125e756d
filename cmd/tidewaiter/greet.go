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

Ask for the commands that put the scan component into your registry. Paste this
as it is; then put your registry, user and password in place of those of example.com:

%[6]s

The answer has a zip to download, a command to run beside it, and a command that
pulls the same image from here. The README goes on from there.

`, endpoint, bootstrapPath(c.Data), first.Domain, first.User, first.Password, firstRequest(c, endpoint, first))
}

// firstRequest returns shell lines that ask for the upload command. They read
// the password from the file, so that no process has it among its arguments.
func firstRequest(c *Config, endpoint string, f *bootstrapFile) string {
	insecure := ""
	if c.TLSCert != "" {
		insecure = " --cacert " + shellWord(c.TLSCert)
	}
	return strings.ReplaceAll(fmt.Sprintf(`TOKEN=$(sed -n 's/.*"password": "\(.*\)".*/{"auth":{"identity":{"methods":["password"],"password":{"user":{"name":"%[2]s","password":"\1","domain":{"name":"%[3]s"}}}},"scope":{"project":{"id":"%[4]s"}}}}/p' %[5]s |
    curl -sS%[6]s -o /dev/null -D - -H 'Content-Type: application/json' --data-binary @- '%[1]s/v3/auth/tokens?nocatalog=1' |
    tr -d '\r' | sed -n 's/^[Xx]-[Ss]ubject-[Tt]oken: //p')
  curl -sS%[6]s -G -K - '%[1]s/v5/%[4]s/image/registries/image-upload-command' <<EOF
  header = "X-Auth-Token: $TOKEN"
  data-urlencode = "registry_addr=registry.example.com:5000"
  data-urlencode = "namespace=library"
  data-urlencode = "username=me"
  data-urlencode = "password=secret"
  EOF`, endpoint, f.User, f.Domain, f.ProjectID, shellWord(bootstrapPath(c.Data)), insecure), "\n  ", "\n")
}

// shellWord quotes a path for a shell.
func shellWord(s string) string {
	if strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
