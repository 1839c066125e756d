package findings

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/store"
)

// Operation is what is done about vulnerabilities, in the contract's words.
type Operation string

// The operations.
const (
	Ignore         Operation = "ignore"
	NotIgnore      Operation = "not_ignore"
	ManualRepair   Operation = "manual_repair"
	AddToWhitelist Operation = "add_to_whitelist"
)

func (o Operation) action() tidewaiter.ExceptionAction {
	if o == AddToWhitelist {
		return tidewaiter.ActionWhitelist
	}
	return tidewaiter.ExceptionAction(o)
}

// handledByPeople are the actions that [NotIgnore] takes back.
func handledByPeople() []tidewaiter.ExceptionAction {
	return []tidewaiter.ExceptionAction{tidewaiter.ActionIgnore, tidewaiter.ActionManualRepair}
}

// Handle does something about vulnerabilities. What is done about a vulnerability
// in all images holds for those to come as well; what is done in a given image
// for its content, whatever its tags stand for later. To do it twice is as to do it
// once. Errors: Invalid (there is no such image or vulnerability), Conflict
// (what is ignored in all images cannot be taken back in one), TooLarge.
func (s *Service) Handle(ctx context.Context, e tidewaiter.Extent, sel Selection, o Operation, author, remark string) error {
	chosen, err := s.resolve(ctx, e, sel)
	if err != nil || len(chosen.names) == 0 {
		return err
	}
	names := make([]store.VulnerabilityName, len(chosen.names))
	for i, name := range chosen.names {
		names[i] = store.VulnerabilityName{Name: name, Kind: sel.Kind}
	}
	return s.store.Tx(ctx, func(tx *store.DB) error {
		if err := tx.LockFindings(ctx); err != nil {
			return err
		}
		return tx.CountVulnerabilities(ctx, names, s.now(), func() error {
			h := handling{tx: tx, extent: e, kind: sel.Kind, operation: o, author: author, remark: remark, now: s.now()}
			for _, name := range chosen.names {
				if err := h.one(ctx, name, chosen.images[name]); err != nil {
					return err
				}
			}
			return tx.PutHandled(ctx, h.history)
		})
	})
}

// handling is one request, within its transaction.
type handling struct {
	tx             *store.DB
	extent         tidewaiter.Extent
	kind           tidewaiter.VulnerabilityKind
	operation      Operation
	author, remark string
	now            time.Time
	history        []store.HandledEntry
}

// enterpriseProjects returns those whose images exceptions of an extent are
// about: "" for all.
func enterpriseProjects(e tidewaiter.Extent) []string {
	if e.All {
		return []string{""}
	}
	return e.EnterpriseProjects
}

