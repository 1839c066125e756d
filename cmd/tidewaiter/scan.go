package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/export"
	"github.com/tidewaiter/tidewaiter/internal/extract"
	"github.com/tidewaiter/tidewaiter/internal/extract/all"
	"github.com/tidewaiter/tidewaiter/internal/overlay"
	"github.com/tidewaiter/tidewaiter/internal/pull"
	"github.com/tidewaiter/tidewaiter/internal/snapshots"
	"github.com/tidewaiter/tidewaiter/internal/vex"
)

// errPartial is a scan that left something out; standard error says what. Its
// exit status is statusPartial.
var errPartial = errors.New("not everything was looked into; see the warnings")

const statusPartial = 5

// errUnjudged is a scan that could not judge some package. Its exit status is
// statusPartial, too.
var errUnjudged = errors.New("some packages could not be judged; see the warnings")

func (p *program) scanCommand() *cobra.Command {
	var f scanFlags
	cmd := &cobra.Command{
		Use:   "scan IMAGE|ARCHIVE|FOLDER",
		Short: "List the vulnerabilities and the packages of an image, without a server",
		Long: "scan reads each layer of an image once, as a stream, and lists the vulnerabilities\n" +
			"of its packages. The image is one in a registry, in an archive of docker save, or in\n" +
			"an OCI layout (a folder, or a tar archive of one). Credentials come from docker's\n" +
			"configuration and its credential helpers. Advisories come from the files of\n" +
			"--advisories, or from the data folder of a server, or else from a public export of\n" +
			"OSV, of which a cache is kept that is asked for newer ones once a day.\n\n" +
			"Exit status: 0 complete, 1 failed, 2 wrong command line, 4 there is what --fail-on\n" +
			"names, 5 partial: something was not looked into, or not judged, and standard error\n" +
			"says what.",
		Example: "  tidewaiter scan registry.example.com/team/app:1.2\n" +
			"  docker save app > app.tar; tidewaiter scan app.tar\n" +
			"  tidewaiter scan app.tar --advisories Debian/all.zip --fail-on high --only-fixed\n" +
			"  tidewaiter scan app.tar -o sarif > app.sarif\n" +
			"  tidewaiter scan ./layout --platform linux/arm64 --packages-only -o cyclonedx > bom.json",
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
			return p.scan(cmd.Context(), args[0], o, &f)
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

	advisories, vex         []string
	data, export, failOn    string
	offline, packages, only bool
}

func (f *scanFlags) define(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.StringVarP(&f.output, "output", "o", "table", "`format` of the output: table, json, sarif, or cyclonedx (a bill of materials)")
	fs.StringVar(&f.platform, "platform", "", "`os/arch` of the image to take (default: linux and this machine's architecture)")
	fs.BoolVar(&f.all, "all-platforms", false, "take the images of all platforms")
	fs.StringVar(&f.name, "image-name", "", "`name` or digest of the image to take, of an archive or a folder that holds several")
	fs.StringVar(&f.ca, "ca", "", "PEM `file` with authorities to trust besides the system's")
	fs.BoolVar(&f.plainHTTP, "plain-http", false, "the registry does not speak TLS (anyone on the way can then read the password)")
	fs.BoolVar(&f.skipVerify, "insecure-skip-tls-verify", false, "accept any certificate (anyone on the way can then read the password)")
	fs.StringVar(&f.proxy, "proxy", "", "`URL` of a forward proxy")
	fs.StringArrayVar(&f.advisories, "advisories", nil, "`file` or folder with advisories in OSV format to judge by; may be given several times")
	fs.StringVar(&f.data, "data", "", "data `folder` of a server, whose advisories to judge by")
	fs.StringVar(&f.export, "advisories-from", snapshots.PublicExport, "`URL` of an export of OSV, with a folder for each ecosystem")
	fs.BoolVar(&f.offline, "offline", false, "do not fetch advisories: judge by those that were fetched before")
	fs.BoolVar(&f.packages, "packages-only", false, "list packages, and look for no vulnerabilities")
	fs.StringVar(&f.failOn, "fail-on", "", "exit with 4 if there is a vulnerability of this `level` or above: low, medium, high, critical, or any")
	fs.StringArrayVar(&f.vex, "vex", nil, "VEX `document`, a file or URL: what is not affected or fixed by it is shown apart, and does not fail; may be given several times")
	fs.BoolVar(&f.only, "only-fixed", false, "list and count only vulnerabilities that a later version does not have")
	fs.StringSliceVar(&f.tokenHosts, "token-host", nil, "another `host` that may see the credentials, where the registry's tokens come from elsewhere")
}

func (f *scanFlags) options() (o pull.Options, err error) {
	switch {
	case f.output != "table" && f.output != "json" && f.output != "cyclonedx" && f.output != "sarif":
		return o, &usageError{fmt.Errorf("--output %q is not known; use table, json, sarif or cyclonedx", f.output)}
	case f.packages && (f.output == "sarif" || f.failOn != "" || f.offline || f.only || f.data != "" || len(f.advisories)+len(f.vex) > 0):
		return o, &usageError{errors.New("--packages-only looks for no vulnerabilities; leave it out, or the flags about them")}
	case f.data != "" && len(f.advisories) > 0:
		return o, &usageError{errors.New("--data and --advisories exclude each other")}
	case f.failOn != "" && f.failOn != "any" && f.level() == tidewaiter.UnknownSeverity:
		return o, &usageError{fmt.Errorf("--fail-on %q is not known; use low, medium, high, critical or any", f.failOn)}
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

// level is the lowest that --fail-on asks for.
func (f *scanFlags) level() tidewaiter.SeverityLevel {
	switch l := tidewaiter.SeverityLevel(f.failOn); l {
	case tidewaiter.LowSeverity, tidewaiter.MediumSeverity, tidewaiter.HighSeverity, tidewaiter.CriticalSeverity:
		return l
	}
	return tidewaiter.UnknownSeverity
}

// errVulnerable is an image with a vulnerability that --fail-on names. Its exit
// status is statusVulnerable.
var errVulnerable = errors.New("there are vulnerabilities of the level that --fail-on names, or above")

const statusVulnerable = 4

// judge matches the packages of images with advisories.
func (p *program) judge(ctx context.Context, f *scanFlags, images []export.Image) (err error) {
	if f.packages || export.StatusOf(images) == export.Failed {
		return nil
	}
	documents, err := readVEX(ctx, f.vex)
	if err != nil {
		return err
	}
	index, err := p.advisoriesFor(ctx, f, images)
	if err != nil {
		return fmt.Errorf("advisories: %w", err)
	}
	defer func() { err = errors.Join(err, index.close()) }()
	if index.note != "" {
		fmt.Fprintln(p.stderr, "note: "+printable(index.note))
	}
	for i := range images {
		if images[i].Problem != "" {
			continue
		}
		if err := images[i].Judge(index.Index); err != nil {
			return err
		}
		images[i].Excuse(documents)
		if f.only {
			images[i].Judgement.Findings = slices.DeleteFunc(images[i].Judgement.Findings, func(x export.Finding) bool { return x.Status != tidewaiter.MatchFixable })
		}
	}
	return nil
}

// readVEX reads documents.
func readVEX(ctx context.Context, from []string) (documents []vex.Document, err error) {
	for _, f := range from {
		text, err := readDocument(ctx, f)
		if err != nil {
			return nil, err
		}
		d, err := vex.Read(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f, err)
		}
		documents = append(documents, d)
	}
	return documents, nil
}

// verdict returns the error that says what the images come to.
func (f *scanFlags) verdict(images []export.Image) error {
	judged := true
	for i := range images {
		judged = judged && images[i].Judged()
		if images[i].Judgement == nil || f.failOn == "" {
			continue
		}
		for _, x := range images[i].Judgement.Open() {
			if f.failOn == "any" || x.Severity.Level.Rank() >= f.level().Rank() {
				return errVulnerable
			}
		}
	}
	switch {
	case export.StatusOf(images) == export.Failed:
		return errors.New("no image could be looked into; see the warnings")
	case export.StatusOf(images) == export.Partial:
		return errPartial
	case !judged:
		return errUnjudged
	}
	return nil
}

// scan looks into the images that target stands for, and writes down what is
// in them.
func (p *program) scan(ctx context.Context, target string, o pull.Options, f *scanFlags) (err error) {
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
	if err := p.judge(ctx, f, images); err != nil {
		return err
	}
	switch f.output {
	case "sarif":
		err = export.SARIF(p.stdout, target, images)
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
	return f.verdict(images)
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
		for _, line := range image.Unjudged() {
			warning(line)
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
