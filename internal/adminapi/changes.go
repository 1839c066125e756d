package adminapi

import (
	"context"
	"net/http"

	"github.com/tidewaiter/tidewaiter/internal/feed"
	"github.com/tidewaiter/tidewaiter/internal/gateway"
	"github.com/tidewaiter/tidewaiter/internal/store"
)

// The permissions of vulnerabilities, as in the contract. Webhooks are told of
// all images of a project.
func changesPermission() permission {
	return permission{action: "hss:imageVuls:list", exempt: true}
}

func webhookPermission() permission {
	return permission{action: "hss:imageVuls:operate", whole: true}
}

func (s *server) registerChanges() {
	gateway.Register(s.api, inProject("ListVulnerabilityChanges", http.MethodGet, "/vulnerability-changes", changesPermission(),
		"List what came and went in images, and why, in order"), s.listChanges)
	gateway.Register(s.api, inProject("ListWebhooks", http.MethodGet, "/webhooks", webhookPermission(),
		"List who is told of changes"), s.listWebhooks)
	gateway.Register(s.api, inProject("CreateWebhook", http.MethodPost, "/webhooks", webhookPermission(),
		"Have a URL be told of changes from now on"), s.createWebhook)
	gateway.Register(s.api, inProject("DeleteWebhook", http.MethodDelete, "/webhooks/{id}", webhookPermission(),
		"Tell a URL no more"), s.deleteWebhook)
}

func (s *server) listChanges(ctx context.Context, in *struct {
	OfProject
	After string `query:"after" maxLength:"64" doc:"id of the last event that was seen; without it, from the beginning of what is known: 30 days."`
	Limit int    `query:"limit" minimum:"1" maximum:"100" default:"20"`
}) (*listOutput[feed.Event], error) {
	e, err := s.extent(ctx, changesPermission(), in.ProjectID)
	if err != nil {
		return nil, err
	}
	found, err := s.feed.Events(ctx, e, in.After, in.Limit)
	if err != nil {
		return nil, err
	}
	return list(found, func(e feed.Event) feed.Event { return e }), nil
}

// Webhook is who is told of changes, on the wire.
type Webhook struct {
	ID       string `json:"id"`
	Origin   string `json:"origin" doc:"Scheme and host of the URL, which is not shown, as it may hold a secret."`
	Failures int    `json:"failures" doc:"In a row."`
	Problem  string `json:"problem,omitempty" doc:"Of the last failure, in words."`
	NextDue  string `json:"next_due,omitempty" doc:"After a failure: when it is tried again."`
	Created  string `json:"created"`
	Secret   string `json:"secret,omitempty" doc:"With which requests are signed; only in the answer that makes the webhook."`
}

func wireWebhook(w store.Webhook) Webhook {
	out := Webhook{ID: w.ID, Origin: w.Origin, Failures: w.Failures, Problem: w.Problem, Created: wireTime(w.Created)}
	if w.Failures > 0 {
		out.NextDue = wireTime(w.NextDue)
	}
	return out
}

func (s *server) listWebhooks(ctx context.Context, in *struct{ OfProject }) (*listOutput[Webhook], error) {
	project, err := s.project(ctx, webhookPermission(), in.ProjectID)
	if err != nil {
		return nil, err
	}
	found, err := s.feed.Webhooks(ctx, project)
	if err != nil {
		return nil, err
	}
	return list(found, wireWebhook), nil
}

func (s *server) createWebhook(ctx context.Context, in *struct {
	OfProject
	Body struct {
		URL string `json:"url" maxLength:"2048" doc:"http or https. It is kept sealed."`
	}
}) (*output[Webhook], error) {
	project, err := s.project(ctx, webhookPermission(), in.ProjectID)
	if err != nil {
		return nil, err
	}
	w, secret, err := s.feed.AddWebhook(ctx, project, in.Body.URL)
	if err != nil {
		return nil, err
	}
	out := wireWebhook(w)
	out.Secret = secret
	return one(out), nil
}

func (s *server) deleteWebhook(ctx context.Context, in *struct {
	OfProject
	ID string `path:"id" maxLength:"64"`
}) (*struct{}, error) {
	project, err := s.project(ctx, webhookPermission(), in.ProjectID)
	if err != nil {
		return nil, err
	}
	return nil, s.feed.DeleteWebhook(ctx, project, in.ID)
}
