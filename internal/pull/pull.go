// Package pull finds images, in a registry, in an archive or in a folder, and
// reads their layers into facts.
//
// Archives and folders are as hostile as registries: nothing is unpacked, names
// and links lead nowhere but to the archive's own members, sizes and numbers are
// bounded, and bytes have the digest that they are asked for by.
package pull

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/registry"
)

// Options say which images to take, and how to get at them. The zero value
// takes the image for Linux on this machine's architecture.
type Options struct {
	Platform tidewaiter.Platform // zero: Linux and this machine's architecture, or the only one that there is
	All      bool                // the images of all platforms
	Name     string              // of archives that hold several images: a reference, or a digest

	CA         []byte   // PEM: trusted in addition to the usual authorities
	PlainHTTP  bool     // the registry does not speak TLS
	SkipVerify bool     // accept any certificate
	Proxy      string   // URL of a forward proxy, or ""
	TokenHosts []string // host or host:port of token services that may receive the credential

	Keychain authn.Keychain   // where credentials are; nil is docker's configuration
	Registry registry.Options // for tests
}

// Source is where images are.
type Source struct {
	Kind   string // "registry", "docker-archive" or "oci-layout"
	Images []Image
	Others []registry.Child // what is beside the images, such as attestations
	close  func() error
}

// Close closes what is open. The images can then not be read any more.
func (s *Source) Close() error {
	if s.close == nil {
		return nil
	}
	return s.close()
}

// Image is an image of a source.
type Image struct {
	registry.Child
	Names []string // by which the source knows it, with tag or digest
	open  func(ctx context.Context, layer int) (io.ReadCloser, error)
	keys  []string // of the layers: those with the same are the same
}

// Problem says why nothing of the image can be read, or is "". An image with
// layers that cannot be read, among others that can, has none.
func (i *Image) Problem() string {
	switch {
	case i.Err != nil:
		return messageOf(i.Err)
	case i.Kind == registry.KindImage, i.Kind == registry.KindForeign, i.Kind == registry.KindEncrypted:
		return ""
	}
	return i.Reason
}

// messageOf returns an error's text less the causes, which are for logs.
func messageOf(err error) string {
	if e, ok := errors.AsType[*tidewaiter.Error](err); ok {
		return e.Message
	}
	return err.Error()
}

// Open finds the images that target stands for: a file is an archive (of docker
// save, or an OCI layout), a folder an OCI layout, and what is neither the name
// of an image in a registry.
//
// Errors are of a kind: NotFound (no such image, or none for the platform),
// Invalid (with a field: what was asked for makes no sense; without: the archive
// or the registry's answer does), TooLarge, and those of [registry.Connector].
func Open(ctx context.Context, target string, o Options) (*Source, error) {
	if target == "" {
		return nil, tidewaiter.InvalidField("image", "is empty; name an image in a registry, an archive or a folder")
	}
	info, err := os.Stat(target)
	switch {
	case err == nil && info.IsDir():
		return openFolder(ctx, target, o)
	case err == nil && info.Mode().IsRegular():
		return openArchive(ctx, target, o)
	case err == nil:
		return nil, tidewaiter.InvalidField("image", "is neither a file nor a folder; name an archive, a folder, or an image in a registry")
	case isPath(target):
		if errors.Is(err, fs.ErrNotExist) {
			return nil, tidewaiter.InvalidField("image", "looks like a path, and there is nothing; name a file or a folder that exists")
		}
		return nil, tidewaiter.Wrap(tidewaiter.Invalid, err, "the file cannot be read")
	}
	return openRegistry(ctx, target, o)
}

// isPath tells names that somebody meant as a path, so that a typing error does
// not ask a registry.
func isPath(s string) bool {
	for _, prefix := range []string{"/", "./", "../", "~/"} {
		if strings.HasPrefix(s, prefix) {
			return true
		}
	}
	if strings.Contains(s, ":") {
		return false
	}
	for _, suffix := range []string{".tar", ".tar.gz", ".tgz", ".oci", "/"} {
		if strings.HasSuffix(s, suffix) {
			return true
		}
	}
	return false
}

func notFound(format string, args ...any) error {
	return tidewaiter.Errorf(tidewaiter.NotFound, format, args...)
}

func invalid(format string, args ...any) error {
	return tidewaiter.Errorf(tidewaiter.Invalid, format, args...)
}

// shown shortens what an image said to something that may stand in a message.
func shown(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f {
			return '?'
		}
		return r
	}, s)
	if len(s) > 200 {
		s = s[:200] + "…"
	}
	return s
}

// list joins what there is to choose from.
func list(names []string) string {
	const most = 20
	rest := ""
	if len(names) > most {
		names, rest = names[:most], ", …"
	}
	parts := make([]string, len(names))
	for i, n := range names {
		parts[i] = shown(n)
	}
	return strings.Join(parts, ", ") + rest
}
