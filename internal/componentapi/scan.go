package componentapi

import (
	"net/http"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/protocol"
)

func (a *api) layers(r request[protocol.LayersRequest]) (any, error) {
	if err := atMost("layers", len(r.body.Layers), protocol.MaxLayers); err != nil {
		return nil, err
	}
	states, err := a.Scans.Layers(r.context, r.lease(r.body.Attempt), r.body)
	return protocol.LayersResponse{Layers: orEmpty(states)}, lost(err)
}

func (a *api) image(r request[protocol.ImageReport]) (any, error) {
	if err := atMost("layers", len(r.body.Layers), protocol.MaxLayers); err != nil {
		return nil, err
	}
	return nil, lost(a.Scans.Image(r.context, r.lease(r.body.Attempt), r.body))
}

func (a *api) attached(r request[protocol.AttachedReport]) (any, error) {
	return nil, lost(a.Scans.Attached(r.context, r.lease(r.body.Attempt), r.body))
}

// layer takes in the facts of a layer, whose body is not JSON. A body that
// breaks off has another digest than its signature says: nothing of it is kept.
func (a *api) layer(w http.ResponseWriter, r *http.Request) {
	if err := a.takeLayer(w, r); err != nil {
		fail(w, r, err)
		return
	}
	answer(w, nil)
}

func (a *api) takeLayer(w http.ResponseWriter, r *http.Request) error {
	var c tidewaiter.Component
	signed, err := a.identify(r, &c)
	if err != nil {
		return err
	}
	end, err := a.uploads.begin(r.Context(), c.ClusterID)
	if err != nil {
		return err
	}
	defer end()
	body, err := a.readSigned(w, r, signed, c, factsBody)
	if err != nil {
		return err
	}
	id := r.PathValue("id")
	if !isWorkID(id) {
		return lost(tidewaiter.Errorf(tidewaiter.Conflict, "there is no such work; drop it"))
	}
	report, facts, err := protocol.SplitLayer(body)
	if err != nil {
		return err
	}
	return lost(a.Scans.Layer(r.Context(), tidewaiter.Lease{WorkID: id, Owner: c.ID, Attempt: report.Attempt}, report, facts))
}
