package uploadcmd

import (
	"strings"

	"github.com/tidewaiter/tidewaiter"
)

// DefaultContainer is what the scan component's container is called unless the
// user says otherwise.
const DefaultContainer = "tidewaiter-component"

// The longest legal values, in characters.
const (
	MaxContainer = 64
	MaxImage     = 512
)

// Container is a scan component that is about to be started with docker.
// Only what [CheckContainer] accepts may be given to [Run].
type Container struct {
	Name   string // of the container and of the volume with its state
	Image  string // such as host/tidewaiter/scan-component@sha256:…
	Server string // URL that the component reaches the server at
	Token  string // one-time token, letters, digits and '_'
	// HostNetwork lets the container use the host's own network, where the server
	// listens on a loopback address.
	HostNetwork bool
	// InsecureHTTP allows plain http to a server that is not loopback.
	InsecureHTTP bool
}

// CheckContainer refuses names and images that docker would refuse, or take for
// options. Its errors are of kind Invalid and name container or image.
func CheckContainer(c Container) error {
	if err := tidewaiter.CheckText("container", c.Name, MaxContainer); err != nil {
		return err
	}
	if len(c.Name) < 2 || !letterOrDigit(c.Name[0]) || strings.Trim(c.Name, nameCharacters) != "" {
		return tidewaiter.InvalidField("container", "is no name of a container; use two or more letters, digits, '_', '.' and '-', of which the first is a letter or digit")
	}
	if err := tidewaiter.CheckText("image", c.Image, MaxImage); err != nil {
		return err
	}
	if !letterOrDigit(c.Image[0]) && c.Image[0] != '[' || strings.Trim(c.Image, nameCharacters+"/:@[]") != "" {
		return tidewaiter.InvalidField("image", "is no reference of an image; write host/path:tag or host/path@sha256:…")
	}
	return nil
}

const nameCharacters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-"

func letterOrDigit(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// Run returns the command that starts a scan component and keeps it running.
// The container can write to its volume alone, has no privileges, and opens no
// port.
func Run(c Container) string {
	words := []string{
		"docker", "run", "-d", "--name", c.Name, "--restart", "unless-stopped",
		"--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges",
		"-v", c.Name + ":/var/lib/tidewaiter",
	}
	if c.HostNetwork {
		words = append(words, "--network", "host")
	}
	words = append(words, "-e", "TIDEWAITER_SERVER="+c.Server, "-e", "TIDEWAITER_TOKEN="+c.Token)
	if c.InsecureHTTP {
		words = append(words, "-e", "TIDEWAITER_INSECURE_HTTP=true")
	}
	words = append(words, c.Image, "run")
	for i, w := range words {
		words[i] = quoteWord(w)
	}
	return strings.Join(words, " ")
}

// quoteWord is quote with the '=' left bare, which has a meaning in the first
// word of a command only, or, in zsh, at the beginning of a word.
func quoteWord(s string) string {
	if name, value, ok := strings.Cut(s, "="); ok && name != "" && isBare(name) && (value == "" || isBare(value)) {
		return s
	}
	return quote(s)
}
