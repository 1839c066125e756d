// Command mkimage builds the scan component image for every platform and
// writes it as an OCI image layout, for package component to embed:
//
//	go run ./internal/component/mkimage -out internal/component/dist
//
// It needs the go command and nothing else: no docker, no root, no network
// beyond the modules. The same source at the same commit, built with the
// toolchain that go.mod names, gives the same digests on every machine.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/tidewaiter/tidewaiter"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// platforms returns what the component is built for.
func platforms() []v1.Platform {
	return []v1.Platform{
		{OS: "linux", Architecture: "amd64"},
		{OS: "linux", Architecture: "arm64"},
	}
}

// run is the whole program. It returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("mkimage", flag.ContinueOnError)
	flags.SetOutput(stderr)
	out := flags.String("out", "", "the `folder` to write the image layout to")
	src := flags.String("src", ".", "the `folder` of the module")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return 2
	}
	log := log.New(stderr, "mkimage: ", 0)
	if *out == "" || flags.NArg() > 0 {
		log.Print("usage: mkimage -out FOLDER [-src FOLDER]")
		return 2
	}
	report, err := build(ctx, *src, *out, log)
	if err == nil {
		_, err = io.WriteString(stdout, report)
	}
	if err != nil {
		log.Print(err)
		return 1
	}
	return 0
}

// build compiles, packs and writes everything, and returns the digests.
func build(ctx context.Context, src, out string, log *log.Logger) (string, error) {
	tools, err := findToolchain(ctx, src)
	if err != nil {
		return "", err
	}
	if warning := tools.warning(); warning != "" {
		log.Print("warning: ", warning)
	}
	from, err := describeSource(ctx, tools, src)
	if err != nil {
		return "", err
	}
	certificates, err := caBundle()
	if err != nil {
		return "", err
	}
	var report strings.Builder
	fmt.Fprintf(&report, "version %s, revision %s, created %s\n", tidewaiter.Version, from.revision, from.time.Format("2006-01-02T15:04:05Z07:00"))

	var images []image
	for _, p := range platforms() {
		binary, err := tools.compile(ctx, src, p, "-X main.revision="+from.revision)
		if err != nil {
			return "", err
		}
		img, err := newImage(p, binary, certificates, from)
		if err != nil {
			return "", fmt.Errorf("pack image for %s: %w", p, err)
		}
		images = append(images, img)
	}
	index, err := newIndex(images)
	if err != nil {
		return "", err
	}
	if err := writeLayout(out, tidewaiter.Version, index, images); err != nil {
		return "", err
	}
	for _, img := range images {
		fmt.Fprintf(&report, "%s manifest %s config %s layer %d bytes\n",
			img.platform, img.manifest.digest, img.config.digest, len(img.layer.content))
	}
	fmt.Fprintf(&report, "index %s\n", index.digest)
	return report.String(), nil
}

// A blob is content with its digest.
type blob struct {
	content []byte
	digest  v1.Hash
}

func newBlob(content []byte) (blob, error) {
	digest, _, err := v1.SHA256(bytes.NewReader(content))
	return blob{content: content, digest: digest}, err
}
