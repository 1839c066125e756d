// Package componentapi answers scan components over HTTP: the server's side of
// the protocol that package protocol has the bodies of. It checks signatures,
// reads and writes JSON, and leaves what is meant to the packages fleet and
// inventory.
package componentapi

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/fleet"
	"github.com/tidewaiter/tidewaiter/internal/gateway"
	"github.com/tidewaiter/tidewaiter/internal/protocol"
)

// maxEnrolBody is how long the one request may be whose sender is not known
// before its body is read, in bytes.
const maxEnrolBody = 16 << 10

// Inventory is what the work on registries is about. An error of kind Conflict
// says that the lease is lost.
type Inventory interface {
	// Describe returns the registry of a piece of work. The error is NotFound or
	// Conflict if it is gone, and the work with it.
	Describe(ctx context.Context, w tidewaiter.Work) (protocol.Registry, error)
	// Pending returns which repositories are still to be listed.
	Pending(ctx context.Context, l tidewaiter.Lease, names []string) ([]string, error)
	// Unknown returns of which manifests nothing is known yet.
	Unknown(ctx context.Context, l tidewaiter.Lease, digests []tidewaiter.Digest) ([]tidewaiter.Digest, error)
	// Report takes in what is in a repository.
	Report(ctx context.Context, l tidewaiter.Lease, r protocol.RepositoryReport) error
	// Finish takes in the outcome of an access check or a synchronisation.
	Finish(ctx context.Context, w tidewaiter.Work, l tidewaiter.Lease, r protocol.FinishRequest) error
}

// Scans is what the work on images is about. An error of kind Conflict says
// that the lease is lost, unless it has a code of its own.
type Scans interface {
	// Describe returns a scan, and the id of its registry. The error is Conflict
	// if the image is gone, and the work with it.
	Describe(ctx context.Context, w tidewaiter.Work) (registryID string, s protocol.Scan, err error)
	// Layers returns which layers are known, and gives the others out.
	Layers(ctx context.Context, l tidewaiter.Lease, q protocol.LayersRequest) ([]string, error)
	// Layer takes in the facts of a layer.
	Layer(ctx context.Context, l tidewaiter.Lease, r protocol.LayerReport, facts []byte) error
	// Image takes in what an image is.
	Image(ctx context.Context, l tidewaiter.Lease, r protocol.ImageReport) error
	// Attached takes in which documents are attached to an image.
	Attached(ctx context.Context, l tidewaiter.Lease, r protocol.AttachedReport) error
	// Finish takes in the outcome of a scan.
	Finish(ctx context.Context, w tidewaiter.Work, l tidewaiter.Lease, r protocol.FinishRequest) error
}

// Options are the parts that the handler needs.
type Options struct {
	Fleet     *fleet.Service
	Inventory Inventory
	Scans     Scans
	Now       func() time.Time // time.Now
}

type api struct {
	Options
	verifier *protocol.Verifier
	enrols   throttle
	uploads  uploads
}

// New returns the handler of everything under [protocol.Prefix], to be served
// behind gateway.Wrap. Two of them, in two processes on one database, are as
// good as one.
func New(o Options) http.Handler {
	if o.Now == nil {
		o.Now = time.Now
	}
	a := &api{Options: o, verifier: protocol.NewVerifier(o.Now)}
	mux := http.NewServeMux()
	mux.HandleFunc("/", gateway.NotFound)
	mux.HandleFunc("GET "+protocol.Prefix, a.versions)
	mux.HandleFunc("GET "+protocol.Prefix+"/{$}", a.versions)
	post := func(path string, h http.HandlerFunc) { mux.HandleFunc("POST "+protocol.Prefix+path, h) }
	work := protocol.PathWork + "{id}"
	post(protocol.PathEnrol, a.enrol)
	post(protocol.PathHello, signed(a, a.hello))
	post(protocol.PathLease, signed(a, a.lease))
	post(work+protocol.PathHeartbeat, signed(a, a.heartbeat))
	post(work+protocol.PathPending, signed(a, a.pending))
	post(work+protocol.PathUnknown, signed(a, a.unknown))
	post(work+protocol.PathRepository, signed(a, a.repository))
	post(work+protocol.PathFinish, signed(a, a.finish))
	post(work+protocol.PathLayers, signed(a, a.layers))
	post(work+protocol.PathLayer, a.layer)
	post(work+protocol.PathImage, signed(a, a.image))
	post(work+protocol.PathAttached, signed(a, a.attached))
	return mux
}

