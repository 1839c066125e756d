package findings

import (
	"context"
	"slices"
	"strings"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/store"
)

// Whitelist says which vulnerabilities are to count as handled, and where.
type Whitelist struct {
	Kind            tidewaiter.VulnerabilityKind // "" for both
	Vulnerabilities []string
	Rule            WhitelistRule
}

// WhitelistRule says in which images, and why.
type WhitelistRule struct {
	Scope         tidewaiter.ExceptionScope
	RegistryTypes []tidewaiter.RegistryType // of ScopeImageTypes
	Images        []store.ImageRef          // of ScopeImages
	Remark        string
}

const (
	maxWhitelisted       = 1_000 // vulnerabilities of one request
	maxWhitelistedImages = 1_000
)

// AddWhitelists adds one whitelist for each vulnerability. A tag that is given
// stays on it, whatever it stands for later. Errors: Invalid, Conflict (there
// is one about the vulnerability already).
func (s *Service) AddWhitelists(ctx context.Context, projectID, enterpriseProjectID string, w Whitelist, author string) error {
	names := slices.Clone(w.Vulnerabilities)
	slices.Sort(names)
	names = slices.Compact(names)
	if len(names) == 0 {
		return tidewaiter.InvalidField("vul_ids", "it is missing or empty; name the vulnerabilities")
	}
	if len(names) > maxWhitelisted {
		return tidewaiter.InvalidField("vul_ids", "there are more than %d; give them in several requests", maxWhitelisted)
	}
	for _, name := range names {
		if name == "" || len(name) > 256 || strings.ContainsFunc(name, isControl) {
			return tidewaiter.InvalidField("vul_ids", "%.80q is no name of a vulnerability", name)
		}
	}
	extent := tidewaiter.Extent{ProjectID: projectID, EnterpriseProjects: []string{enterpriseProjectID}}
	images, err := s.whitelistedImages(ctx, extent, w.Rule)
	if err != nil {
		return err
	}
	now := s.now()
	return s.changeExceptions(ctx, bothKinds(names), func(tx *store.DB) error {
		for _, name := range names {
			known, _, err := tx.Exceptions(ctx, extent, store.ExceptionFilter{Vulnerability: name, Actions: []tidewaiter.ExceptionAction{tidewaiter.ActionWhitelist}}, store.Page{Limit: 10})
			if err != nil {
				return err
			}
			if slices.ContainsFunc(known, func(x tidewaiter.Exception) bool { return x.Kind == w.Kind || x.Kind == "" || w.Kind == "" }) {
				return tidewaiter.Errorf(tidewaiter.Conflict, "there is a whitelist about %s already; change it with ChangeImageWhiteList", name)
			}
			err = tx.CreateException(ctx, tidewaiter.Exception{
				ID: store.NewID(), ProjectID: projectID, EnterpriseProjectID: enterpriseProjectID, Vulnerability: name, Kind: w.Kind,
				Action: tidewaiter.ActionWhitelist, Scope: w.Rule.Scope, RegistryTypes: w.Rule.RegistryTypes, Images: images,
				Remark: w.Rule.Remark, Author: author, Created: now, Updated: now,
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

// whitelistedImages finds the images of a rule, and checks the rule.
func (s *Service) whitelistedImages(ctx context.Context, e tidewaiter.Extent, r WhitelistRule) ([]tidewaiter.ExceptionImage, error) {
	switch r.Scope {
	case tidewaiter.ScopeAllImages:
		return nil, nil
	case tidewaiter.ScopeImageTypes:
		if len(r.RegistryTypes) == 0 {
			return nil, tidewaiter.InvalidField("query_info.image_type", "it is missing; name the types of image, separated by commas")
		}
		return nil, nil
	}
	if len(r.Images) == 0 || len(r.Images) > maxWhitelistedImages {
		return nil, tidewaiter.InvalidField("image_info", "it has %d images; name 1 to %d", len(r.Images), maxWhitelistedImages)
	}
	var images []tidewaiter.ExceptionImage
	for i, ref := range r.Images {
		if !ref.Names() {
			return nil, tidewaiter.InvalidField("image_info", "entry %d has neither id nor image_id", i+1)
		}
		found, err := s.store.ImagesMeant(ctx, e, ref)
		if err != nil {
			return nil, err
		}
		if len(found) == 0 {
			return nil, tidewaiter.InvalidField("image_info", "there is no image like that of entry %d; take id from ListRegistryImages", i+1)
		}
		for _, f := range found {
			x := tidewaiter.ExceptionImage{ManifestID: f.ManifestID}
			if ref.ID != 0 {
				x.ImageID = f.ID
			}
			images = append(images, x)
		}
	}
	return images, nil
}

// changeExceptions changes exceptions about vulnerabilities, and puts all
// numbers right.
func (s *Service) changeExceptions(ctx context.Context, names []store.VulnerabilityName, change func(tx *store.DB) error) error {
	return s.store.Tx(ctx, func(tx *store.DB) error {
		if err := tx.LockFindings(ctx); err != nil {
			return err
		}
		return tx.CountVulnerabilities(ctx, names, s.now(), func() error { return change(tx) })
	})
}

// Whitelists returns a page of the whitelists of an extent, the newest first,
// and how many there are. f's Actions do not count.
func (s *Service) Whitelists(ctx context.Context, e tidewaiter.Extent, f store.ExceptionFilter, p store.Page) ([]tidewaiter.Exception, int, error) {
	f.Actions = []tidewaiter.ExceptionAction{tidewaiter.ActionWhitelist}
	return s.store.Exceptions(ctx, e, f, p)
}

// Whitelist returns one, with a page of its images and how many there are.
// Errors: NotFound.
func (s *Service) Whitelist(ctx context.Context, e tidewaiter.Extent, id string, p store.Page) (tidewaiter.Exception, []store.ExceptedImage, int, error) {
	x, err := s.whitelist(ctx, s.store, e, id)
	if err != nil {
		return x, nil, 0, err
	}
	images, total, err := s.store.ExceptedImages(ctx, id, p)
	return x, images, total, err
}

func (s *Service) whitelist(ctx context.Context, db *store.DB, e tidewaiter.Extent, id string) (tidewaiter.Exception, error) {
	if id == "" || strings.ContainsRune(id, 0) {
		return tidewaiter.Exception{}, tidewaiter.Errorf(tidewaiter.NotFound, "there is no such whitelist")
	}
	list, _, err := db.Exceptions(ctx, e, store.ExceptionFilter{ID: id, Actions: []tidewaiter.ExceptionAction{tidewaiter.ActionWhitelist}}, store.Page{Limit: 1})
	if err == nil && len(list) == 0 {
		err = tidewaiter.Errorf(tidewaiter.NotFound, "there is no such whitelist")
	}
	if err != nil {
		return tidewaiter.Exception{}, err
	}
	return list[0], nil
}

// ChangeWhitelist gives a whitelist another rule; remark is nil to keep its
// own. Errors: NotFound, Invalid.
func (s *Service) ChangeWhitelist(ctx context.Context, e tidewaiter.Extent, id string, rule *WhitelistRule, remark *string) error {
	x, err := s.whitelist(ctx, s.store, e, id)
	if err != nil {
		return err
	}
	var images []tidewaiter.ExceptionImage
	if rule != nil {
		if images, err = s.whitelistedImages(ctx, e, *rule); err != nil {
			return err
		}
	}
	return s.changeExceptions(ctx, bothKinds([]string{x.Vulnerability}), func(tx *store.DB) error {
		x, err := s.whitelist(ctx, tx, e, id)
		if err != nil {
			return err
		}
		x.Updated = s.now()
		if remark != nil {
			x.Remark = *remark
		}
		if rule != nil {
			x.Scope, x.RegistryTypes, x.Images = rule.Scope, rule.RegistryTypes, images
			return tx.ChangeException(ctx, x)
		}
		return tx.SetExceptionRemark(ctx, id, x.Remark, x.Updated)
	})
}

// DeleteWhitelists removes whitelists, all or none. Errors: NotFound.
func (s *Service) DeleteWhitelists(ctx context.Context, e tidewaiter.Extent, ids []string) error {
	slices.Sort(ids)
	ids = slices.Compact(ids)
	if len(ids) == 0 || len(ids) > maxWhitelisted {
		return tidewaiter.InvalidField("ids", "it has %d ids; name 1 to %d whitelists", len(ids), maxWhitelisted)
	}
	var names []string
	for _, id := range ids {
		x, err := s.whitelist(ctx, s.store, e, id)
		if err != nil {
			return err
		}
		names = append(names, x.Vulnerability)
	}
	return s.changeExceptions(ctx, bothKinds(names), func(tx *store.DB) error {
		_, err := tx.DeleteExceptions(ctx, ids)
		return err
	})
}
