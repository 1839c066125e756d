package fleet

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"strings"
	"time"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/store"
)

const maxClusterName = 64 // characters

// EnsureLocal makes the cluster inside the server, unless it is there.
func (s *Service) EnsureLocal(ctx context.Context) error {
	err := s.db.Tx(ctx, func(tx *store.DB) error {
		_, err := tx.Cluster(ctx, tidewaiter.LocalClusterID)
		if tidewaiter.KindOf(err) != tidewaiter.NotFound {
			return err
		}
		return tx.CreateCluster(ctx, tidewaiter.Cluster{
			ID: tidewaiter.LocalClusterID, Name: string(tidewaiter.LocalCluster), Kind: tidewaiter.LocalCluster, Created: s.o.Now(),
		})
	})
	if tidewaiter.KindOf(err) == tidewaiter.Conflict {
		return nil // another replica was first
	}
	return err
}

// CreateCluster makes a cluster for components that a user starts, in one
// project or, with "", for every project. Errors: Invalid name; Conflict if
// the name is taken.
func (s *Service) CreateCluster(ctx context.Context, projectID, name string) (tidewaiter.Cluster, error) {
	if err := checkClusterName(name); err != nil {
		return tidewaiter.Cluster{}, err
	}
	c := tidewaiter.Cluster{
		ID: store.NewID(), ProjectID: projectID, Name: name, Kind: tidewaiter.AttachedCluster, Created: s.o.Now(),
	}
	return c, s.db.CreateCluster(ctx, c)
}

// checkClusterName allows what needs no quoting in a command line.
func checkClusterName(name string) error {
	if err := tidewaiter.CheckText("name", name, maxClusterName); err != nil {
		return err
	}
	if name == tidewaiter.LocalClusterID {
		return tidewaiter.InvalidField("name", "is that of the cluster inside the server; choose another")
	}
	for i, c := range []byte(name) {
		letter := 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9'
		if !letter && (i == 0 || c != '-' && c != '_' && c != '.') {
			return tidewaiter.InvalidField("name", "is not a name for a cluster; begin with a letter or digit and use letters, digits, '-', '_' and '.'")
		}
	}
	return nil
}

// Clusters returns the clusters that a project may use: its own and those of
// every project, oldest first.
func (s *Service) Clusters(ctx context.Context, projectID string) ([]State, error) {
	clusters, err := s.db.Clusters(ctx, projectID)
	if err != nil {
		return nil, err
	}
	states := make([]State, 0, len(clusters))
	for _, c := range clusters {
		components, err := s.db.Components(ctx, c.ID)
		if err != nil {
			return nil, err
		}
		states = append(states, s.state(c, components))
	}
	return states, nil
}

// Cluster returns a cluster, whatever its project: see [State.In].
func (s *Service) Cluster(ctx context.Context, id string) (State, error) {
	c, err := s.db.Cluster(ctx, id)
	if err != nil {
		return State{}, err
	}
	components, err := s.db.Components(ctx, id)
	if err != nil {
		return State{}, err
	}
	return s.state(c, components), nil
}

// ChangeLimits changes what scans of a cluster may cost. Errors: NotFound,
// Invalid.
func (s *Service) ChangeLimits(ctx context.Context, id string, change func(*tidewaiter.ScanLimits)) error {
	return s.db.Tx(ctx, func(tx *store.DB) error {
		c, err := tx.Cluster(ctx, id)
		if err != nil {
			return err
		}
		change(&c.Limits)
		if err := c.Limits.Check(); err != nil {
			return err
		}
		return tx.SetClusterLimits(ctx, id, c.Limits)
	})
}

// DeleteCluster removes a cluster with its components, which hear that they
// are unknown. Errors: NotFound; Conflict while a registry uses it, and for the
// cluster inside the server.
func (s *Service) DeleteCluster(ctx context.Context, id string) error {
	if id == tidewaiter.LocalClusterID {
		return tidewaiter.Errorf(tidewaiter.Conflict, "the cluster inside the server cannot be removed")
	}
	defer s.Wake(id)
	return s.db.DeleteCluster(ctx, id)
}

// RemoveComponent removes a component: its requests are refused from now on,
// and what it was doing is done by another. It knows the cluster's key all the
// same; change that if the component is in wrong hands.
func (s *Service) RemoveComponent(ctx context.Context, clusterID, componentID string) error {
	err := s.db.Tx(ctx, func(tx *store.DB) error {
		c, err := tx.Component(ctx, componentID)
		if err != nil {
			return err
		}
		if c.ClusterID != clusterID {
			return tidewaiter.Errorf(tidewaiter.NotFound, "there is no such component in the cluster")
		}
		if err := tx.StopWork(ctx, componentID, s.o.Now()); err != nil {
			return err
		}
		return tx.DeleteComponent(ctx, componentID)
	})
	if err != nil {
		return err
	}
	s.o.Logger.InfoContext(ctx, "component removed", "component", componentID, "cluster", clusterID)
	s.Wake(clusterID)
	return nil
}

// Limits of a token.
const (
	tokenPrefix = "twe_"
	tokenSize   = 32 // bytes
	tokenValid  = 24 * time.Hour
	maxValid    = 30 * 24 * time.Hour
	keepTokens  = 7 * 24 * time.Hour // after they expired: who comes late hears why
)

// Token lets one component enrol, once.
type Token struct {
	Text    string // a secret
	Expires time.Time
}

// NewToken makes a token for a cluster, good for the given time, or for 24
// hours if that is 0. Errors: NotFound; Invalid if it is to be good for longer
// than 30 days.
func (s *Service) NewToken(ctx context.Context, clusterID string, valid time.Duration) (Token, error) {
	if valid == 0 {
		valid = tokenValid
	}
	if valid < 0 || valid > maxValid {
		return Token{}, tidewaiter.InvalidField("valid", "is out of range; a token may be good for at most %d hours", int(maxValid.Hours()))
	}
	var b [tokenSize]byte
	rand.Read(b[:]) //nolint:errcheck // crypto/rand.Read never fails
	now := s.o.Now()
	token := Token{
		Text:    tokenPrefix + strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b[:])),
		Expires: now.Add(valid),
	}
	return token, s.db.Tx(ctx, func(tx *store.DB) error {
		if _, err := tx.Cluster(ctx, clusterID); err != nil {
			return err
		}
		if _, err := tx.PurgeEnrolments(ctx, now.Add(-keepTokens)); err != nil {
			return fmt.Errorf("make an enrolment token: %w", err)
		}
		return tx.CreateEnrolment(ctx, store.Enrolment{Hash: hashToken(token.Text), ClusterID: clusterID, Created: now, Expires: token.Expires})
	})
}

// hashToken returns what is kept of a token. Tokens are random, so that a plain
// hash does; and they are found by it, so that nothing is compared.
func hashToken(token string) []byte {
	sum := sha256.Sum256([]byte(token))
	return sum[:]
}
