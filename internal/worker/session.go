package worker

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/protocol"
	"github.com/tidewaiter/tidewaiter/internal/seal"
)

// session is what the last hello has found out. It does not change.
type session struct {
	key       *seal.Key     // the cluster's key in force
	heartbeat time.Duration // how often to send one while there is work
	lease     time.Duration // how long a lease holds without one
}

// maxWaitForKey is how often a component asks that waits for the cluster's key.
const maxWaitForKey = 5 * time.Second

// take waits for the right to change the state.
func (w *Worker) take(ctx context.Context) error {
	select {
	case <-w.turn:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (w *Worker) release() { w.turn <- struct{}{} }

// ready returns a session with the cluster's key, saying hello as often as that
// takes. It returns an error when the context ends, or one that is final.
func (w *Worker) ready(ctx context.Context) (*session, error) {
	if err := w.take(ctx); err != nil {
		return nil, err
	}
	defer w.release()
	waiting := false
	for n := 1; w.session == nil; n++ {
		err := w.greet(ctx)
		switch {
		case err == nil && w.session != nil:
			continue
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case isFinal(err):
			return nil, err
		case err != nil:
			w.log.Debug("hello did not succeed", "error", err)
			err = w.pause(ctx, n, err)
		default:
			if !waiting {
				w.log.Info("waiting for another component of the cluster to share its key", "cluster", w.state.clusterName)
				waiting = true
			}
			err = w.options.Sleep(ctx, w.jitter(min(time.Second<<min(n, 10), maxWaitForKey)))
		}
		if err != nil {
			return nil, err
		}
	}
	return w.session, nil
}

// expire ends a session whose key the server does not take for the one in force.
func (w *Worker) expire(ctx context.Context, s *session) {
	if w.take(ctx) != nil {
		return
	}
	defer w.release()
	if w.session == s {
		w.session = nil
	}
}

// greet enrols if need be and says hello, once each. Without an error and
// without a session, the cluster has a key that we do not.
func (w *Worker) greet(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*requestTimeout)
	defer cancel()
	if !w.state.enrolled() {
		if err := w.enrol(ctx); err != nil {
			return err
		}
	}
	err := w.hello(ctx)
	if !errors.Is(err, ErrRemoved) || w.started {
		return err
	}
	// Removed on the server since the last run. Somebody who now gives another
	// token wants to have the component back.
	token, wrong := w.token(ctx)
	if wrong != nil || token == "" || bytes.Equal(hashToken(token), w.state.enrolledBy) {
		return err
	}
	fresh, err := newState()
	if err != nil {
		return err
	}
	fresh.server = w.state.server
	w.log.Info("the server does not know this component any more; enrolling it anew with the token given")
	if err := w.keep(fresh); err != nil {
		return err
	}
	if err := w.enrol(ctx); err != nil {
		return err
	}
	return w.hello(ctx)
}

// keep saves the state, and only then uses it.
func (w *Worker) keep(s state) error {
	if err := w.folder.save(s); err != nil {
		return err
	}
	w.state = s
	w.client.identify(s)
	return nil
}

func (w *Worker) token(ctx context.Context) (string, error) {
	if w.options.Token == nil {
		return "", nil
	}
	return w.options.Token(ctx)
}

func hashToken(token string) []byte {
	sum := sha256.Sum256([]byte(token))
	return sum[:]
}

// enrol asks for an identity. The keys are in the state folder already, and
// the server answers the same to the same token and key: whenever we are
// killed, the next run goes on.
func (w *Worker) enrol(ctx context.Context) error {
	token, err := w.token(ctx)
	if err != nil {
		return &enrolmentError{err}
	}
	if token == "" {
		return &enrolmentError{tidewaiter.InvalidField("token", "is missing: this component has no identity yet; give the one-time token that came with the cluster (TIDEWAITER_TOKEN or TIDEWAITER_TOKEN_FILE)")}
	}
	var answer protocol.EnrolResponse
	some, err := w.client.post(ctx, protocol.PathEnrol, protocol.EnrolRequest{
		Versions: protocol.Ours(), Description: w.description(),
		Token: token, SigningKey: w.state.public(), Recipient: w.state.own.Recipient(),
	}, &answer)
	switch {
	case isRefusal(err):
		return &enrolmentError{err}
	case err != nil:
		return err
	case !some || answer.ComponentID == "":
		return errors.New("the server enrols the component without giving it an id")
	}
	s := w.state
	s.componentID, s.clusterID, s.clusterName = answer.ComponentID, answer.ClusterID, short(answer.ClusterName, 128)
	s.enrolledBy = hashToken(token)
	if err := w.keep(s); err != nil {
		return err
	}
	w.log.Info("enrolled", "component", s.componentID, "cluster", s.clusterName)
	return nil
}

func (w *Worker) description() protocol.Description {
	return protocol.Description{Name: w.options.Name, Version: w.options.Version, Platform: w.options.Platform}
}

// maxHellos bounds how often hello is said in a row to agree on the key.
const maxHellos = 4

// hello says how things stand with us and hears how they stand there. It says
// it again after each change of our key of the cluster.
func (w *Worker) hello(ctx context.Context) error {
	w.session = nil
	for range maxHellos {
		var answer protocol.HelloResponse
		some, err := w.client.post(ctx, protocol.PathHello, protocol.HelloRequest{
			Versions: protocol.Ours(), Description: w.description(),
			ClusterRecipient: w.state.cluster.Recipient(), KeyRefused: w.keyRefused, Started: !w.started,
		}, &answer)
		if err != nil {
			return err
		}
		if !some {
			return errors.New("the server answers hello with nothing")
		}
		w.started, w.keyRefused = true, false
		agreed, err := w.agree(answer)
		if err != nil || agreed {
			return err
		}
	}
	return errors.New("the server and this component do not agree on the cluster's key")
}

// agree brings our key of the cluster into line with the one in force. It
// returns false after a change that the server has to hear of.
func (w *Worker) agree(answer protocol.HelloResponse) (bool, error) {
	s := w.state
	switch inForce := answer.ClusterRecipient; {
	case inForce == s.cluster.Recipient():
		w.session = &session{
			key:       s.cluster,
			heartbeat: seconds(answer.HeartbeatSeconds, 15*time.Second),
			lease:     seconds(answer.LeaseSeconds, time.Minute),
		}
		w.log.Info("connected", "component", s.componentID, "cluster", s.clusterName, "server_version", short(answer.ServerVersion, 64))
		return true, nil
	case inForce == "":
		// Ours was in force until the key was changed: another is wanted.
		var err error
		if s.cluster, err = seal.NewKey(); err != nil {
			return false, err
		}
		return false, w.keep(s)
	case len(answer.SealedClusterKey) > 0:
		key, err := seal.OpenKey(s.own, answer.SealedClusterKey)
		if err == nil && key.Recipient() != inForce {
			err = errors.New("it is not the one in force")
		}
		if err != nil {
			w.keyRefused = true // in the next hello
			return false, fmt.Errorf("take the cluster's key that another component has shared: %w", err)
		}
		s.cluster = key
		return false, w.keep(s)
	}
	return true, nil // waiting
}

// seconds reads a number of seconds that the server gives.
func seconds(n int, otherwise time.Duration) time.Duration {
	if n < 1 || n > 3600 {
		return otherwise
	}
	return time.Duration(n) * time.Second
}
