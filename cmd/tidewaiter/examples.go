package main

import (
	"strings"

	"github.com/spf13/cobra"
)

// examples are those of commands that bring none themselves, by their path.
func examples() map[string]string {
	return map[string]string{
		"access-key create":          "tidewaiter access-key create alice",
		"access-key delete":          "tidewaiter access-key delete AK…",
		"access-key disable":         "tidewaiter access-key disable AK…",
		"access-key enable":          "tidewaiter access-key enable AK…",
		"access-key list":            "tidewaiter access-key list -o json",
		"advisories forget":          "tidewaiter advisories forget https://mirror.example.com/npm/all.zip",
		"advisories import":          "tidewaiter advisories import Debian.zip PyPI.zip https://mirror.example.com/npm/all.zip",
		"advisories rollback":        "tidewaiter advisories rollback",
		"advisories status":          "tidewaiter advisories status --server https://tidewaiter.example.com",
		"advisories update":          "tidewaiter advisories update",
		"bundle apply":               "tidewaiter bundle apply tidewaiter.bundle --key bundle.pem",
		"bundle create":              "tidewaiter bundle create tidewaiter.bundle --public-key bundle.pem",
		"bundle verify":              "tidewaiter bundle verify tidewaiter.bundle --key bundle.pem",
		"cluster create":             "tidewaiter cluster create office",
		"cluster delete":             "tidewaiter cluster delete office",
		"cluster list":               "tidewaiter cluster list",
		"cluster remove-component":   "tidewaiter cluster remove-component office 0123456789abcdef0123456789abcdef",
		"cluster rotate-key":         "tidewaiter cluster rotate-key office",
		"cluster show":               "tidewaiter cluster show office",
		"cluster token":              "tidewaiter cluster token office",
		"component push":             "tidewaiter component push --registry registry.example.com --namespace tools --username me --password-stdin < password.txt",
		"component show":             "tidewaiter component show",
		"context rm":                 "tidewaiter context rm ci",
		"context use":                "tidewaiter context use ci",
		"enterprise-project create":  "tidewaiter enterprise-project create shop",
		"enterprise-project disable": "tidewaiter enterprise-project disable shop",
		"enterprise-project enable":  "tidewaiter enterprise-project enable shop",
		"enterprise-project list":    "tidewaiter enterprise-project list",
		"policy attach":              "tidewaiter policy attach 'HSS ReadOnlyAccess' --user alice",
		"policy create":              "tidewaiter policy create scans --document scans.json",
		"policy delete":              "tidewaiter policy delete scans",
		"policy detach":              "tidewaiter policy detach 'HSS ReadOnlyAccess' --user alice",
		"policy grants":              "tidewaiter policy grants",
		"policy list":                "tidewaiter policy list",
		"policy show":                "tidewaiter policy show 'HSS ReadOnlyAccess'",
		"project create":             "tidewaiter project create team",
		"project delete":             "tidewaiter project delete team",
		"project disable":            "tidewaiter project disable team",
		"project enable":             "tidewaiter project enable team",
		"project list":               "tidewaiter project list",
		"serve":                      "tidewaiter serve\n  tidewaiter serve --listen :8443 --public-url https://tidewaiter.example.com:8443 --tls-cert cert.pem --tls-key key.pem",
		"user create":                "tidewaiter user create alice",
		"user delete":                "tidewaiter user delete alice",
		"user disable":               "tidewaiter user disable alice",
		"user enable":                "tidewaiter user enable alice",
		"user list":                  "tidewaiter user list -o yaml",
		"user set-password":          "tidewaiter user set-password alice < password.txt",
		"user show":                  "tidewaiter user show alice",
		"version":                    "tidewaiter version",
		"vex apply":                  "tidewaiter vex apply openvex.json --expires 2027-01-31T00:00:00Z",
		"vex attached":               "tidewaiter vex attached harbor",
		"vex distrust":               "tidewaiter vex distrust harbor",
		"vex list":                   "tidewaiter vex list",
		"vex remove":                 "tidewaiter vex remove https://example.com/vex/1",
		"vex trust":                  "tidewaiter vex trust harbor",
	}
}

// addExamples gives commands their examples.
func addExamples(root *cobra.Command) {
	all := examples()
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		for _, sub := range cmd.Commands() {
			path := strings.TrimPrefix(sub.CommandPath(), root.Name()+" ")
			if text, ok := all[path]; ok && sub.Example == "" {
				sub.Example = "  " + text
			}
			walk(sub)
		}
	}
	walk(root)
}
