package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/snapshots"
)

func (p *program) advisoriesCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "advisories",
		Short: "Manage the advisories that images are judged by",
		Long: "Manage the advisories that images are judged by. They work on a data folder, beside\n" +
			"a server that may be running, and on --database where that is PostgreSQL. What\n" +
			"comes into force counts at once for all images that were scanned.",
		Args: noSuchCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	addStoreFlags(cmd.PersistentFlags())
	cmd.PersistentFlags().StringP("output", "o", "table", "`format` of the output: table or json")
	cmd.AddCommand(p.advisoriesImport(), p.advisoriesUpdate(), p.advisoriesStatus(), p.advisoriesRollback(), p.advisoriesForget())
	return cmd
}

// withState runs f with the data folder that the command's flags name.
func (p *program) withState(cmd *cobra.Command, f func(context.Context, *state) error) (err error) {
	if format := cmd.Flags().Lookup("output").Value.String(); format != "table" && format != "json" {
		return &usageError{fmt.Errorf("--output %q is not known; use table or json", format)}
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
			return p.withState(cmd, func(ctx context.Context, s *state) error {
				r, err := s.sets.Import(ctx, args, s.findings)
				if err != nil {
					return err
				}
				return showImport(cmd, r)
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
			return p.withState(cmd, func(ctx context.Context, s *state) error {
				locations, err := s.updates.locations(ctx)
				if err != nil {
					return err
				}
				r, err := s.sets.Update(ctx, locations, s.findings)
				if err != nil {
					return err
				}
				return showImport(cmd, r)
			})
		},
	}
	cmd.Flags().String("advisories-from", snapshots.PublicExport, "`URL` of an export of OSV, or off")
	return cmd
}

// advisorySet is a set as it is shown.
type advisorySet struct {
	Digest     tidewaiter.Digest `json:"digest"`
	InForce    bool              `json:"in_force"`
	Advisories int               `json:"advisories"`
	Newest     time.Time         `json:"newest"`
	Created    time.Time         `json:"created"`
	Bytes      int64             `json:"bytes"`
}

type importedSource struct {
	Location  string   `json:"location"`
	Read      int      `json:"read"`
	Refused   int      `json:"refused"`
	Refusals  []string `json:"refusals,omitempty"`
	Unchanged bool     `json:"unchanged"`
}

type failedSource struct {
	Location string `json:"location"`
	Error    string `json:"error"`
}

type importResult struct {
	Set       *advisorySet     `json:"set"` // null if there is none yet
	Unchanged bool             `json:"unchanged"`
	Sources   []importedSource `json:"sources"`
	Failed    []failedSource   `json:"failed,omitempty"`
}

// showImport prints what an import came to. It is an error if a source failed.
func showImport(cmd *cobra.Command, r snapshots.Result) error {
	out := importResult{Unchanged: r.Unchanged}
	fields := []string{"set", "none: no advisories are in force"}
	if r.Set.Number != 0 {
		out.Set = &advisorySet{r.Set.Digest, true, r.Set.Advisories, r.Set.Newest, r.Set.Created, r.Set.Size}
		fields = []string{"set", string(r.Set.Digest), "advisories", fmt.Sprint(r.Set.Advisories), "newest", when(r.Set.Newest)}
	}
	if r.Unchanged {
		fields = append(fields, "note", "nothing changed: this set was in force already")
	}
	for _, s := range r.Sources {
		i := importedSource{Location: s.Location, Read: s.Read, Refused: s.Refused, Unchanged: s.Unchanged}
		said := fmt.Sprintf("%d advisories", s.Read)
		switch {
		case s.Unchanged:
			said += ", nothing new"
		case s.Refused > 0:
			said += fmt.Sprintf(", and %d that could not be used", s.Refused)
		}
		fields = append(fields, "from "+printable(s.Location), said)
		for _, refusal := range s.Refusals {
			i.Refusals = append(i.Refusals, fmt.Sprintf("%s: %v", refusal.Name, refusal.Err))
			fields = append(fields, "  not used", fmt.Sprintf("%s: %v", refusal.Name, refusal.Err))
		}
		out.Sources = append(out.Sources, i)
	}
	for _, f := range r.Failed {
		out.Failed = append(out.Failed, failedSource{f.Location, f.Err.Error()})
		fields = append(fields, "failed", f.Err.Error())
	}
	if err := showOne(cmd, out, fields...); err != nil || len(r.Failed) == 0 {
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

type advisorySource struct {
	Location   string    `json:"location"`
	Advisories int       `json:"advisories"`
	Refused    int       `json:"refused"`
	Newest     time.Time `json:"newest"`
	Imported   time.Time `json:"imported"`
}

type advisoryStatus struct {
	Digest     tidewaiter.Digest `json:"digest"` // "" for none
	Activated  time.Time         `json:"activated"`
	Advisories int               `json:"advisories"`
	Ecosystems map[string]int    `json:"ecosystems"` // names of packages in each
	Sets       []advisorySet     `json:"sets"`
	Sources    []advisorySource  `json:"sources"`
}

func (p *program) advisoriesStatus() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show which advisories are in force, and where they come from",
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.withState(cmd, func(ctx context.Context, s *state) error {
				st, err := s.sets.Status(ctx)
				if err != nil {
					return err
				}
				return showStatus(cmd, st)
			})
		},
	}
}

func showStatus(cmd *cobra.Command, st snapshots.Status) error {
	out := advisoryStatus{Digest: st.State.Digest, Activated: st.State.Activated, Advisories: st.Meta.Advisories, Ecosystems: st.Meta.Ecosystems}
	for _, set := range st.Sets {
		out.Sets = append(out.Sets, advisorySet{set.Digest, set.Number == st.State.SetNumber, set.Advisories, set.Newest, set.Created, set.Size})
	}
	for _, src := range st.Sources {
		out.Sources = append(out.Sources, advisorySource{src.Location, src.Advisories, src.Refused, src.Newest, src.Imported})
	}
	if st.State.SetNumber == 0 && !asJSON(cmd) {
		fmt.Fprintln(cmd.OutOrStdout(), "no advisories are in force: import some, see tidewaiter advisories import --help")
		return nil
	}
	err := showOne(cmd, out, "in force", string(out.Digest), "since", when(out.Activated), "advisories", fmt.Sprint(out.Advisories), "ecosystems", fmt.Sprint(len(out.Ecosystems)))
	if err != nil || asJSON(cmd) {
		return err
	}
	fmt.Fprintln(cmd.OutOrStdout())
	err = show(cmd, out.Sources, "SOURCE ADVISORIES NEWEST IMPORTED", func(s advisorySource) []any {
		return []any{s.Location, s.Advisories, when(s.Newest), when(s.Imported)}
	})
	if err != nil {
		return err
	}
	fmt.Fprintln(cmd.OutOrStdout())
	return show(cmd, out.Sets, "SET INFORCE ADVISORIES NEWEST CREATED", func(s advisorySet) []any {
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
			return p.withState(cmd, func(ctx context.Context, s *state) error {
				set, err := s.sets.Rollback(ctx, digest, s.findings)
				if err != nil {
					return err
				}
				out := advisorySet{set.Digest, true, set.Advisories, set.Newest, set.Created, set.Size}
				return showOne(cmd, out, "set", string(set.Digest), "advisories", fmt.Sprint(set.Advisories), "newest", when(set.Newest))
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
			return p.withState(cmd, func(ctx context.Context, s *state) error {
				r, err := s.sets.Forget(ctx, args[0], s.findings)
				if err != nil {
					return err
				}
				return showImport(cmd, r)
			})
		},
	}
}
