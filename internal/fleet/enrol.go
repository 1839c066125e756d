package fleet

import (
	"bytes"
	"context"
	"crypto/ed25519"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/protocol"
	"github.com/tidewaiter/tidewaiter/internal/seal"
	"github.com/tidewaiter/tidewaiter/internal/store"
)

// Limits of what a component says of itself, in characters.
const (
	maxComponentName = 128
	maxVersion       = 64
	maxPlatform      = 64
)

// Enrol gives a component an identity, for a one-time token. The same token
// with the same signing key gets the same identity. Errors: Unauthenticated if
// there is no such token or it has expired; Conflict if another has used it;
// Invalid for malformed fields, and with the code protocol.ErrVersion.
func (s *Service) Enrol(ctx context.Context, req protocol.EnrolRequest) (protocol.EnrolResponse, error) {
	version, err := protocol.Negotiate(req.Versions)
	if err != nil {
		return protocol.EnrolResponse{}, err
	}
	if len(req.SigningKey) != ed25519.PublicKeySize {
		return protocol.EnrolResponse{}, tidewaiter.InvalidField("signing_key", "is not an Ed25519 public key; give its %d bytes in base64", ed25519.PublicKeySize)
	}
	if err := seal.CheckRecipient("recipient", req.Recipient); err != nil {
		return protocol.EnrolResponse{}, err
	}
	if err := checkDescription(req.Description); err != nil {
		return protocol.EnrolResponse{}, err
	}
	hash := hashToken(req.Token)
	var c tidewaiter.Component
	var cluster tidewaiter.Cluster
	enrol := func() error {
		return s.db.Tx(ctx, func(tx *store.DB) error {
			if c, err = s.enrolIn(ctx, tx, hash, version, req); err != nil {
				return err
			}
			cluster, err = tx.Cluster(ctx, c.ClusterID)
			return err
		})
	}
	err = enrol()
	if tidewaiter.KindOf(err) == tidewaiter.Conflict {
		// Somebody used the token at the same time: maybe this very component,
		// whose first request was thought lost.
		err = enrol()
	}
	if err != nil {
		return protocol.EnrolResponse{}, err
	}
	s.o.Logger.InfoContext(ctx, "component enrolled", "component", c.ID, "name", c.Name, "cluster", cluster.ID)
	return protocol.EnrolResponse{ComponentID: c.ID, ClusterID: cluster.ID, ClusterName: cluster.Name}, nil
}

func (s *Service) enrolIn(ctx context.Context, tx *store.DB, hash []byte, version int, req protocol.EnrolRequest) (tidewaiter.Component, error) {
	e, err := tx.Enrolment(ctx, hash)
	if tidewaiter.KindOf(err) == tidewaiter.NotFound {
		return tidewaiter.Component{}, tidewaiter.Errorf(tidewaiter.Unauthenticated,
			"the enrolment token is not one of this server's; copy all of it, or make a new one with \"tidewaiter cluster token\"")
	}
	if err != nil {
		return tidewaiter.Component{}, err
	}
	if e.ComponentID != "" {
		c, err := tx.Component(ctx, e.ComponentID)
		if err == nil && !bytes.Equal(c.SigningKey, req.SigningKey) {
			err = tidewaiter.Errorf(tidewaiter.Conflict,
				"the enrolment token has been used by another scan component; make a new one with \"tidewaiter cluster token\" (a component that starts again needs none if it keeps its state folder)")
		}
		return c, err
	}
	now := s.o.Now()
	if now.After(e.Expires) {
		return tidewaiter.Component{}, tidewaiter.Errorf(tidewaiter.Unauthenticated,
			"the enrolment token has expired; make a new one with \"tidewaiter cluster token\"")
	}
	c := tidewaiter.Component{
		ID: store.NewID(), ClusterID: e.ClusterID, Name: req.Name, Version: req.Version, Platform: req.Platform,
		Protocol: version, SigningKey: req.SigningKey, Recipient: req.Recipient, Enrolled: now, Seen: now,
	}
	if err := tx.CreateComponent(ctx, c); err != nil {
		return c, err
	}
	return c, tx.UseEnrolment(ctx, hash, c.ID)
}

// checkDescription checks text that will be shown to people.
func checkDescription(d protocol.Description) error {
	for _, f := range []struct {
		field, value string
		limit        int
	}{{"name", d.Name, maxComponentName}, {"version", d.Version, maxVersion}, {"platform", d.Platform, maxPlatform}} {
		if err := tidewaiter.CheckText(f.field, f.value, f.limit); err != nil {
			return err
		}
	}
	return nil
}

// Component returns a component. If there is none the error is Unauthenticated
// with the code protocol.ErrUnknownComponent.
func (s *Service) Component(ctx context.Context, id string) (tidewaiter.Component, error) {
	c, err := s.db.Component(ctx, id)
	return c, unknown(err)
}

// unknown turns the absence of the component that asks into what it has to do.
func unknown(err error) error {
	if tidewaiter.KindOf(err) == tidewaiter.NotFound {
		return protocol.Errorf(protocol.ErrUnknownComponent, tidewaiter.Unauthenticated,
			"this server does not know the scan component: it was removed, or its state folder belongs to another server; start it with a new enrolment token")
	}
	return err
}

// Saw notes that a component has sent a request, if it has been a while.
func (s *Service) Saw(ctx context.Context, c tidewaiter.Component) error {
	now := s.o.Now()
	if now.Sub(c.Seen) < s.o.SeenEvery {
		return nil // or the clock went back
	}
	return unknown(s.db.TouchComponent(ctx, c.ID, now))
}
