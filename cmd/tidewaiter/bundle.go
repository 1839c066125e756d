package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/adminapi"
	"github.com/tidewaiter/tidewaiter/internal/bundle"
	"github.com/tidewaiter/tidewaiter/internal/component"
	"github.com/tidewaiter/tidewaiter/internal/store"
)

func (p *program) bundleCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bundle",
		Short: "Carry advisories and the scan component to a server without a network, in one signed file",
		Long: "Carry advisories, what is known of the use of vulnerabilities, and the scan component\n" +
			"to a server without a network, in one signed file. The same advisories make the same\n" +
			"set there, and the same findings.",
		Args: noSuchCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	addStoreFlags(cmd.PersistentFlags())
	cmd.PersistentFlags().StringP("output", "o", "table", "`format` of the output: table or json")
	cmd.AddCommand(p.bundleCreate(), p.bundleVerify(), p.bundleApply())
	return cmd
}

func oneFile(cmd *cobra.Command, args []string) error {
	if len(args) != 1 || args[0] == "" {
		return &usageError{fmt.Errorf("%s takes the name of a file", cmd.CommandPath())}
	}
	return nil
}

func (p *program) bundleCreate() *cobra.Command {
	var public string
	cmd := &cobra.Command{
		Use:   "create FILE",
		Short: "Write a bundle of what a server has",
		Long: "Write a bundle of the sources of the advisories that a server has in force, and of the\n" +
			"scan component. It is signed with the server's key; --public-key writes the public half,\n" +
			"which verify and apply ask for: carry it there by another way.",
		Args: oneFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.withState(cmd, func(ctx context.Context, s *state) error {
				config, err := p.storeConfig(cmd.Flags())
				if err != nil {
					return err
				}
				return createBundle(ctx, cmd, s, config, args[0], public)
			})
		},
	}
	cmd.Flags().StringVar(&public, "public-key", "", "`file` to write the public key to, PEM")
	return cmd
}

// bundled is a bundle as it is shown.
type bundled struct {
	Created    time.Time         `json:"created"`
	Version    string            `json:"version"`
	Set        tidewaiter.Digest `json:"set"`
	Advisories int               `json:"advisories"`
	Newest     time.Time         `json:"newest"`
	Sources    []bundle.Source   `json:"sources"`
	Files      []bundle.File     `json:"files"`
}

func showBundle(cmd *cobra.Command, m bundle.Manifest) error {
	fields := []string{"created", when(m.Created), "by", "tidewaiter " + m.Version, "set", string(m.Set), "advisories", fmt.Sprint(m.Advisories), "newest", when(m.Newest)}
	for _, s := range m.Sources {
		fields = append(fields, "from "+printable(s.Location), fmt.Sprintf("%d advisories", s.Advisories))
	}
	for _, f := range m.Files {
		if f.Kind == bundle.KindComponent {
			fields = append(fields, "component", fmt.Sprintf("%s, %s", filepath.Base(f.Name), size(f.Size)))
		}
	}
	return showOne(cmd, bundled{m.Created, m.Version, m.Set, m.Advisories, m.Newest, m.Sources, m.Files}, fields...)
}

func createBundle(ctx context.Context, cmd *cobra.Command, s *state, c *Config, path, public string) (err error) {
	st, err := s.sets.Status(ctx)
	if err != nil {
		return err
	}
	if st.State.SetNumber == 0 {
		return tidewaiter.Errorf(tidewaiter.NotFound, "there are no advisories to carry; import some first: tidewaiter advisories import")
	}
	sources, files, err := s.sets.Sources(ctx)
	if err != nil {
		return err
	}
	carried, key, err := openComponent(c)
	if err != nil {
		return err
	}
	zip, digest, err := carried.Zip(key)
	if err != nil {
		return err
	}
	m := bundle.Manifest{Created: time.Now().UTC().Truncate(time.Second), Version: tidewaiter.Version, Set: st.State.Digest, Advisories: st.Meta.Advisories, Newest: st.Meta.Newest}
	seen := make(map[tidewaiter.Digest]bool)
	for _, src := range sources {
		m.Sources = append(m.Sources, bundle.Source{Location: src.Location, Digest: src.Digest, Newest: src.Newest, Advisories: src.Advisories, Refused: src.Refused})
		if seen[src.Digest] {
			continue
		}
		seen[src.Digest] = true
		info, err := os.Stat(files[src.Digest])
		if err != nil {
			return fmt.Errorf("write bundle: %w", err)
		}
		m.Files = append(m.Files, bundle.File{Name: "sources/" + string(src.Digest[len("sha256:"):]), Kind: bundle.KindSource, Digest: src.Digest, Size: info.Size()})
	}
	m.Files = append(m.Files, bundle.File{Name: "component/" + carried.ZipName(), Kind: bundle.KindComponent, Digest: tidewaiter.Digest(digest), Size: zip.Size()})
	open := func(f bundle.File) (io.ReadCloser, error) {
		if f.Kind == bundle.KindComponent {
			return io.NopCloser(zip), nil
		}
		return os.Open(files[f.Digest])
	}
	if err := writeWhole(path, func(w io.Writer) error { return bundle.Write(w, m, key.Sign, open) }); err != nil {
		return err
	}
	if public != "" {
		text, err := key.PublicPEM()
		if err == nil {
			err = os.WriteFile(public, text, 0o644) //nolint:gosec // G306: it is public
		}
		if err != nil {
			return err
		}
	}
	return showBundle(cmd, m)
}

