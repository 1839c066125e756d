// Package uploadcmd writes the shell commands that put the scan component
// into a user's registry, for dash, bash and zsh, interactive or not.
package uploadcmd

import (
	"strings"
	"unicode/utf8"

	"github.com/tidewaiter/tidewaiter"
)

// The longest legal values and answers, in characters.
const (
	MaxUsername = 128
	MaxPassword = 128
	MaxCommand  = 1024
)

// Request is what a user says about their registry. Only ParseRequest makes
// one that Push may be given.
type Request struct {
	Address            tidewaiter.RegistryAddress
	Namespace          tidewaiter.Namespace
	Username, Password string
}

// ParseRequest checks the parameters of the operation. Its errors are of kind
// Invalid, name registry_addr, namespace, username or password, and never hold
// a value.
func ParseRequest(addr, namespace, username, password string) (Request, error) {
	address, err := tidewaiter.ParseRegistryAddress(addr)
	if err != nil {
		return Request{}, err
	}
	ns, err := tidewaiter.ParseNamespace(namespace)
	if err != nil {
		return Request{}, err
	}
	if err := checkCredential("username", username, MaxUsername); err != nil {
		return Request{}, err
	}
	if err := checkCredential("password", password, MaxPassword); err != nil {
		return Request{}, err
	}
	return Request{Address: address, Namespace: ns, Username: username, Password: password}, nil
}

// checkCredential accepts every text of one line that reaches docker unchanged
// from each shell.
//
// The line editor of zsh takes U+E000 to U+E0FF for the bytes 0x00 to 0xFF that
// it could not decode, and passes U+E027 on as a single quote. These 256
// private-use characters are the only ones that do not survive a paste, and
// one of them could end a quoted string; so they are refused.
func checkCredential(field, s string, limit int) error {
	if err := tidewaiter.CheckText(field, s, limit); err != nil {
		return err
	}
	for _, r := range s {
		if 0xE000 <= r && r <= 0xE0FF {
			return tidewaiter.InvalidField(field, "has a private-use character (U+E000 to U+E0FF) that zsh would change on the way; use another")
		}
	}
	return nil
}

// Image is the scan component as it travels in the zip: the name and version
// under which docker load tags it, and the archive for one platform, such as
// {"scan-component", "0.1.0", "scan-component-amd64.tar"}. The three are the
// program's own words: letters, digits, '.', '_' and '-', nothing to quote.
type Image struct {
	Name, Version, Archive string
}

// Push returns the command that loads the archive, logs in, tags and pushes.
// A step that fails stops the rest. Docker gets the exact bytes of each value,
// the password on standard input, and no other program is run.
//
// The command has at most MaxCommand characters for every Request if the three
// fields of img have at most 108 characters together.
func Push(r Request, img Image) string {
	if command := plain(r, img); utf8.RuneCountInString(command) <= MaxCommand {
		return command
	}
	return compact(r, img)
}

// Pull returns the command that pulls an image by digest.
func Pull(repository, digest string) string {
	return "docker pull " + quote(repository+"@"+digest)
}

// plain is the form that people can read. Its length depends on what the user
// name and the password need in quotes.
func plain(r Request, img Image) string {
	local := img.Name + ":" + img.Version
	return `docker load -i ` + img.Archive +
		` && addr=` + quote(r.Address.String()) +
		` && image="$addr/` + string(r.Namespace) + `/` + local + `"` +
		` && printf %s ` + quote(r.Password) + ` | docker login -u ` + quote(r.Username) + ` --password-stdin "$addr"` +
		` && docker tag ` + local + ` "$image"` +
		` && docker push "$image"`
}

// compact is the form whose length depends on nothing but the lengths of the
// values, so that the limit holds for all of them: a password of 128 quotes
// takes 128 characters, like any other.
//
// Every value stands in one pair of single quotes, in which only the single
// quote itself would need more than one character. It is replaced by a marker
// that the value does not hold, and the function _q puts it back: it prints
// its second argument with each occurrence of the first turned into a quote.
// The parentheses keep the function and the variables out of the user's shell.
//
// The user name goes through a variable, not through "$(…)" at its place: there
// its single quotes would stand within double quotes, where the history
// expansion of interactive shells does expand a '!', unless it understands
// substitutions as well as the shell's parser does.
func compact(r Request, img Image) string {
	return `docker load -i ` + img.Archive +
		` && (` + restoreQuotes +
		`; addr=` + quote(r.Address.String()) +
		` && n=` + img.Name + `:` + img.Version +
		` && image="$addr/` + string(r.Namespace) + `/$n"` +
		` && u=$(_q ` + marked(r.Username) + `)` +
		` && _q ` + marked(r.Password) + ` | docker login -u "$u" --password-stdin "$addr"` +
		` && docker tag "$n" "$image"` +
		` && docker push "$image")`
}

// restoreQuotes defines _q MARKER TEXT.
const restoreQuotes = `_q(){ case $2 in *$1*) printf %s\' "${2%%$1*}"; _q $1 "${2#*$1}";; *) printf %s "$2"; esac; }`

// marked returns the arguments with which _q prints s: always four characters
// more than s has.
func marked(s string) string {
	m := marker(s)
	return m + " '" + strings.ReplaceAll(s, "'", m) + "'"
}
