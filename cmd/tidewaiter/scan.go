package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/export"
	"github.com/tidewaiter/tidewaiter/internal/extract"
	"github.com/tidewaiter/tidewaiter/internal/extract/all"
	"github.com/tidewaiter/tidewaiter/internal/overlay"
	"github.com/tidewaiter/tidewaiter/internal/pull"
)

// errPartial is a scan that left something out; standard error says what. Its
// exit status is statusPartial.
var errPartial = errors.New("not everything was looked into; see the warnings")

const statusPartial = 5

func (p *program) scanCommand() *cobra.Command {
	var f scanFlags
	cmd := &cobra.Command{
		Use:   "scan IMAGE|ARCHIVE|FOLDER",
		Short: "List what is in an image of a registry, an archive or an OCI layout, without a server",
		Long: "scan reads each layer of an image once, as a stream, and lists the operating\n" +
			"system, the layers and the packages. The image is one in a registry, in an archive\n" +
			"of docker save, or in an OCI layout (a folder, or a tar archive of one).\n" +
			"Credentials come from docker's configuration and its credential helpers.\n\n" +
			"Exit status: 0 complete, 1 failed, 2 wrong command line, 5 partial: something was\n" +
			"not looked into, and standard error says what.",
		Example: "  tidewaiter scan registry.example.com/team/app:1.2\n" +
			"  docker save app > app.tar; tidewaiter scan app.tar\n" +
			"  tidewaiter scan ./layout --platform linux/arm64 -o cyclonedx > bom.json",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return &usageError{fmt.Errorf("%s takes one argument, an image, an archive or a folder, but got %d", cmd.CommandPath(), len(args))}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			o, err := f.options()
			if err != nil {
				return err
			}
			return p.scan(cmd.Context(), args[0], o, f.output)
		},
	}
	f.define(cmd)
	return cmd
}

// scanFlags are the flags of scan.
type scanFlags struct {
	output, platform, name, ca, proxy string
	all, plainHTTP, skipVerify        bool
	tokenHosts                        []string
}

func (f *scanFlags) define(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.StringVarP(&f.output, "output", "o", "table", "`format` of the output: table, json, or cyclonedx (a bill of materials)")
	fs.StringVar(&f.platform, "platform", "", "`os/arch` of the image to take (default: linux and this machine's architecture)")
	fs.BoolVar(&f.all, "all-platforms", false, "take the images of all platforms")
	fs.StringVar(&f.name, "image-name", "", "`name` or digest of the image to take, of an archive or a folder that holds several")
	fs.StringVar(&f.ca, "ca", "", "PEM `file` with authorities to trust besides the system's")
	fs.BoolVar(&f.plainHTTP, "plain-http", false, "the registry does not speak TLS (anyone on the way can then read the password)")
	fs.BoolVar(&f.skipVerify, "insecure-skip-tls-verify", false, "accept any certificate (anyone on the way can then read the password)")
	fs.StringVar(&f.proxy, "proxy", "", "`URL` of a forward proxy")
	fs.StringSliceVar(&f.tokenHosts, "token-host", nil, "another `host` that may see the credentials, where the registry's tokens come from elsewhere")
}

func (f *scanFlags) options() (o pull.Options, err error) {
	switch {
	case f.output != "table" && f.output != "json" && f.output != "cyclonedx":
		return o, &usageError{fmt.Errorf("--output %q is not known; use table, json or cyclonedx", f.output)}
	case f.all && f.platform != "":
		return o, &usageError{errors.New("--platform and --all-platforms exclude each other")}
	case f.all && f.output == "cyclonedx":
		return o, &usageError{errors.New("a bill of materials is of one image; take --platform in place of --all-platforms")}
	}
	o = pull.Options{
		All: f.all, Name: f.name, PlainHTTP: f.plainHTTP, SkipVerify: f.skipVerify, Proxy: f.proxy, TokenHosts: f.tokenHosts,
	}
	if f.platform != "" {
		if o.Platform, err = pull.ParsePlatform(f.platform); err != nil {
			return o, err
		}
	}
	if f.ca != "" {
		if o.CA, err = os.ReadFile(f.ca); err != nil {
			return o, wrongConfig("ca", "the file %q cannot be read", f.ca)
		}
	}
	return o, nil
}

// scan looks into the images that target stands for, and writes down what is
// in them.
func (p *program) scan(ctx context.Context, target string, o pull.Options, output string) (err error) {
	source, err := pull.Open(ctx, target, o)
	if err != nil {
		return err
	}
	defer closeInto(&err, source)
	var images []export.Image
	for n := range source.Images {
		image, err := look(ctx, &source.Images[n])
		if err != nil && (!o.All || ctx.Err() != nil) {
			return err
		}
		images = append(images, image)
	}
	switch output {
	case "json":
		err = export.JSON(p.stdout, target, source.Kind, images)
	case "cyclonedx":
		err = export.CycloneDX(p.stdout, images[0])
	default:
		err = showImages(p.stdout, images)
	}
	if err != nil {
		return err
	}
	p.warn(images)
	switch export.StatusOf(images) {
	case export.Failed:
		return errors.New("no image could be looked into; see the warnings")
	case export.Partial:
		return errPartial
	}
	return nil
}

// look reads an image. An error is the image's problem, too.
func look(ctx context.Context, i *pull.Image) (export.Image, error) {
	extractors := all.Extractors()
	image := export.Image{
		Image: i.Image, Names: i.Names, Created: i.Created, Config: i.Config, Extractors: extract.Version(extractors), Problem: i.Problem(),
	}
	facts, err := i.Facts(ctx, extract.Options{Extractors: extractors})
	if err != nil {
		if image.Problem == "" {
			image.Problem = oneLine(err)
		}
		return image, err
	}
	image.View = overlay.Merge(facts)
	image.View.Files = nil
	for n := range facts { // what is left of them is for the lines about layers
		facts[n].Files, facts[n].Packages = nil, nil
	}
	image.Facts = facts
	return image, nil
}

// maxWarnings is how many cuts are printed of an image.
const maxWarnings = 100

// warn says on standard error what was not looked into.
func (p *program) warn(images []export.Image) {
	for i := range images {
		image := &images[i]
		where := ""
		if len(images) > 1 {
			where = image.Platform.String() + ": "
		}
		warning := func(text string) { fmt.Fprintln(p.stderr, "warning: "+printable(where+text)) }
		if image.Problem != "" {
			warning("this image was not looked into: " + image.Problem)
		}
		for n, cut := range image.View.Cuts {
			if n == maxWarnings {
				warning(fmt.Sprintf("%d more were left out; see --output json", len(image.View.Cuts)-n))
				break
			}
			warning(strings.ReplaceAll(export.DescribeCut(cut), "\n", " "))
		}
	}
}

// shortStep returns the beginning of a build step, less what each of them
// begins with.
func shortStep(s tidewaiter.BuildStep) string {
	text := strings.TrimPrefix(s.Command, "/bin/sh -c ")
	text = strings.TrimSpace(strings.TrimPrefix(text, "#(nop)"))
	if rest, ok := strings.CutPrefix(text, "RUN /bin/sh -c "); ok {
		text = "RUN " + rest
	}
	text = strings.Join(strings.Fields(strings.TrimSuffix(text, "# buildkit")), " ")
	const most = 60
	if runes := []rune(text); len(runes) > most {
		text = string(runes[:most]) + "…"
	}
	return text
}
