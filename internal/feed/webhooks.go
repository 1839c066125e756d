package feed

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/store"
)

// maxWebhooks is how many a project may have.
const maxWebhooks = 20

// secretPrefix marks the secret of a webhook, as in
// https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md.
const secretPrefix = "whsec_"

// sealed is what of a webhook the database is not to tell.
type sealed struct {
	URL    string `json:"url"`
	Secret []byte `json:"secret"`
}

// AddWebhook has a URL be told of what happens in a project from now on. It
// returns the secret with which the requests are signed, once. Errors: Invalid,
// Conflict if there are too many.
func (s *Service) AddWebhook(ctx context.Context, projectID, to string) (store.Webhook, string, error) {
	u, err := url.Parse(to)
	switch {
	case err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || len(to) > 2048 || strings.ContainsFunc(to, func(r rune) bool { return r < ' ' }):
		return store.Webhook{}, "", tidewaiter.InvalidField("url", "it is no URL of the web; use one such as https://example.com/hook")
	case u.User != nil || u.Fragment != "":
		return store.Webhook{}, "", tidewaiter.InvalidField("url", "it has a user or a fragment, which cannot be used; requests are signed instead")
	}
	w := store.Webhook{ID: store.NewID(), ProjectID: projectID, Origin: u.Scheme + "://" + u.Host, Created: s.now(), NextDue: s.now()}
	secret := make([]byte, 32)
	rand.Read(secret)                             //nolint:errcheck // it never fails
	text, err := json.Marshal(sealed{to, secret}) //nolint:gosec // G117: it is sealed before it is kept
	if err != nil {
		return store.Webhook{}, "", fmt.Errorf("write webhook: %w", err)
	}
	w.Sealed = s.sealer.Seal("webhook "+w.ID, text)
	if w.After, err = s.store.LastEvent(ctx); err != nil {
		return store.Webhook{}, "", err
	}
	err = s.store.Tx(ctx, func(tx *store.DB) error {
		list, err := tx.Webhooks(ctx, projectID)
		if err != nil {
			return err
		}
		if len(list) >= maxWebhooks {
			return tidewaiter.Errorf(tidewaiter.Conflict, "the project has %d webhooks; delete one first", len(list))
		}
		return tx.CreateWebhook(ctx, w)
	})
	return w, secretPrefix + base64.StdEncoding.EncodeToString(secret), err
}

// Webhooks returns those of a project, the oldest first.
func (s *Service) Webhooks(ctx context.Context, projectID string) ([]store.Webhook, error) {
	return s.store.Webhooks(ctx, projectID)
}

// DeleteWebhook removes one of a project. Errors: NotFound.
func (s *Service) DeleteWebhook(ctx context.Context, projectID, id string) error {
	return s.store.DeleteWebhook(ctx, projectID, id)
}
