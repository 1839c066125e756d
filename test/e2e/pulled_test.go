//go:build linux

package e2e

import (
	"context"
	"io"
	"maps"
	"net"
	"net/http"
	"regexp"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// A pull is how much of a blob was got through a relay.
type pull struct {
	Requests int
	Bytes    int64 // of all of them
}

var blobPath = regexp.MustCompile(`^/v2/.+/blobs/(sha(?:256|512):[0-9a-f]+)$`)

// count remembers what passed of a blob, be it all or a part.
func (w *relay) count(r *http.Request, k *keeper) {
	found := blobPath.FindStringSubmatch(r.URL.Path)
	if found == nil || r.Method != http.MethodGet || k.status != http.StatusOK && k.status != http.StatusPartialContent {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.pulled == nil {
		w.pulled = make(map[string]pull)
	}
	p := w.pulled[found[1]]
	w.pulled[found[1]] = pull{p.Requests + 1, p.Bytes + k.size}
}

// Pulled returns what was got of blobs through the relay so far, by digest.
func (w *relay) Pulled() map[string]pull {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.pulled)
}

// ForgetPulled begins to count anew.
func (w *relay) ForgetPulled() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pulled = nil
}

func TestRelayCountsPulls(t *testing.T) {
	r := startRegistry(t, registryOptions{User: "alice", Password: "pa ss"})
	image := tinyImage(t, "counted", "amd64")
	r.Push(t, "counted", "1", image)
	w := newPlainRelay(t)
	w.To(func(ctx context.Context) (net.Conn, error) { return new(net.Dialer).DialContext(ctx, "tcp", r.Addr) })
	repository, err := name.NewRepository(w.Addr+"/counted", name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		got, err := remote.Image(repository.Tag("1"), remote.WithAuth(&authn.Basic{Username: r.User, Password: r.Password}))
		if err != nil {
			t.Fatal(err)
		}
		layers, err := got.Layers()
		if err != nil {
			t.Fatal(err)
		}
		content, err := layers[0].Compressed()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, content); err != nil {
			t.Fatal(err)
		}
		_ = content.Close()
	}
	layers, err := image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	digest, err := layers[0].Digest()
	if err != nil {
		t.Fatal(err)
	}
	size, err := layers[0].Size()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := w.Pulled()[digest.String()], (pull{2, 2 * size}); got != want {
		t.Errorf("of the layer were pulled %+v, want %+v", got, want)
	}
	w.ForgetPulled()
	if got := w.Pulled(); len(got) != 0 {
		t.Errorf("after it was forgotten: %v", got)
	}
}