// writeWhole writes a file, all of it or none.
func writeWhole(path string, write func(io.Writer) error) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".part-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	if err := errors.Join(write(f), f.Sync(), f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// openBundle opens a bundle, and the key that it is to be signed with.
func openBundle(path, key string) (*os.File, *component.PublicKey, error) {
	if key == "" {
		return nil, nil, &usageError{errors.New("--key is missing: name the public key of the server that made the bundle (bundle create --public-key, or /components/cosign.pub there)")}
	}
	text, err := os.ReadFile(key) //nolint:gosec // the operator names it
	if err != nil {
		return nil, nil, err
	}
	public, err := component.ParsePublicKey(text)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", key, err)
	}
	f, err := os.Open(path) //nolint:gosec // the operator names it
	return f, public, err
}

func (p *program) bundleVerify() *cobra.Command {
	var key string
	cmd := &cobra.Command{
		Use: "verify FILE", Short: "Look whether a bundle is whole, and signed with a key", Args: oneFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			f, public, err := openBundle(args[0], key)
			if err != nil {
				return err
			}
			defer f.Close() //nolint:errcheck // it was read only
			m, err := bundle.Read(f, public.Verify, func(bundle.Manifest, bundle.File, io.Reader) error { return nil })
			if err != nil {
				return err
			}
			return showBundle(cmd, m)
		},
	}
	cmd.Flags().StringVar(&key, "key", "", "`file` with the public key of the server that made it, PEM")
	return cmd
}

func (p *program) bundleApply() *cobra.Command {
	var key, to string
	cmd := &cobra.Command{
		Use:   "apply FILE",
		Short: "Bring the advisories of a bundle into force, in the place of all that there are",
		Args:  oneFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			f, public, err := openBundle(args[0], key)
			if err != nil {
				return err
			}
			defer f.Close() //nolint:errcheck // it was read only
			return p.withState(cmd, func(ctx context.Context, s *state) error {
				return applyBundle(ctx, cmd, s, f, public, to)
			})
		},
	}
	cmd.Flags().StringVar(&key, "key", "", "`file` with the public key of the server that made it, PEM")
	cmd.Flags().StringVar(&to, "component", "", "`file` to write the scan component's zip to")
	return cmd
}

func applyBundle(ctx context.Context, cmd *cobra.Command, s *state, f io.Reader, public *component.PublicKey, to string) error {
	var m bundle.Manifest
	read := func(keep func(io.Reader) (tidewaiter.Digest, error)) (sources []store.AdvisorySource, err error) {
		m, err = bundle.Read(f, public.Verify, func(_ bundle.Manifest, f bundle.File, content io.Reader) error {
			if f.Kind == bundle.KindComponent {
				if to == "" {
					return nil
				}
				return writeWhole(to, func(w io.Writer) error {
					_, err := io.Copy(w, content)
					return err
				})
			}
			digest, err := keep(content)
			if err == nil && digest != f.Digest {
				err = tidewaiter.Errorf(tidewaiter.Invalid, "the bundle is damaged: %s has other bytes than it should have", f.Name)
			}
			return err
		})
		for _, src := range m.Sources {
			sources = append(sources, store.AdvisorySource{Location: src.Location, Digest: src.Digest, Newest: src.Newest, Advisories: src.Advisories, Refused: src.Refused})
		}
		return sources, err
	}
	r, err := s.sets.Replace(ctx, read, s.findings)
	if err != nil {
		return err
	}
	if err := showImport(cmd, adminapi.ImportResultOf(r)); err != nil {
		return err
	}
	if r.Set.Digest != m.Set {
		return fmt.Errorf("the set has another digest than there, %s: the bundle was made by tidewaiter %s, and this is %s", m.Set, m.Version, tidewaiter.Version)
	}
	return nil
}