// one does it for one vulnerability, in given images or, with nil, in all.
func (h *handling) one(ctx context.Context, name string, images map[int64]store.SelectedImage) error {
	h.note(name, images)
	for _, project := range enterpriseProjects(h.extent) {
		var err error
		if h.operation == NotIgnore {
			err = h.takeBack(ctx, project, name, images)
		} else {
			err = h.put(ctx, project, name, images)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (h *handling) note(name string, images map[int64]store.SelectedImage) {
	entry := store.HandledEntry{
		ProjectID: h.extent.ProjectID, VulnerabilityName: store.VulnerabilityName{Name: name, Kind: h.kind}, Action: string(h.operation),
		Remark: h.remark, Author: h.author, Created: h.now,
	}
	if !h.extent.All && len(h.extent.EnterpriseProjects) > 0 {
		entry.EnterpriseProjectID = h.extent.EnterpriseProjects[0]
	}
	if images == nil {
		h.history = append(h.history, entry)
	}
	for _, id := range slices.Sorted(maps.Keys(images)) {
		i := images[id]
		entry.ImageID, entry.ManifestID, entry.Namespace, entry.Image, entry.Tag, entry.Digest = i.ImageID, i.ManifestID, i.Namespace, i.Name, i.Tag, i.Digest
		h.history = append(h.history, entry)
	}
}

// exceptions returns those of an enterprise project about a vulnerability, of
// some actions and a scope.
func (h *handling) exceptions(ctx context.Context, project, name string, actions []tidewaiter.ExceptionAction, scope tidewaiter.ExceptionScope) ([]tidewaiter.Exception, error) {
	list, _, err := h.tx.Exceptions(ctx, tidewaiter.Extent{ProjectID: h.extent.ProjectID, All: true},
		store.ExceptionFilter{Vulnerability: name, Kind: h.kind, Actions: actions, Scope: scope}, store.Page{Limit: maxSelected})
	return slices.DeleteFunc(list, func(x tidewaiter.Exception) bool { return x.EnterpriseProjectID != project }), err
}

func (h *handling) put(ctx context.Context, project, name string, images map[int64]store.SelectedImage) error {
	scope := tidewaiter.ScopeImages
	if images == nil {
		scope = tidewaiter.ScopeAllImages
	}
	known, err := h.exceptions(ctx, project, name, []tidewaiter.ExceptionAction{h.operation.action()}, scope)
	if err != nil {
		return err
	}
	list := make([]tidewaiter.ExceptionImage, 0, len(images))
	for _, id := range slices.Sorted(maps.Keys(images)) {
		list = append(list, tidewaiter.ExceptionImage{ManifestID: id})
	}
	if len(known) > 0 {
		return h.tx.AddExceptionImages(ctx, known[0].ID, list, h.now)
	}
	return h.tx.CreateException(ctx, tidewaiter.Exception{
		ID: store.NewID(), ProjectID: h.extent.ProjectID, EnterpriseProjectID: project, Vulnerability: name, Kind: h.kind, Action: h.operation.action(), Scope: scope,
		Images: list, Remark: h.remark, Author: h.author, Created: h.now, Updated: h.now,
	})
}

func (h *handling) takeBack(ctx context.Context, project, name string, images map[int64]store.SelectedImage) error {
	wide, err := h.exceptions(ctx, project, name, handledByPeople(), tidewaiter.ScopeAllImages)
	if err != nil {
		return err
	}
	narrow, err := h.exceptions(ctx, project, name, handledByPeople(), tidewaiter.ScopeImages)
	if err != nil {
		return err
	}
	ids := func(list []tidewaiter.Exception) (ids []string) {
		for _, x := range list {
			ids = append(ids, x.ID)
		}
		return ids
	}
	switch {
	case images == nil:
		_, err := h.tx.DeleteExceptions(ctx, append(ids(wide), ids(narrow)...))
		return err
	case len(wide) > 0:
		return tidewaiter.Errorf(tidewaiter.Conflict, "%s is ignored in all images, since %s, so that it cannot be taken back in one; take it back in all images (select_type specific_vul_all_image), "+
			"and then ignore it where it should be", name, wide[0].Created.UTC().Format(time.DateOnly))
	}
	return h.tx.RemoveExceptionImages(ctx, ids(narrow), slices.Collect(maps.Keys(images)), h.now)
}

// SettleExceptions has exceptions be about what their tags stand for by now,
// and removes those that have expired.
func (s *Service) SettleExceptions(ctx context.Context) error {
	now := s.now()
	moved, err := s.store.MovedExceptions(ctx, now)
	if err != nil || len(moved) == 0 {
		return err
	}
	return s.store.Tx(ctx, func(tx *store.DB) error {
		if err := tx.LockFindings(ctx); err != nil {
			return err
		}
		moved, err := tx.MovedExceptions(ctx, now)
		if err != nil {
			return err
		}
		return tx.CountVulnerabilities(ctx, bothKinds(moved), now, func() error { return tx.MoveExceptions(ctx, now) })
	})
}

func bothKinds(names []string) []store.VulnerabilityName {
	var list []store.VulnerabilityName
	for _, name := range names {
		for _, kind := range []tidewaiter.VulnerabilityKind{tidewaiter.SystemVulnerability, tidewaiter.ApplicationVulnerability} {
			list = append(list, store.VulnerabilityName{Name: name, Kind: kind})
		}
	}
	return list
}
