package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/pflag"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/component"
	"github.com/tidewaiter/tidewaiter/internal/eol"
	"github.com/tidewaiter/tidewaiter/internal/extract"
	"github.com/tidewaiter/tidewaiter/internal/extract/all"
	"github.com/tidewaiter/tidewaiter/internal/feed"
	"github.com/tidewaiter/tidewaiter/internal/findings"
	"github.com/tidewaiter/tidewaiter/internal/fleet"
	"github.com/tidewaiter/tidewaiter/internal/identity"
	"github.com/tidewaiter/tidewaiter/internal/inventory"
	"github.com/tidewaiter/tidewaiter/internal/jobs"
	"github.com/tidewaiter/tidewaiter/internal/scan"
	"github.com/tidewaiter/tidewaiter/internal/snapshots"
	"github.com/tidewaiter/tidewaiter/internal/store"
)

// state is what a server, or an admin command, has open.
type state struct {
	lock      *store.Lock // nil for an admin command
	db        *store.DB
	identity  *identity.Service
	fleet     *fleet.Service
	inventory *inventory.Service
	sets      *snapshots.Service
	findings  *findings.Service
	scans     *scan.Service
	updates   *advisoryUpdates
	feed      *feed.Service
	jobs      *jobs.Runner // nil for an admin command
}

// openState opens the data folder and the database for a server: it takes the
// folder's lock and brings the schema up to date.
func openState(ctx context.Context, c *Config, log *slog.Logger) (*state, error) {
	lock, err := store.LockDataFolder(c.Data)
	if err != nil {
		if tidewaiter.KindOf(err) == tidewaiter.Conflict {
			return nil, fmt.Errorf("data: %w", err)
		}
		return nil, wrongConfig("data", "%q cannot be used as data folder: %s", c.Data, oneLine(err))
	}
	s, err := openDatabase(ctx, c, log, true)
	if err != nil {
		return nil, errors.Join(err, lock.Release())
	}
	s.lock = lock
	if err := s.openJobs(ctx, log); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// openAdminState opens the same for an admin command, beside a server that may
// be running; it never changes the schema.
func openAdminState(ctx context.Context, c *Config, log *slog.Logger) (*state, error) {
	if _, err := os.Stat(filepath.Join(c.Keys, "secret.key")); err != nil {
		return nil, wrongConfig("keys", "there is no secret.key in %q; name the server's folder with --data or --keys", c.Keys)
	}
	return openDatabase(ctx, c, log, false)
}

func openDatabase(ctx context.Context, c *Config, log *slog.Logger, migrate bool) (*state, error) {
	key, err := identity.LoadOrCreateKey(filepath.Join(c.Keys, "secret.key"))
	if err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	url := c.Database
	if url == "" {
		url = "sqlite:" + filepath.Join(c.Data, "tidewaiter.db")
	}
	db, err := store.Open(ctx, store.Options{URL: url, Migrate: migrate, Logger: log})
	if err != nil {
		return nil, fmt.Errorf("database: %w", err)
	}
	id, err := identity.New(ctx, identity.Options{Store: db, Key: key, TokenTTL: c.TokenLifetime})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("identity: %w", err), db.Close())
	}
	f := fleet.New(fleet.Options{Store: db, Logger: log})
	inv, err := inventory.New(inventory.Options{
		Store: db, Wake: f.Wake, Location: time.Local, SyncAt: c.SyncAt, Retention: c.ImageRetention, Logger: log,
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("inventory: %w", err), db.Close())
	}
	sets := snapshots.New(snapshots.Options{Store: db, Folder: filepath.Join(c.Data, "advisories"), Logger: log})
	found := findings.New(findings.Options{Store: db, Sets: sets, Logger: log})
	scans := scan.New(scan.Options{
		Store: db, Wake: f.Wake, Extractors: extract.Version(all.Extractors()), EndOfLife: eol.Of, Findings: found, Logger: log,
	})
	updates := &advisoryUpdates{from: c.AdvisoriesFrom, every: c.AdvisoriesEvery, sets: sets, findings: found, log: log}
	told := feed.New(feed.Options{Store: db, Sealer: key, Logger: log})
	return &state{feed: told, db: db, identity: id, fleet: f, inventory: inv, sets: sets, findings: found, scans: scans, updates: updates}, nil
}

// Close closes what is open. The lock goes last: whoever gets it finds a
// database that is closed.
func (s *state) Close() error {
	var err error
	if s.jobs != nil {
		err = s.jobs.Close()
	}
	err = errors.Join(err, s.sets.Close(), s.db.Close())
	if s.lock != nil {
		err = errors.Join(err, s.lock.Release())
	}
	return err
}

// openComponent returns the scan component and the key that signs it.
func openComponent(c *Config) (*component.Bundle, *component.SigningKey, error) {
	bundle, err := component.Embedded()
	if err != nil {
		return nil, nil, fmt.Errorf("scan component: %w", err)
	}
	key, err := component.LoadOrCreateSigningKey(filepath.Join(c.Keys, "component.key"))
	if err != nil {
		return nil, nil, fmt.Errorf("keys: %w", err)
	}
	return bundle, key, nil
}

// storeConfig reads the keys that addStoreFlags defines.
func (p *program) storeConfig(fs *pflag.FlagSet) (*Config, error) {
	own := pflag.NewFlagSet("", pflag.ContinueOnError)
	addConfigFlags(own)
	for _, name := range []string{"data", "database", "keys", "advisories-from"} {
		if f := fs.Lookup(name); f != nil && f.Changed {
			if err := own.Set(name, f.Value.String()); err != nil {
				return nil, err
			}
		}
	}
	return loadConfig(own, p.environ)
}

// bootstrap makes the first account. The file with its secrets is there before
// the account is, so that no crash can lose them.
func (s *state) bootstrap(ctx context.Context, c *Config, endpoint string) (*bootstrapFile, error) {
	var f *bootstrapFile
	_, created, err := s.identity.Bootstrap(ctx, identity.BootstrapOptions{
		Deliver: func(b identity.Bootstrap) error {
			f = &bootstrapFile{
				Endpoint: endpoint, Domain: b.Domain.Name, User: b.User.Name, Password: b.Password,
				ProjectID: b.Project.ID, ProjectName: b.Project.Name,
				AccessKey: b.AccessKey, SecretKey: b.SecretKey,
			}
			return writeSecretFile(bootstrapPath(c.Data), f)
		},
	})
	if err != nil {
		return nil, fmt.Errorf("make the first account: %w", err)
	}
	if !created {
		return nil, nil
	}
	return f, nil
}

// writeSecretFile writes JSON that only the owner can read, all of it or none.
func writeSecretFile(path string, v any) (err error) {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name()) //nolint:errcheck // the first error says more
		}
	}()
	if _, err := f.Write(append(b, '\n')); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
