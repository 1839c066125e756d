package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/adminapi"
	"github.com/tidewaiter/tidewaiter/internal/snapshots"
)

func (p *program) advisoriesCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "advisories",
		Short: "Manage the advisories that images are judged by",
		Long: "Manage the advisories that images are judged by. They work on a data folder, beside\n" +
			"a server that may be running, on --database where that is PostgreSQL, or on a server\n" +
			"by its URL, which then fetches what is imported. What comes into force counts at once\n" +
			"for all images that were scanned.",
		Args: noSuchCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	addClientFlags(cmd)
	cmd.AddCommand(p.advisoriesImport(), p.advisoriesUpdate(), p.advisoriesStatus(), p.advisoriesRollback(), p.advisoriesForget())
	return cmd
}

// onAdvisories runs a command on the server that its flags name, or else on the
// data folder.
func (p *program) onAdvisories(cmd *cobra.Command, remote func(context.Context, *adminClient) error, local func(context.Context, *state) error) error {
	c, err := p.serverOf(cmd)
	if err != nil {
		return err
	}
	if c == nil {
		return p.withState(cmd, local)
	}
	c.HTTP.Timeout = 0 // an import takes what it takes
	return remote(cmd.Context(), c)
}

// withState runs f with the data folder that the command's flags name.
func (p *program) withState(cmd *cobra.Command, f func(context.Context, *state) error) (err error) {
	if err := checkOutput(cmd); err != nil {
		return err
	}
	config, err := p.storeConfig(cmd.Flags())
	if err != nil {
		return err
	}
	state, err := openAdminState(cmd.Context(), config, newLogger(&Config{LogLevel: "warn"}, p.stderr))
	if err != nil {
		return err
	}
	defer closeInto(&err, state)
	return f(cmd.Context(), state)
}

// importRemote asks a server for an import, and shows what it came to.
func importRemote(cmd *cobra.Command, path string, body any) func(context.Context, *adminClient) error {
	return func(ctx context.Context, c *adminClient) error {
		var r adminapi.ImportResult
		if err := c.do(ctx, http.MethodPost, "/advisories/"+path, body, &r); err != nil {
			return err
		}
		return showImport(cmd, r)
	}
}

func (p *program) advisoriesImport() *cobra.Command {
	return &cobra.Command{
		Use:   "import PATH|URL...",
		Short: "Read advisories in OSV format, and bring them into force",
		Long: "Read advisories in OSV format from zip files, JSON files, folders of these, and URLs\n" +
			"of the former two, and bring them into force together with those of all other\n" +
			"sources. A source that was imported before is replaced, by its path or URL. What is\n" +
			"older than what is in force is refused.",
		Example: "  tidewaiter advisories import Debian/all.zip PyPI/all.zip\n" +
			"  tidewaiter advisories import https://osv-vulnerabilities.storage.googleapis.com/npm/all.zip",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return &usageError{errors.New("name the files, folders or URLs to import")}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.onAdvisories(cmd, importRemote(cmd, "import", map[string]any{"urls": args}), func(ctx context.Context, s *state) error {
				r, err := s.sets.Import(ctx, args, s.findings)
				if err != nil {
					return err
				}
				return showImport(cmd, adminapi.ImportResultOf(r))
			})
		},
	}
}

func (p *program) advisoriesUpdate() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "update",
		Short: "Fetch what is new from an export of OSV, and from the URLs that were imported",
		Long: "Fetch what is new from an export of OSV, about the ecosystems of what images hold,\n" +
			"and from the URLs that were imported. What has not changed is not fetched. A server\n" +
			"does this by itself.",
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.onAdvisories(cmd, importRemote(cmd, "update", nil), func(ctx context.Context, s *state) error {
				locations, err := s.updates.locations(ctx)
				if err != nil {
					return err
				}
				r, err := s.sets.Update(ctx, locations, s.findings)
				if err != nil {
					return err
				}
				return showImport(cmd, adminapi.ImportResultOf(r))
			})
		},
	}
	cmd.Flags().String("advisories-from", snapshots.PublicExport, "`URL` of an export of OSV, or off")
	return cmd
}

func showSet(cmd *cobra.Command, set adminapi.AdvisorySet) error {
	return showOne(cmd, set, "set", string(set.Digest), "advisories", fmt.Sprint(set.Advisories), "newest", when(set.Newest))
}