// versions says what this server speaks, to whoever asks.
func (a *api) versions(w http.ResponseWriter, _ *http.Request) {
	answer(w, struct {
		protocol.Versions
		ServerVersion string `json:"server_version"`
	}{protocol.Ours(), tidewaiter.Version})
}

// request is a signed request whose body T has been read.
type request[T any] struct {
	context   context.Context // the request is its scope
	component tidewaiter.Component
	workID    string
	body      T
}

// lease returns the lease that a request for a piece of work is about.
func (r request[T]) lease(attempt int) tidewaiter.Lease {
	return tidewaiter.Lease{WorkID: r.workID, Owner: r.component.ID, Attempt: attempt}
}

// signed returns the handler of a signed request. do returns the body of the
// answer, or nil for an answer without one.
func signed[T any](a *api, do func(request[T]) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		req := request[T]{context: r.Context(), workID: r.PathValue("id")}
		body, err := a.authenticate(w, r, &req.component, jsonBody)
		if err == nil && !isWorkID(req.workID) {
			err = lost(tidewaiter.Errorf(tidewaiter.Conflict, "there is no such work; drop it"))
		}
		if err == nil {
			err = decode(body, &req.body)
		}
		var out any
		if err == nil {
			out, err = do(req)
		}
		if err != nil {
			fail(w, r, err)
			return
		}
		answer(w, out)
	}
}

// isWorkID tells whether s, from a path, may be the id of work. On a path
// without one it is "".
func isWorkID(s string) bool {
	return len(s) <= 64 && !strings.ContainsFunc(s, func(c rune) bool {
		return (c < 'a' || 'z' < c) && (c < 'A' || 'Z' < c) && (c < '0' || '9' < c) && c != '-' && c != '_'
	})
}

// authenticate finds out which component sent a request, and only then reads
// the body.
func (a *api) authenticate(w http.ResponseWriter, r *http.Request, c *tidewaiter.Component, kind bodyKind) ([]byte, error) {
	s, err := a.identify(r, c)
	if err != nil {
		return nil, err
	}
	return a.readSigned(w, r, s, *c, kind)
}

// identify finds out which component says that it sent a request. What it
// signed is the body as well.
func (a *api) identify(r *http.Request, c *tidewaiter.Component) (protocol.Signed, error) {
	return a.verifier.Verify(r, func(id string) (ed25519.PublicKey, error) {
		var err error
		*c, err = a.Fleet.Component(r.Context(), id)
		return c.SigningKey, err
	})
}

// readSigned reads the body of a request that a component has signed.
func (a *api) readSigned(w http.ResponseWriter, r *http.Request, s protocol.Signed, c tidewaiter.Component, kind bodyKind) ([]byte, error) {
	body, err := readBody(w, r, kind)
	if err != nil {
		return nil, err
	}
	if err := s.CheckBody(body); err != nil {
		return nil, err
	}
	return body, a.Fleet.Saw(r.Context(), c)
}

// bodyKind says which bodies a request may have.
type bodyKind struct {
	media string
	limit int64 // bytes
}

var (
	jsonBody  = bodyKind{"application/json", protocol.MaxBody}
	factsBody = bodyKind{protocol.ContentFacts, protocol.MaxFacts}
	enrolBody = bodyKind{"application/json", maxEnrolBody}
)

// readBody reads a body.
func readBody(w http.ResponseWriter, r *http.Request, kind bodyKind) ([]byte, error) {
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != kind.media {
		return nil, tidewaiter.InvalidField("Content-Type", "is not %s", kind.media)
	}
	if r.Header.Get("Content-Encoding") != "" {
		return nil, tidewaiter.InvalidField("Content-Encoding", "is not supported; send the body as it is")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, kind.limit))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, tidewaiter.Errorf(tidewaiter.TooLarge, "the body is larger than %d bytes; send less at once", kind.limit)
	}
	if err != nil {
		return nil, tidewaiter.Wrap(tidewaiter.Invalid, err, "the body could not be read to its end")
	}
	return body, nil
}

// decode reads exactly one JSON value; what T does not have is ignored. The
// error of encoding/json may repeat values, so that it names the field alone.
func decode(body []byte, into any) error {
	err := json.Unmarshal(body, into)
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && e.Field != "" {
		return tidewaiter.InvalidField(e.Field, "has another type than in docs/protocol.md")
	}
	if err != nil {
		return tidewaiter.Errorf(tidewaiter.Invalid, "the body is not the one JSON object of docs/protocol.md")
	}
	return nil
}

// answer writes the body of a success.
func answer(w http.ResponseWriter, body any) {
	w.Header().Set("Cache-Control", "no-store")
	if body == nil {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(body) //nolint:errcheck // the client is gone; nothing is left to do
}
