// Package policy reads policy documents of Version 1.1 and holds the built-in
// policies. What a document decides is the business of
// [tidewaiter.PolicyDocument].
//
//	{"Version": "1.1", "Statement": [{"Effect": "Allow", "Action": ["hss:images:get", "hss:*:list"]}]}
package policy

import (
	"strings"

	"github.com/tidewaiter/tidewaiter"
)

// Version is the only version of policy documents.
const Version = "1.1"

// Limits of a document.
const (
	MaxSize       = 6 << 10 // bytes of JSON
	maxStatements = 8
	maxActions    = 100 // in one statement
	maxAction     = 128 // bytes of one action
)

// The ids of the built-in policies.
const (
	HSSAdministrator  = "builtin-hss-administrator"
	HSSFullAccess     = "builtin-hss-fullaccess"
	HSSReadOnlyAccess = "builtin-hss-readonlyaccess"
	IAMFullAccess     = "builtin-iam-fullaccess"
)

// BuiltIn returns the built-in policies. They belong to no domain, and their
// names are those of the vendor; all but "IAM FullAccess", which lets users
// administer users.
func BuiltIn() []tidewaiter.Policy {
	return []tidewaiter.Policy{
		builtIn(HSSAdministrator, "HSS Administrator", "Everything in HSS (role).", "hss:*:*"),
		builtIn(HSSFullAccess, "HSS FullAccess", "Everything in HSS.", "hss:*:*"),
		builtIn(HSSReadOnlyAccess, "HSS ReadOnlyAccess", "Reading everything in HSS.", "hss:*:get", "hss:*:list"),
		builtIn(IAMFullAccess, "IAM FullAccess", "Users, projects, policies, grants and access keys.", "iam:*:*"),
	}
}

func builtIn(id, name, description string, actions ...string) tidewaiter.Policy {
	return tidewaiter.Policy{ID: id, Name: name, Description: description, BuiltIn: true,
		Document: tidewaiter.PolicyDocument{Version: Version,
			Statement: []tidewaiter.PolicyStatement{{Effect: tidewaiter.Allow, Action: actions}}}}
}

// Decide returns what several documents say about an action: a Deny of any
// wins over an Allow of any.
func Decide(documents []tidewaiter.PolicyDocument, action string) tidewaiter.Decision {
	decision := tidewaiter.NoMatch
	for _, d := range documents {
		decision = max(decision, d.Decide(action))
	}
	return decision
}

// checkAction checks the grammar of an action: three parts of letters, digits,
// "-", "_" and "*", joined by colons. It returns what is wrong, or "".
func checkAction(action string) string {
	if len(action) > maxAction {
		return "it is longer than 128 bytes"
	}
	parts := strings.Split(action, ":")
	if len(parts) != 3 {
		return "it must have the form service:resource:verb, such as hss:images:get"
	}
	for _, part := range parts {
		if part == "" {
			return "a part between the colons is empty; write * for any"
		}
		for i := range len(part) {
			if c := part[i]; !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
				c == '-' || c == '_' || c == '*') {
				return "it may hold letters, digits, -, _ and * between the colons"
			}
		}
	}
	return ""
}