// showImport prints what an import came to. It is an error if a source failed.
func showImport(cmd *cobra.Command, r adminapi.ImportResult) error {
	fields := []string{"set", "none: no advisories are in force"}
	if r.Set != nil {
		fields = []string{"set", string(r.Set.Digest), "advisories", fmt.Sprint(r.Set.Advisories), "newest", when(r.Set.Newest)}
	}
	if r.Unchanged {
		fields = append(fields, "note", "nothing changed: this set was in force already")
	}
	for _, s := range r.Sources {
		said := fmt.Sprintf("%d advisories", s.Read)
		switch {
		case s.Unchanged:
			said += ", nothing new"
		case s.Refused > 0:
			said += fmt.Sprintf(", and %d that could not be used", s.Refused)
		}
		fields = append(fields, "from "+printable(s.Location), said)
		for _, refusal := range s.Refusals {
			fields = append(fields, "  not used", refusal)
		}
	}
	for _, f := range r.Failed {
		fields = append(fields, "failed", f.Error)
	}
	if err := showOne(cmd, r, fields...); err != nil || len(r.Failed) == 0 {
		return err
	}
	return fmt.Errorf("%d sources could not be read; what they said before is still in force", len(r.Failed))
}

func when(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.RFC3339)
}

func (p *program) advisoriesStatus() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show which advisories are in force, and where they come from",
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			remote := func(ctx context.Context, c *adminClient) error {
				var st adminapi.AdvisoryStatus
				if err := c.do(ctx, http.MethodGet, "/advisories", nil, &st); err != nil {
					return err
				}
				return showStatus(cmd, st)
			}
			return p.onAdvisories(cmd, remote, func(ctx context.Context, s *state) error {
				st, err := s.sets.Status(ctx)
				if err != nil {
					return err
				}
				return showStatus(cmd, adminapi.AdvisoryStatusOf(st))
			})
		},
	}
}

func showStatus(cmd *cobra.Command, out adminapi.AdvisoryStatus) error {
	if done, err := writeAs(cmd, out); done {
		return err
	}
	if out.Digest == "" {
		fmt.Fprintln(cmd.OutOrStdout(), "no advisories are in force: import some, see tidewaiter advisories import --help")
		return nil
	}
	err := showOne(cmd, out, "in force", string(out.Digest), "since", when(out.Activated), "advisories", fmt.Sprint(out.Advisories), "ecosystems", fmt.Sprint(len(out.Ecosystems)))
	if err != nil {
		return err
	}
	fmt.Fprintln(cmd.OutOrStdout())
	err = show(cmd, out.Sources, "SOURCE ADVISORIES NEWEST IMPORTED", func(s adminapi.AdvisorySource) []any {
		return []any{s.Location, s.Advisories, when(s.Newest), when(s.Imported)}
	})
	if err != nil {
		return err
	}
	fmt.Fprintln(cmd.OutOrStdout())
	return show(cmd, out.Sets, "SET INFORCE ADVISORIES NEWEST CREATED", func(s adminapi.AdvisorySet) []any {
		return []any{s.Digest, yesNo(s.InForce), s.Advisories, when(s.Newest), when(s.Created)}
	})
}

func (p *program) advisoriesRollback() *cobra.Command {
	return &cobra.Command{
		Use:   "rollback [DIGEST]",
		Short: "Bring an earlier set back into force: the one before, or the one with that digest",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return &usageError{errors.New("name one digest, or none")}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			digest := tidewaiter.Digest("")
			if len(args) == 1 {
				digest = tidewaiter.Digest(args[0])
			}
			remote := func(ctx context.Context, c *adminClient) error {
				var set adminapi.AdvisorySet
				if err := c.do(ctx, http.MethodPost, "/advisories/rollback", map[string]any{"digest": digest}, &set); err != nil {
					return err
				}
				return showSet(cmd, set)
			}
			return p.onAdvisories(cmd, remote, func(ctx context.Context, s *state) error {
				set, err := s.sets.Rollback(ctx, digest, s.findings)
				if err != nil {
					return err
				}
				return showSet(cmd, adminapi.AdvisorySetOf(set, true))
			})
		},
	}
}

func (p *program) advisoriesForget() *cobra.Command {
	return &cobra.Command{
		Use:   "forget PATH|URL",
		Short: "Give up a source: what only it said is no longer said",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return &usageError{errors.New("name the source, as status shows it")}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.onAdvisories(cmd, importRemote(cmd, "forget", map[string]string{"location": args[0]}), func(ctx context.Context, s *state) error {
				r, err := s.sets.Forget(ctx, args[0], s.findings)
				if err != nil {
					return err
				}
				return showImport(cmd, adminapi.ImportResultOf(r))
			})
		},
	}
}
